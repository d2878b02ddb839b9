//! `ntheap shell` at a terminal: completion, history, pages, Ctrl-C.
#![cfg(unix)]

use std::{path::PathBuf, process::Command, time::Duration};

use expectrl::{ControlCode, Eof, Expect, session::OsSession, session::Session};

/// Starts the shell over testdata, with a history of its own.
fn shell(history: &tempfile::TempDir, dumps: &[&str]) -> OsSession {
    let testdata = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntheap"));
    command
        .arg("shell")
        .args(dumps.iter().map(|name| testdata.join(name)))
        .arg("--symbols")
        .arg(testdata.join("symbols"))
        .env("NTHEAP_CACHE", history.path())
        .env("TERM", "xterm");
    let mut session = Session::spawn(command).expect("the program starts at a terminal");
    session.set_expect_timeout(Some(Duration::from_secs(60)));
    session
        .get_process_mut()
        .set_window_size(100, 24)
        .expect("a terminal has a size");
    session
}

fn expect(session: &mut OsSession, text: &str) {
    if let Err(error) = session.expect(text) {
        panic!("{text:?} was expected: {error}");
    }
}

const SMALL: [&str; 2] = [
    "19041.662-smallust.snap1.dmp.zst",
    "19041.662-smallust.snap2.dmp.zst",
];

#[test]
fn tab_completes_commands_heaps_and_symbols() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = shell(&folder, &SMALL[..1]);
    expect(&mut session, "> ");
    session.send("!he\t -sta\t -h 21ab84\t\r").expect("sent");
    expect(&mut session, "heap @ 0000021ab8470000");
    expect(&mut session, "> ");
    session.send("ln ordersvc!app::PhaseTw\t\r").expect("sent");
    expect(&mut session, "ordersvc!app::PhaseTwo (class app::Random *)");
    expect(&mut session, "> ");
    session.send_line("q").expect("sent");
    session.expect(Eof).expect("q ends the program");
}

#[test]
fn the_history_outlives_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    for typed in ["!heap -k 21ab8470000\r", "\x1b[A\r"] {
        let mut session = shell(&folder, &SMALL[..1]);
        expect(&mut session, "> ");
        session.send(typed).expect("sent");
        // What was typed is shown, too: this is the heap's own line.
        expect(&mut session, "Segment at 0000021ab8470000");
        expect(&mut session, "> ");
        // Not the last line of the history.
        session.send(ControlCode::EndOfTransmission).expect("sent");
        session.expect(Eof).expect("Ctrl-D ends the program");
    }
}

#[test]
fn q_and_ctrl_c_end_the_command_and_not_the_program() {
    const MORE: &str = "-- more: any key; q stops --";
    let folder = tempfile::tempdir().expect("a folder");
    let mut session = shell(&folder, &SMALL);
    expect(&mut session, "after> ");
    session.send_line("!heap -p -all").expect("sent");
    expect(&mut session, MORE);
    session.send(" ").expect("sent");
    expect(&mut session, MORE);
    session.send("q").expect("sent");
    expect(&mut session, "after> ");
    session.send_line("!heap -p -all").expect("sent");
    expect(&mut session, MORE);
    session.send(ControlCode::EndOfText).expect("sent");
    expect(&mut session, "after> ");
    // A line that was begun.
    session.send("!heap -l").expect("sent");
    session.send(ControlCode::EndOfText).expect("sent");
    expect(&mut session, "after> ");
    session.send_line(".before").expect("sent");
    expect(&mut session, SMALL[0]);
    expect(&mut session, "before> ");
    session.send_line("!diff").expect("sent");
    expect(&mut session, "Heap 21ab8560000 grew");
    expect(&mut session, MORE);
    session.send("q").expect("sent");
    expect(&mut session, "before> ");
    session.send_line("q").expect("sent");
    session.expect(Eof).expect("q ends the program");
}
