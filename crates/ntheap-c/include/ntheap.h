/* ntheap: the heaps of Windows crash dumps.
 *
 * Written by cbindgen from crates/ntheap-c/src: change it there. */

#ifndef NTHEAP_H
#define NTHEAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// How a call went.
typedef enum {
  // Done.
  NTHEAP_STATUS_OK = 0,
  // Done, but something could not be read.
  NTHEAP_STATUS_PARTIAL = 1,
  // The callback ended the walk.
  NTHEAP_STATUS_STOPPED = 2,
  // An argument is null, no UTF-8, or makes no sense.
  NTHEAP_STATUS_ARGUMENT = 3,
  // The file can't be read.
  NTHEAP_STATUS_IO = 4,
  // The file is no dump that can be analysed, or changed meanwhile.
  NTHEAP_STATUS_NOT_A_DUMP = 5,
  // A fault of the library.
  NTHEAP_STATUS_INTERNAL = 6,
} ntheap_status;

// An opened dump.
typedef struct ntheap_dump ntheap_dump;

// A block of a heap. Sizes are in bytes, addresses those of the dumped process.
typedef struct {
  // Handle of the heap.
  uint64_t heap;
  // Address that the program has.
  uint64_t address;
  // Address of the block's header.
  uint64_t entry;
  // Requested size; of a free block what it could hold.
  uint64_t size;
  // Size of the whole block with its header.
  uint64_t block_size;
  // 0 busy, 1 free, 2 freed but kept (page heap).
  uint32_t state;
  // 1 for the heap's own blocks, else 0.
  uint32_t internal;
} ntheap_block;

// Called for each block; anything but 0 ends the walk.
typedef int (*ntheap_block_callback)(const ntheap_block *block, void *context);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Opens the dump at `path` (UTF-8). `symbols` is a symbol path or null. The dump is closed with
// ntheap_close.
//
// # Safety
// `path` and `symbols` are strings that end with a zero byte, or null; `dump` points to where a pointer goes.
ntheap_status ntheap_open(const char *path,
                          const char *symbols,
                          ntheap_dump **dump);

// Closes a dump; null is left alone.
//
// # Safety
// `dump` came from ntheap_open and is used by nobody any more.
void ntheap_close(ntheap_dump *dump);

// Calls `callback` for each block, busy or free, of each heap. Returns Partial if something could not be
// read, Stopped if the callback ended the walk.
//
// # Safety
// `dump` came from ntheap_open; `callback` may be called with `context`.
ntheap_status ntheap_walk(const ntheap_dump *dump,
                          ntheap_block_callback callback,
                          void *context);

// Compares two dumps. `json` gets the report, as `ntheap diff --format json` has it; it is given back with
// ntheap_free_text.
//
// # Safety
// The dumps came from ntheap_open; `json` points to where a pointer goes.
ntheap_status ntheap_diff_json(const ntheap_dump *before,
                               const ntheap_dump *after,
                               char **json);

// Why the last call of this thread failed, in words; empty if it did not. Given back with
// ntheap_free_text.
char *ntheap_last_error(void);

// Takes a text back; null is left alone.
//
// # Safety
// `text` came from this library and was not given back before.
void ntheap_free_text(char *text);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NTHEAP_H */
