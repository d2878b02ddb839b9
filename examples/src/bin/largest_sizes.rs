//! Prints the ten block sizes that hold most bytes of a dump, over all heaps.
//!
//! `cargo run --release -p ntheap-examples --bin largest_sizes -- app.dmp`

use std::{env, path::Path, process::ExitCode};

use ntheap::{
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::Process,
    stats::{self, Order, SizeCounts},
};

fn print(path: &Path) -> ntheap::Result<()> {
    let file = DumpFile::open(path)?;
    let dump = Dump::parse(file.bytes())?;
    let process = Process::of(&dump)?;
    let mut sizes = SizeCounts::default();
    for heap in stats::collect(&Heaps::of(&process)) {
        if !heap.losses.complete() {
            eprintln!("heap {:x} could not be read completely", heap.handle);
        }
        sizes.merge(heap.sizes);
    }
    println!("{:>12} {:>10} {:>14}", "size", "blocks", "bytes");
    for (size, count) in sizes.rows(Order::Total).into_iter().take(10) {
        println!("{size:>12} {:>10} {:>14}", count.blocks, count.bytes);
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: largest_sizes DUMP");
        return ExitCode::from(2);
    };
    match print(Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
