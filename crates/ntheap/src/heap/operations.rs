//! Heap calls that had not returned when the dump was taken.
//!
//! A dump freezes threads anywhere, also in the middle of an allocation. The thread that holds a
//! heap's lock is at work on it; the low fragmentation heap takes no lock, so there the thread tells
//! that is inside ntdll with the heap in its registers or on top of its stack.

use super::{Heap, Heaps};
use crate::dump::Thread;

/// A thread at work on a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Handle of the heap.
    pub heap: u64,
    /// Identifier of the thread.
    pub thread: u32,
    /// Whether it holds the heap's lock.
    pub holds_lock: bool,
    /// Its instruction pointer, if the dump has it.
    pub instruction_pointer: Option<u64>,
}

/// Bytes on top of a stack that are looked at: the frames of a heap call.
const STACK_TOP: u64 = 0x600;

impl Heaps<'_, '_> {
    /// The threads that were at work on the heaps, heap by heap: owners of locks first.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.iter()
            .flat_map(|heap| self.operations_on(heap))
            .collect()
    }

    /// The threads that were at work on a heap.
    pub(crate) fn operations_on(&self, heap: &Heap<'_, '_>) -> Vec<Operation> {
        let process = self.process();
        let owner = heap.lock_state().and_then(|lock| lock.owner_thread);
        let threads = &process.dump.threads;
        let ntdll = process.ntdll();
        let mut operations: Vec<Operation> = threads
            .iter()
            .filter_map(|thread| {
                let pointer = thread.context.map(|context| context.instruction_pointer());
                let holds_lock = owner == Some(thread.id);
                let inside = pointer
                    .zip(ntdll)
                    .is_some_and(|(at, ntdll)| ntdll.contains(at));
                let at_work = holds_lock || inside && self.has_at_hand(thread, heap.handle());
                at_work.then_some(Operation {
                    heap: heap.handle(),
                    thread: thread.id,
                    holds_lock,
                    instruction_pointer: pointer,
                })
            })
            .collect();
        // A lock can outlive its owner, or the dump can lack the thread.
        if let Some(owner) = owner
            && !threads.iter().any(|thread| thread.id == owner)
        {
            operations.push(Operation {
                heap: heap.handle(),
                thread: owner,
                holds_lock: true,
                instruction_pointer: None,
            });
        }
        operations.sort_by_key(|operation| (!operation.holds_lock, operation.thread));
        operations
    }

    /// Whether a thread has the handle of a heap in its registers or on top of its stack.
    fn has_at_hand(&self, thread: &Thread, handle: u64) -> bool {
        let Some(context) = thread.context else {
            return false;
        };
        if context.registers().any(|(_, value)| value == handle) {
            return true;
        }
        let process = self.process();
        let size = process.bitness.pointer_size();
        let top = context.stack_pointer();
        (0..STACK_TOP / size)
            .map_while(|index| top.checked_add(index * size))
            .map_while(|at| process.memory().pointer(at, process.bitness))
            .any(|word| word == handle)
    }
}
