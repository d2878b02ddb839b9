//! Numbers and expressions as the debugger reads them.

use super::CommandError;

/// What expressions are made of besides numbers.
pub trait SymbolLookup {
    /// Address of a module's base or of a symbol (`module!symbol` or `symbol`).
    fn address_of(&self, name: &str) -> Option<u64>;

    /// A number of so many bytes in the process's memory; of 0 bytes: a pointer.
    fn read(&self, address: u64, size: u64) -> Option<u64> {
        let _ = (address, size);
        None
    }
}

/// Brackets inside brackets are followed this deep.
const MAX_DEPTH: usize = 64;

/// The value of an expression: numbers are hexadecimal unless they begin with `0n` (decimal),
/// `0x`, `0t` (octal) or `0y` (binary); a back quote may part the halves of a 64-bit number; what is
/// no number is looked up as a symbol. Terms are joined by `* / %`, `+ -`, `&`, `^` and `|` (in this
/// order of precedence) and by round brackets; `poi`, `by`, `wo`, `dwo` and `qwo` read the memory at
/// the address in the brackets behind them.
///
/// # Errors
/// [`CommandError::Operand`].
pub fn evaluate(text: &str, symbols: &dyn SymbolLookup) -> Result<u64, CommandError> {
    let mut parser = Parser {
        text,
        rest: text.trim(),
        symbols,
        depth: 0,
    };
    if parser.rest.is_empty() {
        return Err(wrong(text, "an address is expected"));
    }
    let value = parser.binary(0)?;
    match parser.rest {
        "" => Ok(value),
        rest => Err(wrong(rest, "an operator is missing")),
    }
}

fn wrong(text: &str, reason: &'static str) -> CommandError {
    CommandError::Operand {
        text: text.to_owned(),
        reason,
    }
}

/// Operators by precedence, the loosest first.
const OPERATORS: [&[char]; 5] = [&['|'], &['^'], &['&'], &['+', '-'], &['*', '/', '%']];

struct Parser<'t> {
    text: &'t str,
    rest: &'t str,
    symbols: &'t dyn SymbolLookup,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, wanted: &[char]) -> Option<char> {
        let found = self.rest.chars().next().filter(|c| wanted.contains(c))?;
        self.rest = self.rest[found.len_utf8()..].trim_start();
        Some(found)
    }

    /// A chain of operators of this precedence or a tighter one.
    fn binary(&mut self, level: usize) -> Result<u64, CommandError> {
        let Some(operators) = OPERATORS.get(level) else {
            return self.unary();
        };
        let mut value = self.binary(level + 1)?;
        while let Some(operator) = self.take(operators) {
            let right = self.binary(level + 1)?;
            value = match operator {
                '|' => value | right,
                '^' => value ^ right,
                '&' => value & right,
                '+' => value.wrapping_add(right),
                '-' => value.wrapping_sub(right),
                '*' => value.wrapping_mul(right),
                _ if right == 0 => return Err(wrong(self.text, "division by zero")),
                '/' => value / right,
                _ => value % right,
            };
        }
        Ok(value)
    }

    fn unary(&mut self) -> Result<u64, CommandError> {
        let mut negative = false;
        while let Some(sign) = self.take(&['-', '+']) {
            negative ^= sign == '-';
        }
        let value = self.term()?;
        Ok(if negative {
            value.wrapping_neg()
        } else {
            value
        })
    }

    fn term(&mut self) -> Result<u64, CommandError> {
        if self.take(&['(']).is_some() {
            return self.bracket();
        }
        let ends = |c: char| c.is_whitespace() || "+-*/%&|^()".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (term, rest) = self.rest.split_at(end);
        if term.is_empty() {
            return Err(wrong(self.text, "a term is missing"));
        }
        self.rest = rest.trim_start();
        let size = match term.to_ascii_lowercase().as_str() {
            "poi" => Some(0),
            "by" => Some(1),
            "wo" => Some(2),
            "dwo" => Some(4),
            "qwo" => Some(8),
            _ => None,
        };
        if let Some(size) = size
            && self.take(&['(']).is_some()
        {
            let address = self.bracket()?;
            let value = self.symbols.read(address, size);
            return value.ok_or_else(|| wrong(term, "that memory is not in the dump"));
        }
        number(term)
            .or_else(|| self.symbols.address_of(term))
            .ok_or_else(|| wrong(term, "neither a number nor a known symbol"))
    }

    /// What stands behind an opening bracket, up to the closing one.
    fn bracket(&mut self) -> Result<u64, CommandError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(wrong("(", "too many brackets"));
        }
        let value = self.binary(0)?;
        self.depth -= 1;
        match self.take(&[')']) {
            Some(_) => Ok(value),
            None => Err(wrong(self.text, "a closing bracket is missing")),
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

        fn read(&self, address: u64, size: u64) -> Option<u64> {
            (address < 0x2000).then_some(address + 0x10 + size)
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
        assert_eq!(value("1 + 2*3"), Some(7));
        assert_eq!(value("(1+2)*3 & 0xf | 10"), Some(0x19));
        assert_eq!(value("10 - -1"), Some(0x11));
        assert_eq!(value("poi(ntdll!PebLdr+8)+1"), Some(0x1019));
        assert_eq!(value("dwo( poi(10) )"), Some(0x34));
        let deep = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
        for bad in [
            "",
            "nothing",
            "1+",
            "12345678`1",
            "0n",
            "1 2",
            "(1",
            "1)",
            "1/0",
            "poi(9999)",
            &deep,
        ] {
            assert_eq!(value(bad), None, "{bad}");
        }
    }
}
