//! Turns a PDB into the two forms that are looked things up in: the table of symbols, and the
//! cache of functions, inlined calls and lines.

use std::io::Cursor;

use debugid::DebugId;
use pdb::{FallibleIterator, PDB, SymbolData};
use symbolic_debuginfo::pdb::PdbObject;
use symbolic_symcache::{SymCache, SymCacheConverter};

use crate::Error;
use crate::container::Container;
use crate::table::{SeparatedCode, Symbol, SymbolKind};

/// How deep blocks and inlined calls may nest. The deepest that compilers write are some dozens.
const MAX_SCOPE_DEPTH: usize = 1000;

/// What is kept of a PDB.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Converted {
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) separated: Vec<SeparatedCode>,
    /// Whether there are procedures of the private symbols.
    pub(crate) has_private: bool,
    /// The serialised cache of functions and lines, or why there is none.
    pub(crate) lines: Result<Vec<u8>, String>,
}

/// GUID and age of a PDB.
pub(crate) fn identity(data: &[u8]) -> Result<DebugId, Error> {
    Container::parse(data)?.identity()
}

pub(crate) fn convert(data: &[u8]) -> Result<Converted, Error> {
    let container = Container::parse(data)?;
    container.check_counts()?;
    let mut scan = Scan::default();
    scan.read(data)?;
    // Only the cache's names are made from type records.
    let lines = container
        .check_types()
        .and_then(|()| match scan.scope_error.take() {
            Some(error) => Err(error),
            None => lines(data),
        });
    // Compilers that are asked for lines only write procedures without types.
    let has_lines = lines.as_ref().is_ok_and(|bytes| {
        SymCache::parse(bytes).is_ok_and(|cache| cache.files().next().is_some())
    });
    Ok(Converted {
        has_private: scan.has_private || has_lines,
        symbols: scan.symbols,
        separated: scan.separated,
        lines: lines.map_err(|error| error.to_string()),
    })
}

fn lines(data: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = |error: &dyn std::error::Error| Error::Lines {
        detail: chain(error),
    };
    let object = PdbObject::parse(data).map_err(|e| failed(&e))?;
    let mut converter = SymCacheConverter::new();
    converter.process_object(&object).map_err(|e| failed(&e))?;
    let mut cache = Vec::new();
    converter.serialize(&mut cache).map_err(|e| failed(&e))?;
    Ok(cache)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

#[derive(Default)]
struct Scan {
    symbols: Vec<Symbol>,
    separated: Vec<SeparatedCode>,
    has_private: bool,
    scope_error: Option<Error>,
}

impl Scan {
    fn read(&mut self, data: &[u8]) -> Result<(), Error> {
        let mut pdb = PDB::open(Cursor::new(data))?;
        let map = pdb.address_map()?;
        let globals = pdb.global_symbols()?;
        let mut records = globals.iter();
        while let Some(record) = records.next()? {
            match record.parse() {
                Ok(SymbolData::Public(public)) => {
                    if let Some(rva) = public.offset.to_rva(&map) {
                        let is_function = public.function || public.code;
                        let name = public.name.to_string();
                        self.symbols.push(Symbol::public(rva.0, is_function, &name));
                    }
                }
                Ok(SymbolData::Data(variable)) => self.variable(&variable, &map),
                _ => {}
            }
        }
        let debug = pdb.debug_information()?;
        let mut modules = debug.modules()?;
        while let Some(module) = modules.next()? {
            if let Some(info) = pdb.module_info(&module)? {
                self.module(&info, &map)?;
            }
        }
        Ok(())
    }

    fn variable(&mut self, variable: &pdb::DataSymbol<'_>, map: &pdb::AddressMap<'_>) {
        if let Some(rva) = variable.offset.to_rva(map)
            && !variable.name.is_empty()
        {
            let name = variable.name.to_string();
            self.symbols
                .push(Symbol::private(rva.0, 0, SymbolKind::Data, &name));
        }
    }

    fn module(
        &mut self,
        info: &pdb::ModuleInfo<'_>,
        map: &pdb::AddressMap<'_>,
    ) -> Result<(), Error> {
        let mut depth = 0_usize;
        let mut records = info.symbols()?;
        while let Some(record) = records.next()? {
            if record.starts_scope() {
                depth += 1;
                if depth > MAX_SCOPE_DEPTH {
                    self.scope_error = Some(Error::ScopeTooDeep {
                        limit: MAX_SCOPE_DEPTH,
                    });
                }
            } else if record.ends_scope() {
                depth = depth.saturating_sub(1);
            }
            match record.parse() {
                Ok(SymbolData::Procedure(procedure)) => {
                    if let Some(rva) = procedure.offset.to_rva(map) {
                        let name = procedure.name.to_string();
                        let kind = SymbolKind::Procedure;
                        self.symbols
                            .push(Symbol::private(rva.0, procedure.len, kind, &name));
                        // Stripped PDBs keep some procedures, without types.
                        self.has_private |= procedure.type_index.0 != 0;
                    }
                }
                Ok(SymbolData::SeparatedCode(block)) => {
                    if let Some(rva) = block.offset.to_rva(map)
                        && let Some(parent) = block.parent_offset.to_rva(map)
                        && parent != rva
                    {
                        let (rva, size, parent) = (rva.0, block.len, parent.0);
                        self.separated.push(SeparatedCode { rva, size, parent });
                    }
                }
                Ok(SymbolData::Data(variable)) => self.variable(&variable, map),
                _ => {}
            }
        }
        Ok(())
    }
}
