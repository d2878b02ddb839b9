//! Heap tags: the names that a program gave to groups of blocks (`RtlCreateTagHeap`, or one tag a
//! module with `gflags +htd`), and what the heap counts by them.

use super::NtHeap;

/// More tags than an index of 15 bits can name.
const MAX_TAGS: u16 = 0x7fff;
/// Most characters of a name.
const NAME_LENGTH: u64 = 24;
/// Tags from this bit on are pseudo tags: the heap's own counts by block size.
const PSEUDO: u16 = 0x8000;

/// What a heap keeps of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Index, as blocks carry it.
    pub index: u16,
    /// Name; empty for a pseudo tag.
    pub name: String,
    /// Number of allocations.
    pub allocations: u32,
    /// Number of blocks that were freed.
    pub frees: u32,
    /// Bytes in use by the heap's count, headers included.
    pub bytes: u64,
}

impl NtHeap<'_, '_> {
    /// The tag with this index; `None` where the heap has no such tag. Indexes with the top bit are
    /// those of pseudo tags.
    #[must_use]
    pub fn tag_entry(&self, index: u16) -> Option<Tag> {
        if index == 0 {
            return None;
        }
        if index & PSEUDO != 0 {
            return self.pseudo_tag(index);
        }
        let heap = self.memory.at(self.handle(), self.bitness());
        let layout = &self.layouts.tag_entry;
        if index > heap.u16(self.layouts.heap.maximum_tag_index)?.min(MAX_TAGS) {
            return None;
        }
        let entries = heap
            .pointer(self.layouts.heap.tag_entries)
            .filter(|&entries| entries != 0)?;
        let at = entries.checked_add(u64::from(index) * u64::from(layout.struct_size))?;
        let entry = self.memory.at(at, self.bitness());
        if entry.u16(layout.tag_index)? != index {
            return None;
        }
        let name = entry.address(layout.tag_name)?;
        let units: Vec<u16> = (0..NAME_LENGTH)
            .map_while(|index| self.memory.u16(name.checked_add(2 * index)?))
            .take_while(|&unit| unit != 0)
            .collect();
        Some(Tag {
            index,
            name: String::from_utf16_lossy(&units),
            allocations: entry.u32(layout.allocs)?,
            frees: entry.u32(layout.frees)?,
            bytes: entry.pointer(layout.size)?.saturating_mul(self.unit()),
        })
    }

    fn pseudo_tag(&self, index: u16) -> Option<Tag> {
        /// One tag a size in units up to 1 KiB (x86) and the large ones.
        const COUNT: u16 = 129;
        let heap = self.memory.at(self.handle(), self.bitness());
        let layout = &self.layouts.pseudo_tag_entry;
        let number = index & !PSEUDO;
        let entries = heap
            .pointer(self.layouts.heap.pseudo_tag_entries)
            .filter(|&entries| entries != 0 && number < COUNT)?;
        let at = entries.checked_add(u64::from(number) * u64::from(layout.struct_size))?;
        let entry = self.memory.at(at, self.bitness());
        Some(Tag {
            index,
            name: String::new(),
            allocations: entry.u32(layout.allocs)?,
            frees: entry.u32(layout.frees)?,
            bytes: entry.pointer(layout.size)?.saturating_mul(self.unit()),
        })
    }

    /// All tags of the heap that have a name, by ascending index.
    #[must_use]
    pub fn tags(&self) -> Vec<Tag> {
        let heap = self.memory.at(self.handle(), self.bitness());
        let last = heap
            .u16(self.layouts.heap.maximum_tag_index)
            .unwrap_or(0)
            .min(MAX_TAGS);
        (1..=last)
            .filter_map(|index| self.tag_entry(index))
            .filter(|tag| !tag.name.is_empty())
            .collect()
    }
}
