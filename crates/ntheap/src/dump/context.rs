//! Registers of a thread.
//!
//! ```
//! use ntheap::dump::{Architecture, Context};
//!
//! let mut bytes = [0u8; 0xcc];
//! bytes[..4].copy_from_slice(&0x1_0003u32.to_le_bytes());
//! bytes[0xb0..0xb4].copy_from_slice(&7u32.to_le_bytes());
//! bytes[0xc4..0xc8].copy_from_slice(&0x0013_f000u32.to_le_bytes());
//! let context = Context::read(&bytes, Architecture::X86).expect("a context");
//! assert_eq!(context.stack_pointer(), 0x0013_f000);
//! assert!(context.registers().any(|register| register == ("eax", 7)));
//! ```

use super::Architecture;

/// Registers that the largest set has, the instruction pointer aside.
const MOST: usize = 32;
/// Registers of segments.
const SEGMENTS: usize = 6;
/// `CONTEXT_CONTROL` and `CONTEXT_INTEGER`: which parts of a context are filled in.
const CONTROL: u32 = 1;
const INTEGER: u32 = 2;

/// Where a processor's registers lie in its `CONTEXT`.
struct Form {
    flags: usize,
    /// The bit of the flags that names the processor.
    processor: u32,
    size: usize,
    instruction_pointer: usize,
    stack_pointer: usize,
    /// General registers, those of `CONTEXT_CONTROL` among them.
    registers: &'static [(&'static str, usize)],
    /// Those of them that `CONTEXT_CONTROL` brings.
    control: &'static [&'static str],
    /// The register of flags, of 32 bits.
    processor_flags: usize,
    /// 16-bit registers of segments.
    segments: &'static [(&'static str, usize)],
}

const X86: Form = Form {
    flags: 0,
    processor: 0x1_0000,
    size: 4,
    instruction_pointer: 0xb8,
    stack_pointer: 0xc4,
    registers: &[
        ("edi", 0x9c),
        ("esi", 0xa0),
        ("ebx", 0xa4),
        ("edx", 0xa8),
        ("ecx", 0xac),
        ("eax", 0xb0),
        ("ebp", 0xb4),
        ("esp", 0xc4),
    ],
    control: &["ebp", "esp"],
    processor_flags: 0xc0,
    segments: &[
        ("cs", 0xbc),
        ("ss", 0xc8),
        ("ds", 0x98),
        ("es", 0x94),
        ("fs", 0x90),
        ("gs", 0x8c),
    ],
};

const X64: Form = Form {
    flags: 0x30,
    processor: 0x10_0000,
    size: 8,
    instruction_pointer: 0xf8,
    stack_pointer: 0x98,
    registers: &[
        ("rax", 0x78),
        ("rcx", 0x80),
        ("rdx", 0x88),
        ("rbx", 0x90),
        ("rsp", 0x98),
        ("rbp", 0xa0),
        ("rsi", 0xa8),
        ("rdi", 0xb0),
        ("r8", 0xb8),
        ("r9", 0xc0),
        ("r10", 0xc8),
        ("r11", 0xd0),
        ("r12", 0xd8),
        ("r13", 0xe0),
        ("r14", 0xe8),
        ("r15", 0xf0),
    ],
    control: &["rsp"],
    processor_flags: 0x44,
    segments: &[
        ("cs", 0x38),
        ("ss", 0x42),
        ("ds", 0x3a),
        ("es", 0x3c),
        ("fs", 0x3e),
        ("gs", 0x40),
    ],
};

const ARM64: Form = Form {
    flags: 0,
    processor: 0x40_0000,
    size: 8,
    instruction_pointer: 0x108,
    stack_pointer: 0x100,
    registers: &[
        ("x0", 0x8),
        ("x1", 0x10),
        ("x2", 0x18),
        ("x3", 0x20),
        ("x4", 0x28),
        ("x5", 0x30),
        ("x6", 0x38),
        ("x7", 0x40),
        ("x8", 0x48),
        ("x9", 0x50),
        ("x10", 0x58),
        ("x11", 0x60),
        ("x12", 0x68),
        ("x13", 0x70),
        ("x14", 0x78),
        ("x15", 0x80),
        ("x16", 0x88),
        ("x17", 0x90),
        ("x18", 0x98),
        ("x19", 0xa0),
        ("x20", 0xa8),
        ("x21", 0xb0),
        ("x22", 0xb8),
        ("x23", 0xc0),
        ("x24", 0xc8),
        ("x25", 0xd0),
        ("x26", 0xd8),
        ("x27", 0xe0),
        ("x28", 0xe8),
        ("fp", 0xf0),
        ("lr", 0xf8),
        ("sp", 0x100),
    ],
    control: &["fp", "lr", "sp"],
    processor_flags: 0x4,
    segments: &[],
};

/// The general registers of a thread, as its `CONTEXT` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    architecture: Architecture,
    instruction_pointer: u64,
    stack_pointer: u64,
    values: [u64; MOST],
    /// Bit by bit, which of the values are in the dump.
    present: u32,
    processor_flags: u32,
    segments: [u16; SEGMENTS],
}

fn form(architecture: Architecture) -> &'static Form {
    match architecture {
        Architecture::X86 => &X86,
        Architecture::X64 => &X64,
        Architecture::Arm64 => &ARM64,
    }
}

impl Context {
    /// Reads a `CONTEXT` of a processor; `None` if it is cut off, of another processor, or without
    /// a stack pointer.
    #[must_use]
    pub fn read(bytes: &[u8], architecture: Architecture) -> Option<Self> {
        let form = form(architecture);
        let flags = bytes.get(form.flags..)?.first_chunk()?;
        let flags = u32::from_le_bytes(*flags);
        if flags & form.processor == 0 || flags & CONTROL == 0 {
            return None;
        }
        let word = |at: usize| -> Option<u64> {
            let mut value = [0; 8];
            value[..form.size].copy_from_slice(bytes.get(at..at + form.size)?);
            Some(u64::from_le_bytes(value))
        };
        let half = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let mut context = Context {
            architecture,
            instruction_pointer: word(form.instruction_pointer)?,
            stack_pointer: word(form.stack_pointer)?,
            values: [0; MOST],
            present: 0,
            processor_flags: half(form.processor_flags)?,
            segments: [0; SEGMENTS],
        };
        for (value, &(_, at)) in context.segments.iter_mut().zip(form.segments) {
            *value = half(at)? as u16;
        }
        for (index, &(name, at)) in form.registers.iter().enumerate() {
            if flags & INTEGER != 0 || form.control.contains(&name) {
                context.values[index] = word(at)?;
                context.present |= 1 << index;
            }
        }
        Some(context)
    }

    /// Registers of which only these are known: from where a stack is to be followed.
    #[must_use]
    pub fn starting_at(
        architecture: Architecture,
        instruction_pointer: u64,
        stack_pointer: u64,
        frame_pointer: u64,
    ) -> Self {
        let mut context = Context {
            architecture,
            instruction_pointer,
            stack_pointer,
            values: [0; MOST],
            present: 0,
            processor_flags: 0,
            segments: [0; SEGMENTS],
        };
        for (index, &(name, _)) in form(architecture).registers.iter().enumerate() {
            let value = match name {
                "rsp" | "esp" => stack_pointer,
                "rbp" | "ebp" => frame_pointer,
                _ => continue,
            };
            context.values[index] = value;
            context.present |= 1 << index;
        }
        context
    }

    /// Processor whose registers they are: of a WOW64 thread's own, that of the 32-bit side.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Address of the next instruction.
    #[must_use]
    pub fn instruction_pointer(&self) -> u64 {
        self.instruction_pointer
    }

    /// Address of the top of the stack.
    #[must_use]
    pub fn stack_pointer(&self) -> u64 {
        self.stack_pointer
    }

    /// The register of flags: `efl` on Intel's processors.
    #[must_use]
    pub fn processor_flags(&self) -> u32 {
        self.processor_flags
    }

    /// The registers of segments with their names; ARM has none.
    pub fn segments(&self) -> impl Iterator<Item = (&'static str, u16)> + '_ {
        let names = form(self.architecture).segments.iter();
        names
            .zip(self.segments)
            .map(|(&(name, _), value)| (name, value))
    }

    /// A general register by its name, if the dump has it.
    #[must_use]
    pub fn register(&self, name: &str) -> Option<u64> {
        let found = self.registers().find(|register| register.0 == name);
        found.map(|(_, value)| value)
    }

    /// The general registers with their names, stack and frame pointer among them.
    pub fn registers(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let registers = form(self.architecture).registers.iter().enumerate();
        registers
            .filter(|(index, _)| self.present >> index & 1 != 0)
            .map(|(index, &(name, _))| (name, self.values[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(form: &Form, flags: u32) -> Vec<u8> {
        let mut bytes = vec![0; 0x110];
        bytes[form.flags..form.flags + 4].copy_from_slice(&(form.processor | flags).to_le_bytes());
        for &(_, at) in form.registers {
            bytes[at..at + 4].copy_from_slice(&(at as u32).to_le_bytes());
        }
        bytes
    }

    #[test]
    fn each_processor_has_its_registers() {
        for (architecture, form) in [
            (Architecture::X86, &X86),
            (Architecture::X64, &X64),
            (Architecture::Arm64, &ARM64),
        ] {
            let context = Context::read(&bytes(form, 3), architecture).expect("a context");
            assert_eq!(context.stack_pointer(), form.stack_pointer as u64);
            let found: Vec<_> = context.registers().collect();
            let expected: Vec<_> = form.registers.iter().map(|r| (r.0, r.1 as u64)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_the_flags_leave_out_is_not_there() {
        let control = Context::read(&bytes(&X64, 1), Architecture::X64).expect("a context");
        assert_eq!(control.registers().collect::<Vec<_>>(), [("rsp", 0x98)]);
        assert_eq!(Context::read(&bytes(&X64, 2), Architecture::X64), None);
        assert_eq!(Context::read(&bytes(&X64, 3), Architecture::X86), None);
        assert_eq!(
            Context::read(&bytes(&X64, 3)[..0xf0], Architecture::X64),
            None
        );
        assert_eq!(Context::read(&[], Architecture::Arm64), None);
    }
}
