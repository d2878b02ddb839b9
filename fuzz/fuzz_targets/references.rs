//! Who points to whom, what is lost, and what the blocks are.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap::{
    graph::{Graph, Rules},
    heap::Heaps,
    types::Types,
    usage::Usage,
};
use ntheap_fuzz::{Recipe, Seed, one_thread, plans, seeds, with_changed};

static SEEDS: LazyLock<Vec<Seed>> =
    LazyLock::new(|| seeds(&["small", "pageheap", "wow64"], &plans::some()));

fn blocks(graph: &Graph<'_, '_>, recipe: &mut Recipe<'_>) {
    let classes = graph.classes(Rules::default());
    let dominators = graph.dominators();
    let ways = graph.ways(Rules::default());
    let blocks = graph.index().len() as u32;
    assert_eq!(classes.iter().count(), blocks as usize);
    for _ in 0..8 {
        let block = recipe.place() as u32 % blocks.max(1);
        if block < blocks {
            let _ = (dominators.retained(block), ways.to(graph, block));
            assert!(dominators.above(block).count() <= blocks as usize);
        }
    }
}

fn types(graph: &Graph<'_, '_>) {
    let types = Types::of(graph, None);
    let totals = types.totals();
    let counted: u64 = totals.iter().map(|total| total.blocks).sum();
    assert!(counted <= types.blocks().count() as u64);
    let _ = (types.explained(), types.common_texts());
}

fuzz_target!(init: one_thread(), |input: &[u8]| {
    with_changed(&SEEDS, input, |_, process, mut recipe| {
        let heaps = Heaps::of(process);
        let choice = recipe.byte() % 4;
        if choice == 0 {
            let usage = Usage::of(&heaps);
            let _ = (
                usage.totals(),
                usage.owners(),
                usage.largest(10),
                usage.largest_free(),
            );
            return;
        }
        let graph = Graph::of(&heaps);
        match choice {
            1 => types(&graph),
            _ => blocks(&graph, &mut recipe),
        }
    });
});
