//! Finding and reading transcripts.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The commands that were run over one dump.
pub(crate) struct Transcript {
    pub(crate) label: String,
    pub(crate) dump: PathBuf,
    pub(crate) commands: Vec<Typed>,
}

/// A command and where its output is.
pub(crate) struct Typed {
    /// As the index has it.
    pub(crate) typed: String,
    /// Whether the 2023 extension carried it out.
    pub(crate) newer: bool,
    file: PathBuf,
}

/// Prefix of the commands of the 2023 extension.
const NEWER: &str = "exts25877/!exts23.heap";

/// All transcripts below a folder: `NAME/cdb/SNAP` over `NAME/SNAP.dmp`, `NAME/cdb` over
/// `NAME/dump.dmp`.
pub(crate) fn transcripts(folder: &Path) -> Vec<Transcript> {
    let list = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for dump_folder in list(folder) {
        let label = dump_folder.file_name().unwrap_or_default();
        let label = label.to_string_lossy().into_owned();
        let commands = dump_folder.join("cdb");
        let mut candidates = vec![(commands.clone(), dump_folder.join("dump.dmp"))];
        for snap in list(&commands).into_iter().filter(|path| path.is_dir()) {
            let name = snap.file_name().unwrap_or_default().to_string_lossy();
            let dump = dump_folder.join(format!("{name}.dmp"));
            candidates.push((snap, dump));
        }
        for (commands, dump) in candidates {
            let index = commands.join("index.json");
            if index.exists() && dump.exists() {
                all.push(Transcript {
                    label: label.clone(),
                    dump,
                    commands: read(&index),
                });
            }
        }
    }
    all.sort_by(|a, b| a.dump.cmp(&b.dump));
    all
}

fn read(index: &Path) -> Vec<Typed> {
    let text = fs::read_to_string(index).expect("the index is readable");
    let index_json: serde_json::Value = serde_json::from_str(&text).expect("the index is JSON");
    let commands = index_json["commands"]
        .as_object()
        .expect("the index has commands");
    let mut commands: Vec<Typed> = commands
        .iter()
        .map(|(typed, file)| Typed {
            typed: typed.clone(),
            newer: typed.starts_with(NEWER),
            file: index.with_file_name(file.as_str().expect("a file name")),
        })
        .collect();
    commands.sort_by_key(|command| match command.typed.as_str() {
        ".lines" => 1,
        _ => 2 * i32::from(command.is_behind_lines()),
    });
    commands
}

impl Typed {
    /// What was typed at the prompt; the index numbers repeated commands (`ln 10 #152`).
    pub(crate) fn typed(&self) -> String {
        let typed = self.typed.split(" #").next().unwrap_or_default();
        typed.replace(NEWER, "!heap")
    }

    /// What the debugger printed.
    pub(crate) fn expected(&self) -> String {
        let bytes = fs::read(&self.file).expect("the transcript is readable");
        let mut text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        // Progress of a search, with the end of its line.
        while let Some(at) = text.find("\r[") {
            const END: &str = "Complete]";
            let Some(end) = text[at..].find(END).map(|end| at + end + END.len()) else {
                break;
            };
            let newline = text[end..].starts_with('\n') && (at == 0 || text[..at].ends_with('\n'));
            text.replace_range(at..end + usize::from(newline), "");
        }
        // Progress of `-l`: a dot now and then.
        while text.contains(") ....") {
            text = text.replace(") ....", ") ...");
        }
        let mut kept = String::new();
        for line in text.split_inclusive('\n') {
            if !is_noise(line) {
                kept.push_str(line);
            }
        }
        kept
    }

    /// Whether it was typed after `.lines`: such a command bears a number.
    pub(crate) fn is_behind_lines(&self) -> bool {
        let starts = |name| self.typed.starts_with(name);
        self.typed.contains(" #") && (starts("ln ") || starts("lm"))
    }

    /// What the debugger said of its own symbols meanwhile.
    pub(crate) fn messages(&self) -> String {
        let bytes = fs::read(&self.file).expect("the transcript is readable");
        let text = String::from_utf8_lossy(&bytes);
        text.split_inclusive('\n')
            .filter(|line| is_noise(line))
            .collect()
    }

    /// Whether messages about segment heaps are left out, or the progress of a search in them.
    pub(crate) fn leaves_out_messages(&self) -> bool {
        let bytes = fs::read(&self.file).expect("the transcript is readable");
        let text = String::from_utf8_lossy(&bytes);
        let marks = [
            "SEGMENT HEAP ERROR",
            "ReadMemory error",
            "Percent Complete]",
        ];
        marks.iter().any(|mark| text.contains(mark))
    }

    /// The command without its operands.
    pub(crate) fn kind(&self) -> String {
        let mut kind = String::new();
        let address = |word: &str| word.len() >= 5 && word.bytes().all(|b| b.is_ascii_hexdigit());
        for word in self.typed.split(" #").next().unwrap_or_default().split(' ') {
            kind += if address(word) { "#" } else { word };
            kind.push(' ');
        }
        kind.replace(NEWER, "new !heap")
    }
}

/// Messages about the debugger's own state: symbols that it misses, progress.
fn is_noise(line: &str) -> bool {
    line.starts_with("HEAPEXT:")
        || line.starts_with("\rBuilding memory map: ")
        || line.starts_with("SEGMENT HEAP ERROR")
        || line.starts_with("ReadMemory error")
        || line.starts_with("Use `!address ")
        || line.starts_with("*** ERROR")
        || line.starts_with("*** WARNING")
}

/// The first lines that differ.
pub(crate) fn difference([theirs, ours]: &[Vec<String>; 2], count: usize) -> String {
    let mut text = String::new();
    let lines = 0..theirs.len().max(ours.len());
    let pairs = lines.map(|line| (line + 1, theirs.get(line), ours.get(line)));
    for (line, theirs, ours) in pairs.filter(|(_, theirs, ours)| theirs != ours).take(count) {
        let side = |side: Option<&String>| side.map_or("(end)".to_owned(), |s| format!("{s:?}"));
        text += &format!(
            "\n    {line}: cdb  {}\n    {line}: ours {}",
            side(theirs),
            side(ours)
        );
    }
    text
}
