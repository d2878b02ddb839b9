//! Who points to whom, what is lost, and what the blocks are.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap::{
    dump::Dump,
    graph::{Graph, Rules},
    heap::Heaps,
    process::Process,
    types::Types,
    usage::Usage,
};
use ntheap_fuzz::{Seed, changed, seeds};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds(&["small", "pageheap"]));

fuzz_target!(|input: &[u8]| {
    let (_, bytes, mut recipe) = changed(&SEEDS, input);
    let Ok(dump) = Dump::parse(&bytes) else {
        return;
    };
    let Ok(process) = Process::of(&dump) else {
        return;
    };
    let heaps = Heaps::of(&process);
    let usage = Usage::of(&heaps);
    let _ = (
        usage.totals(),
        usage.owners(),
        usage.largest(10),
        usage.largest_free(),
    );
    let graph = Graph::of(&heaps);
    let classes = graph.classes(Rules::default());
    let dominators = graph.dominators();
    let ways = graph.ways(Rules::default());
    let blocks = graph.index().len() as u32;
    assert_eq!(classes.iter().count(), blocks as usize);
    for _ in 0..8 {
        let block = recipe.place() as u32 % blocks.max(1);
        if block < blocks {
            let _ = (dominators.retained(block), ways.to(&graph, block));
            assert!(dominators.above(block).count() <= blocks as usize);
        }
    }
    let types = Types::of(&graph, None);
    let totals = types.totals();
    let counted: u64 = totals.iter().map(|total| total.blocks).sum();
    assert!(counted <= types.blocks().count() as u64);
    let _ = (types.explained(), types.common_texts());
});
