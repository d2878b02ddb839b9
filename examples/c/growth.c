/* Says how many blocks two dumps hold, and prints their comparison as JSON.
 *
 *   cargo build --release -p ntheap-c
 *   cc -I crates/ntheap-c/include examples/c/growth.c -L target/release -lntheap_c -o growth
 *   LD_LIBRARY_PATH=target/release ./growth before.dmp after.dmp
 */
#include <inttypes.h>
#include <stdio.h>

#include "ntheap.h"

struct totals {
    uint64_t blocks;
    uint64_t bytes;
};

static int count(const ntheap_block *block, void *context)
{
    struct totals *totals = context;
    if (block->state == 0 && !block->internal) {
        totals->blocks++;
        totals->bytes += block->size;
    }
    return 0;
}

static int failed(const char *what)
{
    char *text = ntheap_last_error();
    fprintf(stderr, "%s: %s\n", what, text);
    ntheap_free_text(text);
    return 2;
}

int main(int argc, char **argv)
{
    ntheap_dump *dumps[2] = { NULL, NULL };
    char *json = NULL;
    int status = 0;
    int i;

    if (argc != 3) {
        fprintf(stderr, "usage: growth BEFORE AFTER\n");
        return 2;
    }
    for (i = 0; i < 2 && status == 0; i++) {
        struct totals totals = { 0, 0 };
        ntheap_status walked;
        if (ntheap_open(argv[i + 1], NULL, &dumps[i]) != NTHEAP_STATUS_OK) {
            status = failed(argv[i + 1]);
            break;
        }
        walked = ntheap_walk(dumps[i], count, &totals);
        if (walked > NTHEAP_STATUS_PARTIAL) {
            status = failed(argv[i + 1]);
            break;
        }
        printf("%" PRIu64 " blocks, %" PRIu64 " bytes%s\n", totals.blocks, totals.bytes,
               walked == NTHEAP_STATUS_PARTIAL ? " (not everything was read)" : "");
    }
    if (status == 0) {
        if (ntheap_diff_json(dumps[0], dumps[1], &json) == NTHEAP_STATUS_OK)
            puts(json);
        else
            status = failed("diff");
    }
    ntheap_free_text(json);
    ntheap_close(dumps[0]);
    ntheap_close(dumps[1]);
    return status;
}
