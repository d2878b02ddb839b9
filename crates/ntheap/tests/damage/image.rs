//! Editing a minidump: leaving memory out, overwriting it, taking streams away, cutting the file.

use std::ops::Range;

/// `MINIDUMP_STREAM_TYPE` of the streams that damage is done to.
pub(crate) mod stream {
    pub(crate) const THREAD_LIST: u32 = 3;
    pub(crate) const MODULE_LIST: u32 = 4;
    pub(crate) const SYSTEM_INFO: u32 = 7;
    pub(crate) const MEMORY64_LIST: u32 = 9;
    pub(crate) const MEMORY_INFO_LIST: u32 = 16;
}

/// Size of a page.
pub(crate) const PAGE: u64 = 0x1000;

/// Addresses, the first and one past the last.
pub(crate) type Addresses = Range<u64>;

/// The bytes of a minidump with full memory.
#[derive(Clone)]
pub(crate) struct Image {
    bytes: Vec<u8>,
    /// Ranges of memory: address, size, offset in the file.
    memory: Vec<(u64, u64, usize)>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Image {
    /// A whole dump. Its memory has to be the last thing in the file, as all writers have it.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut image = Image {
            bytes,
            memory: Vec::new(),
        };
        let list = image.stream(stream::MEMORY64_LIST);
        let list = list.expect("a dump with full memory").1;
        let count = u64_at(&image.bytes, list) as usize;
        let mut offset = u64_at(&image.bytes, list + 8) as usize;
        for index in 0..count {
            let entry = list + 16 + 16 * index;
            let (address, size) = (u64_at(&image.bytes, entry), u64_at(&image.bytes, entry + 8));
            image.memory.push((address, size, offset));
            offset += size as usize;
        }
        assert_eq!(offset, image.bytes.len(), "memory is the last in the file");
        image
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The ranges of memory.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Addresses> + '_ {
        self.memory
            .iter()
            .map(|&(start, size, _)| start..start + size)
    }

    /// Place of a stream's directory entry, and offset of the stream.
    fn stream(&self, kind: u32) -> Option<(usize, usize)> {
        let count = u32_at(&self.bytes, 8) as usize;
        let directory = u32_at(&self.bytes, 12) as usize;
        (0..count)
            .map(|index| directory + 12 * index)
            .find(|&entry| u32_at(&self.bytes, entry) == kind)
            .map(|entry| (entry, u32_at(&self.bytes, entry + 8) as usize))
    }

    /// Offset of a stream in the file.
    pub(crate) fn stream_offset(&self, kind: u32) -> Option<usize> {
        self.stream(kind).map(|(_, offset)| offset)
    }

    /// Whether the dump has this stream.
    pub(crate) fn has_stream(&self, kind: u32) -> bool {
        self.stream(kind).is_some()
    }

    /// Overwrites the announced size of a stream.
    pub(crate) fn set_stream_size(&mut self, kind: u32, size: u32) {
        let (entry, _) = self.stream(kind).expect("the stream");
        self.put_at(entry + 4, &size.to_le_bytes());
    }

    /// The dump without a stream.
    pub(crate) fn without_stream(mut self, kind: u32) -> Self {
        if let Some((entry, _)) = self.stream(kind) {
            // An unused stream, which every reader passes over.
            self.put_at(entry, &[0; 4]);
        }
        self
    }

    /// Overwrites bytes of the file.
    pub(crate) fn put_at(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Where in the file an address lies.
    pub(crate) fn offset(&self, address: u64) -> Option<usize> {
        let range = self
            .memory
            .iter()
            .find(|(start, size, _)| (*start..start + size).contains(&address))?;
        Some(range.2 + (address - range.0) as usize)
    }

    /// Overwrites memory of the process; whether all of it is in the dump.
    pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) -> bool {
        (address..).zip(bytes).all(|(address, &byte)| {
            let offset = self.offset(address);
            offset.is_some_and(|offset| {
                self.bytes[offset] = byte;
                true
            })
        })
    }

    /// Overwrites with zeros what the dump has of some addresses.
    pub(crate) fn zero(&mut self, gone: &Addresses) {
        for &(start, size, offset) in &self.memory {
            let from = gone.start.max(start);
            let to = gone.end.min(start + size);
            if from < to {
                let at = offset + (from - start) as usize;
                self.bytes[at..at + (to - from) as usize].fill(0);
            }
        }
    }

    /// The dump without the memory at some addresses.
    pub(crate) fn without(&self, gone: &[Addresses]) -> Self {
        let mut kept: Vec<(u64, u64, usize)> = Vec::new();
        for &(start, size, offset) in &self.memory {
            let end = start + size;
            let mut holes: Vec<Addresses> = gone
                .iter()
                .map(|hole| hole.start.max(start)..hole.end.min(end))
                .filter(|hole| hole.start < hole.end)
                .collect();
            holes.sort_by_key(|hole| hole.start);
            let mut at = start;
            for hole in holes.into_iter().chain(std::iter::once(end..end)) {
                if hole.start > at {
                    kept.push((at, hole.start - at, offset + (at - start) as usize));
                }
                at = at.max(hole.end);
            }
        }
        let (entry, list) = self.stream(stream::MEMORY64_LIST).expect("memory");
        let base = u64_at(&self.bytes, list + 8) as usize;
        let mut bytes = self.bytes[..base].to_vec();
        let mut memory = Vec::with_capacity(kept.len());
        for &(address, size, offset) in &kept {
            memory.push((address, size, bytes.len()));
            bytes.extend_from_slice(&self.bytes[offset..offset + size as usize]);
        }
        // The list may have become longer: it moves behind the memory.
        let at = bytes.len() as u32;
        bytes.extend((kept.len() as u64).to_le_bytes());
        bytes.extend((base as u64).to_le_bytes());
        for &(address, size, _) in &kept {
            bytes.extend(address.to_le_bytes());
            bytes.extend(size.to_le_bytes());
        }
        let size = bytes.len() as u32 - at;
        bytes[entry + 4..entry + 8].copy_from_slice(&size.to_le_bytes());
        bytes[entry + 8..entry + 12].copy_from_slice(&at.to_le_bytes());
        Image { bytes, memory }
    }

    /// The first part of the file, in thousandths, and the memory that is lost with the rest.
    pub(crate) fn cut(&self, thousandths: usize) -> (Vec<u8>, Vec<Addresses>) {
        let length = self.bytes.len() / 1000 * thousandths;
        let lost = self
            .memory
            .iter()
            .filter(|(_, size, offset)| offset + *size as usize > length)
            .map(|&(start, size, offset)| {
                start + (length.saturating_sub(offset) as u64).min(size)..start + size
            })
            .collect();
        (self.bytes[..length].to_vec(), lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject;

    #[test]
    fn what_is_left_out_is_left_out() {
        let image = subject::testdata("19041.662-small.snap1").image;
        let first = image.ranges().next().expect("a range");
        let page = first.start..first.start + PAGE;
        let without = image.without(std::slice::from_ref(&page));
        let dump = ntheap::dump::Dump::parse(without.bytes()).expect("a dump");
        let whole = ntheap::dump::Dump::parse(image.bytes()).expect("a dump");
        assert!(dump.problems.is_empty(), "{:?}", dump.problems);
        assert_eq!(dump.memory.size() + PAGE, whole.memory.size());
        assert_eq!(dump.memory.u8(page.start), None);
        let last = image.ranges().last().expect("a range").end - 1;
        assert_eq!(dump.memory.u8(last), whole.memory.u8(last));
    }

    #[test]
    fn a_cut_loses_what_it_says() {
        let image = subject::testdata("19041.662-small.snap1").image;
        let (bytes, lost) = image.cut(500);
        let dump = ntheap::dump::Dump::parse(&bytes).expect("a dump");
        assert!(!lost.is_empty());
        for addresses in lost {
            assert_eq!(dump.memory.u8(addresses.start), None);
        }
    }
}
