//! Signs of life on standard error while long work goes on: on a terminal a bar or a spinner, with
//! `--progress` elsewhere a line a second.

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

/// Work that lasts shorter than this goes by unseen.
const PATIENCE: Duration = Duration::from_millis(700);
/// Between two looks at how far it is.
const TICK: Duration = Duration::from_millis(120);
/// Between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(1);

/// Whether progress is told without a terminal, too.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The bytes of heaps that all walks have done.
static WALKED: LazyLock<Arc<AtomicU64>> = LazyLock::new(Arc::default);

/// Takes note of `--progress`.
pub(crate) fn ask(asked: bool) {
    ASKED.store(asked, Ordering::Relaxed);
}

/// Where walks add up the bytes that they have done.
pub(crate) fn walked() -> Arc<AtomicU64> {
    WALKED.clone()
}

/// Whether progress may be drawn on stderr.
pub(crate) fn shows_progress() -> bool {
    io::stderr().is_terminal() && !crate::said::is_quiet()
}

/// Draws a sign of life on stderr while long work goes on, and takes it away when dropped.
pub(crate) struct Working {
    done: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Working {
    /// Work whose end can't be told.
    pub(crate) fn on(what: &'static str) -> Self {
        Self::start(what, None)
    }

    /// Walks over so many bytes of heaps.
    pub(crate) fn walking(what: &'static str, bytes: u64) -> Self {
        Self::start(what, Some(bytes))
    }

    fn start(what: &'static str, bytes: Option<u64>) -> Self {
        let told = ASKED.load(Ordering::Relaxed) && !crate::said::is_quiet();
        if !shows_progress() && !told {
            return Working {
                done: None,
                thread: None,
            };
        }
        let (done, ended) = mpsc::channel::<()>();
        let from = WALKED.load(Ordering::Relaxed);
        let thread = thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            match shows_progress() {
                true => draw(what, (from, bytes), &ended),
                false => tell(what, (from, bytes), &ended),
            }
        });
        Working {
            done: Some(done),
            thread: Some(thread),
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes that were walked since then, of so many.
fn position(from: u64, bytes: u64) -> u64 {
    let walked = WALKED.load(Ordering::Relaxed).saturating_sub(from);
    walked.min(bytes)
}

/// A bar with rate and time left, or a spinner, until the work has ended.
fn draw(what: &'static str, (from, bytes): (u64, Option<u64>), ended: &mpsc::Receiver<()>) {
    const BAR: &str = "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let bar = match bytes {
        Some(bytes) => {
            let style = ProgressStyle::with_template(BAR);
            ProgressBar::new(bytes).with_style(style.unwrap_or(ProgressStyle::default_bar()))
        }
        None => ProgressBar::new_spinner(),
    };
    bar.set_message(what);
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        match bytes {
            Some(bytes) => bar.set_position(position(from, bytes)),
            None => bar.tick(),
        }
    }
    bar.finish_and_clear();
}

/// A line a second until the work has ended.
fn tell(what: &'static str, (from, bytes): (u64, Option<u64>), ended: &mpsc::Receiver<()>) {
    let begun = Instant::now() - PATIENCE;
    while ended.recv_timeout(LINE) == Err(RecvTimeoutError::Timeout) {
        let passed = begun.elapsed();
        let Some(bytes) = bytes else {
            crate::said::line(format_args!("{what}: {}", HumanDuration(passed)));
            continue;
        };
        let done = position(from, bytes);
        let rate = done as f64 / passed.as_secs_f64();
        let left = (bytes - done) as f64 / rate.max(1.0);
        let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
        crate::said::line(format_args!(
            "{what}: {} of {}, {}/s, {} left",
            HumanBytes(done),
            HumanBytes(bytes),
            HumanBytes(rate as u64),
            HumanDuration(left)
        ));
    }
}
