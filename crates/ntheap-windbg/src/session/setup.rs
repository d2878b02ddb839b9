//! `.sympath`, `.symopt`, `.chain`, `.expr`: how the session is set up. What changes it changes nothing
//! of what is printed here, and prints nothing.

use std::fmt::Write;

use super::{CommandError, Session};

impl Session<'_, '_> {
    /// What these print when they are asked; `None` for other commands, and for what sets something.
    pub(super) fn set_up(
        &self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Option<Result<(), CommandError>> {
        let asks = rest.is_empty() || rest == "-?";
        let text = match name {
            ".sympath" if asks => {
                let path = match self.contents {
                    true => self.symbol_path.as_str(),
                    false => "<not shown: --private>",
                };
                let path = if path.is_empty() { "<empty>" } else { path };
                format!("Symbol search path is: {path}")
            }
            ".srcpath" | ".lsrcpath" if asks => "Source search path is: <empty>".to_owned(),
            ".exepath" if asks => "Executable image search path is: <empty>".to_owned(),
            ".extpath" if asks => "Extension search path is: <empty>".to_owned(),
            ".chain" => {
                "Extension DLL chain:\n    ntheap: what it answers is listed by .help".to_owned()
            }
            ".symopt" if asks => "Symbol options are 0x7:\n  \
                0x00000001 - SYMOPT_CASE_INSENSITIVE\n  0x00000002 - SYMOPT_UNDNAME\n  \
                0x00000004 - SYMOPT_DEFERRED_LOADS"
                .to_owned(),
            ".expr" if asks => {
                "Current expression evaluator: MASM - Microsoft Assembler expressions".to_owned()
            }
            ".kframes" if asks => "Default stack trace depth is 0n256 frames".to_owned(),
            "!sym" if rest.is_empty() => "!sym <noisy/quiet> - quiet mode\n\
                symbol prompts off"
                .to_owned(),
            _ => return None,
        };
        Some(writeln!(out, "{text}").map_err(CommandError::from))
    }
}
