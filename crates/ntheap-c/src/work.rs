//! What the functions do, without pointers.

use std::{
    cell::RefCell,
    panic::{self, UnwindSafe},
};

use ntheap::blocks::{Block, CONTINUE, Flow, Visitor};
use ntheap_report::json::document;
use ntheap_session::{DiffOptions, Error, Options, Session, diff};

use crate::values::{self, Status};

thread_local! {
    /// Why the last call of this thread failed.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Why a call fails.
pub(crate) struct Refusal(pub(crate) Status, pub(crate) String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Dump(ntheap::Error::Io { .. }) => Status::Io,
            Error::TooFewDumps | Error::SymbolPath(_) => Status::Argument,
            _ => Status::NotADump,
        };
        Refusal(status, error.to_string())
    }
}

/// Runs the body of a call: what goes wrong becomes a status and a text, and no panic leaves.
pub(crate) fn guarded<T>(
    work: impl FnOnce() -> Result<T, Refusal> + UnwindSafe,
) -> Result<T, Status> {
    let result = panic::catch_unwind(work).unwrap_or_else(|_| {
        let text = "a fault of ntheap: please report it with the dump";
        Err(Refusal(Status::Internal, text.to_owned()))
    });
    let (result, text) = match result {
        Ok(value) => (Ok(value), String::new()),
        Err(Refusal(status, text)) => (Err(status), text),
    };
    LAST.with_borrow_mut(|last| *last = text);
    result
}

/// The text of the last failure of this thread.
pub(crate) fn last_error() -> String {
    LAST.with_borrow(String::clone)
}

pub(crate) fn open(path: &str, symbols: Option<&str>) -> Result<Session, Refusal> {
    let options = Options::with_symbols(symbols.map(str::to_owned));
    Ok(Session::open(path.as_ref(), &options)?)
}

pub(crate) fn diff_json(before: &Session, after: &Session) -> Result<String, Refusal> {
    let report = diff(&[before, after], &DiffOptions::default())?;
    before.check()?;
    after.check()?;
    serde_json::to_string(&document("diff", report))
        .map_err(|error| Refusal(Status::Internal, error.to_string()))
}

/// Hands blocks to the caller until he has enough.
struct Handing<'h> {
    take: &'h mut dyn FnMut(&values::Block) -> bool,
    stopped: bool,
}

impl Visitor for Handing<'_> {
    fn block(&mut self, block: &Block) -> Flow {
        match (self.take)(&values::Block::from(block)) {
            true => CONTINUE,
            false => {
                self.stopped = true;
                Flow::Break(())
            }
        }
    }
}

/// Walks all heaps; the status tells whether all was read, or the caller had enough.
pub(crate) fn walk(
    session: &Session,
    take: &mut dyn FnMut(&values::Block) -> bool,
) -> Result<Status, Refusal> {
    let status = session.with(|view| {
        let mut handing = Handing {
            take,
            stopped: false,
        };
        for heap in view.heaps {
            if heap.walk(&mut handing).is_break() || handing.stopped {
                return Status::Stopped;
            }
        }
        match view.heaps.losses().complete() {
            true => Status::Ok,
            false => Status::Partial,
        }
    })?;
    session.check()?;
    Ok(status)
}
