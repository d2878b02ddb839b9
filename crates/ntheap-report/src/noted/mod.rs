//! What Windows itself noted.

mod text;

pub use text::{describe, write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::json::Address;
use ntheap::{
    dump::Exception,
    names::{NameSource, unnamed},
    process::{HeapFailure, Process},
};

/// The exception that the dump was written for.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ExceptionReport {
    /// Identifier of the thread.
    pub thread: u32,
    /// Its code.
    pub code: u32,
    /// What the code is called.
    pub name: Option<&'static str>,
    /// Address of the instruction.
    pub address: Address,
    /// Of an access violation: `read`, `write` or `execute`.
    pub access: Option<&'static str>,
    /// Of an access violation: the address that was wanted.
    pub accessed: Option<Address>,
}

impl From<&Exception> for ExceptionReport {
    fn from(exception: &Exception) -> Self {
        ExceptionReport {
            thread: exception.thread,
            code: exception.code,
            name: exception.name(),
            address: Address(exception.address),
            access: exception.access().map(|access| access.0),
            accessed: exception.access().map(|access| Address(access.1)),
        }
    }
}

/// ntdll's record of a damaged heap.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HeapFailureReport {
    /// The type of the failure, as a number of ntdll's.
    pub kind: u32,
    /// What the debugger calls it.
    pub name: Option<&'static str>,
    /// In plain words.
    pub meaning: &'static str,
    /// The heap.
    pub heap: Address,
    /// Where it was wrong.
    pub address: Address,
    /// The stack of the call that met it, innermost first.
    pub frames: Vec<String>,
}

impl HeapFailureReport {
    /// The report of what ntdll noted in a process, if it did.
    #[must_use]
    pub fn of(process: &Process<'_, '_>, names: &dyn NameSource) -> Option<Self> {
        let failure: HeapFailure = process.heap_failure()?;
        let named = |&frame: &u64| match names.name(frame) {
            Some(name) => name.to_string(),
            None => unnamed(frame, process.bitness),
        };
        Some(HeapFailureReport {
            kind: failure.kind,
            name: failure.name,
            meaning: failure.meaning(),
            heap: Address(failure.heap),
            address: Address(failure.address),
            frames: failure.stack.iter().map(named).collect(),
        })
    }
}
