//! The bytes of an area, written by address.

use ntheap::layout::Bitness;

/// The bytes of an area.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) base: u64,
    pub(super) bytes: Vec<u8>,
    bitness: Bitness,
}

/// What blocks hold: nothing that looks like a header or a pointer into a heap.
const FILL: &[u8; 64] = b"order 4711: 12 pieces of article 0815, delivered to Hamburg; ok.";

impl Picture {
    pub(super) fn new(bitness: Bitness) -> Self {
        Picture {
            base: 0,
            bytes: Vec::new(),
            bitness,
        }
    }

    /// Begins another area, of zeroes or of what blocks hold.
    pub(super) fn begin(&mut self, base: u64, size: u64, filled: bool) {
        self.base = base;
        self.bytes.clear();
        self.bytes.resize(size as usize, 0);
        if filled {
            for chunk in self.bytes.chunks_mut(FILL.len()) {
                chunk.copy_from_slice(&FILL[..chunk.len()]);
            }
        }
    }

    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        let at = (at - self.base) as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn zero(&mut self, at: u64, size: u64) {
        let at = (at - self.base) as usize;
        self.bytes[at..at + size as usize].fill(0);
    }

    pub(super) fn u8(&mut self, at: u64, value: u8) {
        self.put(at, &[value]);
    }

    pub(super) fn u16(&mut self, at: u64, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, at: u64, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    pub(super) fn pointer(&mut self, at: u64, value: u64) {
        match self.bitness {
            Bitness::X86 => self.u32(at, value as u32),
            Bitness::X64 => self.u64(at, value),
        }
    }

    /// The two links of a list's element or head.
    pub(super) fn links(&mut self, at: u64, next: u64, previous: u64) {
        self.pointer(at, next);
        self.pointer(at + self.bitness.pointer_size(), previous);
    }

    /// Whether an address lies in the area.
    pub(super) fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.bytes.len() as u64
    }
}
