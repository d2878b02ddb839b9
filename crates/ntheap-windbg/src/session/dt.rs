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
        let (mut prefixes, mut link) = (false, None);
        let mut typed_words = operands.iter().copied();
        while let Some(word) = typed_words.next() {
            if let Some(depth) = word.strip_prefix("-r") {
                display.depth = match depth {
                    "" => DEEPEST,
                    depth => depth.parse().map_err(|_| wrong(word, "not a depth"))?,
                };
                display.depth = display.depth.min(DEEPEST);
                continue;
            }
            match word {
                // Structures that lie in it, and not those that it points to.
                "-b" => (display.depth, display.inside_only) = (DEEPEST, true),
                "-v" => display.verbose = true,
                "-o" => display.no_offsets = true,
                "-y" => prefixes = true,
                "-l" => {
                    let field = typed_words.next();
                    link =
                        Some(field.ok_or_else(|| wrong(word, "the field that links is expected"))?);
                }
                "-n" => words.extend(typed_words.next()),
                // How types are listed and laid out on the screen.
                "-a" | "-c" | "-d" | "-e" | "-g" | "-h" | "-i" | "-s" | "-t" => {}
                _ if word.starts_with('-') => {
                    return Err(wrong(
                        word,
                        "dt knows -r, -rDEPTH, -b, -v, -o, -y, -n and -l FIELD",
                    ));
                }
                _ => words.push(word),
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
        let name = name.trim_end_matches('.');
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
            fields.is_some_and(|fields| fields.iter().any(|f| words::is_named(first, &f.name)))
        };
        let path_of = |word: &str| -> Vec<String> {
            let parts = word.split('.').filter(|part| !part.is_empty());
            let mut path: Vec<String> = parts.map(str::to_owned).collect();
            if let Some(last) = path.last_mut().filter(|_| prefixes) {
                last.push('*');
            }
            path
        };
        if let Some(field) = field {
            if !is_field(field) && !prefixes {
                return Err(wrong(field, "the structure has no such field"));
            }
            display.paths.push(path_of(field));
        }
        for &word in rest {
            if is_field(word) || (prefixes && is_field(&format!("{word}*"))) {
                display.paths.push(path_of(word));
                if word.ends_with('.') {
                    // What is in the field.
                    display.depth = display.depth.max(1);
                }
            } else if display.address.is_none() {
                if word.contains(['*', '?']) {
                    return Err(wrong(word, "the structure has no field like this"));
                }
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
        match (link, display.address) {
            (Some(link), Some(start)) => self.linked(&*types, id, &display, (link, start), out),
            _ => Ok(words::type_layout(
                self.process,
                self.names,
                &*types,
                id,
                &display,
                out,
            )?),
        }
    }

    /// `dt -l FIELD`: each structure that the field leads to.
    fn linked(
        &self,
        types: &dyn TypeCatalogue,
        id: TypeId,
        display: &TypeDisplay,
        (link, start): (&str, u64),
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        /// Structures that are shown at most.
        const MOST: usize = 1 << 12;
        let structure = types.structure(id);
        let mut fields = structure.iter().flat_map(|structure| &structure.fields);
        let first = link.split('.').next().unwrap_or_default();
        // Of a list's own structure the first pointer leads on: `Entry.Flink` is `Entry`.
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(first));
        let field = field.ok_or_else(|| wrong(link, "the structure has no such field"))?;
        let mut at = start;
        for _ in 0..MOST {
            writeln!(
                out,
                "{link} at 0x{}\n---------------------------------------------",
                words::back_quoted(at, self.process.bitness)
            )?;
            let display = TypeDisplay {
                address: Some(at),
                ..display.clone()
            };
            words::type_layout(self.process, self.names, types, id, &display, out)?;
            writeln!(out)?;
            let place = at.checked_add(field.offset.into());
            let memory = self.process.memory();
            match place.and_then(|place| memory.pointer(place, self.process.bitness)) {
                Some(next) if next != 0 && next != start => at = next,
                Some(_) => return Ok(()),
                None => {
                    return Err(wrong(
                        link,
                        "the list leads to memory that is not in the dump",
                    ));
                }
            }
            self.in_time()?;
        }
        Err(wrong(link, "stopped: the list has more than 4096 elements"))
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
