//! A dump with its symbols, and every report on it in one call: what bindings to other languages, servers
//! and scripts are made of.
//!
//! The crates below stay usable one by one; this one saves the ten lines that each user of all of them
//! writes. A [`Session`] is the opened file with its symbols. What is read from a dump borrows from it, so
//! each report parses the dump anew, which costs milliseconds; [`Session::with`] hands over everything at
//! once to whoever wants more.
//!
//! ```no_run
//! use ntheap_session::{Options, Session, diff, DiffOptions};
//!
//! # fn main() -> Result<(), ntheap_session::Error> {
//! let options = Options::with_symbols(Some("symbols".to_owned()));
//! let before = Session::open("before.dmp".as_ref(), &options)?;
//! let after = Session::open("after.dmp".as_ref(), &options)?;
//! let report = diff(&[&before, &after], &DiffOptions::default())?;
//! println!("{}", report.verdict);
//! for suspect in &report.judgement.suspects {
//!     println!("{} ({})", suspect.text, suspect.confidence);
//! }
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod compare;
mod error;
mod owners;
mod reports;
mod session;

pub use compare::{DiffOptions, compare_types, diff};
pub use error::Error;
pub use owners::Choice;
pub use session::{Options, Session, View};

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
