//! What `info` says, as data.

use ntheap::{
    dump::{self, Dump, Module},
    heap::{self, Heap, Heaps},
    process::{Process, global_flags},
    stats::HeapStatistics,
    time::UtcTime,
    traces::Traces,
};
use ntheap_report::json::{Address, ProcessReport};
use serde::Serialize;

use crate::commands::shell_word;

#[derive(Serialize)]
pub(super) struct Info {
    pub(super) dump: DumpInfo,
    pub(super) sides: Vec<SideInfo>,
}

/// The dump file.
#[derive(Serialize)]
pub(super) struct DumpInfo {
    pub(super) time: String,
    pub(super) flags: u64,
    pub(super) flag_names: Vec<&'static str>,
    pub(super) full_memory: bool,
    pub(super) memory_ranges: usize,
    pub(super) memory_bytes: u64,
    pub(super) architecture: &'static str,
    pub(super) os_version: Option<[u32; 3]>,
    pub(super) processors: u8,
    pub(super) process_start: Option<String>,
    /// Seconds from the start of the process to the dump.
    pub(super) process_seconds: Option<u32>,
    pub(super) threads: usize,
    pub(super) modules: usize,
}

impl DumpInfo {
    pub(super) fn new(dump: &Dump<'_>) -> Self {
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
            processors: dump.processors,
            process_start: dump.process_create_time.map(time),
            process_seconds: dump
                .process_create_time
                .and_then(|start| dump.timestamp.checked_sub(start)),
            threads: dump.threads.len(),
            modules: dump.modules.len(),
        }
    }
}

/// One side of the process.
#[derive(Serialize)]
pub(super) struct SideInfo {
    pub(super) process: ProcessReport,
    pub(super) global_flags: Vec<FlagInfo>,
    pub(super) heaps: Vec<HeapInfo>,
    pub(super) stacks: StackInfo,
    pub(super) advice: Vec<Advice>,
}

/// A bit of `NtGlobalFlag`.
#[derive(Serialize)]
pub(super) struct FlagInfo {
    pub(super) flag: &'static str,
    pub(super) description: &'static str,
}

/// A heap's options.
#[derive(Serialize)]
pub(super) struct HeapInfo {
    pub(super) heap: Address,
    pub(super) kind: &'static str,
    pub(super) flags: u32,
    pub(super) class: Option<&'static str>,
    pub(super) options: Vec<&'static str>,
    pub(super) debug_options: Vec<&'static str>,
    pub(super) lock: Option<LockInfo>,
    pub(super) busy_blocks: u64,
    pub(super) traced_blocks: u64,
}

/// The critical section of a heap.
#[derive(Serialize)]
pub(super) struct LockInfo {
    pub(super) address: Address,
    /// Thread that holds it.
    pub(super) owner_thread: Option<u32>,
    pub(super) recursion: u32,
    pub(super) waiting: u32,
    pub(super) contention: u32,
}

/// Where stacks are kept.
#[derive(Serialize)]
pub(super) struct StackInfo {
    pub(super) busy_blocks: u64,
    pub(super) traced_blocks: u64,
    pub(super) trace_log: Option<DatabaseInfo>,
    pub(super) trace_database: Option<DatabaseInfo>,
}

/// A database of stacks.
#[derive(Serialize)]
pub(super) struct DatabaseInfo {
    pub(super) address: Address,
    pub(super) stacks: u32,
}

/// What is missing, and the command that gives it next time.
#[derive(Serialize)]
pub(super) struct Advice {
    pub(super) missing: &'static str,
    pub(super) command: String,
}

impl SideInfo {
    pub(super) fn new(
        process: &Process<'_, '_>,
        heaps: &Heaps<'_, '_>,
        statistics: &[HeapStatistics],
        traces: &Traces<'_, '_>,
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
