//! What memory is filled with that nothing uses.

/// Whether a word of so many bytes is the same 16 bits over and over: zeros, `e0e0…` of the page heap, `feee…` of
/// the debug heap. Taken for headers without encoding, such words chain with each other.
pub(super) fn is_fill(word: u64, size: u64) -> bool {
    let pattern = (word & 0xffff) * 0x0001_0001_0001_0001;
    let unused = u64::BITS as u64 - 8 * size;
    word << unused == pattern << unused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_repeat_themselves() {
        assert!(is_fill(0, 4) && is_fill(0, 8));
        assert!(is_fill(0xfeee_feee, 4) && !is_fill(0xfeee_feee, 8));
        assert!(is_fill(0xe0e0_e0e0_e0e0_e0e0, 8));
        assert!(!is_fill(0x0801_d0ce_5639_4ce1, 8) && !is_fill(0x0001_0002, 4));
    }
}
