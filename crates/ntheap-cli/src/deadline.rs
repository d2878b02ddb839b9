//! `--timeout`: a run that ends with what it found until then.

use std::{
    process,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crate::failure::Failure;

/// What can't be interrupted (downloads, references, a report being written) may go on for so long.
const GRACE: Duration = Duration::from_secs(5);

/// The time of the whole run at which walks end.
static DEADLINE: OnceLock<Instant> = OnceLock::new();

pub(crate) fn get() -> Option<Instant> {
    DEADLINE.get().copied()
}

/// Starts the clock, and sees to it that the program ends soon after the time is up, whatever it does.
pub(crate) fn start(seconds: Option<f64>) -> Result<(), Failure> {
    let Some(seconds) = seconds else {
        return Ok(());
    };
    let times = Duration::try_from_secs_f64(seconds).ok().and_then(|time| {
        let deadline = Instant::now().checked_add(time)?;
        Some((deadline, deadline.checked_add(GRACE.max(time / 2))?))
    });
    let Some((deadline, end)) = times else {
        return Err(Failure::Usage(format!("--timeout {seconds} is no time")));
    };
    let _ = DEADLINE.set(deadline);
    thread::spawn(move || {
        thread::sleep(end.saturating_duration_since(Instant::now()));
        say!("ntheap: the time was up before there was a result (--timeout {seconds})");
        process::exit(2);
    });
    Ok(())
}
