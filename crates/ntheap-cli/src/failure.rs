//! What ends the program, and how a run that ended well went.

use std::{fmt, io, path::PathBuf, process::ExitCode};

use ntheap::losses::Losses;

use crate::privacy;

/// Why the program could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An input can't be used.
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ntheap::Error,
    },
    /// A fingerprint can't be used.
    Fingerprint {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The command line says something impossible.
    Usage(String),
    /// The output can't be written.
    Output(io::Error),
    /// The reader of the output went away.
    ClosedPipe,
    /// An input can't be read any more; which one is said when it is closed.
    Lost,
}

impl Failure {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Failure::Input { error, .. } => error.hint(),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // I/O errors name the file themselves.
            Failure::Input {
                error: error @ (ntheap::Error::Io { .. } | ntheap::Error::NotAFile { .. }),
                ..
            } if !privacy::is_on() => write!(f, "{error}"),
            Failure::Input {
                path,
                error: ntheap::Error::Io { source, .. },
            } => write!(f, "{}: {source}", privacy::path(path)),
            Failure::Input {
                path,
                error: ntheap::Error::NotAFile { what, .. },
            } => write!(f, "{}: is {what}, not a file", privacy::path(path)),
            Failure::Input { path, error } => write!(f, "{}: {error}", privacy::path(path)),
            Failure::Fingerprint { path, reason } => {
                write!(f, "{}: {reason}", privacy::path(path))
            }
            Failure::Usage(text) => write!(f, "{text}"),
            Failure::Output(error) => write!(f, "can't write the output: {error}"),
            Failure::ClosedPipe => write!(f, "the output was closed"),
            Failure::Lost => write!(f, "{InputLost}"),
        }
    }
}

/// The reason why nothing is written any more: it would be made of zeros that nobody wrote.
#[derive(Debug, thiserror::Error)]
#[error("an input can't be read any more")]
pub(crate) struct InputLost;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<InputLost>()) {
            return Failure::Lost;
        }
        // Windows has a third code for it, which the standard library does not know as one.
        const PIPE_NOT_CONNECTED: i32 = 233;
        if cfg!(windows) && error.raw_os_error() == Some(PIPE_NOT_CONNECTED) {
            return Failure::ClosedPipe;
        }
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Output(error),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(io::Error::from(error))
    }
}

/// How the work went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Status {
    /// Everything was read.
    #[default]
    Complete,
    /// Something could not be read; it was said on stderr.
    Partial,
    /// More growth than the caller allows.
    Grown,
}

impl Status {
    /// The status of a run that lost this much: the one place where it is decided.
    pub(crate) fn of(losses: &Losses) -> Self {
        match losses.complete() {
            true => Status::Complete,
            false => Status::Partial,
        }
    }

    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Status::Complete => ExitCode::SUCCESS,
            Status::Partial => ExitCode::from(1),
            Status::Grown => ExitCode::from(3),
        }
    }

    pub(crate) fn and(self, other: Status) -> Status {
        match (self, other) {
            (Status::Grown, _) | (_, Status::Grown) => Status::Grown,
            (Status::Complete, Status::Complete) => Status::Complete,
            _ => Status::Partial,
        }
    }
}
