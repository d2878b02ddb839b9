//! `--private`: what is printed can be given away. Contents of memory, user names and paths are left
//! out; addresses, sizes, counts, and names of modules, functions and source files stay.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use ntheap::dump::Module;

/// An option of the whole run, needed wherever something is printed.
static ON: AtomicBool = AtomicBool::new(false);

pub(crate) fn set(on: bool) {
    ON.store(on, Ordering::Relaxed);
}

pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// A path as it may be shown: whole, or its last part.
pub(crate) fn path(path: &Path) -> String {
    file(&path.display().to_string()).to_owned()
}

/// The same of a path of any system.
pub(crate) fn file(path: &str) -> &str {
    match is_on() {
        true => last_part(path),
        false => path,
    }
}

fn last_part(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

/// Takes the folders from the modules of a dump and from their PDBs.
pub(crate) fn apply(modules: &mut [Module]) {
    if !is_on() {
        return;
    }
    for module in modules {
        module.path = last_part(&module.path).to_owned();
        if let Some(pdb) = &mut module.pdb {
            pdb.file = last_part(&pdb.file).to_owned();
        }
    }
}

/// A frame that a log has as text, `module!function (C:\folder\file.cpp, 12)`, without the folder.
pub(crate) fn frame(text: &str) -> String {
    let Some((function, source)) = text.rsplit_once(" (") else {
        return text.to_owned();
    };
    // Parameter lists have brackets too, but no line number behind a comma.
    let is_line = source
        .strip_suffix(')')
        .and_then(|source| source.rsplit_once(", "));
    match is_line {
        Some((_, line)) if line.parse::<u32>().is_ok() => {
            format!("{function} ({}", last_part(source))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_logs_keep_file_and_line() {
        assert_eq!(
            frame(r"app!f(int (*)())+0x12 (c:\users\ann\app\main.cpp, 12)"),
            "app!f(int (*)())+0x12 (main.cpp, 12)"
        );
        assert_eq!(
            frame("ntdll!RtlAllocateHeap+0x8"),
            "ntdll!RtlAllocateHeap+0x8"
        );
        assert_eq!(frame("app!g(int (*)(a/b))"), "app!g(int (*)(a/b))");
    }
}
