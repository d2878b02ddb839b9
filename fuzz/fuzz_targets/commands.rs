//! Any bytes as a line and, behind its end, a dump: the line as a command, and then commands that go
//! through all heaps. What begins as a dump does is one without a line.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use ntheap::{
    heap::Heaps, dump::Dump, names::ModuleNames, process::Process};
use ntheap_windbg::Session;

/// Of the whole process.
const OF_PROCESS: &[&str] = &[
    "!heap -s -v",
    "!heap -m",
    "!heap -stat",
    "!heap -stat -h 0",
    "!heap -flt r 1 1000",
    "!heap -triage",
    "!heap -l",
    "!heap -p",
    "!heap -p -all",
    "!address -summary",
    "lm",
];

/// Of a heap, and so of the address of its header.
const OF_HEAP: &[&str] = &[
    "!heap -a",
    "!heap -hl",
    "!heap -T",
    "!heap -i",
    "!heap -s -a -h",
    "!heap -x -v",
    "!heap -p -a",
    "!address",
    "ln",
    "dps",
    "da",
    "dt -r1 ntdll!_HEAP",
];

/// Nothing is kept, and not more than any command should print.
struct Sink(usize);

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).expect("endless output");
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&byte| byte == b'\n');
    let (line, bytes) = match end {
        Some(end) if !input.starts_with(b"MDMP") => (&input[..end], &input[end + 1..]),
        _ => (&[][..], input),
    };
    let Ok(dump) = Dump::parse(bytes) else { return };
    let Ok(process) = Process::of(&dump) else {
        return;
    };
    let names = ModuleNames::new(&dump);
    let mut session = Session::new(&Heaps::listed(&process), &names);
    let mut execute = |command: &str| drop(session.execute(command, &mut Sink(1 << 28)));
    execute(&String::from_utf8_lossy(line));
    OF_PROCESS.iter().for_each(|command| execute(command));
    for heap in process.heaps.iter().chain(&process.normal_heaps) {
        OF_HEAP
            .iter()
            .for_each(|command| execute(&format!("{command} {:x}", heap.handle)));
    }
});
