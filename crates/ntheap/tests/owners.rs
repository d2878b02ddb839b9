//! Who owns memory outside the heaps, by layouts made by hand: each sign, and what must not be taken
//! for one.

use ntheap::{
    dump::{Dump, Module, Region, RegionKind, RegionState},
    process::Process,
    usage::{GrownAllocation, RegionOwner, Sign},
};
use ntheap_synth::{HEAP, Image, Memory, dump, heap};

const READ_WRITE: u32 = 4;
const MODULE: u64 = 0x7ff6_0000_0000;

fn region(base: u64, size: u64, allocation: u64, state: RegionState, kind: RegionKind) -> Region {
    let protection = if state == RegionState::Commit {
        READ_WRITE
    } else {
        0
    };
    Region {
        base,
        size,
        allocation_base: allocation,
        state,
        kind,
        protection,
        allocation_protection: READ_WRITE,
    }
}

fn private(base: u64, size: u64) -> Region {
    region(base, size, base, RegionState::Commit, RegionKind::Private)
}

fn module(name: &str, base: u64) -> Module {
    Module {
        base,
        size: 0x10000,
        path: format!("C:\\app\\{name}"),
        timestamp: 1,
        checksum: 0,
        version: None,
        pdb: None,
    }
}

/// The owner that is found for each of these allocations.
fn owners(
    mut memory: Memory,
    regions: &[Region],
    modules: &[Module],
    grown: &[u64],
) -> Vec<(String, Sign)> {
    let (own, _) = heap(HEAP, 0x10000, 1, |_| 0x40);
    memory.extend(own);
    let file = dump(&[HEAP], memory);
    let mut dump = Dump::parse(&file).expect("it parses");
    dump.modules = modules.to_vec();
    dump.regions = regions.to_vec();
    dump.regions.sort_by_key(|region| region.base);
    let process = Process::of(&dump).expect("it has a heap");
    let found = |&base: &u64| {
        let owners = RegionOwner::of(&process, &[GrownAllocation { base, bytes: 1 }]);
        assert_eq!(owners.len(), 1);
        (owners[0].name.to_string(), owners[0].sign)
    };
    if grown.len() > 1 {
        let all: Vec<_> = grown
            .iter()
            .map(|&base| GrownAllocation { base, bytes: 1 })
            .collect();
        let owners = RegionOwner::of(&process, &all);
        assert_eq!(
            owners.iter().map(|owner| owner.allocations).sum::<usize>(),
            all.len()
        );
        return owners
            .iter()
            .map(|o| (o.name.to_string(), o.sign))
            .collect();
    }
    grown.iter().map(found).collect()
}

#[test]
fn super_pages_are_partition_allocs() {
    let base = 0x100_0000_0000;
    let part = |offset, size, state| region(base + offset, size, base, state, RegionKind::Private);
    use RegionState::{Commit, Reserve};
    let regions = [
        part(0, 0x1000, Reserve),
        part(0x1000, 0x1000, Commit),
        part(0x2000, 0x2000, Reserve),
        part(0x4000, 0x1f_8000, Commit),
        part(0x1f_c000, 0x4000, Reserve),
    ];
    let found = owners(Vec::new(), &regions, &[], &[base]);
    assert_eq!(
        found,
        [("PartitionAlloc (Chromium)".to_owned(), Sign::Layout)]
    );
    let plain = owners(Vec::new(), &[private(base, 0x20_0000)], &[], &[base]);
    assert_eq!(plain, [(String::new(), Sign::Nothing)]);
}

/// Segments of 32 MiB of which the first page is in the dump, with this word for a cookie.
fn segments(word: usize, cookie: impl Fn(u64) -> u64) -> (Memory, Vec<Region>, Vec<u64>) {
    const SEGMENT: u64 = 32 << 20;
    let bases: Vec<u64> = (0..3).map(|n| 0x200_0000_0000 + n * 2 * SEGMENT).collect();
    let memory = bases.iter().map(|&base| {
        let mut page = Image::new(0x1000);
        page.u64(0, 1);
        page.u64(8, base + 0x2000);
        page.u64(word as u64 * 8, cookie(base));
        (base, page.0)
    });
    let regions = bases.iter().map(|&base| private(base, SEGMENT)).collect();
    (memory.collect(), regions, bases)
}

#[test]
fn segments_with_the_secret_of_the_process_are_mimallocs() {
    const SECRET: u64 = 0x9e37_79b9_7f4a_7c15;
    let (memory, regions, bases) = segments(5, |base| base ^ SECRET);
    let found = owners(memory, &regions, &[], &bases);
    assert_eq!(found, [("mimalloc".to_owned(), Sign::Layout)]);
    // Words that are no secret, and a secret in one segment alone, say nothing.
    let (memory, regions, bases) = segments(5, |base| base + 0x3000);
    assert_eq!(owners(memory, &regions, &[], &bases)[0].1, Sign::Nothing);
    let (memory, regions, bases) = segments(5, |base| (base ^ SECRET).wrapping_mul(base));
    assert_eq!(owners(memory, &regions, &[], &bases)[0].1, Sign::Nothing);
}

#[test]
fn runtimes_are_known_by_their_modules() {
    let base = 0x300_0000_0000;
    let regions = [private(base, 32 << 20)];
    for (file, name) in [
        ("coreclr.dll", "the .NET garbage collector's heap"),
        ("JVM.dll", "the Java heap"),
        ("node.exe", "V8"),
    ] {
        let found = owners(Vec::new(), &regions, &[module(file, MODULE)], &[base]);
        assert_eq!(found, [(name.to_owned(), Sign::Module)]);
    }
    let small = [private(base, 0x10000)];
    let found = owners(
        Vec::new(),
        &small,
        &[module("coreclr.dll", MODULE)],
        &[base],
    );
    assert_eq!(found[0].1, Sign::Nothing);
}

#[test]
fn else_the_module_with_most_pointers_is_the_owner() {
    let base = 0x400_0000_0000;
    let image = |at: u64| region(at, 0x1000, at, RegionState::Commit, RegionKind::Image);
    let modules = [
        module("few.dll", MODULE),
        module("many.dll", MODULE + 0x10_0000),
    ];
    let mut memory = Memory::new();
    for (module, pointers) in modules.iter().zip([1u64, 5]) {
        let mut data = Image::new(0x1000);
        (0..pointers).for_each(|n| data.u64(0x100 + n * 8, base + 0x1234 + n));
        memory.push((module.base, data.0));
    }
    let regions = [
        image(MODULE),
        image(MODULE + 0x10_0000),
        private(base, 0x10000),
    ];
    let found = owners(memory, &regions, &modules, &[base]);
    assert_eq!(found, [("many.dll".to_owned(), Sign::Pointers)]);

    // Nobody points there: whose tables its objects have.
    let mut objects = Image::new(0x10000);
    (0..100).for_each(|n| objects.u64(n * 64, MODULE + 0x800));
    let regions = [image(MODULE), private(base, 0x10000)];
    let found = owners(vec![(base, objects.0)], &regions, &modules, &[base]);
    assert_eq!(found, [("few.dll".to_owned(), Sign::PointsTo)]);
}
