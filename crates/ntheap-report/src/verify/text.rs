//! What was overwritten, with the blocks around it and the stack of the likely culprit.

use std::fmt::{self, Write};

use crate::noted;

use ntheap::{
    blocks::Block,
    names::{NameSource, unnamed},
    process::Process,
    traces::Traces,
    verify::{Damage, Unfinished, Verification},
};

/// Writes the report: each damage, then what was checked.
///
/// # Errors
/// Those of `out`.
pub fn write(
    process: &Process<'_, '_>,
    verification: &Verification,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let traces = Traces::of(process);
    if noted::write(process, names, out)? {
        writeln!(out)?;
    }
    for damage in &verification.damages {
        writeln!(out, "{damage}")?;
        for (role, block) in [
            ("before", &damage.before),
            ("block", &damage.block),
            ("after", &damage.after),
        ] {
            if let Some(block) = block {
                writeln!(out, "    {role:<6} {}", describe(block))?;
            }
        }
        suspect(process, damage, &traces, names, out)?;
    }
    if !verification.damages.is_empty() {
        writeln!(out)?;
    }
    for unfinished in &verification.unfinished {
        let damage = &unfinished.damage;
        writeln!(
            out,
            "heap {:x}: {} at {:x}: an operation that was not finished; {}",
            damage.heap,
            damage.check.name(),
            damage.address,
            at_work(unfinished),
        )?;
    }
    if !verification.unfinished.is_empty() {
        writeln!(out)?;
    }
    let checked = &verification.checked;
    let count = verification.damages.len();
    match count {
        0 => write!(out, "Nothing is damaged")?,
        1 => write!(out, "1 damage")?,
        _ => write!(out, "{count} damages")?,
    }
    writeln!(out, " in {} heaps: checked", checked.heaps)?;
    for (number, what) in [
        (checked.blocks, "headers of blocks"),
        (checked.free_list_entries, "entries of free lists"),
        (checked.slot_headers, "codes of LFH slots"),
        (checked.depths, "LFH containers' free counts"),
        (checked.tail_fills, "fills behind blocks"),
        (checked.free_fills, "fills of free blocks"),
    ] {
        if number > 0 {
            writeln!(out, "{number:>10} {what}")?;
        }
    }
    Ok(())
}

/// The threads that were at work on the heap.
fn at_work(unfinished: &Unfinished) -> String {
    let threads: Vec<String> = unfinished
        .threads
        .iter()
        .map(|operation| match operation.holds_lock {
            true => format!("thread {:#x} holds the heap's lock", operation.thread),
            false => format!(
                "thread {:#x} is inside ntdll with this heap",
                operation.thread
            ),
        })
        .collect();
    threads.join(", ")
}

fn describe(block: &Block) -> String {
    format!(
        "{:x}  size {:#x} ({:#x})  {} {}{}",
        block.address,
        block.size,
        block.block_size,
        block.state.name(),
        block.kind.name(),
        if block.internal {
            ", the heap's own"
        } else {
            ""
        }
    )
}

/// The stack that allocated the block from which the damage most likely came.
fn suspect(
    process: &Process<'_, '_>,
    damage: &Damage,
    traces: &Traces<'_, '_>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let Some(block) = damage.suspect() else {
        return Ok(());
    };
    let Some(frames) = traces.frames(block.trace) else {
        return Ok(());
    };
    writeln!(out, "    block {:x} was allocated by", block.address)?;
    for frame in frames {
        match names.name(frame) {
            Some(name) => writeln!(out, "        {name}")?,
            None => writeln!(out, "        {}", unnamed(frame, process.bitness))?,
        }
    }
    Ok(())
}
