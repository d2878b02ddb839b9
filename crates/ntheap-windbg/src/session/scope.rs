//! What commands speak of: a thread, its registers, a function on its stack.

use std::mem;

use super::Session;
use ntheap::dump::Context;

/// What commands speak of that do not say it themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    /// The thread, as an index into the dump's.
    pub(super) thread: usize,
    /// Registers that `.ecxr` or `.cxr` took in place of the thread's.
    pub(super) context: Option<Context>,
    /// The function on the stack, from the innermost one.
    pub(super) frame: usize,
}

impl Scope {
    /// The innermost function of a thread.
    pub(super) const fn of_thread(thread: usize) -> Self {
        Scope {
            thread,
            context: None,
            frame: 0,
        }
    }
}

impl Session<'_, '_> {
    /// Registers of the thread that commands speak of, or those that `.ecxr` took.
    pub(super) fn current_context(&self) -> Option<Context> {
        self.scope.context.or_else(|| {
            let thread = self.process.dump.threads.get(self.scope.thread)?;
            self.process.thread_context(thread)
        })
    }

    /// Does work in another scope; behind it, however it ends, the scope is what it was.
    pub(super) fn within<T>(&mut self, scope: Scope, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = mem::replace(&mut self.scope, scope);
        let result = work(self);
        self.scope = before;
        result
    }
}
