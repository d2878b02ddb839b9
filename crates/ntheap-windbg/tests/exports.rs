//! Functions of images without a PDB: listed and searched by the names that sources have for them.

use ntheap::{dump::Dump, heap::Heaps, process::Process};
use ntheap_symbols::{DumpNames, Symbols};
use ntheap_synth::{About, HEAP, Image, Module, dump_about, heap};
use ntheap_windbg::Session;

const SIZE: usize = 0x2000;

/// An image that exports functions of these names.
fn image(names: &[&str]) -> Image {
    const HEADER: u64 = 0x80;
    const TABLE: u64 = 0x200;
    const FUNCTIONS: u64 = 0x300;
    const NAMES: u64 = 0x400;
    const ORDINALS: u64 = 0x500;
    const STRINGS: u64 = 0x600;
    const CODE: u64 = 0x1000;
    let mut image = Image::new(SIZE);
    image.put(0, b"MZ");
    image.u32(0x3c, HEADER as u32);
    image.put(HEADER, b"PE\0\0");
    image.put(HEADER + 0x18, &0x20bu16.to_le_bytes());
    image.u32(HEADER + 0x88, TABLE as u32);
    image.u32(HEADER + 0x8c, 0x28);
    image.u32(TABLE + 0x14, names.len() as u32);
    image.u32(TABLE + 0x18, names.len() as u32);
    image.u32(TABLE + 0x1c, FUNCTIONS as u32);
    image.u32(TABLE + 0x20, NAMES as u32);
    image.u32(TABLE + 0x24, ORDINALS as u32);
    for (index, name) in (0..).zip(names) {
        let string = STRINGS + index * 0x40;
        image.put(string, name.as_bytes());
        image.u32(NAMES + index * 4, string as u32);
        image.put(ORDINALS + index * 2, &(index as u16).to_le_bytes());
        image.u32(FUNCTIONS + index * 4, (CODE + index * 0x10) as u32);
    }
    image
}

#[test]
fn exports_are_found_by_the_names_that_are_listed() {
    // Two images of one name, as of two versions of a library.
    let (first, second) = (0x7ff6_0000_0000, 0x7ff6_1000_0000);
    let mut memory = heap(HEAP, 0x2000, 1, |_| 0x20).0;
    memory.push((first, image(&["?open@Depot@@QEAAXXZ", "plain"]).0));
    memory.push((second, image(&["?close@Depot@@QEAAXXZ"]).0));
    let module = |base| Module {
        base,
        size: SIZE as u32,
        timestamp: 0,
        path: r"C:\made.dll".to_owned(),
        version: [1, 0, 0, 0],
    };
    let about = About {
        modules: vec![module(first), module(second)],
        ..About::default()
    };
    let file = dump_about(&[HEAP], memory, &about);
    let dump = Dump::parse(&file).expect("the made dump parses");
    let process = Process::of(&dump).expect("the made dump has a heap");
    let heaps = Heaps::listed(&process);
    let symbols = Symbols::builder().build();
    let names = DumpNames::new(&dump, &symbols);
    let mut session = Session::new(&heaps, &names);
    let mut found = |line: &str| {
        let mut text = String::new();
        assert_eq!(session.execute(line, &mut text).result, Ok(()), "{line}");
        let rows = text.lines().filter_map(|row| row.split_whitespace().nth(1));
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["made!Depot::open", "made!plain", "made!Depot::close"];
    assert_eq!(found("x made!*"), all);
    assert_eq!(found("x made!depot::*"), [all[0], all[2]]);
    assert_eq!(found("x made!Depot::open"), all[..1]);
    assert_eq!(found("x made!p*"), [all[1]]);
}
