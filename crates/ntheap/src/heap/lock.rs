//! The critical section that serializes a heap.

use crate::{address_space::AddressSpace, layout::Layouts};

/// State of a critical section at the time of the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockState {
    /// Address of the `_RTL_CRITICAL_SECTION`.
    pub address: u64,
    /// Identifier of the thread that holds it, `None` if it is free.
    pub owner_thread: Option<u32>,
    /// How often the owner has entered it.
    pub recursion: u32,
    /// Threads that wait for it.
    pub waiting: u32,
    /// How often a thread found it held, as its debug information counts; `None` without that.
    pub contention: Option<u32>,
}

impl LockState {
    /// Reads the critical section at `address`; `None` if that is 0 or not in the dump.
    #[must_use]
    pub fn read(memory: &AddressSpace<'_>, layouts: &Layouts, address: u64) -> Option<Self> {
        if address == 0 {
            return None;
        }
        let layout = &layouts.critical_section;
        let lock = memory.at(address, layouts.bitness);
        let count = lock.u32(layout.lock_count)? as i32;
        let recursion = lock.u32(layout.recursion_count)?;
        // The handle-sized field holds a thread identifier, which has 32 bits.
        let owner = lock.pointer(layout.owning_thread)? as u32;
        let debug = lock.pointer(layout.debug_info).unwrap_or(0);
        let debug = memory.at(debug, layouts.bitness);
        Some(LockState {
            address,
            owner_thread: (owner != 0).then_some(owner),
            recursion,
            waiting: waiting_threads(count, recursion),
            contention: debug.u32(layouts.critical_section_debug.contention_count),
        })
    }
}

/// The threads that wait, by `LockCount`.
///
/// XP and the first release of Server 2003 count from -1: every entry, of the owner or of one that
/// waits, adds one. Since the service packs of Server 2003 bit 0 says "free", bit 1 "no thread is
/// being woken", and the bits above are the complement of the number of waiting threads. A held
/// section is never negative in the first form and always negative in the second, so the value
/// itself tells, where the build (2003 has both) does not. All bits set means free in both.
fn waiting_threads(count: i32, recursion: u32) -> u32 {
    if count >= 0 {
        (count as u32).saturating_sub(recursion.saturating_sub(1))
    } else {
        !(count >> 2) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Bitness;

    fn state(build: u32, count: i32, recursion: u32, owner: u64) -> LockState {
        let layouts = Layouts::for_build(build, Bitness::X64);
        let mut bytes = vec![0u8; 0x80];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let layout = &layouts.critical_section;
        let at = |field: Option<u32>| field.expect("field") as usize;
        put(at(layout.debug_info), &0x1040u64.to_le_bytes());
        put(at(layout.lock_count), &count.to_le_bytes());
        put(at(layout.recursion_count), &recursion.to_le_bytes());
        put(at(layout.owning_thread), &owner.to_le_bytes());
        let contention = at(layouts.critical_section_debug.contention_count);
        put(0x40 + contention, &7u32.to_le_bytes());
        let memory = AddressSpace::new(&bytes, [(0x1000, 0, 0x80)]);
        LockState::read(&memory, &layouts, 0x1000).expect("a lock")
    }

    #[test]
    fn held_and_free_sections_of_both_forms() {
        let free = state(19041, -1, 0, 0);
        assert_eq!(
            (free.owner_thread, free.waiting, free.contention),
            (None, 0, Some(7))
        );
        let held = state(19041, -2, 1, 0x1234);
        assert_eq!(
            (held.owner_thread, held.recursion, held.waiting),
            (Some(0x1234), 1, 0)
        );
        // Two threads wait, one of them is being woken.
        assert_eq!(state(19041, !(2 << 2) & !3, 3, 0x1234).waiting, 2);
        let old = state(3790, 4, 3, 0x1234);
        assert_eq!((old.recursion, old.waiting), (3, 2));
        assert_eq!(state(3790, 0, 1, 0x1234).waiting, 0);
    }

    #[test]
    fn a_lock_outside_the_dump_has_no_state() {
        let memory = AddressSpace::new(&[], []);
        let layouts = Layouts::for_build(19041, Bitness::X86);
        assert_eq!(LockState::read(&memory, &layouts, 0), None);
        assert_eq!(LockState::read(&memory, &layouts, 0x1000), None);
        assert_eq!(LockState::read(&memory, &layouts, u64::MAX), None);
    }
}
