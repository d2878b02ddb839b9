//! Lists that few ask for, read when somebody does: open handles, unloaded modules, lives of threads.

use super::directory::{Bytes, Stream};

/// More records than any process has.
const MOST: u64 = 1 << 20;
/// The longest name that is read, in bytes.
const LONGEST_NAME: u64 = 0x1_0000;

/// A handle that the process had open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Handle {
    /// The handle.
    pub value: u64,
    /// Type of the object, for instance `Event`.
    pub type_name: Option<String>,
    /// Name of the object, where it has one.
    pub object_name: Option<String>,
    /// Attributes of the handle.
    pub attributes: u32,
    /// Access that it grants.
    pub granted_access: u32,
    /// Number of handles of the object.
    pub handle_count: u32,
    /// Number of references to the object.
    pub pointer_count: u32,
}

/// A module that was unloaded before the dump was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct UnloadedModule {
    /// Address at which it was loaded.
    pub base: u64,
    /// Size of the image in bytes.
    pub size: u32,
    /// `TimeDateStamp` of the image.
    pub timestamp: u32,
    /// `CheckSum` of the image.
    pub checksum: u32,
    /// Its name.
    pub name: String,
}

/// What became of a thread: when it began, how long it ran. Times are in units of 100 nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ThreadInfo {
    /// Thread identifier.
    pub id: u32,
    /// When it was created, since 1601, UTC.
    pub created: u64,
    /// How long it ran in the kernel.
    pub kernel_time: u64,
    /// How long it ran in user mode.
    pub user_time: u64,
    /// Address of the function that it began with.
    pub start_address: u64,
    /// The processors that it may run on, a bit each.
    pub affinity: u64,
}

/// The places of records behind a header that tells its own size, theirs and how many there are.
fn records(file: Bytes<'_>, stream: Stream, smallest: u64) -> impl Iterator<Item = u64> {
    let number = |at: u64| u64::from(file.u32(stream.offset.saturating_add(at)).unwrap_or(0));
    let (header, size, count) = (number(0), number(4), number(8));
    let first = stream.offset.saturating_add(header);
    let held = file.len().saturating_sub(first) / size.max(1);
    let count = if size < smallest {
        0
    } else {
        count.min(held).min(MOST)
    };
    (0..count).map(move |index| first + index * size)
}

fn name(file: Bytes<'_>, place: u32) -> Option<String> {
    if place == 0 {
        return None;
    }
    let size = u64::from(file.u32(place.into())?).min(LONGEST_NAME);
    let bytes = file.slice(u64::from(place) + 4, size)?;
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    Some(text.trim_end_matches('\0').to_owned())
}

/// `HandleDataStream`.
pub(super) fn handles(file: Bytes<'_>, stream: Stream) -> Vec<Handle> {
    const DESCRIPTOR: u64 = 0x20;
    records(file, stream, DESCRIPTOR)
        .filter_map(|at| {
            Some(Handle {
                value: file.u64(at)?,
                type_name: name(file, file.u32(at + 8)?),
                object_name: name(file, file.u32(at + 0xc)?),
                attributes: file.u32(at + 0x10)?,
                granted_access: file.u32(at + 0x14)?,
                handle_count: file.u32(at + 0x18)?,
                pointer_count: file.u32(at + 0x1c)?,
            })
        })
        .collect()
}

/// `UnloadedModuleListStream`.
pub(super) fn unloaded(file: Bytes<'_>, stream: Stream) -> Vec<UnloadedModule> {
    const RECORD: u64 = 0x18;
    records(file, stream, RECORD)
        .filter_map(|at| {
            Some(UnloadedModule {
                base: file.u64(at)?,
                size: file.u32(at + 8)?,
                checksum: file.u32(at + 0xc)?,
                timestamp: file.u32(at + 0x10)?,
                name: name(file, file.u32(at + 0x14)?).unwrap_or_default(),
            })
        })
        .collect()
}

/// `ThreadInfoListStream`.
pub(super) fn thread_infos(file: Bytes<'_>, stream: Stream) -> Vec<ThreadInfo> {
    const RECORD: u64 = 0x40;
    records(file, stream, RECORD)
        .filter_map(|at| {
            Some(ThreadInfo {
                id: file.u32(at)?,
                created: file.u64(at + 0x10)?,
                kernel_time: file.u64(at + 0x20)?,
                user_time: file.u64(at + 0x28)?,
                start_address: file.u64(at + 0x30)?,
                affinity: file.u64(at + 0x38)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut file = vec![0; 0x100];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x10, &0x10u32.to_le_bytes());
        put(0x14, &0x20u32.to_le_bytes());
        put(0x18, &1u32.to_le_bytes());
        put(0x20, &0x44u64.to_le_bytes());
        put(0x28, &0x80u32.to_le_bytes());
        put(0x34, &0x1f0003u32.to_le_bytes());
        put(0x80, &4u32.to_le_bytes());
        put(0x84, &[b'E', 0, b'v', 0]);
        file
    }

    #[test]
    fn handles_have_types_and_names() {
        let stream = Stream {
            kind: 12,
            offset: 0x10,
            size: 0x30,
        };
        let mut file = file();
        let found = handles(Bytes(&file), stream);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].type_name.as_deref(), Some("Ev"));
        assert_eq!((found[0].value, found[0].object_name.clone()), (0x44, None));
        // What is claimed is not believed.
        file[0x18..0x1c].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(handles(Bytes(&file), stream).len() < 16);
        file[0x14..0x18].copy_from_slice(&0u32.to_le_bytes());
        assert!(handles(Bytes(&file), stream).is_empty());
    }
}
