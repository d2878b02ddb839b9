//! The memory lists.
//!
//! A range that ends past the end of the file costs only itself, and a stream whose announced size is
//! wrong is read to the end that its own count says.

use super::{
    Problem,
    directory::{Bytes, Stream},
};

/// Ranges as `(address, offset in file, size)`.
pub(super) type Ranges = Vec<(u64, u64, u64)>;

/// Size of an entry of either list.
const ENTRY: u64 = 16;

/// Collects ranges and what the file lacks of them.
struct Collector {
    file_size: u64,
    ranges: Ranges,
    missing_ranges: u64,
    missing_bytes: u64,
}

impl Collector {
    /// For so many entries that the file holds.
    fn new(file_size: u64, held: u64) -> Self {
        let held = held.min(file_size / ENTRY);
        Collector {
            file_size,
            ranges: Ranges::with_capacity(held as usize),
            missing_ranges: 0,
            missing_bytes: 0,
        }
    }

    /// Takes the part of a range that the file holds.
    fn add(&mut self, address: u64, offset: u64, size: u64) {
        let available = self.file_size.saturating_sub(offset).min(size);
        if available < size {
            self.missing_ranges += 1;
            self.missing_bytes = self.missing_bytes.saturating_add(size - available);
        }
        self.ranges.push((address, offset, available));
    }

    /// The ranges; what is missing of them, and of the `count` entries that the stream announced,
    /// becomes a problem.
    fn finish(self, stream: &'static str, count: u64, problems: &mut Vec<Problem>) -> Ranges {
        let listed = self.ranges.len() as u64;
        if count > listed {
            let missing = (count - listed).saturating_mul(ENTRY);
            problems.push(Problem::StreamTruncated { stream, missing });
        }
        if self.missing_ranges > 0 {
            problems.push(Problem::MemoryTruncated {
                ranges: self.missing_ranges,
                bytes: self.missing_bytes,
            });
        }
        self.ranges
    }
}

/// How many of `count` entries behind a header of `header` bytes are read, and a note where that is
/// not what the directory announces. `limit` is where something else begins in the file.
fn entries(
    (name, stream): (&'static str, Stream),
    (header, count): (u64, u64),
    limit: u64,
    problems: &mut Vec<Problem>,
) -> u64 {
    let needed = header.saturating_add(count.saturating_mul(ENTRY));
    let announced = stream.size.min(limit.saturating_sub(stream.offset));
    let fits = limit.saturating_sub(stream.offset) >= needed;
    if announced < needed && fits {
        problems.push(Problem::StreamSize {
            stream: name,
            announced: stream.size,
            needed,
        });
        return count;
    }
    (announced.saturating_sub(header) / ENTRY).min(count)
}

/// `Memory64ListStream`: the ranges' bytes lie one behind the other from one offset on.
pub(super) fn memory64(file: Bytes<'_>, stream: Stream, problems: &mut Vec<Problem>) -> Ranges {
    const NAME: &str = "Memory64List";
    const HEADER: u64 = 16;
    let number = |at: u64| file.u64(stream.offset.saturating_add(at));
    let (Some(count), Some(mut offset)) = (number(0), number(8)) else {
        problems.push(Problem::StreamTruncated {
            stream: NAME,
            missing: HEADER,
        });
        return Ranges::new();
    };
    // The list ends where the memory begins, where it lies in front of it.
    let limit = match offset > stream.offset {
        true => offset.min(file.len()),
        false => file.len(),
    };
    let held = entries((NAME, stream), (HEADER, count), limit, problems);
    let mut collector = Collector::new(file.len(), held);
    for index in 0..held {
        let at = HEADER + index * ENTRY;
        let (Some(address), Some(size)) = (number(at), number(at + 8)) else {
            break;
        };
        collector.add(address, offset, size);
        offset = offset.saturating_add(size);
    }
    collector.finish(NAME, count, problems)
}

/// `MemoryListStream`: each range has its own offset.
pub(super) fn memory32(file: Bytes<'_>, stream: Stream, problems: &mut Vec<Problem>) -> Ranges {
    const NAME: &str = "MemoryList";
    let number = |at: u64| file.u32(stream.offset.saturating_add(at));
    let Some(count) = number(0) else {
        problems.push(Problem::StreamTruncated {
            stream: NAME,
            missing: 4,
        });
        return Ranges::new();
    };
    // Some writers align the array to eight bytes.
    let header = match stream.size == 8 + u64::from(count) * ENTRY {
        true => 8,
        false => 4,
    };
    let held = entries((NAME, stream), (header, count.into()), file.len(), problems);
    let mut collector = Collector::new(file.len(), held);
    for index in 0..held {
        let at = stream.offset.saturating_add(header + index * ENTRY);
        let (Some(address), Some(size), Some(offset)) =
            (file.u64(at), file.u32(at + 8), file.u32(at + 12))
        else {
            break;
        };
        collector.add(address, offset.into(), size.into());
    }
    collector.finish(NAME, count.into(), problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: &[u64], size: usize) -> Vec<u8> {
        let mut file: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        file.resize(size, 0);
        file
    }

    fn read(file: &[u8], size: u64) -> (Ranges, Vec<Problem>) {
        let mut problems = Vec::new();
        let stream = Stream {
            kind: 9,
            offset: 0,
            size,
        };
        let ranges = memory64(Bytes(file), stream, &mut problems);
        (ranges, problems)
    }

    const LIST: [u64; 8] = [3, 0x100, 0x1000, 0x80, 0x2000, 0x100, 0x3000, 0x10];

    #[test]
    fn a_range_past_the_end_of_the_file_costs_only_itself() {
        let (ranges, problems) = read(&list(&LIST, 0x1c0), 64);
        assert_eq!(
            ranges,
            [
                (0x1000, 0x100, 0x80),
                (0x2000, 0x180, 0x40),
                (0x3000, 0x280, 0)
            ]
        );
        assert_eq!(
            problems,
            [Problem::MemoryTruncated {
                ranges: 2,
                bytes: 0xc0 + 0x10
            }]
        );
    }

    #[test]
    fn a_wrong_size_of_the_stream_is_passed_over() {
        for size in [0, 16, 40, 63] {
            let (ranges, problems) = read(&list(&LIST, 0x290), size);
            assert_eq!(ranges.len(), 3);
            assert!(matches!(
                problems[..],
                [Problem::StreamSize { needed: 64, .. }]
            ));
        }
        let (ranges, problems) = read(&list(&LIST, 0x290), u64::MAX);
        assert_eq!((ranges.len(), problems.len()), (3, 0));
    }

    #[test]
    fn a_count_without_entries_is_reported_and_bounded() {
        let (ranges, problems) = read(&list(&[u64::MAX, 0], 100), 16);
        assert!(ranges.is_empty());
        assert!(matches!(problems[..], [Problem::StreamTruncated { .. }]));
    }
}
