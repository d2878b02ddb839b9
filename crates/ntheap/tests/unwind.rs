//! Stacks of 64-bit code, by unwind data that were made by hand: each operation, interrupted prologues
//! and epilogues, and bytes that nobody meant to be unwind data.

use ntheap::{
    dump::{Architecture, Context, Dump},
    process::Process,
    unwind::{self, Stack, StackEnd},
};
use ntheap_synth::{About, HEAP, Image, Memory, Module, dump_about, heap};
use proptest::prelude::*;

const BASE: u64 = 0x7ff6_0000_0000;
const SIZE: usize = 0x4000;
const TABLE: u64 = 0x2000;
const DATA: u64 = 0x3000;
const STACK: u64 = 0x50_0000;
const STACK_SIZE: usize = 0x8000;

const RBX: u8 = 3;
const RBP: u8 = 5;
const RSI: u8 = 6;

/// Operations of unwind data: place in the prologue, operation and its number, further words.
const fn push(at: u8, register: u8) -> [u8; 2] {
    [at, register << 4]
}
const fn alloc_small(at: u8, bytes: u8) -> [u8; 2] {
    [at, (bytes / 8 - 1) << 4 | 2]
}

/// An image with functions, and a stack.
struct World {
    image: Image,
    functions: Vec<[u32; 3]>,
    data: u64,
    stack: Image,
    /// Behind the last word that was put on the stack.
    top: u64,
}

impl World {
    fn new() -> Self {
        let mut image = Image::new(SIZE);
        image.put(0, b"MZ");
        image.u32(0x3c, 0x80);
        image.put(0x80, b"PE\0\0");
        image.put(0x98, &0x20bu16.to_le_bytes());
        World {
            image,
            functions: Vec::new(),
            data: DATA,
            stack: Image::new(STACK_SIZE),
            top: STACK,
        }
    }

    /// Adds a function, whose unwind data have these flags, frame register (with its distance) and
    /// operations, and what stands behind them. Returns the offset of the data.
    fn function(
        &mut self,
        (begin, end): (u32, u32),
        flags: u8,
        (prologue, frame): (u8, u8),
        operations: &[u8],
        behind: &[u8],
    ) -> u32 {
        let at = self.data;
        let count = (operations.len() / 2) as u8;
        self.image
            .put(at, &[flags << 3 | 1, prologue, count, frame]);
        self.image.put(at + 4, operations);
        // Operations are padded to an even number.
        let trailer = at + 4 + (operations.len() as u64).next_multiple_of(4);
        self.image.put(trailer, behind);
        self.data = (trailer + behind.len() as u64).next_multiple_of(4);
        self.functions.push([begin, end, at as u32]);
        at as u32
    }

    /// Puts words on the stack.
    fn words(&mut self, words: &[u64]) {
        for word in words {
            self.stack.u64(self.top - STACK, *word);
            self.top += 8;
        }
    }

    fn room(&mut self, bytes: u64) {
        self.top += bytes;
    }

    fn memory(mut self) -> Memory {
        self.functions.sort();
        let size = self.functions.len() as u32 * 12;
        for (function, at) in self.functions.iter().zip((TABLE..).step_by(12)) {
            for (word, at) in function.iter().zip((at..).step_by(4)) {
                self.image.u32(at, *word);
            }
        }
        let directory = 0x98 + 0x70 + 3 * 8;
        self.image.u32(directory, TABLE as u32);
        self.image.u32(directory + 4, size);
        vec![(BASE, self.image.0), (STACK, self.stack.0)]
    }

    fn walk(self, context: &Context) -> Stack {
        walk(self.memory(), context, 100)
    }
}

/// Follows a stack of a process with these pieces of memory.
fn walk(mut memory: Memory, context: &Context, most: usize) -> Stack {
    memory.extend(heap(HEAP, 0x2000, 1, |_| 0x20).0);
    let about = About {
        modules: vec![Module {
            base: BASE,
            size: SIZE as u32,
            timestamp: 0,
            path: r"C:\made.exe".to_owned(),
            version: [1, 0, 0, 0],
        }],
        ..About::default()
    };
    let file = dump_about(&[HEAP], memory, &about);
    let dump = Dump::parse(&file).expect("the made dump parses");
    let process = Process::of(&dump).expect("the made dump has a heap");
    unwind::walk(&process, context, most)
}

/// Registers at an offset of the image.
fn at(offset: u32, stack_pointer: u64, rbp: u64) -> Context {
    let instruction = BASE + u64::from(offset);
    Context::starting_at(Architecture::X64, instruction, stack_pointer, rbp)
}

fn code(offset: u32) -> u64 {
    BASE + u64::from(offset)
}

/// Offsets of the functions of a stack, and their stack pointers from its beginning.
fn shown(stack: &Stack) -> Vec<(u64, u64)> {
    let frames = stack.frames.iter();
    frames
        .map(|frame| {
            let offset = frame.instruction.wrapping_sub(BASE);
            (offset, frame.stack_pointer.wrapping_sub(STACK))
        })
        .collect()
}

#[test]
fn each_operation_is_taken_back() {
    let mut world = World::new();
    // push rbp; push rbx; sub rsp, 20h
    let operations = [alloc_small(6, 0x20), push(2, RBX), push(1, RBP)].concat();
    world.function((0x1100, 0x1180), 0, (6, 0), &operations, &[]);
    // sub rsp, 200h, as a number of eight bytes
    world.function((0x1200, 0x1280), 0, (7, 0), &[7, 0x01, 0x40, 0], &[]);
    // sub rsp, 1000h, as a whole number
    world.function((0x1300, 0x1380), 0, (7, 0), &[7, 0x11, 0, 0x10, 0, 0], &[]);
    // push rbp; sub rsp, 40h; lea rbp, [rsp + 20h]; then a room of its own that nothing tells of
    let operations = [[10, 0x03], alloc_small(5, 0x40), push(1, RBP)].concat();
    world.function((0x1400, 0x1480), 0, (10, RBP | 2 << 4), &operations, &[]);
    // sub rsp, 40h; mov [rsp + 30h], rbp: the caller's frame register
    let operations = [[9, RBP << 4 | 4].as_slice(), &[6, 0], &alloc_small(4, 0x40)].concat();
    world.function((0x1500, 0x1580), 0, (9, 0), &operations, &[]);
    // The first part pushes rsi; the second, chained to it, takes 10h more.
    let first = world.function((0x1600, 0x1640), 0, (1, 0), &push(1, RSI), &[]);
    let chain = [0x1600u32, 0x1640, first].map(u32::to_le_bytes).concat();
    world.function((0x1640, 0x1680), 4, (4, 0), &alloc_small(4, 0x10), &chain);
    // Its frame register is the one that the function at 1500h saved.
    let operations = [[10, 0x03], alloc_small(5, 0x40), push(1, RBP)].concat();
    world.function((0x1700, 0x1780), 0, (10, RBP | 2 << 4), &operations, &[]);

    let mut expected = vec![(0x1120, 0)];
    world.room(0x20);
    // The frame register of the function at 1400h lies 20h above its stack without the other room.
    let behind_frames = STACK + 0x20 + 3 * 8 + (0x200 + 8) + (0x1000 + 8) + 0x100;
    world.words(&[1, behind_frames + 0x20, code(0x1220)]);
    expected.push((0x1220, world.top - STACK));
    world.room(0x200);
    world.words(&[code(0x1320)]);
    expected.push((0x1320, world.top - STACK));
    world.room(0x1000);
    world.words(&[code(0x1420)]);
    expected.push((0x1420, world.top - STACK));
    world.room(0x100);
    assert_eq!(world.top, behind_frames);
    world.room(0x40);
    world.words(&[2, code(0x1520)]);
    expected.push((0x1520, world.top - STACK));
    let outermost = world.top + 0x40 + 8 + 0x10 + 16 + 0x80;
    world.room(0x30);
    world.words(&[outermost + 0x20, 0, code(0x1650)]);
    expected.push((0x1650, world.top - STACK));
    world.room(0x10);
    world.words(&[3, code(0x1720)]);
    expected.push((0x1720, world.top - STACK));
    world.room(0x80);
    assert_eq!(world.top, outermost);
    world.room(0x40);
    world.words(&[0, 0]);

    let stack = world.walk(&at(0x1120, STACK, 0));
    assert_eq!(shown(&stack), expected, "{:?}", stack.end);
    assert_eq!(stack.end, StackEnd::Bottom);
    let returned: Vec<u64> = stack.frames.iter().map(|f| f.return_address).collect();
    assert_eq!(returned[0], code(0x1220));
    assert_eq!(returned.last(), Some(&0));
}

/// A function that pushes two registers and takes room, with its epilogue, and its caller.
fn with_epilogue() -> World {
    let mut world = World::new();
    let operations = [alloc_small(6, 0x20), push(2, RBX), push(1, RBP)].concat();
    world.function((0x1100, 0x1140), 0, (6, 0), &operations, &[]);
    world.function((0x1200, 0x1280), 0, (4, 0), &alloc_small(4, 0x10), &[]);
    // add rsp, 20h; pop rbx; pop rbp; ret
    world
        .image
        .put(0x1139, &[0x48, 0x83, 0xc4, 0x20, 0x5b, 0x5d, 0xc3]);
    world
}

/// Its caller is found from an instruction of it at which it has these words on the stack.
fn finds_its_caller(offset: u32, words: &[u64]) {
    let mut world = with_epilogue();
    world.words(words);
    world.words(&[code(0x1220), 0, 0, 0]);
    let stack = world.walk(&at(offset, STACK, 0));
    let caller = (0x1220, (words.len() as u64 + 1) * 8);
    assert_eq!(shown(&stack), [(offset.into(), 0), caller], "{offset:x}");
    assert_eq!(stack.end, StackEnd::Bottom);
}

#[test]
fn what_a_prologue_did_not_do_yet_is_not_taken_back() {
    // Where the instruction stands, and what is on the stack then.
    for (offset, words) in [
        (0x1100, vec![]),
        (0x1101, vec![7]),
        (0x1102, vec![6, 7]),
        (0x1106, vec![0, 0, 0, 0, 6, 7]),
    ] {
        finds_its_caller(offset, &words);
    }
}

#[test]
fn what_is_left_of_an_epilogue_is_done() {
    for (offset, words) in [
        (0x1139, vec![0, 0, 0, 0, 6, 7]),
        (0x113d, vec![6, 7]),
        (0x113e, vec![7]),
        (0x113f, vec![]),
    ] {
        finds_its_caller(offset, &words);
    }
}

#[test]
fn a_function_without_unwind_data_puts_nothing_on_the_stack() {
    let mut world = with_epilogue();
    world.words(&[code(0x1220), 0, 0, 0]);
    let stack = world.walk(&at(0x1f00, STACK, 0));
    assert_eq!(shown(&stack), [(0x1f00, 0), (0x1220, 8)]);
    // But it has called nobody.
    let mut world = with_epilogue();
    world.words(&[code(0x1f00), 0]);
    let stack = world.walk(&at(0x1f80, STACK, 0));
    assert_eq!(stack.end, StackEnd::NoUnwindData(code(0x1f00)));
}

#[test]
fn an_interrupted_function_goes_on_where_it_was() {
    for error_code in [false, true] {
        let mut world = with_epilogue();
        let operation = [0, u8::from(error_code) << 4 | 10];
        world.function((0x1800, 0x1840), 0, (0, 0), &operation, &[]);
        if error_code {
            world.words(&[0]);
        }
        // At its first instruction: of a return address the one in front would count.
        let interrupted = STACK + 0x100;
        world.words(&[code(0x1100), 0x33, 0x246, interrupted, 0x2b]);
        world.top = interrupted;
        world.words(&[code(0x1220), 0, 0, 0]);
        let stack = world.walk(&at(0x1810, STACK, 0));
        assert_eq!(
            shown(&stack),
            [(0x1810, 0), (0x1100, 0x100), (0x1220, 0x108)]
        );
        let returned_to = stack.frames.iter().map(|frame| frame.returned_to);
        assert_eq!(returned_to.collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(stack.end, StackEnd::Bottom);
    }
}

#[test]
fn what_is_not_in_the_dump_ends_the_stack_with_a_word() {
    let stack = with_epilogue().walk(&at(0x1120, STACK + 0x10_0000, 0));
    assert_eq!(stack.frames.len(), 1);
    assert!(matches!(stack.end, StackEnd::NoStack(_)), "{:?}", stack.end);

    let mut world = with_epilogue();
    world.room(0x30);
    world.words(&[0x1234_5678_0000]);
    let stack = world.walk(&at(0x1120, STACK, 0));
    assert_eq!(stack.end, StackEnd::NoImage(0x1234_5678_0000));

    let mut world = with_epilogue();
    world.image.u32(0x98 + 0x70 + 3 * 8, 0);
    world.words(&[0; 8]);
    let mut memory = world.memory();
    memory[0].1[0] = 0;
    let stack = walk(memory, &at(0x1120, STACK, 0), 100);
    assert_eq!(stack.end, StackEnd::NoUnwindData(code(0x1120)));

    // A part that is chained to itself.
    let mut world = World::new();
    let chain = [0x1100u32, 0x1140, DATA as u32].map(u32::to_le_bytes);
    world.function((0x1100, 0x1140), 4, (0, 0), &[], &chain.concat());
    let stack = world.walk(&at(0x1120, STACK, 0));
    assert_eq!(stack.end, StackEnd::NoUnwindData(code(0x1120)));
}

#[test]
fn no_more_frames_than_were_asked_for() {
    let mut world = with_epilogue();
    for _ in 0..200 {
        world.words(&[0, 0, code(0x1220)]);
    }
    let memory = world.memory();
    let stack = walk(memory.clone(), &at(0x1220, STACK, 0), 10);
    assert_eq!((stack.frames.len(), stack.end), (10, StackEnd::Limit));
    let stack = walk(memory, &at(0x1220, STACK, 0), 1000);
    assert_eq!((stack.frames.len(), stack.end), (201, StackEnd::Bottom));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the bytes: the stack ends, grows in one direction, and nothing panics.
    #[test]
    fn hostile_bytes_are_survived(
        table in proptest::collection::vec(any::<u8>(), 12 * 8),
        data in proptest::collection::vec(any::<u8>(), 0x400),
        sound_table in any::<bool>(),
        offset in 0x1000u32..0x2000,
        stack in proptest::collection::vec(prop_oneof![
            (0x1000u32..0x2000).prop_map(code),
            (STACK..STACK + STACK_SIZE as u64),
            any::<u64>(),
        ], 0x100),
        stack_pointer in prop_oneof![Just(STACK), STACK..STACK + 0x400, any::<u64>()],
        rbp in prop_oneof![STACK..STACK + 0x400, any::<u64>()],
    ) {
        let mut world = World::new();
        world.image.put(DATA, &data);
        if sound_table {
            // Sound entries, whose data begin anywhere.
            for (index, begin) in (0x1000..0x2000).step_by(0x200).enumerate() {
                let at = DATA as u32 + u32::from(data[index]) * 2;
                world.functions.push([begin, begin + 0x180, at]);
            }
        }
        world.words(&stack);
        let mut memory = world.memory();
        if !sound_table {
            memory[0].1[TABLE as usize..][..table.len()].copy_from_slice(&table);
            let size = 0x98 + 0x70 + 3 * 8 + 4;
            memory[0].1[size..size + 4].copy_from_slice(&(table.len() as u32).to_le_bytes());
        }
        let stack = walk(memory, &at(offset, stack_pointer, rbp), 1000);
        prop_assert!(!stack.frames.is_empty() && stack.frames.len() <= 1000);
        let places: Vec<u64> = stack.frames.iter().map(|frame| frame.stack_pointer).collect();
        prop_assert!(places.is_sorted());
    }
}
