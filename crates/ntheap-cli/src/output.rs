//! Standard output, and the library's reports on it.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use indicatif::ProgressBar;
use serde::Serialize;

use crate::failure::Failure;

/// Buffered standard output.
pub(crate) struct Output {
    writer: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Output {
            writer: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
        }
    }

    /// Calls a function that writes text, and keeps the error that stopped it.
    pub(crate) fn text<T>(
        &mut self,
        write: impl FnOnce(&mut dyn fmt::Write) -> Result<T, fmt::Error>,
    ) -> Result<T, Failure> {
        let mut adapter = Adapter {
            writer: &mut self.writer,
            error: None,
        };
        match write(&mut adapter) {
            Ok(value) => Ok(value),
            Err(fmt::Error) => Err(match adapter.error {
                Some(error) => Failure::from(error),
                None => Failure::Output(io::Error::other("formatting failed")),
            }),
        }
    }

    /// Writes a report as one JSON document.
    pub(crate) fn json(&mut self, report: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.writer, report)?;
        Ok(self.writer.write_all(b"\n")?)
    }

    /// Writes a record as one line of JSON.
    pub(crate) fn json_line(&mut self, record: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.writer, record)?;
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
        let text = format!("{}: {error}", path.display());
        Failure::Output(io::Error::new(error.kind(), text))
    };
    if let Ok(target) = path.canonicalize()
        && inputs
            .iter()
            .any(|input| input.canonicalize().is_ok_and(|input| input == target))
    {
        return Err(Failure::Usage(format!("{}: is the input", path.display())));
    }
    let mut writer = BufWriter::with_capacity(1 << 16, File::create(path).map_err(failed)?);
    let value = write(&mut writer)?;
    writer.flush().map_err(failed)?;
    Ok(value)
}

/// Whether progress may be drawn on stderr.
pub(crate) fn shows_progress() -> bool {
    io::stderr().is_terminal()
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

/// Draws a sign of life on stderr while long work goes on, and takes it away when dropped.
pub(crate) struct Working {
    done: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Working {
    /// Work that lasts shorter than this goes by unseen.
    const PATIENCE: Duration = Duration::from_millis(700);

    pub(crate) fn on(what: &'static str) -> Self {
        if !shows_progress() {
            return Working {
                done: None,
                thread: None,
            };
        }
        let (done, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            if ended.recv_timeout(Self::PATIENCE) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new_spinner().with_message(what);
            bar.enable_steady_tick(Duration::from_millis(120));
            let _ = ended.recv();
            bar.finish_and_clear();
        });
        Working {
            done: Some(done),
            thread: Some(thread),
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
