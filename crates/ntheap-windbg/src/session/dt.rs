//! `dt`: which structure, where, and which of its fields.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words::{self, TypeDisplay};
use ntheap::{
    dump::Module,
    layout::{TypeCatalogue, TypeId},
    names::matches_pattern,
};

/// Structures inside structures are shown at most this deep.
const DEEPEST: u32 = 9;

impl Session<'_, '_> {
    pub(super) fn dt(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let mut display = TypeDisplay::default();
        let mut words = Vec::new();
        for &word in operands {
            match word.strip_prefix("-r") {
                Some("") => display.depth = DEEPEST,
                Some(depth) => {
                    display.depth = depth.parse().map_err(|_| wrong(word, "not a depth"))?;
                    display.depth = display.depth.min(DEEPEST);
                }
                None if word.starts_with('-') => {
                    return Err(wrong(word, "dt knows -r and -rDEPTH"));
                }
                None => words.push(word),
            }
        }
        let Some((&typed, rest)) = words.split_first() else {
            return Err(wrong(
                "dt",
                "a type is expected: dt [MODULE!]TYPE [ADDRESS]",
            ));
        };
        let (module, name) = match typed.split_once('!') {
            // What the kernel's heaps are called in commands that people copy.
            Some(("nt", name)) => (Some(NTDLL), name),
            Some((module, name)) => (Some(module), name),
            None => (None, typed),
        };
        // A field may stand behind the type at once: `_HEAP.FrontEndHeapType`.
        let (name, field) = match name.split_once('.') {
            Some((name, field)) if !name.contains('*') && !field.is_empty() => (name, Some(field)),
            _ => (name, None),
        };
        if name.contains(['*', '?']) {
            return self.matching_types(module, name, out);
        }
        let Some((found, types, id)) = self.find_type(module, name) else {
            let reason = "no structure of this name is known; types come from PDBs (--symbols), \
                          those of heaps also without";
            return Err(wrong(name, reason));
        };
        let structure = types.structure(id);
        let is_field = |word: &str| {
            let first = word.split('.').next().unwrap_or_default();
            let fields = structure.as_ref().map(|structure| &structure.fields);
            fields.is_some_and(|fields| fields.iter().any(|f| f.name.eq_ignore_ascii_case(first)))
        };
        if let Some(field) = field.filter(|field| is_field(field)) {
            let parts = field.split('.').filter(|part| !part.is_empty());
            display.path = parts.map(str::to_owned).collect();
        }
        for &word in rest {
            if display.path.is_empty() && is_field(word) {
                let parts = word.split('.').filter(|part| !part.is_empty());
                display.path = parts.map(str::to_owned).collect();
                if word.ends_with('.') {
                    // What is in the field.
                    display.depth = display.depth.max(1);
                }
            } else if display.address.is_none() {
                self.may_show_contents()?;
                display.address = Some(self.value(word)?);
            } else {
                return Err(wrong(word, "neither an address nor a field"));
            }
        }
        if module.is_none() {
            let name = structure.as_ref().map_or(name, |s| s.name.as_str());
            writeln!(out, "{found}!{name}")?;
        }
        words::type_layout(self.process, self.names, &*types, id, &display, out)?;
        Ok(())
    }

    /// Modules of this name, or all, this side's ntdll first.
    fn modules_named(&self, name: Option<&str>) -> impl Iterator<Item = &Module> {
        let ntdll = self.process.ntdll();
        let others = self.process.dump.modules.iter();
        let others = others.filter(move |module| ntdll.is_none_or(|n| n.base != module.base));
        let named = move |module: &&Module| {
            name.is_none_or(|name| module.name().eq_ignore_ascii_case(name))
        };
        ntdll.into_iter().chain(others).filter(named)
    }

    pub(super) fn find_type(
        &self,
        module: Option<&str>,
        name: &str,
    ) -> Option<(String, Box<dyn TypeCatalogue + '_>, TypeId)> {
        let recorded = self.modules_named(module).find_map(|module| {
            let types = self.names.types(module)?;
            let id = find(&*types, name)?;
            Some((module.name().to_owned(), types, id))
        });
        recorded.or_else(|| {
            let ntdll = module.is_none_or(|module| module.eq_ignore_ascii_case(NTDLL));
            let layouts = Box::new(self.process.layouts.clone());
            let id = ntdll.then(|| find(&*layouts, name)).flatten()?;
            Some((NTDLL.to_owned(), layouts as Box<dyn TypeCatalogue>, id))
        })
    }

    fn matching_types(
        &self,
        module: Option<&str>,
        pattern: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let list = |module: &str, types: &dyn TypeCatalogue, out: &mut dyn Write| {
            let mut names = types.names();
            names.retain(|name| matches_pattern(pattern, name));
            names.sort_unstable();
            words::type_names(module, &names, out)?;
            Ok::<_, CommandError>(!names.is_empty())
        };
        let mut any = false;
        for module in self.modules_named(module) {
            if let Some(types) = self.names.types(module) {
                any |= list(module.name(), &*types, out)?;
            }
        }
        if !any && module.is_none_or(|module| module.eq_ignore_ascii_case(NTDLL)) {
            list(NTDLL, &self.process.layouts, out)?;
        }
        Ok(())
    }
}

const NTDLL: &str = "ntdll";

/// A structure by its name, else without regard to case and to the underscore in front.
fn find(types: &dyn TypeCatalogue, name: &str) -> Option<TypeId> {
    types.find(name).or_else(|| {
        let bare = name.trim_start_matches('_');
        let names = types.names();
        let alike = |known: &&String| known.trim_start_matches('_').eq_ignore_ascii_case(bare);
        types.find(names.iter().find(alike)?)
    })
}
