//! The truth that comes with a dump: what the process really had allocated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::Path,
};

use serde_json::Value;

use crate::{page::PageTruth, transcript::Row};

/// A block as (address, size).
pub(crate) type Sizes = BTreeSet<(u64, u64)>;

/// What the recorded calls and the genuine `RtlWalkHeap` say of one heap.
#[derive(Debug, Default)]
pub(crate) struct TruthHeap {
    pub(crate) handle: u64,
    pub(crate) segment_heap: bool,
    /// Live allocations by the record of all calls.
    pub(crate) recorded: Sizes,
    /// Busy, uncommitted and virtual entries of the genuine walk: what the program sees.
    pub(crate) walked_busy: Sizes,
    /// Free entries of the walk: entry address and block size.
    pub(crate) walked_free: Sizes,
    pub(crate) walked_uncommitted: Sizes,
    pub(crate) walked_virtual: Sizes,
    /// Blocks of 0 bytes that RtlSizeHeap gives 1 byte (XP's LFH).
    pub(crate) stored_as_one: BTreeSet<u64>,
    /// Whether there is a genuine walk.
    pub(crate) walked: bool,
    /// HeapExtendedInformation: reserve and commit.
    pub(crate) extended: Option<(u64, u64)>,
    /// RtlQueryProcessDebugInformation: committed and allocated.
    pub(crate) debug: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) build: u32,
    pub(crate) bits: u64,
    pub(crate) page_heap: Option<PageTruth>,
    pub(crate) heaps: Vec<TruthHeap>,
    /// The live allocations with their traces: (heap index, address) -> captured frames.
    pub(crate) captured: BTreeMap<(usize, u64), Vec<u64>>,
    /// The callers of the heap for live allocations whose capture was not recorded.
    pub(crate) called: BTreeMap<(usize, u64), Vec<u64>>,
    /// Whether stack traces were on.
    pub(crate) traced: bool,
    /// Number of traces in the stack trace database.
    pub(crate) back_traces: Option<u64>,
    /// Return addresses inside the program's function that resizes blocks.
    pub(crate) in_resize: BTreeSet<u64>,
    /// The debugger's table of segment heaps.
    pub(crate) table: BTreeMap<u64, Row>,
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

impl Truth {
    pub(crate) fn read(path: &Path) -> Truth {
        let mut file = File::open(path).expect("the truth file opens");
        let mut bytes = Vec::new();
        if path.extension().is_some_and(|extension| extension == "zst") {
            zstd::Decoder::new(file)
                .and_then(|mut d| d.read_to_end(&mut bytes))
                .expect("zstd");
        } else {
            file.read_to_end(&mut bytes).expect("the truth file reads");
        }
        let json: Value = serde_json::from_slice(&bytes).expect("the truth is JSON");
        Truth::parse(&json)
    }

    fn parse(json: &Value) -> Truth {
        let version = json["build"].as_str().expect("build");
        let build: u32 = version
            .split('.')
            .nth(2)
            .expect("build")
            .parse()
            .expect("build");
        // Windows 7 and XP number the flags of RtlWalkHeap otherwise.
        let old_flags = build < 9200;
        let mut heaps: Vec<TruthHeap> = json["heaps"]
            .as_array()
            .expect("heaps")
            .iter()
            .map(|heap| TruthHeap {
                handle: number(&heap["handle"]),
                segment_heap: heap["kind"] == "segment",
                extended: heap["extended"]["reserve"]
                    .as_u64()
                    .map(|reserve| (reserve, number(&heap["extended"]["commit"]))),
                debug: heap["debug_information"]["committed"]
                    .as_u64()
                    .map(|committed| (committed, number(&heap["debug_information"]["allocated"]))),
                stored_as_one: heap["sizeheap_differs"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|row| number(&row[1]) == 0 && number(&row[2]) == 1)
                    .map(|row| number(&row[0]))
                    .collect(),
                ..TruthHeap::default()
            })
            .collect();
        let stacks: Vec<Vec<u64>> = json["stacks"]
            .as_array()
            .expect("stacks")
            .iter()
            .map(|stack| {
                stack
                    .as_array()
                    .expect("stack")
                    .iter()
                    .map(number)
                    .collect()
            })
            .collect();
        let (mut captured, mut called) = (BTreeMap::new(), BTreeMap::new());
        for row in json["allocations"].as_array().expect("allocations") {
            let (heap, address) = (number(&row[0]) as usize, number(&row[1]));
            heaps[heap].recorded.insert((address, number(&row[2])));
            if let Some(index) = row[6].as_u64() {
                captured.insert((heap, address), stacks[index as usize].clone());
            } else if let Some(index) = row[4].as_u64() {
                called.insert((heap, address), stacks[index as usize].clone());
            }
        }
        for (handle, rows) in json["walk"].as_object().into_iter().flatten() {
            let handle = u64::from_str_radix(handle, 16).expect("handle");
            let Some(heap) = heaps.iter_mut().find(|heap| heap.handle == handle) else {
                continue;
            };
            heap.walked = true;
            let (uncommitted, virtual_block) = if old_flags {
                (0x100, 0x400)
            } else {
                (0x1000, 0x4000)
            };
            for row in rows.as_array().expect("rows") {
                let (data, size, overhead) = (number(&row[0]), number(&row[1]), number(&row[2]));
                let (pair, flags) = ((data, size), number(&row[4]));
                if flags & 2 != 0 {
                    continue;
                } else if flags & uncommitted != 0 {
                    if size > 0 {
                        heap.walked_uncommitted.insert(pair);
                    }
                } else if flags & 1 == 0 {
                    // The walk gives what lies behind the free entry's list links.
                    heap.walked_free.insert((data - overhead, size + overhead));
                } else {
                    if flags & virtual_block != 0 {
                        heap.walked_virtual.insert(pair);
                    }
                    heap.walked_busy.insert(pair);
                }
            }
        }
        Truth {
            build,
            bits: number(&json["bits"]),
            page_heap: PageTruth::parse(json, &stacks),
            heaps,
            captured,
            called,
            traced: number(&json["nt_global_flag"]) & 0x1000 != 0,
            back_traces: json["back_traces"]["count"].as_u64(),
            in_resize: json["symbols"]
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, symbol)| {
                    let function = symbol["function"].as_str();
                    function.is_some_and(|name| name.starts_with("app::core::Resize"))
                })
                .filter_map(|(address, _)| u64::from_str_radix(address, 16).ok())
                .collect(),
            table: BTreeMap::new(),
        }
    }
}
