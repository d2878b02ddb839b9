//! How sure a walk is of a block.

/// What proves a block.
///
/// ```
/// use ntheap::blocks::Certainty;
///
/// assert_eq!(Certainty::Code.name(), "by-code");
/// assert!(Certainty::Certain.is_certain() && !Certainty::Chain.is_certain());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Certainty {
    /// The heap's own structures, from its header on.
    #[default]
    Certain,
    /// A chain of entries that name each other's sizes, in a heap or segment whose header is lost
    /// or wrong.
    Chain,
    /// The code in the header of an LFH slot, whose container is lost.
    Code,
    /// The shape of a container whose record is lost: what its own header says of its slots.
    Shape,
    /// The stamps around a block of page heap, whose record is lost.
    Stamps,
    /// Nothing but what is around it: the block may be free, or no block.
    Probable,
}

impl Certainty {
    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Certainty::Certain => "certain",
            Certainty::Chain => "by-chain",
            Certainty::Code => "by-code",
            Certainty::Shape => "by-shape",
            Certainty::Stamps => "by-stamps",
            Certainty::Probable => "probable",
        }
    }

    /// Whether the heap's own structures led to the block.
    #[must_use]
    pub const fn is_certain(self) -> bool {
        matches!(self, Certainty::Certain)
    }
}
