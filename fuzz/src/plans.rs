//! What the generator is to make: heaps of some pages, of each layout that there is a proof for.

use ntheap::layout::Bitness;
use ntheap_synth::stream::{Manager, Plan};

const NT_BUILDS: [u32; 6] = [7601, 9200, 9600, 14393, 19041, 26100];
const SEGMENT_BUILDS: [u32; 4] = [17763, 19041, 22000, 26100];

fn small(build: u32, bitness: Bitness) -> Plan {
    Plan {
        build,
        bitness,
        bytes: 0x1_0000,
        filled: 0x6000,
        large: 1,
        free: 25,
        seed: build.into(),
        ..Plan::default()
    }
}

/// NT heaps of both widths: entries, slots, free lists, an uncommitted range, a block by itself.
#[must_use]
pub fn nt() -> Vec<Plan> {
    let both = [Bitness::X86, Bitness::X64];
    let all = NT_BUILDS.map(|build| both.map(|bitness| small(build, bitness)));
    all.into_iter().flatten().collect()
}

/// The same with stacks.
#[must_use]
pub fn traced() -> Vec<Plan> {
    let with_stacks = |plan| Plan { stacks: 5, ..plan };
    nt().into_iter().map(with_stacks).collect()
}

/// Segment heaps.
#[must_use]
pub fn segment() -> Vec<Plan> {
    let all = SEGMENT_BUILDS.map(|build| Plan {
        manager: Manager::Segment,
        filled: 0x8000,
        ..small(build, Bitness::X64)
    });
    all.into()
}

/// Some of all kinds.
#[must_use]
pub fn some() -> Vec<Plan> {
    let all = [nt(), traced(), segment()].concat();
    all.into_iter().step_by(3).collect()
}
