//! Where dumps are kept open and answers are made: one at a time, since each uses all cores, and off the
//! thread that talks with the agent.

use std::{
    collections::HashMap,
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

use ntheap_session::{Options, Session};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::{
    answer::Answer,
    arguments::Arguments,
    fault::{Fault, FaultKind},
    folders::Folders,
};

/// What makes a tool's answer.
pub(crate) type Make = fn(&Desk, &Arguments) -> Result<Answer, Fault>;

/// How dumps are opened, and what answers may take and tell.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// How dumps are opened. `symbols` is set by who starts the server, never by an agent.
    pub session: Options,
    /// An agent waits no longer than this for an answer.
    pub patience: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            session: Options::default(),
            patience: Duration::from_secs(120),
        }
    }
}

/// Dumps that are kept open.
const MOST_SESSIONS: usize = 4;
/// Bytes of references that are kept of each.
const MOST_REFERENCES: usize = 256 << 20;
/// Answers that are kept for their further pages.
const MOST_ANSWERS: usize = 64;

type Outcome = Result<Arc<Answer>, Fault>;

/// An answer that is made, or was.
type Job = watch::Receiver<Option<Outcome>>;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) folders: Folders,
    options: ServerOptions,
    /// Open dumps, the one that was used last at the end.
    sessions: Mutex<Vec<Open>>,
    jobs: Mutex<Jobs>,
    /// Held by the one answer that is being made.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Jobs {
    by_call: HashMap<String, (u64, Job)>,
    count: u64,
}

impl Desk {
    pub(crate) fn new(folders: &[PathBuf], mut options: ServerOptions) -> io::Result<Self> {
        // Frames are named by what is at hand, symbols or not.
        options.session.symbols.get_or_insert_default();
        // Agents ask about the same dump again and again.
        if options.session.keep_references == 0 {
            options.session.keep_references = MOST_REFERENCES;
        }
        let patience = options.patience;
        options.session.time_limit.get_or_insert(patience);
        Ok(Desk {
            folders: Folders::new(folders)?,
            options,
            sessions: Mutex::default(),
            jobs: Mutex::default(),
            turn: Mutex::default(),
        })
    }

    /// Whether contents of memory are left out.
    pub(crate) fn is_private(&self) -> bool {
        self.options.session.private
    }

    /// The answer of a tool, and the row that is asked for.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        (tool, make): (&'static str, Make),
        mut given: Map<String, Value>,
    ) -> Result<(Arc<Answer>, usize), Fault> {
        let arguments = Arguments::read(tool, given.clone())?;
        let start = arguments.start()?;
        given.remove("cursor");
        let call = format!("{tool} {}", Value::Object(given));
        let mut job = self.job(make, &call, arguments, start);
        let waiting = job.wait_for(Option::is_some);
        let outcome = match tokio::time::timeout(self.options.patience, waiting).await {
            Ok(Ok(outcome)) => outcome.clone(),
            Ok(Err(_)) => None,
            Err(_) => {
                let text = "the answer takes long; it is still being made: ask again";
                return Err(Fault::new(FaultKind::TimedOut, text));
            }
        };
        match outcome {
            Some(Ok(answer)) => Ok((answer, start)),
            Some(Err(fault)) => Err(fault),
            None => Err(Fault::new(
                FaultKind::Internal,
                "the work ended without an answer",
            )),
        }
    }

    /// The work on a call: that which is under way or done, or else new.
    fn job(self: &Arc<Self>, make: Make, call: &str, arguments: Arguments, start: usize) -> Job {
        let mut jobs = lock(&self.jobs);
        jobs.count += 1;
        let now = jobs.count;
        if let Some((used, job)) = jobs.by_call.get_mut(call) {
            // Further pages must be those of the same answer; a call from the start may find a newer file.
            let is_running = job.borrow().is_none();
            if is_running || start > 0 {
                *used = now;
                return job.clone();
            }
        }
        if jobs.by_call.len() >= MOST_ANSWERS {
            let done = jobs
                .by_call
                .iter()
                .filter(|(_, (_, job))| job.borrow().is_some());
            let oldest = done.min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(call, _)| call.clone()) {
                jobs.by_call.remove(&oldest);
            }
        }
        let (done, job) = watch::channel(None);
        if jobs.by_call.len() >= MOST_ANSWERS {
            let text = "too many answers are being made";
            let _ = done.send(Some(Err(Fault::new(FaultKind::TimedOut, text))));
            return job;
        }
        jobs.by_call.insert(call.to_owned(), (now, job.clone()));
        drop(jobs);
        let desk = Arc::clone(self);
        thread::spawn(move || {
            let turn = lock(&desk.turn);
            let work = AssertUnwindSafe(|| make(&desk, &arguments));
            let outcome = panic::catch_unwind(work).unwrap_or_else(|_| {
                let text = "a fault of ntheap: please report it with the dump";
                Err(Fault::new(FaultKind::Internal, text))
            });
            drop(turn);
            let _ = done.send(Some(outcome.map(Arc::new)));
        });
        job
    }

    /// Opens a dump below the folders, or has it open already.
    pub(crate) fn session(&self, path: &str) -> Result<Arc<Session>, Fault> {
        let real = self.folders.resolve(path)?;
        let file = about(&real);
        let mut sessions = lock(&self.sessions);
        if let Some(place) = sessions.iter().position(|open| open.path == real) {
            let kept = sessions.remove(place);
            // A file that was replaced is another dump.
            if kept.file == file && kept.session.check().is_ok() {
                let session = Arc::clone(&kept.session);
                sessions.push(kept);
                return Ok(session);
            }
        }
        let session = Arc::new(Session::open(&real, &self.options.session)?);
        if sessions.len() >= MOST_SESSIONS {
            sessions.remove(0);
        }
        sessions.push(Open {
            path: real,
            file,
            session: Arc::clone(&session),
        });
        Ok(session)
    }
}

/// A dump that is kept open, with size and time of its file.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: Option<(u64, SystemTime)>,
    session: Arc<Session>,
}

fn about(path: &Path) -> Option<(u64, SystemTime)> {
    let about = path.metadata().ok()?;
    Some((about.len(), about.modified().ok()?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
