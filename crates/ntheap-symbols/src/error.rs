//! The crate's error type.

use std::path::PathBuf;

/// What can go wrong with a symbol path, a PDB or the files kept from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An entry of the symbol path begins with `srv*` or `symsrv*` but names no folder or server.
    #[error("symbol path entry {entry:?} names neither a folder nor a server")]
    EmptyServerEntry {
        /// The entry as the user wrote it.
        entry: String,
    },
    /// An entry names a server with a scheme other than `http` and `https`.
    #[error("symbol path entry {entry:?}: only http and https servers are supported")]
    UnsupportedScheme {
        /// The entry as the user wrote it.
        entry: String,
    },
    /// A folder or another store follows a server inside one `srv*` entry.
    #[error("symbol path entry {entry:?}: a server must be the last element")]
    ServerNotLast {
        /// The entry as the user wrote it.
        entry: String,
    },
    /// The operating system refused to read or write a file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not in the multi-stream format that PDBs use.
    #[error("not a PDB: {detail}")]
    NotAPdb {
        /// What the file is instead, or which bytes it begins with.
        detail: String,
    },
    /// The container breaks a rule of its format.
    #[error("damaged PDB: {detail}")]
    DamagedContainer {
        /// The rule and the offending value.
        detail: String,
    },
    /// The file is larger than the limit.
    #[error("{size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A type record refers to itself, to a later record, or nests too deep.
    #[error("damaged PDB: type record {index:#x}: {detail}")]
    BadTypeRecord {
        /// Index of the record.
        index: u32,
        /// The rule that it breaks.
        detail: &'static str,
    },
    /// Symbol records nest deeper than the limit.
    #[error("damaged PDB: symbol records nest deeper than {limit}")]
    ScopeTooDeep {
        /// The limit.
        limit: usize,
    },
    /// A stream of the PDB could not be parsed.
    #[error("damaged PDB: {0}")]
    Pdb(#[from] pdb::Error),
    /// Functions and lines could not be read.
    #[error("cannot read functions and lines: {detail}")]
    Lines {
        /// What the reader said.
        detail: String,
    },
    /// The PDB made the reader fail in a way that it did not expect.
    #[error("the PDB reader failed: {detail}")]
    ReaderFailed {
        /// The failure's message.
        detail: String,
    },
    /// Reading the PDB took longer than allowed.
    #[error("reading the PDB took more than {seconds} s")]
    TimedOut {
        /// The limit in seconds.
        seconds: u64,
    },
    /// A compressed file could not be expanded.
    #[error("cannot expand {name}: {detail}")]
    Cabinet {
        /// Name of the compressed file.
        name: String,
        /// The reason.
        detail: String,
    },
    /// A symbol server did not deliver the file.
    #[error("{url}: {detail}")]
    Download {
        /// What was asked for.
        url: String,
        /// The reason.
        detail: String,
    },
    /// A symbol server delivered something else than the file.
    #[error("{url}: {detail}")]
    BadDownload {
        /// What was asked for.
        url: String,
        /// The reason.
        detail: String,
    },
    /// A file has another identity than the one asked for.
    #[error("is {found}, but {wanted} is wanted")]
    WrongIdentity {
        /// Identity of the file.
        found: String,
        /// Identity that the module names.
        wanted: String,
    },
    /// A file kept from an earlier run is damaged.
    #[error("damaged cache file: {detail}")]
    DamagedCache {
        /// The rule that it breaks.
        detail: &'static str,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn container(detail: impl Into<String>) -> Self {
        Self::DamagedContainer {
            detail: detail.into(),
        }
    }
}
