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

/// A row of a stack.
#[derive(Debug)]
pub(crate) struct StackRow {
    /// The number and the addresses, as far as the form has them.
    places: String,
    /// The function, with what the form shows of it.
    pub(crate) site: String,
}

impl fmt::Display for StackRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.places)?;
        f.write_str(&self.site)
    }
}

/// The functions that a frame is in: those inlined there first, innermost first.
pub(crate) fn functions(names: &dyn NameSource, frame: &Frame) -> Vec<Name> {
    match frame.returned_to {
        true => names.frames(frame.instruction),
        false => names.name(frame.instruction).into_iter().collect(),
    }
}

/// The rows of a stack.
pub(crate) fn stack_rows(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    stack: &Stack,
    form: &StackForm,
) -> Result<Vec<StackRow>, fmt::Error> {
    let mut rows = Vec::new();
    let printer = Printer {
        process,
        names,
        form,
    };
    for (index, frame) in stack.frames.iter().enumerate() {
        printer.frame(frame, stack.frames.get(index + 1), &mut rows)?;
    }
    Ok(rows)
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
    caption(process.bitness, form, out)?;
    for row in stack_rows(process, names, stack, form)? {
        writeln!(out, "{row}")?;
    }
    end(process, stack, out)
}

struct Printer<'s> {
    process: &'s Process<'s, 's>,
    names: &'s dyn NameSource,
    form: &'s StackForm,
}

fn caption(bitness: Bitness, form: &StackForm, out: &mut dyn Write) -> fmt::Result {
    if form.numbers {
        write!(out, " # ")?;
    }
    if form.calls_only {
        return writeln!(out, "Call Site");
    }
    if form.sizes {
        write!(out, "  Memory  ")?;
    }
    match (bitness, form.parameters) {
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

impl Printer<'_> {
    /// Adds the rows of a frame: those of the functions inlined there, and its own.
    fn frame(
        &self,
        frame: &Frame,
        behind: Option<&Frame>,
        rows: &mut Vec<StackRow>,
    ) -> fmt::Result {
        let named = functions(self.names, frame);
        for name in named.iter().filter(|name| name.inlined) {
            let mut places = self.number(rows.len());
            if !self.form.calls_only {
                if self.form.sizes {
                    write!(places, "{:10}", "")?;
                }
                places.push_str(match self.process.bitness {
                    Bitness::X64 => "(Inline Function) --------`-------- ",
                    Bitness::X86 => "(Inline) -------- ",
                });
                if self.form.parameters {
                    places.push_str(": ");
                }
            }
            let site = self.site(Some(name), frame)?;
            rows.push(StackRow { places, site });
        }
        let mut places = self.number(rows.len());
        if !self.form.calls_only {
            self.places(frame, behind, &mut places)?;
        }
        let own = named.iter().find(|name| !name.inlined);
        let site = self.site(own, frame)?;
        rows.push(StackRow { places, site });
        Ok(())
    }

    fn number(&self, number: usize) -> String {
        match self.form.numbers {
            true => format!("{number:02x} "),
            false => String::new(),
        }
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

    fn site(&self, name: Option<&Name>, frame: &Frame) -> Result<String, fmt::Error> {
        let Some(name) = name else {
            return Ok(format!("0x{}", unpadded(frame.instruction)));
        };
        let mut site = printable(&name.module).into_owned();
        if let Some(symbol) = &name.symbol {
            let signature = name.signature.as_ref().filter(|_| self.form.signatures);
            write!(site, "!{}", printable(signature.unwrap_or(symbol)))?;
        }
        if name.displacement != 0 {
            write!(site, "+0x{:x}", name.displacement)?;
        }
        if let (true, Some((file, line))) = (self.form.lines, &name.line) {
            write!(site, " [{} @ {line}]", printable(file))?;
        }
        Ok(site)
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
