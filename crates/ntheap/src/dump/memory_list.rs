//! The memory lists. The `minidump` crate gives up a whole `Memory64List` when one of its ranges
//! ends past the end of the file, so a truncated dump would lose everything: read here instead.

use super::streams::Problem;

/// Ranges as `(address, offset in file, size)`.
pub(super) type Ranges = Vec<(u64, u64, u64)>;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Collects ranges and what the file lacks of them.
struct Collector {
    file_size: u64,
    ranges: Ranges,
    missing_ranges: u64,
    missing_bytes: u64,
}

impl Collector {
    fn new(file_size: u64) -> Self {
        Collector {
            file_size,
            ranges: Ranges::new(),
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
        const ENTRY: u64 = 16;
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

/// `Memory64ListStream`: the ranges' bytes lie one behind the other from one offset on.
pub(super) fn memory64(stream: &[u8], file_size: u64, problems: &mut Vec<Problem>) -> Ranges {
    let (Some(count), Some(mut offset)) = (u64_at(stream, 0), u64_at(stream, 8)) else {
        problems.push(Problem::StreamTruncated {
            stream: "Memory64List",
            missing: 16,
        });
        return Ranges::new();
    };
    let mut collector = Collector::new(file_size);
    // Writers may pad the stream: only `count` entries, and no more than there are bytes for.
    for entry in stream[16..]
        .chunks_exact(16)
        .take(usize::try_from(count).unwrap_or(usize::MAX))
    {
        let (Some(address), Some(size)) = (u64_at(entry, 0), u64_at(entry, 8)) else {
            break;
        };
        collector.add(address, offset, size);
        offset = offset.saturating_add(size);
    }
    collector.finish("Memory64List", count, problems)
}

/// `MemoryListStream`: each range has its own offset.
pub(super) fn memory32(stream: &[u8], file_size: u64, problems: &mut Vec<Problem>) -> Ranges {
    let Some(count) = u32_at(stream, 0) else {
        problems.push(Problem::StreamTruncated {
            stream: "MemoryList",
            missing: 4,
        });
        return Ranges::new();
    };
    // Some writers align the array to eight bytes.
    let skip = if stream.len() as u64 == 8 + u64::from(count) * 16 {
        8
    } else {
        4
    };
    let mut collector = Collector::new(file_size);
    for entry in stream
        .get(skip..)
        .unwrap_or(&[])
        .chunks_exact(16)
        .take(count as usize)
    {
        let (Some(address), Some(size), Some(offset)) =
            (u64_at(entry, 0), u32_at(entry, 8), u32_at(entry, 12))
        else {
            break;
        };
        collector.add(address, offset.into(), size.into());
    }
    collector.finish("MemoryList", count.into(), problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_past_the_end_of_the_file_costs_only_itself() {
        let mut stream = Vec::new();
        for value in [3u64, 0x100, 0x1000, 0x80, 0x2000, 0x100, 0x3000, 0x10] {
            stream.extend(value.to_le_bytes());
        }
        let mut problems = Vec::new();
        let ranges = memory64(&stream, 0x1c0, &mut problems);
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
    fn a_count_without_entries_is_reported_and_bounded() {
        let mut stream = u64::MAX.to_le_bytes().to_vec();
        stream.extend(0u64.to_le_bytes());
        let mut problems = Vec::new();
        assert!(memory64(&stream, 100, &mut problems).is_empty());
        assert!(matches!(problems[..], [Problem::StreamTruncated { .. }]));
    }
}
