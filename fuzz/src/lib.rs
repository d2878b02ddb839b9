//! Valid small dumps, and recipes to change them: what the fuzzer makes up is a list of changes, each of
//! which keeps the encodings valid (checksums of entries, pointers that point somewhere), so that the code
//! behind the first check is reached.

mod cut;
pub mod msf;
pub mod plans;
mod recipe;
mod seed;
pub mod sink;
mod truth;
pub mod walk;

pub use recipe::{Recipe, with_changed, with_changed_for};
pub use seed::{Seed, seeds};

/// Makes the thread that calls all the threads there are: work that is handed to another one and waited for
/// takes longer than it does by itself.
///
/// # Panics
/// If there are threads already.
pub fn one_thread() {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .expect("no threads yet");
}
