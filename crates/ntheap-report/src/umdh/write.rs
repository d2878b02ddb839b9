//! Writes a log.

use ntheap::printable::is_unprintable;
use std::io::{self, Write};

use rustc_hash::FxHashSet;

use super::Error;
use super::model::{Aggregate, Allocation, Frame, Header, Log, LogModule, Trace, TraceId};

/// Writes a log piece by piece, so that the allocations need not be in memory.
///
/// Lines end with CR LF, text is UTF-8. Control characters in names (which no real module has)
/// become `?`, as a line break in them would be read as a line of the log.
///
/// ```
/// use ntheap_report::{umdh::Allocation, umdh::Frame, umdh::Header, umdh::LogWriter, umdh::TraceId};
///
/// let mut log = LogWriter::new(Vec::new(), &Header::default(), &[])?;
/// log.start_heap(0x1a_0000)?;
/// let trace = TraceId::new(0xa1);
/// let allocation = Allocation { address: 0x1000, requested: 0x64, overhead: 0x2c, trace };
/// let stack = vec![Frame::Address(0x1_4000_1234)].into();
/// log.allocation(&allocation, |_| Some(&stack))?;
/// log.end_heap()?;
/// let text = String::from_utf8(log.finish()?).unwrap();
/// assert!(text.contains("\r\n64 bytes + 2C at 1000 by BackTraceA1\r\n\t140001234\r\n"));
/// # Ok::<(), ntheap_report::umdh::Error>(())
/// ```
#[derive(Debug)]
pub struct LogWriter<W: Write> {
    out: W,
    heap: Option<u64>,
    /// Ids whose stack was written.
    dumped: FxHashSet<TraceId>,
    /// The last line written was an empty one.
    after_blank: bool,
}

impl<W: Write> LogWriter<W> {
    /// Writes the header and the list of modules. `out` should be buffered.
    ///
    /// # Errors
    /// [`Error::Io`] if `out` fails.
    pub fn new(mut out: W, header: &Header, modules: &[LogModule]) -> Result<Self, Error> {
        // umdh's header also tells how it opened the process; a log from a dump has nothing to
        // tell there.
        write!(
            out,
            "// \r\n// UMDH: version {}: Logtime {} - Machine={} - PID={}\r\n// \r\n\r\n",
            printable(&header.version),
            printable(&header.log_time),
            printable(&header.machine),
            header.process_id
        )?;
        write!(
            out,
            "// OS version {} \r\n// \r\n\
             // Preparing to dump heap allocations.\r\n\
             // Only allocations for which the heap manager collected a stack are dumped. \
             Allocations whithout stack are ignored.\r\n\
             // The stack trace for an allocation is dumped as a list of addresses. \
             They will be resolved to function names at compare time.\r\n\
             // \r\n\
             // Loaded modules: \r\n//     Base Size Module\r\n",
            printable(&header.os_version)
        )?;
        for module in modules {
            let path = printable(&module.path);
            write!(
                out,
                "//    {:>16X} {:>8X} {path}\r\n",
                module.base, module.size
            )?;
        }
        out.write_all(
            b"//\r\n// Process modules enumerated.\r\n// Debug library initialized ...\r\n\r\n",
        )?;
        Ok(Self {
            out,
            heap: None,
            dumped: FxHashSet::default(),
            after_blank: true,
        })
    }

    /// Starts the heap at `address`.
    ///
    /// # Errors
    /// [`Error::HeapNotEnded`] if another heap is open, [`Error::Io`] if the output fails.
    pub fn start_heap(&mut self, address: u64) -> Result<(), Error> {
        self.expect_no_heap()?;
        self.heap = Some(address);
        write!(
            self.out,
            "*- - - - - - - - - - Start of data for heap @ {address:X} - - - - - - - - - -\r\n\r\n\
             REQUESTED bytes + OVERHEAD at ADDRESS by BackTraceID\r\n     \
             STACK if not already dumped.\r\n\r\n\
             *- - - - - - - - - - Heap {address:X} Hogs - - - - - - - - - -\r\n\r\n"
        )?;
        self.after_blank = true;
        Ok(())
    }

    /// Writes an allocation of the open heap. `stack` is asked for the stack the first time an id
    /// appears.
    ///
    /// # Errors
    /// [`Error::OutsideHeap`] if no heap is open, [`Error::Io`] if the output fails.
    pub fn allocation<'t>(
        &mut self,
        allocation: &Allocation,
        stack: impl FnOnce(TraceId) -> Option<&'t Trace>,
    ) -> Result<(), Error> {
        if self.heap.is_none() {
            return Err(Error::OutsideHeap {
                address: allocation.address,
            });
        }
        self.entry(allocation.trace, stack, |out| {
            write_allocation(out, allocation)
        })?;
        Ok(())
    }

    /// A line of the old form with sums.
    fn aggregate(&mut self, sum: &Aggregate, stack: Option<&Trace>) -> io::Result<()> {
        self.entry(
            sum.trace,
            |_| stack,
            |out| {
                let Aggregate {
                    bytes,
                    count,
                    each,
                    trace,
                } = sum;
                write!(
                    out,
                    "{bytes:08X} bytes in 0x{count:X} allocations (@ 0x{each:08X}) \
                     by: BackTrace{trace}\r\n"
                )
            },
        )
    }

    /// Writes a line and, if its stack is new, the stack. umdh puts an empty line before and after
    /// a line with a stack, but only one between two of them.
    fn entry<'t>(
        &mut self,
        id: TraceId,
        stack: impl FnOnce(TraceId) -> Option<&'t Trace>,
        line: impl FnOnce(&mut W) -> io::Result<()>,
    ) -> io::Result<()> {
        let stack = if self.dumped.insert(id) {
            stack(id)
        } else {
            None
        };
        if stack.is_some() && !self.after_blank {
            self.out.write_all(b"\r\n")?;
        }
        line(&mut self.out)?;
        self.after_blank = false;
        if let Some(trace) = stack {
            write_frames(&mut self.out, &trace.frames)?;
            for alias in &trace.aliases {
                self.out.write_all(b"\tAlias\r\n")?;
                write_frames(&mut self.out, alias)?;
            }
            self.out.write_all(b"\r\n")?;
            self.after_blank = true;
        }
        Ok(())
    }

    /// Ends the open heap, if any.
    ///
    /// # Errors
    /// [`Error::Io`] if the output fails.
    pub fn end_heap(&mut self) -> Result<(), Error> {
        if let Some(address) = self.heap.take() {
            write!(
                self.out,
                "\r\n*- - - - - - - - - - End of data for heap @ {address:X} \
                 - - - - - - - - - -\r\n\r\n"
            )?;
            self.after_blank = true;
        }
        Ok(())
    }

    /// Ends the log and hands back the output, flushed.
    ///
    /// # Errors
    /// [`Error::HeapNotEnded`] if a heap is open, [`Error::Io`] if the output fails.
    pub fn finish(mut self) -> Result<W, Error> {
        self.expect_no_heap()?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn expect_no_heap(&self) -> Result<(), Error> {
        match self.heap {
            Some(heap) => Err(Error::HeapNotEnded { heap }),
            None => Ok(()),
        }
    }
}

impl Log {
    /// Writes the log as umdh does: raw, each stack at the first use of its id. `out` should be
    /// buffered.
    ///
    /// Within a heap, allocations listed one by one come before sums. Stacks that nothing names are
    /// not written. Reading the result gives this log again.
    ///
    /// # Errors
    /// [`Error::Io`] if `out` fails.
    pub fn write<W: Write>(&self, out: W) -> Result<W, Error> {
        let mut writer = LogWriter::new(out, &self.header, &self.modules)?;
        for heap in &self.heaps {
            if let Some(address) = heap.address {
                writer.start_heap(address)?;
            }
            for allocation in &heap.allocations {
                // Not `allocation()`: the lines may stand outside a heap, as they did in the log
                // that was read.
                writer.entry(
                    allocation.trace,
                    |id| self.traces.get(&id),
                    |out| write_allocation(out, allocation),
                )?;
            }
            for aggregate in &heap.aggregates {
                writer.aggregate(aggregate, self.traces.get(&aggregate.trace))?;
            }
            writer.end_heap()?;
        }
        writer.finish()
    }
}

fn write_allocation(out: &mut impl Write, allocation: &Allocation) -> io::Result<()> {
    let Allocation {
        address,
        requested,
        overhead,
        trace,
    } = allocation;
    write!(
        out,
        "{requested:X} bytes + {overhead:X} at {address:X} by BackTrace{trace}\r\n"
    )
}

fn write_frames(out: &mut impl Write, frames: &[Frame]) -> io::Result<()> {
    for frame in frames {
        match frame {
            Frame::Address(address) => write!(out, "\t{address:X}\r\n")?,
            Frame::Text(text) => write!(out, "\t{}\r\n", printable(text))?,
        }
    }
    Ok(())
}

/// The text with what does not show itself replaced: an escape would read as a part of a path.
pub(super) fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains(is_unprintable) {
        text.replace(is_unprintable, "?").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umdh::{Diagnostics, LogHeap};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn allocation(address: u64, trace: u64) -> Allocation {
        Allocation {
            address,
            requested: 0x64,
            overhead: 0x2c,
            trace: TraceId::new(trace),
        }
    }

    fn small_log() -> Log {
        let stack = |addresses: &[u64]| -> Trace {
            addresses
                .iter()
                .map(|&a| Frame::Address(a))
                .collect::<Vec<_>>()
                .into()
        };
        Log {
            header: Header {
                version: "1.2.3".into(),
                log_time: "2024-05-06 07:08".into(),
                machine: "BOX".into(),
                process_id: 42,
                os_version: "10.0".into(),
            },
            modules: vec![LogModule {
                base: 0x1_4000_0000,
                size: 0x2_0000,
                path: r"C:\app\leaky.exe".into(),
            }],
            heaps: vec![
                LogHeap {
                    address: Some(0x1a_0000),
                    allocations: vec![
                        allocation(0x1000, 0xa1),
                        allocation(0x1100, 0xa1),
                        allocation(0x1200, 0xb2),
                        allocation(0x1300, 0xc3),
                    ],
                    aggregates: vec![],
                },
                LogHeap {
                    address: Some(0x2b_0000),
                    ..LogHeap::default()
                },
            ],
            traces: [
                (
                    TraceId::new(0xa1),
                    stack(&[0x7ff8_1234_1001, 0x1_4000_1234]),
                ),
                (TraceId::new(0xb2), stack(&[0x1_4000_1500])),
                (TraceId::new(0xc3), stack(&[0x1_4000_2000])),
            ]
            .into(),
        }
    }

    #[test]
    fn the_text_of_a_log() {
        let text = String::from_utf8(small_log().write(Vec::new()).unwrap()).unwrap();
        let expected = "\
// \r
// UMDH: version 1.2.3: Logtime 2024-05-06 07:08 - Machine=BOX - PID=42\r
// \r
\r
// OS version 10.0 \r
// \r
// Preparing to dump heap allocations.\r
// Only allocations for which the heap manager collected a stack are dumped. Allocations whithout stack are ignored.\r
// The stack trace for an allocation is dumped as a list of addresses. They will be resolved to function names at compare time.\r
// \r
// Loaded modules: \r
//     Base Size Module\r
//           140000000    20000 C:\\app\\leaky.exe\r
//\r
// Process modules enumerated.\r
// Debug library initialized ...\r
\r
*- - - - - - - - - - Start of data for heap @ 1A0000 - - - - - - - - - -\r
\r
REQUESTED bytes + OVERHEAD at ADDRESS by BackTraceID\r
     STACK if not already dumped.\r
\r
*- - - - - - - - - - Heap 1A0000 Hogs - - - - - - - - - -\r
\r
64 bytes + 2C at 1000 by BackTraceA1\r
\t7FF812341001\r
\t140001234\r
\r
64 bytes + 2C at 1100 by BackTraceA1\r
\r
64 bytes + 2C at 1200 by BackTraceB2\r
\t140001500\r
\r
64 bytes + 2C at 1300 by BackTraceC3\r
\t140002000\r
\r
\r
*- - - - - - - - - - End of data for heap @ 1A0000 - - - - - - - - - -\r
\r
*- - - - - - - - - - Start of data for heap @ 2B0000 - - - - - - - - - -\r
\r
REQUESTED bytes + OVERHEAD at ADDRESS by BackTraceID\r
     STACK if not already dumped.\r
\r
*- - - - - - - - - - Heap 2B0000 Hogs - - - - - - - - - -\r
\r
\r
*- - - - - - - - - - End of data for heap @ 2B0000 - - - - - - - - - -\r
\r
";
        assert_eq!(text, expected);
    }

    #[test]
    fn names_cannot_break_lines() {
        let mut log = small_log();
        log.modules[0].path = "C:\\a\r\n*- - Start of data for heap @ 10 - -".into();
        let (read, _) = Log::parse(&log.write(Vec::new()).unwrap()).unwrap();
        assert_eq!(read.heaps, log.heaps);
        assert_eq!(
            read.modules[0].path,
            "C:\\a??*- - Start of data for heap @ 10 - -"
        );
    }

    #[test]
    fn heaps_must_be_ended() {
        let writer = || LogWriter::new(Vec::new(), &Header::default(), &[]).unwrap();
        let outside = writer().allocation(&allocation(0x1000, 1), |_| None);
        assert!(matches!(
            outside,
            Err(Error::OutsideHeap { address: 0x1000 })
        ));
        let mut open = writer();
        open.start_heap(0x10).unwrap();
        assert!(matches!(
            open.start_heap(0x20),
            Err(Error::HeapNotEnded { heap: 0x10 })
        ));
        assert!(matches!(
            open.finish(),
            Err(Error::HeapNotEnded { heap: 0x10 })
        ));
    }

    /// A word or several, as they appear in names.
    fn name() -> impl Strategy<Value = String> {
        "([A-Za-z0-9_.:\\\\ü]{1,8}( [A-Za-z0-9_.]{1,8}){0,2})?"
    }

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let frame = prop_oneof![
            4 => any::<u64>().prop_map(Frame::Address),
            1 => "[a-z]{1,8}![A-Za-z:~<>]{1,12}\\+0x[0-9A-F]{1,8}( \\([a-z:\\\\ ]{0,8}c, [0-9]{1,4}\\))?"
                .prop_map(|text| Frame::Text(text.into())),
        ];
        vec(frame, 1..6)
    }

    prop_compose! {
        fn logs()(
            names in vec(name(), 4),
            process_id in any::<u32>(),
            modules in vec((any::<u64>(), any::<u64>(), name()), 0..4),
            stacks in vec((any::<u64>(), frames(), vec(frames(), 0..2)), 1..6),
            heaps in vec(
                (
                    any::<u64>(),
                    vec((any::<[u64; 3]>(), any::<prop::sample::Index>()), 0..8),
                    vec((any::<[u64; 3]>(), any::<prop::sample::Index>()), 0..2),
                ),
                0..4,
            ),
        ) -> Log {
            let id = |index: &prop::sample::Index| TraceId::new(index.get(&stacks).0);
            let heaps: Vec<_> = heaps
                .iter()
                .map(|(address, allocations, aggregates)| LogHeap {
                    address: Some(*address),
                    allocations: allocations
                        .iter()
                        .map(|&([address, requested, overhead], ref index)| Allocation {
                            address, requested, overhead, trace: id(index),
                        })
                        .collect(),
                    aggregates: aggregates
                        .iter()
                        .map(|&([bytes, count, each], ref index)| Aggregate {
                            bytes, count, each, trace: id(index),
                        })
                        .collect(),
                })
                .collect();
            let used = |id: TraceId| {
                heaps.iter().any(|heap| {
                    heap.allocations.iter().any(|a| a.trace == id)
                        || heap.aggregates.iter().any(|a| a.trace == id)
                })
            };
            let traces = stacks
                .iter()
                .map(|(id, frames, aliases)| {
                    let trace = Trace { frames: frames.clone(), aliases: aliases.clone() };
                    (TraceId::new(*id), trace)
                })
                .filter(|&(id, _)| used(id))
                .collect();
            Log {
                header: Header {
                    version: names[0].clone(),
                    log_time: names[1].clone(),
                    machine: names[2].clone(),
                    os_version: names[3].clone(),
                    process_id,
                },
                modules: modules
                    .into_iter()
                    .map(|(base, size, path)| LogModule { base, size, path })
                    .collect(),
                heaps,
                traces,
            }
        }
    }

    proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same(log in logs()) {
            let text = log.write(Vec::new()).unwrap();
            let (read, diagnostics) = Log::parse(&text).unwrap();
            prop_assert_eq!(&read, &log);
            let lines = diagnostics.lines;
            prop_assert_eq!(diagnostics, Diagnostics { lines, ..Diagnostics::default() });
            prop_assert_eq!(read.write(Vec::new()).unwrap(), text);
        }

        #[test]
        fn no_text_panics(log in logs(), cuts in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
            let mut text = log.write(Vec::new()).unwrap();
            for (at, byte) in &cuts {
                let at = at.index(text.len());
                text[at] = *byte;
            }
            if let Some((at, _)) = cuts.first() {
                text.truncate(at.index(text.len()));
            }
            let _ = Log::parse(&text);
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Log::parse(&bytes);
        }
    }
}
