//! What Tab offers at the prompt.

use ntheap::debugger::COMMANDS;
use rustyline::{
    Context, Helper, completion::Completer, highlight::Highlighter, hint::Hinter,
    validate::Validator,
};

/// Commands of the prompt itself.
pub(crate) const OWN_COMMANDS: &[&str] = &["!diff", ".after", ".before", ".help", "q"];

const HEAP_OPTIONS: &[&str] = &[
    "-a", "-f", "-flt", "-g", "-h", "-hl", "-i", "-k", "-l", "-m", "-p", "-s", "-stat", "-t", "-T",
    "-triage", "-v", "-x",
];

/// Completes commands, options of `!heap`, and heaps.
pub(crate) struct Completion {
    /// Addresses of the heaps, as typed.
    pub(crate) heaps: Vec<String>,
}

impl Completion {
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
        let found = fixed.chain(heaps).filter(|text| text.starts_with(word));
        (start, found.collect())
    }
}

impl Completer for Completion {
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

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_first_then_options_and_heaps() {
        let completion = Completion {
            heaps: vec!["21ab6b20000".to_owned(), "21ab6b10000".to_owned()],
        };
        assert_eq!(completion.candidates("!h"), (0, vec!["!heap".to_owned()]));
        assert_eq!(completion.candidates(".b").1, [".before"]);
        assert_eq!(completion.candidates("!heap -st").1, ["-stat"]);
        assert_eq!(completion.candidates("!heap -h 21ab6b2").1, ["21ab6b20000"]);
        assert_eq!(completion.candidates("!heap -h ").1.len(), 2);
    }
}
