//! Standard output, and the library's reports on it.

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
};

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

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        Ok(self.writer.flush()?)
    }
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
