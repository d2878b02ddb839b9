//! Differences that come from which symbols the debugger had read when a command was typed.

use ntheap::process::Process;

use crate::transcript::{Transcript, Typed};

/// The class of a proved difference.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    transcript: &Transcript,
    command: &Typed,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    match command.typed().split(' ').next()? {
        "ln" => read_later(transcript, command, expected, actual),
        "lm" => symbol_state(process, transcript, expected, actual),
        _ => None,
    }
}

/// The debugger told nothing. When the same was typed again, behind `.lines`, it told what ours
/// tells, behind one line with the place in the source.
fn read_later(
    transcript: &Transcript,
    command: &Typed,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let again = |other: &&Typed| {
        let text = other.expected();
        let source = text.strip_suffix(actual);
        other.typed() == command.typed()
            && source.is_some_and(|line| line.lines().count() == 1 && line.contains('('))
    };
    let proved = expected.is_empty() && !actual.is_empty();
    (proved && transcript.commands.iter().any(|other| again(&other)))
        .then_some("ln: the debugger had not read the symbols yet")
}

/// `lm` tells what the debugger had read of a module's symbols: nothing where it says so, which is
/// proved by its own messages, and by no symbol of the module being named from `.lines` on. It marks
/// a module without a checksum once it has complained of that.
fn symbol_state(
    process: &Process<'_, '_>,
    transcript: &Transcript,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let messages: Vec<String> = transcript.commands.iter().map(Typed::messages).collect();
    let told = |message: &str, module: &str| {
        let text = format!("{message} {module}.");
        messages.iter().any(|messages| messages.contains(&text))
    };
    let is_named = |module: &str| {
        let symbol = format!("{module}!");
        // `.lines` makes it forget all symbols.
        let mut later = transcript.commands.iter().filter(|c| c.is_behind_lines());
        later.any(|command| command.expected().contains(&symbol))
    };
    let mut theirs = expected.lines();
    let mut ours = actual.lines();
    loop {
        let (theirs, ours) = match (theirs.next(), ours.next()) {
            (None, None) => break,
            (theirs, ours) => (theirs?, ours?),
        };
        if theirs == ours {
            continue;
        }
        let (module, mark, state) = parts(theirs)?;
        let (same, our_mark, our_state) = parts(ours)?;
        let name = module.split_whitespace().nth(2)?;
        let read = match state {
            "(deferred)             " => is_named(name),
            "(no symbols)           " => {
                is_named(name) || !told("symbols could not be loaded for", name)
            }
            _ => return None,
        };
        let complained = told("Unable to verify checksum for", name);
        // Ours gives no mark to what nobody asked for, else to what has no checksum.
        let image = process.dump.modules.iter().find(|m| m.name() == name)?;
        let unchecked = image.checksum == 0 && !our_state.starts_with("(deferred)");
        let marked = our_mark == if unchecked { 'C' } else { ' ' };
        let proved = module == same && !read && (mark == 'C') == complained && marked;
        proved.then_some(())?;
    }
    Some("lm: which symbols the debugger had read")
}

/// Addresses and name; the mark; the state.
fn parts(line: &str) -> Option<(&str, char, &str)> {
    let (module, state) = line.split_at(line.find('(')?);
    let module = module.strip_suffix(' ')?;
    let mark = module.chars().next_back()?;
    Some((&module[..module.len() - mark.len_utf8()], mark, state))
}
