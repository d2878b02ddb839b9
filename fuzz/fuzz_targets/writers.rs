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
use ntheap_fuzz::{Seed, changed, seeds, sink::Sink};
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

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds(&["small", "tag", "pageheap", "debug"]));

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

fuzz_target!(|input: &[u8]| {
    let (seed, bytes, _) = changed(&SEEDS, input);
    let whole = Dump::parse(&seed.bytes).expect("a dump");
    let Ok(dump) = Dump::parse(&bytes) else {
        return;
    };
    let (Ok(before), Ok(process)) = (Process::of(&whole), Process::of(&dump)) else {
        return;
    };
    let names = ModuleNames::new(&dump);
    let heaps = Heaps::of(&process);
    let statistics = stats::collect(&heaps);
    let traces = Traces::of(&process);
    let mut out = Sink::default();

    json(&SideSummary::new(&heaps, None));
    json(&ProcessReport::new(&process));
    json(&SideInfo::new(
        &process,
        &heaps,
        &statistics,
        &traces,
        &names,
    ));
    for heap in &statistics {
        json(&HeapSizes::new(heap, Order::Total, 20));
    }
    let usage = Usage::of(&heaps);
    json(&UsageReport::new(&usage, &dump, 10));
    let _ = address::write(&process, &usage, 10, &mut out);
    let verification = verify::verify(&heaps);
    json(&VerificationReport::new(
        &verification,
        &traces,
        &names,
        process.bitness,
    ));
    let _ = damage::write(&process, &verification, &names, &mut out);
    let _ = plain::summary(&plain::overview(&heaps), &mut out);

    let graph = Graph::of(&heaps);
    let types = Types::of(&graph, Some(&names));
    let options = TypesOptions {
        base: None,
        contents: true,
        texts: 10,
    };
    let report = TypesReport::new(&types, &types.retained(&graph.dominators()), &options);
    json(&report);
    let _ = blocks::write(
        &report,
        &blocks::Options {
            top: 10,
            base: None,
        },
        &mut out,
    );

    let (log, _) = write_snapshot(&heaps, Vec::new()).expect("written");
    let (log, _) = Log::parse(&log).expect("a log");
    assert!(Diff::between(&log, &log).entries().is_empty());

    let mut samples = Vec::new();
    for heap in stats::collect_by(&heaps, |block| block.trace) {
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
    profile::write_collapsed(samples.clone(), By::Bytes, Columns::After, &mut out)
        .expect("written");
    let options = PprofOptions {
        by: By::Bytes,
        timestamp: dump.timestamp.into(),
        seconds: 0,
        mappings: dump.modules.iter().map(mapping).collect(),
        comments: Vec::new(),
    };
    profile::write_pprof(samples, &options, &mut out).expect("written");

    let snapshots = [Snapshot::of(&before), Snapshot::of(&process)];
    let by = Grouping {
        size: true,
        stack: true,
    };
    let comparison = diff::compare(&snapshots[0], &snapshots[1], by);
    let options = comparison::Options {
        names: ["before", "after"].map(str::to_owned).to_vec(),
        show: Show::Sizes,
        top: 10,
        min_growth: 1,
    };
    let _ = comparison::write(
        &comparison,
        &comparison.judge(&snapshots[1], &names, &diff::Options::default()),
        &[&before, &process],
        &options,
        &names,
        &mut out,
    );
});
