//! Text from a dump, made harmless for whoever looks at it.
//!
//! Names of modules, symbols, files and tags are bytes of a stranger's choice: an escape sequence among
//! them would drive the reader's terminal, a line break would forge a line, a mark of direction would turn
//! the rest of the line around. What reads dumps keeps such text as it is; what prints it escapes it.
//!
//! ```
//! use ntheap::printable::printable;
//!
//! assert_eq!(printable("ordersvc.exe"), "ordersvc.exe");
//! assert_eq!(printable("a\x1b[2J\u{202e}exe.txt\n"), r"a\x1b[2J\u{202e}exe.txt\x0a");
//! ```

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

/// Whether a character does something else than show itself: control characters, line and paragraph
/// separators, and marks that change the direction of text.
#[must_use]
pub const fn is_unprintable(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// The text with such characters written as `\x1b` or `\u{202e}`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    // Writing to a string does not fail.
    let _ = text.chars().try_for_each(|c| escaped(c, &mut out));
    Cow::Owned(out)
}

fn escaped(c: char, out: &mut dyn Write) -> fmt::Result {
    match u32::from(c) {
        _ if !is_unprintable(c) => out.write_char(c),
        code @ 0..=0xff => write!(out, "\\x{code:02x}"),
        code => write!(out, "\\u{{{code:x}}}"),
    }
}

/// Writes whole reports: line breaks and tabs pass, everything else that is unprintable is escaped. The
/// last resort, for what no one escaped before.
///
/// A carriage return passes where it overwrites nothing: at the beginning and the end of a line, where the
/// debugger prints some.
///
/// ```
/// use std::fmt::Write;
/// use ntheap::printable::Lines;
///
/// let mut lines = Lines::new(String::new());
/// writeln!(lines, "a\tb\x07")?;
/// assert_eq!(lines.into_inner(), "a\tb\\x07\n");
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    at_start: bool,
}

impl<W> Lines<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Lines {
            out,
            at_start: true,
        }
    }

    /// Where it wrote to.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Lines<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(last) = text.as_bytes().last() else {
            return Ok(());
        };
        let was_at_start = std::mem::replace(&mut self.at_start, *last == b'\n');
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
        if text.as_bytes().iter().all(is_plain) {
            return self.out.write_str(text);
        }
        let mut written = 0;
        let bytes = text.as_bytes();
        for (at, c) in text.char_indices() {
            let begins_line = || {
                at.checked_sub(1)
                    .map_or(was_at_start, |at| bytes[at] == b'\n')
            };
            let ends_line = || bytes.get(at + 1) == Some(&b'\n');
            let passes = match c {
                '\n' | '\t' => true,
                '\r' => begins_line() || ends_line(),
                c => !is_unprintable(c),
            };
            if !passes {
                self.out.write_str(&text[written..at])?;
                escaped(c, &mut self.out)?;
                written = at + c.len_utf8();
            }
        }
        self.out.write_str(&text[written..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_itself_stays() {
        for text in ["", "ordersvc.exe", "ünïcödé 名前 👍", r"C:\x1b", "~"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_does_something_is_escaped() {
        let all = (0..=0x10_ffff).filter_map(char::from_u32);
        for c in all {
            let text = c.to_string();
            let shown = printable(&text);
            assert!(!shown.contains(char::is_control), "{c:?}");
            assert_eq!(shown == text, !is_unprintable(c), "{c:?}");
            assert!(is_unprintable(c) || !c.is_control(), "{c:?}");
        }
        assert_eq!(printable("\u{9b}31m\x7f\u{2066}"), r"\x9b31m\x7f\u{2066}");
    }

    #[test]
    fn lines_and_tabs_of_a_report_stay() {
        let mut lines = Lines::new(String::new());
        for text in ["\ra\n\tb\r\n\r c", "\rd\n", "", "\r\n", "e\rf"] {
            lines.write_str(text).unwrap();
        }
        lines.write_str("ü\x1b]0;x\x07\u{202e}y").unwrap();
        assert_eq!(
            lines.into_inner(),
            "\ra\n\tb\r\n\r c\\x0dd\n\r\ne\\x0dfü\\x1b]0;x\\x07\\u{202e}y"
        );
    }
}
