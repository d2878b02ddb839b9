//! What a comparison comes to, in words: the suspects first, each in a line that a person can act on.

use std::fmt::{self, Write};

use ntheap::{
    diff::{
        Comparison, Confidence, Fragmentation, HeldBy, Judgement, Outside, Suspect, Trend,
        human_bytes,
    },
    dump::Dump,
    names::NameSource,
    stats::Count,
    usage::Sign,
};

/// Frames of a suspect that are shown.
const FRAMES: usize = 3;
/// Sizes of a suspect that are named.
const SIZES: usize = 2;
/// Owners of memory outside the heaps that are named.
const OWNERS: usize = 3;

/// Writes the suspects and what else is worth a line.
///
/// # Errors
/// Those of `out`.
pub fn write(
    judgement: &Judgement,
    dump: &Dump<'_>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    if let Some(outside) = &judgement.outside {
        writeln!(out, "{}", outside_text(outside))?;
    }
    for heap in &judgement.fragmented {
        writeln!(out, "{}", fragmentation_text(heap))?;
    }
    for suspect in &judgement.suspects {
        writeln!(out, "{}", suspect_text(suspect, dump, names))?;
    }
    if judgement.more > 0 {
        let noun = if judgement.more == 1 {
            "suspect"
        } else {
            "suspects"
        };
        writeln!(
            out,
            "({} lesser {noun}; --format json has their groups)",
            judgement.more
        )?;
    }
    for once in &judgement.once {
        writeln!(out, "{}", once_text(once))?;
    }
    for wave in &judgement.comes_and_goes {
        writeln!(
            out,
            "Comes and goes: {}: {}",
            place(wave),
            curve(&wave.counts)
        )?;
    }
    Ok(())
}

/// A suspect in one line.
#[must_use]
pub fn suspect_text(suspect: &Suspect, dump: &Dump<'_>, names: &dyn NameSource) -> String {
    let sure = match suspect.confidence {
        Confidence::High => "Leak",
        Confidence::Medium => "Probable leak",
        _ => "Growth",
    };
    let mut text = format!("{sure}: {}: {}", place(suspect), amount(suspect));
    if let Some(rate) = suspect.bytes_per_hour.filter(|&rate| rate > 0) {
        text.push_str(&format!(" ({}/h)", human_bytes(rate.unsigned_abs())));
    }
    let mut whys: Vec<String> = Vec::new();
    if let Some(lost) = suspect.evidence.lost.filter(|lost| lost.lost.blocks > 0) {
        whys.push(format!(
            "{} of {} new blocks are lost: nothing leads to them",
            lost.lost.blocks, lost.of.blocks
        ));
    }
    if let Some(why) = course(suspect) {
        whys.push(why);
    }
    if let Some(held) = &suspect.evidence.held {
        let share = match held.blocks == held.of {
            true => "all".to_owned(),
            false => format!("{} of {}", held.blocks, held.of),
        };
        let lost = suspect
            .evidence
            .lost
            .is_some_and(|lost| lost.lost.blocks > 0);
        let rest = if lost { " of the others" } else { "" };
        whys.push(format!(
            "{share}{rest} held by {}",
            holder(&held.by, dump, names)
        ));
    }
    if whys.is_empty() {
        whys.push("many blocks of one kind".to_owned());
    }
    text.push_str("; ");
    text.push_str(&whys.join("; "));
    if suspect.stacks > 1 {
        text.push_str(&format!("; {} stacks meet there", suspect.stacks));
    }
    text
}

/// How it went through the intervals of a series.
fn course(suspect: &Suspect) -> Option<String> {
    let intervals = suspect.counts.len().saturating_sub(1);
    if intervals < 2 {
        return None;
    }
    let steps: Vec<String> = suspect
        .counts
        .windows(2)
        .map(|pair| format!("{:+}", pair[1].blocks.wrapping_sub(pair[0].blocks) as i64))
        .collect();
    let steps = match steps.len() {
        ..=8 => format!(" ({} blocks)", steps.join(" ")),
        _ => String::new(),
    };
    let steadiness = suspect
        .course
        .steadiness
        .map_or_else(String::new, |score| format!(", steadiness {score:.2}"));
    Some(match suspect.course.trend {
        Trend::EveryInterval => format!("grew in each of {intervals} intervals{steps}{steadiness}"),
        Trend::Once(interval) => format!("came in interval {interval} of {intervals} only"),
        Trend::ComesAndGoes => format!("comes and goes{steps}"),
        _ => format!("grew in some of {intervals} intervals{steps}{steadiness}"),
    })
}

/// Who holds blocks, in words.
#[must_use]
pub fn holder(held: &HeldBy, dump: &Dump<'_>, names: &dyn NameSource) -> String {
    match held {
        HeldBy::Block {
            address,
            size,
            type_name: Some(name),
        } => format!("one block: {name} at {address:x} ({size:#x} bytes)"),
        HeldBy::Block { address, size, .. } => {
            format!("one block of {size:#x} bytes at {address:x}")
        }
        HeldBy::Root { owner, place, .. } => match place {
            Some(place) => match names.name(*place) {
                Some(name) => name.to_string(),
                None => format!("{} at {place:x}", owner.describe(dump)),
            },
            None => "a register".to_owned(),
        },
    }
}

/// Where it comes from.
#[must_use]
pub fn place(suspect: &Suspect) -> String {
    if suspect.frames.is_empty() {
        return match suspect.stacks {
            0 => format!("heap {:x}", suspect.heap),
            stacks => format!("heap {:x}, {stacks} stacks", suspect.heap),
        };
    }
    let shown: Vec<&str> = suspect.frames.iter().take(FRAMES).map(|f| &**f).collect();
    shown.join(" < ")
}

/// How much, in words: `+40 blocks of 0x30 bytes (depot::Session), +1.9 KiB`.
#[must_use]
pub fn amount(suspect: &Suspect) -> String {
    let blocks = suspect.change.blocks();
    let noun = if blocks.abs() == 1 { "block" } else { "blocks" };
    let mut text = format!("{blocks:+} {noun}");
    let sizes: Vec<String> = suspect
        .sizes
        .iter()
        .filter(|size| size.change.blocks() != 0)
        .map(|size| format!("{:#x}", size.size))
        .collect();
    match &sizes[..] {
        [] => {}
        [one] => text.push_str(&format!(" of {one} bytes")),
        several => {
            text.push_str(&format!(
                " of {}",
                several[..SIZES.min(several.len())].join(", ")
            ));
            text.push_str(match several.len() {
                ..=SIZES => " bytes",
                _ => ", … bytes",
            });
        }
    }
    if let Some(name) = &suspect.evidence.type_name {
        text.push_str(&format!(" ({name})"));
    }
    text.push_str(&format!(", {}", signed(suspect.change.bytes())));
    text
}

fn once_text(once: &Suspect) -> String {
    let came = match once.course.trend {
        Trend::Once(interval) if once.counts.len() > 2 => format!("in interval {interval} only"),
        _ => "large block".to_owned(),
    };
    let what = match once.one_off {
        true => "One-off",
        false => "Came once",
    };
    format!("{what}: {}: {}, {came}", place(once), amount(once))
}

fn curve(counts: &[Count]) -> String {
    let shown: Vec<String> = counts
        .iter()
        .map(|count| count.blocks.to_string())
        .collect();
    format!("{} blocks", shown.join(" "))
}

fn fragmentation_text(heap: &Fragmentation) -> String {
    format!(
        "Fragmented: heap {:x} committed {}, the program holds {}: {} lie free in it, the largest free \
         block has {}",
        heap.heap,
        signed(heap.committed),
        signed(heap.busy),
        human_bytes(heap.free),
        human_bytes(heap.largest_free),
    )
}

fn outside_text(outside: &Outside) -> String {
    let mut text = format!(
        "Not the heap: VirtualAlloc memory grew by {}, the heaps by {}",
        human_bytes(outside.bytes.unsigned_abs()),
        signed(outside.heaps)
    );
    for (index, owner) in outside.owners.iter().take(OWNERS).enumerate() {
        text.push_str(if index == 0 { ": " } else { "; " });
        let noun = if owner.allocations == 1 {
            "allocation"
        } else {
            "allocations"
        };
        text.push_str(&format!(
            "{} in {} {noun} ",
            human_bytes(owner.bytes),
            owner.allocations
        ));
        let name = &owner.name;
        text.push_str(&match owner.sign {
            Sign::Layout => format!("of {name} (by its layout)"),
            Sign::Module => format!("probably of {name} (its module is loaded)"),
            Sign::Pointers => format!("probably of {name} (it has most pointers there)"),
            Sign::PointsTo => format!("perhaps of {name} (the memory points to it most)"),
            _ => format!("of nobody known, the largest at {:x}", owner.largest),
        });
    }
    text
}

fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", human_bytes(bytes.unsigned_abs()))
}

/// The dumps of a series with what they hold, and who grew between them.
///
/// # Errors
/// Those of `out`.
pub fn write_series(comparison: &Comparison, top: usize, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "{:<20}{:>14}{:>10}{:>14}",
        "dump", "busy bytes", "blocks", "delta"
    )?;
    let mut last: Option<u64> = None;
    for (index, moment) in comparison.moments.iter().enumerate() {
        let time = ntheap::time::UtcTime::from_unix(moment.timestamp.into());
        let delta = last.map_or(0, |last| moment.busy.bytes.wrapping_sub(last) as i64);
        let name = format!("{} {time}", index + 1);
        writeln!(
            out,
            "{name:<20}{:>14}{:>10}{delta:>+14}",
            moment.busy.bytes, moment.busy.blocks
        )?;
        last = Some(moment.busy.bytes);
    }
    let survivors: Count = comparison
        .heaps
        .iter()
        .fold(Count::default(), |mut sum, heap| {
            sum.merge(heap.survivors);
            sum
        });
    writeln!(
        out,
        "in all dumps: {} blocks, {} bytes",
        survivors.blocks, survivors.bytes
    )?;
    let times: Vec<u32> = comparison.moments.iter().map(|m| m.timestamp).collect();
    for heap in &comparison.heaps {
        let mut rows: Vec<_> = heap
            .by_size()
            .into_iter()
            .map(|row| (ntheap::diff::Course::of(&times, &row.counts), row))
            .filter(|(course, _)| course.trend != Trend::Same)
            .collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by(|(a, x), (b, y)| {
            let score = |course: &ntheap::diff::Course| match course.trend {
                Trend::EveryInterval => course.steadiness.unwrap_or(0.0),
                _ => 0.0,
            };
            score(b)
                .total_cmp(&score(a))
                .then_with(|| y.change.bytes().cmp(&x.change.bytes()))
        });
        writeln!(
            out,
            "\nheap {:x}: steadiest first\n{:<18}{:>10}  {:<15}blocks in each dump",
            heap.handle, "block size", "steadiness", "course"
        )?;
        for (course, row) in rows.iter().take(top) {
            let size = match row.key.size {
                Some(size) => format!("{size:#x} ({size})"),
                None => "all".to_owned(),
            };
            let score = course
                .steadiness
                .map_or("-".to_owned(), |score| format!("{score:.2}"));
            let blocks: Vec<String> = row.counts.iter().map(|c| c.blocks.to_string()).collect();
            writeln!(
                out,
                "{size:<18}{score:>10}  {:<15}{}",
                course.trend.name(),
                blocks.join(" ")
            )?;
        }
        if rows.len() > top {
            writeln!(out, "{} others", rows.len() - top)?;
        }
    }
    Ok(())
}
