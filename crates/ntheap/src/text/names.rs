//! Names for addresses, as far as the caller has any.

use crate::dump::Dump;

/// The name of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Name of the module, without extension.
    pub module: String,
    /// Name of the symbol at or below the address; `None` when only the module is known.
    pub symbol: Option<String>,
    /// Distance from the symbol (from the module's base where there is none) in bytes.
    pub displacement: u64,
    /// Source file and line, where they are known.
    pub line: Option<(String, u32)>,
}

/// Something that names addresses: symbols, exports, or the module list alone.
pub trait NameSource: Sync {
    /// The name of an address, if it lies in a module.
    fn name(&self, address: u64) -> Option<Name>;
}

/// Names addresses by module and offset.
#[derive(Debug, Clone, Copy)]
pub struct ModuleNames<'d, 'a>(pub &'d Dump<'a>);

impl NameSource for ModuleNames<'_, '_> {
    fn name(&self, address: u64) -> Option<Name> {
        let module = self.0.module_at(address)?;
        Some(Name {
            module: module.name().to_owned(),
            symbol: None,
            displacement: address - module.base,
            line: None,
        })
    }
}
