//! `!list`: what is done for each element of a linked list.

use std::fmt::Write;

use super::{CommandError, Session, line, wrong};

/// Elements that a list has at most where `-m` does not say otherwise.
const MOST: u64 = 1 << 16;

impl Session<'_, '_> {
    /// `!list -t [MODULE!]TYPE.FIELD [-x "COMMANDS"] [-a "ARGUMENTS"] [-e] [-m MOST] ADDRESS`: follows
    /// the pointer in the field from the address until it comes back or ends; in the commands
    /// `@$extret` is the element.
    pub(super) fn follow_list(
        &mut self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        // The whole may stand in quotes, with the inner ones escaped.
        let text = text.trim();
        let unquoted = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
        let text = match unquoted {
            Some(inner) if inner.contains("\\\"") || !inner.contains('"') => {
                inner.replace("\\\"", "\"")
            }
            _ => text.to_owned(),
        };
        let mut words = line::words(&text).into_iter();
        let (mut offset, mut commands) = (0, "dp @$extret L4".to_owned());
        let (mut arguments, mut most, mut shows) = (String::new(), MOST, false);
        let mut start = Vec::new();
        while let Some(word) = words.next() {
            let (option, joined) = match word.get(..2) {
                Some(option) if word.starts_with('-') => (option, &word[2..]),
                _ => ("", word),
            };
            let mut operand = || match joined {
                "" => words.next().map(|word| word.trim_matches('"').to_owned()),
                joined => Some(joined.trim_matches('"').to_owned()),
            };
            match option {
                "-t" => {
                    let field = operand().unwrap_or_default();
                    offset = self.place_of_field(&field)?;
                }
                "-x" => commands = operand().unwrap_or_default(),
                "-a" => arguments = operand().unwrap_or_default(),
                "-m" => most = self.value(&operand().unwrap_or_default())?.min(MOST),
                "-e" => shows = true,
                "" => start.push(word),
                _ => return Err(wrong(word, "!list takes -t -x -a -e -m and an address")),
            }
        }
        let first = self.value(&start.join(" "))?;
        let commands = match arguments.is_empty() {
            true => commands,
            false => format!("{commands} @$extret {arguments}"),
        };
        let mut element = first;
        let mut result = Ok(());
        for _ in 0..most {
            self.list_element = element;
            if shows {
                writeln!(out, "{commands}")?;
            }
            let goes_on = self.body(&commands, &mut result, out)?;
            writeln!(out)?;
            if !goes_on {
                break;
            }
            let link = element.checked_add(offset);
            let bitness = self.process.bitness;
            let next = link.and_then(|at| self.process.memory().pointer(at, bitness));
            // A field that is not the structure's first links fields, or elements: both are typed.
            match next {
                Some(next) if next != 0 && next != first => element = next,
                Some(_) => break,
                None => {
                    let reason = "the list leads to memory that is not in the dump";
                    return result.and(Err(CommandError::Unavailable { reason }));
                }
            }
        }
        result
    }

    /// Offset of `[MODULE!]TYPE.FIELD[.FIELD]`.
    fn place_of_field(&self, text: &str) -> Result<u64, CommandError> {
        let unknown = || {
            wrong(
                text,
                "no such field is known: [MODULE!]TYPE.FIELD is expected",
            )
        };
        let (type_name, field) = text.split_once('.').ok_or_else(unknown)?;
        // What everybody follows is known without a PDB.
        let bare = type_name.rsplit('!').next().unwrap_or(type_name);
        let of_list = |name: &str| bare.trim_start_matches('_').eq_ignore_ascii_case(name);
        match field.to_ascii_lowercase().as_str() {
            "flink" if of_list("LIST_ENTRY") => return Ok(0),
            "blink" if of_list("LIST_ENTRY") => return Ok(self.process.bitness.pointer_size()),
            "next" if of_list("SINGLE_LIST_ENTRY") => return Ok(0),
            _ => {}
        }
        self.size_of(type_name, Some(field)).ok_or_else(unknown)
    }
}
