//! What `--version` says besides the version: the commit, where the sources are a repository or
//! `NTHEAP_COMMIT` names it, and the target.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=NTHEAP_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    // Written with every commit and checkout.
    let log = "../../.git/logs/HEAD";
    if std::path::Path::new(log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    let from_git = || {
        let output = Command::new("git")
            .args(["rev-parse", "--short=10", "HEAD"])
            .output();
        let output = output.ok().filter(|output| output.status.success())?;
        let commit = String::from_utf8(output.stdout).ok()?;
        Some(commit.trim().to_owned())
    };
    let commit = env::var("NTHEAP_COMMIT").ok().or_else(from_git);
    let commit = commit.filter(|commit| !commit.is_empty());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let target = env::var("TARGET").unwrap_or_default();
    let text = match commit {
        Some(commit) => format!("{version} ({commit}, {target})"),
        None => format!("{version} ({target})"),
    };
    println!("cargo:rustc-env=NTHEAP_VERSION={text}");
}
