//! Standard error.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use ntheap::printable::Lines;

/// `--quiet`: an option of the whole run.
static QUIET: AtomicBool = AtomicBool::new(false);

pub(crate) fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Writes a line to standard error, unless `--quiet` forbids it; whatever it is made of, nothing in it drives the terminal.
macro_rules! say {
    ($($text:tt)*) => {
        if !$crate::said::is_quiet() {
            $crate::said::line(format_args!($($text)*))
        }
    };
}

pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut line = Lines::new(String::new());
    // Writing to a string does not fail, and nobody can be told that standard error does.
    let _ = writeln!(line, "{text}");
    let _ = io::stderr().lock().write_all(line.into_inner().as_bytes());
}
