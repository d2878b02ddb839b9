//! Aliases: names that stand for other text.

use std::fmt::Write;

use super::{CommandError, Session, program::replaced, wrong};

/// What an alias may make of a command.
const LONGEST: usize = 1 << 16;
/// More aliases than anybody types.
const MOST: usize = 1 << 12;

impl Session<'_, '_> {
    /// A command with what its aliases stand for.
    pub(super) fn with_aliases(&self, command: &str) -> String {
        let mut text = command.to_owned();
        let defines = ["as", "aS", "ad", "al"]
            .iter()
            .any(|name| command.split_whitespace().next() == Some(name));
        if self.aliases.is_empty() || defines {
            return text;
        }
        for (name, value) in &self.aliases {
            let longer = replaced(&text, name, value);
            if longer.len() > LONGEST {
                break;
            }
            text = longer;
        }
        text
    }

    /// `as NAME TEXT`, `aS`, `ad NAME`, `al`; `None` for other commands.
    pub(super) fn alias(
        &mut self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Option<Result<(), CommandError>> {
        Some(match name {
            "al" => self.list_aliases(out),
            "ad" => {
                let mut words = rest.split_whitespace().filter(|word| *word != "/q");
                match words.next() {
                    Some("*") => self.aliases.clear(),
                    Some(name) => drop(self.aliases.remove(name)),
                    None => {}
                }
                Ok(())
            }
            "as" | "aS" => self.set_alias(rest),
            _ => return None,
        })
    }

    fn set_alias(&mut self, rest: &str) -> Result<(), CommandError> {
        let (first, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let text = text.trim();
        let (name, text) = match first.strip_prefix('/') {
            // A number, as its value.
            Some("x") => {
                let (name, text) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
                (name, format!("{:#x}", self.value(text)?))
            }
            Some(_) => {
                return Err(wrong(
                    first,
                    "as takes a name and a text, or /x, a name and a number",
                ));
            }
            None => (first, text.trim_matches('"').to_owned()),
        };
        if !name.is_empty() && text.len() <= LONGEST && self.aliases.len() < MOST {
            self.aliases.insert(name.to_owned(), text);
        }
        Ok(())
    }

    fn list_aliases(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        if self.aliases.is_empty() {
            return Ok(writeln!(out, "No aliases")?);
        }
        writeln!(
            out,
            "  Alias            Value  \n -------          ------- "
        )?;
        for (name, value) in &self.aliases {
            writeln!(out, " {name:<16} {value} ")?;
        }
        Ok(())
    }
}
