//! From a line that is typed to its commands: several of them, comments, names and options in any
//! order.
//!
//! ```text
//! !ext.heap -s; .echo "a;b"; !heap 1f0000 -a $$ this is no command
//! ```

/// The commands of a line. They are parted by semicolons and line ends outside quotes and braces; one
/// that begins with `*` is a comment to the end of its line, one that begins with `$$` to the next
/// semicolon.
pub(super) fn commands(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if rest.starts_with('*') {
            let end = rest.find('\n').unwrap_or(rest.len());
            rest = rest[end..].trim_start();
            continue;
        }
        let end = end_of_command(rest);
        let command = &rest[..end];
        rest = rest[end..]
            .trim_start_matches([';', '\n', '\r'])
            .trim_start();
        // A comment may stand behind a command, too.
        let (before, _) = command.split_once(" $$").unwrap_or((command, ""));
        let script = command.starts_with("$$<") || command.starts_with("$$>");
        let command = if before.contains(['"', '{']) || script {
            command.trim()
        } else {
            before.trim()
        };
        if !command.is_empty() && (script || !command.starts_with("$$")) {
            found.push(command);
        }
    }
    found
}

fn end_of_command(text: &str) -> usize {
    let (mut quoted, mut depth) = (false, 0usize);
    // `j CONDITION 'COMMANDS' ; 'COMMANDS'`
    let chooses = text.starts_with(['j', 'J'])
        && text[1..].starts_with(|c: char| c.is_whitespace() || c == '(');
    let mut single = false;
    let mut commands_left = if chooses { 1 } else { 0 };
    // `.for (FIRST; CONDITION; STEP) {…}`
    let brackets = text
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case(".for"));
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '\'' if chooses && !quoted => single = !single,
            ';' if single => {}
            ';' if !quoted && depth == 0 && commands_left > 0 => commands_left -= 1,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth = depth.saturating_sub(1),
            '(' if !quoted && brackets => depth += 1,
            ')' if !quoted && brackets => depth = depth.saturating_sub(1),
            ';' if !quoted && depth == 0 => return at,
            '\n' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// The name of a command as it is looked up, and what stands behind it. The module of an extension
/// is left out (`!exts.heap`); names of which the case counts (`dd` and `dD`, `kp` and `kP`, `as` and
/// `aS`) keep that of all but their first letter.
pub(super) fn name(command: &str) -> (String, &str) {
    // An expression may follow without a space.
    if let Some(rest) = command.strip_prefix("??") {
        return ("??".to_owned(), rest.trim());
    }
    if let Some(expression) = command.strip_prefix('?') {
        return ("?".to_owned(), expression.trim());
    }
    let first = command.chars().next().unwrap_or(' ');
    let belongs = |c: char| match first {
        // `~*k`, `||.`, `$$>a<file`: what follows is parted where they are carried out.
        '~' | '|' | '$' => false,
        '.' => c.is_ascii_alphanumeric() || "_+.".contains(c),
        '!' => !c.is_whitespace() && c != '-' && c != '{',
        _ => c.is_ascii_alphanumeric() || c == '_',
    };
    let start = match (first, command.starts_with("||")) {
        ('|', true) => 2,
        _ => first.len_utf8().min(command.len()),
    };
    let behind = &command[start..];
    let mut end = start + behind.find(|c| !belongs(c)).unwrap_or(behind.len());
    // `.symopt+0x40`, `.sympath+c:\x`
    if let Some(plus) = command[..end].find('+') {
        end = plus + 1;
    }
    let (name, rest) = (&command[..end], command[end..].trim());
    let cased = name.len() <= 3
        && name.starts_with(['d', 'D', 'k', 'K', 'a', 'A'])
        && !name.eq_ignore_ascii_case("dt");
    if cased {
        let (first, others) = name.split_at(1);
        return (first.to_ascii_lowercase() + others, rest);
    }
    let lower = name.to_ascii_lowercase();
    let extension = lower
        .strip_prefix('!')
        .and_then(|name| name.split_once('.'));
    match extension {
        Some(("ext" | "exts" | "ntsdexts" | "uext" | "ntdll" | "exts23", name)) => {
            (format!("!{name}"), rest)
        }
        _ => (lower, rest),
    }
}

/// The words of `!heap` in the order in which they are understood: the option that says what is
/// wanted first, a heap that was typed in front of it behind.
pub(super) fn heap_words(text: &str) -> Vec<&str> {
    let mut words: Vec<&str> = words(text);
    let is_option = |word: &&str| word.starts_with('-');
    let is = |word: &&str, name: &str| word.eq_ignore_ascii_case(name);
    // Options that only add to what another one says: `-v`, and the heap of a filter.
    let adds = |word: &&str| is(word, "-v");
    let strong = |word: &&str| {
        ["-flt", "-stat", "-srch", "-p", "-x"]
            .iter()
            .any(|o| is(word, o))
    };
    let wanted = words.iter().position(strong);
    let wanted = wanted.or_else(|| words.iter().position(|word| is_option(word) && !adds(word)));
    let wanted = wanted.or_else(|| words.iter().position(is_option));
    if let Some(at) = wanted {
        let front: Vec<&str> = words.drain(..at).collect();
        // In front of further options, behind the one that was wanted; options with what belongs to
        // them behind all others.
        let place = match front.first() {
            Some(word) if is_option(word) && !adds(word) => words.len(),
            _ => 1.min(words.len()),
        };
        words.splice(place..place, front);
    }
    words
}

/// Words, which white space parts outside brackets and quotes.
pub(super) fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut depth, mut quoted) = (None, 0usize, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_whitespace() && depth == 0 && !quoted {
            found.extend(start.take().map(|start| &text[start..at]));
        } else {
            start.get_or_insert(at);
        }
    }
    found.extend(start.map(|start| &text[start..]));
    found
}

/// A text without the quotes around it, if both are there.
pub(super) fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.unwrap_or(text)
}

/// What stands between an opening bracket, with which the text begins, and the one that closes it;
/// and what stands behind it.
pub(super) fn bracketed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let inner = text.trim_start().strip_prefix(open)?;
    let (mut depth, mut quoted) = (0usize, false);
    for (at, c) in inner.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            _ if c == close && depth == 0 => return Some((&inner[..at], &inner[at + 1..])),
            _ if c == close => depth -= 1,
            _ if c == open => depth += 1,
            _ => {}
        }
    }
    None
}

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
        assert_eq!(commands("* a comment\nlm\r\nk"), ["lm", "k"]);
        assert_eq!(commands("$$ no; lm $$ modules"), ["lm"]);
        assert_eq!(commands(".for (k;1;k) {k;};k"), [".for (k;1;k) {k;}", "k"]);
        assert_eq!(commands("$$>a<x.txt 1"), ["$$>a<x.txt 1"]);
        assert_eq!(
            commands("j 1 'k;r' ; 'lm;k';q"),
            ["j 1 'k;r' ; 'lm;k'", "q"]
        );
        assert_eq!(commands("j (1) k;lm;q"), ["j (1) k;lm", "q"]);
        assert_eq!(commands(""), [""; 0]);
    }

    #[test]
    fn names_lose_their_module_and_case() {
        let name = |text| {
            let (name, rest) = name(text);
            format!("{name}|{rest}")
        };
        assert_eq!(name("!Exts.Heap -s"), "!heap|-s");
        assert_eq!(name("!heap-s"), "!heap|-s");
        assert_eq!(name("!sos.dumpheap"), "!sos.dumpheap|");
        assert_eq!(name("?1+2"), "?|1+2");
        assert_eq!(name("?? x"), "??|x");
        assert_eq!(name("dD 10"), "dD|10");
        assert_eq!(name("Dd 10"), "dd|10");
        assert_eq!(name("r$t0=5"), "r|$t0=5");
        assert_eq!(name(".if(1){k}"), ".if|(1){k}");
        assert_eq!(name(".block{!heap -s}"), ".block|{!heap -s}");
        assert_eq!(name(".sympath+ c:\\x"), ".sympath+|c:\\x");
        assert_eq!(name(".symopt+0x40"), ".symopt+|0x40");
        assert_eq!(name("~*k"), "~|*k");
        assert_eq!(name("||*"), "|||*");
        assert_eq!(name("s-d 0 L1 1"), "s|-d 0 L1 1");
        assert_eq!(name(""), "|");
        assert_eq!(name("é"), "é|");
    }

    #[test]
    fn options_come_in_any_order() {
        assert_eq!(heap_words("1f0000 -a"), ["-a", "1f0000"]);
        assert_eq!(heap_words("-v -x 10"), ["-x", "-v", "10"]);
        assert_eq!(heap_words("1f0000 -v"), ["-v", "1f0000"]);
        assert_eq!(heap_words("-stat -h 0"), ["-stat", "-h", "0"]);
        assert_eq!(heap_words("-h 1 -flt s 30"), ["-flt", "s", "30", "-h", "1"]);
        assert_eq!(heap_words("0"), ["0"]);
        assert_eq!(heap_words("-p -a poi(a + 8)"), ["-p", "-a", "poi(a + 8)"]);
    }

    #[test]
    fn quotes_are_taken_from_both_ends_or_from_none() {
        assert_eq!(unquoted(" \"lm;k\" "), "lm;k");
        assert_eq!(unquoted(".echo \"a\""), ".echo \"a\"");
        assert_eq!(unquoted("\""), "\"");
    }

    #[test]
    fn brackets_are_closed_where_they_were_opened() {
        assert_eq!(
            bracketed(" (a (b) \")\") c", '(', ')'),
            Some(("a (b) \")\"", " c"))
        );
        assert_eq!(bracketed("{a", '{', '}'), None);
        assert_eq!(bracketed("a", '{', '}'), None);
    }
}
