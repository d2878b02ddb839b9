//! Structure layouts: where each field of ntdll's heap structures lies, per build and bitness.
//!
//! Every offset that a walker uses comes from here. The built-in tables were made from public type
//! information of ntdll and checked against dumps of every listed build; a [`TypeSource`], such as
//! the exact ntdll's PDB, can replace them with [`Layouts::override_with`].
//!
//! ```
//! use ntheap::layout::{Bitness, Layouts};
//!
//! let layouts = Layouts::for_build(19041, Bitness::X64);
//! assert_eq!(layouts.heap.front_end_heap, Some(0x198));
//! assert!(layouts.is_known());
//! ```

mod catalogue;
mod macros;
mod tables;

pub use catalogue::{FieldType, StructureType, TypeCatalogue, TypeId};
pub use tables::*;

/// A source of structure layouts, such as the type records of ntdll's PDB.
///
/// Names are those of the type records, for instance `_HEAP` and `EncodeFlagMask`.
pub trait TypeSource {
    /// Offset in bytes of `field` (a member of `structure`, possibly inside an unnamed union)
    /// from the start of the structure, or `None` when the source does not have it.
    fn field_offset(&self, structure: &str, field: &str) -> Option<u32>;

    /// Size of `structure` in bytes.
    fn size_of(&self, structure: &str) -> Option<u32>;
}

/// Size of a page in bytes, on every processor that the heaps are known of.
pub const PAGE: u64 = 0x1000;

/// Width of the process whose heaps are walked (not of the dump: see WOW64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bitness {
    /// 32-bit: pointers of 4 bytes, heap units of 8.
    X86,
    /// 64-bit: pointers of 8 bytes, heap units of 16.
    X64,
}

impl Bitness {
    /// Size of a pointer in bytes.
    #[must_use]
    pub const fn pointer_size(self) -> u64 {
        match self {
            Bitness::X86 => 4,
            Bitness::X64 => 8,
        }
    }

    /// Allocation granularity of the NT heap in bytes: the size of a `_HEAP_ENTRY`.
    #[must_use]
    pub const fn unit(self) -> u64 {
        2 * self.pointer_size()
    }

    /// 32 or 64.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Bitness::X86 => 32,
            Bitness::X64 => 64,
        }
    }
}

/// One row of a table: the first build with this layout, the structure's size, its offsets.
type Row<const N: usize> = (u32, u32, [Option<u32>; N]);

/// The row for `build`: the last one that begins at or before it, or the first row of the table
/// for builds older than any that is known (Vista's LFH, for instance, is read with 7's layout).
fn select<const N: usize>(rows: &[Row<N>], build: u32) -> Option<&Row<N>> {
    rows.iter()
        .rev()
        .find(|row| row.0 <= build)
        .or(rows.first())
}

/// The newest build whose NT heap layout was proved on dumps. Newer builds use its layouts after
/// the self-checks of [`crate::process`].
pub const NEWEST_PROVED_BUILD: u32 = 26100;

macro_rules! layouts {
    ($($field:ident: $type:ident),* $(,)?) => {
        /// All layouts of one build and bitness.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Layouts {
            /// The build that these layouts are for.
            pub build: u32,
            /// The width they are for.
            pub bitness: Bitness,
            $(#[doc = concat!("Layout of `", stringify!($field), "`.")] pub $field: $type,)*
        }

        impl Layouts {
            /// The built-in layouts for a Windows build number (7601, 19041, 26100, ...).
            #[must_use]
            pub fn for_build(build: u32, bitness: Bitness) -> Self {
                Layouts { build, bitness, $($field: $type::for_build(build, bitness),)* }
            }

            fn override_all(&mut self, source: &dyn TypeSource) -> usize {
                let mut changed = 0;
                $(changed += self.$field.override_with(source);)*
                changed
            }

            /// Every field of every structure: structure name, field name, offset.
            #[must_use]
            pub fn fields(&self) -> Vec<(&'static str, &'static str, Option<u32>)> {
                let mut all = Vec::new();
                $(all.extend(self.$field.fields().into_iter().map(|(f, o)| ($type::NAME, f, o)));)*
                all
            }

            /// Size in bytes of a structure, if it is one of these.
            #[must_use]
            pub fn size_of(&self, structure: &str) -> Option<u32> {
                $(if structure == $type::NAME {
                    return Some(self.$field.struct_size);
                })*
                None
            }
        }
    };
}

layouts! {
    peb: PebLayout,
    teb: TebLayout,
    nt_tib: NtTibLayout,
    critical_section: CriticalSectionLayout,
    critical_section_debug: CriticalSectionDebugLayout,
    loader_data: LoaderDataLayout,
    loader_entry: LoaderEntryLayout,
    process_parameters: ProcessParametersLayout,
    heap_failure: HeapFailureLayout,
    heap: HeapLayout,
    segment: SegmentLayout,
    counters: CountersLayout,
    entry: EntryLayout,
    entry_extra: EntryExtraLayout,
    virtual_alloc: VirtualAllocLayout,
    ucr_descriptor: UcrDescriptorLayout,
    uncommitted_range: UncommittedRangeLayout,
    list_lookup: ListLookupLayout,
    tag_entry: TagEntryLayout,
    pseudo_tag_entry: PseudoTagEntryLayout,
    lookaside: LookasideLayout,
    lfh_heap: LfhHeapLayout,
    block_zone: BlockZoneLayout,
    user_memory_cache: UserMemoryCacheLayout,
    subsegment: SubSegmentLayout,
    user_data_header: UserDataHeaderLayout,
    segment_heap: SegmentHeapLayout,
    seg_context: SegContextLayout,
    page_segment: PageSegmentLayout,
    page_range_descriptor: PageRangeDescriptorLayout,
    vs_context: VsContextLayout,
    vs_subsegment: VsSubsegmentLayout,
    lfh_context: LfhContextLayout,
    lfh_subsegment_owner: LfhSubsegmentOwnerLayout,
    segment_lfh_subsegment: SegmentLfhSubsegmentLayout,
    large_alloc: LargeAllocLayout,
    memory_stats: MemoryStatsLayout,
    dph_root: DphRootLayout,
    dph_block: DphBlockLayout,
    dph_block_information: DphBlockInformationLayout,
    balanced_links: BalancedLinksLayout,
    stack_trace_database: StackTraceDatabaseLayout,
    stack_trace_entry: StackTraceEntryLayout,
    trace_block: TraceBlockLayout,
    trace_record: TraceRecordLayout,
    trace_log: TraceLogLayout,
}

/// The first build seen whose page heap structures are not those of ntdll's type records.
const FIRST_BUILD_WITH_OWN_PAGE_HEAP: u32 = 14393;

impl Layouts {
    /// Takes from `source` every offset and size that it has. Returns how many values were replaced
    /// by a different one.
    ///
    /// The root and the blocks of page heap are verifier.dll's; on builds where ntdll's type records
    /// have others under the same names, the built-in layouts stay.
    pub fn override_with(&mut self, source: &dyn TypeSource) -> usize {
        if self.build < FIRST_BUILD_WITH_OWN_PAGE_HEAP {
            return self.override_all(source);
        }
        let mut before = (self.dph_root.clone(), self.dph_block.clone());
        let changed = self.override_all(source);
        (self.dph_root, self.dph_block) = before.clone();
        changed - before.0.override_with(source) - before.1.override_with(source)
    }

    /// Whether the build is one whose layouts were proved, rather than a newer one.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.build <= NEWEST_PROVED_BUILD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_begin_at_their_build_and_last_until_the_next() {
        let of = |build| Layouts::for_build(build, Bitness::X64).heap.front_end_heap;
        assert_eq!(of(7601), Some(0x178));
        assert_eq!(of(9600), Some(0x170));
        assert_eq!(of(14393), Some(0x178));
        assert_eq!(of(17763), Some(0x198));
        assert_eq!(of(26100), Some(0x198));
        assert_eq!(
            Layouts::for_build(2600, Bitness::X86).heap.front_end_heap,
            Some(0x580)
        );
    }

    #[test]
    fn a_type_source_overrides_only_what_it_has() {
        struct One;
        impl TypeSource for One {
            fn field_offset(&self, structure: &str, field: &str) -> Option<u32> {
                (structure == "_HEAP" && field == "Flags").then_some(0x1234)
            }
            fn size_of(&self, _: &str) -> Option<u32> {
                None
            }
        }
        let mut layouts = Layouts::for_build(19041, Bitness::X64);
        assert_eq!(layouts.override_with(&One), 1);
        assert_eq!(layouts.heap.flags, Some(0x1234));
        assert_eq!(layouts.heap.encoding, Some(0x80));
    }

    #[test]
    fn type_records_of_ntdll_do_not_override_page_heap_of_verifier() {
        struct All;
        impl TypeSource for All {
            fn field_offset(&self, _: &str, _: &str) -> Option<u32> {
                Some(0x7777)
            }
            fn size_of(&self, _: &str) -> Option<u32> {
                None
            }
        }
        let old = Layouts::for_build(19041, Bitness::X64);
        let mut new = old.clone();
        let changed = new.override_with(&All);
        assert_eq!(new.dph_root, old.dph_root);
        assert_eq!(new.dph_block, old.dph_block);
        let differ = |(a, b): &(_, _)| a != b;
        assert_eq!(
            new.fields()
                .into_iter()
                .zip(old.fields())
                .filter(differ)
                .count(),
            changed
        );
        let mut seven = Layouts::for_build(7601, Bitness::X64);
        seven.override_with(&All);
        assert_eq!(seven.dph_block.stack_trace, Some(0x7777));
    }
}
