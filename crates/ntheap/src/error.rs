//! What can be wrong with an input so that no analysis is possible.
//!
//! Anything less than that is a [`Problem`](crate::dump::Problem) or a
//! [`Finding`](crate::blocks::Finding) beside the result.

use std::path::PathBuf;

/// A rule that the input breaks, with the value that breaks it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be opened, read or mapped.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The path names no regular file.
    #[error("{path}: is {what}, not a file", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A compressed file unpacks to more than is allowed.
    #[error(
        "unpacks to more than {limit} bytes, from {packed}; that is more than a dump of this size should"
    )]
    UnpacksToTooMuch {
        /// Size of the compressed file.
        packed: u64,
        /// Bytes that it may unpack to.
        limit: u64,
    },
    /// Bytes of the file that were there when it was opened could not be read any more.
    #[error(
        "from byte {from} of {size} on the file can't be read any more: it was cut off meanwhile, or its \
         disk or share is gone; results that were made of it are wrong"
    )]
    Lost {
        /// Offset that reading failed from.
        from: u64,
        /// Size of the file when it was opened.
        size: u64,
    },
    /// The file was written to while it was read.
    #[error(
        "the file was written to while it was read ({before} bytes before, {after} now): results that \
         were made of it can be wrong"
    )]
    Changed {
        /// Size of the file when it was opened.
        before: u64,
        /// Size of the file afterwards.
        after: u64,
    },
    /// The file has no bytes.
    #[error("the file is empty")]
    EmptyFile,
    /// The file does not begin with `MDMP`.
    #[error("not a minidump: the file begins with {magic:02x?} instead of \"MDMP\"")]
    NotAMinidump {
        /// Its first bytes, at most eight.
        magic: Vec<u8>,
    },
    /// The file is a Windows kernel dump (`PAGEDUMP`, `PAGEDU64`).
    #[error("this is a kernel dump ({magic}), not the dump of a process")]
    KernelDump {
        /// Its signature.
        magic: &'static str,
    },
    /// The file is an ELF image or core file.
    #[error("this is an ELF file, not a Windows minidump")]
    Elf,
    /// The dump is that of a process of another system.
    #[error(
        "this is the minidump of a {platform} process, not of a Windows one: it has no Windows heaps"
    )]
    ForeignPlatform {
        /// Name of the system.
        platform: &'static str,
    },
    /// The process ran under Wine, or its heaps are not those of Windows.
    #[error("{}", not_windows(*wine))]
    NotWindowsHeaps {
        /// Whether ntdll says that it is Wine's.
        wine: bool,
    },
    /// The header or the stream directory can't be read.
    #[error("damaged minidump header: {reason} (the file has {size} bytes)")]
    Header {
        /// What could not be read.
        reason: String,
        /// Size of the file in bytes.
        size: u64,
    },
    /// The processor is not one whose heaps are known.
    #[error(
        "processor architecture {architecture} is not supported (x86, x64 and ARM64 hosts of x86 processes are)"
    )]
    Architecture {
        /// `PROCESSOR_ARCHITECTURE_*` of the system information stream.
        architecture: u16,
    },
    /// The process is a native one of ARM64 Windows.
    #[error(
        "the process is a native ARM64 one, whose heaps are not proved to be read right: nothing is said of them (x86 and x64 processes on ARM64 Windows are read)"
    )]
    NativeArm64,
    /// The dump holds no heap memory.
    #[error(
        "the dump holds no heap memory (dump flags {flags:#x}, {ranges} memory ranges, {bytes} bytes of memory)"
    )]
    NoHeapMemory {
        /// `MINIDUMP_TYPE` flags of the header; bit 1 (2) is full memory.
        flags: u64,
        /// Number of memory ranges in the dump.
        ranges: usize,
        /// Bytes of memory in the dump.
        bytes: u64,
    },
    /// The process has no part of the width that was asked for.
    #[error("the dump has no {bits}-bit process environment block")]
    NoSuchBitness {
        /// 32 or 64.
        bits: u32,
    },
    /// The process has no such heap.
    #[error("no heap at {handle:#x}")]
    NoSuchHeap {
        /// The address that was asked for.
        handle: u64,
    },
}

impl Error {
    /// One line of advice for the person who took or named the dump, where there is any.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::NoHeapMemory { .. } => Some(
                "take a full-memory dump: `procdump -ma PID`, `.dump /ma FILE` in WinDbg, or \
                 'Create memory dump file' in Task Manager",
            ),
            Error::KernelDump { .. } => Some(
                "ntheap reads dumps of one process: take one with `procdump -ma PID`, or extract it \
                 in WinDbg with `.process /r /p` and `.dump`",
            ),
            Error::NotAMinidump { .. } | Error::EmptyFile | Error::Elf => Some(
                "expected a Windows minidump (.dmp), plain or packed (.zst, .gz, .xz, .zip, .7z, .cab)",
            ),
            Error::NotAFile { what: "a pipe", .. } => {
                Some("dumps are read here and there: save it to a file first")
            }
            Error::UnpacksToTooMuch { .. } => {
                Some("if it is a dump all the same: --max-unpacked BYTES allows more")
            }
            Error::Changed { .. } => Some("wait until the dump is written, or copy it"),
            Error::Header { .. } => {
                Some("the file may be cut off: compare its size with the original")
            }
            Error::NoSuchHeap { .. } => Some("`ntheap summary DUMP` lists the heaps"),
            _ => None,
        }
    }
}

fn not_windows(wine: bool) -> &'static str {
    match wine {
        true => {
            "this process ran under Wine (or Proton): its heaps are Wine's own, not those of Windows, and \
             can't be walked"
        }
        false => {
            "the process heap has the mark of a Windows heap and nothing else of one, as under Wine or \
             Proton: its heaps are not those of Windows and can't be walked"
        }
    }
}
