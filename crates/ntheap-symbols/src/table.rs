//! The symbols of a module, sorted by address.

use std::cmp::Reverse;
use std::sync::OnceLock;

use ntheap::names::matches_pattern;

use crate::names::{public_name, public_signature};

/// How many symbols at one address are compared to find those recorded twice.
const MAX_SAME_ADDRESS: usize = 64;

/// What kind of record a symbol comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SymbolKind {
    /// A procedure of the private symbols.
    Procedure,
    /// A variable of the private symbols.
    Data,
    /// A public symbol that is marked as a function.
    PublicFunction,
    /// Any other public symbol: data, virtual function tables, strings, import pointers.
    PublicData,
}

/// A symbol of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// Address relative to the module's base.
    pub rva: u32,
    /// Size in bytes, or 0 when the record does not have it, as public symbols never do.
    pub size: u32,
    /// Where the symbol comes from.
    pub kind: SymbolKind,
    /// The name as a debugger prints it.
    pub name: String,
    /// The name of the record when it differs from `name`.
    pub(crate) decorated: Option<Box<str>>,
}

impl Symbol {
    pub(crate) fn public(rva: u32, is_function: bool, decorated: &str) -> Self {
        let kind = if is_function {
            SymbolKind::PublicFunction
        } else {
            SymbolKind::PublicData
        };
        let name = public_name(decorated);
        let decorated = (name != decorated).then(|| decorated.into());
        Self {
            rva,
            size: 0,
            kind,
            name,
            decorated,
        }
    }

    pub(crate) fn private(rva: u32, size: u32, kind: SymbolKind, name: &str) -> Self {
        // Compilers other than Visual C++ record the decorated name at times.
        let decorated = name.starts_with('?');
        Self {
            rva,
            size,
            kind,
            name: if decorated {
                public_name(name)
            } else {
                name.to_owned()
            },
            decorated: decorated.then(|| name.into()),
        }
    }

    /// The name as the record has it: decorated for public symbols.
    #[must_use]
    pub fn decorated_name(&self) -> &str {
        self.decorated.as_deref().unwrap_or(&self.name)
    }

    /// The name with its argument list, as far as the symbol itself tells it.
    #[must_use]
    pub fn signature(&self) -> String {
        self.decorated
            .as_deref()
            .map_or_else(|| self.name.clone(), public_signature)
    }

    /// Whether `rva` lies in the symbol's known extent.
    #[must_use]
    pub fn covers(&self, rva: u32) -> bool {
        rva.checked_sub(self.rva)
            .is_some_and(|offset| offset < self.size)
    }
}

/// A part of a function that the linker moved away from it, usually because it is seldom run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeparatedCode {
    pub(crate) rva: u32,
    pub(crate) size: u32,
    /// Start of the function.
    pub(crate) parent: u32,
}

/// All symbols of a module, sorted by address.
#[derive(Debug, Default)]
pub struct SymbolTable {
    symbols: Vec<Symbol>,
    separated: Vec<SeparatedCode>,
    /// Indices of the procedures with a size.
    procedures: Vec<u32>,
    /// Indices in the order of the names without regard to case, made on first use.
    by_name: OnceLock<Vec<u32>>,
}

impl SymbolTable {
    pub(crate) fn new(mut symbols: Vec<Symbol>, mut separated: Vec<SeparatedCode>) -> Self {
        separated.sort_unstable();
        symbols.sort_by(|a, b| {
            let key = |s: &Symbol| (s.rva, s.kind, Reverse(s.size));
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        });
        // Most symbols are recorded several times: in their module, among the globals, and among
        // the public ones, which have the decorated name.
        let mut kept: Vec<Symbol> = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let earlier = kept.iter_mut().rev().take_while(|k| k.rva == symbol.rva);
            // Folded functions and strings can be many at one address.
            match earlier
                .take(MAX_SAME_ADDRESS)
                .find(|k| k.name == symbol.name)
            {
                Some(same) => same.decorated = same.decorated.take().or(symbol.decorated),
                None => kept.push(symbol),
            }
        }
        let symbols = kept;
        let procedures = (0_u32..)
            .zip(&symbols)
            .filter(|(_, symbol)| symbol.kind == SymbolKind::Procedure && symbol.size > 0)
            .map(|(i, _)| i)
            .collect();
        Self {
            symbols,
            separated,
            procedures,
            by_name: OnceLock::new(),
        }
    }

    /// The symbols in the order of their addresses.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// The symbols at exactly `rva`, the one that names the address first.
    #[must_use]
    pub fn at(&self, rva: u32) -> &[Symbol] {
        let start = self.symbols.partition_point(|s| s.rva < rva);
        let end = self.symbols.partition_point(|s| s.rva <= rva);
        &self.symbols[start..end]
    }

    /// The symbol that names `rva`: the procedure around it, else the nearest symbol at or below.
    ///
    /// Linkers move seldom used parts of functions away. Such a part is named by its function,
    /// whose address can then be above `rva`.
    #[must_use]
    pub fn naming(&self, rva: u32) -> Option<&Symbol> {
        if let Some(block) = self.separated_code(rva)
            && let Some(function) = self.at(block.parent).first()
        {
            return Some(function);
        }
        let after = self
            .procedures
            .partition_point(|&i| self.symbols[i as usize].rva <= rva);
        let covering = after
            .checked_sub(1)
            .map(|before| self.symbols[self.procedures[before] as usize].rva)
            .and_then(|start| self.at(start).first())
            .filter(|procedure| procedure.covers(rva));
        covering.or_else(|| {
            let after = self.symbols.partition_point(|s| s.rva <= rva);
            let nearest = self.symbols.get(after.checked_sub(1)?)?;
            self.at(nearest.rva).first()
        })
    }

    pub(crate) fn separated_code(&self, rva: u32) -> Option<&SeparatedCode> {
        let after = self.separated.partition_point(|block| block.rva <= rva);
        let block = self.separated.get(after.checked_sub(1)?)?;
        (rva - block.rva < block.size).then_some(block)
    }

    /// The symbol that names `rva`, and the next one above it.
    #[must_use]
    pub fn nearest(&self, rva: u32) -> (Option<&Symbol>, Option<&Symbol>) {
        let after = self.symbols.partition_point(|s| s.rva <= rva);
        (self.naming(rva), self.symbols.get(after))
    }

    /// The symbol of this name, decorated or not. Case is ignored when no symbol has the exact
    /// name.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<&Symbol> {
        let lower = name.to_ascii_lowercase();
        let order = self.by_name();
        let start = order.partition_point(|&i| self.symbols[i as usize].lower_name() < lower);
        let same = || {
            order[start..]
                .iter()
                .map(|&i| &self.symbols[i as usize])
                .take_while(|symbol| symbol.name.eq_ignore_ascii_case(name))
        };
        same()
            .find(|symbol| symbol.name == name)
            .or_else(|| same().next())
            .or_else(|| {
                self.symbols
                    .iter()
                    .find(|s| s.decorated.as_deref() == Some(name))
            })
    }

    /// The symbols whose names match a pattern with `*` and `?`, without regard to case, in the
    /// order of their addresses.
    #[must_use]
    pub fn search(&self, pattern: &str) -> Vec<&Symbol> {
        self.symbols
            .iter()
            .filter(|symbol| matches_pattern(pattern, &symbol.name))
            .collect()
    }

    fn by_name(&self) -> &[u32] {
        self.by_name.get_or_init(|| {
            let mut order: Vec<u32> = (0_u32..).zip(&self.symbols).map(|(i, _)| i).collect();
            order.sort_by_cached_key(|&i| self.symbols[i as usize].lower_name());
            order
        })
    }
}

impl Symbol {
    fn lower_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SymbolTable {
        let symbols = vec![
            Symbol::public(0x1000, true, "?Allocate@core@app@@YAPEAXPEAX_KI@Z"),
            Symbol::private(0x1000, 0x30, SymbolKind::Procedure, "app::core::Allocate"),
            Symbol::public(0x1010, false, "JumpTable"),
            Symbol::public(0x1080, true, "_RtlFreeHeap@12"),
            Symbol::public(0x3000, false, "??_7Foo@@6B@"),
            Symbol::public(0x3000, false, "??_7Foo@@6B@"),
        ];
        let separated = vec![
            SeparatedCode {
                rva: 0x2000,
                size: 0x10,
                parent: 0x1000,
            },
            SeparatedCode {
                rva: 0x800,
                size: 8,
                parent: 0x1080,
            },
        ];
        SymbolTable::new(symbols, separated)
    }

    #[test]
    fn names_addresses() {
        let table = table();
        let name = |rva| table.naming(rva).map(|s| (s.name.as_str(), rva - s.rva));
        assert_eq!(table.symbols().len(), 4, "equal ones are merged");
        assert_eq!(name(0xfff), None);
        assert_eq!(name(0x1000), Some(("app::core::Allocate", 0)));
        assert_eq!(
            name(0x1018),
            Some(("app::core::Allocate", 0x18)),
            "inside the procedure"
        );
        assert_eq!(
            name(0x1030),
            Some(("JumpTable", 0x20)),
            "past the procedure's end"
        );
        assert_eq!(name(0x3008), Some(("Foo::`vftable'", 8)));
        assert_eq!(
            name(0x200f),
            Some(("app::core::Allocate", 0x100f)),
            "a part moved away"
        );
        assert_eq!(name(0x2010), Some(("RtlFreeHeap", 0xf90)));
        assert_eq!(table.naming(0x804).unwrap().rva, 0x1080);
        let (below, above) = table.nearest(0x1018);
        assert_eq!(below.unwrap().name, "app::core::Allocate");
        assert_eq!(above.unwrap().name, "RtlFreeHeap");
        assert_eq!(table.nearest(0x10).1.unwrap().rva, 0x1000);
        let [allocate] = table.at(0x1000) else {
            panic!()
        };
        assert_eq!(allocate.kind, SymbolKind::Procedure);
        assert_eq!(
            allocate.decorated_name(),
            "?Allocate@core@app@@YAPEAXPEAX_KI@Z"
        );
        assert_eq!(
            allocate.signature(),
            "app::core::Allocate(void *,unsigned __int64,unsigned int)"
        );
    }

    #[test]
    fn finds_names() {
        let table = table();
        let rva = |name| table.lookup(name).map(|s| s.rva);
        assert_eq!(rva("RtlFreeHeap"), Some(0x1080));
        assert_eq!(rva("rtlfreeheap"), Some(0x1080));
        assert_eq!(rva("_RtlFreeHeap@12"), Some(0x1080));
        assert_eq!(rva("Foo::`vftable'"), Some(0x3000));
        assert_eq!(rva("Rtl"), None);
        let found = |pattern| {
            table
                .search(pattern)
                .iter()
                .map(|s| s.rva)
                .collect::<Vec<_>>()
        };
        assert_eq!(found("*alloc*"), [0x1000]);
        assert_eq!(found("rtl?reeheap"), [0x1080]);
        assert_eq!(found("*"), [0x1000, 0x1010, 0x1080, 0x3000]);
        assert!(found("alloc*").is_empty());
    }
}
