//! Segment heaps whose header is lost.

use super::SegmentHeap;
use crate::process::Process;

impl SegmentHeap<'_, '_> {
    /// Whether segments in memory belong to a segment heap with this handle, whose header is lost.
    pub(crate) fn is_lost_heap(process: &Process<'_, '_>, handle: u64) -> bool {
        let _ = (process, handle);
        false
    }
}
