//! What ntdll itself noted of a damaged heap.
//!
//! ntdll keeps one record: what it found wrong, in which heap, at which address, and the stack of the
//! call that met it. It is there whether or not the process was ended for it, and it names itself by
//! its version and size, so that no symbols are needed to find it.

use super::Process;
use crate::{dump::Exception, layout::HeapFailureLayout};

/// Frames that the record has room for.
const FRAMES: u64 = 32;
/// Builds with a record of another form.
const FORMS: [u32; 3] = [7600, 10240, 17134];
/// Versions of the record; the first has the types of failure of Windows 7 and 8.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;
/// The first build whose types count an invalid allocation type.
const FIRST_WITH_ALLOCATION_TYPE: u32 = 9200;

/// ntdll's record of a damaged heap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapFailure {
    /// Address of the record.
    pub record: u64,
    /// What was wrong, as a number of ntdll's.
    pub kind: u32,
    /// What the debugger calls that, where the number is known.
    pub name: Option<&'static str>,
    /// The heap.
    pub heap: u64,
    /// Where it was wrong: a block, an entry, a link.
    pub address: u64,
    /// Address of the stack in the record.
    pub stack_at: u64,
    /// The stack of the call that met it, innermost first.
    pub stack: Vec<u64>,
}

/// The types of failure, by number.
const NAMES: [&str; 23] = [
    "HEAP_FAILURE_INTERNAL",
    "HEAP_FAILURE_UNKNOWN",
    "HEAP_FAILURE_GENERIC",
    "HEAP_FAILURE_ENTRY_CORRUPTION",
    "HEAP_FAILURE_MULTIPLE_ENTRIES_CORRUPTION",
    "HEAP_FAILURE_VIRTUAL_BLOCK_CORRUPTION",
    "HEAP_FAILURE_BUFFER_OVERRUN",
    "HEAP_FAILURE_BUFFER_UNDERRUN",
    "HEAP_FAILURE_BLOCK_NOT_BUSY",
    "HEAP_FAILURE_INVALID_ARGUMENT",
    ALLOCATION_TYPE,
    "HEAP_FAILURE_USAGE_AFTER_FREE",
    "HEAP_FAILURE_CROSS_HEAP_OPERATION",
    "HEAP_FAILURE_FREELISTS_CORRUPTION",
    "HEAP_FAILURE_LISTENTRY_CORRUPTION",
    "HEAP_FAILURE_LFH_BITMAP_MISMATCH",
    "HEAP_FAILURE_SEGMENT_LFH_BITMAP_CORRUPTION",
    "HEAP_FAILURE_SEGMENT_LFH_DOUBLE_FREE",
    "HEAP_FAILURE_VS_SUBSEGMENT_CORRUPTION",
    "HEAP_FAILURE_NULL_HEAP",
    "HEAP_FAILURE_ALLOCATION_LIMIT",
    "HEAP_FAILURE_COMMIT_LIMIT",
    "HEAP_FAILURE_INVALID_VA_MGR_QUERY",
];
const ALLOCATION_TYPE: &str = "HEAP_FAILURE_INVALID_ALLOCATION_TYPE";

/// The name of a type of failure; Windows 7 has no invalid allocation type.
fn name(kind: u32, build: u32) -> Option<&'static str> {
    let mut names = NAMES
        .into_iter()
        .filter(|&name| build >= FIRST_WITH_ALLOCATION_TYPE || name != ALLOCATION_TYPE);
    names.nth(kind as usize)
}

impl HeapFailure {
    /// In plain words what was wrong.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        match self.name {
            Some("HEAP_FAILURE_BLOCK_NOT_BUSY") => {
                "a block that is free was freed again, resized or asked for its size"
            }
            Some("HEAP_FAILURE_ENTRY_CORRUPTION") => "the header of a block was overwritten",
            Some("HEAP_FAILURE_MULTIPLE_ENTRIES_CORRUPTION") => {
                "the headers of several blocks were overwritten"
            }
            Some("HEAP_FAILURE_VIRTUAL_BLOCK_CORRUPTION") => {
                "the header of a large block was overwritten"
            }
            Some("HEAP_FAILURE_BUFFER_OVERRUN") => "the program wrote behind the end of a block",
            Some("HEAP_FAILURE_BUFFER_UNDERRUN") => {
                "the program wrote in front of the beginning of a block"
            }
            Some("HEAP_FAILURE_INVALID_ARGUMENT") => {
                "an address was freed that is that of no block"
            }
            Some("HEAP_FAILURE_USAGE_AFTER_FREE") => "a block was written to after it was freed",
            Some("HEAP_FAILURE_CROSS_HEAP_OPERATION") => {
                "a block was given to another heap than its own"
            }
            Some("HEAP_FAILURE_FREELISTS_CORRUPTION") => "a list of free blocks was overwritten",
            Some("HEAP_FAILURE_LISTENTRY_CORRUPTION") => {
                "the links in a free block were overwritten"
            }
            Some(
                "HEAP_FAILURE_LFH_BITMAP_MISMATCH" | "HEAP_FAILURE_SEGMENT_LFH_BITMAP_CORRUPTION",
            ) => "header and bitmap of a small block disagree",
            Some("HEAP_FAILURE_SEGMENT_LFH_DOUBLE_FREE") => "a small block was freed twice",
            Some("HEAP_FAILURE_VS_SUBSEGMENT_CORRUPTION") => {
                "the header of a subsegment was overwritten"
            }
            Some("HEAP_FAILURE_NULL_HEAP") => "a call named no heap",
            Some(_) | None => "the heap manager found its data damaged",
        }
    }
}

impl Process<'_, '_> {
    /// What ntdll noted of a damaged heap: by the dump's exception where that is for one, else from
    /// ntdll's data. `None` where nothing was noted or the record is not in the dump.
    #[must_use]
    pub fn heap_failure(&self) -> Option<HeapFailure> {
        let exception = self.dump.exception.as_ref();
        exception
            .filter(|exception| exception.code == Exception::HEAP_CORRUPTION)
            .and_then(|exception| self.heap_failure_at(*exception.parameters.first()?))
            .or_else(|| {
                let mut words = self.ntdll_words();
                words.find_map(|(at, word)| {
                    VERSIONS.contains(&(word as u32)).then_some(())?;
                    self.heap_failure_at(at)
                })
            })
    }

    /// The record at an address, if it is one by what it says of itself and something is noted in it.
    fn heap_failure_at(&self, record: u64) -> Option<HeapFailure> {
        let memory = self.memory();
        let at = memory.at(record, self.bitness);
        let own = &self.layouts.heap_failure;
        let size = at.u32(own.structure_size)?;
        let fits = |layout: &HeapFailureLayout| layout.struct_size == size;
        let other = FORMS
            .iter()
            .map(|&build| HeapFailureLayout::for_build(build, self.bitness))
            .find(|layout| fits(layout));
        let layout = if fits(own) { own } else { &other? };
        if !VERSIONS.contains(&at.u32(layout.version)?) {
            return None;
        }
        let (kind, heap, address) = (
            at.u32(layout.failure_type)?,
            at.pointer(layout.heap_address)?,
            at.pointer(layout.address)?,
        );
        if kind == 0 && heap == 0 && address == 0 {
            return None;
        }
        let stack_at = at.address(layout.stack_trace)?;
        let frame = |index: u64| {
            let at = stack_at.checked_add(index * self.bitness.pointer_size())?;
            memory.pointer(at, self.bitness).filter(|&frame| frame != 0)
        };
        Some(HeapFailure {
            record,
            kind,
            name: name(kind, self.build),
            heap,
            address,
            stack_at,
            stack: (0..FRAMES).map_while(frame).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Bitness;

    #[test]
    fn types_of_failure_are_counted_as_the_build_does() {
        assert_eq!(name(8, 19041), Some("HEAP_FAILURE_BLOCK_NOT_BUSY"));
        assert_eq!(name(11, 19041), Some("HEAP_FAILURE_USAGE_AFTER_FREE"));
        assert_eq!(name(10, 7601), Some("HEAP_FAILURE_USAGE_AFTER_FREE"));
        assert_eq!(name(99, 19041), None);
    }

    #[test]
    fn every_form_is_told_by_its_size() {
        for (bitness, sizes) in [
            (Bitness::X64, [0x168, 0x6e0, 0x6d0]),
            (Bitness::X86, [0xb8, 0x3d8, 0x3d0]),
        ] {
            for (build, size) in FORMS.into_iter().zip(sizes) {
                let layout = HeapFailureLayout::for_build(build, bitness);
                assert_eq!(layout.struct_size, size);
            }
        }
    }
}
