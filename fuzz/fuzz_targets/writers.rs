//! Every writer on what the walkers return of changed dumps. What is written as JSON is read again, and so
//! are logs of umdh.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap::{
    diff::{self, Grouping, Snapshot},
    dump::{Dump, Module},
    graph::Graph,
    heap::Heaps,
    names::{ModuleNames, NameSource},
    process::Process,
    stats::{self, Order},
    traces::Traces,
    types::Types,
    usage::Usage,
    verify,
};
use ntheap_fuzz::{Seed, one_thread, plans, seeds, sink::Sink, with_changed};
use ntheap_report::{
    address::{self, UsageReport},
    diff::{self as comparison, Show},
    info::SideInfo,
    json::ProcessReport,
    profile::{self, By, Columns, Frame, Mapping, PprofOptions, Sample},
    stat::HeapSizes,
    summary::SideSummary,
    text::plain,
    types::{self as blocks, TypesOptions, TypesReport},
    umdh::{Diff, Log, write_snapshot},
    verify::{self as damage, VerificationReport},
};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    seeds(
        &["small", "tag", "pageheap", "debug", "wow64"],
        &plans::some(),
    )
});

fn json(report: &impl serde::Serialize) {
    let text = serde_json::to_string(report).expect("written");
    serde_json::from_str::<serde_json::Value>(&text).expect("read again");
}

fn mapping(module: &Module) -> Mapping {
    Mapping {
        module: module.name().to_owned(),
        start: module.base,
        end: module.end(),
        file: module.path.clone(),
        build_id: String::new(),
    }
}

fn overview(heaps: &Heaps<'_, '_>, names: &ModuleNames<'_, '_>, out: &mut Sink) {
    let process = heaps.process();
    let statistics = stats::collect(heaps);
    let traces = Traces::of(process);
    json(&SideSummary::new(heaps, None));
    json(&ProcessReport::new(process));
    json(&SideInfo::new(process, heaps, &statistics, &traces, names));
    let _ = plain::summary(&plain::overview(heaps), out);
}

fn sizes(heaps: &Heaps<'_, '_>) {
    for heap in &stats::collect(heaps) {
        json(&HeapSizes::new(heap, Order::Total, 20));
    }
}

fn address_space(heaps: &Heaps<'_, '_>, out: &mut Sink) {
    let process = heaps.process();
    let usage = Usage::of(heaps);
    json(&UsageReport::new(&usage, process.dump, 10));
    let _ = address::write(process, &usage, 10, out);
}

fn damages(heaps: &Heaps<'_, '_>, names: &ModuleNames<'_, '_>, out: &mut Sink) {
    let process = heaps.process();
    let traces = Traces::of(process);
    let found = verify::verify(heaps);
    json(&VerificationReport::new(
        &found,
        &traces,
        names,
        process.bitness,
    ));
    let _ = damage::write(process, &found, names, out);
}

fn types_of_blocks(heaps: &Heaps<'_, '_>, names: &ModuleNames<'_, '_>, out: &mut Sink) {
    let graph = Graph::of(heaps);
    let types = Types::of(&graph, Some(names));
    let options = TypesOptions {
        base: None,
        contents: true,
        texts: 10,
    };
    let report = TypesReport::new(&types, &types.retained(&graph.dominators()), &options);
    json(&report);
    let options = blocks::Options {
        top: 10,
        base: None,
    };
    let _ = blocks::write(&report, &options, out);
}

fn umdh(heaps: &Heaps<'_, '_>) {
    let (log, _) = write_snapshot(heaps, Vec::new()).expect("written");
    let (log, _) = Log::parse(&log).expect("a log");
    assert!(Diff::between(&log, &log).entries().is_empty());
}

fn samples(heaps: &Heaps<'_, '_>, names: &ModuleNames<'_, '_>) -> Vec<Sample> {
    let traces = Traces::of(heaps.process());
    let mut samples = Vec::new();
    for heap in stats::collect_by(heaps, |block| block.trace) {
        for (&trace, count) in heap.iter() {
            let frames = traces.frames(trace).unwrap_or_default();
            let frame = |address| Frame {
                address,
                names: names.frames(address),
            };
            samples.push(Sample {
                frames: frames.into_iter().map(frame).collect(),
                before: Default::default(),
                after: count,
            });
        }
    }
    samples
}

fn profiles(heaps: &Heaps<'_, '_>, names: &ModuleNames<'_, '_>, out: &mut Sink) {
    let (dump, samples) = (heaps.process().dump, samples(heaps, names));
    profile::write_collapsed(samples.clone(), By::Bytes, Columns::After, &mut *out)
        .expect("written");
    let options = PprofOptions {
        by: By::Bytes,
        timestamp: dump.timestamp.into(),
        seconds: 0,
        mappings: dump.modules.iter().map(mapping).collect(),
        comments: Vec::new(),
    };
    profile::write_pprof(samples, &options, out).expect("written");
}

fn differences(
    before: &Process<'_, '_>,
    process: &Process<'_, '_>,
    names: &ModuleNames<'_, '_>,
    out: &mut Sink,
) {
    let snapshots = [Snapshot::of(before), Snapshot::of(process)];
    let by = Grouping {
        size: true,
        stack: true,
    };
    let found = diff::compare(&snapshots[0], &snapshots[1], by);
    let options = comparison::Options {
        names: ["before", "after"].map(str::to_owned).to_vec(),
        show: Show::Sizes,
        top: 10,
        min_growth: 1,
    };
    let _ = comparison::write(
        &found,
        &found.judge(&snapshots[1], names, &diff::Options::default()),
        &[before, process],
        &options,
        names,
        out,
    );
}

fuzz_target!(init: one_thread(), |input: &[u8]| {
    with_changed(&SEEDS, input, |seed, process, mut recipe| {
        let names = ModuleNames::new(process.dump);
        let heaps = Heaps::of(process);
        let mut out = Sink::default();
        match recipe.byte() % 8 {
            0 => overview(&heaps, &names, &mut out),
            1 => sizes(&heaps),
            2 => address_space(&heaps, &mut out),
            3 => damages(&heaps, &names, &mut out),
            4 => types_of_blocks(&heaps, &names, &mut out),
            5 => umdh(&heaps),
            6 => profiles(&heaps, &names, &mut out),
            _ => {
                let whole = Dump::parse(&seed.bytes).expect("a dump");
                let before = Process::of(&whole).expect("a process");
                differences(&before, process, &names, &mut out);
            }
        }
    });
});
