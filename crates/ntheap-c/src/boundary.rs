//! The functions that C calls. Each checks its pointers for null, trusts them otherwise as the header asks, and
//! lets no panic out.
//!
//! This is the one module of the crate with `unsafe` code: it turns the caller's pointers into references, and
//! hands boxes and strings over as pointers that the caller gives back. Nothing else is done here.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    panic::AssertUnwindSafe,
    ptr,
};

use ntheap_session::Session;

use crate::{
    values::{Block, Status},
    work::{self, Refusal, guarded},
};

/// An opened dump.
#[derive(Debug)]
pub struct Dump {
    session: Session,
}

/// Called for each block; anything but 0 ends the walk.
pub type BlockCallback =
    Option<unsafe extern "C" fn(block: *const Block, context: *mut c_void) -> c_int>;

/// Text of the caller's.
///
/// # Safety
/// `text` is null or points to a string that ends with a zero byte and lives as long as the call.
unsafe fn text<'t>(text: *const c_char, what: &str) -> Result<&'t str, Refusal> {
    if text.is_null() {
        return Err(Refusal(Status::Argument, format!("{what} is null")));
    }
    // SAFETY: not null, and the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    let invalid = |_| Refusal(Status::Argument, format!("{what} is not UTF-8"));
    text.to_str().map_err(invalid)
}

/// A dump of the caller's.
///
/// # Safety
/// `dump` is null or came from `ntheap_open` and was not closed.
unsafe fn session<'d>(dump: *const Dump) -> Result<&'d Session, Refusal> {
    // SAFETY: the caller's promise; null is no reference.
    match unsafe { dump.as_ref() } {
        Some(dump) => Ok(&dump.session),
        None => Err(Refusal(Status::Argument, "the dump is null".to_owned())),
    }
}

/// Hands a text over, which `ntheap_free_text` takes back; zero bytes in it are left out.
fn given(text: String) -> *mut c_char {
    let bytes: Vec<u8> = text
        .into_bytes()
        .into_iter()
        .filter(|&byte| byte != 0)
        .collect();
    CString::new(bytes).map_or(ptr::null_mut(), CString::into_raw)
}

/// Opens the dump at `path` (UTF-8). `symbols` is a symbol path or null. The dump is closed with
/// ntheap_close.
///
/// # Safety
/// `path` and `symbols` are strings that end with a zero byte, or null; `dump` points to where a pointer goes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ntheap_open(
    path: *const c_char,
    symbols: *const c_char,
    dump: *mut *mut Dump,
) -> Status {
    let opened = guarded(|| {
        if dump.is_null() {
            return Err(Refusal(Status::Argument, "dump is null".to_owned()));
        }
        // SAFETY: the caller's promise.
        let path = unsafe { text(path, "path") }?;
        let symbols = match symbols.is_null() {
            true => None,
            // SAFETY: the caller's promise.
            false => Some(unsafe { text(symbols, "symbols") }?),
        };
        work::open(path, symbols)
    });
    match opened {
        Ok(session) => {
            // SAFETY: not null, and the caller's promise that a pointer may be written there.
            unsafe { dump.write(Box::into_raw(Box::new(Dump { session }))) };
            Status::Ok
        }
        Err(status) => status,
    }
}

/// Closes a dump; null is left alone.
///
/// # Safety
/// `dump` came from ntheap_open and is used by nobody any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ntheap_close(dump: *mut Dump) {
    if dump.is_null() {
        return;
    }
    let _ = guarded(AssertUnwindSafe(|| {
        // SAFETY: it was made by ntheap_open and, by the caller's promise, not closed before.
        drop(unsafe { Box::from_raw(dump) });
        Ok(())
    }));
}

/// Calls `callback` for each block, busy or free, of each heap. Returns Partial if something could not be
/// read, Stopped if the callback ended the walk.
///
/// # Safety
/// `dump` came from ntheap_open; `callback` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ntheap_walk(
    dump: *const Dump,
    callback: BlockCallback,
    context: *mut c_void,
) -> Status {
    guarded(AssertUnwindSafe(|| {
        // SAFETY: the caller's promise.
        let session = unsafe { session(dump) }?;
        let missing = || Refusal(Status::Argument, "callback is null".to_owned());
        let callback = callback.ok_or_else(missing)?;
        // SAFETY: the caller's promise; the block lives through the call.
        work::walk(
            session,
            &mut |block| unsafe { callback(block, context) } == 0,
        )
    }))
    .unwrap_or_else(|status| status)
}

/// Compares two dumps. `json` gets the report, as `ntheap diff --format json` has it; it is given back with
/// ntheap_free_text.
///
/// # Safety
/// The dumps came from ntheap_open; `json` points to where a pointer goes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ntheap_diff_json(
    before: *const Dump,
    after: *const Dump,
    json: *mut *mut c_char,
) -> Status {
    let report = guarded(AssertUnwindSafe(|| {
        if json.is_null() {
            return Err(Refusal(Status::Argument, "json is null".to_owned()));
        }
        // SAFETY: the caller's promise.
        let (before, after) = unsafe { (session(before)?, session(after)?) };
        work::diff_json(before, after)
    }));
    match report {
        Ok(report) => {
            // SAFETY: not null, and the caller's promise that a pointer may be written there.
            unsafe { json.write(given(report)) };
            Status::Ok
        }
        Err(status) => status,
    }
}

/// Why the last call of this thread failed, in words; empty if it did not. Given back with
/// ntheap_free_text.
#[unsafe(no_mangle)]
pub extern "C" fn ntheap_last_error() -> *mut c_char {
    given(work::last_error())
}

/// Takes a text back; null is left alone.
///
/// # Safety
/// `text` came from this library and was not given back before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ntheap_free_text(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: it was made by `given` and, by the caller's promise, not given back before.
        drop(unsafe { CString::from_raw(text) });
    }
}
