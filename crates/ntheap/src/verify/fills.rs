//! The fills that the heap writes behind blocks and into free ones when it is told to.

use super::{Check, Damage, nt::Checker};
use crate::{
    blocks::{Block, Kind, State},
    heap::nt::flags,
};

/// What lies behind a block with tail checking.
const TAIL_FILL: u8 = 0xab;
/// What a free block is filled with, low byte first.
const FREE_FILL: [u8; 4] = 0xfeee_feee_u32.to_le_bytes();
/// Bytes that a report shows.
const SHOWN: usize = 16;

impl Checker<'_, '_, '_> {
    /// The fill behind a busy block of a segment. Virtual blocks get none.
    pub(super) fn check_tail(&mut self, block: &Block) {
        if block.flags & flags::FILL == 0 || block.internal || block.kind != Kind::Backend {
            return;
        }
        let Some(at) = block.address.checked_add(block.size) else {
            return;
        };
        let unit = self.process.bitness.unit();
        let Some(bytes) = self.process.memory().slice(at, unit) else {
            return;
        };
        self.checked.tail_fills += 1;
        if let Some(wrong) = bytes.iter().position(|&byte| byte != TAIL_FILL) {
            let expected = format!("{unit} bytes {TAIL_FILL:02x} from {at:x} on");
            self.damage(Damage::new(
                block.heap,
                at + wrong as u64,
                Check::TailFill,
                expected,
                hex(&bytes[wrong..]),
            ));
        }
    }

    /// The fill of a free block, behind its links.
    pub(super) fn check_free_fill(&mut self, block: &Block) {
        // Pages inside a large free block may have been given back, and come again as zeroes.
        let filled = block.flags & flags::FILL != 0 && block.flags & flags::DECOMMITTED == 0;
        if !filled || block.state != State::Free || block.kind != Kind::Backend {
            return;
        }
        let unit = self.process.bitness.unit();
        let start = block.entry.saturating_add(2 * unit);
        let mut end = block.entry.saturating_add(block.block_size);
        if block.flags & flags::EXTRA != 0 {
            // The record of the call that freed the block.
            end -= unit;
        }
        if end <= start {
            return;
        }
        let Some(bytes) = self.process.memory().slice(start, end - start) else {
            return;
        };
        self.checked.free_fills += 1;
        let wrong = bytes
            .iter()
            .zip(FREE_FILL.iter().cycle())
            .position(|(byte, fill)| byte != fill);
        if let Some(wrong) = wrong {
            self.damage(Damage::new(
                block.heap,
                start + wrong as u64,
                Check::FreeFill,
                "feeefeee throughout the free block",
                hex(&bytes[wrong..]),
            ));
        }
    }
}

/// The first bytes, as a debugger shows them.
fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes
        .iter()
        .take(SHOWN)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    shown.join(" ")
}
