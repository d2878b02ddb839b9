//! Crates know only those below them: what the map in `docs/architecture.md` draws.

use std::{collections::BTreeSet, fs, path::Path};

/// Each crate with the crates of the workspace that it may use.
const ARROWS: [(&str, &[&str]); 10] = [
    ("ntheap", &[]),
    ("ntheap-c", &["ntheap", "ntheap-report", "ntheap-session"]),
    ("ntheap-mcp", &["ntheap", "ntheap-report", "ntheap-session"]),
    (
        "ntheap-python",
        &["ntheap", "ntheap-report", "ntheap-session"],
    ),
    ("ntheap-report", &["ntheap"]),
    (
        "ntheap-session",
        &["ntheap", "ntheap-report", "ntheap-symbols"],
    ),
    ("ntheap-symbols", &["ntheap"]),
    ("ntheap-synth", &["ntheap"]),
    ("ntheap-windbg", &["ntheap"]),
    (
        "ntheap-cli",
        &[
            "ntheap",
            "ntheap-mcp",
            "ntheap-report",
            "ntheap-session",
            "ntheap-symbols",
            "ntheap-windbg",
        ],
    ),
];

/// The crates of the workspace among the dependencies (not those of tests) of a crate.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        } else if section == "dependencies" || section.ends_with(".dependencies") {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if name.starts_with("ntheap") {
                found.insert(name);
            }
        }
    }
    found
}

#[test]
fn dependencies_point_downwards_only() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(&crates).expect("the crates").flatten() {
        let name = entry.file_name().into_string().expect("a plain name");
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).expect("a manifest");
        let (_, allowed) = ARROWS
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("{name} has no place in the map"));
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert_eq!(dependencies(&manifest), allowed, "{name}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), ARROWS.len());
}
