//! Reads a log.

use super::Error;
use super::lines::{Lines, hex};
use super::model::{Aggregate, Allocation, Frame, Header, Log, LogHeap, LogModule, Trace, TraceId};

/// How many skipped lines [`Diagnostics`] shows.
const SHOWN_LINES: usize = 16;
/// How many characters of a skipped line [`Diagnostics`] shows.
const SHOWN_CHARS: usize = 200;

/// What in a log could not be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// Lines in the log.
    pub lines: u64,
    /// Lines that are nothing umdh writes, or stand where umdh does not write them.
    pub skipped_lines: u64,
    /// The first skipped lines.
    pub skipped: Vec<SkippedLine>,
    /// Stacks that the log shows again, different from before. The first one is used.
    pub conflicting_stacks: u64,
    /// Trace ids that allocations name and whose stack the log never shows.
    pub traces_without_stack: u64,
    /// Heaps whose data has no end: the log was cut off.
    pub unclosed_heaps: u64,
}

/// A line that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    /// Number of the line, from 1.
    pub number: u64,
    /// The line, cut to 200 characters.
    pub text: String,
}

impl Log {
    /// Reads a log in any of the forms umdh wrote over time, in ASCII, UTF-8 or UTF-16 (the latter
    /// with a byte order mark).
    ///
    /// Lines that make no sense are skipped and counted in the [`Diagnostics`].
    ///
    /// # Errors
    /// [`Error::NotALog`] if no line at all is one that umdh writes.
    pub fn parse(text: &[u8]) -> Result<(Self, Diagnostics), Error> {
        let mut parser = Parser::default();
        for line in Lines::new(text) {
            parser.line(&line);
        }
        parser.finish()
    }
}

/// Where the parser is.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Between things.
    #[default]
    Outside,
    /// Among the module lines of the header.
    Modules,
    /// After an allocation: stack lines may follow.
    Stack(TraceId),
    /// After a line of the symbol handler, which an indented path may follow.
    SymbolPath,
}

#[derive(Debug, Default)]
struct Parser {
    log: Log,
    diagnostics: Diagnostics,
    state: State,
    /// The heap being read is the last one of `log.heaps`.
    in_heap: bool,
    /// Stack being read.
    stack: Trace,
    /// The frames being read are those of an alias.
    in_alias: bool,
    /// Something that only umdh writes was seen.
    recognised: bool,
    first_line: Option<String>,
}

impl Parser {
    fn line(&mut self, line: &str) {
        self.diagnostics.lines += 1;
        let text = line.trim();
        if text.is_empty() {
            self.end_stack();
            return;
        }
        if self.first_line.is_none() {
            self.first_line = Some(shortened(text));
        }
        if let Some(comment) = text.strip_prefix("//") {
            self.end_stack_keeping_modules();
            self.comment(comment);
        } else if let Some(marker) = text.strip_prefix("*-") {
            self.end_stack();
            if !self.marker(marker) {
                self.skip(text);
            }
        } else if let Some(allocation) = parse_allocation(text) {
            self.recognised = true;
            self.end_stack();
            self.heap().allocations.push(allocation);
            self.state = State::Stack(allocation.trace);
        } else if let Some(aggregate) = parse_aggregate(text) {
            self.recognised = true;
            self.end_stack();
            self.heap().aggregates.push(aggregate);
            self.state = State::Stack(aggregate.trace);
        } else if matches!(self.state, State::Stack(_)) {
            if !self.stack_line(text) {
                self.skip(text);
            }
        } else if text.starts_with("DBGHELP:") || text.contains(" DBGHELP: ") {
            self.state = State::SymbolPath;
        } else if self.state == State::SymbolPath && line.starts_with([' ', '\t']) {
            self.state = State::Outside;
        } else if !is_legend(text) {
            self.skip(text);
        }
    }

    fn finish(mut self) -> Result<(Log, Diagnostics), Error> {
        self.end_stack();
        if self.in_heap
            && self
                .log
                .heaps
                .last()
                .is_some_and(|heap| heap.address.is_some())
        {
            self.diagnostics.unclosed_heaps += 1;
        }
        if !self.recognised {
            return Err(Error::NotALog {
                lines: self.diagnostics.lines,
                first: self.first_line.unwrap_or_default(),
            });
        }
        let mut without: Vec<_> = self
            .log
            .heaps
            .iter()
            .flat_map(|heap| {
                let single = heap.allocations.iter().map(|allocation| allocation.trace);
                single.chain(heap.aggregates.iter().map(|aggregate| aggregate.trace))
            })
            .filter(|trace| !self.log.traces.contains_key(trace))
            .collect();
        without.sort_unstable();
        without.dedup();
        self.diagnostics.traces_without_stack = without.len() as u64;
        Ok((self.log, self.diagnostics))
    }

    /// The heap that allocations go to. Lines outside a heap get one without an address.
    fn heap(&mut self) -> &mut LogHeap {
        if !self.in_heap || self.log.heaps.is_empty() {
            self.log.heaps.push(LogHeap::default());
            self.in_heap = true;
        }
        let last = self.log.heaps.len() - 1;
        &mut self.log.heaps[last]
    }

    /// A line that starts with `//`, without these. Unknown comments are fine.
    fn comment(&mut self, comment: &str) {
        let text = comment.trim();
        if self.state == State::Modules {
            if let Some(module) = parse_module(text) {
                self.recognised = true;
                self.log.modules.push(module);
                return;
            }
            if !text.starts_with("Base Size") {
                self.state = State::Outside;
            }
        }
        let header = &mut self.log.header;
        if let Some(title) = text.strip_prefix("UMDH: version ") {
            self.recognised = true;
            parse_title(title, header);
        } else if let Some(version) = text.strip_prefix("OS version ") {
            header.os_version = version.trim().to_owned();
        } else if text.starts_with("Loaded modules") {
            self.state = State::Modules;
        }
    }

    /// A line that starts with `*-`, without these.
    fn marker(&mut self, marker: &str) -> bool {
        let text = marker.trim_matches([' ', '-']);
        if let Some(heap) = text.strip_prefix("Start of data for heap @ ") {
            let Some(address) = hex(heap.trim()) else {
                return false;
            };
            self.recognised = true;
            if self.in_heap
                && self
                    .log
                    .heaps
                    .last()
                    .is_some_and(|heap| heap.address.is_some())
            {
                self.diagnostics.unclosed_heaps += 1;
            }
            self.log.heaps.push(LogHeap {
                address: Some(address),
                ..LogHeap::default()
            });
            self.in_heap = true;
            return true;
        }
        if text.starts_with("End of data for heap @ ") {
            self.recognised = true;
            self.in_heap = false;
            return true;
        }
        text.starts_with("Heap ") && text.ends_with(" Hogs")
    }

    /// A line below an allocation.
    fn stack_line(&mut self, text: &str) -> bool {
        if text == "Alias" {
            self.in_alias = true;
            self.stack.aliases.push(Vec::new());
            return true;
        }
        let frame = if let Some(address) = hex(text) {
            Frame::Address(address)
        } else if text.contains('!') {
            Frame::Text(text.into())
        } else {
            return false;
        };
        match self.stack.aliases.last_mut() {
            Some(alias) if self.in_alias => alias.push(frame),
            _ => self.stack.frames.push(frame),
        }
        true
    }

    /// Ends a stack without leaving the list of modules, whose lines are comments themselves.
    fn end_stack_keeping_modules(&mut self) {
        if self.state != State::Modules {
            self.end_stack();
        }
    }

    /// Whatever was being read ends here; a stack that was read is kept.
    fn end_stack(&mut self) {
        let state = std::mem::take(&mut self.state);
        let stack = std::mem::take(&mut self.stack);
        self.in_alias = false;
        let State::Stack(id) = state else { return };
        if stack == Trace::default() {
            // Not the first use of the id: the stack was or will be shown elsewhere.
            return;
        }
        match self.log.traces.get(&id) {
            None => {
                self.log.traces.insert(id, stack);
            }
            Some(known) if *known == stack => {}
            Some(_) => self.diagnostics.conflicting_stacks += 1,
        }
    }

    fn skip(&mut self, text: &str) {
        self.diagnostics.skipped_lines += 1;
        if self.diagnostics.skipped.len() < SHOWN_LINES {
            self.diagnostics.skipped.push(SkippedLine {
                number: self.diagnostics.lines,
                text: shortened(text),
            });
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// The two lines that explain the allocation lines.
fn is_legend(text: &str) -> bool {
    text == "REQUESTED bytes + OVERHEAD at ADDRESS by BackTraceID"
        || text == "STACK if not already dumped."
}

/// `VERSION: Logtime TIME - Machine=NAME - PID=NUMBER`
fn parse_title(title: &str, header: &mut Header) {
    let Some((version, rest)) = title.split_once(": Logtime ") else {
        header.version = title.trim().to_owned();
        return;
    };
    header.version = version.trim().to_owned();
    let Some((time, rest)) = rest.split_once(" - Machine=") else {
        header.log_time = rest.trim().to_owned();
        return;
    };
    header.log_time = time.trim().to_owned();
    let (machine, process_id) = rest.rsplit_once(" - PID=").unwrap_or((rest, ""));
    header.machine = machine.trim().to_owned();
    header.process_id = process_id.trim().parse().unwrap_or(0);
}

/// `BASE SIZE PATH`, where the path may hold blanks.
fn parse_module(text: &str) -> Option<LogModule> {
    let (base, rest) = text.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (size, path) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Some(LogModule {
        base: hex(base)?,
        size: hex(size)?,
        path: path.trim().to_owned(),
    })
}

/// `REQUESTED bytes + OVERHEAD at ADDRESS by BackTraceID`
fn parse_allocation(text: &str) -> Option<Allocation> {
    let mut words = text.split_ascii_whitespace();
    let requested = hex(words.next()?)?;
    expect(&mut words, "bytes")?;
    expect(&mut words, "+")?;
    let overhead = hex(words.next()?)?;
    expect(&mut words, "at")?;
    let address = hex(words.next()?)?;
    expect(&mut words, "by")?;
    let trace = parse_trace(words.next()?)?;
    words.next().is_none().then_some(Allocation {
        address,
        requested,
        overhead,
        trace,
    })
}

/// `BYTES bytes in COUNT allocations (@ EACH) by: BackTraceID`
fn parse_aggregate(text: &str) -> Option<Aggregate> {
    let mut words = text.split_ascii_whitespace();
    let bytes = hex(words.next()?)?;
    expect(&mut words, "bytes")?;
    expect(&mut words, "in")?;
    let count = hex(words.next()?)?;
    expect(&mut words, "allocations")?;
    expect(&mut words, "(@")?;
    let each = hex(words.next()?.strip_suffix(')')?)?;
    expect(&mut words, "by:")?;
    let trace = parse_trace(words.next()?)?;
    words.next().is_none().then_some(Aggregate {
        bytes,
        count,
        each,
        trace,
    })
}

fn expect<'a>(words: &mut impl Iterator<Item = &'a str>, word: &str) -> Option<()> {
    (words.next()? == word).then_some(())
}

fn parse_trace(word: &str) -> Option<TraceId> {
    TraceId::parse(word.strip_prefix("BackTrace")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Log, Diagnostics) {
        Log::parse(text.as_bytes()).unwrap()
    }

    fn addresses(addresses: &[u64]) -> Vec<Frame> {
        addresses
            .iter()
            .map(|&address| Frame::Address(address))
            .collect()
    }

    const LOG: &str = "\
// \r
// UMDH: version 10.0.1.2: Logtime 2024-05-06 07:08 - Machine=A - B - PID=42\r
// \r
\r
// Debug privilege has been enabled.\r
// OS version 10.0 \r
// Umdh OS version 6.1\r
// Loaded modules: \r
//     Base Size Module\r
//           140000000    20000 C:\\my app\\leaky.exe\r
//        7FF812340000   1F6000 C:\\app\\ntdll.dll\r
//\r
// Process modules enumerated.\r
// Debug library initialized ...\r
DBGHELP: ntdll - public symbols  \r
         d:\\symbols\\ntdll.pdb\r
\r
*- - - - - - - - - - Start of data for heap @ 1A0000 - - - - - - - - - -\r
\r
REQUESTED bytes + OVERHEAD at ADDRESS by BackTraceID\r
     STACK if not already dumped.\r
\r
*- - - - - - - - - - Heap 1A0000 Hogs - - - - - - - - - -\r
\r
64 bytes + 2C at 1000 by BackTraceA1\r
64 bytes + 2C at 1100 by BackTraceA1\r
\t7FF812341001\r
\t140001234\r
\r
5 bytes + 2B at 1200 by BackTraceE5\r
\r
\r
*- - - - - - - - - - End of data for heap @ 1A0000 - - - - - - - - - -\r
\r
*- - - - - - - - - - Start of data for heap @ 2B0000 - - - - - - - - - -\r
\r
0 bytes + 40 at 2000 by BackTraceE5\r
\t140004000\r
\tAlias\r
\t140005000\r
\t140006000\r
\r
*- - - - - - - - - - End of data for heap @ 2B0000 - - - - - - - - - -\r
\r
";

    #[test]
    fn a_log_of_two_heaps() {
        let (log, diagnostics) = parse(LOG);
        assert_eq!(log.header.version, "10.0.1.2");
        assert_eq!(log.header.log_time, "2024-05-06 07:08");
        assert_eq!(log.header.machine, "A - B");
        assert_eq!(log.header.process_id, 42);
        assert_eq!(log.header.os_version, "10.0");
        assert_eq!(log.modules.len(), 2);
        assert_eq!(log.modules[0].path, r"C:\my app\leaky.exe");
        assert_eq!(
            (log.modules[1].base, log.modules[1].size),
            (0x7ff8_1234_0000, 0x1f_6000)
        );
        let heaps: Vec<_> = log
            .heaps
            .iter()
            .map(|h| (h.address, h.allocations.len()))
            .collect();
        assert_eq!(heaps, [(Some(0x1a_0000), 3), (Some(0x2b_0000), 1)]);
        let first = Allocation {
            address: 0x1000,
            requested: 0x64,
            overhead: 0x2c,
            trace: TraceId::new(0xa1),
        };
        assert_eq!(log.heaps[0].allocations[0], first);
        assert_eq!(
            log.traces[&TraceId::new(0xa1)].frames,
            addresses(&[0x7ff8_1234_1001, 0x1_4000_1234])
        );
        let alias = &log.traces[&TraceId::new(0xe5)];
        assert_eq!(alias.frames, addresses(&[0x1_4000_4000]));
        assert_eq!(alias.aliases, [addresses(&[0x1_4000_5000, 0x1_4000_6000])]);
        let lines = LOG.lines().count() as u64;
        assert_eq!(
            diagnostics,
            Diagnostics {
                lines,
                ..Diagnostics::default()
            }
        );
    }

    #[test]
    fn encodings_do_not_matter() {
        let units = || "\u{feff}".encode_utf16().chain(LOG.encode_utf16());
        let expected = parse(LOG);
        let le: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Log::parse(&le).unwrap(), expected);
        let be: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        assert_eq!(Log::parse(&be).unwrap(), expected);
        assert_eq!(parse(&LOG.replace('\r', "")), expected);
    }

    #[test]
    fn resolved_logs() {
        let (log, diagnostics) = parse(
            "00005320 bytes in 0x14 allocations (@ 0x00000428) by: BackTrace00B53\n\
             ntdll!RtlDebugAllocateHeap+0x000000FD\n\
             \tMyApp!main+2C (c:\\my app\\main.c, 12)\n\
             \x20 00007ff8`12341001\n\
             \n\
             10 bytes + 20 at 1000 by BackTraceA1\n",
        );
        assert_eq!(log.heaps.len(), 1);
        let id = TraceId::parse("00B53").unwrap();
        assert_eq!(
            log.heaps[0].aggregates,
            [Aggregate {
                bytes: 0x5320,
                count: 0x14,
                each: 0x428,
                trace: id
            }]
        );
        assert_eq!(log.heaps[0].allocations.len(), 1);
        assert_eq!(
            log.traces[&id].frames,
            [
                Frame::Text("ntdll!RtlDebugAllocateHeap+0x000000FD".into()),
                Frame::Text("MyApp!main+2C (c:\\my app\\main.c, 12)".into()),
                Frame::Address(0x7ff8_1234_1001),
            ]
        );
        assert_eq!(diagnostics.traces_without_stack, 1);
        assert_eq!(
            (diagnostics.skipped_lines, diagnostics.unclosed_heaps),
            (0, 0)
        );
    }

    #[test]
    fn garbage_is_counted() {
        let long = "x".repeat(1000);
        let (log, diagnostics) = parse(&format!(
            "hello\n*- - Start of data for heap @ XYZ - -\n\
             *- - Start of data for heap @ 10 - -\n\
             10 bytes + 20 at 1000 by BackTraceA1\n\t123\n\tnonsense\n\t456\n\n\t789\n\
             10 bytes + 20 at by BackTraceA1\n10 bytes + 20 at 1 by BackTraceA1 more\n\
             123456789ABCDEF01 bytes + 20 at 1 by BackTraceA1\n{long}\n\
             *- - Start of data for heap @ 20 - -\n\
             10 bytes + 20 at 1000 by BackTraceA1\n\t999\n"
        ));
        assert_eq!(log.heaps.len(), 2);
        assert_eq!(
            log.traces[&TraceId::new(0xa1)].frames,
            addresses(&[0x123, 0x456])
        );
        assert_eq!(diagnostics.skipped_lines, 8);
        assert_eq!(diagnostics.conflicting_stacks, 1);
        assert_eq!(diagnostics.unclosed_heaps, 2);
        let numbers: Vec<_> = diagnostics.skipped.iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 2, 6, 9, 10, 11, 12, 13]);
        assert_eq!(diagnostics.skipped[7].text.len(), 200);
        let many = format!("{LOG}{}", "?\n".repeat(1000));
        let (_, diagnostics) = parse(&many);
        assert_eq!(
            (diagnostics.skipped_lines, diagnostics.skipped.len()),
            (1000, 16)
        );
    }

    #[test]
    fn other_files_are_refused() {
        for text in [
            &b""[..],
            b"\n\n",
            b"// a C++ file\nint main() {}\n",
            b"\xff\xfe",
            b"\0\0\0",
        ] {
            assert!(
                matches!(Log::parse(text), Err(Error::NotALog { .. })),
                "{text:?}"
            );
        }
        let error = Log::parse(b"\nMDMP\x93\xa7").unwrap_err().to_string();
        assert!(
            error.starts_with("not an umdh log: none of its 2 lines"),
            "{error}"
        );
    }
}
