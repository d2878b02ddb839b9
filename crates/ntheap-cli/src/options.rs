//! Options that every command has.

use clap::{Args, ValueEnum};

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Form of the output [default: text]
    #[arg(short, long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
    /// Read all numbers as hexadecimal, as the debugger does
    #[arg(long, global = true)]
    pub(crate) hex: bool,
    /// Side of a 32-bit process on 64-bit Windows [default: the program's own]
    #[arg(long, global = true, value_enum)]
    pub(crate) bitness: Option<Side>,
    /// Where PDBs are: folders, srv*CACHE*URL, cache*DIR, parted by ';' [default: _NT_SYMBOL_PATH]
    #[arg(short, long, global = true, value_name = "PATH")]
    pub(crate) symbols: Option<String>,
    /// Say nothing on standard error but why nothing could be done; the exit status tells the rest
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say how far long work is, on standard error, even where that is no terminal
    #[arg(long, global = true)]
    pub(crate) progress: bool,
    /// Threads to work with [default: one for each processor]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Show what a terminal would be flooded with in a pager: $NTHEAP_PAGER, $PAGER, or less
    #[arg(short, long, global = true)]
    pub(crate) paginate: bool,
    /// Also use a PDB whose GUID or age is another (and say so)
    #[arg(long, global = true)]
    pub(crate) allow_mismatched: bool,
    /// Also look for PDBs in the folders that the dump names: where modules were, and were built
    #[arg(long, global = true)]
    pub(crate) recorded_folders: bool,
    /// Name functions with their argument lists
    #[arg(long, global = true)]
    pub(crate) signatures: bool,
    /// Most bytes that a compressed dump may unpack to [default: 1,000 times its size, at least 4 GiB]
    #[arg(long, global = true, value_name = "BYTES")]
    pub(crate) max_unpacked: Option<String>,
    /// End after this time with what was found until then; exit status 1
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    pub(crate) timeout: Option<f64>,
    /// Leave contents of memory, user names and paths out, so that the output can be given away
    #[arg(long, global = true)]
    pub(crate) private: bool,
    /// Only the heap at this address
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) heap: Option<String>,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; where the debugger has the command, as it prints it.
    Text,
    /// One JSON document (docs/json.md).
    Json,
    /// One JSON record a line (`blocks` and `filter`).
    Jsonl,
    /// A table for spreadsheets (`diff` and `stat`).
    Csv,
}

/// A side of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// The 32-bit heaps.
    #[value(name = "32")]
    Bits32,
    /// The 64-bit heaps.
    #[value(name = "64")]
    Bits64,
    /// Both.
    All,
}
