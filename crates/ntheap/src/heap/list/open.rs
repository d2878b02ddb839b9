//! Making a [`Process`]: of its environment block, and of what proves which heaps it has.
//!
//! This stands above the process's own module because heaps alone tell what heaps are.

use super::search::{Extent, has_heap};
use crate::{
    Error, Result,
    dump::{Architecture, Dump},
    layout::{Bitness, Layouts},
    process::{self, Found, Problem, Process, ProcessOptions},
};

impl<'d, 'a> Process<'d, 'a> {
    /// The process as its program sees it: the 32-bit side under WOW64.
    ///
    /// # Errors
    /// [`Error::NoHeapMemory`] when no heap could be found, [`Error::NotWindowsHeaps`] for a process
    /// under Wine.
    pub fn of(dump: &'d Dump<'a>) -> Result<Self> {
        Self::with_options(dump, &ProcessOptions::default())
    }

    /// A chosen side of the process, or with chosen layouts.
    ///
    /// # Errors
    /// [`Error::NoHeapMemory`] when no heap could be found (unless the options accept that),
    /// [`Error::NoSuchBitness`] when the process has no such side, [`Error::NotWindowsHeaps`] for a
    /// process under Wine, [`Error::NativeArm64`] for a native one of ARM64 Windows.
    pub fn with_options(dump: &'d Dump<'a>, options: &ProcessOptions<'_>) -> Result<Self> {
        let native = match dump.architecture {
            Architecture::X86 => Bitness::X86,
            Architecture::X64 | Architecture::Arm64 => Bitness::X64,
        };
        let wow64_side = match native {
            Bitness::X64 => process::wow64(dump, || has_heap(dump, Bitness::X86)),
            Bitness::X86 => None,
        };
        let wow64 = wow64_side.is_some();
        // Its structures are thought to be those of x64; no dump has proved it.
        if dump.architecture == Architecture::Arm64 && !wow64 {
            return Err(Error::NativeArm64);
        }
        let bitness = options
            .bitness
            .unwrap_or(if wow64 { Bitness::X86 } else { native });
        let peb = match (native, bitness) {
            (Bitness::X64, Bitness::X86) => {
                let bits = bitness.bits();
                wow64_side.ok_or(Error::NoSuchBitness { bits })?.peb
            }
            (Bitness::X86, Bitness::X64) => {
                return Err(Error::NoSuchBitness {
                    bits: bitness.bits(),
                });
            }
            _ => process::native_peb(dump, native),
        };

        let mut process = Process {
            dump,
            bitness,
            wow64,
            build: 0,
            layouts: Layouts::for_build(0, bitness),
            peb,
            nt_global_flag: None,
            process_heap: None,
            heaps: Vec::new(),
            normal_heaps: Vec::new(),
            unlisted_heaps: Vec::new(),
            problems: Vec::new(),
            lost_roots: Vec::new(),
            found: Found::default(),
        };
        process.judge_build();
        process.layouts = Layouts::for_build(process.build, bitness);
        if let Some(types) = options.types {
            process.layouts.override_with(types);
        }
        process.read_environment();
        process.found = process.search(Extent::Likely);
        if options.types.is_none() {
            process.check_layouts();
        }
        if let Some(wine) = process.has_other_heaps() {
            return Err(Error::NotWindowsHeaps { wine });
        }
        process.list_heaps();
        if process.heaps.is_empty() && options.without_heaps {
            process.problems.push(Problem::NoHeaps);
        } else if process.heaps.is_empty() {
            return Err(Error::NoHeapMemory {
                flags: dump.flags,
                ranges: dump.memory.ranges().len(),
                bytes: dump.memory.size(),
            });
        }
        Ok(process)
    }
}
