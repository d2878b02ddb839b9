//! Images made by hand.

use super::*;

const BASE: u64 = 0x1_4000_0000;

/// An image of one readable section, filled piece by piece.
struct Builder {
    bytes: Vec<u8>,
    base: u64,
    bitness: Bitness,
}

impl Builder {
    fn new(bitness: Bitness) -> Self {
        let base = match bitness {
            Bitness::X86 => 0x40_0000,
            Bitness::X64 => BASE,
        };
        Builder {
            bytes: vec![0; 0x1000],
            base,
            bitness,
        }
    }

    fn u32(&mut self, at: u64, value: u64) {
        self.bytes[at as usize..][..4].copy_from_slice(&(value as u32).to_le_bytes());
    }

    /// A reference to `rva` as the structures have it.
    fn refer(&mut self, at: u64, rva: u64) {
        let value = match self.bitness {
            Bitness::X86 => self.base + rva,
            Bitness::X64 => rva,
        };
        self.u32(at, value);
    }

    fn pointer(&mut self, at: u64, rva: u64) {
        let width = self.bitness.pointer_size() as usize;
        let value = (self.base + rva).to_le_bytes();
        self.bytes[at as usize..][..width].copy_from_slice(&value[..width]);
    }

    fn descriptor(&mut self, at: u64, name: &str) {
        let name_at = (at + 2 * self.bitness.pointer_size()) as usize;
        self.bytes[name_at..name_at + name.len()].copy_from_slice(name.as_bytes());
    }

    fn locator(&mut self, at: u64, offset: u64, descriptor: u64, hierarchy: u64) {
        let wide = self.bitness == Bitness::X64;
        self.u32(at, u64::from(wide));
        self.u32(at + 4, offset);
        self.refer(at + 0xc, descriptor);
        self.refer(at + 0x10, hierarchy);
        if wide {
            self.u32(at + 0x14, at);
        }
    }

    fn hierarchy(&mut self, at: u64, array: u64, bases: &[u64]) {
        self.u32(at + 8, bases.len() as u64);
        self.refer(at + 0xc, array);
        for (index, base) in bases.iter().enumerate() {
            self.refer(array + index as u64 * 4, *base);
        }
    }

    fn base(&mut self, at: u64, descriptor: u64, member: u64, table: i32, entry: u64) {
        self.refer(at, descriptor);
        self.u32(at + 8, member);
        self.u32(at + 0xc, table as u32 as u64);
        self.u32(at + 0x10, entry);
    }

    /// Puts a locator in front of a table at `at`.
    fn vftable(&mut self, at: u64, locator: u64) {
        let word = self.bitness.pointer_size();
        self.pointer(at - word, locator);
        self.pointer(at, 0xf00);
    }

    fn find(&self) -> Rtti {
        let size = self.bytes.len() as u64;
        let memory = AddressSpace::new(&self.bytes, [(self.base, 0, size)]);
        Rtti::of_modules(&memory, &[self.module()], self.bitness)
    }

    fn module(&self) -> Module {
        Module {
            base: self.base,
            size: self.bytes.len() as u64,
            path: "a.exe".to_owned(),
            timestamp: 0,
            checksum: 0,
            version: None,
            pdb: None,
        }
    }
}

/// `Widget`, with the second base `Logger` at 0x10.
fn widget(bitness: Bitness) -> Builder {
    let mut image = Builder::new(bitness);
    image.descriptor(0x100, ".?AVWidget@app@@");
    image.descriptor(0x140, ".?AVLogger@app@@");
    image.hierarchy(0x200, 0x220, &[0x240, 0x260]);
    image.base(0x240, 0x100, 0, -1, 0);
    image.base(0x260, 0x140, 0x10, -1, 0);
    image.locator(0x300, 0, 0x100, 0x200);
    image.locator(0x320, 0x10, 0x100, 0x200);
    image.vftable(0x408, 0x300);
    image.vftable(0x428, 0x320);
    image
}

#[test]
fn a_class_with_a_second_base() {
    for bitness in [Bitness::X86, Bitness::X64] {
        let image = widget(bitness);
        let rtti = image.find();
        assert_eq!((rtti.classes().len(), rtti.locators()), (1, 2));
        let class = &rtti.classes()[0];
        assert_eq!(&*class.name, "app::Widget");
        assert_eq!(&*class.bases[0].name, "app::Logger");
        let first = rtti.vftable(image.base + 0x408).expect("the first table");
        assert_eq!((first.offset, first.class), (0, 0));
        let second = rtti.vftable(image.base + 0x428).expect("the second");
        assert_eq!((second.offset, second.locator), (0x10, image.base + 0x320));
        assert_eq!(rtti.vftable(image.base + 0x410), None);
    }
}

#[test]
fn a_virtual_base_is_placed_by_the_objects_own_table() {
    let mut image = Builder::new(Bitness::X64);
    image.descriptor(0x100, ".?AVDocument@@");
    image.descriptor(0x140, ".?AVItem@@");
    image.hierarchy(0x200, 0x220, &[0x240, 0x260]);
    image.base(0x240, 0x100, 0, -1, 0);
    image.base(0x260, 0x140, 0, 0, 4);
    image.locator(0x300, 0x18, 0x100, 0x200);
    image.vftable(0x408, 0x300);
    // The table of virtual bases, then the object: pointer to it, and the base at 0x18.
    image.u32(0x504, 0x18);
    image.pointer(0x600, 0x500);
    image.pointer(0x618, 0x408);
    let size = image.bytes.len() as u64;
    let memory = AddressSpace::new(&image.bytes, [(BASE, 0, size)]);
    let rtti = Rtti::of_modules(&memory, &[image.module()], Bitness::X64);
    let vftable = rtti.vftable(BASE + 0x408).expect("a table");
    let holds = |at| rtti.holds_virtual_base(&memory, Bitness::X64, BASE + at, vftable);
    assert!(holds(0x600));
    assert!(!holds(0x608));
}

#[test]
fn what_is_damaged_is_no_class() {
    for bitness in [Bitness::X86, Bitness::X64] {
        type Damage = fn(&mut Builder);
        let damages: [Damage; 8] = [
            |image| image.u32(0x204, 0xff),               // attributes
            |image| image.u32(0x208, 0),                  // no bases
            |image| image.u32(0x208, 0xffff_ffff),        // endlessly many
            |image| image.u32(0x20c, 0xffff_fff0),        // the list elsewhere
            |image| image.u32(0x260, 3),                  // a base elsewhere
            |image| image.u32(0x240, 0x140),              // the first base is another class
            |image| image.bytes[0x100..0x140].fill(b'x'), // no name
            |image| image.u32(0x300, 7),                  // signature, of the first locator alone
        ];
        for (index, damage) in damages.iter().enumerate() {
            let mut image = widget(bitness);
            damage(&mut image);
            let rtti = image.find();
            let expected = if index == 7 { (1, 1) } else { (0, 0) };
            let found = (rtti.classes().len(), rtti.vftables().count());
            assert_eq!(found, expected, "damage {index}");
        }
    }
}

#[test]
fn a_name_without_end_and_an_image_of_names_alone() {
    let mut image = widget(Bitness::X64);
    image.bytes[0x110..].fill(b'A');
    assert_eq!(image.find().classes().len(), 0);
    // Every word the beginning of a name, every word a pointer to one.
    let mut image = Builder::new(Bitness::X86);
    for at in (0..0x1000).step_by(8) {
        image.bytes[at..at + 4].copy_from_slice(b".?AV");
        image.u32(at as u64 + 4, 0x40_0100);
    }
    assert_eq!(image.find().classes().len(), 0);
}

#[test]
fn a_table_whose_first_function_is_no_code_is_none() {
    let mut image = widget(Bitness::X64);
    image.bytes[0x408..0x410].fill(0x11);
    let rtti = image.find();
    assert_eq!(rtti.vftable(BASE + 0x408), None);
    assert_eq!(rtti.locators(), 2);
}

proptest::proptest! {
    #[test]
    fn wild_words_do_no_harm(words: Vec<(u16, u32)>, wide: bool) {
        let bitness = if wide { Bitness::X64 } else { Bitness::X86 };
        let mut image = widget(bitness);
        for (at, value) in words {
            image.u32(u64::from(at) % 0xffc, u64::from(value));
        }
        let rtti = image.find();
        proptest::prop_assert!(rtti.classes().len() <= 2);
    }
}
