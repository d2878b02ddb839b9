//! 32-bit stacks, by frame pointers.

use super::{Frame, Stack, StackEnd};
use crate::dump::{Context, Dump, Module};

const POINTER: u64 = 4;

pub(super) fn walk(dump: &Dump<'_>, context: &Context, most: usize) -> Stack {
    let mut frame = Frame {
        instruction: context.instruction_pointer(),
        stack_pointer: context.stack_pointer(),
        frame_pointer: context.register("ebp").unwrap_or(0),
        ..Frame::default()
    };
    let word = |at: u64| dump.memory.u32(at).map(u64::from);
    let mut frames = Vec::new();
    let end = loop {
        if frames.len() >= most {
            break StackEnd::Limit;
        }
        // A stub that calls the system makes no frame: the return address is on top of the stack.
        if frames.is_empty() && is_stub(dump, frame.instruction) {
            let top = frame.stack_pointer;
            if let Some(returned) = word(top)
                && dump.module_at(returned).is_some()
            {
                frame.return_address = returned;
                frame.parameters = Some(top + POINTER);
                frames.push(frame);
                frame = Frame {
                    instruction: returned,
                    stack_pointer: top + POINTER,
                    frame_pointer: frame.frame_pointer,
                    returned_to: true,
                    ..Frame::default()
                };
                continue;
            }
        }
        let pointer = frame.frame_pointer;
        if pointer == 0 {
            frames.push(frame);
            break StackEnd::Bottom;
        }
        if pointer < frame.stack_pointer || !pointer.is_multiple_of(POINTER) {
            frames.push(frame);
            break StackEnd::NoProgress;
        }
        let (Some(outer), Some(returned)) = (word(pointer), word(pointer + POINTER)) else {
            frames.push(frame);
            break StackEnd::NoStack(pointer);
        };
        frame.return_address = returned;
        frame.parameters = Some(pointer + 2 * POINTER);
        frames.push(frame);
        if returned == 0 {
            break StackEnd::Bottom;
        }
        if dump.module_at(returned).is_none() && dump.region_at(returned).is_none() {
            break StackEnd::NoImage(returned);
        }
        frame = Frame {
            instruction: returned,
            stack_pointer: pointer + 2 * POINTER,
            frame_pointer: outer,
            returned_to: true,
            ..Frame::default()
        };
    };
    Stack { frames, end }
}

/// Whether a thread that waits in the system would go on at this address: at a return, in a module
/// whose functions that call the system are stubs.
fn is_stub(dump: &Dump<'_>, address: u64) -> bool {
    /// `ret`, with and without a number of bytes to take from the stack.
    const RETURNS: [u8; 2] = [0xc3, 0xc2];
    let returns = dump.memory.u8(address);
    if !returns.is_some_and(|code| RETURNS.contains(&code)) {
        return false;
    }
    let stubs = |module: &Module| {
        let name = module.name();
        ["ntdll", "win32u", "wow64cpu"]
            .iter()
            .any(|stub| name.eq_ignore_ascii_case(stub))
    };
    dump.module_at(address).is_some_and(stubs)
}
