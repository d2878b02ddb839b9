//! Numbers and expressions as the debugger reads them.

use super::{CommandError, wrong};

/// What expressions are made of besides numbers.
pub trait SymbolLookup {
    /// Address of a module's base or of a symbol (`module!symbol` or `symbol`), or what a register
    /// or pseudo-register (`@rsp`, `$peb`, `@$t0`) holds.
    fn address_of(&self, name: &str) -> Option<u64>;

    /// A number of so many bytes in the process's memory; of 0 bytes: a pointer.
    fn read(&self, address: u64, size: u64) -> Option<u64> {
        let _ = (address, size);
        None
    }

    /// Base of numbers without a prefix: 16, until the command `n` sets another.
    fn radix(&self) -> u32 {
        16
    }
}

/// Brackets inside brackets are followed this deep.
const MAX_DEPTH: usize = 64;

/// The value of an expression: numbers are hexadecimal unless they begin with `0n` (decimal),
/// `0x`, `0t` (octal) or `0y` (binary); a back quote may part the halves of a 64-bit number; what is
/// no number is looked up as a symbol. Terms are joined by `* / % mod`, `+ -`, `<< >> >>>`,
/// `= == != < > <= >=`, `& and`, `^ xor` and `| or` (in this order of precedence) and by round
/// brackets; `- + not hi low` stand in front of terms; `poi`, `by`, `wo`, `dwo` and `qwo` read the
/// memory at the address behind them; `$scmp`, `$sicmp` and `$spat` compare strings.
///
/// # Errors
/// [`CommandError::Operand`].
pub fn evaluate(text: &str, symbols: &dyn SymbolLookup) -> Result<u64, CommandError> {
    match prefix(text, symbols)? {
        (value, "") => Ok(value),
        (_, rest) => Err(wrong(rest, "an operator is missing")),
    }
}

/// The value of the longest expression that a text begins with, and what stands behind it.
pub(super) fn prefix<'t>(
    text: &'t str,
    symbols: &dyn SymbolLookup,
) -> Result<(u64, &'t str), CommandError> {
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
    Ok((value, parser.rest))
}

/// Operators by precedence, the loosest first; of two that begin alike the longer first.
const OPERATORS: [&[&str]; 7] = [
    &["|", "or"],
    &["^", "xor"],
    &["&", "and"],
    &["==", "!=", "<=", ">=", "<", ">", "="],
    &["<<", ">>>", ">>"],
    &["+", "-"],
    &["*", "/", "%", "mod"],
];

struct Parser<'t, 's> {
    text: &'t str,
    rest: &'t str,
    symbols: &'s dyn SymbolLookup,
    depth: usize,
}

impl<'t> Parser<'t, '_> {
    fn take(&mut self, wanted: char) -> bool {
        let behind = self.rest.strip_prefix(wanted);
        if let Some(behind) = behind {
            self.rest = behind.trim_start();
        }
        behind.is_some()
    }

    /// An operator of a precedence, if one stands here.
    fn operator(&mut self, level: usize) -> Option<&'static str> {
        let here = |operator: &&&'static str| {
            let Some(start) = self.rest.get(..operator.len()) else {
                return false;
            };
            if !start.eq_ignore_ascii_case(operator) {
                return false;
            }
            let behind = self.rest[operator.len()..].chars().next();
            match operator.as_bytes()[0] {
                // A word ends where no other letter follows.
                b'a'..=b'z' => behind.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_'),
                // `<` is not the beginning of `<<`, nor `=` of one that is not meant.
                b'<' | b'>' if operator.len() == 1 => behind.is_none_or(|c| c != '<' && c != '>'),
                _ => true,
            }
        };
        let found = *OPERATORS[level].iter().find(here)?;
        let behind = &self.rest[found.len()..];
        // `||` and `&&` are the other evaluator's, and mean the same of what is compared.
        let doubled = matches!(found, "|" | "&") && behind.starts_with(found);
        self.rest = behind[usize::from(doubled)..].trim_start();
        Some(found)
    }

    /// A chain of operators of this precedence or a tighter one.
    fn binary(&mut self, level: usize) -> Result<u64, CommandError> {
        if level == OPERATORS.len() {
            return self.unary();
        }
        let mut value = self.binary(level + 1)?;
        while let Some(operator) = self.operator(level) {
            let right = self.binary(level + 1)?;
            let shifted = u32::try_from(right).unwrap_or(u32::MAX);
            value = match operator {
                "|" | "or" => value | right,
                "^" | "xor" => value ^ right,
                "&" | "and" => value & right,
                "=" | "==" => u64::from(value == right),
                "!=" => u64::from(value != right),
                "<" => u64::from(value < right),
                ">" => u64::from(value > right),
                "<=" => u64::from(value <= right),
                ">=" => u64::from(value >= right),
                "<<" => value.checked_shl(shifted).unwrap_or(0),
                ">>" => value.checked_shr(shifted).unwrap_or(0),
                ">>>" => (value as i64 >> shifted.min(63)) as u64,
                "+" => value.wrapping_add(right),
                "-" => value.wrapping_sub(right),
                "*" => value.wrapping_mul(right),
                _ if right == 0 => return Err(wrong(self.text, "division by zero")),
                "/" => value / right,
                _ => value % right,
            };
        }
        Ok(value)
    }

    fn unary(&mut self) -> Result<u64, CommandError> {
        let mut signs = Vec::new();
        loop {
            match self.rest.chars().next() {
                Some(sign @ ('-' | '+' | '~')) => {
                    self.take(sign);
                    signs.push(sign);
                }
                Some('!') if !self.rest.starts_with("!=") => {
                    self.take('!');
                    signs.push('!');
                }
                _ => break,
            }
            if signs.len() > MAX_DEPTH {
                return Err(wrong(self.text, "too many signs"));
            }
        }
        let value = self.term()?;
        Ok(signs.iter().rev().fold(value, |value, sign| match sign {
            '-' => value.wrapping_neg(),
            '~' => !value,
            '!' => u64::from(value == 0),
            _ => value,
        }))
    }

    fn deeper(&mut self) -> Result<(), CommandError> {
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(wrong("(", "too many brackets")),
            false => Ok(()),
        }
    }

    fn term(&mut self) -> Result<u64, CommandError> {
        if self.take('(') {
            return self.bracket();
        }
        // 'a' is the number of a character.
        if let Some(quoted) = self.rest.strip_prefix('\'')
            && let Some(end) = quoted.find('\'')
        {
            let bytes = &quoted.as_bytes()[..end.min(8)];
            let value = bytes
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte));
            self.rest = quoted[end + 1..].trim_start();
            return Ok(value);
        }
        // Of the other evaluator's words those are understood that are this one's, too.
        if let Some(behind) = self.rest.strip_prefix("@@c++(") {
            self.rest = behind.trim_start();
            return self.bracket();
        }
        let end = self.end_of_term();
        let (term, rest) = self.rest.split_at(end);
        if term.is_empty() {
            return Err(wrong(self.text, "a term is missing"));
        }
        self.rest = rest.trim_start();
        let lower = term.to_ascii_lowercase();
        match lower.as_str() {
            "poi" => return self.read(term, 0),
            "by" => return self.read(term, 1),
            "wo" => return self.read(term, 2),
            "dwo" => return self.read(term, 4),
            "qwo" => return self.read(term, 8),
            "not" => return Ok(u64::from(self.inner()? == 0)),
            "hi" => return Ok(self.inner()? >> 16 & 0xffff),
            "low" => return Ok(self.inner()? & 0xffff),
            "$scmp" | "$sicmp" | "$spat" => return self.compare(&lower),
            // The evaluator that is asked for by name is this one.
            "@@masm" | "@@" if self.rest.starts_with('(') => {
                self.take('(');
                return self.bracket();
            }
            _ => {}
        }
        let radix = self.symbols.radix();
        number_in(term, radix)
            .or_else(|| self.symbols.address_of(term))
            .ok_or_else(|| wrong(term, "neither a number nor a known symbol"))
    }

    /// A term ends at an operator; a symbol's name may have angle brackets and more behind its `!`.
    fn end_of_term(&self) -> usize {
        let mut template = 0usize;
        let mut symbol = false;
        for (at, c) in self.rest.char_indices() {
            match c {
                '!' if self.rest[at..].starts_with("!=") => return at,
                '!' => symbol = true,
                '<' if symbol => template += 1,
                '>' if symbol && template > 0 => template -= 1,
                _ if template > 0 => {}
                // `operator new`
                c if c.is_whitespace() && self.rest[..at].ends_with("operator") => {}
                c if c.is_whitespace() || "+-*/%&|^()<>=,;'\"".contains(c) => return at,
                _ => {}
            }
        }
        self.rest.len()
    }

    /// The term in brackets, or the next one.
    fn inner(&mut self) -> Result<u64, CommandError> {
        self.deeper()?;
        let value = if self.take('(') {
            self.bracket()?
        } else {
            self.unary()?
        };
        self.depth -= 1;
        Ok(value)
    }

    fn read(&mut self, term: &str, size: u64) -> Result<u64, CommandError> {
        let address = self.inner()?;
        let value = self.symbols.read(address, size);
        value.ok_or_else(|| wrong(term, "that memory is not in the dump"))
    }

    /// `$scmp("a", "b")`: -1, 0 or 1; `$spat("text", "pattern")`: whether it matches.
    fn compare(&mut self, function: &str) -> Result<u64, CommandError> {
        if !self.take('(') {
            return Err(wrong(self.text, "an opening bracket is missing"));
        }
        let first = self.string()?;
        if !self.take(',') {
            return Err(wrong(self.text, "two strings are expected"));
        }
        let second = self.string()?;
        if !self.take(')') {
            return Err(wrong(self.text, "a closing bracket is missing"));
        }
        let ordering = match function {
            "$spat" => {
                return Ok(u64::from(ntheap::names::matches_pattern(second, first)));
            }
            "$scmp" => first.cmp(second),
            _ => first.to_lowercase().cmp(&second.to_lowercase()),
        };
        Ok(ordering as i64 as u64)
    }

    fn string(&mut self) -> Result<&'t str, CommandError> {
        let quoted = self.rest.strip_prefix('"');
        let parted = quoted.and_then(|quoted| quoted.split_once('"'));
        let (text, rest) = parted.ok_or_else(|| wrong(self.rest, "a string is expected"))?;
        self.rest = rest.trim_start();
        Ok(text)
    }

    /// What stands behind an opening bracket, up to the closing one.
    fn bracket(&mut self) -> Result<u64, CommandError> {
        self.deeper()?;
        let value = self.binary(0)?;
        self.depth -= 1;
        match self.take(')') {
            true => Ok(value),
            false => Err(wrong(self.text, "a closing bracket is missing")),
        }
    }
}

/// A single number.
pub(super) fn number_in(text: &str, base: u32) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let radix = |prefix: &str, radix| {
        let digits = lower.strip_prefix(prefix)?;
        from_digits(digits, radix)
    };
    let prefixed = radix("0n", 10)
        .or_else(|| radix("0t", 8))
        .or_else(|| radix("0y", 2))
        .or_else(|| radix("0x", 16));
    prefixed.or_else(|| {
        // 0000021a`b8320000, as the debugger itself prints addresses.
        match lower.split_once('`') {
            Some(_) => from_digits(&lower, 16),
            None => from_digits(&lower, base).or_else(|| {
                let digits = lower.strip_suffix('h')?;
                from_digits(digits, 16)
            }),
        }
    })
}

fn from_digits(digits: &str, radix: u32) -> Option<u64> {
    // A sign is no digit.
    if digits.starts_with('+') {
        return None;
    }
    match digits.split_once('`') {
        Some((high, low)) if radix == 16 && low.len() == 8 && !low.starts_with('+') => {
            let high = u64::from_str_radix(high, 16).ok()?;
            let low = u64::from_str_radix(low, 16).ok()?;
            (high <= u32::MAX.into()).then_some(high << 32 | low)
        }
        Some(_) => None,
        None => u64::from_str_radix(digits, radix).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;
    impl SymbolLookup for One {
        fn address_of(&self, name: &str) -> Option<u64> {
            match name {
                "ntdll!PebLdr" => Some(0x1000),
                "a!std::vector<int,char>::at" => Some(0x2000),
                "@$t0" | "$t0" => Some(3),
                _ => None,
            }
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
        assert_eq!(value("10h"), Some(16));
        assert_eq!(value("0000021a`b8320000"), Some(0x21a_b832_0000));
        assert_eq!(value("ntdll!PebLdr + 8"), Some(0x1008));
        assert_eq!(value("0y101"), Some(5));
        assert_eq!(value("-1"), Some(u64::MAX));
        assert_eq!(value("1 + 2*3"), Some(7));
        assert_eq!(value("(1+2)*3 & 0xf | 10"), Some(0x19));
        assert_eq!(value("10 - -1"), Some(0x11));
        assert_eq!(value("poi(ntdll!PebLdr+8)+1"), Some(0x1019));
        assert_eq!(value("dwo( poi(10) )"), Some(0x34));
        assert_eq!(value("poi 10 + 1"), Some(0x21));
        assert_eq!(number_in("10", 10), Some(10));
        let deep = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
        let signs = format!("{}1", "-".repeat(1000));
        let read = format!("{}1", "poi ".repeat(1000));
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
            "0x+1",
            "$scmp(\"a\")",
            "$scmp(\"a\", \"b",
            &deep,
            &signs,
            &read,
        ] {
            assert_eq!(value(bad), None, "{bad}");
        }
    }

    #[test]
    fn operators_are_those_of_the_debugger() {
        let value = |text| evaluate(text, &One).ok();
        for (text, expected) in [
            ("1<<4", 0x10),
            ("-1 >>> 8", u64::MAX),
            ("100 >> 4 + 4", 1),
            ("@$t0 < 4", 1),
            ("@$t0>=4", 0),
            ("$t0 == 3 and 1", 1),
            ("3 = 3", 1),
            ("3 != 3", 0),
            ("5 mod 3", 2),
            ("a or 5", 0xf),
            ("not 0", 1),
            ("hi(12345678)", 0x1234),
            ("low 12345678", 0x5678),
            ("~0 xor ~1", 1),
            ("(1 == 1) && (2 == 2)", 1),
            ("$scmp(\"a\", \"b\")", u64::MAX),
            ("$sicmp(\"A\", \"a\") == 0", 1),
            ("$spat(\"ntdll\", \"nt*\")", 1),
            ("@@masm(10)+@@(1)", 0x11),
            ("a!std::vector<int,char>::at+1", 0x2001),
            ("'ab'", 0x6162),
        ] {
            assert_eq!(value(text), Some(expected), "{text}");
        }
        assert_eq!(prefix("10 L20", &One).ok(), Some((16, "L20")));
    }
}
