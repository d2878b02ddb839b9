//! Rules for pointers: which interior pointers count as pointers to the start of a block, and which
//! words count for nothing.
//!
//! A pointer into the middle of a block may be how the program holds it, or chance. Each rule names
//! one way in which compilers, the C and C++ libraries, COM or Windows hold blocks by their middle.
//!
//! ```
//! use ntheap::graph::Rules;
//!
//! let rules: Rules = "array,bstr".parse().expect("names of rules");
//! assert!(rules.contains(Rules::BSTR) && !rules.contains(Rules::LARGE));
//! assert_eq!("default".parse::<Rules>(), Ok(Rules::DEFAULT));
//! assert_eq!(rules.to_string(), "array,bstr");
//! ```

use std::{fmt, str::FromStr};

/// A set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rules(u16);

/// Name, rule, and what a pointer is that it holds for.
const NAMES: [(&str, Rules, &str); 15] = [
    (
        "array",
        Rules::ARRAY,
        "the first element of an array behind its count",
    ),
    (
        "base",
        Rules::BASE,
        "a second base of an object, by two pointers to tables",
    ),
    (
        "large",
        Rules::LARGE,
        "the C++ library's aligned memory of 4096 bytes and more",
    ),
    ("bstr", Rules::BSTR, "a BSTR behind its length"),
    (
        "locator",
        Rules::LOCATOR,
        "a second base of an object, by its locator",
    ),
    (
        "make-shared",
        Rules::MAKE_SHARED,
        "an object behind the counts of make_shared",
    ),
    ("tls", Rules::TLS, "thread-local storage of a module"),
    (
        "list",
        Rules::LIST,
        "a list entry whose neighbours point back at it",
    ),
    (
        "tagged",
        Rules::TAGGED,
        "a pointer with flags in its lowest bits",
    ),
    (
        "cstring",
        Rules::CSTRING,
        "the characters of a CString behind its header",
    ),
    (
        "encoded",
        Rules::ENCODED,
        "a pointer that EncodePointer encoded",
    ),
    (
        "sections",
        Rules::SECTIONS,
        "the way back from a critical section's debug information",
    ),
    ("text", Rules::TEXT, "characters of a text"),
    (
        "spare",
        Rules::SPARE,
        "what is left in the spare room of a vector",
    ),
    ("sealed", Rules::SEALED, "memory that was made read-only"),
];

impl Rules {
    /// No rule: memcheck's `--leak-check-heuristics=none`.
    pub const NONE: Rules = Rules(0);
    /// `new T[n]` of a class with a destructor: the pointer is a word behind the block's address,
    /// where a count lies that divides the bytes behind it.
    pub const ARRAY: Rules = Rules(1 << 0);
    /// A second base of an object: at the pointer and at the block's address are pointers into
    /// images.
    pub const BASE: Rules = Rules(1 << 1);
    /// The C++ library's memory of 4096 bytes and more: a multiple of 32, and the word before is the
    /// block's address.
    pub const LARGE: Rules = Rules(1 << 2);
    /// A `BSTR`: a word behind the block's address, with its length in bytes in front and a zero
    /// character behind it.
    pub const BSTR: Rules = Rules(1 << 3);
    /// A second base of an object, by the complete object locators of both tables.
    pub const LOCATOR: Rules = Rules(1 << 4);
    /// An object that `make_shared` put behind its counts.
    pub const MAKE_SHARED: Rules = Rules(1 << 5);
    /// The vector of a thread's static thread-local storage, and what it leads to.
    pub const TLS: Rules = Rules(1 << 6);
    /// A `LIST_ENTRY` inside the block, whose two neighbours point back at it.
    pub const LIST: Rules = Rules(1 << 7);
    /// A pointer with flags in its lowest bits.
    pub const TAGGED: Rules = Rules(1 << 8);
    /// The characters of a `CString` of ATL or MFC.
    pub const CSTRING: Rules = Rules(1 << 9);
    /// A pointer to the start of a block that `EncodePointer` encoded with the process's cookie,
    /// where the dump names that ([`Dump::process_cookie`](crate::dump::Dump::process_cookie)).
    pub const ENCODED: Rules = Rules(1 << 10);
    /// No pointer: the way back from the debug information of a critical section.
    pub const SECTIONS: Rules = Rules(1 << 11);
    /// No pointer: a word inside text.
    pub const TEXT: Rules = Rules(1 << 12);
    /// No pointer: a word in the spare room of a vector.
    pub const SPARE: Rules = Rules(1 << 13);
    /// More roots: private memory that was made read-only, and ntdll's sealed variables.
    pub const SEALED: Rules = Rules(1 << 14);
    /// Those that say that a word is no pointer.
    pub const DROPS: Rules = Rules(Rules::SECTIONS.0 | Rules::TEXT.0 | Rules::SPARE.0);
    /// Those that make a start pointer of an interior one.
    pub(super) const STARTS: Rules = Rules(0x3ff);

    /// `array`, `base`, `large` and `bstr`: none of them reads more than the block and a word.
    pub const DEFAULT: Rules =
        Rules(Rules::ARRAY.0 | Rules::BASE.0 | Rules::LARGE.0 | Rules::BSTR.0);
    /// Every rule that has proved itself; `locator` in place of `base`.
    pub const ALL: Rules = Rules(
        Rules::ARRAY.0
            | Rules::LARGE.0
            | Rules::BSTR.0
            | Rules::LOCATOR.0
            | Rules::MAKE_SHARED.0
            | Rules::TLS.0
            | Rules::LIST.0
            | Rules::TAGGED.0
            | Rules::DROPS.0
            | Rules::SEALED.0,
    );

    /// Whether it has all of these rules.
    #[must_use]
    pub const fn contains(self, rules: Rules) -> bool {
        self.0 & rules.0 == rules.0
    }

    /// Whether it has any of these rules.
    #[must_use]
    pub const fn intersects(self, rules: Rules) -> bool {
        self.0 & rules.0 != 0
    }

    /// The rules that both have.
    #[must_use]
    pub const fn and(self, rules: Rules) -> Rules {
        Rules(self.0 & rules.0)
    }

    /// The rules that either has.
    #[must_use]
    pub const fn or(self, rules: Rules) -> Rules {
        Rules(self.0 | rules.0)
    }

    /// The names of all rules, each with what a pointer is that it holds for.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        NAMES.iter().map(|&(name, _, meaning)| (name, meaning))
    }

    /// The name of the first of its rules.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let mut rules = NAMES.iter().filter(|rule| self.intersects(rule.1));
        rules.next().map(|rule| rule.0)
    }

    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) const fn from_bits(bits: u16) -> Rules {
        Rules(bits)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = [
            (Rules::NONE, "none"),
            (Rules::DEFAULT, "default"),
            (Rules::ALL, "all"),
        ];
        if let Some((_, name)) = sets.iter().find(|set| set.0 == *self) {
            return f.write_str(name);
        }
        let mut separator = "";
        for (name, ..) in NAMES.iter().filter(|rule| self.intersects(rule.1)) {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        Ok(())
    }
}

/// A name that no rule has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no rule is called {name:?}; there are none, default, all, {}",
    known()
)]
pub struct UnknownRule {
    /// The name.
    pub name: String,
}

fn known() -> String {
    NAMES.map(|rule| rule.0).join(", ")
}

impl FromStr for Rules {
    type Err = UnknownRule;

    /// Names parted by commas: of rules, or `none`, `default`, `all`.
    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let mut rules = Rules::NONE;
        for name in text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            let found = match name {
                "none" => Some(Rules::NONE),
                "default" => Some(Rules::DEFAULT),
                "all" => Some(Rules::ALL),
                _ => NAMES.iter().find(|rule| rule.0 == name).map(|rule| rule.1),
            };
            rules = rules.or(found.ok_or_else(|| UnknownRule {
                name: name.to_owned(),
            })?);
        }
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_that_reads_back() {
        for (name, rule, _) in NAMES {
            assert_eq!(name.parse(), Ok(rule));
            assert_eq!(rule.to_string(), name);
        }
        assert_eq!(Rules::ALL.to_string().parse(), Ok(Rules::ALL));
        assert_eq!("".parse(), Ok(Rules::NONE));
        let error = "all,stdstring".parse::<Rules>().expect_err("unknown");
        assert!(
            error
                .to_string()
                .starts_with("no rule is called \"stdstring\"")
        );
    }
}
