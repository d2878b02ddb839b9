//! Errors put into transcripts on purpose: known ones, two and more at once, which have to be taken
//! out again, and changed digits, which must not be proved to be an error of the debugger.
//!
//! What is put in is what the bytes of the dump would have made the debugger print: the wrong count
//! of unused bytes is read from the entry, the wrong tag computed from its size and flags.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
};

use ntheap::{blocks::Trace, heap::nt::RawEntry};

use crate::{
    context::Context,
    corrections::{correct, prove},
    each_output,
    lines::{Lines, hex, key, split, words},
    lists, stat, summary,
};

/// Puts an error in wherever it can be, and tells its class.
type Injector = fn(&Context<'_, '_>, &mut Lines) -> bool;

const INJECTORS: &[(&str, Injector)] = &[
    ("UnusedBytes capped at 3f", |context, lines| {
        rewritten(lines, |line| unused_bytes(context, line))
            | lists::show_masked(context, lines)
            | stat::show_capped(context, lines)
    }),
    (
        "checksum of an encoded entry shown as a tag",
        |context, lines| rewritten(lines, |line| tag(context, line)),
    ),
    (
        "virtual block: flags taken from the encoded entry",
        |context, lines| rewritten(lines, |line| fill(context, line)),
    ),
    (
        "fill behind blocks looked for inside blocks with traces",
        damage,
    ),
    ("named by symbols that are not at hand", |context, lines| {
        rewritten(lines, |line| {
            other_name(line).filter(|_| context.ours.has(line))
        })
    }),
    (
        "-x: a virtual block's trace told from case to case",
        |context, lines| {
            rewritten(lines, |line| {
                let block = context.block(hex(key(line))?)?;
                let virtual_row = line.ends_with(" virtual ") && block.trace != Trace::None;
                virtual_row.then(|| format!("{line} stack_trace"))
            })
        },
    ),
    (
        "state of LFH slots not told for this build",
        |context, lines| {
            rewritten(lines, |line| {
                let (row, _) = line.split_once("LFH;")?;
                let state = line.ends_with("LFH;busy ") || line.ends_with("LFH;free ");
                let listed = context.is("!heap -x") && state;
                listed.then(|| format!("{row}LFH;busy"))
            })
        },
    ),
    ("-x -v: one pointer fewer", |context, lines| {
        rewritten(lines, |line| {
            let (range, found) = line
                .split_once(" : ")
                .filter(|_| context.is("!heap -x -v"))?;
            let (_, rest) = found.split_once(", ")?;
            Some(format!("{range} : {rest}"))
        })
    }),
    ("cached user blocks are not counted", |context, lines| {
        rewritten(lines, |line| {
            let (head, number) = line.rsplit_once(',')?;
            let cached = context.newer && line.contains(" bytes (") && number != "     0)";
            cached.then(|| format!("{head},     0)"))
        })
    }),
    (
        "preamble of -s missing: the extension could not start its segment heap part",
        |context, lines| {
            let table = matches!(context.typed.as_str(), "!heap -s" | "!heap -s -v");
            let start = summary::table(lines);
            let start = start.filter(|start| table && *start > 0);
            start.map(|start| lines.drain(..start)).is_some()
        },
    ),
    (
        "caption missing: the first heap is a segment heap",
        |context, lines| {
            let first = context.process.heaps.first();
            let segment = first.is_some_and(|heap| context.is_segment_heap(heap.handle));
            let caption = segment && lines[0].starts_with("Index ");
            caption.then(|| lines.remove(0)).is_some()
        },
    ),
];

/// Changes the lines that an error shows in.
fn rewritten(lines: &mut Lines, wrong: impl Fn(&str) -> Option<String>) -> bool {
    let mut changed = false;
    for line in lines.iter_mut() {
        if let Some(wrong) = wrong(line).filter(|wrong| wrong != line) {
            *line = wrong;
            changed = true;
        }
    }
    changed
}

/// The entry that a row of `-a` or `-x` is of.
fn entry(context: &Context<'_, '_>, line: &str) -> Option<RawEntry> {
    let (_, raw) = context.raw(hex(key(line).trim_end_matches(':'))?)?;
    (raw.is_busy() && !context.is_xp()).then_some(raw)
}

/// All eight bits of the byte at the entry's end, the mark of a trace among them, for its count.
fn unused_bytes(context: &Context<'_, '_>, line: &str) -> Option<String> {
    let raw = entry(context, line)?;
    let byte = u64::from(raw.entry.unused);
    if let Some((head, rest)) = line.split_once("- busy (") {
        let wrong = raw.size.checked_sub(byte).filter(|_| head.contains(". "))?;
        return Some(format!(
            "{head}- busy ({wrong:x}{}",
            &rest[rest.find(')')?..]
        ));
    }
    let listed = context.is("!heap -x") && words(line).len() >= 7 && !line.contains("virtual");
    let at = 4 * (2 + context.digits()) + 20;
    (listed && byte < raw.unused && line.get(at..)?.contains("busy")).then(|| {
        Some(format!(
            "{}{byte:8x}{}",
            line.get(..at)?,
            line.get(at + 8..)?
        ))
    })?
}

fn tag(context: &Context<'_, '_>, line: &str) -> Option<String> {
    let raw = entry(context, line).filter(|raw| raw.encoded && line.contains(". "))?;
    let at = line.find("- busy (")?;
    let end = line.find(" Internal").unwrap_or(line.len());
    let tag = raw.entry.small_tag;
    (tag != 0 && at < end).then(|| format!("{} (Tag {tag:x}){}", &line[..end], &line[end..]))
}

fn fill(context: &Context<'_, '_>, line: &str) -> Option<String> {
    let element = hex(key(line).trim_end_matches(':')).filter(|_| line.contains(" [commited "))?;
    let encoded = context.model.nt_heaps().find_map(|heap| {
        let mut blocks = heap.virtual_blocks.iter();
        let block = blocks.find(|block| block.element == element)?;
        context
            .process
            .memory()
            .u8(block.entry + heap.header.codec.header_offset() + 2)
    })?;
    let shown = line.contains("tail fill") || encoded & 4 == 0;
    (!shown).then(|| line.replacen("- busy (b)", "- busy (b), tail fill", 1))
}

/// Reports of damage inside blocks with traces, below their rows.
fn damage(context: &Context<'_, '_>, lines: &mut Lines) -> bool {
    let width = context.digits();
    let mut changed = false;
    let mut with = Lines::new();
    for line in std::mem::take(lines) {
        let raw = entry(context, &line);
        let row = line.contains("- busy (") && line.contains(". ");
        with.push(line);
        let raw = raw.filter(|raw| row && raw.requested() > 1 && context.has_traces());
        let block = raw.and_then(|raw| context.block(raw.address));
        if let Some(block) = block.filter(|block| block.address - block.entry > context.unit()) {
            let (entry, size) = (block.entry, block.size);
            let mut places = entry + context.unit() + size..;
            let memory = context.process.memory();
            let Some(place) = places.find(|place| memory.u8(*place) != Some(0xab)) else {
                continue;
            };
            let (units, unit) = (block.block_size / context.unit(), context.unit());
            with.push(format!(
                "    Heap block at {entry:0width$x} modified at {place:0width$x} past requested \
                 size of {size:x} ({units:x} * {unit:x} - {:x})",
                block.block_size - size,
            ));
            changed = true;
        }
    }
    *lines = with;
    changed
}

/// The name that a nearer symbol would have given.
fn other_name(line: &str) -> Option<String> {
    let (head, offset) = line.rsplit_once("+0x")?;
    let (head, _) = head.rsplit_once('!')?;
    let nearer = hex(offset)?.checked_sub(1)?;
    let width = offset.len();
    line.starts_with("        ")
        .then(|| format!("{head}!Nearer+0x{nearer:0width$x}"))
}

#[test]
fn several_errors_at_once_are_proved() {
    let sets = Mutex::new(BTreeMap::<Vec<&str>, usize>::new());
    let failed = Mutex::new(Vec::<String>::new());
    each_output(|context, expected| {
        let mut theirs = lists::without_chain(&context.typed, split(expected));
        let right = theirs == context.ours.lines;
        let put = INJECTORS
            .iter()
            .filter(|(_, put)| put(context, &mut theirs));
        let classes: BTreeSet<&str> = put.map(|(class, _)| *class).collect();
        if classes.len() < 1 + usize::from(right) {
            return;
        }
        let proved = correct(context, &mut theirs);
        let found = context.used.take();
        if !proved || !classes.is_subset(&found) {
            let left = [theirs, context.ours.lines.clone()];
            let text = crate::transcript::difference(&left, 4);
            let missed: Vec<_> = classes.difference(&found).collect();
            let text = format!("{}: {classes:?} {missed:?}{text}", context.label());
            failed.lock().expect("no test thread panicked").push(text);
        } else {
            let mut sets = sets.lock().expect("no test thread panicked");
            *sets.entry(found.into_iter().collect()).or_default() += 1;
        }
    });
    let failed = failed.into_inner().expect("no test thread panicked");
    failed.iter().for_each(|text| println!("{text}"));
    let sets = sets.into_inner().expect("no test thread panicked");
    let together = |count| {
        sets.iter()
            .filter(|(set, _)| set.len() >= count)
            .map(|set| set.1)
            .sum()
    };
    let (two, three): (usize, usize) = (together(2), together(3));
    println!(
        "proved with errors put in: {two} with two at least, {three} with three, {} sets",
        sets.len()
    );
    assert!(
        failed.is_empty(),
        "{} outputs with known errors are not proved",
        failed.len()
    );
}

/// Errors whose text has parts that nothing in the dump tells: other symbols' names, numbers read from
/// places of another structure, addresses of the debugger's own.
const PARTLY_KNOWN: &[&str] = &[
    "named by symbols that are not at hand",
    "LFH key can't be told without symbols while no LFH is in use",
    "-stat: segment heaps listed as NT heaps",
    "-x fails on free pages of a segment heap",
    "!address -summary: regions of the environment block not mapped",
    "!address: segments of segment heaps not mapped",
    "-l: slots of Windows 8.1's LFH looked for in the wrong places",
];

#[test]
fn changed_digits_are_not_proved() {
    let counts = Mutex::new((0, 0, Vec::<String>::new()));
    each_output(|context, expected| {
        let mut hasher = DefaultHasher::new();
        context.label().hash(&mut hasher);
        let Some((place, changed)) = with_another_digit(expected, hasher.finish()) else {
            return;
        };
        let proof = prove(context, &changed);
        let mut counts = counts.lock().expect("no test thread panicked");
        counts.0 += 1;
        if let Ok(classes) = proof {
            if classes.iter().any(|class| PARTLY_KNOWN.contains(class)) {
                counts.1 += 1;
                return;
            }
            let text = format!("{}: {place}: {classes:?}", context.label());
            counts.2.push(text);
        }
    });
    let (compared, unknown, proved) = counts.into_inner().expect("no test thread panicked");
    proved.iter().for_each(|text| println!("{text}"));
    println!(
        "changed digits: {compared} outputs, {unknown} in what is not known, {} proved",
        proved.len()
    );
    assert!(
        proved.is_empty(),
        "{} outputs with a changed digit are proved",
        proved.len()
    );
}

/// The text with one digit changed, and the line with it.
fn with_another_digit(text: &str, seed: u64) -> Option<(String, String)> {
    let digits: Vec<usize> = text
        .match_indices(|c: char| c.is_ascii_digit())
        .map(|(at, _)| at)
        .collect();
    let at = *digits.get((seed % digits.len().max(1) as u64) as usize)?;
    let other = b'0' + (text.as_bytes()[at] - b'0' + 1 + (seed >> 32) as u8 % 9) % 10;
    let changed = format!("{}{}{}", &text[..at], char::from(other), &text[at + 1..]);
    let line = changed[..at].rfind('\n').map_or(0, |at| at + 1);
    let line = changed[line..]
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    Some((line, changed))
}
