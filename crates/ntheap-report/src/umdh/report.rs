//! Prints a comparison as umdh does.

use std::io::Write;

use ntheap::names::{Name, SymbolState};
use rustc_hash::FxHashMap;

use super::Error;
use super::diff::{Diff, Entry, Side, Total};
use super::model::{Frame, Log, LogModule, ModuleIndex, Trace};
use super::write::printable;

/// Frames umdh prints of a stack, at most.
const MAX_FRAMES: usize = 32;

/// What [`write_report`] prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportOptions {
    /// How numbers are printed. umdh's `-d` asks for decimal ones.
    pub radix: Radix,
    /// Print the stacks. umdh 10 does so always; older versions had to be asked for it with `-v`.
    pub stacks: bool,
    /// Print source files and line numbers where they are known. umdh 10 does so always; older
    /// versions had to be asked for it with `-l`.
    pub lines: bool,
}

impl Default for ReportOptions {
    /// What umdh 10 prints without options: hexadecimal numbers, stacks and source lines.
    fn default() -> Self {
        Self {
            radix: Radix::Hex,
            stacks: true,
            lines: true,
        }
    }
}

/// How sizes and counts are printed. Ids, displacements and addresses are always hexadecimal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Radix {
    /// Hexadecimal, without prefix.
    #[default]
    Hex,
    /// Decimal.
    Decimal,
}

/// Resolves addresses. Any closure of the form of [`resolve`](Symbols::resolve) will do.
pub trait Symbols {
    /// The name of `address`, which is a frame of a stack in `log`. `None`, or a name without a
    /// symbol, if there is none.
    ///
    /// Each address is asked for once per log and report.
    fn resolve(&self, address: u64, log: &Log) -> Option<Name>;

    /// Which symbols were found for `module`. Modules for which nobody asked are left out of the lines
    /// at the start of the report.
    fn status(&self, module: &LogModule) -> SymbolState {
        let _ = module;
        SymbolState::Deferred
    }
}

impl<F: Fn(u64, &Log) -> Option<Name>> Symbols for F {
    fn resolve(&self, address: u64, log: &Log) -> Option<Name> {
        self(address, log)
    }
}

/// The text between the symbol handler's lines and the entries.
const LEGEND: [&str; 19] = [
    "",
    "Each log entry has the following syntax:",
    "",
    "+ BYTES_DELTA (NEW_BYTES - OLD_BYTES) NEW_COUNT allocs BackTrace TRACEID",
    "+ COUNT_DELTA (NEW_COUNT - OLD_COUNT) BackTrace TRACEID allocations",
    "    ... stack trace ...",
    "",
    "where:",
    "",
    "    BYTES_DELTA - increase in bytes between before and after log",
    "    NEW_BYTES - bytes in after log",
    "    OLD_BYTES - bytes in before log",
    "    COUNT_DELTA - increase in allocations between before and after log",
    "    NEW_COUNT - number of allocations in after log",
    "    OLD_COUNT - number of allocations in before log",
    "    TRACEID - decimal index of the stack trace in the trace database",
    "        (can be used to search for allocation instances in the original",
    "        UMDH logs).",
    "",
];

/// Prints `diff` in umdh's form: lines end with CR LF, text is UTF-8. `out` should be buffered.
///
/// Frames without symbol are printed as umdh does, with their module if the log lists one that
/// holds the address.
///
/// # Errors
/// [`Error::Io`] if `out` fails.
pub fn write_report(
    diff: &Diff<'_>,
    options: &ReportOptions,
    symbols: &dyn Symbols,
    mut out: impl Write,
) -> Result<(), Error> {
    out.write_all(b"// Debug library initialized ...\r\n")?;
    for module in diff.log(Side::New).map_or(&[][..], |log| &log.modules) {
        write_status(&mut out, module, &symbols.status(module))?;
    }
    for line in LEGEND {
        write!(out, "// {line:<73}\r\n")?;
    }
    out.write_all(b"\r\n\r\n")?;

    let mut stacks = Stacks {
        lines: options.lines,
        symbols,
        sides: [
            diff.log(Side::Old).map(LogSide::new),
            diff.log(Side::New).map(LogSide::new),
        ],
    };
    for entry in diff.entries() {
        write_entry(&mut out, entry, options.radix)?;
        if options.stacks {
            out.write_all(b"\r\n")?;
            if let Some((side, trace)) = entry.stack {
                stacks.write(&mut out, side, trace)?;
            }
            out.write_all(b"\r\n")?;
        }
    }
    write_total(&mut out, diff.total(), options.radix)?;
    out.flush()?;
    Ok(())
}

/// What dbghelp, which umdh uses, prints when it loaded a module's symbols.
fn write_status(
    out: &mut impl Write,
    module: &LogModule,
    state: &SymbolState,
) -> Result<(), Error> {
    // The blanks at the end of the line are dbghelp's.
    let (kind, pdb) = match state {
        SymbolState::Deferred => return Ok(()),
        SymbolState::Missing => ("virtual symbol module", None),
        SymbolState::Exports => ("export symbols", None),
        SymbolState::Pdb { path, private, .. } => match private {
            false => ("public symbols  ", Some(path)),
            true => ("private symbols & lines ", Some(path)),
        },
    };
    let last = module.base.wrapping_add(module.size).wrapping_sub(1);
    write!(
        out,
        "{:X}-{last:X} DBGHELP: {} - {kind}\r\n",
        module.base,
        printable(module.name())
    )?;
    if let Some(pdb) = pdb {
        write!(out, "        {}\r\n", printable(pdb))?;
    }
    Ok(())
}

/// The two lines with an entry's numbers.
fn write_entry(out: &mut impl Write, entry: &Entry<'_>, radix: Radix) -> Result<(), Error> {
    let id = entry.trace;
    write!(
        out,
        "{} ({}) {:>6} allocs\tBackTrace{id}\r\n",
        delta(entry.bytes_delta(), radix),
        old_and_new(entry.old_bytes, entry.new_bytes, radix),
        number(entry.new_count, radix),
    )?;
    write!(
        out,
        "{} ({})\tBackTrace{id}\tallocations\r\n",
        delta(entry.count_delta(), radix),
        old_and_new(entry.old_count, entry.new_count, radix),
    )?;
    Ok(())
}

fn number(value: u64, radix: Radix) -> String {
    match radix {
        Radix::Hex => format!("{value:x}"),
        Radix::Decimal => value.to_string(),
    }
}

/// A delta: its sign and, at least 8 wide, its size.
fn delta(value: i128, radix: Radix) -> String {
    let sign = if value < 0 { '-' } else { '+' };
    // The difference of two u64 always fits.
    let digits = number(value.unsigned_abs() as u64, radix);
    match radix {
        Radix::Hex => format!("{sign}{digits:>8}"),
        // umdh prints `% 8d`, and printf puts a blank in front of a number however wide it is; for
        // a hexadecimal number it does not.
        Radix::Decimal => format!("{sign} {digits:>7}"),
    }
}

fn old_and_new(old: u64, new: u64, radix: Radix) -> String {
    let width = match radix {
        Radix::Hex => 5,
        Radix::Decimal => 6,
    };
    format!(
        " {:>width$} - {:>width$}",
        number(new, radix),
        number(old, radix)
    )
}

fn write_total(out: &mut impl Write, total: Total, radix: Radix) -> Result<(), Error> {
    let increase = total.sum() > 0;
    let part = |value: i128| {
        // umdh turns the signs of a decrease around; a part that goes the other way than the sum
        // stays negative. Its numbers are 64-bit ones.
        let value = if increase { value } else { -value } as i64;
        match radix {
            Radix::Hex => format!("{value:>6x}"),
            Radix::Decimal => format!("{value:>6}"),
        }
    };
    write!(
        out,
        "\r\nTotal {} == {} requested + {} overhead = {}\r\n",
        if increase { "increase" } else { "decrease" },
        part(total.requested),
        part(total.overhead),
        part(total.sum()),
    )?;
    Ok(())
}

/// One of the compared logs and the frame lines already made for it.
struct LogSide<'a> {
    log: &'a Log,
    modules: ModuleIndex<'a>,
    /// Stacks share most of their frames, and resolving is what takes the time.
    texts: FxHashMap<u64, String>,
}

impl<'a> LogSide<'a> {
    fn new(log: &'a Log) -> Self {
        Self {
            log,
            modules: ModuleIndex::new(&log.modules),
            texts: FxHashMap::default(),
        }
    }
}

/// Prints stacks.
struct Stacks<'a> {
    lines: bool,
    symbols: &'a dyn Symbols,
    /// Old and new log.
    sides: [Option<LogSide<'a>>; 2],
}

impl Stacks<'_> {
    fn write(&mut self, out: &mut impl Write, side: Side, trace: &Trace) -> Result<(), Error> {
        let Some(side) = &mut self.sides[side as usize] else {
            return Ok(());
        };
        for frame in trace.frames.iter().take(MAX_FRAMES) {
            match frame {
                Frame::Address(0) => break,
                Frame::Address(address) => {
                    let text = side.texts.entry(*address).or_insert_with(|| {
                        let resolved = self.symbols.resolve(*address, side.log);
                        frame_text(*address, resolved, &side.modules, self.lines)
                    });
                    write!(out, "\t{text}\r\n")?;
                }
                Frame::Text(text) => write!(out, "\t{}\r\n", printable(text))?,
            }
        }
        Ok(())
    }
}

/// A line of a stack, without the tab.
fn frame_text(
    address: u64,
    resolved: Option<Name>,
    modules: &ModuleIndex<'_>,
    lines: bool,
) -> String {
    let Some(Name {
        module,
        symbol: Some(symbol),
        displacement,
        line,
        ..
    }) = resolved
    else {
        let module = modules.at(address).map_or("<no module>", LogModule::name);
        return format!("{}!???+0 : {address:X}", printable(module));
    };
    let mut text = format!(
        "{}!{}+{displacement:X}",
        printable(&module),
        printable(&symbol)
    );
    if let Some((file, line)) = line.filter(|_| lines) {
        text += &format!(" ({}, {line})", printable(&file));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "*- - Start of data for heap @ 1A0000 - -
10 bytes + 20 at 1000 by BackTraceA1
	140001A10

10 bytes + 20 at 1100 by BackTraceA1
1000 bytes + 20 at 2000 by BackTraceB2
	140001B20
";

    const NEW: &str = "// Loaded modules:
// 140000000 20000 C:\\app\\leaky.exe
// 7FF810000000 1000 C:\\app\\ntdll.dll

*- - Start of data for heap @ 1A0000 - -
100 bytes + 20 at 1000 by BackTraceA1
	7FF810000123
	140001A10
	99
	0
	140001A10

100 bytes + 20 at 2000 by BackTraceB2
	app!main+0x12

100 bytes + 20 at 2100 by BackTraceB2
100 bytes + 20 at 2200 by BackTraceB2
";

    struct Table;

    impl Symbols for Table {
        fn resolve(&self, address: u64, _: &Log) -> Option<Name> {
            (address == 0x7ff8_1000_0123).then(|| Name {
                module: "ntdll".into(),
                symbol: Some("RtlAllocateHeap".into()),
                displacement: 0xab,
                line: Some((r"C:\src\heap.c".into(), 12)),
                ..Name::default()
            })
        }

        fn status(&self, module: &LogModule) -> SymbolState {
            match module.name() {
                "ntdll" => SymbolState::Pdb {
                    path: r"C:\symbols\ntdll.pdb".into(),
                    private: false,
                    mismatched: false,
                },
                _ => SymbolState::Missing,
            }
        }
    }

    fn report(old: Option<&str>, new: &str, options: &ReportOptions) -> String {
        let parse = |text: &str| Log::parse(text.as_bytes()).unwrap().0;
        let (old, new) = (old.map(parse), parse(new));
        let diff = match &old {
            Some(old) => Diff::between(old, &new),
            None => Diff::single(&new),
        };
        let mut out = Vec::new();
        write_report(&diff, options, &Table, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The report after the legend.
    fn body(report: &str) -> String {
        let (_, body) = report.split_once("\r\n\r\n\r\n").unwrap();
        assert!(!body.replace("\r\n", "").contains(['\r', '\n']));
        body.replace("\r\n", "\n")
    }

    #[test]
    fn hexadecimal() {
        let text = report(Some(OLD), NEW, &ReportOptions::default());
        let head: Vec<_> = text.split("\r\n").take(6).collect();
        assert_eq!(
            head,
            [
                "// Debug library initialized ...",
                "140000000-14001FFFF DBGHELP: leaky - virtual symbol module",
                "7FF810000000-7FF810000FFF DBGHELP: ntdll - public symbols  ",
                r"        C:\symbols\ntdll.pdb",
                &format!("//{:74}", ""),
                &format!("// {:73}", "Each log entry has the following syntax:"),
            ]
        );
        assert_eq!(
            body(&text),
            "\
+      e0 (   100 -    20)      1 allocs\tBackTraceA1
-       1 (     1 -     2)\tBackTraceA1\tallocations

\tntdll!RtlAllocateHeap+AB (C:\\src\\heap.c, 12)
\tleaky!???+0 : 140001A10
\t<no module>!???+0 : 99

-     d00 (   300 -  1000)      3 allocs\tBackTraceB2
+       2 (     3 -     1)\tBackTraceB2\tallocations

\tapp!main+0x12


Total decrease ==    c20 requested + ffffffffffffffe0 overhead =    c00
"
        );
    }

    #[test]
    fn decimal_without_stacks_or_lines() {
        let options = ReportOptions {
            radix: Radix::Decimal,
            stacks: false,
            lines: false,
        };
        assert_eq!(
            body(&report(Some(OLD), NEW, &options)),
            "\
+     224 (    256 -     32)      1 allocs\tBackTraceA1
-       1 (      1 -      2)\tBackTraceA1\tallocations
-    3328 (    768 -   4096)      3 allocs\tBackTraceB2
+       2 (      3 -      1)\tBackTraceB2\tallocations

Total decrease ==   3104 requested +    -32 overhead =   3072
"
        );
        let options = ReportOptions {
            stacks: true,
            ..options
        };
        assert!(report(None, NEW, &options).contains("\tntdll!RtlAllocateHeap+AB\r\n"));
    }

    #[test]
    fn nothing_changed() {
        let text = report(Some(OLD), OLD, &ReportOptions::default());
        assert!(text.ends_with(
            " \r\n\r\n\r\n\r\nTotal decrease ==      0 requested +      0 overhead =      0\r\n"
        ));
    }

    #[test]
    fn wide_numbers() {
        assert_eq!(delta(0x1234_5678, Radix::Hex), "+12345678");
        assert_eq!(delta(12_345_678, Radix::Decimal), "+ 12345678");
        assert_eq!(
            delta(-i128::from(u64::MAX), Radix::Hex),
            "-ffffffffffffffff"
        );
        assert_eq!(delta(0, Radix::Hex), "+       0");
        let text = format!(
            "{0} bytes + {0} at 1 by BackTrace1\n{0} bytes + {0} at 1 by BackTrace2\n",
            "FFFFFFFFFFFFFFFF"
        );
        for radix in [Radix::Hex, Radix::Decimal] {
            let options = ReportOptions {
                radix,
                ..ReportOptions::default()
            };
            report(None, &text, &options);
            report(Some(&text), OLD, &options);
        }
    }

    #[test]
    fn at_most_32_frames() {
        let stack: String = (1..=40).map(|frame| format!("\t{frame:X}\n")).collect();
        let text = format!("1 bytes + 1 at 1 by BackTrace1\n{stack}");
        let text = report(None, &text, &ReportOptions::default());
        assert_eq!(text.matches("<no module>").count(), 32);
        assert!(text.contains("<no module>!???+0 : 20\r\n\r\n"));
    }
}
