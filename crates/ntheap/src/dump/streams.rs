//! The streams of a minidump.

use std::{
    mem,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use super::{
    Context, Exception, Handle, ImageInfo, Module, Problem, Product, Region, StreamEntry,
    ThreadInfo, UnloadedModule,
    directory::{Bytes, Directory, Stream, kind},
    exports::own_name,
    handles, image, lists,
    memory_list::{Ranges, memory32, memory64},
    module::ModulePlaces,
    pe::ImageHeaders,
    release,
    system::{self, System},
};
use crate::{Error, Result, address_space::AddressSpace};

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
    /// How often it was suspended; by who wrote the dump, too.
    pub suspend_count: u32,
    /// Priority class of its process, for instance 32 (normal).
    pub priority_class: u32,
    /// Its priority in that class.
    pub priority: u32,
    /// Address of its thread environment block (of the 64-bit one under WOW64).
    pub teb: u64,
    /// Address of the stack memory that the thread list names.
    pub stack_base: u64,
    /// Size of that memory in bytes.
    pub stack_size: u64,
    /// Its registers, if the dump has them (of the 64-bit side under WOW64).
    pub context: Option<Context>,
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
    /// Whether it is a Windows for servers.
    pub product: Product,
    /// Number of processors.
    pub processors: u8,
    /// Process identifier.
    pub process_id: Option<u32>,
    /// When the process started: seconds since 1970, UTC.
    pub process_create_time: Option<u32>,
    /// Seconds that the process ran in user mode and in the kernel.
    pub process_times: Option<(u32, u32)>,
    /// The number with which `EncodePointer` hides pointers.
    pub process_cookie: Option<u32>,
    /// The exception that the dump was written for, if it was for one.
    pub exception: Option<Exception>,
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
    /// The file, and where in it the lists are that are read when they are asked for.
    bytes: &'a [u8],
    handle_stream: Option<Stream>,
    unloaded_stream: Option<Stream>,
    thread_info_stream: Option<Stream>,
    streams: Vec<StreamEntry>,
}

impl<'a> Dump<'a> {
    /// Reads the header and the streams of a dump.
    ///
    /// Streams that are absent or damaged are reported in [`Dump::problems`], not as errors.
    ///
    /// # Errors
    /// The bytes are no minidump, its header or directory can't be read, or it is that of another
    /// system than Windows or of a processor whose heaps are not known.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        check_signature(file)?;
        let mut problems = Vec::new();
        let directory = Directory::read(file, &mut problems)?;
        let bytes = directory.file;
        let system = directory.needed(kind::SYSTEM_INFO, "SystemInfo", &mut problems);
        let system = match system {
            Some(stream) => System::read(bytes, stream, &mut problems)?,
            None => System::default(),
        };
        let mut ranges = read_ranges(&directory, &mut problems);
        let module_list = directory.needed(kind::MODULE_LIST, "ModuleList", &mut problems);
        let thread_list = directory.needed(kind::THREAD_LIST, "ThreadList", &mut problems);
        let region_list = directory.find(kind::MEMORY_INFO_LIST);
        let mut lists = |architecture| {
            let problems = &mut problems;
            let modules = module_list.map(|s| lists::modules(bytes, s, architecture, problems));
            let threads = thread_list.map(|s| lists::threads(bytes, s, architecture, problems));
            let regions = region_list.map(|s| lists::regions(bytes, s, architecture, problems));
            (
                modules.unwrap_or_default(),
                threads.unwrap_or_default(),
                regions.unwrap_or_default(),
            )
        };
        let (architecture, (mut modules, threads, regions)) = match system.architecture {
            Some(architecture) => (architecture, lists(architecture)),
            None => {
                let (modules, threads, regions) = lists(Architecture::X64);
                let guess = system::guess(&ranges, &modules, &threads, &regions);
                match guess {
                    Architecture::X64 => (guess, (modules, threads, regions)),
                    _ => (guess, lists(guess)),
                }
            }
        };
        // What the lists lack was said twice where they had to be read twice.
        problems.dedup();

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
        for module in modules.iter_mut().filter(|module| module.path.is_empty()) {
            module.path = own_name(&memory, module).unwrap_or_default();
        }
        let misc = Misc::read(&directory);
        Ok(Dump {
            places: ModulePlaces::of(&modules),
            flags: directory.flags,
            timestamp: directory.timestamp,
            architecture,
            os_version: system.version,
            processors: system.processors,
            product: system.product,
            process_id: misc.process_id,
            process_create_time: misc.create_time,
            process_times: misc.times,
            process_cookie: misc.cookie,
            bytes: file,
            handle_stream: directory.find(kind::HANDLE_DATA),
            unloaded_stream: directory.find(kind::UNLOADED_MODULES),
            thread_info_stream: directory.find(kind::THREAD_INFO_LIST),
            streams: directory
                .streams
                .iter()
                .map(|stream| StreamEntry {
                    kind: stream.kind,
                    offset: stream.offset,
                    size: stream.size,
                })
                .collect(),
            exception: directory
                .find(kind::EXCEPTION)
                .and_then(|stream| Exception::read(bytes, stream, architecture)),
            modules,
            threads,
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

    /// Whether the time that [`Dump::stop_at`] set has come.
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        let deadline = self.memory.deadline;
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// The streams of the file, in the order of its directory.
    #[must_use]
    pub fn streams(&self) -> &[StreamEntry] {
        &self.streams
    }

    /// When the threads began and how long they ran, if the dump tells of that.
    #[must_use]
    pub fn thread_infos(&self) -> Vec<ThreadInfo> {
        let read = |stream| handles::thread_infos(Bytes(self.bytes), stream);
        self.thread_info_stream.map(read).unwrap_or_default()
    }

    /// What the headers of the image at an address say; `None` where the dump has none there.
    #[must_use]
    pub fn image_at(&self, base: u64) -> Option<ImageInfo> {
        image::read(&self.memory, base)
    }

    /// Lets all walks over this dump add up the bytes of heaps that they have done, so that who waits
    /// can be told: of how many in all, [`Heaps::bytes`](crate::heap::Heaps::bytes) says.
    pub fn count_walked(&mut self, walked: Arc<AtomicU64>) {
        self.memory.walked = Some(walked);
    }

    /// Whether the dump was written with full memory.
    #[must_use]
    pub fn is_full_memory(&self) -> bool {
        self.flags & 2 != 0
    }

    /// The handles that the process had open, if the dump has a list of them.
    #[must_use]
    pub fn handles(&self) -> Option<Vec<Handle>> {
        self.handle_stream
            .map(|stream| handles::handles(Bytes(self.bytes), stream))
    }

    /// The modules that were unloaded, as far as Windows remembered.
    #[must_use]
    pub fn unloaded_modules(&self) -> Vec<UnloadedModule> {
        let read = |stream| handles::unloaded(Bytes(self.bytes), stream);
        self.unloaded_stream.map(read).unwrap_or_default()
    }

    /// Name of the Windows, for instance `Windows 11 25H2` or `Windows Server 2025`; of builds that
    /// are none of these the nearest one below.
    #[must_use]
    pub fn windows_name(&self) -> Option<&'static str> {
        release::name(self.os_version?, self.product)
    }

    /// Address of the function that a module begins with, as its image says; `None` where its headers are
    /// not in the dump.
    #[must_use]
    pub fn entry_point(&self, module: &Module) -> Option<u64> {
        ImageHeaders::at(&self.memory, module.base)?.entry_point()
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

/// The ranges of both memory lists. A full-memory dump has both at times; the full list comes first so
/// that it wins.
fn read_ranges(directory: &Directory<'_>, problems: &mut Vec<Problem>) -> Ranges {
    let mut ranges = Ranges::new();
    for stream in directory.streams.iter().copied() {
        match stream.kind {
            kind::MEMORY64_LIST => {
                let others = mem::replace(&mut ranges, memory64(directory.file, stream, problems));
                ranges.extend(others);
            }
            kind::MEMORY_LIST => ranges.extend(memory32(directory.file, stream, problems)),
            _ => {}
        }
    }
    ranges
}

/// What the miscellaneous information says of the process.
#[derive(Default)]
struct Misc {
    process_id: Option<u32>,
    create_time: Option<u32>,
    /// In user mode and in the kernel.
    times: Option<(u32, u32)>,
    cookie: Option<u32>,
}

impl Misc {
    fn read(directory: &Directory<'_>) -> Self {
        const PROCESS_ID: u32 = 1;
        const PROCESS_TIMES: u32 = 2;
        const PROCESS_COOKIE: u32 = 0x200;
        /// Of its fifth version alone, at the end of that.
        const COOKIE: u64 = 0x550;
        let Some(stream) = directory.find(kind::MISC_INFO) else {
            return Misc::default();
        };
        let number = |at: u64| directory.file.u32(stream.offset.saturating_add(at));
        let flags = number(4).unwrap_or(0);
        let field = |flag: u32, at: u64| number(at).filter(|_| flags & flag != 0);
        Misc {
            process_id: field(PROCESS_ID, 8),
            create_time: field(PROCESS_TIMES, 12),
            times: field(PROCESS_TIMES, 16).zip(field(PROCESS_TIMES, 20)),
            cookie: field(PROCESS_COOKIE, COOKIE).filter(|_| stream.size >= COOKIE + 4),
        }
    }
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
