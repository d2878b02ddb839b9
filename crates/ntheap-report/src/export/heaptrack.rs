//! heaptrack's data files (format version 3), for heaptrack_gui and heaptrack_print: flame graphs, callers,
//! sizes, and with several dumps what was allocated and freed over time.

use std::io::{self, Write};

use ntheap::names::{Name, NameSource};
use rustc_hash::FxHashMap;

use super::Allocations;

/// A dump of the series.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'m> {
    /// Its blocks.
    pub allocations: &'m Allocations,
    /// Milliseconds since the first.
    pub milliseconds: u64,
    /// Private bytes of the process.
    pub private: u64,
}

/// Numbers that the file gives to what comes up while it is written.
#[derive(Default)]
struct Tables {
    strings: FxHashMap<String, usize>,
    addresses: FxHashMap<u64, usize>,
    /// By parent and address.
    traces: FxHashMap<(usize, usize), usize>,
    /// By size and trace.
    infos: FxHashMap<(u64, usize), usize>,
}

/// Writes the dumps of a series, the oldest first, of a program with this command line.
///
/// # Errors
/// Those of `out`, which should be buffered.
pub fn write(
    moments: &[Moment<'_>],
    command_line: &str,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> io::Result<()> {
    const PAGE: u64 = 4096;
    writeln!(out, "v 10400 3")?;
    writeln!(out, "X {}", one_line(command_line))?;
    writeln!(
        out,
        "I {PAGE:x} {:x}",
        moments.last().map_or(0, |m| m.private / PAGE)
    )?;
    let mut tables = Tables::default();
    // What the program holds, with the stack of its moment.
    let mut held: FxHashMap<(u64, usize), usize> = FxHashMap::default();
    for moment in moments {
        let traces: Vec<usize> = moment
            .allocations
            .stacks
            .iter()
            .map(|stack| tables.trace(stack, names, out))
            .collect::<io::Result<_>>()?;
        let mut now: FxHashMap<(u64, usize), usize> = FxHashMap::default();
        let mut new: Vec<usize> = Vec::new();
        for &(address, size, stack) in &moment.allocations.blocks {
            let info = tables.info(size, traces[stack as usize], out)?;
            let key = (address, info);
            if held.remove(&key).is_none() {
                new.push(info);
            }
            now.insert(key, info);
        }
        writeln!(out, "c {:x}", moment.milliseconds)?;
        let mut gone: Vec<usize> = held.into_values().collect();
        gone.sort_unstable();
        for info in gone {
            writeln!(out, "- {info:x}")?;
        }
        for info in new {
            writeln!(out, "+ {info:x}")?;
        }
        writeln!(out, "R {:x}", moment.private / PAGE)?;
        held = now;
    }
    Ok(())
}

impl Tables {
    fn string(&mut self, text: &str, out: &mut dyn Write) -> io::Result<usize> {
        if let Some(&number) = self.strings.get(text) {
            return Ok(number);
        }
        let number = self.strings.len() + 1;
        let line = one_line(text);
        writeln!(out, "s {:x} {line}", line.len())?;
        self.strings.insert(text.to_owned(), number);
        Ok(number)
    }

    fn address(
        &mut self,
        address: u64,
        names: &dyn NameSource,
        out: &mut dyn Write,
    ) -> io::Result<usize> {
        if let Some(&number) = self.addresses.get(&address) {
            return Ok(number);
        }
        let frames = names.frames(address);
        let module = frames.first().map_or("", |name| name.module.as_str());
        let mut line = format!("i {address:x} {:x}", self.optional(module, out)?);
        let known = |name: &&Name| name.symbol.is_some();
        for name in frames.iter().filter(known) {
            let function = self.optional(name.symbol.as_deref().unwrap_or(""), out)?;
            let (file, number) = name
                .line
                .as_ref()
                .map_or(("", 0), |(f, n)| (f.as_str(), *n));
            let file = self.optional(file, out)?;
            line.push_str(&format!(" {function:x} {file:x} {number:x}"));
        }
        writeln!(out, "{line}")?;
        let number = self.addresses.len() + 1;
        self.addresses.insert(address, number);
        Ok(number)
    }

    /// The number of a string; 0 for an empty one.
    fn optional(&mut self, text: &str, out: &mut dyn Write) -> io::Result<usize> {
        match text.is_empty() {
            true => Ok(0),
            false => self.string(text, out),
        }
    }

    fn trace(
        &mut self,
        stack: &[u64],
        names: &dyn NameSource,
        out: &mut dyn Write,
    ) -> io::Result<usize> {
        let mut at = 0;
        for &address in stack.iter().rev() {
            let key = (self.address(address, names, out)?, at);
            at = match self.traces.get(&key) {
                Some(&known) => known,
                None => {
                    writeln!(out, "t {:x} {:x}", key.0, key.1)?;
                    let number = self.traces.len() + 1;
                    self.traces.insert(key, number);
                    number
                }
            };
        }
        Ok(at)
    }

    fn info(&mut self, size: u64, trace: usize, out: &mut dyn Write) -> io::Result<usize> {
        if let Some(&known) = self.infos.get(&(size, trace)) {
            return Ok(known);
        }
        let number = self.infos.len();
        writeln!(out, "a {size:x} {trace:x}")?;
        self.infos.insert((size, trace), number);
        Ok(number)
    }
}

/// A line ends an entry, whatever a name holds.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
