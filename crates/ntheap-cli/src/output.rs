//! Standard output, and the library's reports on it.

use std::{
    env, fmt,
    fs::File,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use ntheap::printable::{Lines, is_unprintable};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::{
    failure::{Failure, InputLost},
    privacy,
};

/// Buffered standard output, or the pager's input.
pub(crate) struct Output {
    writer: BufWriter<Checked<Target>>,
    coloured: bool,
}

/// Where the output goes.
enum Target {
    Standard(StdoutLock<'static>),
    /// The pager, until its input is closed.
    Pager(Option<ChildStdin>, Child),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Standard(output) => output.write(bytes),
            Target::Pager(Some(input), _) => input.write(bytes),
            Target::Pager(None, _) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Standard(output) => output.flush(),
            Target::Pager(Some(input), _) => input.flush(),
            Target::Pager(None, _) => Ok(()),
        }
    }
}

/// The reader of a pager has time: the program ends when he does.
impl Drop for Target {
    fn drop(&mut self) {
        if let Target::Pager(input, child) = self {
            drop(input.take());
            let _ = child.wait();
        }
    }
}

/// Starts the pager that the environment names, as git does.
fn start_pager() -> Option<Target> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty());
    let pager = named("NTHEAP_PAGER").or_else(|| named("PAGER"));
    let pager = pager.unwrap_or_else(|| if cfg!(windows) { "more" } else { "less" }.into());
    let (shell, option) = if cfg!(windows) {
        ("cmd", "/C")
    } else {
        ("sh", "-c")
    };
    let mut command = Command::new(shell);
    command.arg(option).arg(pager).stdin(Stdio::piped());
    // Colours, and no waiting where everything fits.
    if env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    let mut child = command.spawn().ok()?;
    Some(Target::Pager(child.stdin.take(), child))
}

impl Output {
    pub(crate) fn new(paginate: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let pager = (paginate && is_terminal).then(start_pager).flatten();
        let target = pager.unwrap_or_else(|| Target::Standard(io::stdout().lock()));
        Output {
            writer: BufWriter::with_capacity(1 << 16, Checked(target)),
            coloured: is_terminal && console::colors_enabled(),
        }
    }

    /// As [`Output::text`], with the lines that say what leaks in colour, on a terminal and unless
    /// `NO_COLOR` is set.
    pub(crate) fn verdict<T>(
        &mut self,
        write: impl FnOnce(&mut dyn fmt::Write) -> Result<T, fmt::Error>,
    ) -> Result<T, Failure> {
        if !self.coloured {
            return self.text(write);
        }
        let mut lines = Lines::new(String::new());
        let written = write(&mut lines);
        let text = lines.into_inner();
        for line in text.split_inclusive('\n') {
            self.bytes(paint(line).as_bytes())?;
        }
        written.map_err(|fmt::Error| Failure::Output(io::Error::other("formatting failed")))
    }

    /// Calls a function that writes text, and keeps the error that stopped it. Whatever the text is
    /// made of, nothing in it drives the terminal.
    pub(crate) fn text<T>(
        &mut self,
        write: impl FnOnce(&mut dyn fmt::Write) -> Result<T, fmt::Error>,
    ) -> Result<T, Failure> {
        let mut lines = Lines::new(Adapter {
            writer: &mut self.writer,
            error: None,
        });
        match write(&mut lines) {
            Ok(value) => Ok(value),
            Err(fmt::Error) => Err(match lines.into_inner().error {
                Some(error) => Failure::from(error),
                None => Failure::Output(io::Error::other("formatting failed")),
            }),
        }
    }

    /// Writes a report as one JSON document.
    pub(crate) fn json(&mut self, report: &impl Serialize) -> Result<(), Failure> {
        let form = Escaped(PrettyFormatter::new());
        let mut serializer = serde_json::Serializer::with_formatter(&mut self.writer, form);
        report.serialize(&mut serializer)?;
        Ok(self.writer.write_all(b"\n")?)
    }

    /// Writes a record as one line of JSON.
    pub(crate) fn json_line(&mut self, record: &impl Serialize) -> Result<(), Failure> {
        let form = Escaped(CompactFormatter);
        let mut serializer = serde_json::Serializer::with_formatter(&mut self.writer, form);
        record.serialize(&mut serializer)?;
        Ok(self.writer.write_all(b"\n")?)
    }

    /// Writes bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.writer.write_all(bytes)?)
    }

    /// Where bytes that are made elsewhere go.
    pub(crate) fn writer(&mut self) -> &mut dyn Write {
        &mut self.writer
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
}

/// A line of a comparison in the colour of what it says.
fn paint(line: &str) -> String {
    let colour = [
        ("Leak: ", "1;31"),
        ("Not the heap: ", "1;31"),
        ("Fragmented: ", "1;31"),
        ("Probable leak: ", "1;33"),
        ("Growth: ", "33"),
        ("No growth", "32"),
        ("Not sure:", "33"),
    ];
    let body = line.strip_suffix('\n').unwrap_or(line);
    match colour.iter().find(|(start, _)| line.starts_with(start)) {
        Some((_, code)) => format!("\x1b[{code}m{body}\x1b[0m\n"),
        None => line.to_owned(),
    }
}

/// Writes to the file that `-o` names, or else to standard output.
///
/// A file that is one of the `inputs` is refused: they are mapped while they are read.
pub(crate) fn write_to<T>(
    file: Option<&Path>,
    inputs: &[&Path],
    output: &mut Output,
    write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(path) = file else {
        return write(output.writer());
    };
    let failed = |error: io::Error| {
        let text = format!("{}: {error}", privacy::path(path));
        Failure::Output(io::Error::new(error.kind(), text))
    };
    if let Ok(target) = path.canonicalize()
        && inputs
            .iter()
            .any(|input| input.canonicalize().is_ok_and(|input| input == target))
    {
        return Err(Failure::Usage(format!(
            "{}: is the input",
            privacy::path(path)
        )));
    }
    let file = File::create(path).map_err(failed)?;
    let mut writer = BufWriter::with_capacity(1 << 16, Checked(file));
    let value = write(&mut writer)?;
    writer.flush().map_err(failed)?;
    Ok(value)
}

/// Lets nothing through once an input could not be read: what comes then may be made of the zeros that
/// stand in for its bytes.
struct Checked<W>(W);

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match has_new_read_faults() {
            false => self.0.write(bytes),
            true => Err(io::Error::other(InputLost)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Read faults of inputs of which nothing was written.
static FORGIVEN: AtomicUsize = AtomicUsize::new(0);

fn has_new_read_faults() -> bool {
    ntheap::dump::read_faults() as usize > FORGIVEN.load(Ordering::Relaxed)
}

/// Lets output through again after an input could not be read any more, for who wrote nothing that was
/// made of it.
pub(crate) fn forgive_read_faults() {
    FORGIVEN.store(ntheap::dump::read_faults() as usize, Ordering::Relaxed);
}

/// JSON whose strings hold no characters that a terminal acts on; readers get the same strings.
struct Escaped<F>(F);

impl<F: Formatter> Formatter for Escaped<F> {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() && !fragment.contains('\x7f') {
            return self.0.write_string_fragment(writer, fragment);
        }
        for part in fragment.split_inclusive(is_unprintable) {
            // All that is unprintable lies in the first plane: it takes one escape.
            match part.chars().last().filter(|&c| is_unprintable(c)) {
                Some(c) => {
                    let shown = &part[..part.len() - c.len_utf8()];
                    self.0.write_string_fragment(writer, shown)?;
                    write!(writer, "\\u{:04x}", u32::from(c))?;
                }
                None => self.0.write_string_fragment(writer, part)?,
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(w, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(w, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

struct Adapter<'w, W> {
    writer: &'w mut W,
    error: Option<io::Error>,
}

impl<W: Write> fmt::Write for Adapter<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.writer.write_all(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}
