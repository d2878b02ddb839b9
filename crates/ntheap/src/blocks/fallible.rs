//! Visitors whose work can fail: writers, above all.

use super::{Block, CONTINUE, Finding, Flow, Span, Visitor};

/// Receives what a walk meets, like a [`Visitor`]; the first error ends the walk, which returns it.
pub trait TryVisitor {
    /// Why the visitor could not go on.
    type Error;

    /// A block, busy or free.
    ///
    /// # Errors
    /// The visitor's; the walk ends.
    fn block(&mut self, block: &Block) -> Result<(), Self::Error>;

    /// A part of a segment without blocks.
    ///
    /// # Errors
    /// The visitor's; the walk ends.
    fn span(&mut self, span: &Span) -> Result<(), Self::Error> {
        let _ = span;
        Ok(())
    }

    /// Something that is missing, inconsistent or corrupt.
    ///
    /// # Errors
    /// The visitor's; the walk ends.
    fn finding(&mut self, finding: Finding) -> Result<(), Self::Error> {
        let _ = finding;
        Ok(())
    }
}

/// Runs a walk for a visitor that can fail.
///
/// # Errors
/// The visitor's.
pub fn try_visit<V: TryVisitor>(
    visitor: &mut V,
    walk: impl FnOnce(&mut dyn Visitor) -> Flow,
) -> Result<(), V::Error> {
    let mut keeper = Keeper {
        visitor,
        result: Ok(()),
    };
    let _ = walk(&mut keeper);
    keeper.result
}

/// Keeps the error that ended the walk.
struct Keeper<'v, V: TryVisitor> {
    visitor: &'v mut V,
    result: Result<(), V::Error>,
}

impl<V: TryVisitor> Keeper<'_, V> {
    fn keep(&mut self, result: Result<(), V::Error>) -> Flow {
        self.result = result;
        match self.result {
            Ok(()) => CONTINUE,
            Err(_) => Flow::Break(()),
        }
    }
}

impl<V: TryVisitor> Visitor for Keeper<'_, V> {
    fn block(&mut self, block: &Block) -> Flow {
        let result = self.visitor.block(block);
        self.keep(result)
    }

    fn span(&mut self, span: &Span) -> Flow {
        let result = self.visitor.span(span);
        self.keep(result)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        let result = self.visitor.finding(finding);
        self.keep(result)
    }
}
