//! Heap tags by name.

use std::path::Path;

use ntheap::{
    dump::{Dump, DumpFile},
    heap::{Heap, Heaps},
    process::Process,
};

#[test]
fn tags_have_the_names_that_ntdll_gave_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let file = DumpFile::open(&path.join("14393.447-tag.snap1.dmp.zst")).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("it parses");
    let process = Process::of(&dump).expect("it has heaps");
    let heaps = Heaps::of(&process);
    let Heap::Nt(process_heap) = &heaps.as_slice()[0] else {
        panic!("the process heap is an NT heap");
    };
    let tags = process_heap.tags();
    assert!(tags.len() >= 4, "{tags:?}");
    assert_eq!(
        (tags[0].index, tags[0].name.as_str()),
        (1, "NTDLL!CSRSS Clie")
    );
    assert_eq!(process_heap.tag_entry(2), Some(tags[1].clone()));
    assert_eq!(process_heap.tag_entry(0), None);
    assert_eq!(process_heap.tag_entry(0x7fff), None);
    // Pseudo tags count blocks by their size in units: 4 units of 16 bytes.
    let Heap::Nt(third) = &heaps.as_slice()[2] else {
        panic!("the heap is an NT heap");
    };
    let pseudo = third.tag_entry(0x8004).expect("a pseudo tag");
    assert_eq!((pseudo.allocations, pseudo.frees, pseudo.bytes), (1, 0, 64));
    assert_eq!(third.tags(), []);
}
