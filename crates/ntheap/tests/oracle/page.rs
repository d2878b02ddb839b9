//! Comparing page heaps with the truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ntheap::{
    blocks::{Block, CONTINUE, Finding, Flow, Kind, State, Trace, Visitor},
    heap::Heaps,
    heap::{Heap, page::PageHeap},
    process::{HeapKind, Process},
    traces::Traces,
};
use serde_json::Value;

use crate::{
    compare::{Outcome, compare_heap},
    truth::{Truth, number},
};

/// A block that the program freed.
#[derive(Debug)]
pub(crate) struct Freed {
    address: u64,
    size: u64,
    free_stack: Vec<u64>,
    sequence: u64,
}

/// What the truth says of page heaps.
#[derive(Debug)]
pub(crate) struct PageTruth {
    flags: u64,
    /// Handle, index among all heaps.
    heaps: Vec<(u64, usize)>,
    freed: BTreeMap<usize, Vec<Freed>>,
    functions: BTreeMap<u64, String>,
}

impl PageTruth {
    pub(crate) fn parse(json: &Value, stacks: &[Vec<u64>]) -> Option<PageTruth> {
        let flags = json["page_heap_flags"].as_u64()?;
        let heaps = json["heaps"].as_array()?.iter().enumerate();
        let heaps = heaps.filter(|(_, heap)| heap["kind"] == "page");
        let mut freed: BTreeMap<usize, Vec<Freed>> = BTreeMap::new();
        for row in json["freed"].as_array()? {
            freed
                .entry(number(&row[0]) as usize)
                .or_default()
                .push(Freed {
                    address: number(&row[1]),
                    size: number(&row[2]),
                    free_stack: row[4]
                        .as_u64()
                        .map_or(Vec::new(), |at| stacks[at as usize].clone()),
                    sequence: number(&row[5]),
                });
        }
        let functions = json["symbols"].as_object().into_iter().flatten();
        Some(PageTruth {
            flags,
            heaps: heaps
                .map(|(index, heap)| (number(&heap["handle"]), index))
                .collect(),
            freed,
            functions: functions
                .filter_map(|(address, symbol)| {
                    let function = symbol["function"].as_str()?.to_owned();
                    Some((u64::from_str_radix(address, 16).ok()?, function))
                })
                .collect(),
        })
    }
}

const COLLECT_STACKS: u64 = 2;

#[derive(Default)]
struct Walk {
    blocks: Vec<Block>,
    findings: Vec<Finding>,
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() || block.state == State::Freed {
            self.blocks.push(*block);
        }
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.findings.push(finding);
        CONTINUE
    }
}

/// Whether the frames are the expected ones, but for frames of page heap's own in front of either
/// (the record of a reallocation names others) and for depth limits (16 on XP, 32 in the record).
fn agree(process: &Process<'_, '_>, frames: &[u64], expected: &[u64], in_front: usize) -> bool {
    let system = |frames: &[u64]| {
        frames.iter().all(|&frame| {
            process.dump.modules.iter().any(|module| {
                let name = module.file_name().to_ascii_lowercase();
                (module.base..module.end()).contains(&frame)
                    && (name.contains("ntdll") || name.contains("verifier"))
            })
        })
    };
    (0..=in_front.min(frames.len())).any(|ours| {
        (0..=in_front.min(expected.len())).any(|theirs| {
            let (a, b) = (&frames[ours..], &expected[theirs..]);
            let length = a.len().min(b.len());
            let cut = |longer: &[u64], whole: usize, limit: usize| {
                longer.len() == length || whole == limit
            };
            length > 0
                && a[..length] == b[..length]
                && cut(a, expected.len(), 32)
                && cut(b, frames.len(), 16)
                && system(&frames[..ours])
                && system(&expected[..theirs])
        })
    })
}

pub(crate) fn compare(
    process: &Process<'_, '_>,
    truth: &Truth,
    page: &PageTruth,
    folder: &Path,
    outcome: &mut Outcome,
) {
    let heaps = Heaps::of(process);
    let normal: BTreeSet<u64> = process
        .normal_heaps
        .iter()
        .map(|heap| heap.handle)
        .collect();
    let expected: BTreeSet<u64> = truth
        .heaps
        .iter()
        .map(|heap| heap.handle)
        .filter(|handle| page.heaps.iter().all(|heap| heap.0 != *handle))
        .collect();
    if normal != expected {
        outcome
            .problems
            .push(format!("normal heaps {normal:x?}, not {expected:x?}"));
    }
    for &(handle, _) in &page.heaps {
        if !heaps.iter().any(|heap| heap.handle() == handle) {
            outcome
                .problems
                .push(format!("page heap {handle:x} is missing"));
        }
    }
    let traces = Traces::of(process);
    for heap in &heaps {
        let Heap::Page(heap) = heap else {
            let handle = heap.handle();
            outcome
                .problems
                .push(format!("heap {handle:x} is no page heap"));
            continue;
        };
        assert_eq!(heap.reference.kind, HeapKind::PageHeap);
        compare_page_heap(process, &traces, heap, truth, page, outcome);
    }
    compare_transcript(process, heaps.as_slice(), folder, outcome);
}

fn compare_page_heap(
    process: &Process<'_, '_>,
    traces: &Traces<'_, '_>,
    heap: &PageHeap<'_, '_>,
    truth: &Truth,
    page: &PageTruth,
    outcome: &mut Outcome,
) {
    let handle = heap.handle();
    let mut walk = Walk::default();
    let _ = Heap::open(process, &heap.reference).walk(&mut walk);
    outcome.heaps += 1;
    let index = page
        .heaps
        .iter()
        .find(|known| known.0 == handle)
        .map(|known| known.1);
    let mut problems: Vec<String> = Vec::new();
    problems.extend(
        walk.findings
            .iter()
            .map(|finding| format!("finding: {finding}")),
    );
    if walk.blocks.iter().any(|block| block.heap != handle) {
        problems.push("a block has another heap's handle".to_owned());
    }

    // Busy blocks.
    let (busy, freed): (Vec<&Block>, Vec<&Block>) = walk
        .blocks
        .iter()
        .partition(|block| block.state == State::Busy);
    let ours: BTreeSet<(u64, u64)> = busy.iter().map(|b| (b.address, b.size)).collect();
    let none = BTreeSet::new();
    let recorded = index.map_or(&none, |index| &truth.heaps[index].recorded);
    if ours.len() != busy.len() {
        problems.push("blocks were reported twice".to_owned());
    }
    for (address, size) in recorded.difference(&ours) {
        problems.push(format!("busy block {address:x} of {size:x} is missing"));
    }
    // RtlCreateHeap of verifier.dll's days allocates a descriptor for each heap in the process
    // heap, which the record of calls has not.
    let extra: Vec<_> = ours.difference(recorded).collect();
    let descriptors = process.heaps.len() - 1;
    let one_size = extra.iter().all(|block| block.1 == extra[0].1);
    if !(extra.is_empty()
        || (process.process_heap == Some(handle) && extra.len() == descriptors && one_size))
    {
        problems.push(format!("busy blocks are extra: {extra:x?}"));
    }
    outcome.busy += busy.len();
    outcome.light += busy.iter().filter(|b| b.kind == Kind::PageLight).count();

    // Traces of busy blocks.
    for block in &busy {
        let captured = index.and_then(|index| truth.captured.get(&(index, block.address)));
        let found = traces.frames(block.trace);
        if page.flags & COLLECT_STACKS == 0 {
            if block.trace != Trace::None {
                problems.push(format!("block {:x} has a trace", block.address));
            }
            continue;
        }
        let Some(captured) = captured else { continue };
        outcome.traces += 1;
        if !found
            .as_ref()
            .is_some_and(|found| agree(process, found, captured, 5))
        {
            let address = block.address;
            problems.push(format!(
                "trace of {address:x}: {found:x?}, not {captured:x?}"
            ));
        }
    }

    // Freed blocks.
    let no_rows = Vec::new();
    let rows = index
        .and_then(|index| page.freed.get(&index))
        .unwrap_or(&no_rows);
    let newest: BTreeMap<u64, &Freed> = {
        let mut rows: Vec<&Freed> = rows.iter().collect();
        rows.sort_by_key(|row| row.sequence);
        rows.into_iter().map(|row| (row.address, row)).collect()
    };
    let mut found_rows = BTreeSet::new();
    let mut oldest_full = u64::MAX;
    for block in &freed {
        let found = traces.frames(block.trace);
        let row = newest
            .get(&block.address)
            .filter(|row| row.size == block.size);
        let Some(row) = row else {
            // Reallocations that moved the block free the old one; the record of frees has them not.
            let moved = found.is_none_or(|found| {
                found
                    .iter()
                    .filter_map(|frame| page.functions.get(frame))
                    .any(|function| {
                        function.starts_with("app::core::Resize(")
                            || function.starts_with("strkit::Append(")
                    })
            });
            let live = recorded.iter().any(|live| live.0 == block.address);
            if !moved || live {
                problems.push(format!("freed block {:x} is extra", block.address));
            }
            outcome.moved += 1;
            continue;
        };
        outcome.freed += 1;
        found_rows.insert(row.sequence);
        if block.kind == Kind::Page {
            oldest_full = oldest_full.min(row.sequence);
        }
        if let Some(found) = &found {
            outcome.traces += 1;
            if !agree(process, found, &row.free_stack, 6) {
                let expected = &row.free_stack;
                problems.push(format!(
                    "free {:x}: {found:x?}, not {expected:x?}",
                    block.address
                ));
            }
        }
    }
    let missing = rows
        .iter()
        .filter(|row| !found_rows.contains(&row.sequence));
    for row in missing {
        // XP's queue gives the oldest full blocks back.
        outcome.left_queue += 1;
        if !heap.root.xp || row.sequence > oldest_full {
            problems.push(format!(
                "freed block {:x} of {:x} is missing",
                row.address, row.size
            ));
        }
    }
    if let Some(count) = heap.root.freed_blocks {
        let counted = freed
            .iter()
            .filter(|b| !heap.root.xp || b.kind == Kind::Page)
            .count();
        if count != counted as u64 {
            problems.push(format!("{counted} freed blocks, the root says {count}"));
        }
    }

    // The normal heap behind, as an ordinary heap.
    let behind = truth
        .heaps
        .iter()
        .position(|known| known.handle == heap.normal_heap());
    match (heap.normal(), behind) {
        (Some(normal), Some(behind)) if truth.heaps[behind].walked => {
            let mut of_normal = Outcome::default();
            compare_heap(normal, behind, truth, traces, &mut of_normal);
            outcome.totals += of_normal.totals;
            outcome.free += of_normal.free;
            problems.extend(of_normal.problems);
        }
        (Some(_), Some(_)) => {}
        _ => problems.push(format!("no normal heap {:x}", heap.normal_heap())),
    }
    let named = problems
        .into_iter()
        .map(|text| format!("page heap {handle:x}: {text}"));
    outcome.problems.extend(named);
}

/// The rows of full blocks that the debugger printed, in its order.
fn compare_transcript(
    process: &Process<'_, '_>,
    heaps: &[Heap<'_, '_>],
    folder: &Path,
    outcome: &mut Outcome,
) {
    let Ok(text) = std::fs::read_to_string(folder.join("cdb/heap_-p_-all.txt")) else {
        return;
    };
    let mut theirs: Vec<Vec<u64>> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim();
        if let Some(root) = line.strip_prefix("_DPH_HEAP_ROOT @ ") {
            inside = true;
            theirs.push(vec![u64::from_str_radix(root, 16).expect("root")]);
        } else if line.starts_with("_HEAP @") {
            inside = false;
        } else if inside && !line.starts_with("DPH_HEAP_BLOCK") && line.contains(" : ") {
            let numbers = line.split([' ', ':', '-']).filter(|word| !word.is_empty());
            let numbers = numbers.map(|word| u64::from_str_radix(&word.replace('`', ""), 16));
            theirs.push(numbers.collect::<Result<_, _>>().expect("row"));
        }
    }
    let mut ours: Vec<Vec<u64>> = Vec::new();
    for heap in heaps {
        let Heap::Page(heap) = heap else { continue };
        ours.push(vec![heap.root.address]);
        let freed = heap.freed.iter();
        ours.extend(freed.map(|b| vec![b.node, b.virtual_block, b.virtual_size]));
        let busy = heap.busy.iter();
        ours.extend(busy.map(|b| {
            vec![
                b.node,
                b.address,
                b.requested,
                b.virtual_block,
                b.virtual_size,
            ]
        }));
    }
    outcome.rows += theirs.len();
    if ours != theirs {
        let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        let first = first.unwrap_or(ours.len().min(theirs.len()));
        outcome.problems.push(format!(
            "{:?}: row {first} of the debugger is {:x?}, ours {:x?}",
            process.bitness,
            theirs.get(first),
            ours.get(first)
        ));
    }
}
