//! What the generator writes is walked to its truth, block by block, with nothing to complain of.

use std::{collections::BTreeMap, io::Cursor};

use ntheap::{dump::Dump, heap::Heaps, layout::Bitness, process::Process, stats, traces::Traces};
use ntheap_synth::stream::{HeapTruth, Manager, Plan, Walked, write};
use proptest::prelude::*;

/// Writes the dump of a plan, walks it, and compares.
fn holds(plan: &Plan) {
    let mut file = Cursor::new(Vec::new());
    let truth = write(plan, &mut file).expect("memory takes it");
    let bytes = file.into_inner();
    let dump = Dump::parse(&bytes).expect("a dump");
    assert_eq!(dump.problems, [], "{plan:?}");
    let process = Process::of(&dump).expect("a process");
    let heaps = Heaps::of(&process);
    assert_eq!(heaps.len() as u64, plan.heaps, "{plan:?}");
    for (heap, truth) in heaps.iter().zip(&truth) {
        let mut walked = Walked::default();
        walked.truth.handle = heap.handle();
        let _ = heap.walk(&mut walked);
        assert_eq!(walked.findings, [], "{plan:?}");
        assert_eq!(walked.uncertain, 0, "{plan:?}");
        assert_same(&walked.truth, truth, plan);
    }
    for (counted, truth) in stats::collect(&heaps).iter().zip(&truth) {
        let sizes = counted.sizes.iter();
        let sizes: BTreeMap<u64, u64> = sizes.map(|(size, count)| (size, count.blocks)).collect();
        assert_eq!(sizes, truth.sizes, "{plan:?}");
        assert_eq!(counted.traced_blocks, truth.traced);
        assert!(counted.losses.complete(), "{:?}", counted.losses);
    }
    if plan.stacks > 0 {
        let traces = Traces::of(&process);
        let log = traces.log().expect("the trace log is found");
        assert_eq!(u64::from(log.count), plan.stacks);
    }
}

fn assert_same(walked: &HeapTruth, truth: &HeapTruth, plan: &Plan) {
    assert_eq!(walked.busy, truth.busy, "busy, {plan:?}");
    assert_eq!(walked.free, truth.free, "free, {plan:?}");
    assert_eq!(walked, truth, "{plan:?}");
}

const SMALL: u64 = 3 << 20;

fn plan(build: u32, bitness: Bitness) -> Plan {
    Plan {
        build,
        bitness,
        bytes: SMALL,
        ..Plan::default()
    }
}

#[test]
fn every_build_of_the_nt_heap() {
    for build in [7601, 9200, 9600, 10240, 14393, 17763, 19041, 22000, 26100] {
        for bitness in [Bitness::X86, Bitness::X64] {
            holds(&plan(build, bitness));
            holds(&Plan {
                stacks: 50,
                heaps: 2,
                hole_every: 0x1_0000,
                ..plan(build, bitness)
            });
        }
    }
}

#[test]
fn every_build_of_the_segment_heap() {
    for build in [17763, 18362, 19041, 22000, 26100] {
        holds(&Plan {
            manager: Manager::Segment,
            heaps: 2,
            ..plan(build, Bitness::X64)
        });
    }
}

#[test]
fn heaps_of_some_pages() {
    let small = |build, bitness| Plan {
        bytes: 1 << 16,
        filled: 0x6000,
        large: 1,
        ..plan(build, bitness)
    };
    for build in [7601, 9200, 19041, 26100] {
        for bitness in [Bitness::X86, Bitness::X64] {
            holds(&small(build, bitness));
            holds(&Plan {
                stacks: 5,
                ..small(build, bitness)
            });
        }
    }
    for build in [17763, 26100] {
        holds(&Plan {
            manager: Manager::Segment,
            ..small(build, Bitness::X64)
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_plan(
        build in prop::sample::select(vec![7601, 9600, 19041, 26100]),
        x86: bool,
        segment: bool,
        (heaps, lfh, free) in (1..6u64, 0..100u64, 0..60u64),
        (stacks, large) in (prop::sample::select(vec![0, 1, 300]), 0..5u64),
        hole_every in prop::sample::select(vec![0, 0x2000, 0x7000, 0x4_0000]),
        filled in prop::sample::select(vec![0, 1, 0x6000, 0x2_0000]),
        range in prop::sample::select(vec![0, 0x1000, 0x1_1000]),
        seed: u64,
    ) {
        let segment = segment && build >= 19041 && !x86;
        holds(&Plan {
            build,
            bitness: if x86 { Bitness::X86 } else { Bitness::X64 },
            manager: if segment { Manager::Segment } else { Manager::Nt },
            bytes: SMALL,
            heaps,
            lfh,
            free,
            stacks: if segment { 0 } else { stacks },
            large,
            hole_every,
            filled,
            range,
            seed,
        });
    }
}
