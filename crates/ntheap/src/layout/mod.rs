//! Structure layouts: where each field of ntdll's heap structures lies, per build and bitness.

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
