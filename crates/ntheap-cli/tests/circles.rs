//! The modules of a crate use each other one way: whoever changes one reads what stands below it, no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Which modules of a crate each of its modules names in the code that is no test.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// The files of a module, with the depth of each below the root of the crate.
fn files(directory: &Path, depth: usize, found: &mut Vec<(PathBuf, usize)>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, depth + 1, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // `a/mod.rs` is the module `a` itself; `a/b.rs` one below it.
            let inner = usize::from(path.file_stem().is_none_or(|stem| stem != "mod"));
            found.push((path, depth + inner));
        }
    }
}

/// The code without comments, strings and what is compiled for tests alone.
fn code(source: &str) -> String {
    let mut text = String::new();
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '/' if characters.peek() == Some(&'/') => {
                characters.by_ref().find(|&next| next == '\n');
                text.push('\n');
            }
            '"' => {
                while let Some(next) = characters.next() {
                    match next {
                        '\\' => drop(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                text.push_str("\"\"");
            }
            // A quotation mark as a character opens no string.
            '\'' if characters.peek() == Some(&'"') => {
                characters.next();
            }
            '\'' if characters.peek() == Some(&'\\') => {
                characters.next();
                characters.next();
            }
            other => text.push(other),
        }
    }
    // Modules of tests stand at the end of their file.
    match text.find("#[cfg(test)]\nmod ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The first names of the paths that begin with `prefix`: of `crate::{a::b, c}` both `a` and `c`.
fn first_names<'t>(text: &'t str, prefix: &str) -> Vec<&'t str> {
    let name = |text: &'t str| {
        let end = text.find(|next: char| !next.is_alphanumeric() && next != '_');
        &text[..end.unwrap_or(text.len())]
    };
    let mut found = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | ':')) {
            continue;
        }
        let rest = &text[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !character.is_whitespace() => {
                    found.push(name(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// Who uses whom among the modules at the root of a crate.
fn uses(source: &Path) -> Uses {
    let mut found = Vec::new();
    files(source, 0, &mut found);
    let module = |path: &Path| {
        let below = path.strip_prefix(source).expect("a file of the crate");
        let first = below.components().next().expect("a name");
        let first = first.as_os_str().to_string_lossy().into_owned();
        first.trim_end_matches(".rs").to_owned()
    };
    let modules: BTreeSet<String> = found
        .iter()
        .map(|(path, _)| module(path))
        .filter(|module| module != "lib" && module != "main")
        .collect();
    let mut uses = Uses::new();
    for (path, depth) in &found {
        let user = module(path);
        if !modules.contains(&user) {
            continue;
        }
        let text = code(&fs::read_to_string(path).expect("a source file"));
        // From a file, and from a module written inside it.
        let to_root = "super::".repeat(*depth);
        for used in [first_names(&text, "crate::"), first_names(&text, &to_root)].concat() {
            if used != user && modules.contains(used) {
                uses.entry(user.clone())
                    .or_default()
                    .insert(used.to_owned());
            }
        }
    }
    uses
}

/// The modules that lead back to themselves, with the others on the way.
fn circles(uses: &Uses) -> Vec<BTreeSet<String>> {
    let reach = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(module) = open.pop() {
            for next in uses.get(&module).into_iter().flatten() {
                if reached.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = uses
        .keys()
        .map(|module| (module.as_str(), reach(module)))
        .collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (module, below) in &reached {
        if below.contains(*module) && !circles.iter().any(|circle| circle.contains(*module)) {
            let back = |other: &&String| {
                let there = reached.get(other.as_str());
                there.is_some_and(|there| there.contains(*module))
            };
            circles.push(below.iter().filter(back).cloned().collect());
        }
    }
    circles
}

#[test]
fn modules_of_a_crate_form_no_circle() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut wrong = String::new();
    let mut seen = 0;
    for entry in fs::read_dir(crates).expect("the crates").flatten() {
        let uses = uses(&entry.path().join("src"));
        seen += uses.values().map(BTreeSet::len).sum::<usize>();
        for circle in circles(&uses) {
            wrong += &format!("{}:\n", entry.file_name().display());
            for (user, used) in uses.iter().filter(|(user, _)| circle.contains(*user)) {
                let used: Vec<&String> = used.intersection(&circle).collect();
                wrong += &format!("  {user} uses {used:?}\n");
            }
        }
    }
    assert!(
        seen > 100,
        "only {seen} uses found: what is read is not the code"
    );
    assert!(wrong.is_empty(), "circles between modules:\n{wrong}");
}

#[test]
fn a_circle_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("to create it");
        fs::write(path, text).expect("to write");
    };
    write("lib.rs", "pub mod a; mod b; mod c; mod d;");
    write("a/mod.rs", "use super::{d::{b, X}, c::Y}; // crate::b");
    write(
        "a/inner.rs",
        "use super::super::d::X; fn f() { crate::c::g('\"') }",
    );
    write(
        "b.rs",
        "const A: &str = \"crate::a\";\n#[cfg(test)]\nmod tests { use crate::c; }",
    );
    write("c.rs", "use crate::{b::Z, d::X};");
    write("d.rs", "pub struct X;");
    assert_eq!(
        circles(&uses(directory.path())),
        Vec::<BTreeSet<String>>::new()
    );

    write("b.rs", "fn f() { super::a::inner::h() }");
    let expected = ["a", "b", "c"].map(str::to_owned).into();
    assert_eq!(circles(&uses(directory.path())), [expected]);
}
