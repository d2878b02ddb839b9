//! Splits a log into lines, whatever its encoding, and reads numbers.

use std::borrow::Cow;

/// How the text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// ASCII, UTF-8, or a code page, of which only the ASCII part is understood.
    Bytes,
    /// UTF-16, as PowerShell's `>` writes it.
    Utf16 { little_endian: bool },
}

/// The lines of a text, without their CR and LF.
///
/// Lines are decoded one at a time: the text as a whole is never copied.
#[derive(Debug, Clone)]
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    encoding: Encoding,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let (rest, encoding) = match text {
            [0xff, 0xfe, rest @ ..] => (
                rest,
                Encoding::Utf16 {
                    little_endian: true,
                },
            ),
            [0xfe, 0xff, rest @ ..] => (
                rest,
                Encoding::Utf16 {
                    little_endian: false,
                },
            ),
            [0xef, 0xbb, 0xbf, rest @ ..] => (rest, Encoding::Bytes),
            rest => (rest, Encoding::Bytes),
        };
        Self { rest, encoding }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = self.rest;
        let mut line = match self.encoding {
            Encoding::Bytes => {
                let end = rest
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .unwrap_or(rest.len());
                self.rest = rest.get(end + 1..).unwrap_or_default();
                String::from_utf8_lossy(&rest[..end])
            }
            Encoding::Utf16 { little_endian } => {
                let unit = |pair: &[u8]| match *pair {
                    [a, b] if little_endian => u16::from_le_bytes([a, b]),
                    [a, b] => u16::from_be_bytes([a, b]),
                    // Half a unit at the end of a file that was cut off.
                    _ => char::REPLACEMENT_CHARACTER as u16,
                };
                let end = rest
                    .chunks(2)
                    .position(|pair| unit(pair) == u16::from(b'\n'))
                    .map_or(rest.len(), |units| units * 2);
                self.rest = rest.get(end + 2..).unwrap_or_default();
                let units = rest[..end].chunks(2).map(unit);
                Cow::Owned(
                    char::decode_utf16(units)
                        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
                        .collect(),
                )
            }
        };
        // Text that passed through several tools may end lines with CR CR LF.
        let end = line.trim_end_matches('\r').len();
        match &mut line {
            Cow::Borrowed(text) => *text = &text[..end],
            Cow::Owned(text) => text.truncate(end),
        }
        Some(line)
    }
}

/// A hexadecimal number of digits only.
pub(super) fn hex_digits(text: &str) -> Option<u64> {
    // `from_str_radix` takes a sign, which no number in a log has.
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

/// A hexadecimal number as any version of umdh or a debugger writes it: with or without `0x`, with
/// or without a backquote in the middle.
pub(super) fn hex(text: &str) -> Option<u64> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    match digits.split_once('`') {
        Some((high, low)) if low.len() == 8 && high.len() <= 8 => {
            Some(hex_digits(high)? << 32 | hex_digits(low)?)
        }
        Some(_) => None,
        None => hex_digits(digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        Lines::new(text).map(Cow::into_owned).collect()
    }

    #[test]
    fn lines_of_every_encoding() {
        let text = "a\r\n\r\nb ü\nc\r\r\n";
        let expected = ["a", "", "b ü", "c"];
        assert_eq!(lines(text.as_bytes()), expected);
        assert_eq!(
            lines(&[b"\xef\xbb\xbf", text.as_bytes()].concat()),
            expected
        );
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(lines(&[b"\xff\xfe", &le[..]].concat()), expected);
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(lines(&[b"\xfe\xff", &be[..]].concat()), expected);
    }

    #[test]
    fn damaged_text_is_replaced() {
        assert_eq!(lines(b"C:\\f\xfcr.exe"), ["C:\\f\u{fffd}r.exe"]);
        // Half a unit, and half a surrogate pair.
        assert_eq!(lines(b"\xff\xfea\0\n"), ["a\u{fffd}"]);
        assert_eq!(lines(b"\xff\xfe\x00\xd8\n\0"), ["\u{fffd}"]);
        assert_eq!(lines(b"\xff\xfe"), [""; 0]);
    }

    #[test]
    fn numbers() {
        assert_eq!(hex("7FF812341001"), Some(0x7ff8_1234_1001));
        assert_eq!(hex("0x428"), Some(0x428));
        assert_eq!(hex("00007ff8`12341001"), Some(0x7ff8_1234_1001));
        for text in ["", "0x", "-1", "+1", "1`2", "g", "10000000000000000", "é"] {
            assert_eq!(hex(text), None, "{text:?}");
        }
    }
}
