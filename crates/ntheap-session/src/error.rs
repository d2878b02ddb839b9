//! Why a report can't be made.

/// Why a report can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The dump can't be used.
    #[error(transparent)]
    Dump(#[from] ntheap::Error),
    /// The symbol path makes no sense.
    #[error("symbol path: {0}")]
    SymbolPath(String),
    /// A comparison was asked for of fewer dumps than two.
    #[error("a comparison needs two dumps at least")]
    TooFewDumps,
    /// An address lies in no block that the program holds.
    #[error("{address:x} lies in no block that the program holds")]
    NoSuchBlock {
        /// The address.
        address: u64,
    },
    /// No block is of the size or type that was asked for.
    #[error("the program holds no blocks of {what}")]
    NoSuchBlocks {
        /// The size or type.
        what: String,
    },
}
