//! `lm` and `x`: which modules, which of their symbols.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words::{self, ModuleRow};
use ntheap::{
    dump::Module,
    names::{SymbolState, matches_pattern},
};

/// What `lm`'s letters ask for.
#[derive(Debug, Default)]
struct Wanted<'t> {
    pattern: Option<&'t str>,
    path_pattern: Option<&'t str>,
    address: Option<&'t str>,
    row: ModuleRow,
    by_name: bool,
    with_symbols: bool,
    kernel: bool,
    unloaded: bool,
}

impl<'t> Wanted<'t> {
    fn of(operands: &[&'t str]) -> Result<Self, CommandError> {
        let mut wanted = Wanted {
            unloaded: true,
            ..Wanted::default()
        };
        let mut words = operands.iter().copied();
        while let Some(word) = words.next() {
            let mut letters = word.char_indices();
            while let Some((at, letter)) = letters.next() {
                let behind = &word[at + letter.len_utf8()..];
                let mut operand = || match behind {
                    "" => words.next(),
                    behind => Some(behind),
                };
                match letter {
                    'm' => wanted.pattern = Some(operand().unwrap_or("*")),
                    'M' => wanted.path_pattern = Some(operand().unwrap_or("*")),
                    'a' | 'A' => {
                        let address = operand();
                        wanted.address =
                            Some(address.ok_or_else(|| wrong(word, "an address is expected"))?);
                    }
                    'v' | 'V' => wanted.row.details = true,
                    'f' | 'i' | 'p' => wanted.row.path = true,
                    'n' => wanted.row.image = true,
                    't' => wanted.row.time = true,
                    'l' => wanted.with_symbols = true,
                    'k' => wanted.kernel = true,
                    's' if behind.starts_with('m') => {
                        letters.next();
                        wanted.by_name = true;
                    }
                    '1' => {
                        wanted.row.name_only = true;
                        wanted.unloaded = false;
                    }
                    'o' => wanted.unloaded = false,
                    'u' | 'e' | 'c' | 'D' | 'd' | 's' | 'x' | 'y' => {}
                    _ => {
                        return Err(wrong(
                            word,
                            "lm takes the letters v f i n t o l k u 1 sm, m PATTERN and a ADDRESS",
                        ));
                    }
                }
                if matches!(letter, 'm' | 'M' | 'a' | 'A') {
                    break;
                }
            }
        }
        Ok(wanted)
    }
}

impl Session<'_, '_> {
    /// `lm` with its letters, which may stand behind it at once.
    pub(super) fn modules(
        &self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let wanted = Wanted::of(operands)?;
        let address = wanted.address.map(|text| self.value(text)).transpose()?;
        let matches = |pattern: Option<&str>, text: &str| {
            pattern.is_none_or(|pattern| matches_pattern(pattern, text))
        };
        let has_symbols = |module: &Module| {
            !wanted.with_symbols
                || !matches!(
                    self.names.symbol_state(module),
                    SymbolState::Deferred | SymbolState::Missing
                )
        };
        let is_wanted = |module: &Module| {
            !wanted.kernel
                && matches(wanted.pattern, module.name())
                && matches(wanted.path_pattern, &module.path)
                && address.is_none_or(|address| module.contains(address))
                && has_symbols(module)
        };
        words::modules(
            self.process,
            self.names,
            &is_wanted,
            &wanted.row,
            wanted.by_name,
            out,
        )?;
        if wanted.unloaded && address.is_none() && !wanted.kernel && !wanted.with_symbols {
            let named = |name: &str| {
                let bare = name.rsplit_once('.').map_or(name, |(bare, _)| bare);
                matches(wanted.pattern, bare) && matches(wanted.path_pattern, name)
            };
            words::unloaded_modules(self.process, &named, self.contents, out)?;
        }
        Ok(())
    }

    /// `x [OPTIONS] MODULE!PATTERN`.
    pub(super) fn search_symbols(
        &self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let is_option = |word: &&&str| word.starts_with('/') || word.starts_with('-');
        let words: Vec<&str> = operands.iter().filter(|w| !is_option(w)).copied().collect();
        let pattern = words.join(" ");
        let Some((module, symbol)) = pattern.split_once('!') else {
            return Err(wrong(&pattern, "a pattern is MODULE!NAME, with * and ?"));
        };
        // `x ntdll!` lists everything.
        let symbol = if symbol.is_empty() { "*" } else { symbol };
        let pattern = format!("{module}!{symbol}");
        // What is asked of every module, or by a module's own pattern, is asked of each.
        let is_kernel = module.eq_ignore_ascii_case("nt");
        if !module.contains(['*', '?']) && !is_kernel {
            return Ok(words::search(self.process, self.names, &pattern, out)?);
        }
        let mut modules: Vec<&Module> = self.process.dump.modules.iter().collect();
        modules.sort_by_key(|module| module.base);
        for loaded in modules {
            let name = loaded.name();
            let wanted = match is_kernel {
                true => name.eq_ignore_ascii_case("ntdll"),
                false => matches_pattern(module, name),
            };
            if wanted {
                let pattern = format!("{name}!{symbol}");
                words::search(self.process, self.names, &pattern, out)?;
            }
        }
        Ok(())
    }
}
