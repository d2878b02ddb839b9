//! The command line: the options of every command, and which commands there are. What a command
//! takes stands beside it.

use clap::{Parser, Subcommand};

use crate::{commands, options::Common};

const EXIT_CODES: &str = "\
Numbers are decimal, hexadecimal with 0x, or all hexadecimal with --hex; addresses are always
hexadecimal. Dumps may be packed (.zst, .gz, .xz, .zip, .7z, .cab).

Exit status: 0 done; 1 done, but something could not be read (said on stderr), or verify found
damage; 2 bad usage or unusable input; 3 growth beyond --fail-if-growth.";

/// Which heap grew, which block size, from which call stack: heap leaks from Windows crash dumps.
#[derive(Debug, Parser)]
#[command(name = "ntheap", version = env!("NTHEAP_VERSION"), after_help = EXIT_CODES, max_term_width = 100)]
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
    #[command(
        after_help = "Examples:\n  ntheap summary app.dmp\n  ntheap summary app.dmp --style plain --paginate"
    )]
    Summary(commands::summary::Summary),
    /// Block sizes of each heap, largest total first (!heap -stat -h)
    #[command(
        after_help = "Examples:\n  ntheap stat app.dmp\n  ntheap stat app.dmp --heap 21ab6d00000 --group-by stack -n 5"
    )]
    Stat(commands::stat::Stat),
    /// The blocks of a size or a range of sizes (!heap -flt)
    #[command(
        after_help = "Examples:\n  ntheap filter app.dmp --size 0x30\n  ntheap filter app.dmp --range 0x1000 0x2000 -f jsonl"
    )]
    Filter(commands::filter::Filter),
    /// Every block
    #[command(
        after_help = "Examples:\n  ntheap blocks app.dmp --stack -f jsonl\n  ntheap blocks app.dmp --state all --heap 21ab6d00000 --paginate"
    )]
    Blocks(commands::blocks::Blocks),
    /// The process, its flags, its heaps' debug options, and what the dump lacks
    #[command(after_help = "Examples:\n  ntheap info app.dmp\n  ntheap info app.dmp -f json")]
    Info(commands::info::Info),
    /// Blocks that nothing leads to any more, as memcheck tells them
    #[command(
        after_help = "Examples:\n  ntheap leaks app.dmp\n  ntheap leaks app.dmp -s C:\\symbols -f json"
    )]
    Leaks(commands::leaks::Leaks),
    /// Who holds a block, or all of a size or type: the way from a root, and what keeps them
    #[command(
        after_help = "Examples:\n  ntheap owners app.dmp 21ab6d04560\n  ntheap owners app.dmp --type app::Order"
    )]
    Owners(commands::owners::Owners),
    /// What the blocks are: classes, containers, text; with two dumps, what grew
    #[command(
        after_help = "Examples:\n  ntheap types app.dmp\n  ntheap types before.dmp after.dmp"
    )]
    Types(commands::types::Types),
    /// The comparison as one HTML file: verdict, tables, flame graph, address space
    Report(commands::report::Report),
    /// Files for other viewers: DevTools, heaptrack, Eclipse MAT, speedscope, pprof, flame graphs
    Export(commands::export::Export),
    /// What can be kept of a dump: sizes, sites, types in 64 KB of JSON, without contents
    Fingerprint(commands::fingerprint::Fingerprint),
    /// A folder of dumps to fingerprints or tables; goes on past broken ones, and where it ended
    Scan(commands::scan::Scan),
    /// Stacks for flame graphs and pprof (export --as collapsed and pprof)
    #[command(
        after_help = "Examples:\n  ntheap stacks app.dmp | flamegraph.pl > app.svg\n  ntheap stacks before.dmp after.dmp --as pprof -o gained.pb.gz"
    )]
    Stacks(commands::stacks::Stacks),
    /// Logs and comparisons in umdh's forms
    #[command(subcommand)]
    Umdh(commands::umdh::Umdh),
    /// What is known of the block at an address (!heap -p -a, !heap -x)
    #[command(
        after_help = "Examples:\n  ntheap block app.dmp 21ab6d04560\n  ntheap block app.dmp 21ab6d04560 --references"
    )]
    Block(commands::block::Block),
    /// The symbols around an address (ln)
    #[command(
        after_help = "Examples:\n  ntheap symbol app.dmp 7ff6228b1449 -s C:\\symbols\n  ntheap symbol app.dmp 7ff6228b1449 7ffd12345678"
    )]
    Symbol(commands::symbol::Symbol),
    /// Who uses the address space: heaps, VirtualAlloc, stacks, images (!address -summary)
    #[command(
        after_help = "Examples:\n  ntheap address app.dmp\n  ntheap address app.dmp --top 50 -f json"
    )]
    Address(commands::address::Address),
    /// What the program overwrote: headers, free lists, fills; exit status 1 if anything (!heap -v)
    #[command(after_help = "Examples:\n  ntheap verify app.dmp\n  ntheap verify app.dmp -f json")]
    Verify(commands::verify::Verify),
    /// Carry out the debugger's commands
    #[command(
        after_help = "Examples:\n  ntheap exec app.dmp '!heap -s' '!heap -stat -h 21ab6d00000'\n  ntheap exec app.dmp 'x app!*Leak*' -s C:\\symbols"
    )]
    Exec(commands::exec::Exec),
    /// Take the debugger's commands at a prompt, or from standard input
    #[command(
        after_help = "Examples:\n  ntheap shell app.dmp\n  ntheap shell before.dmp after.dmp"
    )]
    Shell(commands::shell::Shell),
    /// Serve agents over the Model Context Protocol, on standard input and output
    #[cfg(feature = "mcp")]
    #[command(
        after_help = "Examples:\n  ntheap mcp dumps -s C:\\symbols\n  ntheap mcp /srv/dumps --patience 600 --private"
    )]
    Mcp(commands::mcp::Mcp),
    /// Completions for a shell, to its standard place
    #[command(
        after_help = "Examples:\n  ntheap completions bash > ~/.local/share/bash-completion/completions/ntheap\n  ntheap completions powershell >> $PROFILE"
    )]
    Completions(commands::manual::Completions),
    /// Manual pages
    #[command(
        after_help = "Examples:\n  ntheap man ~/.local/share/man/man1\n  ntheap man | man -l -"
    )]
    Man(commands::manual::Man),
}
