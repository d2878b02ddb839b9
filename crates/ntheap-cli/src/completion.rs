//! What Tab offers at the prompt.

use ntheap::names::NameSource;
use ntheap_windbg::COMMANDS;
use rustyline::{
    Context, Helper, completion::Completer, highlight::Highlighter, hint::Hinter,
    validate::Validator,
};

/// Commands of the prompt itself.
pub(crate) const OWN_COMMANDS: &[&str] = &["!diff", ".after", ".before", ".help", "q"];

const HEAP_OPTIONS: &[&str] = &[
    "-a", "-f", "-flt", "-g", "-h", "-hl", "-i", "-k", "-l", "-m", "-p", "-s", "-srch", "-stat",
    "-t", "-T", "-triage", "-v", "-x",
];

/// More candidates than this help nobody.
const MOST: usize = 200;

/// Completes commands, options of `!heap`, heaps, modules and symbols.
pub(crate) struct Completion<'n> {
    /// Addresses of the heaps, as typed.
    pub(crate) heaps: Vec<String>,
    /// Names of the modules.
    pub(crate) modules: Vec<String>,
    /// Where symbols are looked for.
    pub(crate) names: Option<&'n dyn NameSource>,
}

impl Completion<'_> {
    /// Where the word at the end begins, and what it may become.
    fn candidates(&self, line: &str) -> (usize, Vec<String>) {
        let start = line.rfind(' ').map_or(0, |at| at + 1);
        let (before, word) = line.split_at(start);
        let fixed: &[&[&str]] = match before.split_whitespace().next() {
            None => &[COMMANDS, OWN_COMMANDS],
            Some("!heap") if word.starts_with('-') => &[HEAP_OPTIONS],
            Some(_) => &[],
        };
        let fixed = fixed
            .iter()
            .copied()
            .flatten()
            .map(|text| (*text).to_owned());
        let heaps = self.heaps.iter().filter(|_| start > 0).cloned();
        // An expression: what comes behind its last operator is completed.
        let operator = word.rfind(['+', '-', '*', '(']).map_or(0, |at| at + 1);
        let term = &word[operator..];
        if start > 0 && term.contains('!') {
            return (start + operator, self.symbols(term));
        }
        let modules = self
            .modules
            .iter()
            .filter(|_| start > 0 && !word.is_empty())
            .map(|module| format!("{module}!"));
        let found = fixed
            .chain(heaps)
            .chain(modules)
            .filter(|text| text.starts_with(word));
        (start, found.collect())
    }

    /// Symbols that begin with `module!name`.
    fn symbols(&self, prefix: &str) -> Vec<String> {
        let Some(names) = self.names else {
            return Vec::new();
        };
        let found = names.search(&format!("{prefix}*"));
        let mut found: Vec<String> = found
            .into_iter()
            .map(|symbol| format!("{}!{}", symbol.module, symbol.symbol))
            // What has spaces in its name can't be typed.
            .filter(|name| !name.contains(' '))
            .collect();
        found.sort_unstable();
        found.dedup();
        found.truncate(MOST);
        found
    }
}

impl Completer for Completion<'_> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line.get(..position).unwrap_or(line)))
    }
}

impl Hinter for Completion<'_> {
    type Hint = String;
}

impl Highlighter for Completion<'_> {}

impl Validator for Completion<'_> {}

impl Helper for Completion<'_> {}

#[cfg(test)]
mod tests {
    use ntheap::names::{Name, NamedAddress};

    use super::*;

    struct One;

    impl NameSource for One {
        fn name(&self, _: u64) -> Option<Name> {
            None
        }

        fn search(&self, pattern: &str) -> Vec<NamedAddress> {
            let symbol = |symbol: &str| NamedAddress {
                address: 0,
                module: "ordersvc".to_owned(),
                symbol: symbol.to_owned(),
                signature: None,
                size: 0,
            };
            assert_eq!(pattern, "ordersvc!app::Ph*");
            vec![symbol("app::PhaseTwo"), symbol("app::Ph operator new")]
        }
    }

    #[test]
    fn commands_first_then_options_and_heaps() {
        let completion = Completion {
            heaps: vec!["21ab6b20000".to_owned(), "21ab6b10000".to_owned()],
            modules: vec!["ordersvc".to_owned(), "ntdll".to_owned()],
            names: Some(&One),
        };
        assert_eq!(completion.candidates("!hea"), (0, vec!["!heap".to_owned()]));
        assert_eq!(completion.candidates(".bef").1, [".before"]);
        assert_eq!(completion.candidates("!heap -st").1, ["-stat"]);
        assert_eq!(completion.candidates("!heap -h 21ab6b2").1, ["21ab6b20000"]);
        assert_eq!(completion.candidates("!heap -h ").1.len(), 2);
        assert_eq!(completion.candidates("ln ord").1, ["ordersvc!"]);
        let symbols = completion.candidates("ln ordersvc!app::Ph");
        assert_eq!(symbols, (3, vec!["ordersvc!app::PhaseTwo".to_owned()]));
        let symbols = completion.candidates("db 8+ordersvc!app::Ph");
        assert_eq!(symbols.0, 5);
    }
}
