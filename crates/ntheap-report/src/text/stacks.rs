//! Stacks as text.

use std::fmt::{self, Write};

use ntheap::{
    layout::Bitness,
    names::{Name, NameSource, is_allocator, unnamed},
};

/// Writes a stack, one frame a line, innermost first, with inlined functions and source lines.
///
/// # Errors
/// Those of `out`.
pub fn write_stack(
    stack: &[u64],
    bitness: Bitness,
    names: &dyn NameSource,
    indent: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    if stack.is_empty() {
        return writeln!(out, "{:indent$}(no stack)", "");
    }
    for &frame in stack {
        let resolved = names.frames(frame);
        if resolved.is_empty() {
            writeln!(out, "{:indent$}{}", "", unnamed(frame, bitness))?;
        }
        for name in resolved {
            writeln!(out, "{:indent$}{}", "", describe(&name))?;
        }
    }
    Ok(())
}

/// A frame in one line: name, mark of an inlined call, source line.
#[must_use]
pub fn describe(name: &Name) -> String {
    let mut text = name.to_string();
    if name.inlined {
        text.push_str(" (inlined)");
    }
    if let Some((file, line)) = &name.line {
        text.push_str(&format!("  [{file} @ {line}]"));
    }
    text
}

/// The frames of a stack by name, as JSON shows them: those inlined have a line of their own.
#[must_use]
pub fn frame_texts(stack: &[u64], bitness: Bitness, names: &dyn NameSource) -> Vec<String> {
    let frame = |&address: &u64| {
        let resolved = names.frames(address);
        match resolved.is_empty() {
            true => vec![unnamed(address, bitness)],
            false => resolved.iter().map(describe).collect(),
        }
    };
    stack.iter().flat_map(frame).collect()
}

/// The frames that tell what a stack is about, in a few words: the first ones outside the system's
/// allocators, innermost first, parted by ` < `.
#[must_use]
pub fn essence(stack: &[u64], names: &dyn NameSource) -> Option<String> {
    const FRAMES: usize = 3;
    let mut frames: Vec<String> = Vec::new();
    for name in stack.iter().flat_map(|&frame| names.frames(frame)) {
        if frames.is_empty() && is_allocator(&name.module) {
            continue;
        }
        frames.push(match &name.symbol {
            Some(symbol) => format!("{}!{symbol}", name.module),
            None => name.to_string(),
        });
        if frames.len() == FRAMES {
            break;
        }
    }
    (!frames.is_empty()).then(|| frames.join(" < "))
}
