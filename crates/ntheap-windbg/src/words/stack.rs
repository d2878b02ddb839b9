//! `k` and its like: the functions of a stack.
//!
//! ```text
//! Child-SP          RetAddr           Call Site
//! 00000021`ab6ff5d8 00007ffd`1c2f3b1e ntdll!NtWaitForSingleObject+0x14
//! ```

use std::fmt::{self, Write};

use super::{memory::missing, modules::back_quoted};
use ntheap::{
    layout::Bitness,
    names::{Name, NameSource},
    printable::printable,
    process::Process,
    unwind::{Frame, Stack, StackEnd},
};

/// What is shown of each function.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StackForm {
    /// Numbers of the frames.
    pub(crate) numbers: bool,
    /// The first words that were passed.
    pub(crate) parameters: bool,
    /// The types of the parameters.
    pub(crate) signatures: bool,
    /// How much of the stack each takes.
    pub(crate) sizes: bool,
    /// Nothing but the functions.
    pub(crate) calls_only: bool,
    /// Source files and lines.
    pub(crate) lines: bool,
}

/// Prints a stack, and where it can't be followed further.
///
/// # Errors
/// Those of `out`.
pub(crate) fn stack(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    stack: &Stack,
    form: &StackForm,
    out: &mut dyn Write,
) -> fmt::Result {
    let printer = Printer {
        process,
        names,
        form,
    };
    printer.caption(out)?;
    let mut number = 0;
    for (index, frame) in stack.frames.iter().enumerate() {
        let behind = stack.frames.get(index + 1);
        printer.frame(&mut number, frame, behind, index == 0, out)?;
    }
    end(process, stack, out)
}

struct Printer<'s> {
    process: &'s Process<'s, 's>,
    names: &'s dyn NameSource,
    form: &'s StackForm,
}

impl Printer<'_> {
    fn caption(&self, out: &mut dyn Write) -> fmt::Result {
        let form = self.form;
        if form.numbers {
            write!(out, " # ")?;
        }
        if form.calls_only {
            return writeln!(out, "Call Site");
        }
        if form.sizes {
            write!(out, "  Memory  ")?;
        }
        match (self.process.bitness, form.parameters) {
            (Bitness::X64, false) => {
                writeln!(out, "Child-SP          RetAddr           Call Site")
            }
            (Bitness::X64, true) => writeln!(
                out,
                "Child-SP          RetAddr           : {:<72}: Call Site",
                "Args to Child"
            ),
            (Bitness::X86, false) => writeln!(out, "ChildEBP RetAddr  "),
            (Bitness::X86, true) => writeln!(out, "ChildEBP RetAddr  Args to Child              "),
        }
    }

    fn frame(
        &self,
        number: &mut u32,
        frame: &Frame,
        behind: Option<&Frame>,
        innermost: bool,
        out: &mut dyn Write,
    ) -> fmt::Result {
        let named = match innermost {
            true => self.names.name(frame.instruction).into_iter().collect(),
            // A return address belongs to the call in front of it.
            false => self.names.frames(frame.instruction),
        };
        for name in named.iter().filter(|name| name.inlined) {
            self.number(number, out)?;
            if !self.form.calls_only {
                if self.form.sizes {
                    write!(out, "{:10}", "")?;
                }
                match self.process.bitness {
                    Bitness::X64 => write!(out, "(Inline Function) --------`-------- ")?,
                    Bitness::X86 => write!(out, "(Inline) -------- ")?,
                }
                if self.form.parameters {
                    write!(out, ": ")?;
                }
            }
            self.site(Some(name), frame, out)?;
        }
        self.number(number, out)?;
        if !self.form.calls_only {
            self.places(frame, behind, out)?;
        }
        let own = named.iter().find(|name| !name.inlined);
        self.site(own, frame, out)
    }

    fn number(&self, number: &mut u32, out: &mut dyn Write) -> fmt::Result {
        if self.form.numbers {
            write!(out, "{number:02x} ")?;
        }
        *number += 1;
        Ok(())
    }

    fn places(&self, frame: &Frame, behind: Option<&Frame>, out: &mut dyn Write) -> fmt::Result {
        let bitness = self.process.bitness;
        let quoted = |address| back_quoted(address, bitness);
        if self.form.sizes {
            let size = behind.map(|next| next.stack_pointer.wrapping_sub(frame.stack_pointer));
            match size {
                Some(size) => write!(out, "{size:8x}  ")?,
                None => write!(out, "{:10}", "")?,
            }
        }
        // Of 32-bit code the address of the frame pointer's place is shown.
        let place = match bitness {
            Bitness::X64 => frame.stack_pointer,
            Bitness::X86 => frame.frame_pointer,
        };
        write!(out, "{} {} ", quoted(place), quoted(frame.return_address))?;
        if !self.form.parameters {
            return Ok(());
        }
        let count = match bitness {
            Bitness::X64 => 4,
            Bitness::X86 => 3,
        };
        if bitness == Bitness::X64 {
            write!(out, ": ")?;
        }
        for index in 0..count {
            let at = frame
                .parameters
                .and_then(|at| at.checked_add(index * bitness.pointer_size()));
            let word = at.and_then(|at| self.process.memory().pointer(at, bitness));
            match word {
                Some(word) => write!(out, "{} ", quoted(word))?,
                None => write!(out, "{} ", missing(bitness))?,
            }
        }
        if bitness == Bitness::X64 {
            write!(out, ": ")?;
        }
        Ok(())
    }

    fn site(&self, name: Option<&Name>, frame: &Frame, out: &mut dyn Write) -> fmt::Result {
        let Some(name) = name else {
            return writeln!(out, "0x{}", unpadded(frame.instruction));
        };
        write!(out, "{}", printable(&name.module))?;
        if let Some(symbol) = &name.symbol {
            let signature = name.signature.as_ref().filter(|_| self.form.signatures);
            write!(out, "!{}", printable(signature.unwrap_or(symbol)))?;
        }
        if name.displacement != 0 {
            write!(out, "+0x{:x}", name.displacement)?;
        }
        if let (true, Some((file, line))) = (self.form.lines, &name.line) {
            write!(out, " [{} @ {line}]", printable(file))?;
        }
        writeln!(out)
    }
}

fn unpadded(address: u64) -> String {
    match address >> 32 {
        0 => format!("{address:x}"),
        high => format!("{high:x}`{:08x}", address as u32),
    }
}

/// Why the stack ends where that is not its beginning.
fn end(process: &Process<'_, '_>, stack: &Stack, out: &mut dyn Write) -> fmt::Result {
    let quoted = |address| back_quoted(address, process.bitness);
    let module = |address: u64| match process.dump.module_at(address) {
        Some(module) => printable(module.name()).into_owned(),
        None => quoted(address),
    };
    match stack.end {
        StackEnd::Bottom | StackEnd::Limit => Ok(()),
        StackEnd::NoUnwindData(address) => writeln!(
            out,
            "WARNING: Stack unwind information not available: that of {} is not in the dump.",
            module(address)
        ),
        StackEnd::NoStack(address) => writeln!(
            out,
            "WARNING: The stack at {} is not in the dump.",
            quoted(address)
        ),
        StackEnd::NoImage(address) => writeln!(
            out,
            "WARNING: Frame IP not in any known module: {}. The stack is not followed further.",
            quoted(address)
        ),
        StackEnd::NoProgress => {
            writeln!(out, "WARNING: The next frame does not lie above this one.")
        }
        _ => writeln!(out, "WARNING: Stacks of this processor are not followed."),
    }
}
