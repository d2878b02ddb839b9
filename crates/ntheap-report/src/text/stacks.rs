//! Stacks as text.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use ntheap::{
    layout::Bitness,
    names::{Name, NameSource, is_allocator, is_runtime_function, unnamed},
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

/// A function without the place inside it: `module!symbol`, or `module+0x1a` where only that is known.
#[must_use]
pub fn function_name(name: &Name) -> String {
    match &name.symbol {
        Some(symbol) => format!("{}!{symbol}", name.module),
        None => name.to_string(),
    }
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

/// The frames that tell what a stack is about, in a few words: the first ones outside the runtimes'
/// allocators, innermost first, parted by ` < `.
#[must_use]
pub fn essence(stack: &[u64], names: &dyn NameSource) -> Option<String> {
    essence_without(stack, names, &[])
}

/// As [`essence`], without the program's own `wrappers` as well.
#[must_use]
pub fn essence_without(
    stack: &[u64],
    names: &dyn NameSource,
    wrappers: &[Arc<str>],
) -> Option<String> {
    const FRAMES: usize = 3;
    let mut frames: Vec<String> = Vec::new();
    for name in stack.iter().flat_map(|&frame| names.frames(frame)) {
        let text = function_name(&name);
        let passes_on = is_allocator(&name.module)
            || name.symbol.as_deref().is_some_and(is_runtime_function)
            || wrappers.iter().any(|wrapper| **wrapper == *text);
        if frames.is_empty() && passes_on {
            continue;
        }
        frames.push(text);
        if frames.len() == FRAMES {
            break;
        }
    }
    (!frames.is_empty()).then(|| frames.join(" < "))
}
