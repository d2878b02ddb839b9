//! The process inside a dump: bitness, Windows build, environment block, flags, heaps.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, process::Process};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! println!("build {}, {} heaps", process.build, process.heaps.len());
//! # Ok(())
//! # }
//! ```

mod build;
mod environment;
mod failure;
mod flags;
mod foreign;
mod heap_ref;
mod probe;
mod threads;

use std::fmt;

pub use build::BuildSource;
pub(crate) use environment::{native_peb, wow64, wow64_peb, wow64_tebs};
pub use failure::HeapFailure;
pub use flags::{GlobalFlag, global_flags};
pub(crate) use heap_ref::{Found, LostRoot};
pub use heap_ref::{HeapKind, HeapRef, HeapSource};
pub(crate) use probe::{NT_HEAP, NT_SEGMENT, heap_kind};
pub(crate) use threads::{stack_of, wow64_context};

use crate::{
    Error, Result,
    address_space::{AddressSpace, Range},
    dump::{Dump, Module},
    layout::{Bitness, Layouts, TypeSource},
};

/// Something about the process that is missing or in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The environment block could not be found; heaps were searched for in memory.
    NoPeb,
    /// The sources of the build number disagree.
    BuildInDoubt {
        /// The build that is used.
        used: u32,
        /// What the sources say.
        sources: Vec<(BuildSource, u32)>,
    },
    /// The layout of the judged build does not fit the heaps; another build's does.
    LayoutOfOtherBuild {
        /// The judged build.
        judged: u32,
        /// The build whose layout fits.
        used: u32,
    },
    /// The build is newer than any that was proved; the newest known layout is used.
    NewerBuild {
        /// The build.
        build: u32,
        /// Whether the layout's self-checks hold on the process heap.
        checked: bool,
    },
    /// The heap array or ring is damaged.
    HeapList {
        /// Where.
        address: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A heap's header is not in the dump or was overwritten; its blocks are found without it.
    HeaderLost {
        /// Its handle.
        handle: u64,
    },
    /// A heap that a list or a segment names: its header is not in the dump or is no heap.
    NotAHeap {
        /// Its handle.
        handle: u64,
    },
    /// More of the kind: a list that is overwritten can have tens of thousands.
    MoreNotHeaps {
        /// How many.
        handles: u64,
    },
    /// A heap that lies in memory and hangs on none of the process's lists.
    UnlistedHeap {
        /// Its handle.
        handle: u64,
    },
    /// The dump holds no memory of heaps.
    NoHeaps,
    /// The lists could not be read whole; memory was searched for heaps instead.
    Searched {
        /// Heaps that were found that way alone.
        found: usize,
    },
}

impl Problem {
    /// Whether heaps or blocks may be missing from results because of it.
    #[must_use]
    pub fn loses_heaps(&self) -> bool {
        match self {
            Problem::NoPeb
            | Problem::HeapList { .. }
            | Problem::HeaderLost { .. }
            | Problem::NotAHeap { .. }
            | Problem::MoreNotHeaps { .. }
            | Problem::UnlistedHeap { .. }
            | Problem::NoHeaps
            | Problem::Searched { .. } => true,
            Problem::NewerBuild { checked, .. } => !checked,
            Problem::BuildInDoubt { .. } | Problem::LayoutOfOtherBuild { .. } => false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoPeb => write!(
                f,
                "the process environment block is not in the dump; heaps were searched for in memory"
            ),
            Problem::BuildInDoubt { used, sources } => {
                write!(f, "Windows build in doubt, {used} is used:")?;
                sources
                    .iter()
                    .try_for_each(|(source, build)| write!(f, " {source} {build}"))
            }
            Problem::LayoutOfOtherBuild { judged, used } => write!(
                f,
                "the heaps do not have the layout of build {judged} but that of {used}, which is used \
                 and proves itself on them: nothing is lost by that"
            ),
            Problem::NewerBuild { build, checked } => write!(
                f,
                "build {build} is newer than the newest known layout, which is used; its self-checks {}",
                if *checked { "hold" } else { "do not hold" }
            ),
            Problem::HeapList { address, reason } => {
                write!(f, "heap list at {address:x}: {reason}")
            }
            Problem::HeaderLost { handle } => write!(
                f,
                "heap {handle:x}: its header is not in the dump or was overwritten; it was found by its segments and entries"
            ),
            Problem::MoreNotHeaps { handles } => write!(
                f,
                "{handles} more handles of the heap list are none of heaps in the dump"
            ),
            Problem::NotAHeap { handle } => {
                write!(
                    f,
                    "heap {handle:x}: its header is not in the dump or is no heap header"
                )
            }
            Problem::UnlistedHeap { handle } => write!(
                f,
                "heap {handle:x} lies in memory and is on no list of the process's heaps: the lists \
                 are damaged"
            ),
            Problem::NoHeaps => write!(f, "the dump holds no heap memory"),
            Problem::Searched { found: 1 } => {
                write!(
                    f,
                    "1 heap is on no list that could be read; it was found by searching memory"
                )
            }
            Problem::Searched { found } => write!(
                f,
                "{found} heaps are on no list that could be read; they were found by searching memory"
            ),
        }
    }
}

/// One side of a process: its only one, or the 32-bit or 64-bit side under WOW64.
#[derive(Debug)]
pub struct Process<'d, 'a> {
    /// The dump.
    pub dump: &'d Dump<'a>,
    /// Width of this side.
    pub bitness: Bitness,
    /// Whether the process is a 32-bit one on 64-bit Windows.
    pub wow64: bool,
    /// Windows build number, judged from several sources.
    pub build: u32,
    /// Where each structure's fields are.
    pub layouts: Layouts,
    /// Address of the environment block, if it was found.
    pub peb: Option<u64>,
    /// `NtGlobalFlag`, if the environment block was found.
    pub nt_global_flag: Option<u32>,
    /// Handle of the process heap, if the environment block was found.
    pub process_heap: Option<u64>,
    /// The heaps, in the order in which Windows lists them, and behind these such as should be listed
    /// and were found by a search through memory.
    ///
    /// With page heap these are the page heaps, whose handles the program has, and such heaps as
    /// have no page heap in front.
    pub heaps: Vec<HeapRef>,
    /// The normal heaps behind page heaps, in the order in which Windows lists them. Their blocks
    /// are blocks of the page heaps.
    pub normal_heaps: Vec<HeapRef>,
    /// Heaps that ntdll keeps for itself, on no list: neither the program nor the debugger knows of
    /// them, but blocks of them hold others.
    pub unlisted_heaps: Vec<HeapRef>,
    /// What is missing or in doubt.
    pub problems: Vec<Problem>,
    /// Page heaps whose root is lost.
    pub(crate) lost_roots: Vec<LostRoot>,
    /// What a search through memory found.
    pub(crate) found: Found,
}

/// How to look at a process.
#[derive(Default)]
pub struct ProcessOptions<'t> {
    /// Which side; by default the one that the program's own code has.
    pub bitness: Option<Bitness>,
    /// Layouts that override the built-in ones, such as ntdll's PDB.
    pub types: Option<&'t dyn TypeSource>,
    /// Whether a process without any heap memory in the dump will do: its modules, threads and build
    /// can be there all the same. What is missing is then [`Problem::NoHeaps`].
    pub without_heaps: bool,
}

impl fmt::Debug for ProcessOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessOptions")
            .field("bitness", &self.bitness)
            .field("types", &self.types.is_some())
            .field("without_heaps", &self.without_heaps)
            .finish()
    }
}

impl<'d, 'a> Process<'d, 'a> {
    /// The memory of the process.
    #[must_use]
    pub fn memory(&self) -> &'d AddressSpace<'a> {
        &self.dump.memory
    }

    /// The ntdll of this side. A WOW64 dump has two: the 32-bit one lies below 4 GiB.
    #[must_use]
    pub fn ntdll(&self) -> Option<&'d Module> {
        self.dump.modules.iter().find(|module| {
            module.file_name().eq_ignore_ascii_case("ntdll.dll")
                && (self.bitness == Bitness::X86
                    || !self.wow64
                    || module.base > u64::from(u32::MAX))
                && (self.bitness == Bitness::X64 || module.base <= u64::from(u32::MAX))
        })
    }

    /// The aligned, pointer-sized words of this side's ntdll image that the dump holds, with their
    /// addresses: where variables are looked for whose names nobody knows.
    pub(crate) fn ntdll_words(&self) -> impl Iterator<Item = (u64, u64)> + use<'_, 'd, 'a> {
        let (memory, bitness) = (self.memory(), self.bitness);
        let size = bitness.pointer_size();
        self.ntdll().into_iter().flat_map(move |ntdll| {
            let held = |range: &&Range<'a>| range.start < ntdll.end() && range.end() > ntdll.base;
            memory.ranges().iter().filter(held).flat_map(move |range| {
                let first = range.start.max(ntdll.base);
                let mut window = memory.window();
                (first - first % size..range.end().min(ntdll.end()))
                    .step_by(size as usize)
                    .filter_map(move |at| Some((at, window.pointer(at, bitness)?)))
            })
        })
    }

    /// The program: the first module, which is the executable, or else the first that is one.
    #[must_use]
    pub fn program(&self) -> Option<&'d Module> {
        let modules = &self.dump.modules;
        let is_program = |module: &&Module| {
            module.file_name().len() > 4
                && module.file_name().to_ascii_lowercase().ends_with(".exe")
        };
        modules.iter().find(is_program).or_else(|| modules.first())
    }

    /// The heap with this handle.
    ///
    /// # Errors
    /// [`Error::NoSuchHeap`].
    pub fn heap(&self, handle: u64) -> Result<&HeapRef> {
        self.all_heaps()
            .find(|heap| heap.handle == handle)
            .ok_or(Error::NoSuchHeap { handle })
    }

    /// What the header at `handle` is.
    pub(crate) fn heap_kind(&self, handle: u64) -> Option<HeapKind> {
        heap_kind(self.memory(), self.bitness, handle)
    }

    /// All heaps: those that Windows lists, then those that ntdll keeps for itself.
    pub fn all_heaps(&self) -> impl Iterator<Item = &HeapRef> {
        self.heaps.iter().chain(&self.unlisted_heaps)
    }

    pub(crate) fn read_environment(&mut self) {
        let Some(peb) = self.peb else {
            self.problems.push(Problem::NoPeb);
            return;
        };
        let peb = self.memory().at(peb, self.bitness);
        self.nt_global_flag = peb.u32(self.layouts.peb.nt_global_flag);
        self.process_heap = peb.pointer(self.layouts.peb.process_heap);
    }
}
