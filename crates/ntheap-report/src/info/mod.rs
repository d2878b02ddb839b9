//! What a dump is of, and what it lacks.

mod text;

use crate::{
    json::{Address, ProcessReport},
    noted::{self, ExceptionReport, HeapFailureReport},
    text::shell_word,
};
use ntheap::{
    dump::{self, Dump, Module},
    heap::{self, Heap, Heaps},
    names::NameSource,
    process::{Process, global_flags},
    stats::HeapStatistics,
    time::UtcTime,
    traces::Traces,
};
use schemars::JsonSchema;
use serde::Serialize;

/// What a dump is of.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct InfoReport {
    /// The file.
    pub dump: DumpInfo,
    /// The sides of the process that were looked at.
    pub sides: Vec<SideInfo>,
}

/// The dump file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct DumpInfo {
    /// When it was taken.
    pub time: String,
    /// `MINIDUMP_TYPE`, of heaps `_HEAP.Flags`.
    pub flags: u64,
    /// Names of the flags.
    pub flag_names: Vec<&'static str>,
    /// Whether it has all memory.
    pub full_memory: bool,
    /// Number of memory ranges.
    pub memory_ranges: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// `x86`, `x64`, `arm64`.
    pub architecture: &'static str,
    /// Windows version: major, minor, build.
    pub os_version: Option<[u32; 3]>,
    /// Name of the Windows, for instance `Windows 11 25H2` or `Windows Server 2025`.
    pub windows: Option<&'static str>,
    /// Number of processors.
    pub processors: u8,
    /// When the process started.
    pub process_start: Option<String>,
    /// Seconds from the start of the process to the dump.
    pub process_seconds: Option<u32>,
    /// Number of threads.
    pub threads: usize,
    /// Number of modules.
    pub modules: usize,
    /// The exception that the dump was written for.
    pub exception: Option<ExceptionReport>,
    /// That exception in one line.
    #[serde(skip)]
    pub exception_text: Option<String>,
    /// What of the file could not be read.
    pub problems: Vec<String>,
}

impl InfoReport {
    /// The report of a dump, without its process yet.
    #[must_use]
    pub fn new(dump: &Dump<'_>) -> Self {
        InfoReport {
            dump: DumpInfo::new(dump),
            sides: Vec::new(),
        }
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        text::write(self, out)
    }
}

impl DumpInfo {
    fn new(dump: &Dump<'_>) -> Self {
        let time = |seconds: u32| format!("{} UTC", UtcTime::from_unix(seconds.into()));
        DumpInfo {
            time: time(dump.timestamp),
            flags: dump.flags,
            flag_names: dump::flag_names(dump.flags).collect(),
            full_memory: dump.is_full_memory(),
            memory_ranges: dump.memory.ranges().len(),
            memory_bytes: dump.memory.size(),
            architecture: match dump.architecture {
                dump::Architecture::X86 => "x86",
                dump::Architecture::X64 => "x64",
                dump::Architecture::Arm64 => "arm64",
            },
            os_version: dump.os_version,
            windows: dump.windows_name(),
            processors: dump.processors,
            process_start: dump.process_create_time.map(time),
            process_seconds: dump
                .process_create_time
                .and_then(|start| dump.timestamp.checked_sub(start)),
            threads: dump.threads.len(),
            modules: dump.modules.len(),
            exception: dump.exception.as_ref().map(ExceptionReport::from),
            exception_text: dump.exception.as_ref().map(noted::describe),
            problems: dump.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// One side of the process.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SideInfo {
    /// Which process.
    pub process: ProcessReport,
    /// Bits of `NtGlobalFlag` that are set.
    pub global_flags: Vec<FlagInfo>,
    /// Its heaps.
    pub heaps: Vec<HeapInfo>,
    /// Stacks of allocations.
    pub stacks: StackInfo,
    /// What ntdll noted of a damaged heap.
    pub heap_failure: Option<HeapFailureReport>,
    /// What of the process is missing or in doubt, its lists of heaps above all.
    pub problems: Vec<String>,
    /// What is missing, and how to have it next time.
    pub advice: Vec<Advice>,
}

/// A bit of `NtGlobalFlag`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct FlagInfo {
    /// Its abbreviation in gflags.
    pub flag: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// A heap's options.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct HeapInfo {
    /// Handle.
    pub heap: Address,
    /// Kind.
    pub kind: &'static str,
    /// How it was found: `peb`, `ring`, `page-heap`, `scan`, `unlisted`.
    pub source: &'static str,
    /// `MINIDUMP_TYPE`, of heaps `_HEAP.Flags`.
    pub flags: u32,
    /// What the heap is for, by its flags.
    pub class: Option<&'static str>,
    /// Its flags in words.
    pub options: Vec<&'static str>,
    /// What of heap debugging is on.
    pub debug_options: Vec<&'static str>,
    /// Its critical section, if it has one.
    pub lock: Option<LockInfo>,
    /// Blocks that the program holds.
    pub busy_blocks: u64,
    /// Blocks whose allocation has a stack trace.
    pub traced_blocks: u64,
}

/// The critical section of a heap.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct LockInfo {
    /// Address.
    pub address: Address,
    /// Thread that holds it.
    pub owner_thread: Option<u32>,
    /// How often it is entered.
    pub recursion: u32,
    /// Threads that wait.
    pub waiting: u32,
    /// How often a thread had to wait.
    pub contention: u32,
}

/// Where stacks are kept.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct StackInfo {
    /// Blocks that the program holds.
    pub busy_blocks: u64,
    /// Blocks whose allocation has a stack trace.
    pub traced_blocks: u64,
    /// The database of Vista and later.
    pub trace_log: Option<DatabaseInfo>,
    /// The database of XP, and of page heap.
    pub trace_database: Option<DatabaseInfo>,
}

/// A database of stacks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct DatabaseInfo {
    /// Address.
    pub address: Address,
    /// Stacks of allocations.
    pub stacks: u32,
}

/// What is missing, and the command that gives it next time.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Advice {
    /// What.
    pub missing: &'static str,
    /// The command.
    pub command: String,
}

impl SideInfo {
    /// The report of a side: its heaps with what was counted in them.
    #[must_use]
    pub fn new(
        process: &Process<'_, '_>,
        heaps: &Heaps<'_, '_>,
        statistics: &[HeapStatistics],
        traces: &Traces<'_, '_>,
        names: &dyn NameSource,
    ) -> Self {
        let flags = global_flags(process.nt_global_flag.unwrap_or(0));
        let sum = |count: fn(&HeapStatistics) -> u64| statistics.iter().map(count).sum();
        let stacks = StackInfo {
            busy_blocks: sum(|heap| heap.busy_blocks),
            traced_blocks: sum(|heap| heap.traced_blocks),
            trace_log: traces.log().map(|log| DatabaseInfo {
                address: Address(log.address),
                stacks: log.count,
            }),
            trace_database: traces.database().map(|database| DatabaseInfo {
                address: Address(database.address),
                stacks: database.added,
            }),
        };
        SideInfo {
            process: ProcessReport::new(process),
            global_flags: flags
                .map(|flag| FlagInfo {
                    flag: flag.abbreviation,
                    description: flag.description,
                })
                .collect(),
            heaps: heaps
                .iter()
                .zip(statistics)
                .map(|(heap, statistics)| heap_info(heap, statistics))
                .collect(),
            heap_failure: HeapFailureReport::of(process, names),
            problems: process.problems.iter().map(ToString::to_string).collect(),
            advice: advice(process, heaps, &stacks),
            stacks,
        }
    }
}

fn heap_info(heap: &Heap<'_, '_>, statistics: &HeapStatistics) -> HeapInfo {
    let flags = heap.flags();
    let lock = heap.lock_state().map(|lock| LockInfo {
        address: Address(lock.address),
        owner_thread: lock.owner_thread,
        recursion: lock.recursion,
        waiting: lock.waiting,
        contention: lock.contention.unwrap_or(0),
    });
    let mut debug_options: Vec<_> = heap::debug_options(flags).collect();
    if let Heap::Page(page) = heap {
        debug_options.push(match page.root.is_full() {
            true => "full page heap",
            false => "light page heap",
        });
        if page.root.captures_stacks() {
            debug_options.push("page heap stack traces");
        }
    }
    HeapInfo {
        heap: Address(heap.handle()),
        kind: heap.reference().kind.name(),
        source: heap.reference().source.name(),
        flags,
        // Segment heaps have no such flags.
        class: (!matches!(heap, Heap::Segment(_)))
            .then(|| heap::class_name(flags))
            .flatten(),
        options: heap::flag_words(flags)
            .filter(|word| !debug_options.contains(word))
            .collect(),
        debug_options,
        lock,
        busy_blocks: statistics.busy_blocks,
        traced_blocks: statistics.traced_blocks,
    }
}

/// What is missing, and how to have it next time.
fn advice(process: &Process<'_, '_>, heaps: &Heaps<'_, '_>, stacks: &StackInfo) -> Vec<Advice> {
    let mut advice = Vec::new();
    let quoted = shell_word(process.program().map_or("", Module::file_name));
    if stacks.traced_blocks == 0 && stacks.busy_blocks > 0 {
        let page_heap = heaps.iter().find_map(|heap| match heap {
            Heap::Page(page) => Some(page.root.is_full()),
            _ => None,
        });
        // Page heap has a switch of its own: without /notrace it records stacks.
        let command = match page_heap {
            Some(true) => format!("gflags /p /enable {quoted} /full"),
            Some(false) => format!("gflags /p /enable {quoted}"),
            None => format!("gflags /i {quoted} +ust"),
        };
        advice.push(Advice {
            missing: "call stacks of the blocks",
            command,
        });
    }
    if !process.dump.is_full_memory() {
        advice.push(Advice {
            missing: "all memory of the process",
            command: match process.dump.process_id {
                Some(pid) => format!("procdump -ma {pid}"),
                None => format!("procdump -ma {quoted}"),
            },
        });
    }
    advice
}
