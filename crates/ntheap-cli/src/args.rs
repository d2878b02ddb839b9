//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Numbers are decimal, hexadecimal with 0x, or all hexadecimal with --hex; addresses are always
hexadecimal. Dumps may be compressed (.zst, .gz).

Exit status: 0 done; 1 done, but something could not be read (said on stderr), or verify found
damage; 2 bad usage or unusable input.";

/// Which heap grew, which block size, from which call stack: heap leaks from Windows crash dumps.
#[derive(Debug, Parser)]
#[command(name = "ntheap", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Form of the output [default: text]
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
    /// Read all numbers as hexadecimal, as the debugger does
    #[arg(long, global = true)]
    pub(crate) hex: bool,
    /// Side of a 32-bit process on 64-bit Windows [default: the program's own]
    #[arg(long, global = true, value_enum)]
    pub(crate) bitness: Option<Side>,
    /// Where PDBs are: folders, srv*CACHE*URL, cache*DIR, parted by ';' [default: _NT_SYMBOL_PATH]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) symbols: Option<String>,
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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare two dumps: which heap grew, by which blocks
    Diff(Diff),
    /// The heaps with their totals (!heap -s)
    Summary {
        /// The dump
        dump: PathBuf,
        /// How the text looks
        #[arg(long, value_enum, default_value = "windbg")]
        style: Style,
    },
    /// Block sizes of each heap, largest total first (!heap -stat -h)
    Stat(Stat),
    /// The blocks of a size or a range of sizes (!heap -flt)
    Filter(Filter),
    /// Every block
    Blocks(Blocks),
    /// The process, its flags, its heaps' debug options, and what the dump lacks
    Info {
        /// The dump
        dump: PathBuf,
    },
    /// What the blocks are: classes, containers, text; with two dumps, what grew
    Types(crate::commands::types::Types),
    /// Stacks for flame graphs and pprof
    Stacks(crate::commands::stacks::Stacks),
    /// Logs and comparisons in umdh's forms
    #[command(subcommand)]
    Umdh(crate::commands::umdh::Umdh),
    /// What is known of the block at an address (!heap -p -a, !heap -x)
    Block(Block),
    /// The symbols around an address (ln)
    Symbol(Symbol),
    /// Who uses the address space: heaps, VirtualAlloc, stacks, images (!address -summary)
    Address(Address),
    /// What the program overwrote: headers, free lists, fills; exit status 1 if anything (!heap -v)
    Verify {
        /// The dump
        dump: PathBuf,
    },
    /// Carry out the debugger's commands
    Exec(Exec),
    /// Take the debugger's commands at a prompt, or from standard input
    Shell(Shell),
}

/// `ntheap diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The older dump
    pub(crate) before: PathBuf,
    /// The newer dump
    pub(crate) after: PathBuf,
    /// What to count blocks by [default: size, and stacks under each size where there are any]
    #[arg(long, value_enum)]
    pub(crate) group_by: Option<DiffGroup>,
    /// Groups to show of each heap
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) top: String,
    /// Leave out groups that grew by fewer bytes
    #[arg(long, value_name = "BYTES", default_value = "1")]
    pub(crate) min_growth: String,
}

/// What `diff` counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffGroup {
    /// Requested size
    Size,
    /// Heaps alone
    Heap,
    /// Call stack of the allocation
    Stack,
    /// Requested size and call stack together
    #[value(name = "size,stack")]
    SizeStack,
}

/// `ntheap stat`.
#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// The dump
    pub(crate) dump: PathBuf,
    /// What to sort by (-grp S, A, B)
    #[arg(long, value_enum, default_value = "total")]
    pub(crate) group_by: StatGroup,
    /// Rows to show of each heap
    #[arg(long, value_name = "N", default_value = "0n20")]
    pub(crate) top: String,
}

/// What `stat` sorts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatGroup {
    /// Total bytes of a size
    Total,
    /// Size
    Size,
    /// Number of blocks
    Count,
    /// Call stack of the allocation, by total bytes
    Stack,
}

/// `ntheap filter`.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// The dump
    pub(crate) dump: PathBuf,
    /// Blocks of this size
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "range",
        conflicts_with = "range"
    )]
    pub(crate) size: Option<String>,
    /// Blocks of these sizes, both included
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"])]
    pub(crate) range: Option<Vec<String>>,
}

/// How `summary` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// As `!heap -s` prints it, byte by byte
    Windbg,
    /// Sorted by size, with units, LFH and returnable pages
    Plain,
}

/// `ntheap address`.
#[derive(Debug, Args)]
pub(crate) struct Address {
    /// The dump
    pub(crate) dump: PathBuf,
    /// Owners and regions to show
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) top: String,
}

/// `ntheap blocks`.
#[derive(Debug, Args)]
pub(crate) struct Blocks {
    /// The dump
    pub(crate) dump: PathBuf,
    /// Which blocks
    #[arg(long, value_enum, default_value = "busy")]
    pub(crate) state: StateFilter,
    /// Also the heap's own blocks (LFH containers, tables)
    #[arg(long)]
    pub(crate) internal: bool,
    /// Also the call stack of each allocation
    #[arg(long)]
    pub(crate) stack: bool,
    /// Also what the debug C runtime says of its blocks: true size, file, line, request number
    #[arg(long)]
    pub(crate) crt: bool,
}

/// Which blocks `blocks` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateFilter {
    /// Allocated
    Busy,
    /// Free
    Free,
    /// All
    All,
}

/// `ntheap block`.
#[derive(Debug, Args)]
pub(crate) struct Block {
    /// The dump
    pub(crate) dump: PathBuf,
    /// Addresses, anywhere inside blocks
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
    /// Also every pointer in the process to the block (!heap -x -v)
    #[arg(long)]
    pub(crate) references: bool,
}

/// `ntheap symbol`.
#[derive(Debug, Args)]
pub(crate) struct Symbol {
    /// The dump
    pub(crate) dump: PathBuf,
    /// Addresses
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
}

/// `ntheap exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The dump
    pub(crate) dump: PathBuf,
    /// Commands, each one argument: '!heap -s'
    #[arg(required = true, value_name = "COMMAND")]
    pub(crate) commands: Vec<String>,
}

/// `ntheap shell`.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    /// The dump
    pub(crate) dump: PathBuf,
    /// A newer dump of the same program: .before and .after switch between them, !diff compares
    pub(crate) after: Option<PathBuf>,
}
