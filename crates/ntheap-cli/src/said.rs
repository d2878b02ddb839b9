//! Standard error.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
};

use ntheap::printable::Lines;

/// Writes a line to standard error; whatever it is made of, nothing in it drives the terminal.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::said::line(format_args!($($text)*))
    };
}

pub(crate) fn line(text: fmt::Arguments<'_>) {
    let mut line = Lines::new(String::new());
    // Writing to a string does not fail, and nobody can be told that standard error does.
    let _ = writeln!(line, "{text}");
    let _ = io::stderr().lock().write_all(line.into_inner().as_bytes());
}
