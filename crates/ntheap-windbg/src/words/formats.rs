//! `.formats`: a number in all its forms.

use std::fmt::{self, Write};

use super::{modules::back_quoted, time};
use ntheap::layout::Bitness;

/// Prints a number in all its forms.
///
/// # Errors
/// Those of `out`.
pub(crate) fn formats(
    value: u64,
    signed: i64,
    bitness: Bitness,
    out: &mut dyn Write,
) -> fmt::Result {
    let bytes: &[u8] = &value.to_be_bytes();
    let (bytes, octal) = match bitness {
        Bitness::X64 => (bytes, 22),
        Bitness::X86 => (&bytes[4..], 11),
    };
    let value = match bitness {
        Bitness::X64 => value,
        Bitness::X86 => value & u64::from(u32::MAX),
    };
    let binary: Vec<String> = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let characters: String = bytes
        .iter()
        .map(|&byte| match byte {
            0x20..=0x7e => char::from(byte),
            _ => '.',
        })
        .collect();
    writeln!(out, "Evaluate expression:")?;
    writeln!(out, "  Hex:     {}", back_quoted(value, bitness))?;
    writeln!(out, "  Decimal: {signed}")?;
    if bitness == Bitness::X64 && signed < 0 {
        writeln!(out, "  Decimal (unsigned) : {value}")?;
    }
    writeln!(out, "  Octal:   {value:0octal$o}")?;
    writeln!(out, "  Binary:  {}", binary.join(" "))?;
    writeln!(out, "  Chars:   {characters}")?;
    // What is no time of this millennium is none.
    const LATEST: u64 = 32_503_680_000;
    match value {
        0..LATEST => writeln!(out, "  Time:    {}", time::date(value))?,
        _ => writeln!(out, "  Time:    ***** Invalid")?,
    }
    let float = |bits: u32| scientific(f32::from_bits(bits).into());
    let (low, high) = (value as u32, (value >> 32) as u32);
    writeln!(out, "  Float:   low {} high {}", float(low), float(high))?;
    writeln!(out, "  Double:  {}", scientific(f64::from_bits(value)))
}

/// A number as `%g` of the debugger's C runtime prints it: six digits, three in the exponent.
pub(super) fn scientific(value: f64) -> String {
    const DIGITS: i32 = 6;
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let text = format!("{value:.5e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |digits: &str| match digits.contains('.') {
        true => digits
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        false => digits.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        return trimmed(&format!("{value:.decimals$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:03}", trimmed(mantissa), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_all_forms() {
        let mut text = String::new();
        formats(0x30, 0x30, Bitness::X64, &mut text).unwrap();
        assert_eq!(
            text,
            "Evaluate expression:\n  Hex:     00000000`00000030\n  Decimal: 48\n  \
             Octal:   0000000000000000000060\n  \
             Binary:  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00110000\n  \
             Chars:   .......0\n  Time:    Thu Jan  1 00:00:48 1970\n  \
             Float:   low 6.72623e-044 high 0\n  Double:  2.37152e-322\n"
        );
    }

    #[test]
    fn floating_point_has_six_digits() {
        for (value, text) in [
            (1.5, "1.5"),
            (1e10, "1e+010"),
            (-0.0001, "-0.0001"),
            (123_456.0, "123456"),
        ] {
            assert_eq!(scientific(value), text);
        }
    }
}
