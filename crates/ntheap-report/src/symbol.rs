//! The symbols around addresses.

use ntheap::names::{NameSource, NamedAddress};
use schemars::JsonSchema;
use serde::Serialize;

use crate::json::Address;

/// What addresses are called.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SymbolsReport {
    /// One an address that was asked for.
    pub addresses: Vec<NamedReport>,
}

/// What an address is called.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct NamedReport {
    /// The address.
    pub address: Address,
    /// Its name, `module!symbol+0x1a`; null outside every module.
    pub name: Option<String>,
    /// Source file.
    pub file: Option<String>,
    /// Line in it.
    pub line: Option<u32>,
    /// The symbol at or below it.
    pub below: Option<SymbolReport>,
    /// The next one above.
    pub above: Option<SymbolReport>,
}

/// A symbol.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SymbolReport {
    /// Its address.
    pub address: Address,
    /// Its module, without extension.
    pub module: String,
    /// Its name.
    pub symbol: String,
}

impl From<NamedAddress> for SymbolReport {
    fn from(symbol: NamedAddress) -> Self {
        SymbolReport {
            address: Address(symbol.address),
            module: symbol.module,
            symbol: symbol.symbol,
        }
    }
}

impl NamedReport {
    /// What these names know of an address.
    #[must_use]
    pub fn new(address: u64, names: &dyn NameSource) -> Self {
        let name = names.name(address);
        let (below, above) = names.neighbours(address);
        let (file, line) = name.as_ref().and_then(|name| name.line.clone()).unzip();
        NamedReport {
            address: Address(address),
            name: name.map(|name| name.to_string()),
            file,
            line,
            below: below.map(SymbolReport::from),
            above: above.map(SymbolReport::from),
        }
    }

    /// Whether a symbol lies below or above it in its module.
    #[must_use]
    pub fn has_neighbours(&self) -> bool {
        self.below.is_some() || self.above.is_some()
    }
}
