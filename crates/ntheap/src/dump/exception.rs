//! The exception that a dump was written for.

use super::{
    Architecture, Context,
    directory::{Bytes, Stream},
};

/// `EXCEPTION_MAXIMUM_PARAMETERS`.
const MAX_PARAMETERS: u32 = 15;

/// An exception, as the dump records it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exception {
    /// Identifier of the thread that raised it.
    pub thread: u32,
    /// Its code, for instance `c0000005`.
    pub code: u32,
    /// Its flags; 1: it can't be continued.
    pub flags: u32,
    /// Address of the instruction.
    pub address: u64,
    /// Its parameters; what they mean depends on the code.
    pub parameters: Vec<u64>,
    /// The thread's registers when it was raised, if the dump has them (of the 64-bit side under
    /// WOW64).
    pub context: Option<Context>,
}

impl Exception {
    /// `STATUS_HEAP_CORRUPTION`: the heap manager found damage. The first parameter is the address of
    /// ntdll's record of it.
    pub const HEAP_CORRUPTION: u32 = 0xc000_0374;
    /// `STATUS_ACCESS_VIOLATION`.
    pub const ACCESS_VIOLATION: u32 = 0xc000_0005;

    pub(super) fn read(
        file: Bytes<'_>,
        stream: Stream,
        architecture: Architecture,
    ) -> Option<Self> {
        let at = |offset: u64| stream.offset.saturating_add(offset);
        let count = file.u32(at(0x20))?.min(MAX_PARAMETERS);
        let context = || {
            let (size, place) = (file.u32(at(0xa0))?, file.u32(at(0xa4))?);
            let bytes = file.slice(place.into(), size.into())?;
            Context::read(bytes, architecture)
        };
        Some(Exception {
            thread: file.u32(at(0))?,
            code: file.u32(at(8))?,
            flags: file.u32(at(0xc))?,
            address: architecture.address(file.u64(at(0x18))?),
            parameters: (0..u64::from(count))
                .map_while(|index| file.u64(at(0x28 + index * 8)))
                .collect(),
            context: context(),
        })
    }

    /// What the code is called, for those that crashes and hangs come with.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.code {
            0x8000_0001 => "guard page",
            0x8000_0002 => "misaligned access",
            0x8000_0003 => "breakpoint",
            0x8000_0004 => "single step",
            0xc000_0005 => "access violation",
            0xc000_0006 => "page could not be read",
            0xc000_0008 => "invalid handle",
            0xc000_0017 => "no memory",
            0xc000_001d => "illegal instruction",
            0xc000_0025 => "exception that can't be continued",
            0xc000_0094 => "integer division by zero",
            0xc000_0095 => "integer overflow",
            0xc000_0096 => "privileged instruction",
            0xc000_00fd => "stack overflow",
            0xc000_0142 => "DLL initialization failed",
            0xc000_0374 => "heap corruption",
            0xc000_0409 => "fail fast (stack buffer overrun or a check of the program)",
            0xc000_0420 => "assertion failed",
            0xc000_0602 => "fail fast",
            0xe043_4352 => "CLR exception",
            0xe06d_7363 => "C++ exception",
            0x4000_0015 => "abort",
            _ => return None,
        })
    }

    /// What an access violation wanted, and where: `read`, `write` or `execute`.
    #[must_use]
    pub fn access(&self) -> Option<(&'static str, u64)> {
        match (self.code, &self.parameters[..]) {
            (Self::ACCESS_VIOLATION, &[kind, address, ..]) => {
                let kind = match kind {
                    0 => "read",
                    1 => "write",
                    8 => "execute",
                    _ => return None,
                };
                Some((kind, address))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_violation_says_what_it_wanted() {
        let mut file = vec![0; 0xa8];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &77u32.to_le_bytes());
        put(8, &0xc000_0005u32.to_le_bytes());
        put(0x18, &0x7ff6_0000_1234u64.to_le_bytes());
        put(0x20, &2u32.to_le_bytes());
        put(0x28, &1u64.to_le_bytes());
        put(0x30, &0x10u64.to_le_bytes());
        let stream = Stream {
            kind: 6,
            offset: 0,
            size: 0xa8,
        };
        let exception = Exception::read(Bytes(&file), stream, Architecture::X64);
        let exception = exception.expect("an exception");
        assert_eq!(
            (exception.thread, exception.name()),
            (77, Some("access violation"))
        );
        assert_eq!(exception.access(), Some(("write", 0x10)));
        file.truncate(0x22);
        assert_eq!(
            Exception::read(Bytes(&file), stream, Architecture::X64),
            None
        );
    }
}
