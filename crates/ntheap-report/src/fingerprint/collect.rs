//! The fingerprint of a dump, whole.

use std::collections::{BTreeMap, HashMap};

use ntheap::{
    blocks::Trace,
    dump::{Dump, Module},
    heap::Heaps,
    losses::Losses,
    process::Process,
    stats::{self, Count, Groups, HeapStatistics},
    traces::Traces,
};

use super::{
    Fingerprint, HeapRow, Known, LabelRow, ModuleIdentity, ProcessRow, SiteRow, SizeRow, StackRow,
    Table, identity::bounded, site_hash, stack_hash,
};
use crate::json::CountReport;

/// Blocks by stack and size.
type Sites = BTreeMap<(String, u64), CountReport>;

impl Fingerprint {
    /// The fingerprint of the process in a dump, with a row for everything; `known` is what its blocks
    /// are, where somebody looked.
    #[must_use]
    pub fn of(heaps: &Heaps<'_, '_>, known: Option<Known>) -> Self {
        Self::with_statistics(heaps, &stats::collect(heaps), known)
    }

    /// Likewise, of heaps whose totals are known.
    #[must_use]
    pub fn with_statistics(
        heaps: &Heaps<'_, '_>,
        statistics: &[HeapStatistics],
        known: Option<Known>,
    ) -> Self {
        let process = heaps.process();
        let dump = process.dump;
        let losses = Losses::of(process).merged(stats::losses(statistics));
        let mut fingerprint = Fingerprint {
            dumps: 1,
            incomplete: u64::from(!losses.complete()),
            first: dump.timestamp,
            last: dump.timestamp,
            processes: vec![ProcessRow {
                program: process.program().map(|module| bounded(module.file_name())),
                version: process.program().and_then(version),
                build: process.build,
                bits: process.bitness.bits(),
                dumps: 1,
            }],
            known,
            ..Fingerprint::default()
        };
        for heap in statistics {
            fingerprint.free.add(heap.free.into());
            fingerprint.free.add(heap.lfh_free.into());
        }
        fingerprint.heaps = Table::of(statistics.iter().map(|heap| HeapRow {
            index: heap.index as u64,
            kind: heap.kind.name().to_owned(),
            blocks: heap.busy_blocks,
            bytes: heap.busy_bytes,
        }));
        fingerprint.total = fingerprint.heaps.total;
        let mut sizes = BTreeMap::<u64, u64>::new();
        for (size, count) in statistics.iter().flat_map(|heap| heap.sizes.iter()) {
            let blocks = sizes.entry(size).or_default();
            *blocks = blocks.saturating_add(count.blocks);
        }
        fingerprint.sizes = Table::of(sizes.into_iter().map(|(size, blocks)| SizeRow {
            size,
            blocks,
            bytes: size.saturating_mul(blocks),
        }));
        let mut counted: Groups<(Trace, u64)> = Groups::default();
        for heap in stats::collect_by(heaps, |block| (block.trace, block.size)) {
            counted.merge(heap);
        }
        let mut stacks = StackHashes::of(process);
        if let Some(program) = process.program() {
            stacks.modules.position(program);
        }
        let mut sites = Sites::new();
        for ((trace, size), count) in counted.into_counts() {
            match stacks.hash(trace) {
                Some(stack) => sites
                    .entry((stack, size))
                    .or_default()
                    .add(bytes(size, count)),
                None => fingerprint.untraced.add(bytes(size, count)),
            }
        }
        fingerprint.sites = Table::of(sites.into_iter().map(|((stack, size), count)| SiteRow {
            stack,
            size,
            blocks: count.blocks,
            bytes: count.bytes,
        }));
        fingerprint.stacks = stacks.rows.into_values().collect();
        fingerprint.modules = stacks.modules.used;
        fingerprint.in_order()
    }

    /// Says something of the dumps: `machine`, `HAL9000`.
    pub fn label(&mut self, label: &str, value: &str) {
        self.labels.push(LabelRow {
            label: bounded(label),
            value: Some(bounded(value)),
            dumps: self.dumps,
        });
        self.labels.sort();
    }
}

/// Bytes as sizes add up: those of corrupt heaps do not wrap.
fn bytes(size: u64, count: Count) -> CountReport {
    CountReport {
        blocks: count.blocks,
        bytes: size.saturating_mul(count.blocks),
    }
}

/// The version of a module's file.
fn version(module: &Module) -> Option<String> {
    let [major, minor, build, revision] = module.version?;
    Some(format!("{major}.{minor}.{build}.{revision}"))
}

/// The modules of a dump that frames are in.
struct Modules<'d, 'a> {
    dump: &'d Dump<'a>,
    positions: HashMap<u64, usize>,
    used: Vec<ModuleIdentity>,
}

impl<'d, 'a> Modules<'d, 'a> {
    fn of(dump: &'d Dump<'a>) -> Self {
        Modules {
            dump,
            positions: HashMap::new(),
            used: Vec::new(),
        }
    }

    fn position(&mut self, module: &Module) -> usize {
        let used = &mut self.used;
        *self.positions.entry(module.base).or_insert_with(|| {
            used.push(ModuleIdentity::of(module));
            used.len() - 1
        })
    }

    fn frame(&mut self, address: u64) -> Option<(usize, u64)> {
        let module = self.dump.module_at(address)?;
        let offset = address - module.base;
        Some((self.position(module), offset))
    }
}

/// The distinct stacks of a process, told by their hashes.
pub struct StackHashes<'p, 'a> {
    modules: Modules<'p, 'a>,
    traces: Traces<'p, 'a>,
    known: HashMap<Trace, Option<String>>,
    rows: BTreeMap<String, StackRow>,
}

impl std::fmt::Debug for StackHashes<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StackHashes")
            .field("stacks", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl<'p, 'a> StackHashes<'p, 'a> {
    /// Those of a process, of which none is known yet.
    #[must_use]
    pub fn of(process: &'p Process<'p, 'a>) -> Self {
        StackHashes {
            modules: Modules::of(process.dump),
            traces: Traces::of(process),
            known: HashMap::new(),
            rows: BTreeMap::new(),
        }
    }

    /// The hash of a trace's stack, if it has one.
    pub fn hash(&mut self, trace: Trace) -> Option<String> {
        if let Some(known) = self.known.get(&trace) {
            return known.clone();
        }
        let hash = self.traces.frames(trace).map(|addresses| {
            let frames: Vec<_> = addresses
                .into_iter()
                .map(|address| self.modules.frame(address))
                .collect();
            let row = StackRow::of(frames, &self.modules.used);
            let hash = row.stack.clone();
            self.rows.entry(hash.clone()).or_insert(row);
            hash
        });
        self.known.insert(trace, hash.clone());
        hash
    }
}

impl StackRow {
    /// A stack of these frames in these modules; positions that there are not count as outside of all.
    pub(super) fn of(frames: Vec<Option<(usize, u64)>>, modules: &[ModuleIdentity]) -> Self {
        let of: Vec<_> = frames
            .iter()
            .map(|frame| frame.and_then(|(at, offset)| Some((modules.get(at)?, offset))))
            .collect();
        StackRow {
            stack: stack_hash(&of),
            site: site_hash(&of),
            frames,
            names: None,
        }
    }
}
