//! Names for the addresses of a dump: symbols where there is a PDB, else exports, else offsets.

use ntheap::{
    dump::{Dump, Module},
    text::{ModuleNames, Name, NameSource, SymbolInfo, SymbolSource},
};

use crate::{ModuleStatus, Resolution, Symbol, SymbolDetail, SymbolKind, Symbols};

/// Names the addresses of one dump.
#[derive(Debug)]
pub struct DumpNames<'d, 'a, 's> {
    dump: &'d Dump<'a>,
    symbols: &'s Symbols,
    plain: ModuleNames<'d, 'a>,
}

impl<'d, 'a, 's> DumpNames<'d, 'a, 's> {
    /// Names from these symbols for this dump.
    #[must_use]
    pub fn new(dump: &'d Dump<'a>, symbols: &'s Symbols) -> Self {
        DumpNames {
            dump,
            symbols,
            plain: ModuleNames::new(dump),
        }
    }

    fn module_and_rva(&self, address: u64) -> Option<(&'d Module, u32)> {
        let module = self.dump.module_at(address)?;
        Some((module, u32::try_from(address - module.base).ok()?))
    }

    fn names(&self, module: &Module, resolution: Resolution) -> Vec<Name> {
        let last = resolution.frames.len() - 1;
        let displacement = resolution.displacement as u64;
        let name = |(index, frame): (usize, crate::Frame)| Name {
            module: module.name().to_owned(),
            symbol: Some(frame.function),
            signature: frame.signature,
            // Only the function that was called has a beginning to count from.
            displacement: if index == last { displacement } else { 0 },
            line: frame.file.zip(frame.line),
            inlined: frame.inlined,
        };
        resolution
            .frames
            .into_iter()
            .enumerate()
            .map(name)
            .collect()
    }
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

impl NameSource for DumpNames<'_, '_, '_> {
    fn name(&self, address: u64) -> Option<Name> {
        let resolved = self
            .module_and_rva(address)
            .and_then(|(module, rva)| self.names(module, self.symbols.resolve(module, rva)?).pop());
        resolved.or_else(|| self.plain.name(address))
    }

    fn frames(&self, return_address: u64) -> Vec<Name> {
        let resolved = self
            .module_and_rva(return_address)
            .and_then(|(module, rva)| {
                Some(self.names(module, self.symbols.resolve_return(module, rva)?))
            });
        resolved.unwrap_or_else(|| self.plain.frames(return_address))
    }
}

impl SymbolSource for DumpNames<'_, '_, '_> {
    fn nearest(&self, address: u64) -> (Option<SymbolInfo>, Option<SymbolInfo>) {
        let Some((module, rva)) = self.module_and_rva(address) else {
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
