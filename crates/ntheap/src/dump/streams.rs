//! The streams of a minidump.

use std::{fmt, time::Instant};

use minidump::{
    Error as MinidumpError, Minidump, MinidumpMemoryInfoList, MinidumpMiscInfo, MinidumpModuleList,
    MinidumpSystemInfo, MinidumpThreadList, Module as _,
};

use super::{
    Context, Module, PdbReference, Region, RegionKind, RegionState,
    memory_list::{Ranges, memory32, memory64},
    module::ModulePlaces,
};
use crate::{Error, Result, address_space::AddressSpace};

const MEMORY_LIST_STREAM: u32 = 5;
const MEMORY64_LIST_STREAM: u32 = 9;
/// More modules than a process can have.
const MAX_MODULES: usize = 1 << 20;

/// Processor of the machine that the dump describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 32-bit Intel.
    X86,
    /// 64-bit Intel and AMD. The process can still be a 32-bit one (WOW64).
    X64,
    /// 64-bit ARM; heaps have the layout of x64.
    Arm64,
}

impl Architecture {
    /// An address as a dump writes it. Writers widen addresses of 32-bit processes with their sign,
    /// which matters above 2 GiB, where programs with large addresses have memory.
    #[must_use]
    pub(crate) const fn address(self, written: u64) -> u64 {
        const SIGN: u64 = 0xffff_ffff_8000_0000;
        match self {
            Architecture::X86 if written >= SIGN => written & u32::MAX as u64,
            _ => written,
        }
    }
}

/// A thread of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// Thread identifier.
    pub id: u32,
    /// Address of its thread environment block (of the 64-bit one under WOW64).
    pub teb: u64,
    /// Address of the stack memory that the thread list names.
    pub stack_base: u64,
    /// Size of that memory in bytes.
    pub stack_size: u64,
    /// Its registers, if the dump has them (of the 64-bit side under WOW64).
    pub context: Option<Context>,
}

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

/// What a dump says of its process.
#[derive(Debug)]
pub struct Dump<'a> {
    /// `MINIDUMP_TYPE` flags that the dump was written with; bit 1 (2) is full memory.
    pub flags: u64,
    /// When the dump was taken: seconds since 1970, UTC.
    pub timestamp: u32,
    /// Processor architecture.
    pub architecture: Architecture,
    /// Windows version `[major, minor, build]` of the system information stream, if it is there.
    pub os_version: Option<[u32; 3]>,
    /// Number of processors.
    pub processors: u8,
    /// Process identifier.
    pub process_id: Option<u32>,
    /// When the process started: seconds since 1970, UTC.
    pub process_create_time: Option<u32>,
    /// Loaded modules.
    pub modules: Vec<Module>,
    /// Threads.
    pub threads: Vec<Thread>,
    /// Regions of the address space by ascending address; empty if the dump has no such stream.
    pub regions: Vec<Region>,
    /// The memory.
    pub memory: AddressSpace<'a>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Which module holds an address.
    places: ModulePlaces,
}

impl<'a> Dump<'a> {
    /// Reads the header and the streams of a dump.
    ///
    /// Streams that are absent or damaged are reported in [`Dump::problems`], not as errors.
    ///
    /// # Errors
    /// The bytes are no minidump, its header or directory can't be read, or its processor is not
    /// one of Windows'.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        check_signature(file)?;
        let size = file.len() as u64;
        let minidump = Minidump::read(file).map_err(|error| header_error(&error, size))?;
        let mut problems = Vec::new();

        let system = minidump.get_stream::<MinidumpSystemInfo>();
        let system = noted(system, "SystemInfo", &mut problems);
        let architecture = match system.as_ref().map(|s| s.raw.processor_architecture) {
            Some(0) => Architecture::X86,
            Some(9) | None => Architecture::X64,
            Some(12) => Architecture::Arm64,
            Some(architecture) => return Err(Error::Architecture { architecture }),
        };
        let misc = minidump.get_stream::<MinidumpMiscInfo>().ok();
        let modules = noted(
            minidump.get_stream::<MinidumpModuleList>(),
            "ModuleList",
            &mut problems,
        );
        let threads = noted(
            minidump.get_stream::<MinidumpThreadList<'_>>(),
            "ThreadList",
            &mut problems,
        );
        let regions = match minidump.get_stream::<MinidumpMemoryInfoList<'_>>() {
            Ok(list) => regions(&list, architecture, &mut problems),
            Err(MinidumpError::StreamNotFound) => Vec::new(),
            Err(error) => {
                let reason = error.to_string();
                problems.push(Problem::StreamUnreadable {
                    stream: "MemoryInfoList",
                    reason,
                });
                Vec::new()
            }
        };

        let mut ranges = Ranges::new();
        for directory in minidump.all_streams() {
            let start = (directory.location.rva as usize).min(file.len());
            let end = start
                .saturating_add(directory.location.data_size as usize)
                .min(file.len());
            let stream = &file[start..end];
            match directory.stream_type {
                // A full-memory dump has both at times; the full list comes first so that it wins.
                MEMORY64_LIST_STREAM => {
                    ranges.splice(0..0, memory64(stream, size, &mut problems));
                }
                MEMORY_LIST_STREAM => ranges.extend(memory32(stream, size, &mut problems)),
                _ => {}
            }
        }
        for (address, ..) in &mut ranges {
            *address = architecture.address(*address);
        }
        let memory = AddressSpace::new(file, ranges);
        let differing = || memory.overlaps().iter().filter(|overlap| overlap.differs);
        if let Some(first) = differing().next() {
            let bytes = differing().map(|overlap| overlap.size).sum();
            problems.push(Problem::MemoryOverlap {
                address: first.start,
                bytes,
            });
        }

        let modules = modules
            .map(|list| read_modules(&list, architecture))
            .unwrap_or_default();
        Ok(Dump {
            places: ModulePlaces::of(&modules),
            flags: minidump.header.flags,
            timestamp: minidump.header.time_date_stamp,
            architecture,
            os_version: system
                .as_ref()
                .map(|s| [s.raw.major_version, s.raw.minor_version, s.raw.build_number]),
            processors: system.as_ref().map_or(0, |s| s.raw.number_of_processors),
            process_id: misc.as_ref().and_then(|m| m.raw.process_id().copied()),
            process_create_time: misc
                .as_ref()
                .and_then(|m| m.raw.process_create_time().copied()),
            modules,
            threads: threads
                .map(|list| read_threads(&list, architecture, file))
                .unwrap_or_default(),
            regions,
            memory,
            problems,
        })
    }

    /// Walks of this dump's heaps end at that time with what they found until then; what was not
    /// walked is a finding ([`FindingKind::OutOfTime`](crate::blocks::FindingKind::OutOfTime)).
    pub fn stop_at(&mut self, deadline: Instant) {
        self.memory.deadline = Some(deadline);
    }

    /// Whether the dump was written with full memory.
    #[must_use]
    pub fn is_full_memory(&self) -> bool {
        self.flags & 2 != 0
    }

    /// The module that holds `address`.
    #[must_use]
    pub fn module_at(&self, address: u64) -> Option<&Module> {
        let index = self.places.at(address)?;
        self.modules
            .get(index)
            .filter(|module| module.contains(address))
    }

    /// The region that holds `address`.
    #[must_use]
    pub fn region_at(&self, address: u64) -> Option<&Region> {
        let index = self
            .regions
            .partition_point(|region| region.base <= address);
        let region = self.regions.get(index.checked_sub(1)?)?;
        (address < region.end()).then_some(region)
    }
}

fn check_signature(file: &[u8]) -> Result<()> {
    if file.is_empty() {
        return Err(Error::EmptyFile);
    }
    if file.starts_with(b"MDMP") {
        return Ok(());
    }
    if file.starts_with(b"PAGEDU64") {
        return Err(Error::KernelDump { magic: "PAGEDU64" });
    }
    if file.starts_with(b"PAGEDUMP") {
        return Err(Error::KernelDump { magic: "PAGEDUMP" });
    }
    if file.starts_with(b"\x7fELF") {
        return Err(Error::Elf);
    }
    Err(Error::NotAMinidump {
        magic: file[..file.len().min(8)].to_vec(),
    })
}

fn header_error(error: &MinidumpError, size: u64) -> Error {
    Error::Header {
        reason: error.to_string(),
        size,
    }
}

/// The stream, or a note that it is absent or unreadable.
fn noted<T>(
    stream: std::result::Result<T, MinidumpError>,
    name: &'static str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match stream {
        Ok(stream) => Some(stream),
        Err(MinidumpError::StreamNotFound) => {
            problems.push(Problem::StreamMissing { stream: name });
            None
        }
        Err(error) => {
            problems.push(Problem::StreamUnreadable {
                stream: name,
                reason: error.to_string(),
            });
            None
        }
    }
}

fn read_modules(list: &MinidumpModuleList, architecture: Architecture) -> Vec<Module> {
    list.iter()
        .take(MAX_MODULES)
        .map(|module| {
            let version = &module.raw.version_info;
            let halves = |high: u32, low: u32| {
                [
                    (high >> 16) as u16,
                    high as u16,
                    (low >> 16) as u16,
                    low as u16,
                ]
            };
            Module {
                base: architecture.address(module.raw.base_of_image),
                size: u64::from(module.raw.size_of_image),
                path: module.name.clone(),
                timestamp: module.raw.time_date_stamp,
                checksum: module.raw.checksum,
                version: (version.signature == 0xfeef_04bd)
                    .then(|| halves(version.file_version_hi, version.file_version_lo)),
                pdb: module
                    .debug_file()
                    .zip(module.debug_identifier())
                    .map(|(file, id)| PdbReference {
                        file: file.into_owned(),
                        id,
                    }),
            }
        })
        .collect()
}

fn read_threads(
    list: &MinidumpThreadList<'_>,
    architecture: Architecture,
    file: &[u8],
) -> Vec<Thread> {
    let context = |location: &minidump::format::MINIDUMP_LOCATION_DESCRIPTOR| {
        let start = location.rva as usize;
        let end = start.checked_add(location.data_size as usize)?;
        Context::read(file.get(start..end)?, architecture)
    };
    list.threads
        .iter()
        .map(|thread| Thread {
            id: thread.raw.thread_id,
            teb: architecture.address(thread.raw.teb),
            stack_base: architecture.address(thread.raw.stack.start_of_memory_range),
            stack_size: u64::from(thread.raw.stack.memory.data_size),
            context: context(&thread.raw.thread_context),
        })
        .collect()
}

/// The regions by ascending address, apart from each other: of regions over the same addresses the one
/// that begins first counts.
fn regions(
    list: &MinidumpMemoryInfoList<'_>,
    architecture: Architecture,
    problems: &mut Vec<Problem>,
) -> Vec<Region> {
    let mut regions: Vec<Region> = list
        .iter()
        .map(|info| Region {
            base: architecture.address(info.raw.base_address),
            size: info.raw.region_size,
            allocation_base: architecture.address(info.raw.allocation_base),
            state: match info.raw.state {
                0x1000 => RegionState::Commit,
                0x2000 => RegionState::Reserve,
                _ => RegionState::Free,
            },
            kind: match info.raw._type {
                0x20000 => RegionKind::Private,
                0x40000 => RegionKind::Mapped,
                0x100_0000 => RegionKind::Image,
                _ => RegionKind::None,
            },
            protection: info.raw.protection,
            allocation_protection: info.raw.allocation_protection,
        })
        .collect();
    regions.sort_by_key(|region| region.base);
    let (mut end, mut overlaps) = (0, 0u64);
    regions.retain_mut(|region| {
        let stop = region.end();
        if region.base < end {
            overlaps += 1;
            region.base = end;
            region.size = stop.saturating_sub(end);
        }
        end = end.max(stop);
        region.size > 0
    });
    if overlaps > 0 {
        problems.push(Problem::StreamUnreadable {
            stream: "MemoryInfoList",
            reason: format!("{overlaps} of its regions begin inside the one before"),
        });
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_32_bit_processes_lose_their_sign() {
        let widened = 0xffff_ffff_8012_0000;
        assert_eq!(Architecture::X86.address(widened), 0x8012_0000);
        assert_eq!(Architecture::X86.address(0x7012_0000), 0x7012_0000);
        assert_eq!(Architecture::X64.address(widened), widened);
    }
}
