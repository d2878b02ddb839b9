//! `lm`, `ln` and `x`: modules and symbols.

use std::fmt::{self, Write};

use super::format::digits;
use crate::{
    layout::Bitness,
    process::Process,
    text::{NameSource, NamedAddress},
};

/// Pointers to imported functions are data.
const IMPORT: &str = "_imp_";

/// `lm`: the modules.
///
/// # Errors
/// Those of `out`.
pub fn modules(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let width = digits(process.bitness);
    let column = width + 1;
    writeln!(out, "{:column$}{:column$}module name", "start", "end")?;
    let mut modules: Vec<_> = process.dump.modules.iter().collect();
    modules.sort_by_key(|module| module.base);
    for module in modules {
        let state = "(deferred)             ";
        writeln!(
            out,
            "{} {}   {:<8}   {state}",
            back_quoted(module.base, process.bitness),
            back_quoted(module.end(), process.bitness),
            module.name(),
        )?;
    }
    Ok(())
}

/// `ln`: the symbols around an address; with `lines` first where its source is.
///
/// # Errors
/// Those of `out`.
pub fn nearest(
    process: &Process<'_, '_>,
    symbols: &dyn NameSource,
    address: u64,
    lines: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let bitness = process.bitness;
    if lines && let Some((file, line)) = symbols.name(address).and_then(|name| name.line) {
        writeln!(out, "{file}({line})")?;
    }
    let (below, above) = symbols.neighbours(address);
    // Below a module's first symbol, that one and the next are shown.
    let (below, above) = match (below, above) {
        (None, Some(first)) => symbols.neighbours(first.address),
        both => both,
    };
    let (Some(symbol), next) = (below, above) else {
        return Ok(());
    };
    let quoted = |address| back_quoted(address, bitness);
    write!(
        out,
        "({})   {}!{}",
        quoted(symbol.address),
        symbol.module,
        symbol.symbol
    )?;
    let offset = address.wrapping_sub(symbol.address);
    if offset != 0 {
        write!(out, "+0x{}", unpadded(offset))?;
    }
    if let Some(next) = next.filter(|next| next.address != symbol.address) {
        write!(
            out,
            "   |  ({})   {}!{}",
            quoted(next.address),
            next.module,
            next.symbol
        )?;
    }
    writeln!(out)?;
    if offset == 0 {
        writeln!(out, "Exact matches:")?;
        write!(out, "    {}!{}", symbol.module, symbol.symbol)?;
        parameters(&symbol, out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// `x`: the symbols of a module that match a pattern.
///
/// # Errors
/// Those of `out`.
pub fn search(
    process: &Process<'_, '_>,
    symbols: &dyn NameSource,
    pattern: &str,
    out: &mut dyn Write,
) -> fmt::Result {
    for symbol in symbols.search(pattern) {
        let address = back_quoted(symbol.address, process.bitness);
        write!(out, "{address:17} {}!{}", symbol.module, symbol.symbol)?;
        parameters(&symbol, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn parameters(symbol: &NamedAddress, out: &mut dyn Write) -> fmt::Result {
    let parameters = symbol.signature.as_deref().and_then(|signature| {
        let rest = signature.strip_prefix(symbol.symbol.as_str())?;
        rest.starts_with('(').then_some(rest)
    });
    match parameters {
        // As the debugger spells types.
        Some(parameters) => {
            let spelt = parameters.replace(',', ", ").replace("__int64", "int64");
            write!(out, " {spelt}")
        }
        None if !symbol.symbol.starts_with(IMPORT) => write!(out, " (<no parameter info>)"),
        None => write!(out, " = <no type information>"),
    }
}

/// An address with a back quote between its halves.
pub(super) fn back_quoted(address: u64, bitness: Bitness) -> String {
    match bitness {
        Bitness::X86 => format!("{address:08x}"),
        Bitness::X64 => format!("{:08x}`{:08x}", address >> 32, address as u32),
    }
}

/// The same without leading zeros.
fn unpadded(value: u64) -> String {
    match value >> 32 {
        0 => format!("{value:x}"),
        high => format!("{high:x}`{:08x}", value as u32),
    }
}
