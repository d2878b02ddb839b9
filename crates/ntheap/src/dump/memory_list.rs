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

/// `Memory64ListStream`: the ranges' bytes lie one behind the other from one offset on.
pub(super) fn memory64(stream: &[u8], file_size: u64, problems: &mut Vec<Problem>) -> Ranges {
    let (Some(count), Some(mut offset)) = (u64_at(stream, 0), u64_at(stream, 8)) else {
        problems.push(Problem::StreamTruncated {
            stream: "Memory64List",
            missing: 16,
        });
        return Ranges::new();
    };
    let mut ranges = Ranges::new();
    let (mut missing_ranges, mut missing_bytes) = (0u64, 0u64);
    // Writers may pad the stream: only `count` entries, and no more than there are bytes for.
    for entry in stream[16..]
        .chunks_exact(16)
        .take(usize::try_from(count).unwrap_or(usize::MAX))
    {
        let (Some(address), Some(size)) = (u64_at(entry, 0), u64_at(entry, 8)) else {
            break;
        };
        let available = file_size.saturating_sub(offset).min(size);
        if available < size {
            missing_ranges += 1;
            missing_bytes = missing_bytes.saturating_add(size - available);
        }
        ranges.push((address, offset, available));
        offset = offset.saturating_add(size);
    }
    if count > ranges.len() as u64 {
        let missing = (count - ranges.len() as u64).saturating_mul(16);
        problems.push(Problem::StreamTruncated {
            stream: "Memory64List",
            missing,
        });
    }
    if missing_ranges > 0 {
        problems.push(Problem::MemoryTruncated {
            ranges: missing_ranges,
            bytes: missing_bytes,
        });
    }
    ranges
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
    let mut ranges = Ranges::new();
    let (mut missing_ranges, mut missing_bytes) = (0u64, 0u64);
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
        let (size, offset) = (u64::from(size), u64::from(offset));
        let available = file_size.saturating_sub(offset).min(size);
        if available < size {
            missing_ranges += 1;
            missing_bytes += size - available;
        }
        ranges.push((address, offset, available));
    }
    if u64::from(count) > ranges.len() as u64 {
        let missing = (u64::from(count) - ranges.len() as u64) * 16;
        problems.push(Problem::StreamTruncated {
            stream: "MemoryList",
            missing,
        });
    }
    if missing_ranges > 0 {
        problems.push(Problem::MemoryTruncated {
            ranges: missing_ranges,
            bytes: missing_bytes,
        });
    }
    ranges
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
