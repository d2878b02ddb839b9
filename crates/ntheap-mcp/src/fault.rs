//! What goes wrong, in kinds that stay.

use std::borrow::Cow;

/// Why a tool has no answer. The names are part of the interface: they do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// An argument is missing, unknown or makes no sense.
    BadArgument,
    /// The path leads out of the folders that the server may read.
    OutsideFolders,
    /// There is no such file.
    NoSuchFile,
    /// The file is no dump that can be analysed.
    NotADump,
    /// The file can't be read.
    Unreadable,
    /// The file was written to while it was read.
    Changed,
    /// The process has no such heap.
    NoSuchHeap,
    /// No block lies there, or is of that size or type.
    NoSuchBlock,
    /// The work takes longer than the server allows; it goes on, and the same call later may have it.
    TimedOut,
    /// A fault of the server.
    Internal,
}

impl FaultKind {
    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FaultKind::BadArgument => "bad-argument",
            FaultKind::OutsideFolders => "outside-folders",
            FaultKind::NoSuchFile => "no-such-file",
            FaultKind::NotADump => "not-a-dump",
            FaultKind::Unreadable => "unreadable",
            FaultKind::Changed => "changed",
            FaultKind::NoSuchHeap => "no-such-heap",
            FaultKind::NoSuchBlock => "no-such-block",
            FaultKind::TimedOut => "timed-out",
            FaultKind::Internal => "internal",
        }
    }
}

/// A fault, and what the agent should know of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) message: Cow<'static, str>,
    pub(crate) hint: Option<&'static str>,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, message: impl Into<Cow<'static, str>>) -> Self {
        Fault {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn argument(message: impl Into<Cow<'static, str>>) -> Self {
        Fault::new(FaultKind::BadArgument, message)
    }
}

impl From<ntheap_session::Error> for Fault {
    fn from(error: ntheap_session::Error) -> Self {
        use ntheap_session::Error;
        let (kind, hint) = match &error {
            Error::Dump(error) => (kind_of(error), error.hint()),
            Error::NoSuchBlock { .. } | Error::NoSuchBlocks { .. } => {
                (FaultKind::NoSuchBlock, None)
            }
            Error::TooFewDumps => (FaultKind::BadArgument, None),
            _ => (FaultKind::Internal, None),
        };
        // The message of an I/O error begins with the path, which the agent knows by another name.
        let message = match &error {
            Error::Dump(ntheap::Error::Io { source, .. }) => source.to_string(),
            error => error.to_string(),
        };
        Fault {
            kind,
            message: message.into(),
            hint,
        }
    }
}

fn kind_of(error: &ntheap::Error) -> FaultKind {
    use ntheap::Error;
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            FaultKind::NoSuchFile
        }
        Error::Io { .. } => FaultKind::Unreadable,
        Error::Lost { .. } | Error::Changed { .. } => FaultKind::Changed,
        Error::NoSuchHeap { .. } => FaultKind::NoSuchHeap,
        _ => FaultKind::NotADump,
    }
}
