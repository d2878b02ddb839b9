//! Lines as people type them: several commands, modules in front of names, options in any order.

use ntheap::{
    dump::{Dump, DumpFile},
    heap::Heaps,
    names::ModuleNames,
    process::Process,
};
use ntheap_synth::oracle::testdata_dumps;
use ntheap_windbg::{CommandError, Session};

/// Calls `test` with what prints a line over the first sample dump.
fn with_session(test: impl FnOnce(&mut dyn FnMut(&str) -> Result<String, CommandError>, u64)) {
    with_session_over("", test);
}

/// The same over the first sample dump whose name has this part.
fn with_session_over(
    part: &str,
    test: impl FnOnce(&mut dyn FnMut(&str) -> Result<String, CommandError>, u64),
) {
    let mut paths = testdata_dumps().into_iter();
    let path = paths.find(|path| path.to_string_lossy().contains(part));
    let path = path.expect("a sample dump");
    let file = DumpFile::open(&path).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump parses");
    let process = Process::of(&dump).expect("the dump has heaps");
    let heaps = Heaps::listed(&process);
    let names = ModuleNames::new(&dump);
    let handle = process.heaps[0].handle;
    let mut session = Session::new(&heaps, &names);
    let mut print = |line: &str| {
        let mut text = String::new();
        session.execute(line, &mut text).result.map(|()| text)
    };
    test(&mut print, handle);
}

#[test]
fn lines_of_several_commands_print_what_each_prints() {
    with_session(|print, _| {
        let both = format!("{}{}", print("!heap -s").unwrap(), print("lm").unwrap());
        assert_eq!(print("!heap -s;lm").unwrap(), both);
        assert_eq!(
            print(" .logopen a.txt; !HEAP -S ;; lm; q; !heap").unwrap(),
            both
        );
        assert_eq!(print("* !heap").unwrap(), "");
        assert_eq!(print(".echo \"one; two\"").unwrap(), "one; two\n");
    });
}

#[test]
fn a_wrong_command_does_not_keep_the_others_from_being_carried_out() {
    with_session(|print, _| {
        let mut session_error = None;
        for line in ["!nothing;lm", "lm;!nothing", "u;lm"] {
            session_error = print(line).err();
            assert!(session_error.is_some(), "{line}");
        }
        assert!(matches!(
            session_error,
            Some(CommandError::Unavailable { .. })
        ));
    });
}

#[test]
fn a_wrong_command_does_not_hide_what_another_could_not_read() {
    let path = testdata_dumps().into_iter().next().expect("a sample dump");
    let file = DumpFile::open(&path).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump parses");
    let process = Process::of(&dump).expect("the dump has heaps");
    let heaps = Heaps::listed(&process);
    let names = ModuleNames::new(&dump);
    let mut session = Session::new(&heaps, &names);
    let mut text = String::new();
    for (line, looked, right) in [
        ("!heap -s;!nothing", true, false),
        ("!nothing;!heap -s", true, false),
        ("!heap -s", true, true),
        ("lm;!nothing", false, false),
        ("!heap -nothing", false, false),
    ] {
        let executed = session.execute(line, &mut text);
        assert_eq!(executed.losses.is_some(), looked, "{line}");
        assert_eq!(executed.result.is_ok(), right, "{line}");
    }
}

#[test]
fn names_and_options_are_read_as_the_debugger_reads_them() {
    with_session(|print, handle| {
        let same = [
            ("!ext.heap -s".to_owned(), "!heap -s".to_owned()),
            ("!Exts.Heap -p".to_owned(), "!heap -p".to_owned()),
            (
                format!("!heap {handle:x} -a"),
                format!("!heap -a {handle:x}"),
            ),
            (format!("!heap {handle:x}"), format!("!heap -k {handle:x}")),
            ("!heap 1".to_owned(), format!("!heap -k {handle:x}")),
            ("!heap 0".to_owned(), "!heap -h".to_owned()),
            (
                format!("!heap -v -x {handle:x}"),
                format!("!heap -x -v {handle:x}"),
            ),
        ];
        for (typed, meant) in same {
            assert_eq!(print(&typed), print(&meant), "{typed}");
        }
        assert!(print("!heap -?").unwrap().contains("!heap -stat"));
        assert_eq!(print("!heap -s -?"), print("!heap -?"));
    });
}

#[test]
fn operands_are_never_passed_over() {
    with_session(|print, handle| {
        let all = print("!heap -triage").unwrap();
        let one = print(&format!("!heap -triage {handle:x}")).unwrap();
        assert!(one.matches("Analyzing").count() < all.matches("Analyzing").count());
        assert!(print("lm f").unwrap().contains(".dll"));
        assert!(print("lmvm ntdll").unwrap().contains("Image path:"));
        assert!(print("lm zz").is_err());
        assert_ne!(
            print(&format!("dD {handle:x}")),
            print(&format!("dd {handle:x}"))
        );
        let one = print("lm m NTDLL").unwrap();
        assert_eq!(one.lines().count(), 2, "{one}");
        assert_eq!(print("lmm nt?ll").unwrap(), one);
    });
}

#[test]
fn numbers_and_memory_are_shown() {
    with_session(|print, handle| {
        let number = print("?0n10+6").unwrap();
        assert!(
            number.starts_with("Evaluate expression: 16 = 00000000"),
            "{number}"
        );
        let characters = print(&format!("dc {handle:x} L5")).unwrap();
        let rows: Vec<&str> = characters.lines().collect();
        let columns: Vec<usize> = rows.iter().map(|row| row.trim_end().len()).collect();
        assert_eq!(rows.len(), 2, "{characters}");
        assert_eq!(columns[0], columns[1] + 12, "{characters}");
        assert_eq!(
            print(&format!("dds {handle:x} L2"))
                .unwrap()
                .lines()
                .count(),
            2
        );
    });
}

/// A dump of 32-bit code, whose stack can be followed without unwind data.
const WITH_FRAMES: &str = "x86-9200.16578-small.snap1";

#[test]
fn what_is_done_for_each_ends_at_a_break_and_the_line_goes_on() {
    with_session_over(WITH_FRAMES, |print, _| {
        for each in [
            "!for_each_frame \".echo x;.break\"",
            "!for_each_module \".echo x;.break\"",
            "!address -f:Heap -c:\".echo x;.break\"",
            "!list -t ntdll!_LIST_ENTRY.Flink -x \".echo x;.break\" poi(@$peb+c)+c",
        ] {
            let text = print(&format!("{each};.echo behind")).expect(each);
            assert_eq!(
                text.lines().filter(|line| *line == "x").count(),
                1,
                "{text}"
            );
            assert!(text.ends_with("\nbehind\n"), "{text}");
            // Without it there is more than one.
            let text = print(&each.replace(";.break", "")).expect(each);
            assert!(
                text.lines().filter(|line| *line == "x").count() > 1,
                "{text}"
            );
        }
        assert!(
            print("~*e .break;.echo behind")
                .unwrap()
                .ends_with("behind\n")
        );
    });
}

#[test]
fn another_scope_begins_at_its_innermost_function() {
    with_session_over(WITH_FRAMES, |print, _| {
        let frame = |text: String| text.lines().last().unwrap_or_default().to_owned();
        let mut after = |line: &str| frame(print(&format!("{line};? @$frame")).expect(line));
        let (first, second) = (after(".frame 0"), after(".frame 1"));
        assert_ne!(first, second);
        assert_eq!(after(".frame 1;.cxr"), first);
        assert_eq!(after(".frame 1;~*e .frame 0"), second);
        assert_eq!(after(".frame 1;!for_each_frame .frame"), second);
        assert_eq!(frame(print(".frame 1;~*e ? @$frame").unwrap()), first);
    });
}

/// Takes a number of pieces of text.
struct Narrow(usize);

impl std::fmt::Write for Narrow {
    fn write_str(&mut self, _: &str) -> std::fmt::Result {
        self.0 = self.0.checked_sub(1).ok_or(std::fmt::Error)?;
        Ok(())
    }
}

#[test]
fn the_scope_is_what_it_was_where_the_output_ended() {
    let mut paths = testdata_dumps().into_iter();
    let path = paths.find(|path| path.to_string_lossy().contains(WITH_FRAMES));
    let file = DumpFile::open(&path.expect("a sample dump")).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump parses");
    let process = Process::of(&dump).expect("the dump has heaps");
    let heaps = Heaps::listed(&process);
    let names = ModuleNames::new(&dump);
    let mut session = Session::new(&heaps, &names);
    for pieces in 0..40 {
        let each = session.execute("!for_each_frame .echo x", &mut Narrow(pieces));
        let ended = each.result == Err(CommandError::Output);
        let mut text = String::new();
        let asked = session.execute("? @$frame", &mut text);
        assert_eq!(asked.result, Ok(()));
        assert!(text.ends_with("= 00000000\n"), "{pieces}, {ended}: {text}");
    }
}

#[test]
fn what_is_wrong_with_a_critical_section_names_its_address() {
    with_session(|print, _| {
        let error = print("!cs -l 0").expect_err("nothing is there");
        assert!(matches!(error, CommandError::Operand { text, .. } if text == "0"));
        assert!(print("!cs 1 2 3").is_err());
    });
}

#[test]
fn the_condition_of_a_choice_is_the_expression_that_stands_in_front() {
    with_session(|print, _| {
        for (line, text) in [
            ("j (41 == 'A') .echo \"a\";.echo \"b\"", "a\n"),
            ("j (0) .echo \"a\";.echo \"b\"", "b\n"),
            ("j 1 + 1 == 3 '.echo a;.echo c' ; '.echo b'", "b\n"),
            ("j (1) == (1) '.echo a;.echo c' ; '.echo b'", "a\nc\n"),
            ("j 1 .echo a", "a\n"),
        ] {
            assert_eq!(print(line).as_deref(), Ok(text), "{line}");
        }
        assert!(print("j").is_err());
    });
}
