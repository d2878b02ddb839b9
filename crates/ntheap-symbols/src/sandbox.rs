//! Runs a PDB reader so that a hostile file can neither crash the program nor hold it up.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;

const STACK_SIZE: usize = 64 << 20;

thread_local! {
    static IN_SANDBOX: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread with a large stack. A panic becomes an error, and so does work that
/// takes longer than `limit`; its thread then ends on its own, and its result is dropped.
pub(crate) fn run<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    silence_panics();
    let started = Instant::now();
    let (sender, receiver) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new()
        .name("pdb-reader".to_owned())
        .stack_size(STACK_SIZE)
        .spawn(move || {
            IN_SANDBOX.set(true);
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
                let detail = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_owned());
                Err(Error::ReaderFailed { detail })
            });
            let _ = sender.send(result);
        });
    if let Err(error) = spawned {
        return Err(Error::ReaderFailed {
            detail: format!("no thread: {error}"),
        });
    }
    let late = || Error::TimedOut {
        seconds: limit.as_secs(),
    };
    // On a busy machine the work can be done before this thread runs again: late is late.
    let left = limit.checked_sub(started.elapsed()).ok_or_else(late)?;
    receiver.recv_timeout(left).unwrap_or_else(|error| {
        Err(match error {
            mpsc::RecvTimeoutError::Timeout => late(),
            mpsc::RecvTimeoutError::Disconnected => Error::ReaderFailed {
                detail: "no result".to_owned(),
            },
        })
    })
}

/// Keeps the message of a panic that becomes an error off the program's standard error. Panics
/// elsewhere go to the hook that was set before.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IN_SANDBOX.try_with(Cell::get).unwrap_or(false) {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_endless_work_become_errors() {
        let long = Duration::from_secs(60);
        assert_eq!(run(long, || Ok(5)).unwrap(), 5);
        let error = run::<()>(long, || panic!("odd {}", 7)).unwrap_err();
        assert!(matches!(error, Error::ReaderFailed { detail } if detail == "odd 7"));
        let error = run::<()>(Duration::from_millis(10), || {
            thread::sleep(Duration::from_secs(2));
            Ok(())
        });
        assert!(matches!(error.unwrap_err(), Error::TimedOut { .. }));
    }
}
