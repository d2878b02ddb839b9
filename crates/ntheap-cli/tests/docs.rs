//! What the README and the pages of the site show is what the program prints.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A command of a page, and what the page says it prints.
struct Example {
    /// The page, and the line of the command.
    place: String,
    arguments: Vec<String>,
    status: i32,
    /// Lines; `...` stands for any number of them.
    shown: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Words parted by blanks; what stands in single quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The commands in a page's `console` blocks.
fn examples(page: &Path) -> Vec<Example> {
    let text = fs::read_to_string(page).expect("the page");
    let mut examples: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ntheap ") {
            examples.push(Example {
                place: format!("{}:{number}", page.display()),
                arguments: words(command),
                status: 0,
                shown: Vec::new(),
            });
        } else if let Some(example) = examples.last_mut() {
            match line.strip_prefix("? ") {
                Some(status) => example.status = status.parse().expect("a status"),
                None => example.shown.push(line.trim_end().to_owned()),
            }
        }
    }
    examples
}

/// Whether lines are those shown, where `...` stands for any number.
fn agrees(shown: &[String], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line == "..." => {
            rest.is_empty() || (0..=printed.len()).any(|skipped| agrees(rest, &printed[skipped..]))
        }
        Some((line, rest)) => printed
            .split_first()
            .is_some_and(|(first, printed)| first.trim_end() == line && agrees(rest, printed)),
    }
}

/// Every command is run in the root of the repository, where the pages say that it can be typed.
#[test]
fn pages_show_what_is_printed() {
    let root = root();
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs/site/src", "docs/site/src/en", "docs/site/src/zh"] {
        let files = fs::read_dir(root.join(folder)).expect("pages");
        pages.extend(files.flatten().map(|entry| entry.path()));
    }
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    let mut wrong = String::new();
    let mut run = 0;
    for example in pages.iter().flat_map(|page| examples(page)) {
        let output = Command::new(env!("CARGO_BIN_EXE_ntheap"))
            .args(&example.arguments)
            .current_dir(&root)
            .output()
            .expect("the program runs");
        run += 1;
        let printed = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = printed.lines().collect();
        let status = output.status.code();
        if status != Some(example.status) || !agrees(&example.shown, &lines) {
            let _ = writeln!(
                wrong,
                "{}: status {status:?}, printed\n{}",
                example.place,
                lines[..lines.len().min(40)].join("\n")
            );
        }
    }
    assert!(run > 20, "{run} commands were found");
    assert!(wrong.is_empty(), "{wrong}");
}

/// Both languages have the same pages, and each page shows the same commands in both.
#[test]
fn both_languages_have_the_same_pages() {
    let pages = root().join("docs/site/src");
    let commands = |language: &str| -> BTreeSet<(String, Vec<String>)> {
        fs::read_dir(pages.join(language))
            .expect("pages")
            .map(|entry| {
                let entry = entry.expect("a page");
                let text = fs::read_to_string(entry.path()).expect("text");
                let typed = text.lines().filter(|line| line.starts_with("$ "));
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    typed.map(str::to_owned).collect(),
                )
            })
            .collect()
    };
    let english = commands("en");
    assert!(!english.is_empty());
    assert_eq!(english, commands("zh"));
}

/// A link from page to page leads to one that is there, and every page is in the summary.
#[test]
fn links_lead_somewhere() {
    let pages = root().join("docs/site/src");
    let summary = fs::read_to_string(pages.join("SUMMARY.md")).expect("the summary");
    for folder in ["", "en", "zh"] {
        for entry in fs::read_dir(pages.join(folder)).expect("pages").flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let name = path.strip_prefix(&pages).expect("a page");
            let name = name.to_string_lossy().replace('\\', "/");
            assert!(
                name == "SUMMARY.md" || summary.contains(&format!("({name})")),
                "{name} is not in the summary"
            );
            let text = fs::read_to_string(&path).expect("text");
            for target in text
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                let there = path.with_file_name(target);
                assert!(target.contains("://") || there.exists(), "{name}: {target}");
            }
        }
    }
}
