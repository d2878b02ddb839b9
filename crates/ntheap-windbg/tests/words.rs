//! Lines as people type them (`words.txt`): each is carried out, or refused with a reason and the
//! nearest command; none is unknown.

use ntheap::{
    dump::{Dump, DumpFile},
    heap::Heaps,
    names::ModuleNames,
    process::Process,
};
use ntheap_synth::oracle::testdata_dumps;
use ntheap_windbg::{CommandError, Session};

/// Calls `test` with what carries out a line over a sample dump, a heap and a block.
fn with_session(
    name: &str,
    test: impl FnOnce(&mut dyn FnMut(&str) -> (Result<(), CommandError>, String), u64, u64),
) {
    let mut dumps = testdata_dumps().into_iter();
    let path = dumps.find(|path| path.to_string_lossy().contains(name));
    let file = DumpFile::open(&path.expect("the sample dump")).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump parses");
    let process = Process::of(&dump).expect("the dump has heaps");
    let heaps = Heaps::listed(&process);
    let names = ModuleNames::new(&dump);
    let heap = process.heaps[0].handle;
    let mut session = Session::new(&heaps, &names);
    let mut print = |line: &str| {
        let mut text = String::new();
        let result = session.execute(line, &mut text);
        (result.result, text)
    };
    let (_, rows) = print("!heap -flt r 20 80");
    let busy = rows.lines().find(|line| line.ends_with("(busy)"));
    let words: Vec<&str> = busy.expect("a block").split_whitespace().collect();
    let block = u64::from_str_radix(words[4], 16).expect("an address");
    test(&mut print, heap, block);
}

fn replaced(line: &str, heap: u64, block: u64) -> String {
    let words = line.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let words = words.map(|word| {
        let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let value = match bare {
            "H" => format!("{heap:x}"),
            "A" => format!("{block:x}"),
            "0xA" => format!("0x{block:x}"),
            bare => bare.to_owned(),
        };
        value + &word[bare.len()..]
    });
    words.collect()
}

fn judge(dump: &str) {
    with_session(dump, |print, heap, block| {
        let mut wrong = Vec::new();
        let lines = include_str!("words.txt").lines();
        for row in lines.filter(|row| !row.starts_with('#')) {
            let (expected, line) = row.split_once(' ').expect("a kind and a line");
            let (result, text) = print(&replaced(line, heap, block));
            let right = match (expected, &result) {
                ("answered", Ok(())) => !text.is_empty(),
                ("silent", Ok(())) => text.is_empty(),
                ("hint", Err(CommandError::Unavailable { reason })) => reason.len() > 15,
                ("operand", Err(CommandError::Operand { .. })) => true,
                _ => false,
            };
            if !right {
                let start: String = text.chars().take(60).collect();
                wrong.push(format!("{row}: {result:?} {start:?}"));
            }
        }
        assert!(wrong.is_empty(), "{dump}\n{}", wrong.join("\n"));
    });
}

#[test]
fn lines_that_people_type_are_understood() {
    judge("19041.662-smallust.snap2");
}

#[test]
fn also_of_32_bit_processes() {
    judge("x86-7601.21861-smallust.snap1");
}

#[test]
fn loops_and_conditions_do_what_they_say() {
    with_session("19041.662-small.snap1", |print, heap, _| {
        let text = |result: (Result<(), CommandError>, String)| result.1;
        assert_eq!(
            text(print(
                ".for (r $t0=0; @$t0<3; r $t0=@$t0+1) {.if (@$t0 == 1) {.continue}; ? @$t0}"
            )),
            "Evaluate expression: 0 = 00000000`00000000\nEvaluate expression: 2 = 00000000`00000002\n"
        );
        assert_eq!(
            text(print(
                ".foreach /pS 1 /ps 1 (w {.echo a b c d e}) {.echo <w>}"
            )),
            "<b>\n<d>\n"
        );
        assert_eq!(
            text(print(
                ".foreach (w \"1 2 3\") {.if (w == 2) {.break};.echo w}"
            )),
            "1\n"
        );
        assert_eq!(text(print(".echo a;q;.echo b")), "a\n");
        assert_eq!(
            text(print("aS h !heap -?;h;ad h")).lines().count(),
            text(print("!heap -?")).lines().count()
        );
        assert_eq!(
            text(print(
                ".printf \"%d|%x|%05x|%-4d|%c%%\\n\", 0n10, 0n10, ab, 1, 41"
            )),
            "10|a|000ab|1   |A%\n"
        );
        assert_eq!(
            text(print("?? sizeof(ntdll!_HEAP)")),
            "unsigned int64 0x2c0\n"
        );
        assert_eq!(text(print("?? 1+10")), "int 0n11\n");
        let rows = text(print(&format!("s -d {heap:x} L?100 eeffeeff")));
        assert_eq!(rows.lines().count(), 1, "{rows}");
        assert_eq!(
            text(print(&format!("s -[1]d {heap:x} L?100 eeffeeff"))),
            format!("{:#x}\n", heap + 0x98)
        );
        let one = text(print(&format!("!heap -flt s 30 -h {heap:x}")));
        assert_eq!(one.matches("_HEAP @").count(), 1);
    });
}

#[test]
fn loops_end() {
    with_session("19041.662-small.snap1", |print, _, _| {
        for line in [
            ".while (1) {}",
            ".while (1) {.while (1) {.echo x}}",
            ".do {} (1)",
            "as a ${a}${a};a a a",
            ".foreach (a {!heap -p -all}) {.foreach (b {!heap -p -all}) {? 1}}",
        ] {
            let (_, text) = print(line);
            assert!(text.len() < 1 << 26, "{line}");
        }
    });
}
