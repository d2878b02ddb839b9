//! The header of a minidump and its directory of streams.
//!
//! Read here rather than by a library, so that one wrong number costs what it says and no more.

use super::Problem;
use crate::{Error, Result};

/// `MINIDUMP_VERSION`, the low half of the header's version.
const VERSION: u16 = 0xa793;
/// Size of an entry of the directory.
const ENTRY: u64 = 12;
/// More streams than any writer makes.
const MAX_STREAMS: u64 = 1 << 16;

/// `MINIDUMP_STREAM_TYPE` of the streams that are read.
pub(super) mod kind {
    pub(in crate::dump) const THREAD_LIST: u32 = 3;
    pub(in crate::dump) const MODULE_LIST: u32 = 4;
    pub(in crate::dump) const MEMORY_LIST: u32 = 5;
    pub(in crate::dump) const EXCEPTION: u32 = 6;
    pub(in crate::dump) const SYSTEM_INFO: u32 = 7;
    pub(in crate::dump) const MEMORY64_LIST: u32 = 9;
    pub(in crate::dump) const HANDLE_DATA: u32 = 12;
    pub(in crate::dump) const UNLOADED_MODULES: u32 = 14;
    pub(in crate::dump) const MISC_INFO: u32 = 15;
    pub(in crate::dump) const MEMORY_INFO_LIST: u32 = 16;
    pub(in crate::dump) const THREAD_INFO_LIST: u32 = 17;
}

/// Names of the streams, by their kind.
const NAMES: [&str; 25] = [
    "UnusedStream",
    "ReservedStream0",
    "ReservedStream1",
    "ThreadListStream",
    "ModuleListStream",
    "MemoryListStream",
    "ExceptionStream",
    "SystemInfoStream",
    "ThreadExListStream",
    "Memory64ListStream",
    "CommentStreamA",
    "CommentStreamW",
    "HandleDataStream",
    "FunctionTableStream",
    "UnloadedModuleListStream",
    "MiscInfoStream",
    "MemoryInfoListStream",
    "ThreadInfoListStream",
    "HandleOperationListStream",
    "TokenStream",
    "JavaScriptDataStream",
    "SystemMemoryInfoStream",
    "ProcessVmCountersStream",
    "IptTraceStream",
    "ThreadNamesStream",
];

/// A stream of the file, as its directory lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamEntry {
    /// `MINIDUMP_STREAM_TYPE`.
    pub kind: u32,
    /// Place in the file, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
}

impl StreamEntry {
    /// Name of the kind; `None` for those of other writers.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        NAMES.get(self.kind as usize).copied()
    }
}

/// Numbers of a file at places that may lie outside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(self, at: u64) -> Option<[u8; N]> {
        let at = usize::try_from(at).ok()?;
        self.0.get(at..)?.first_chunk().copied()
    }

    pub(super) fn u8(self, at: u64) -> Option<u8> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    pub(super) fn u16(self, at: u64) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    pub(super) fn u32(self, at: u64) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(self, at: u64) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    /// `size` bytes at `at`, if all of them are there.
    pub(super) fn slice(self, at: u64, size: u64) -> Option<&'a [u8]> {
        let from = usize::try_from(at).ok()?;
        let to = usize::try_from(at.checked_add(size)?).ok()?;
        self.0.get(from..to)
    }

    pub(super) fn len(self) -> u64 {
        self.0.len() as u64
    }
}

/// Where a stream lies in the file, as the directory says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) kind: u32,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// The header and the directory.
pub(super) struct Directory<'a> {
    pub(super) file: Bytes<'a>,
    pub(super) flags: u64,
    pub(super) timestamp: u32,
    pub(super) streams: Vec<Stream>,
}

impl<'a> Directory<'a> {
    /// Reads what the file has of both.
    pub(super) fn read(file: &'a [u8], problems: &mut Vec<Problem>) -> Result<Self> {
        let bytes = Bytes(file);
        let error = |reason: &str| Error::Header {
            reason: reason.to_owned(),
            size: file.len() as u64,
        };
        let header = || {
            Some((
                bytes.u16(4)?,
                u64::from(bytes.u32(8)?),
                u64::from(bytes.u32(12)?),
                bytes.u32(20)?,
                bytes.u64(24)?,
            ))
        };
        let (version, count, start, timestamp, flags) =
            header().ok_or_else(|| error("the header is not whole"))?;
        if version != VERSION {
            return Err(error("its version is not that of a minidump"));
        }
        let streams: Vec<Stream> = (0..count.min(MAX_STREAMS))
            .map_while(|index| {
                let entry = start + index * ENTRY;
                Some(Stream {
                    kind: bytes.u32(entry)?,
                    size: u64::from(bytes.u32(entry + 4)?),
                    offset: u64::from(bytes.u32(entry + 8)?),
                })
            })
            .collect();
        if streams.is_empty() {
            return Err(error("the stream directory is not in the file"));
        }
        let missing = count - streams.len() as u64;
        if missing > 0 {
            problems.push(Problem::StreamTruncated {
                stream: "directory",
                missing: missing.saturating_mul(ENTRY),
            });
        }
        Ok(Directory {
            file: bytes,
            flags,
            timestamp,
            streams,
        })
    }

    /// The first stream of a kind, and a note where there is none.
    pub(super) fn needed(
        &self,
        kind: u32,
        name: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<Stream> {
        let stream = self.find(kind);
        if stream.is_none() {
            problems.push(Problem::StreamMissing { stream: name });
        }
        stream
    }

    /// The first stream of a kind.
    pub(super) fn find(&self, kind: u32) -> Option<Stream> {
        self.streams
            .iter()
            .find(|stream| stream.kind == kind)
            .copied()
    }
}
