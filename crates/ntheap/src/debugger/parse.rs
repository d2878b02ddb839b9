//! Numbers and expressions as the debugger reads them.

use super::CommandError;

/// Finds addresses by name.
pub trait SymbolLookup {
    /// Address of a module's base or of a symbol (`module!symbol` or `symbol`).
    fn address_of(&self, name: &str) -> Option<u64>;
}

/// The value of an expression: numbers are hexadecimal unless they begin with `0n` (decimal),
/// `0x`, `0t` (octal) or `0y` (binary); terms are joined by `+` and `-`; a back quote may part the
/// halves of a 64-bit number; what is no number is looked up as a symbol.
///
/// # Errors
/// [`CommandError::Operand`].
pub fn evaluate(text: &str, symbols: &dyn SymbolLookup) -> Result<u64, CommandError> {
    let wrong = |text: &str, reason| CommandError::Operand {
        text: text.to_owned(),
        reason,
    };
    let mut value = 0u64;
    let mut negative = false;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong(text, "an address is expected"));
    }
    loop {
        let end = rest.find(['+', '-']).unwrap_or(rest.len());
        let term = rest[..end].trim();
        if !term.is_empty() {
            let number = number(term)
                .or_else(|| symbols.address_of(term))
                .ok_or_else(|| wrong(term, "neither a number nor a known symbol"))?;
            value = if negative {
                value.wrapping_sub(number)
            } else {
                value.wrapping_add(number)
            };
        } else if end == rest.len() {
            return Err(wrong(text, "a term is missing"));
        }
        match rest[end..].chars().next() {
            None => return Ok(value),
            Some(sign) => {
                negative = sign == '-';
                rest = &rest[end + 1..];
            }
        }
    }
}

/// A single number.
pub(super) fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let radix = |prefix: &str, radix| {
        let digits = lower.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix).ok()
    };
    radix("0n", 10)
        .or_else(|| radix("0t", 8))
        .or_else(|| radix("0y", 2))
        .or_else(|| {
            let digits = lower.strip_prefix("0x").unwrap_or(&lower);
            // 0000021a`b8320000, as the debugger itself prints addresses.
            match digits.split_once('`') {
                Some((high, low)) if low.len() == 8 => {
                    let high = u64::from_str_radix(high, 16).ok()?;
                    let low = u64::from_str_radix(low, 16).ok()?;
                    (high <= u32::MAX.into()).then_some(high << 32 | low)
                }
                Some(_) => None,
                None => u64::from_str_radix(digits, 16).ok(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;
    impl SymbolLookup for One {
        fn address_of(&self, name: &str) -> Option<u64> {
            (name == "ntdll!PebLdr").then_some(0x1000)
        }
    }

    #[test]
    fn numbers_are_hexadecimal_unless_they_say_otherwise() {
        let value = |text| evaluate(text, &One).ok();
        assert_eq!(value("10"), Some(16));
        assert_eq!(value("0n10"), Some(10));
        assert_eq!(value("0x10+4-2"), Some(0x12));
        assert_eq!(value("0000021a`b8320000"), Some(0x21a_b832_0000));
        assert_eq!(value("ntdll!PebLdr + 8"), Some(0x1008));
        assert_eq!(value("0y101"), Some(5));
        assert_eq!(value("-1"), Some(u64::MAX));
        for bad in ["", "nothing", "1+", "12345678`1", "0n"] {
            assert_eq!(value(bad), None, "{bad}");
        }
    }
}
