//! Stacks of threads: from the registers to the functions that wait for each other to return.
//!
//! 64-bit code is followed by the unwind data of its images, 32-bit code by its frame pointers. Where
//! the dump does not hold what the next step needs, the stack ends there and says so
//! ([`StackEnd`]); nothing is guessed from what lies on the stack.
//!
//! ```no_run
//! # fn stacks(process: &ntheap::process::Process<'_, '_>) {
//! for thread in &process.dump.threads {
//!     if let Some(context) = process.thread_context(thread) {
//!         for frame in ntheap::unwind::walk(process, &context, 100).frames {
//!             println!("{:#x}", frame.instruction);
//!         }
//!     }
//! }
//! # }
//! ```

mod image;
mod x64;
mod x86;

use crate::{
    dump::{Architecture, Context},
    process::Process,
};

/// No stack of a program is as deep.
pub const MOST_FRAMES: usize = 0x1_0000;

/// A function on a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Frame {
    /// Address of the instruction that is executed next in it: of all but the innermost one that
    /// behind the call.
    pub instruction: u64,
    /// The stack pointer in it.
    pub stack_pointer: u64,
    /// Address at which its caller goes on, 0 where there is none or it can't be told.
    pub return_address: u64,
    /// The frame pointer in it (`rbp`, `ebp`).
    pub frame_pointer: u64,
    /// Address of the words behind the return address: for 32-bit code the parameters, for 64-bit
    /// code the room for them.
    pub parameters: Option<u64>,
    /// Whether the instruction is a return address: it belongs to the call in front of it, which can be
    /// the last instruction of its function. It is none in the innermost function, and in one that was
    /// interrupted.
    pub returned_to: bool,
}

/// Why a stack has no more frames.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackEnd {
    /// The first function of the thread was reached.
    Bottom,
    /// As many frames as were asked for.
    Limit,
    /// The stack at this address is not in the dump.
    NoStack(u64),
    /// Unwind data that are needed for code at this address are not in the dump, or damaged.
    NoUnwindData(u64),
    /// Code at this address belongs to no image: nothing tells what its function has put on the
    /// stack.
    NoImage(u64),
    /// The next frame would not lie above this one: the stack, or what tells of it, is damaged.
    NoProgress,
    /// Stacks of this processor are not followed.
    Unsupported,
}

/// The functions of a thread, the innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stack {
    /// The functions.
    pub frames: Vec<Frame>,
    /// Why there are no more.
    pub end: StackEnd,
}

/// Follows a stack from a thread's registers, for at most so many frames.
#[must_use]
pub fn walk(process: &Process<'_, '_>, context: &Context, most: usize) -> Stack {
    let most = most.min(MOST_FRAMES);
    match context.architecture() {
        Architecture::X64 => x64::walk(process.dump, context, most),
        Architecture::X86 => x86::walk(process.dump, context, most),
        Architecture::Arm64 => Stack {
            frames: vec![Frame {
                instruction: context.instruction_pointer(),
                stack_pointer: context.stack_pointer(),
                ..Frame::default()
            }],
            end: StackEnd::Unsupported,
        },
    }
}
