//! Writes a dump of any size whose heaps are known block by block, for benchmarks and experiments.
//!
//! `cargo run --release -p ntheap-synth --example make_dump -- big.dmp --bytes 4G`

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use ntheap::layout::Bitness;
use ntheap_synth::stream::{HeapTruth, Manager, Plan, write};

/// Writes a dump whose heaps are known block by block; prints what they hold.
#[derive(Debug, Parser)]
#[command(name = "make_dump")]
struct Arguments {
    /// The dump to write
    dump: PathBuf,
    /// What to begin with; the other options change it
    #[arg(long, value_enum, default_value = "mixed")]
    profile: Profile,
    /// Bytes of all heaps: 64M, 4G
    #[arg(long, value_parser = bytes)]
    bytes: Option<u64>,
    /// Windows build
    #[arg(long)]
    build: Option<u32>,
    /// A 32-bit process
    #[arg(long)]
    x86: bool,
    /// Number of heaps
    #[arg(long)]
    heaps: Option<u64>,
    /// Percent of the memory in the low fragmentation heap
    #[arg(long)]
    lfh: Option<u64>,
    /// Percent of the blocks that are free
    #[arg(long)]
    free: Option<u64>,
    /// Distinct stacks in the trace log
    #[arg(long)]
    stacks: Option<u64>,
    /// Blocks of each heap with a mapping of their own
    #[arg(long)]
    large: Option<u64>,
    /// Committed bytes between two uncommitted ranges
    #[arg(long, value_parser = bytes)]
    hole_every: Option<u64>,
    /// Bytes of each segment that are in use
    #[arg(long, value_parser = bytes)]
    filled: Option<u64>,
    /// Longest memory range
    #[arg(long, value_parser = bytes)]
    range: Option<u64>,
    /// What everything that looks random comes of
    #[arg(long)]
    seed: Option<u64>,
    /// Also write what each heap holds, by size, to this file (tab-separated)
    #[arg(long)]
    truth: Option<PathBuf>,
}

/// What the benchmarks of docs/performance.md run on.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Profile {
    /// Blocks of segments and slots
    Mixed,
    /// Blocks of segments alone
    Backend,
    /// Nearly all in the low fragmentation heap
    Lfh,
    /// Every block with a stack
    Traced,
    /// A thousand heaps
    ManyHeaps,
    /// Segment heaps
    Segment,
    /// An uncommitted range every two pages
    ManyRanges,
}

impl Profile {
    fn plan(self) -> Plan {
        let plan = Plan {
            bytes: 1 << 30,
            heaps: 4,
            ..Plan::default()
        };
        match self {
            Profile::Mixed => plan,
            Profile::Backend => Plan { lfh: 0, ..plan },
            Profile::Lfh => Plan { lfh: 95, ..plan },
            Profile::Traced => Plan {
                stacks: 10_000,
                ..plan
            },
            Profile::ManyHeaps => Plan {
                heaps: 1000,
                ..plan
            },
            Profile::Segment => Plan {
                manager: Manager::Segment,
                ..plan
            },
            Profile::ManyRanges => Plan {
                hole_every: 0x2000,
                ..plan
            },
        }
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no size"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("{text} is too large"))
}

fn plan(arguments: &Arguments) -> Plan {
    let plan = arguments.profile.plan();
    Plan {
        build: arguments.build.unwrap_or(plan.build),
        bitness: if arguments.x86 {
            Bitness::X86
        } else {
            Bitness::X64
        },
        manager: plan.manager,
        bytes: arguments.bytes.unwrap_or(plan.bytes),
        heaps: arguments.heaps.unwrap_or(plan.heaps).max(1),
        lfh: arguments.lfh.unwrap_or(plan.lfh),
        free: arguments.free.unwrap_or(plan.free),
        stacks: arguments.stacks.unwrap_or(plan.stacks),
        large: arguments.large.unwrap_or(plan.large),
        hole_every: arguments.hole_every.unwrap_or(plan.hole_every),
        filled: arguments.filled.unwrap_or(plan.filled),
        range: arguments.range.unwrap_or(plan.range),
        seed: arguments.seed.unwrap_or(plan.seed),
    }
}

fn print(truth: &[HeapTruth]) {
    let blocks: u64 = truth.iter().map(|heap| heap.busy.blocks).sum();
    let bytes: u64 = truth.iter().map(|heap| heap.busy.bytes).sum();
    let slots: u64 = truth.iter().map(|heap| heap.lfh_busy.blocks).sum();
    let free: u64 = truth
        .iter()
        .map(|heap| heap.free.blocks + heap.lfh_free.blocks)
        .sum();
    println!(
        "{} heaps: {blocks} blocks of {bytes} bytes in use, {slots} of them slots; {free} free",
        truth.len()
    );
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&arguments.dump)?);
    let truth = write(&plan(arguments), &mut file)?;
    print(&truth);
    if let Some(path) = &arguments.truth {
        let mut out = BufWriter::new(File::create(path)?);
        writeln!(out, "heap\tsize\tblocks")?;
        for heap in &truth {
            for (size, blocks) in &heap.sizes {
                writeln!(out, "{:x}\t{size}\t{blocks}", heap.handle)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make_dump: {error}");
            ExitCode::FAILURE
        }
    }
}
