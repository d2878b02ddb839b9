//! Dumps of one program from many machines, of which some leak in one of its versions: what a service that
//! collects dumps has, with the answer to "what grew, and where".

use crate::{About, Image, Module, Random, dump_about, traced_heap};

/// Machines of the fleet.
pub const MACHINES: usize = 25;
/// Days on which each machine's programs are dumped; on each of them of both versions.
pub const DAYS: usize = 10;
/// Machines that leak.
pub const LEAKING: [usize; 3] = [3, 11, 17];
/// The program.
pub const PROGRAM: &str = "fleetapp.exe";
/// The version that leaks.
pub const VERSION: &str = "1.5";
/// The size that leaks.
pub const SIZE: u64 = 0x130;

const VERSIONS: [&str; 2] = ["1.4", VERSION];
/// The stack that leaks.
const STACK: usize = 5;
const STACKS: usize = 8;
const HEAP: u64 = 0x20_0000;
const RECORDS: u64 = 0x90_0000;
const RECORD: u64 = 0x100;

/// A dump, and the name of its file: `pc-03_1.5_07.dmp`.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub machine: String,
    pub version: &'static str,
    pub day: usize,
    pub bytes: Vec<u8>,
}

/// Offset in the program of the call that leaks.
pub fn leaking_offset() -> u64 {
    frames(STACK)[1].1
}

/// By how many blocks the leak grows on each machine from its first dump to its last.
pub fn growth(machine: usize) -> u64 {
    leaked(machine, DAYS - 1) - leaked(machine, 0)
}

fn leaked(machine: usize, day: usize) -> u64 {
    4 + (machine as u64 % 5 + 3) * day as u64
}

/// Frames of a stack, innermost first: whether they are in the program (else in ntdll), and where.
fn frames(stack: usize) -> Vec<(bool, u64)> {
    let depth = 2 + stack as u64 % 3;
    let own = (0..depth).map(|frame| (true, 0x1000 + 0x100 * stack as u64 + 0x10 * frame));
    let mut all = vec![(false, 0xa_da77)];
    all.extend(own);
    all.push((false, 0x4_d0df));
    all
}

/// All dumps, one by one.
pub fn fleet() -> impl Iterator<Item = Member> {
    let all = (0..MACHINES).flat_map(|machine| {
        let versions = VERSIONS.into_iter();
        versions.flat_map(move |version| (0..DAYS).map(move |day| (machine, version, day)))
    });
    all.map(|(machine, version, day)| member(machine, version, day))
}

fn member(machine: usize, version: &'static str, day: usize) -> Member {
    let is_new = version == VERSION;
    let mut random = Random((machine * 1000 + day * 10 + usize::from(is_new) + 1) as u64);
    // Every process has its modules elsewhere, and machines have several versions of Windows.
    let program = 0x7ff6_0000_0000 + random.below(0x1000) as u64 * 0x1_0000;
    let ntdll = 0x7ffd_0000_0000 + random.below(0x1000) as u64 * 0x1_0000;
    let module = |base, size, timestamp, path: &str, version| Module {
        base,
        size,
        timestamp,
        path: path.to_owned(),
        version,
    };
    let about = About {
        timestamp: 1_790_000_000 + (day * 86_400 + machine * 60) as u32,
        nt_global_flag: 0x1000,
        modules: vec![
            module(
                program,
                0x2_0000,
                0x6800_0000 + u32::from(is_new),
                &format!(r"C:\Users\user{machine}\Fleet\{PROGRAM}"),
                if is_new { [1, 5, 0, 0] } else { [1, 4, 0, 0] },
            ),
            module(
                ntdll,
                0x1f_5000,
                0x7000_0000 + machine as u32 % 4,
                r"C:\Windows\System32\ntdll.dll",
                [10, 0, 19041, 600 + machine as u16 % 4],
            ),
        ],
    };
    let mut wanted: Vec<(u64, usize)> = Vec::new();
    for stack in 0..STACKS {
        for kind in 0..3u64 {
            let count = 6 + random.below(4);
            wanted.extend(vec![
                (0x20 + 0x10 * stack as u64 + 0x90 * kind, stack);
                count
            ]);
        }
    }
    let leaks = is_new && LEAKING.contains(&machine);
    let leaked = if leaks { leaked(machine, day) } else { 4 };
    wanted.extend(vec![(SIZE, STACK); leaked as usize]);
    // Blocks lie as they came: in no order.
    for number in (1..wanted.len()).rev() {
        wanted.swap(number, random.below(number + 1));
    }
    let (mut memory, _) = traced_heap(HEAP, 0x2_0000, 1, |number| {
        let &(size, stack) = wanted.get(number as usize)?;
        Some((size, Some(RECORDS + RECORD * stack as u64)))
    });
    memory.push(records(program, ntdll));
    let machine = format!("pc-{machine:02}");
    Member {
        name: format!("{machine}_{version}_{day:02}.dmp"),
        machine,
        version,
        day,
        bytes: dump_about(&[HEAP], memory, &about),
    }
}

/// The records of the stacks.
fn records(program: u64, ntdll: u64) -> (u64, Vec<u8>) {
    let mut image = Image::new((STACKS as u64 * RECORD) as usize);
    for stack in 0..STACKS {
        let at = stack as u64 * RECORD;
        let frames = frames(stack);
        image.u32(at + 0xc, frames.len() as u32);
        for (number, (own, offset)) in (0..).zip(frames) {
            let base = if own { program } else { ntdll };
            image.u64(at + 0x10 + 8 * number, base + offset);
        }
    }
    (RECORDS, image.0)
}
