//! Reports on one dump.

use ntheap::{
    graph::{Leaks, Rules},
    heap::references::references,
    names::NameSource,
    stats::{self, Order},
    traces::Traces,
    types::Types,
};
use ntheap_report::{
    block::{AddressReport, Describer},
    info::SideInfo,
    leaks::LeaksReport,
    stat::{HeapSizes, HeapStacks, StatReport},
    summary::SideSummary,
    text::holders::Holders,
    types::{TypesOptions, TypesReport},
};

use crate::{Result, Session};

impl Session {
    /// The process, its flags, its heaps' debug options, and what would tell more next time.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn info(&self) -> Result<SideInfo> {
        self.with(|view| {
            let traces = Traces::named(view.process, |name| view.names.address_of(name));
            let statistics = stats::collect(view.heaps);
            SideInfo::new(view.process, view.heaps, &statistics, &traces, view.names)
        })
    }

    /// The heaps with their totals.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn summary(&self) -> Result<SideSummary> {
        self.with(|view| SideSummary::new(view.heaps, None))
    }

    /// The `top` block sizes of each heap.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn sizes(&self, order: Order, top: usize) -> Result<StatReport<HeapSizes>> {
        self.with(|view| StatReport {
            heaps: stats::collect(view.heaps)
                .iter()
                .map(|heap| HeapSizes::new(heap, order, top))
                .collect(),
        })
    }

    /// The `top` stacks of each heap, by bytes.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn stacks(&self, top: usize) -> Result<StatReport<HeapStacks>> {
        self.with(|view| {
            let traces = Traces::of(view.process);
            let (statistics, groups) = stats::collect_with_stacks(view.heaps);
            let heaps = statistics.iter().zip(groups);
            let report = |(heap, groups)| {
                let stacks = HeapStacks::new(heap, groups, &traces, top);
                match view.frame_names() {
                    Some(names) => stacks.named(view.process.bitness, names),
                    None => stacks,
                }
            };
            StatReport {
                heaps: heaps.map(report).collect(),
            }
        })
    }

    /// What is lost and what is held, by these rules.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn leaks(&self, rules: Rules) -> Result<LeaksReport> {
        self.with(|view| {
            let graph = view.graph();
            let types = Types::of(&graph, Some(view.names as &dyn NameSource));
            let type_of = |address: u64| types.name_of(address);
            let classes = graph.classes(rules);
            let traces = Traces::of(view.process);
            let leaks = Leaks::of(&graph, &classes, view.heaps, &traces, &type_of, &|_| true);
            let holders = Holders {
                graph: &graph,
                names: view.names,
                type_of: &type_of,
            };
            let ways = graph.ways(rules);
            let records = (&leaks, leaks.records.iter());
            LeaksReport::new(&holders, records, rules, &ways, view.frame_names())
        })
    }

    /// What the blocks are.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn types(&self, options: &TypesOptions<'_>) -> Result<TypesReport> {
        self.with(|view| {
            let graph = view.graph();
            let types = Types::of(&graph, Some(view.names as &dyn NameSource));
            let retained = types.retained(&graph.dominators());
            TypesReport::new(&types, &retained, options)
        })
    }

    /// What lies at an address, with the stack of its allocation, and if wanted all pointers to it.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn block(&self, address: u64, with_references: bool) -> Result<AddressReport> {
        self.with(|view| {
            let traces = Traces::named(view.process, |name| view.names.address_of(name));
            let describer = Describer {
                process: view.process,
                traces: &traces,
                names: view.names,
                by_name: view.has_symbols,
            };
            let block = view.heaps.block_at(address);
            let pointers = block.filter(|_| with_references).map(|block| {
                let (start, end) = block.extent();
                references(view.heaps, start, end)
            });
            describer.address(address, block.as_ref(), pointers.as_ref())
        })
    }
}
