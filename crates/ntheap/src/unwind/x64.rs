//! 64-bit stacks, by the unwind data of images.

use std::ops::ControlFlow;

use pe_unwind_info::x86_64::{
    FunctionEpilogInstruction, Register, UnwindInfo, UnwindOperation, UnwindState, XmmRegister,
};

use super::{Frame, Stack, StackEnd, image::Function, image::Image};
use crate::{
    address_space::AddressSpace,
    dump::{Context, Dump},
};

/// Names of the registers in the order of their numbers.
const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
/// A function is described in so many parts at most: the first, and those that it is chained to.
const MOST_PARTS: usize = 32;
/// The largest unwind data of a part: header, 255 codes of two bytes, and what follows them.
const LARGEST: usize = 4 + 2 * 256 + 16;
/// Epilogues are shorter.
const EPILOGUE: usize = 64;
/// Programs have the addresses between these. Sums of an address and what unwind data add to it
/// stay far from the ends of the numbers.
const ADDRESSES: std::ops::Range<u64> = 0x1_0000..0x8000_0000_0000;

/// The part that a part is chained to; `None` where what should tell of it is cut off. Read here: the codes
/// are padded to an even number, which the library (0.6.1) does not count in.
fn chained(data: &[u8]) -> Option<Option<Function>> {
    /// `UNW_FLAG_CHAININFO`, behind three bits of a version.
    const CHAINED: u8 = 4 << 3;
    if data.first()? & CHAINED == 0 {
        return Some(None);
    }
    let codes = usize::from(*data.get(2)?).next_multiple_of(2);
    let word = |index: usize| {
        let at = 4 + codes * 2 + index * 4;
        Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
    };
    Some(Some(Function {
        begin: word(0)?,
        end: word(1)?,
        unwind: word(2)? & !1,
    }))
}

/// The registers while a stack is followed.
struct State<'d, 'a> {
    memory: &'d AddressSpace<'a>,
    registers: [u64; 16],
    instruction: u64,
    /// The first word of the stack that was not in the dump.
    missing: Option<u64>,
    /// Whether the instruction is the next one to be carried out, and no return address: in the
    /// innermost function, and in one that was interrupted.
    exact: bool,
}

impl UnwindState for State<'_, '_> {
    fn read_register(&mut self, register: Register) -> u64 {
        self.registers[register as usize]
    }

    fn read_stack(&mut self, address: u64) -> Option<u64> {
        let word = self.memory.u64(address);
        if word.is_none() {
            self.missing.get_or_insert(address);
        }
        word
    }

    fn write_register(&mut self, register: Register, value: u64) {
        self.registers[register as usize] = value;
    }

    fn write_xmm_register(&mut self, _: XmmRegister, _: u128) {}
}

pub(super) fn walk(dump: &Dump<'_>, context: &Context, most: usize) -> Stack {
    let mut state = State {
        memory: &dump.memory,
        registers: NAMES.map(|name| context.register(name).unwrap_or(0)),
        instruction: context.instruction_pointer(),
        missing: None,
        exact: true,
    };
    let mut frames: Vec<Frame> = Vec::new();
    let end = loop {
        if frames.len() >= most {
            break StackEnd::Limit;
        }
        let stack_pointer = state.stack_pointer();
        frames.push(Frame {
            instruction: state.instruction,
            stack_pointer,
            frame_pointer: state.registers[Register::RBP as usize],
            returned_to: !state.exact,
            ..Frame::default()
        });
        if let Err(end) = state.step(dump) {
            break end;
        }
        if let Some(frame) = frames.last_mut() {
            frame.return_address = state.instruction;
            // The caller's room for parameters begins where its stack pointer is.
            frame.parameters = Some(state.stack_pointer());
        }
        if state.instruction == 0 {
            break StackEnd::Bottom;
        }
        if state.stack_pointer() <= stack_pointer {
            break StackEnd::NoProgress;
        }
    };
    Stack { frames, end }
}

impl State<'_, '_> {
    fn stack_pointer(&self) -> u64 {
        self.registers[Register::RSP as usize]
    }

    /// Steps to the caller.
    fn step(&mut self, dump: &Dump<'_>) -> Result<(), StackEnd> {
        let (address, exact) = (self.instruction, std::mem::take(&mut self.exact));
        let no_data = StackEnd::NoUnwindData(address);
        let Some(image) = Image::at(dump, address) else {
            return Err(StackEnd::NoImage(address));
        };
        // A call can be the last instruction of a function: then it would return into the next.
        let within = if exact { address } else { address - 1 };
        let offset = u32::try_from(within - image.base).map_err(|_| no_data.clone())?;
        let function = image.function(offset).map_err(|()| no_data.clone())?;
        self.missing = None;
        match function {
            Some(function) => {
                let offset = offset + u32::from(!exact);
                let returned = self.unwind(&image, function, offset, exact);
                let returned = returned.ok_or(match self.missing {
                    Some(missing) => StackEnd::NoStack(missing),
                    None => no_data,
                })?;
                if let ControlFlow::Break(instruction) = returned {
                    self.instruction = instruction;
                    self.exact = true;
                    return Ok(());
                }
            }
            // Only a function that calls none can be one that puts nothing on the stack.
            None if exact => {}
            None => return Err(no_data),
        }
        self.instruction = self
            .pop()
            .ok_or_else(|| StackEnd::NoStack(self.stack_pointer()))?;
        Ok(())
    }

    fn pop(&mut self) -> Option<u64> {
        let at = self.stack_pointer();
        let word = self.read_stack(at)?;
        self.registers[Register::RSP as usize] = at.checked_add(8)?;
        Some(word)
    }

    /// Takes from the stack what a function has put there by the instruction at an offset of the
    /// image. Breaks with the interrupted instruction where the function is an interrupt's.
    fn unwind(
        &mut self,
        image: &Image<'_, '_>,
        mut function: Function,
        offset: u32,
        exact: bool,
    ) -> Option<ControlFlow<u64>> {
        for part in 0..MOST_PARTS {
            let mut bytes = [0; LARGEST];
            let read = image.read(function.unwind, &mut bytes);
            let info = UnwindInfo::parse(&bytes[..read])?;
            if part == 0 && exact && self.finish(image, function, &info, offset).is_some() {
                return Some(ControlFlow::Continue(()));
            }
            let executed = offset.saturating_sub(function.begin);
            let operations = info
                .unwind_operations()
                .filter(|(_, operation)| {
                    !matches!(operation, UnwindOperation::EpilogInformation(_))
                })
                .skip_while(|(at, _)| part == 0 && u32::from(*at) > executed);
            for (_, operation) in operations {
                if !self.is_sound(info.frame_register()) {
                    return None;
                }
                if let ControlFlow::Break(at) = info.resolve_operation(self, &operation)? {
                    return Some(ControlFlow::Break(at));
                }
            }
            match chained(&bytes[..read])? {
                Some(first) => function = first,
                None => {
                    let sound = ADDRESSES.contains(&self.stack_pointer());
                    return sound.then_some(ControlFlow::Continue(()));
                }
            }
        }
        None
    }

    /// Whether what operations start from are addresses.
    fn is_sound(&self, frame: Option<Register>) -> bool {
        let frame = frame.map_or(self.stack_pointer(), |frame| self.registers[frame as usize]);
        ADDRESSES.contains(&self.stack_pointer()) && ADDRESSES.contains(&frame)
    }

    /// If what is left of a function is its epilogue, does what that would do but for the return.
    fn finish(
        &mut self,
        image: &Image<'_, '_>,
        function: Function,
        info: &UnwindInfo<'_>,
        offset: u32,
    ) -> Option<()> {
        let left = function.end.checked_sub(offset)? as usize;
        let mut code = [0; EPILOGUE];
        let read = image.read(offset, &mut code[..left.min(EPILOGUE)]);
        let frame = info.frame_register();
        let rest = FunctionEpilogInstruction::parse_sequence(&code[..read], frame).ok()?;
        if !self.is_sound(frame) {
            return None;
        }
        let before = self.registers;
        for instruction in &rest {
            let stack = match *instruction {
                FunctionEpilogInstruction::AddSP(bytes) => {
                    self.stack_pointer().checked_add(bytes.into())
                }
                FunctionEpilogInstruction::AddSPFromFP(bytes) => {
                    frame.and_then(|frame| self.registers[frame as usize].checked_add(bytes.into()))
                }
                FunctionEpilogInstruction::Pop(register) => self.pop().map(|word| {
                    self.write_register(register, word);
                    self.stack_pointer()
                }),
            };
            match stack {
                Some(stack) => self.registers[Register::RSP as usize] = stack,
                None => {
                    self.registers = before;
                    return None;
                }
            }
        }
        Some(())
    }
}
