//! Symbols, from wherever they come.

use super::{ModuleNames, NameSource};

/// A symbol of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolInfo {
    /// Its address in the process.
    pub address: u64,
    /// Name of its module.
    pub module: String,
    /// Its name.
    pub name: String,
    /// Its argument list with the parentheses, where it is known.
    pub parameters: Option<String>,
    /// Whether it is a function rather than data.
    pub is_function: bool,
}

/// Names addresses and finds symbols.
pub trait SymbolSource: NameSource {
    /// The symbol that names an address, and the next one above it.
    fn nearest(&self, address: u64) -> (Option<SymbolInfo>, Option<SymbolInfo>) {
        let _ = address;
        (None, None)
    }

    /// The symbols of a module whose names match a pattern with `*` and `?`.
    fn search(&self, module: &str, pattern: &str) -> Vec<SymbolInfo> {
        let _ = (module, pattern);
        Vec::new()
    }

    /// Address of a symbol (`module!symbol`).
    fn lookup(&self, module: &str, name: &str) -> Option<u64> {
        let _ = (module, name);
        None
    }

    /// What `lm` says of a module's symbols; `None`: they were not asked for.
    fn state(&self, base: u64) -> Option<String> {
        let _ = base;
        None
    }
}

impl SymbolSource for ModuleNames<'_, '_> {}
