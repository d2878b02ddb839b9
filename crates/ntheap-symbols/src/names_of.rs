//! Names for the addresses of one dump, for the library's reports and its debugger commands.

use ntheap::{
    debugger::{SymbolInfo, SymbolSource},
    dump::{Dump, Module},
    text::{ModuleNames, Name, NameSource},
};

use crate::{ModuleStatus, Symbol, SymbolDetail, SymbolKind, Symbols};

/// Names addresses by PDB, and by module and offset where there is none.
#[derive(Debug, Clone, Copy)]
pub struct DumpNames<'d, 'a> {
    /// Where symbols come from.
    pub symbols: &'d Symbols,
    /// The dump whose modules are meant.
    pub dump: &'d Dump<'a>,
}

fn relative(module: &Module, address: u64) -> Option<u32> {
    u32::try_from(address.checked_sub(module.base)?).ok()
}

fn info(module: &Module, symbol: Symbol) -> SymbolInfo {
    let signature = symbol.signature();
    SymbolInfo {
        address: module.base.wrapping_add(symbol.rva.into()),
        module: module.name().to_owned(),
        parameters: signature
            .strip_prefix(symbol.name.as_str())
            .filter(|rest| rest.starts_with('('))
            .map(str::to_owned),
        is_function: matches!(
            symbol.kind,
            SymbolKind::Procedure | SymbolKind::PublicFunction
        ),
        name: symbol.name,
    }
}

impl NameSource for DumpNames<'_, '_> {
    fn name(&self, address: u64) -> Option<Name> {
        let plain = || ModuleNames(self.dump).name(address);
        let module = self.dump.module_at(address)?;
        let Some(resolution) = relative(module, address)
            .and_then(|rva| self.symbols.resolve(module, rva))
        else {
            return plain();
        };
        let function = resolution.function();
        Some(Name {
            module: module.name().to_owned(),
            symbol: Some(function.function.clone()),
            displacement: resolution.displacement as u64,
            line: function.file.clone().zip(function.line),
        })
    }
}

impl SymbolSource for DumpNames<'_, '_> {
    fn nearest(&self, address: u64) -> (Option<SymbolInfo>, Option<SymbolInfo>) {
        let Some(module) = self.dump.module_at(address) else {
            return (None, None);
        };
        let Some(rva) = relative(module, address) else {
            return (None, None);
        };
        let (below, above) = self.symbols.nearest(module, rva);
        let info = |symbol: Option<Symbol>| symbol.map(|symbol| info(module, symbol));
        (info(below), info(above))
    }

    fn search(&self, module: &str, pattern: &str) -> Vec<SymbolInfo> {
        let modules = self.dump.modules.iter();
        modules
            .filter(|candidate| candidate.name().eq_ignore_ascii_case(module))
            .flat_map(|module| {
                let found = self.symbols.search(module, pattern);
                found.into_iter().map(|symbol| info(module, symbol))
            })
            .collect()
    }

    fn lookup(&self, module: &str, name: &str) -> Option<u64> {
        let mut modules = self.dump.modules.iter();
        modules.find_map(|candidate| {
            let named = candidate.name().eq_ignore_ascii_case(module);
            let rva = named.then(|| self.symbols.lookup(candidate, name))??;
            Some(candidate.base.wrapping_add(rva.into()))
        })
    }

    fn state(&self, base: u64) -> Option<String> {
        let mut modules = self.dump.modules.iter();
        let module = modules.find(|module| module.base == base)?;
        match self.symbols.status(module) {
            ModuleStatus::Loaded { path, detail, .. } => {
                let kind = match detail {
                    SymbolDetail::Private => "(private pdb symbols)",
                    SymbolDetail::PublicOnly => "(pdb symbols)        ",
                };
                Some(format!("{kind}  {}", path.display()))
            }
            _ => None,
        }
    }
}
