//! From a line that is typed to its commands: several of them, comments, names and options in any
//! order.
//!
//! ```text
//! !ext.heap -s; .echo "a;b"; !heap 1f0000 -a $$ this is no command
//! ```

/// The commands of a line. They are parted by semicolons outside quotes and braces; one that begins
/// with `*` is a comment to the end of the line, one that begins with `$$` to the next semicolon.
pub(super) fn commands(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && !rest.starts_with('*') {
        let end = end_of_command(rest);
        let command = &rest[..end];
        rest = rest[end..].trim_start_matches(';').trim_start();
        // A comment may stand behind a command, too.
        let (before, _) = command.split_once(" $$").unwrap_or((command, ""));
        let command = if before.contains('"') {
            command.trim()
        } else {
            before.trim()
        };
        if !command.is_empty() && !command.starts_with("$$") {
            found.push(command);
        }
    }
    found
}

fn end_of_command(text: &str) -> usize {
    let (mut quoted, mut depth) = (false, 0usize);
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth = depth.saturating_sub(1),
            ';' if !quoted && depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// The name of a command as it is looked up, and what stands behind it. The module of an extension
/// is left out (`!exts.heap`); names of memory commands keep their second letter's case, which tells
/// some of them apart (`dd` and `dD`).
pub(super) fn name(command: &str) -> (String, &str) {
    // An expression may follow without a space.
    if let Some(expression) = command
        .strip_prefix('?')
        .filter(|rest| !rest.starts_with('?'))
    {
        return ("?".to_owned(), expression.trim());
    }
    let end = command.find(char::is_whitespace).unwrap_or(command.len());
    let (name, rest) = (&command[..end], command[end..].trim());
    let memory =
        name.len() <= 3 && name.starts_with(['d', 'D']) && !name.eq_ignore_ascii_case("dt");
    if memory {
        return (format!("d{}", &name[1..]), rest);
    }
    let lower = name.to_ascii_lowercase();
    let extension = lower
        .strip_prefix('!')
        .and_then(|name| name.split_once('.'));
    match extension {
        Some(("ext" | "exts" | "ntsdexts" | "uext", name)) => (format!("!{name}"), rest),
        _ => (lower, rest),
    }
}

/// The words of `!heap` in the order in which they are understood: the option that says what is
/// wanted first, a heap that was typed in front of it behind.
pub(super) fn heap_words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let is_option = |word: &&str| word.starts_with('-');
    // `-v` only adds to what another option says.
    let adds = |word: &&str| word.eq_ignore_ascii_case("-v");
    let wanted = words.iter().position(|word| is_option(word) && !adds(word));
    let wanted = wanted.or_else(|| words.iter().position(is_option));
    if let Some(at) = wanted {
        let front: Vec<&str> = words.drain(..at).collect();
        // In front of further options, behind the one that was wanted.
        let place = 1.min(words.len());
        words.splice(place..place, front);
    }
    words
}

/// Set-up that scripts begin and end with: it changes nothing of what is printed here.
pub(super) const HARMLESS: &[&str] = &[
    ".chain",
    ".cls",
    ".enable_unicode",
    ".exepath",
    ".load",
    ".loadby",
    ".logappend",
    ".logclose",
    ".logopen",
    ".lsrcpath",
    ".prefer_dml",
    ".reload",
    ".srcpath",
    ".symfix",
    ".symfix+",
    ".symopt",
    ".sympath",
    ".sympath+",
    ".unload",
    "ld",
];

/// Commands that are known, and why they are not carried out.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &[
            "k",
            "kb",
            "kc",
            "kd",
            "kl",
            "kn",
            "kp",
            "kv",
            "r",
            ".ecxr",
            ".cxr",
            ".frame",
            "dv",
            "!findstack",
            "!uniqstack",
        ],
        "registers and stacks of threads are not shown; `ntheap stacks` shows who allocated",
    ),
    (
        &[
            "~", "!runaway", "!handle", "!locks", "!cs", "!teb", "!threads", "||", "|",
        ],
        "threads, handles and locks are not shown; `ntheap info` tells what the dump is of",
    ),
    (
        &[
            "vertarget",
            "version",
            "!peb",
            "!dlls",
            "!envvar",
            ".time",
            "!gflag",
        ],
        "not shown in the debugger's words; `ntheap info` tells build, modules and global flags, `!heap -p` the flags",
    ),
    (
        &["!analyze", "!error", ".exr", ".lastevent", "!avrf"],
        "exceptions are not analyzed; `ntheap verify` looks for damage in the heaps",
    ),
    (
        &[
            "g", "p", "t", "bp", "bu", "bl", "bc", "ba", ".restart", ".dump", "ed", "eb", "eq",
            "!gflags",
        ],
        "a dump can't be run or changed",
    ),
    (
        &[
            "!dumpheap",
            "!eeheap",
            "!gcroot",
            "!sos.dumpheap",
            "!dumpobj",
            "!name2ee",
        ],
        "managed heaps are not walked; `!heap -s` shows the native ones",
    ),
    (
        &[
            ".foreach",
            ".for",
            ".if",
            ".while",
            ".block",
            ".printf",
            "!for_each_module",
            "j",
            "z",
            "$<",
            "$$>a<",
        ],
        "scripts are not carried out; give `ntheap exec` one command each",
    ),
    (
        &[
            "??", ".formats", "s", "dD", "df", "dW", "dyb", "dyd", "ds", "dS", "u", "uf", "ub",
            "!dh", "dx",
        ],
        "not carried out; `db`, `dd`, `dp` and `dps` show memory, `?` a number",
    ),
];

/// Why a command that the debugger has is not carried out.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    let known = |names: &&[&str]| names.contains(&name);
    // `~*k`, `~0s`
    let name = if name.starts_with('~') { "~" } else { name };
    let row = REFUSED
        .iter()
        .find(|(names, _)| known(names) || names.contains(&name));
    row.map(|(_, reason)| *reason)
}

/// What `!heap -?` prints.
pub(super) const HEAP_USAGE: &str = "\
!heap                        all heaps
!heap -s [-v] [-h H [-a] [-b N]]
                             a table of the heaps, or a report on one
!heap -stat [-h H [-grp A|B|S [N]]]
                             sizes of heaps, or of blocks by size
!heap -flt s SIZE | r FROM TO
                             blocks of a size, or of sizes in a range
!heap -p [-all | -h H | -a A]
                             flags, blocks, or the block at an address with its stack
!heap -x [-v] A              the entry at an address, and pointers to it
!heap -l                     blocks that nothing points to
!heap -a|-h|-hl|-m|-f|-v H   header, entries, slots, segments, free lists of a heap; 0: all
!heap -i H | -i A            an entry in detail
!heap -g, -T H, -t, -k, -triage
                             tags, damage
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_several_commands_and_comments() {
        assert_eq!(commands("!heap -s;q"), ["!heap -s", "q"]);
        assert_eq!(commands(" ;; lm ; "), ["lm"]);
        assert_eq!(commands(".echo \"a;b\";x a!b"), [".echo \"a;b\"", "x a!b"]);
        assert_eq!(
            commands(".foreach (a {lm;k}) {?a;}; q"),
            [".foreach (a {lm;k}) {?a;}", "q"]
        );
        assert_eq!(commands("* a comment; !heap"), [""; 0]);
        assert_eq!(commands("$$ no; lm $$ modules"), ["lm"]);
        assert_eq!(commands(""), [""; 0]);
    }

    #[test]
    fn names_lose_their_module_and_case() {
        assert_eq!(name("!Exts.Heap -s"), ("!heap".to_owned(), "-s"));
        assert_eq!(name("!sos.dumpheap"), ("!sos.dumpheap".to_owned(), ""));
        assert_eq!(name("?1+2"), ("?".to_owned(), "1+2"));
        assert_eq!(name("?? x"), ("??".to_owned(), "x"));
        assert_eq!(name("dD 10"), ("dD".to_owned(), "10"));
        assert_eq!(name("Dd 10"), ("dd".to_owned(), "10"));
    }

    #[test]
    fn options_come_in_any_order() {
        assert_eq!(heap_words("1f0000 -a"), ["-a", "1f0000"]);
        assert_eq!(heap_words("-v -x 10"), ["-x", "-v", "10"]);
        assert_eq!(heap_words("1f0000 -v"), ["-v", "1f0000"]);
        assert_eq!(heap_words("-stat -h 0"), ["-stat", "-h", "0"]);
        assert_eq!(heap_words("0"), ["0"]);
    }

    #[test]
    fn what_is_refused_says_why() {
        assert!(refusal("~*k").is_some_and(|reason| reason.contains("ntheap info")));
        assert!(refusal("dD").is_some());
        assert_eq!(refusal("dd"), None);
    }
}
