//! Where text goes.

use std::{fmt, io};

/// Nothing is kept, and not more taken than any report of a small dump should have.
#[derive(Debug)]
pub struct Sink(pub usize);

impl Default for Sink {
    fn default() -> Self {
        Sink(1 << 28)
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
