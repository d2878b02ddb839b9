//! Numbers on the command line: decimal, hexadecimal with `0x`, or all hexadecimal with `--hex`.

use crate::failure::Failure;

/// A size, count or limit.
pub(crate) fn parse(text: &str, hex: bool) -> Result<u64, Failure> {
    let invalid = || Failure::Usage(format!("'{text}' is not a number (decimal, 0x…, or --hex)"));
    let plain = text.replace(['_', '`'], "");
    if let Some(digits) = strip_prefix(&plain, "0x") {
        return u64::from_str_radix(digits, 16).map_err(|_| invalid());
    }
    if let Some(digits) = strip_prefix(&plain, "0n") {
        return digits.parse().map_err(|_| invalid());
    }
    let radix = if hex { 16 } else { 10 };
    u64::from_str_radix(&plain, radix).map_err(|_| invalid())
}

/// An address: always hexadecimal, with or without `0x`, also as the debugger writes it
/// (`0000021a`b6d00000`).
pub(crate) fn parse_address(text: &str) -> Result<u64, Failure> {
    parse(text, true).map_err(|_| Failure::Usage(format!("'{text}' is not an address")))
}

/// A number of bytes: decimal or with `0x`, or with K, M, G or T behind it, powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, Failure> {
    let shift = |unit: char| {
        "KMGT"
            .find(unit.to_ascii_uppercase())
            .map(|at| 10 * (at + 1))
    };
    let (number, shift) = match text.chars().last().and_then(shift) {
        Some(shift) if !text.starts_with("0x") => (&text[..text.len() - 1], shift),
        _ => (text, 0),
    };
    let bytes = parse(number, false)?.checked_mul(1 << shift);
    bytes.ok_or_else(|| Failure::Usage(format!("'{text}' is too large")))
}

fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    text.get(..prefix.len())
        .filter(|start| start.eq_ignore_ascii_case(prefix))
        .map(|_| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radix_follows_prefix_and_option() {
        assert_eq!(parse("30", false).unwrap(), 30);
        assert_eq!(parse("30", true).unwrap(), 0x30);
        assert_eq!(parse("0x30", false).unwrap(), 0x30);
        assert_eq!(parse("0n30", true).unwrap(), 30);
        assert_eq!(parse_address("0000021a`b6d00000").unwrap(), 0x21a_b6d0_0000);
        assert!(parse("3g", true).is_err());
        assert!(parse("", false).is_err());
        assert_eq!(parse_bytes("20").unwrap(), 20);
        assert_eq!(parse_bytes("0x20").unwrap(), 0x20);
        assert_eq!(parse_bytes("20g").unwrap(), 20 << 30);
        assert!(parse_bytes("99999999T").is_err());
        assert!(parse_bytes("T").is_err());
    }
}
