//! Names for the addresses of a dump: symbols where there is a PDB, else exports, else offsets.

use ntheap::{
    dump::{Dump, Module},
    layout::TypeCatalogue,
    names::{
        ModuleNames, Name, NameSource, NamedAddress, SourceLine, SymbolState, matches_pattern,
    },
};

use crate::{ModuleStatus, Resolution, Symbol, SymbolDetail, Symbols, public_name};

/// Names the addresses of one dump.
#[derive(Debug)]
pub struct DumpNames<'d, 'a, 's> {
    dump: &'d Dump<'a>,
    symbols: &'s Symbols,
    plain: ModuleNames<'d, 'a>,
    signatures: bool,
    file_names_only: bool,
}

impl<'d, 'a, 's> DumpNames<'d, 'a, 's> {
    /// Names from these symbols for this dump.
    #[must_use]
    pub fn new(dump: &'d Dump<'a>, symbols: &'s Symbols) -> Self {
        DumpNames {
            dump,
            symbols,
            plain: ModuleNames::new(dump),
            signatures: false,
            file_names_only: false,
        }
    }

    /// Names functions with their argument lists, where those are known.
    #[must_use]
    pub fn with_signatures(mut self, signatures: bool) -> Self {
        self.signatures = signatures;
        self
    }

    /// Leaves the folders of source files and PDBs out.
    #[must_use]
    pub fn with_file_names_only(mut self, file_names_only: bool) -> Self {
        self.file_names_only = file_names_only;
        self
    }

    fn shown(&self, path: String) -> String {
        match self.file_names_only {
            true => path
                .rsplit(['\\', '/'])
                .next()
                .unwrap_or_default()
                .to_owned(),
            false => path,
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
            symbol: Some(match &frame.signature {
                Some(signature) if self.signatures => signature.clone(),
                _ => frame.function,
            }),
            signature: frame.signature,
            // Only the function that was called has a beginning to count from.
            displacement: if index == last { displacement } else { 0 },
            line: frame.file.map(|file| self.shown(file)).zip(frame.line),
            nearest_export: false,
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

/// The name of an export, which can be that of a C++ function, as a symbol would have it. Names of C
/// functions are exported without decoration: their underscores are their own.
fn undecorated(mut name: Name) -> Name {
    if let Some(symbol) = name.symbol.as_mut().filter(|s| s.starts_with('?')) {
        *symbol = public_name(symbol);
    }
    name
}

fn named(module: &Module, symbol: &Symbol) -> NamedAddress {
    let signature = symbol.signature();
    NamedAddress {
        address: module.base + u64::from(symbol.rva),
        module: module.name().to_owned(),
        symbol: symbol.name.clone(),
        signature: (signature != symbol.name).then_some(signature),
        size: symbol.size.into(),
    }
}

/// An export with its name as sources have it.
fn readable(mut export: NamedAddress) -> NamedAddress {
    if export.symbol.starts_with('?') {
        export.symbol = public_name(&export.symbol);
    }
    export
}

impl NameSource for DumpNames<'_, '_, '_> {
    fn name(&self, address: u64) -> Option<Name> {
        let resolved = self
            .module_and_rva(address)
            .and_then(|(module, rva)| self.names(module, self.symbols.resolve(module, rva)?).pop());
        resolved.or_else(|| self.plain.name(address).map(undecorated))
    }

    fn frames(&self, return_address: u64) -> Vec<Name> {
        let resolved = self
            .module_and_rva(return_address)
            .and_then(|(module, rva)| {
                Some(self.names(module, self.symbols.resolve_return(module, rva)?))
            });
        resolved.unwrap_or_else(|| {
            let frames = self.plain.frames(return_address).into_iter();
            frames.map(undecorated).collect()
        })
    }

    fn neighbours(&self, address: u64) -> (Option<NamedAddress>, Option<NamedAddress>) {
        let Some((module, rva)) = self.module_and_rva(address) else {
            return (None, None);
        };
        if self.symbols.module(module).is_none() {
            let (below, above) = self.plain.neighbours(address);
            return (below.map(readable), above.map(readable));
        }
        let (below, above) = self.symbols.nearest(module, rva);
        let named = |symbol: Option<Symbol>| symbol.map(|symbol| named(module, &symbol));
        (named(below), named(above))
    }

    fn source_line(&self, address: u64) -> Option<SourceLine> {
        let recorded = self.module_and_rva(address).and_then(|(module, rva)| {
            let line = self.symbols.source_line(module, rva)?;
            Some(SourceLine {
                file: self.shown(line.file),
                line: line.line,
                displacement: line.displacement,
            })
        });
        recorded.or_else(|| self.name(address)?.source_line())
    }

    fn parameters(&self, symbol: &NamedAddress) -> Option<String> {
        let recorded = self
            .module_and_rva(symbol.address)
            .and_then(|(module, rva)| self.symbols.parameters(module, rva));
        recorded.or_else(|| symbol.parameters())
    }

    fn symbol_state(&self, module: &Module) -> SymbolState {
        match self.symbols.known_status(module) {
            Some(ModuleStatus::Loaded {
                path,
                mismatched,
                detail,
                ..
            }) => SymbolState::Pdb {
                path: self.shown(path.display().to_string()),
                private: detail == SymbolDetail::Private,
                mismatched,
            },
            Some(_) => match self.plain.symbol_state(module) {
                // There is no PDB, and that there are exports was not asked for yet.
                SymbolState::Deferred => SymbolState::Missing,
                state => state,
            },
            None => self.plain.symbol_state(module),
        }
    }

    fn types(&self, module: &Module) -> Option<Box<dyn TypeCatalogue + '_>> {
        let symbols = self.symbols.module(module)?;
        symbols.types().ok()?;
        Some(Box::new(symbols))
    }

    fn address_of(&self, name: &str) -> Option<u64> {
        let (wanted, symbol) = match name.split_once('!') {
            Some((module, symbol)) => (Some(module), symbol),
            None => (None, name),
        };
        let is_wanted = |module: &&Module| {
            wanted.is_none_or(|wanted| module.name().eq_ignore_ascii_case(wanted))
        };
        let found = self
            .dump
            .modules
            .iter()
            .filter(is_wanted)
            .find_map(|module| {
                let rva = self.symbols.lookup(module, symbol)?;
                Some(module.base + u64::from(rva))
            });
        found.or_else(|| self.plain.address_of(name))
    }

    fn search(&self, pattern: &str) -> Vec<NamedAddress> {
        let (wanted, symbol) = pattern.split_once('!').unwrap_or(("*", pattern));
        let is_wanted =
            |module: &&Module| wanted == "*" || module.name().eq_ignore_ascii_case(wanted);
        let modules = self.dump.modules.iter().filter(is_wanted);
        modules
            .flat_map(|module| {
                if self.symbols.module(module).is_none() {
                    // Of another module of this name they are listed with that one.
                    let is_own = |export: &NamedAddress| {
                        (module.base..module.end()).contains(&export.address)
                            && matches_pattern(symbol, &export.symbol)
                    };
                    let exports = self.plain.search(&format!("{}!*", module.name()));
                    let exports = exports.into_iter().map(readable);
                    return exports.filter(is_own).collect::<Vec<_>>();
                }
                let found = self.symbols.search(module, symbol);
                found
                    .into_iter()
                    .map(|symbol| named(module, &symbol))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}
