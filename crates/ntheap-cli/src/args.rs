//! The command line: the options of every command, and which commands there are. What a command
//! takes stands beside it.

use clap::{Parser, Subcommand};

use crate::{commands, options::Common};

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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare two dumps or more: which heap grew, by which blocks, and what leaks
    Diff(commands::diff::Diff),
    /// The heaps with their totals (!heap -s)
    Summary(commands::summary::Summary),
    /// Block sizes of each heap, largest total first (!heap -stat -h)
    Stat(commands::stat::Stat),
    /// The blocks of a size or a range of sizes (!heap -flt)
    Filter(commands::filter::Filter),
    /// Every block
    Blocks(commands::blocks::Blocks),
    /// The process, its flags, its heaps' debug options, and what the dump lacks
    Info(commands::info::Info),
    /// Blocks that nothing leads to any more, as memcheck tells them
    Leaks(commands::leaks::Leaks),
    /// Who holds a block, or all of a size or type: the way from a root, and what keeps them
    Owners(commands::owners::Owners),
    /// What the blocks are: classes, containers, text; with two dumps, what grew
    Types(commands::types::Types),
    /// The comparison as one HTML file: verdict, tables, flame graph, address space
    Report(commands::report::Report),
    /// Files for other viewers: DevTools, heaptrack, Eclipse MAT, speedscope, pprof, flame graphs
    Export(commands::export::Export),
    /// Stacks for flame graphs and pprof (export --as collapsed and pprof)
    Stacks(commands::stacks::Stacks),
    /// Logs and comparisons in umdh's forms
    #[command(subcommand)]
    Umdh(commands::umdh::Umdh),
    /// What is known of the block at an address (!heap -p -a, !heap -x)
    Block(commands::block::Block),
    /// The symbols around an address (ln)
    Symbol(commands::symbol::Symbol),
    /// Who uses the address space: heaps, VirtualAlloc, stacks, images (!address -summary)
    Address(commands::address::Address),
    /// What the program overwrote: headers, free lists, fills; exit status 1 if anything (!heap -v)
    Verify(commands::verify::Verify),
    /// Carry out the debugger's commands
    Exec(commands::exec::Exec),
    /// Take the debugger's commands at a prompt, or from standard input
    Shell(commands::shell::Shell),
}
