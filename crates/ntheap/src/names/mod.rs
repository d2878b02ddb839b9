//! Names for addresses, as far as the caller has any.
//!
//! Everything that prints an address asks a [`NameSource`]. It stands here, where names are needed,
//! so that who prints need not know who reads symbols.
//!
//! ```
//! use ntheap::names::Name;
//!
//! let name = Name { module: "ordersvc".into(), displacement: 0x1a, ..Name::default() };
//! assert_eq!(name.to_string(), "ordersvc+0x1a");
//! ```

mod functions;
mod parts;
mod pattern;

pub use functions::{Function, FunctionId, Functions, Wrappers, is_runtime_function};
pub use parts::{Part, part_of_object, part_of_variable};
pub use pattern::{is_meant, matches_pattern};

use std::{collections::HashMap, fmt, sync::Mutex};

use crate::{
    dump::{Dump, Exports, Module},
    layout::{Bitness, TypeCatalogue},
    printable::printable,
};

/// The name of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name {
    /// Name of the module, without extension.
    pub module: String,
    /// Name of the symbol at or below the address; `None` when only the module is known.
    pub symbol: Option<String>,
    /// The symbol's name with its argument list, where it is known.
    pub signature: Option<String>,
    /// Distance from the symbol (from the module's base where there is none) in bytes; of code that
    /// the linker moved before its function a negative number in two's complement.
    pub displacement: u64,
    /// Source file and line, where they are known.
    pub line: Option<(String, u32)>,
    /// Whether the function was inlined into the next one of the same address.
    pub inlined: bool,
    /// Whether the symbol is no more than the nearest export below the address, as images without a
    /// PDB have it: the address can lie in another function, which is not exported.
    pub nearest_export: bool,
}

impl Name {
    /// Source file and line, if they are known, without where the line's code begins.
    #[must_use]
    pub fn source_line(&self) -> Option<SourceLine> {
        let (file, line) = self.line.clone()?;
        Some(SourceLine {
            file,
            line,
            displacement: 0,
        })
    }
}

impl fmt::Display for Name {
    /// `module!symbol+0x1a`, or `module+0x1a`; what would not show itself is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.module))?;
        if let Some(symbol) = &self.symbol {
            write!(f, "!{}", printable(symbol))?;
        }
        if self.displacement != 0 || self.symbol.is_none() {
            write!(f, "+{:#x}", self.displacement)?;
        }
        if self.nearest_export && self.displacement != 0 {
            f.write_str(" (nearest export)")?;
        }
        Ok(())
    }
}

/// A symbol as `ln` and `x` list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAddress {
    /// Its address.
    pub address: u64,
    /// Name of its module, without extension.
    pub module: String,
    /// Its name.
    pub symbol: String,
    /// Its name with the argument list, where it is known.
    pub signature: Option<String>,
    /// Size in bytes, 0 where it is unknown.
    pub size: u64,
}

impl NamedAddress {
    /// The parameter types that the symbol's own decoration tells, as debuggers spell them.
    #[must_use]
    pub fn parameters(&self) -> Option<String> {
        let list = self
            .signature
            .as_deref()?
            .strip_prefix(self.symbol.as_str())?;
        let spelt = list.replace(',', ", ").replace("__int64", "int64");
        list.starts_with('(').then_some(spelt)
    }
}

/// Where in the source an address lies, as `ln` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// Source file as the compiler recorded it.
    pub file: String,
    /// Line in the file.
    pub line: u32,
    /// Distance in bytes of the address from the first instruction of that piece of the line; 0
    /// also where the beginning is not known.
    pub displacement: u64,
}

/// What there is of a module's symbols, as `lm` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SymbolState {
    /// Nobody has asked for them yet.
    #[default]
    Deferred,
    /// There are none.
    Missing,
    /// The names that the image exports.
    Exports,
    /// Those of a PDB.
    Pdb {
        /// The PDB.
        path: String,
        /// Whether it tells more than names.
        private: bool,
        /// Whether it belongs to another build of the module.
        mismatched: bool,
    },
}

/// Something that names addresses: symbols, exports, or the module list alone.
pub trait NameSource: Sync {
    /// The name of an address, if it lies in a module.
    fn name(&self, address: u64) -> Option<Name>;

    /// The functions that a return address is in: those inlined there first, innermost first.
    /// Lines are those of the call.
    fn frames(&self, return_address: u64) -> Vec<Name> {
        self.name(return_address).into_iter().collect()
    }

    /// The symbols at or below an address and above it, inside its module.
    fn neighbours(&self, address: u64) -> (Option<NamedAddress>, Option<NamedAddress>) {
        let _ = address;
        (None, None)
    }

    /// Source line of an address, with the distance from where the line's code begins.
    fn source_line(&self, address: u64) -> Option<SourceLine> {
        self.name(address)?.source_line()
    }

    /// Parameter types of the function that a symbol is, in brackets, as debuggers spell them:
    /// `(void *, unsigned int64)`. Not asked for with every symbol, as type records are many.
    fn parameters(&self, symbol: &NamedAddress) -> Option<String> {
        symbol.parameters()
    }

    /// What there is of a module's symbols by now; loads nothing.
    fn symbol_state(&self, module: &Module) -> SymbolState {
        let _ = module;
        SymbolState::default()
    }

    /// The structures that a module's symbols describe.
    fn types(&self, module: &Module) -> Option<Box<dyn TypeCatalogue + '_>> {
        let _ = module;
        None
    }

    /// Address of a symbol (`module!symbol`, or `symbol` in any module) or of a module's base.
    fn address_of(&self, name: &str) -> Option<u64> {
        let _ = name;
        None
    }

    /// The symbols that match a pattern (`module!pattern` with `*` and `?`).
    fn search(&self, pattern: &str) -> Vec<NamedAddress> {
        let _ = pattern;
        Vec::new()
    }
}

/// Names addresses by the exports of the modules whose image is in the dump, else by module and
/// offset.
#[derive(Debug)]
pub struct ModuleNames<'d, 'a> {
    dump: &'d Dump<'a>,
    /// Exports by the module's base; read when a name of the module is first asked for.
    exports: Mutex<HashMap<u64, Exports>>,
}

impl<'d, 'a> ModuleNames<'d, 'a> {
    /// Names from this dump alone.
    #[must_use]
    pub fn new(dump: &'d Dump<'a>) -> Self {
        ModuleNames {
            dump,
            exports: Mutex::default(),
        }
    }

    /// The nearest export at or below an address, and its distance.
    #[must_use]
    pub fn export(&self, address: u64) -> Option<(String, u64)> {
        let module = self.dump.module_at(address)?;
        let offset = address - module.base;
        self.with_exports(module, |exports| {
            let (name, rva) = exports.nearest(offset as u32)?;
            Some((name.to_owned(), offset - u64::from(rva)))
        })
    }

    fn with_exports<T>(&self, module: &Module, asked: impl FnOnce(&Exports) -> T) -> T {
        let mut exports = self
            .exports
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let read = || Exports::read(&self.dump.memory, module);
        asked(exports.entry(module.base).or_insert_with(read))
    }
}

/// An export as `ln` and `x` list it.
fn exported(module: &Module, (name, rva): (&str, u32)) -> NamedAddress {
    NamedAddress {
        address: module.base.saturating_add(rva.into()),
        module: module.name().to_owned(),
        symbol: name.to_owned(),
        signature: None,
        size: 0,
    }
}

impl NameSource for ModuleNames<'_, '_> {
    fn name(&self, address: u64) -> Option<Name> {
        let module = self.dump.module_at(address)?;
        let (symbol, displacement) = match self.export(address) {
            Some((symbol, displacement)) => (Some(symbol), displacement),
            None => (None, address - module.base),
        };
        let module = module.name().to_owned();
        Some(Name {
            module,
            nearest_export: symbol.is_some(),
            symbol,
            displacement,
            ..Name::default()
        })
    }

    fn symbol_state(&self, module: &Module) -> SymbolState {
        let exports = self
            .exports
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match exports.get(&module.base) {
            None => SymbolState::Deferred,
            Some(exports) if exports.is_empty() => SymbolState::Missing,
            Some(_) => SymbolState::Exports,
        }
    }

    fn neighbours(&self, address: u64) -> (Option<NamedAddress>, Option<NamedAddress>) {
        let Some(module) = self.dump.module_at(address) else {
            return (None, None);
        };
        let rva = (address - module.base) as u32;
        self.with_exports(module, |exports| {
            let named = |export| exported(module, export);
            // In front of the first export nobody knows what is there.
            let Some(below) = exports.nearest(rva) else {
                return (None, None);
            };
            (Some(named(below)), exports.above(rva).map(named))
        })
    }

    fn address_of(&self, name: &str) -> Option<u64> {
        let mut modules = self.dump.modules.iter();
        if let Some((wanted, symbol)) = name.split_once('!') {
            let module = modules.find(|m| m.name().eq_ignore_ascii_case(wanted))?;
            let rva = self.with_exports(module, |exports| exports.offset_of(symbol))?;
            return module.base.checked_add(rva.into());
        }
        let module = modules.find(|m| m.name().eq_ignore_ascii_case(name));
        module.map(|module| module.base).or_else(|| {
            self.dump.modules.iter().find_map(|module| {
                let rva = self.with_exports(module, |exports| exports.offset_of(name))?;
                module.base.checked_add(rva.into())
            })
        })
    }

    fn search(&self, pattern: &str) -> Vec<NamedAddress> {
        let (wanted, symbol) = pattern.split_once('!').unwrap_or(("*", pattern));
        let modules = self.dump.modules.iter();
        let modules = modules.filter(|m| wanted == "*" || m.name().eq_ignore_ascii_case(wanted));
        let of_module = |module: &Module| {
            self.with_exports(module, |exports| {
                let all = exports.iter();
                let matching = all.filter(|(_, name)| matches_pattern(symbol, name));
                let listed = matching.map(|(rva, name)| exported(module, (name, rva)));
                listed.collect::<Vec<_>>()
            })
        };
        modules.flat_map(of_module).collect()
    }
}

/// Modules whose frames say how memory is allocated, not what for.
const ALLOCATORS: &[&str] = &[
    "ntdll",
    "kernelbase",
    "kernel32",
    "verifier",
    "vrfcore",
    "msvcrt",
    "ucrtbase",
    "ucrtbased",
    "wow64",
    "vcruntime140",
    "vcruntime140d",
];

/// Whether a module, named without extension, only passes allocations on: the system's and the C
/// runtime's. Who asked for the memory lies behind its frames.
#[must_use]
pub fn is_allocator(module: &str) -> bool {
    let module = module.to_ascii_lowercase();
    ALLOCATORS.contains(&module.as_str()) || module.starts_with("msvcr")
}

/// A return address with all its digits, for an address outside every module.
#[must_use]
pub fn unnamed(address: u64, bitness: Bitness) -> String {
    format!(
        "{address:#0width$x}",
        width = bitness.pointer_size() as usize * 2 + 2
    )
}
