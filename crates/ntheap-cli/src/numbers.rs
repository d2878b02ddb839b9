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

/// A number of bytes, with a unit if wanted: `4096`, `0x1000`, `64k`, `10MiB`, `1.5G`; all units are
/// binary.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, Failure> {
    let invalid = || {
        Failure::Usage(format!(
            "'{text}' is not a number of bytes (4096, 64k, 10MiB)"
        ))
    };
    if text.len() > 2 && strip_prefix(text, "0x").is_some() {
        return parse(text, false);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let unit = unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(invalid()),
    };
    let number = number.replace('_', "");
    match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(1 << shift).ok_or_else(invalid),
        Err(_) => match number.parse::<f64>() {
            Ok(part) if part * (1u64 << shift) as f64 <= u64::MAX as f64 / 2.0 => {
                Ok((part * (1u64 << shift) as f64) as u64)
            }
            _ => Err(invalid()),
        },
    }
}

/// An address: always hexadecimal, with or without `0x`, also as the debugger writes it
/// (`0000021a`b6d00000`).
pub(crate) fn parse_address(text: &str) -> Result<u64, Failure> {
    parse(text, true).map_err(|_| Failure::Usage(format!("'{text}' is not an address")))
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
    fn bytes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("0x10", 16),
            ("64k", 65_536),
            ("10MiB", 10 << 20),
            ("1.5 GB", 3 << 29),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "k", "1x", "1.2.3", "99999999999999999999T"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

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
