//! Streams that are lists of records: threads, modules, regions.

use debugid::DebugId;

use super::{
    Architecture, Context, Module, PdbReference, Problem, Region, RegionKind, RegionState, Thread,
    directory::{Bytes, Stream},
};

/// Sizes of the records.
const THREAD: u64 = 0x30;
const MODULE: u64 = 0x6c;
const REGION: u64 = 0x30;
/// The longest path that Windows can have, in bytes.
const MAX_NAME: u64 = 0x1_0000;

/// The places of a list's records: the count is in front of them, aligned to eight bytes by some
/// writers. What lies past the end of the file is noted.
fn records(
    file: Bytes<'_>,
    stream: Stream,
    (name, size): (&'static str, u64),
    problems: &mut Vec<Problem>,
) -> impl Iterator<Item = u64> + use<> {
    let count = u64::from(file.u32(stream.offset).unwrap_or(0));
    let needed = count.saturating_mul(size);
    let skip = if stream.size == needed.saturating_add(8) {
        8
    } else {
        4
    };
    let first = stream.offset.saturating_add(skip);
    let held = (file.len().saturating_sub(first) / size).min(count);
    if file.u32(stream.offset).is_none() {
        let missing = stream.size;
        problems.push(Problem::StreamTruncated {
            stream: name,
            missing,
        });
    } else if held < count {
        problems.push(Problem::StreamTruncated {
            stream: name,
            missing: (count - held).saturating_mul(size),
        });
    }
    (0..held).map(move |index| first + index * size)
}

/// `ThreadListStream`.
pub(super) fn threads(
    file: Bytes<'_>,
    stream: Stream,
    architecture: Architecture,
    problems: &mut Vec<Problem>,
) -> Vec<Thread> {
    records(file, stream, ("ThreadList", THREAD), problems)
        .filter_map(|at| {
            let context = (
                u64::from(file.u32(at + 0x2c)?),
                u64::from(file.u32(at + 0x28)?),
            );
            Some(Thread {
                id: file.u32(at)?,
                suspend_count: file.u32(at + 4)?,
                priority_class: file.u32(at + 8)?,
                priority: file.u32(at + 0xc)?,
                teb: architecture.address(file.u64(at + 0x10)?),
                stack_base: architecture.address(file.u64(at + 0x18)?),
                stack_size: u64::from(file.u32(at + 0x20)?),
                context: file
                    .slice(context.0, context.1)
                    .and_then(|bytes| Context::read(bytes, architecture)),
            })
        })
        .collect()
}

/// `ModuleListStream`.
pub(super) fn modules(
    file: Bytes<'_>,
    stream: Stream,
    architecture: Architecture,
    problems: &mut Vec<Problem>,
) -> Vec<Module> {
    const VERSION_SIGNATURE: u32 = 0xfeef_04bd;
    let places: Vec<u64> = records(file, stream, ("ModuleList", MODULE), problems).collect();
    let mut modules = Vec::new();
    for at in places {
        let number = |offset: u64| file.u32(at + offset).unwrap_or(0);
        let base = architecture.address(file.u64(at).unwrap_or(0));
        let name = string(file, u64::from(number(0x14)));
        if name.is_none() {
            problems.push(Problem::ModuleRecord { base, part: "name" });
        }
        let record = (u64::from(number(0x50)), u64::from(number(0x4c)));
        let bytes = file.slice(record.0, record.1);
        if record.1 > 0 && bytes.is_none() {
            let part = "CodeView record";
            problems.push(Problem::ModuleRecord { base, part });
        }
        let halves = |value: u32| [(value >> 16) as u16, value as u16];
        let ([major, minor], [build, revision]) = (halves(number(0x20)), halves(number(0x24)));
        modules.push(Module {
            base,
            size: u64::from(number(8)),
            path: name.unwrap_or_default(),
            timestamp: number(0x10),
            checksum: number(0xc),
            version: (number(0x18) == VERSION_SIGNATURE).then_some([major, minor, build, revision]),
            pdb: bytes.and_then(|bytes| code_view(Bytes(bytes))),
        });
    }
    modules
}

/// `MINIDUMP_STRING`: its length in bytes, then UTF-16.
fn string(file: Bytes<'_>, at: u64) -> Option<String> {
    let length = u64::from(file.u32(at)?);
    if at == 0 || length > MAX_NAME {
        return None;
    }
    let (units, _) = file.slice(at + 4, length)?.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|&unit| u16::from_le_bytes(unit)).collect();
    Some(String::from_utf16_lossy(&units))
}

/// What the CodeView record of an image says of its PDB.
fn code_view(record: Bytes<'_>) -> Option<PdbReference> {
    const PDB_70: u32 = u32::from_le_bytes(*b"RSDS");
    const PDB_20: u32 = u32::from_le_bytes(*b"NB10");
    let (id, name) = match record.u32(0)? {
        PDB_70 => {
            let guid = record.slice(4, 16).filter(|guid| **guid != [0; 16])?;
            (DebugId::from_guid_age(guid, record.u32(20)?).ok()?, 24)
        }
        PDB_20 => (DebugId::from_pdb20(record.u32(8)?, record.u32(12)?), 16),
        _ => return None,
    };
    let name = record.0.get(name..).unwrap_or_default();
    let end = name
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(name.len());
    Some(PdbReference {
        file: String::from_utf8_lossy(&name[..end]).into_owned(),
        id,
    })
}

/// `MemoryInfoListStream`, by ascending address, apart from each other: of regions over the same
/// addresses the one that begins first counts.
pub(super) fn regions(
    file: Bytes<'_>,
    stream: Stream,
    architecture: Architecture,
    problems: &mut Vec<Problem>,
) -> Vec<Region> {
    let name = "MemoryInfoList";
    let header = || {
        let (header, entry) = (file.u32(stream.offset)?, file.u32(stream.offset + 4)?);
        Some((
            header.into(),
            u64::from(entry),
            file.u64(stream.offset + 8)?,
        ))
    };
    let Some((header, entry, count)): Option<(u64, u64, u64)> = header() else {
        let missing = stream.size;
        problems.push(Problem::StreamTruncated {
            stream: name,
            missing,
        });
        return Vec::new();
    };
    if entry < REGION {
        problems.push(Problem::StreamUnreadable {
            stream: name,
            reason: format!("its records have {entry} bytes"),
        });
        return Vec::new();
    }
    let first = stream.offset.saturating_add(header);
    let held = (file.len().saturating_sub(first) / entry).min(count);
    if held < count {
        problems.push(Problem::StreamTruncated {
            stream: name,
            missing: (count - held).saturating_mul(entry),
        });
    }
    let mut regions = Vec::with_capacity(held as usize);
    regions.extend((0..held).filter_map(|index| region(file, first + index * entry, architecture)));
    regions.sort_by_key(|region| region.base);
    let (mut end, mut overlaps) = (0, 0u64);
    regions.retain_mut(|region| {
        let stop = region.end();
        if region.base < end {
            overlaps += 1;
            region.base = end;
            region.size = stop.saturating_sub(end);
        }
        end = end.max(stop);
        region.size > 0
    });
    if overlaps > 0 {
        problems.push(Problem::StreamUnreadable {
            stream: name,
            reason: format!("{overlaps} of its regions begin inside the one before"),
        });
    }
    regions
}

fn region(file: Bytes<'_>, at: u64, architecture: Architecture) -> Option<Region> {
    Some(Region {
        base: architecture.address(file.u64(at)?),
        allocation_base: architecture.address(file.u64(at + 8)?),
        allocation_protection: file.u32(at + 0x10)?,
        size: file.u64(at + 0x18)?,
        state: match file.u32(at + 0x20)? {
            0x1000 => RegionState::Commit,
            0x2000 => RegionState::Reserve,
            _ => RegionState::Free,
        },
        protection: file.u32(at + 0x24)?,
        kind: match file.u32(at + 0x28)? {
            0x2_0000 => RegionKind::Private,
            0x4_0000 => RegionKind::Mapped,
            0x100_0000 => RegionKind::Image,
            _ => RegionKind::None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module_list() -> Vec<u8> {
        let mut file = vec![0; 0x200];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &2u32.to_le_bytes());
        for (at, base, name) in [(4, 0x40_0000u64, 0x100u32), (0x70, 0x7700_0000, 0x1000)] {
            put(at, &base.to_le_bytes());
            put(at + 8, &0x1000u32.to_le_bytes());
            put(at + 0x14, &name.to_le_bytes());
            put(at + 0x4c, &0x20u32.to_le_bytes());
            put(at + 0x50, &0x120u32.to_le_bytes());
        }
        put(0x100, &4u32.to_le_bytes());
        put(0x104, &[b'a', 0, b'b', 0]);
        put(0x120, b"RSDS");
        put(0x124, &[7; 16]);
        put(0x134, &1u32.to_le_bytes());
        put(0x138, b"a.pdb\0");
        file
    }

    fn read(file: &[u8], size: u64) -> (Vec<Module>, Vec<Problem>) {
        let mut problems = Vec::new();
        let stream = Stream {
            kind: 4,
            offset: 0,
            size,
        };
        let modules = modules(Bytes(file), stream, Architecture::X64, &mut problems);
        (modules, problems)
    }

    #[test]
    fn a_bad_record_costs_what_it_names() {
        let mut file = module_list();
        let (modules, problems) = read(&file, 4 + 2 * MODULE);
        assert_eq!(modules.len(), 2);
        assert_eq!(modules[0].path, "ab");
        assert_eq!(modules[1].path, "");
        assert_eq!(modules[1].pdb.as_ref().map(|pdb| &*pdb.file), Some("a.pdb"));
        let base = 0x7700_0000;
        let name = Problem::ModuleRecord { base, part: "name" };
        assert_eq!(problems, std::slice::from_ref(&name));
        file[0x70 + 0x50..0x70 + 0x54].copy_from_slice(&u32::MAX.to_le_bytes());
        let (modules, problems) = read(&file, 4 + 2 * MODULE);
        assert_eq!((modules.len(), &modules[1].pdb), (2, &None));
        let part = "CodeView record";
        assert_eq!(problems, [name, Problem::ModuleRecord { base, part }]);
    }

    #[test]
    fn a_list_that_claims_more_than_there_is_is_bounded() {
        let mut file = module_list();
        file[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let (modules, problems) = read(&file, 4);
        assert_eq!(modules.len(), 4);
        assert!(matches!(problems[0], Problem::StreamTruncated { .. }));
    }
}
