//! Dumps from strangers, and output for strangers: what a dump holds drives no terminal, and with
//! `--private` nothing personal is printed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn unpacked(name: &str) -> Vec<u8> {
    let packed = fs::File::open(root().join("testdata").join(name)).expect("opens");
    zstd::decode_all(packed).expect("unpacks")
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The bytes with every `from` replaced by `to`, which is as long; how many there were.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    assert_eq!(from.len(), to.len());
    let mut count = 0;
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
            (count, at) = (count + 1, at + from.len());
        } else {
            at += 1;
        }
    }
    count
}

/// A dump whose program and one of whose DLLs have such names.
fn dump(folder: &TempDir, program: &str, dll: &str) -> PathBuf {
    let mut bytes = unpacked("19041.662-smallust.snap2.dmp.zst");
    assert!(replace(&mut bytes, &utf16("ordersvc.exe"), &utf16(program)) > 0);
    assert!(replace(&mut bytes, &utf16("strkit.dll"), &utf16(dll)) > 0);
    let path = folder.path().join("app.dmp");
    fs::write(&path, bytes).expect("written");
    path
}

/// Every way to have something printed.
fn commands(dump: &Path) -> Vec<Vec<String>> {
    let dump = dump.to_str().expect("text");
    let older = root().join("testdata/19041.662-smallust.snap1.dmp.zst");
    let older = older.to_str().expect("text").to_owned();
    let symbols = root().join("testdata/symbols");
    let symbols = symbols.to_str().expect("text").to_owned();
    let mut all = Vec::new();
    for words in [
        "info",
        "summary",
        "summary --style plain",
        "address",
        "verify",
        "stat",
        "stat --group-by stack",
        "filter --size 48",
        "stacks --form collapsed",
        "umdh snapshot",
        "leaks",
        "types",
        "types --contents",
        "types --containers",
    ] {
        let mut command: Vec<String> = words.split(' ').map(str::to_owned).collect();
        command.push(dump.to_owned());
        all.push(command);
    }
    for operands in [["block", "21ab8342600"], ["symbol", "7ff6228b2504"]] {
        all.push(vec![operands[0].into(), dump.into(), operands[1].into()]);
    }
    all.push(vec!["diff".into(), older.clone(), dump.into()]);
    all.push(vec!["umdh".into(), "diff".into(), older, dump.into()]);
    for command in [
        "lm",
        "!address 7ff6228b2504",
        "!address -summary",
        "ln 7ff6228b2504",
        "!heap -p -a 21ab8342600",
        "!heap -s",
        "!heap -x 21ab8342600 -v",
        "dps 21ab8342600 L8",
        "da 21ab8342600",
        "x *!*Churn*",
        "!heap -l",
        "dt ntdll!_HEAP 21ab8320000",
    ] {
        all.push(vec!["exec".into(), dump.into(), command.into()]);
    }
    let with_symbols = all.clone().into_iter().map(|mut command| {
        command.extend(["--symbols".to_owned(), symbols.clone()]);
        command
    });
    let forms = all.clone().into_iter().map(|mut command| {
        command.extend(["--format".to_owned(), "json".to_owned()]);
        command
    });
    let more: Vec<_> = with_symbols.chain(forms).collect();
    all.extend(more);
    all
}

fn run(arguments: &[String]) -> Output {
    let cache = std::env::temp_dir().join("ntheap-tests-strangers");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntheap"));
    command
        .env_remove("_NT_SYMBOL_PATH")
        .env("NTHEAP_CACHE", cache);
    command.args(arguments).output().expect("runs")
}

#[test]
fn names_of_modules_drive_no_terminal() {
    let folder = TempDir::new().expect("a folder");
    // An escape sequence, a bell, a sequence that begins with one character, a mark that turns text
    // around, line breaks: all of it in names.
    let dump = dump(
        &folder,
        "\x1b[2J\x07\u{9b}1m.exe",
        "\u{202e}a\r\nb\u{7f}.dll",
    );
    let mut printed = 0;
    for arguments in commands(&dump) {
        let output = run(&arguments);
        for bytes in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(bytes);
            let acts = |c: char| match c {
                '\n' | '\t' => false,
                '\r' => !arguments.contains(&"umdh".to_owned()) && !text.contains("\n\r "),
                c => c.is_control() || "\u{202e}\u{2066}".contains(c),
            };
            assert!(!text.contains(acts), "{arguments:?}: {text:?}");
            printed += usize::from(text.contains(r"\x1b[2J"));
            assert!(!text.contains("a\r\nb"), "{arguments:?}: a forged line");
        }
    }
    assert!(printed > 10, "the name was printed {printed} times only");
    // What reads JSON gets the name as it is.
    let output =
        run(&["info", "--format", "json", dump.to_str().expect("text")].map(str::to_owned));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report.to_string().contains("\u{9b}1m.exe"), "{report}");
}

#[test]
fn nothing_private_is_printed() {
    let folder = TempDir::new().expect("a folder");
    let mut bytes = unpacked("19041.662-smallust.snap2.dmp.zst");
    let modules = utf16(r"C:\Windows\System32\ntdll.dll");
    replace(
        &mut bytes,
        &modules,
        &utf16(r"C:\Users\ann\secret1\ntdll.dll")[..modules.len()],
    );
    let path = folder.path().join("ann").join("app.dmp");
    fs::create_dir(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, bytes).expect("written");
    let mut with_folders = 0;
    for mut arguments in commands(&path) {
        let has_folder = |output: &Output| {
            let text = [output.stdout.as_slice(), &output.stderr].concat();
            let text = String::from_utf8_lossy(&text).to_lowercase();
            [
                "c:\\",
                "c:/",
                "src/",
                "\\\\users",
                "/ann/",
                "testdata",
                "windows\\",
            ]
            .iter()
            .any(|part| text.contains(part))
        };
        with_folders += usize::from(has_folder(&run(&arguments)));
        arguments.push("--private".to_owned());
        let output = run(&arguments);
        let text = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(!has_folder(&output), "{arguments:?}: {text}");
        let shows_memory = ["da ", "dps ", "dt "].iter().any(|command| {
            arguments
                .iter()
                .any(|argument| argument.starts_with(command))
        });
        if shows_memory && !arguments.contains(&"--format".to_owned()) {
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert!(text.contains("contents of memory are left out"), "{text}");
        }
    }
    assert!(with_folders > 10, "{with_folders}");
}

/// Every word of the debugger, with all that it could be asked.
#[test]
fn no_debugger_command_shows_what_is_private() {
    let folder = TempDir::new().expect("a folder");
    let mut bytes = unpacked("19041.662-smallust.snap2.dmp.zst");
    // A user, in every path and string of the program: its modules, its start, its loader's list.
    assert!(replace(&mut bytes, &utf16(r"C:\Forge"), &utf16(r"C:\anna5")) > 8);
    let path = folder.path().join("anna5").join("app.dmp");
    fs::create_dir(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, bytes).expect("written");
    let mut lines: Vec<String> = Vec::new();
    // Loops repeat what is there anyway, and `q` would end it.
    for word in ntheap_windbg::COMMANDS {
        for operand in [
            "",
            "21ab8342600",
            "@$peb",
            "-v",
            "v",
            "f",
            "0 f",
            "0 f File",
            "ntdll",
            "-all",
            "-a 21ab8342600",
            "-hang",
            "SystemRoot",
            "ntdll!_PEB @$peb",
        ] {
            lines.push(format!("{word} {operand}"));
        }
    }
    for line in [
        "lmf",
        "lmv",
        "lmvm ordersvc",
        "!dlls -m",
        "!heap -p -a 21ab8342600",
        "!heap -s",
        "!heap -srch 20",
        ".sympath",
        "||",
        "version",
        ".foreach (a {!peb}) {.echo a}",
        ".foreach (a {lmf}) {.echo a}",
        "!for_each_module .echo @#ImageName @#LoadedImageName",
        ".printf \"%mu %ma\\n\", 21ab8321900, 21ab8321900",
        "?? ((ntdll!_PEB*)@$peb)->ProcessParameters",
        "? poi(@$peb)",
        "s -u 21ab8320000 L?100000 \"anna5\"",
        "!list -t ntdll!_LIST_ENTRY.Flink -x \"du @$extret\" 21ab8321cc0",
        "!ustr 21ab8321900",
        "c 21ab8321900 L10 21ab8321a00",
        "~*kb",
    ] {
        lines.push(line.to_owned());
    }
    let shown = |options: &[&str]| {
        let mut arguments = vec!["exec".to_owned(), path.to_str().expect("text").to_owned()];
        arguments.extend(lines.iter().cloned());
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        let output = run(&arguments);
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        String::from_utf8_lossy(&text).to_lowercase()
    };
    let private = |line: &&str| {
        // The prompt repeats what was typed.
        let is_typed = line.starts_with("0:0") || line.starts_with("ntheap: ");
        let parts = ["anna5", ":\\", "\\device", "systemroot=", "seed="];
        !is_typed && parts.iter().any(|part| line.contains(part))
    };
    let everything = shown(&[]);
    assert!(everything.lines().filter(private).count() > 30);
    let symbols = root().join("testdata/symbols");
    let symbols = symbols.to_str().expect("text");
    for options in [&["--private"][..], &["--private", "--symbols", symbols]] {
        let text = shown(options);
        assert_eq!(text.lines().find(private), None);
        // What may be shown is.
        assert!(text.contains("image name:      ordersvc.exe"));
        assert!(text.contains("<not shown: --private>"));
    }
}

#[test]
fn a_pdb_that_is_garbage_is_said() {
    let folder = TempDir::new().expect("a folder");
    let id = "9DBD9908BC89219A4C4C44205044422E1";
    let store = folder.path().join("ordersvc.pdb").join(id);
    fs::create_dir_all(&store).expect("folders");
    fs::write(store.join("ordersvc.pdb"), b"not what it says").expect("written");
    let dump = root().join("testdata/19041.662-smallust.snap2.dmp.zst");
    let (dump, symbols) = (
        dump.to_str().expect("text"),
        folder.path().to_str().expect("text"),
    );
    for arguments in [
        &["symbol", dump, "7ff6228b2504", "--symbols", symbols][..],
        &["exec", dump, "ln 7ff6228b2504", "--symbols", symbols],
        &["stacks", dump, "--symbols", symbols],
        &["stat", dump, "--group-by", "stack", "--symbols", symbols],
        &["umdh", "diff", dump, "--symbols", symbols],
        &["block", dump, "21ab8342600", "--symbols", symbols],
    ] {
        let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
        let output = run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("not a PDB"), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    }
}
