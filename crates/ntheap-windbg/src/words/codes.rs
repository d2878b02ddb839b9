//! `!error`, `!gle`: what numbers of errors mean.

use std::fmt::{self, Write};

use ntheap::process::Process;

/// How the debugger names the kinds of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeKind {
    /// What `GetLastError` gives.
    Win32,
    /// What the system's own functions give, and exceptions.
    Status,
    /// What COM gives.
    Result,
}

/// `GetLastError`'s numbers that programs with trouble in their memory meet.
const WIN32: &[(u32, &str)] = &[
    (0, "The operation completed successfully."),
    (1, "Incorrect function."),
    (2, "The system cannot find the file specified."),
    (3, "The system cannot find the path specified."),
    (4, "The system cannot open the file."),
    (5, "Access is denied."),
    (6, "The handle is invalid."),
    (
        8,
        "Not enough memory resources are available to process this command.",
    ),
    (
        14,
        "Not enough memory resources are available to complete this operation.",
    ),
    (
        17,
        "The system cannot move the file to a different disk drive.",
    ),
    (18, "There are no more files."),
    (19, "The media is write protected."),
    (21, "The device is not ready."),
    (31, "A device attached to the system is not functioning."),
    (
        32,
        "The process cannot access the file because it is being used by another process.",
    ),
    (
        33,
        "The process cannot access the file because another process has locked a portion of the file.",
    ),
    (38, "Reached the end of the file."),
    (50, "The request is not supported."),
    (53, "The network path was not found."),
    (64, "The specified network name is no longer available."),
    (80, "The file exists."),
    (87, "The parameter is incorrect."),
    (109, "The pipe has been ended."),
    (110, "The system cannot open the device or file specified."),
    (112, "There is not enough space on the disk."),
    (120, "This function is not supported on this system."),
    (121, "The semaphore timeout period has expired."),
    (122, "The data area passed to a system call is too small."),
    (
        123,
        "The filename, directory name, or volume label syntax is incorrect.",
    ),
    (126, "The specified module could not be found."),
    (127, "The specified procedure could not be found."),
    (128, "There are no child processes to wait for."),
    (145, "The directory is not empty."),
    (161, "The specified path is invalid."),
    (183, "Cannot create a file when that file already exists."),
    (193, "The file is not a valid Win32 application."),
    (
        203,
        "The system could not find the environment option that was entered.",
    ),
    (230, "The pipe state is invalid."),
    (231, "All pipe instances are busy."),
    (232, "The pipe is being closed."),
    (233, "No process is on the other end of the pipe."),
    (234, "More data is available."),
    (258, "The wait operation timed out."),
    (259, "No more data is available."),
    (267, "The directory name is invalid."),
    (
        299,
        "Only part of a ReadProcessMemory or WriteProcessMemory request was completed.",
    ),
    (487, "Attempt to access invalid address."),
    (534, "Arithmetic result exceeded 32 bits."),
    (997, "Overlapped I/O operation is in progress."),
    (998, "Invalid access to memory location."),
    (1001, "Recursion too deep; the stack overflowed."),
    (
        1008,
        "An attempt was made to reference a token that does not exist.",
    ),
    (
        1114,
        "A dynamic link library (DLL) initialization routine failed.",
    ),
    (1168, "Element not found."),
    (1223, "The operation was canceled by the user."),
    (
        1300,
        "Not all privileges or groups referenced are assigned to the caller.",
    ),
    (1314, "A required privilege is not held by the client."),
    (1326, "The user name or password is incorrect."),
    (1400, "Invalid window handle."),
    (
        1450,
        "Insufficient system resources exist to complete the requested service.",
    ),
    (
        1453,
        "Insufficient quota to complete the requested service.",
    ),
    (
        1454,
        "Insufficient quota to complete the requested service.",
    ),
    (
        1455,
        "The paging file is too small for this operation to complete.",
    ),
    (
        1460,
        "This operation returned because the timeout period expired.",
    ),
    (1722, "The RPC server is unavailable."),
    (1726, "The remote procedure call failed."),
    (
        1816,
        "Not enough quota is available to process this command.",
    ),
];

/// What the system's own functions give, and exceptions.
const STATUSES: &[(u32, &str)] = &[
    (0, "The operation completed successfully."),
    (0x80, "An abandoned mutex was waited for."),
    (0xc0, "A user APC was delivered."),
    (0x102, "The given timeout interval expired."),
    (
        0x103,
        "The operation that was requested is pending completion.",
    ),
    (
        0x4000_0015,
        "The application ended itself for a fatal error.",
    ),
    (0x4001_0005, "Debugger got control C."),
    (0x4001_0006, "Debugger printed exception on control C."),
    (
        0x8000_0001,
        "A page of memory that marks the end of a data structure, such as a stack or an array, has been accessed.",
    ),
    (
        0x8000_0002,
        "A datatype misalignment was detected in a load or store instruction.",
    ),
    (0x8000_0003, "A breakpoint has been reached."),
    (
        0x8000_0004,
        "A single step or trace operation has just been completed.",
    ),
    (
        0x8000_0005,
        "The data was too large to fit into the specified buffer.",
    ),
    (
        0x8000_000d,
        "Not all of the requested bytes could be copied.",
    ),
    (
        0x8000_001a,
        "No more entries are available from an enumeration operation.",
    ),
    (0xc000_0001, "The requested operation was unsuccessful."),
    (0xc000_0002, "The requested operation is not implemented."),
    (
        0xc000_0003,
        "The specified information class is not a valid information class for the specified object.",
    ),
    (
        0xc000_0004,
        "The specified information record length does not match the length that is required.",
    ),
    (
        0xc000_0005,
        "The instruction referenced memory at an address that could not be accessed in that way.",
    ),
    (
        0xc000_0006,
        "The required data was not placed into memory because of an I/O error.",
    ),
    (0xc000_0008, "An invalid HANDLE was specified."),
    (
        0xc000_000d,
        "An invalid parameter was passed to a service or function.",
    ),
    (0xc000_000f, "The file does not exist."),
    (
        0xc000_0017,
        "Not enough virtual memory or paging file quota is available to complete the specified operation.",
    ),
    (
        0xc000_0018,
        "The specified address range conflicts with the address space.",
    ),
    (
        0xc000_001d,
        "An attempt was made to execute an illegal instruction.",
    ),
    (
        0xc000_0022,
        "A process has requested access to an object, but has not been granted those access rights.",
    ),
    (0xc000_0023, "The buffer is too small to contain the entry."),
    (0xc000_0025, "The exception can't be continued from."),
    (
        0xc000_0026,
        "An exception handler returned an invalid disposition.",
    ),
    (0xc000_002c, "A section could not be deleted."),
    (
        0xc000_002d,
        "An attempt was made to decommit uncommitted virtual memory.",
    ),
    (0xc000_0034, "The object name is not found."),
    (0xc000_0035, "The object name already exists."),
    (0xc000_003a, "The path does not exist."),
    (0xc000_0044, "The quota was exceeded."),
    (0xc000_0045, "The specified page protection was not valid."),
    (0xc000_008c, "Array bounds exceeded."),
    (0xc000_008e, "Floating-point division by zero."),
    (0xc000_0094, "Integer division by zero."),
    (0xc000_0095, "Integer overflow."),
    (0xc000_0096, "Privileged instruction."),
    (
        0xc000_0098,
        "The volume for a file has been externally altered so that the opened file is no longer valid.",
    ),
    (
        0xc000_009a,
        "Insufficient system resources exist to complete the API.",
    ),
    (
        0xc000_00a0,
        "An attempt was made to free virtual memory that is not allocated.",
    ),
    (0xc000_00bb, "The request is not supported."),
    (
        0xc000_00fd,
        "A new guard page for the stack cannot be created.",
    ),
    (
        0xc000_012d,
        "The system is low on virtual memory: no more can be committed.",
    ),
    (0xc000_0135, "A DLL that the program needs was not found."),
    (
        0xc000_0138,
        "An ordinal could not be located in the dynamic link library.",
    ),
    (
        0xc000_0139,
        "The procedure entry point could not be located in the dynamic link library.",
    ),
    (
        0xc000_013a,
        "The application terminated as a result of a CTRL+C.",
    ),
    (
        0xc000_0142,
        "Initialization of a dynamic link library failed.",
    ),
    (
        0xc000_0194,
        "A possible deadlock condition has been detected.",
    ),
    (0xc000_0225, "The object was not found."),
    (0xc000_026e, "The volume was dismounted."),
    (0xc000_0374, "A heap has been corrupted."),
    (
        0xc000_0409,
        "The system detected an overrun of a stack-based buffer in this application.",
    ),
    (
        0xc000_0417,
        "An invalid parameter was passed to a C runtime function.",
    ),
    (
        0xc000_041d,
        "An unhandled exception was encountered during a user callback.",
    ),
    (0xc000_0420, "An assertion failure has occurred."),
    (0xc000_0602, "A fail fast exception occurred."),
    (0xe043_4352, "A managed exception was thrown."),
    (0xe06d_7363, "A C++ exception was thrown."),
];

/// Results of COM that are no error of the system's with a mark.
const RESULTS: &[(u32, &str)] = &[
    (0x8000_4001, "Not implemented"),
    (0x8000_4002, "No such interface supported"),
    (0x8000_4003, "Invalid pointer"),
    (0x8000_4004, "Operation aborted"),
    (0x8000_4005, "Unspecified error"),
    (0x8000_ffff, "Catastrophic failure"),
    (0x8001_0105, "The server threw an exception."),
    (
        0x8001_0108,
        "The object invoked has disconnected from its clients.",
    ),
    (0x8004_0154, "Class not registered"),
];

/// The Win32 error that a result of COM stands for.
const FROM_WIN32: u32 = 0x8007_0000;

/// What is said of a number that the tables do not have.
const NO_TEXT: &str = "<Unable to get error code text>";

fn text_of(table: &[(u32, &'static str)], code: u32) -> Option<&'static str> {
    let index = table.binary_search_by_key(&code, |row| row.0).ok()?;
    Some(table[index].1)
}

fn win32(code: u32) -> Option<&'static str> {
    text_of(WIN32, code)
}

fn status(code: u32) -> Option<&'static str> {
    text_of(STATUSES, code)
}

/// Of what kind a number is that was typed, and what it means, if that is known.
fn kind_of(code: u32) -> (Option<CodeKind>, Option<&'static str>) {
    if code & 0xffff_0000 == FROM_WIN32 {
        return (Some(CodeKind::Result), win32(code & 0xffff));
    }
    if let Some(text) = text_of(RESULTS, code) {
        return (Some(CodeKind::Result), Some(text));
    }
    if code < 0x1_0000 {
        return (Some(CodeKind::Win32), win32(code));
    }
    match status(code) {
        Some(text) => (Some(CodeKind::Status), Some(text)),
        None => (None, None),
    }
}

/// `!error CODE`: what a number means; with a kind, as one of that kind.
///
/// # Errors
/// Those of `out`.
pub(crate) fn error_code(code: u32, kind: Option<CodeKind>, out: &mut dyn Write) -> fmt::Result {
    let (kind, text) = match kind {
        Some(CodeKind::Status) => (kind, status(code)),
        Some(CodeKind::Win32) => (kind, win32(code)),
        _ => kind_of(code),
    };
    let name = match kind {
        Some(CodeKind::Win32) => "Win32",
        Some(CodeKind::Status) => "NTSTATUS",
        Some(CodeKind::Result) => "HRESULT",
        None => "Unknown",
    };
    let text = text.unwrap_or(NO_TEXT);
    writeln!(out, "Error code: ({name}) {code:#x} ({code}) - {text}")
}

/// `!gle`: the last error and status of the thread whose block lies at an address.
///
/// # Errors
/// Those of `out`.
pub(crate) fn last_error(process: &Process<'_, '_>, teb: u64, out: &mut dyn Write) -> fmt::Result {
    let block = process.memory().at(teb, process.bitness);
    let fields = &process.layouts.teb;
    match block.u32(fields.last_error_value) {
        Some(code) => {
            let text = win32(code).unwrap_or(NO_TEXT);
            writeln!(out, "LastErrorValue: (Win32) {code:#x} ({code}) - {text}")?;
        }
        None => writeln!(out, "Unable to read the last error: it is not in the dump")?,
    }
    match block.u32(fields.last_status_value) {
        Some(code) => {
            let text = status(code).unwrap_or(NO_TEXT);
            writeln!(out, "LastStatusValue: (NTSTATUS) {code:#x} - {text}")
        }
        None => writeln!(out, "Unable to read the last status: it is not in the dump"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        for table in [WIN32, STATUSES, RESULTS] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
        }
    }

    #[test]
    fn numbers_tell_their_kind() {
        let said = |code, kind| {
            let mut text = String::new();
            error_code(code, kind, &mut text).expect("a string takes everything");
            text
        };
        assert_eq!(
            said(0xc000_0374, None),
            "Error code: (NTSTATUS) 0xc0000374 (3221226356) - A heap has been corrupted.\n"
        );
        assert_eq!(
            said(5, None),
            "Error code: (Win32) 0x5 (5) - Access is denied.\n"
        );
        assert!(said(0x8007_000e, None).contains("(HRESULT) 0x8007000e"));
        assert!(said(0x8007_000e, None).contains("Not enough memory"));
        assert!(said(0x102, Some(CodeKind::Status)).contains("timeout"));
        assert!(said(0x1234_5678, None).contains("(Unknown)"));
    }
}
