//! Stacks as chains of functions, and which of these only pass allocations on.
//!
//! Who reads a stack wants the function that needed the memory, not the one that got it: the runtimes'
//! functions are passed over by name, and a program's own wrappers because nearly all of its
//! allocations go through them.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Name, NameSource, is_allocator};

/// The number of a function in [`Functions`].
pub type FunctionId = u32;

/// Stacks whose distinct ways through a program are fewer tell nothing of its wrappers.
const FEWEST_STACKS: usize = 8;
/// The part of the distinct stacks, in per cent, that goes through a wrapper directly above the heap.
const WRAPPED_PERCENT: usize = 90;
/// A wrapper is called from at least so many functions, else it is where the program allocates.
const FEWEST_CALLERS: usize = 3;
/// More wrappers than a program has above each other.
const MOST_WRAPPERS: usize = 32;

/// A function, or the place of a return address where nobody knows its function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Function {
    /// Name of the module, without extension; empty outside all modules.
    pub module: Arc<str>,
    /// Name with the module: `depot!depot::LoseSessions`, `depot+0x1a2b`, `0x7ffd00001234`.
    pub name: Arc<str>,
    /// Whether it is a runtime's, by its name: who wanted the memory called it.
    pub runtime: bool,
}

impl Function {
    fn of(address: u64, name: Option<&Name>) -> Self {
        let Some(name) = name else {
            return Function {
                module: "".into(),
                name: format!("{address:#x}").into(),
                runtime: false,
            };
        };
        let symbol = name.symbol.as_deref();
        Function {
            module: name.module.as_str().into(),
            name: match symbol {
                Some(symbol) => format!("{}!{symbol}", name.module).into(),
                None => name.to_string().into(),
            },
            runtime: is_allocator(&name.module) || symbol.is_some_and(is_runtime_function),
        }
    }

    /// The name without the module, where it has one.
    #[must_use]
    pub fn short_name(&self) -> &str {
        match self.name.split_once('!') {
            Some((_, symbol)) => symbol,
            None => &self.name,
        }
    }
}

/// Beginnings of the names of functions through which the C and C++ runtimes, and others that are
/// linked into programs, allocate.
const RUNTIME: &[&str] = &[
    "operator new",
    "malloc",
    "calloc",
    "realloc",
    "_malloc",
    "_calloc",
    "_realloc",
    "_recalloc",
    "_aligned_",
    "_expand",
    "_heap_alloc",
    "heap_alloc",
    "_nh_malloc",
    "strdup",
    "_strdup",
    "wcsdup",
    "_wcsdup",
    "_mbsdup",
    "_strndup",
    "__std_",
    "std::",
    "stdext::",
    "`std::",
    "__crt_",
    "ATL::CAtlStringMgr::",
    "ATL::CSimpleStringT",
    "ATL::CStringT",
    "ATL::CWin32Heap::",
    "ATL::AtlAlloc",
    "RtlAllocateHeap",
    "RtlReAllocateHeap",
    "HeapAlloc",
    "HeapReAlloc",
    "LocalAlloc",
    "GlobalAlloc",
    "CoTaskMemAlloc",
    "CoTaskMemRealloc",
    "SysAlloc",
    "SysReAlloc",
    "__rust_",
    "__rustc",
    "__rdl_",
    "__rg_",
    "alloc::alloc::",
    "alloc::boxed::",
    "alloc::raw_vec::",
    "alloc::string::",
    "alloc::vec::",
    "hashbrown::",
];

/// Whether a function, named without its module, only allocates for whoever called it.
#[must_use]
pub fn is_runtime_function(symbol: &str) -> bool {
    RUNTIME.iter().any(|start| symbol.starts_with(start))
}

/// The functions of a process's stacks, each with a number.
pub struct Functions<'n> {
    names: &'n dyn NameSource,
    functions: Vec<Function>,
    numbers: FxHashMap<Function, FunctionId>,
    of_address: FxHashMap<u64, Vec<FunctionId>>,
}

impl std::fmt::Debug for Functions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Functions")
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

impl<'n> Functions<'n> {
    /// None yet; they are named as stacks are asked for.
    #[must_use]
    pub fn new(names: &'n dyn NameSource) -> Self {
        Functions {
            names,
            functions: Vec::new(),
            numbers: FxHashMap::default(),
            of_address: FxHashMap::default(),
        }
    }

    /// The function with this number.
    #[must_use]
    pub fn get(&self, id: FunctionId) -> Option<&Function> {
        self.functions.get(id as usize)
    }

    /// The functions of a stack, innermost first, inlined ones too.
    pub fn chain(&mut self, stack: &[u64]) -> Vec<FunctionId> {
        let mut chain = Vec::with_capacity(stack.len());
        for &address in stack {
            if let Some(known) = self.of_address.get(&address) {
                chain.extend_from_slice(known);
                continue;
            }
            let named = self.names.frames(address);
            let ids: Vec<FunctionId> = match &named[..] {
                [] => vec![self.number(Function::of(address, None))],
                names => {
                    let functions = names.iter().map(|name| Function::of(address, Some(name)));
                    functions.map(|function| self.number(function)).collect()
                }
            };
            chain.extend_from_slice(&ids);
            self.of_address.insert(address, ids);
        }
        chain
    }

    fn number(&mut self, function: Function) -> FunctionId {
        let next = self.functions.len() as FunctionId;
        let functions = &mut self.functions;
        let number = self.numbers.entry(function).or_insert_with_key(|function| {
            functions.push(function.clone());
            next
        });
        *number
    }

    fn is_runtime(&self, id: FunctionId) -> bool {
        self.get(id).is_some_and(|function| function.runtime)
    }
}

/// The functions of a program that only pass allocations on, found by what its stacks have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wrappers {
    /// The outermost last.
    found: Vec<FunctionId>,
}

impl Wrappers {
    /// Looks for wrappers in the chains of all distinct stacks of a process: functions through which
    /// at least nine of ten of them pass directly above the heap, other wrappers and the runtimes.
    #[must_use]
    pub fn find(functions: &Functions<'_>, chains: &[Vec<FunctionId>]) -> Self {
        let mut rest: FxHashSet<&[FunctionId]> = chains
            .iter()
            .map(|chain| without_runtime(functions, chain))
            .filter(|chain| !chain.is_empty())
            .collect();
        let mut found: Vec<FunctionId> = Vec::new();
        // Those found by the last level with enough callers above it; what comes after is in doubt.
        let mut sure = 0;
        while rest.len() >= FEWEST_STACKS && found.len() < MOST_WRAPPERS {
            let mut innermost: FxHashMap<FunctionId, usize> = FxHashMap::default();
            for chain in &rest {
                *innermost.entry(chain[0]).or_default() += 1;
            }
            if innermost.len() >= FEWEST_CALLERS {
                sure = found.len();
            }
            let most = innermost.into_iter().max_by_key(|&(id, count)| (count, id));
            let Some((id, count)) = most else { break };
            if count * 100 < rest.len() * WRAPPED_PERCENT || found.contains(&id) {
                break;
            }
            found.push(id);
            rest = rest
                .into_iter()
                .map(|chain| match chain[0] == id {
                    true => without_runtime(functions, &chain[1..]),
                    false => chain,
                })
                .filter(|chain| !chain.is_empty())
                .collect();
        }
        found.truncate(sure);
        Wrappers { found }
    }

    /// The wrappers, the innermost first.
    #[must_use]
    pub fn found(&self) -> &[FunctionId] {
        &self.found
    }

    /// The part of a chain that says who wanted the memory: without the runtimes' functions and the
    /// wrappers at its beginning. A chain of nothing else is left whole.
    #[must_use]
    pub fn essence<'c>(
        &self,
        functions: &Functions<'_>,
        chain: &'c [FunctionId],
    ) -> &'c [FunctionId] {
        let passes_on = |id: &FunctionId| functions.is_runtime(*id) || self.found.contains(id);
        let skipped = chain.iter().take_while(|id| passes_on(id)).count();
        match &chain[skipped..] {
            [] => chain,
            rest => rest,
        }
    }
}

fn without_runtime<'c>(functions: &Functions<'_>, chain: &'c [FunctionId]) -> &'c [FunctionId] {
    let skipped = chain.iter().take_while(|&&id| functions.is_runtime(id));
    &chain[skipped.count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every address is a function of its own, named by its number; below 0x100 ntdll's.
    struct Numbers;

    impl NameSource for Numbers {
        fn name(&self, address: u64) -> Option<Name> {
            let module = if address < 0x100 { "ntdll" } else { "app" };
            (address < 0x10000).then(|| Name {
                module: module.into(),
                symbol: Some(format!("f{address:x}")),
                ..Name::default()
            })
        }
    }

    fn essences(stacks: &[&[u64]]) -> Vec<Vec<String>> {
        let mut functions = Functions::new(&Numbers);
        let chains: Vec<_> = stacks.iter().map(|stack| functions.chain(stack)).collect();
        let wrappers = Wrappers::find(&functions, &chains);
        let name = |&id: &FunctionId| functions.get(id).unwrap().short_name().to_owned();
        let essence = |chain: &Vec<_>| -> Vec<String> {
            let rest = wrappers.essence(&functions, chain);
            rest.iter().map(name).collect()
        };
        chains.iter().map(essence).collect()
    }

    #[test]
    fn what_nearly_all_stacks_pass_through_is_a_wrapper() {
        let mut stacks: Vec<Vec<u64>> = (0x300..0x310)
            .map(|caller| vec![0x10, 0x200, 0x201, caller, 0x1000])
            .collect();
        stacks.push(vec![0x10, 0x400, 0x1000]);
        let stacks: Vec<&[u64]> = stacks.iter().map(Vec::as_slice).collect();
        let essences = essences(&stacks);
        assert_eq!(essences[0], ["f300", "f1000"]);
        assert_eq!(essences[16], ["f400", "f1000"]);
    }

    #[test]
    fn a_program_that_allocates_in_one_place_keeps_it() {
        let stacks: Vec<Vec<u64>> = (0x300..0x310)
            .map(|outer| vec![0x10, 0x200, 0x1000, 0x1001, outer, outer + 0x100])
            .collect();
        let few: Vec<&[u64]> = stacks[..4].iter().map(Vec::as_slice).collect();
        assert_eq!(essences(&few)[0][0], "f200");
        let one: Vec<Vec<u64>> = vec![vec![0x10, 0x200, 0x1000]; 20];
        let one: Vec<&[u64]> = one.iter().map(Vec::as_slice).collect();
        assert_eq!(essences(&one)[0], ["f200", "f1000"]);
    }

    #[test]
    fn stacks_of_nothing_but_the_system_stay_whole() {
        assert_eq!(essences(&[&[0x10, 0x11]])[0], ["f10", "f11"]);
        assert_eq!(essences(&[&[0x10, 0x7fff_0000]])[0], ["0x7fff0000"]);
    }

    #[test]
    fn runtimes_are_known_by_name() {
        for name in [
            "operator new",
            "std::_Allocate<16>",
            "malloc",
            "_malloc_dbg",
        ] {
            assert!(is_runtime_function(name), "{name}");
        }
        for name in ["depot::Allocate", "AllocateOrder", "standard"] {
            assert!(!is_runtime_function(name), "{name}");
        }
    }
}
