//! `!lmi`, `!dh`: which image.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words::{self, HeaderParts};

impl Session<'_, '_> {
    /// `!lmi MODULE`, `!lmi ADDRESS`.
    pub(super) fn module_info(&self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let module = self.module_typed(text)?;
        Ok(words::module_info(self.process, self.names, module, out)?)
    }

    /// `!dh [-f] [-s] [-a] MODULE`.
    pub(super) fn image_headers(
        &self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let mut parts = HeaderParts::default();
        let mut typed = Vec::new();
        for &word in operands {
            match word.to_ascii_lowercase().as_str() {
                "-f" => parts.file = true,
                "-s" => parts.sections = true,
                "-a" | "-e" | "-i" => {}
                option if option.starts_with('-') => {
                    return Err(wrong(word, "!dh takes -f, -s, -a and a module"));
                }
                _ => typed.push(word),
            }
        }
        let text = typed.join(" ");
        let base = match self.module_typed(&text) {
            Ok(module) => module.base,
            // An image that the loader does not know.
            Err(error) => self.value(&text).map_err(|_| error)?,
        };
        let image = self.process.dump.image_at(base);
        let image = image.ok_or(CommandError::Unavailable {
            reason: "the headers of this image are not in the dump; `lmvm MODULE` shows what its \
                     module list tells",
        })?;
        Ok(words::image_headers(&image, parts, out)?)
    }

    /// The module whose name was typed, or that holds the address that was.
    fn module_typed(&self, text: &str) -> Result<&ntheap::dump::Module, CommandError> {
        let text = text.trim();
        let modules = &self.process.dump.modules;
        let named = modules.iter().find(|module| {
            module.name().eq_ignore_ascii_case(text)
                || module.file_name().eq_ignore_ascii_case(text)
        });
        if let Some(module) = named {
            return Ok(module);
        }
        let address = self.value(text)?;
        let module = self.process.dump.module_at(address);
        module.ok_or_else(|| wrong(text, "no such module is in the dump"))
    }
}
