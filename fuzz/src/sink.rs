//! Where text goes.

use std::{fmt, io};

/// More than any report of a small dump should have.
pub const ENDLESS: usize = 1 << 28;

/// Nothing is kept, and endless output is a failure.
#[derive(Debug)]
pub struct Sink(pub usize);

impl Default for Sink {
    fn default() -> Self {
        Sink(ENDLESS)
    }
}

impl Sink {
    fn take(&mut self, bytes: usize) {
        self.0 = self.0.checked_sub(bytes).expect("endless output");
    }
}

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.take(text.len());
        Ok(())
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing is kept, and more than so many bytes refused: for what may print without end by intention.
#[derive(Debug)]
pub struct Screen(pub usize);

impl fmt::Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}
