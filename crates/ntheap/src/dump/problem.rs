//! What could not be read of a dump file.

use std::fmt;

/// Something that could not be read from the dump file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The compressed file ended early.
    Incomplete {
        /// What happened.
        reason: String,
    },
    /// A stream's end is past the end of the file.
    StreamTruncated {
        /// Name of the stream.
        stream: &'static str,
        /// Missing bytes.
        missing: u64,
    },
    /// A stream is absent.
    StreamMissing {
        /// Name of the stream.
        stream: &'static str,
    },
    /// A stream could not be parsed.
    StreamUnreadable {
        /// Name of the stream.
        stream: &'static str,
        /// Why.
        reason: String,
    },
    /// A stream is larger than the directory says; it was read to its own end.
    StreamSize {
        /// Name of the stream.
        stream: &'static str,
        /// Bytes that the directory announces.
        announced: u64,
        /// Bytes that its entries take.
        needed: u64,
    },
    /// A record of the module list points outside the file; what it says itself is kept.
    ModuleRecord {
        /// Address of the module.
        base: u64,
        /// What could not be read.
        part: &'static str,
    },
    /// Memory ranges end past the end of the file.
    MemoryTruncated {
        /// Ranges that are cut or gone.
        ranges: u64,
        /// Bytes that are missing.
        bytes: u64,
    },
    /// Memory ranges claim the same addresses with different contents.
    MemoryOverlap {
        /// First such address.
        address: u64,
        /// Bytes claimed twice.
        bytes: u64,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Incomplete { reason } => write!(f, "{reason}"),
            Problem::StreamTruncated { stream, missing } => {
                write!(
                    f,
                    "the {stream} stream is cut off: {missing} bytes are missing"
                )
            }
            Problem::StreamMissing { stream } => write!(f, "the dump has no {stream} stream"),
            Problem::StreamUnreadable { stream, reason } => {
                write!(f, "the {stream} stream can't be read: {reason}")
            }
            Problem::StreamSize {
                stream,
                announced,
                needed,
            } => write!(
                f,
                "the {stream} stream has {needed} bytes where {announced} are announced; all were read"
            ),
            Problem::ModuleRecord { base, part } => {
                write!(f, "the {part} of the module at {base:#x} can't be read")
            }
            Problem::MemoryTruncated { ranges, bytes } => write!(
                f,
                "the file is cut off: {bytes} bytes of memory in {ranges} ranges are missing"
            ),
            Problem::MemoryOverlap { address, bytes } => write!(
                f,
                "{bytes} bytes of memory are in the dump twice with different contents, first at \
                 {address:#x}; the range that begins first is used"
            ),
        }
    }
}
