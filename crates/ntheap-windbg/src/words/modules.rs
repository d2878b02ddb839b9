//! `lm`, `ln` and `x`: modules and symbols.

use std::fmt::{self, Write};

use ntheap::{
    dump::Module,
    layout::Bitness,
    names::{NameSource, NamedAddress, SymbolState},
    printable::printable,
    process::Process,
};

/// Pointers to imported functions are data.
const IMPORT: &str = "_imp_";

/// `lm`: the modules that are wanted, and what there is of their symbols.
///
/// # Errors
/// Those of `out`.
pub(crate) fn modules(
    process: &Process<'_, '_>,
    symbols: &dyn NameSource,
    wanted: &dyn Fn(&Module) -> bool,
    out: &mut dyn Write,
) -> fmt::Result {
    // An address takes as much as the back quote between its halves adds to it.
    let width = back_quoted(0, process.bitness).len();
    let (start, end) = (width + 1, width + 3);
    writeln!(out, "{:start$}{:end$}module name", "start", "end")?;
    let modules = process.dump.modules.iter();
    let mut modules: Vec<_> = modules.filter(|module| wanted(module)).collect();
    modules.sort_by_key(|module| module.base);
    for module in modules {
        let state = symbols.symbol_state(module);
        let (text, path) = match &state {
            SymbolState::Deferred => ("(deferred)", ""),
            SymbolState::Missing => ("(no symbols)", ""),
            SymbolState::Exports => ("(export symbols)", module.path.as_str()),
            SymbolState::Pdb { path, private, .. } if *private => {
                ("(private pdb symbols)", path.as_str())
            }
            SymbolState::Pdb { path, .. } => ("(pdb symbols)", path.as_str()),
        };
        writeln!(
            out,
            "{} {}   {:<8} {} {text:<23}{}",
            back_quoted(module.base, process.bitness),
            back_quoted(module.end(), process.bitness),
            printable(module.name()),
            doubt(module, &state),
            printable(path),
        )?;
    }
    Ok(())
}

/// The debugger's mark of a module whose symbols can't be trusted to be its own.
fn doubt(module: &Module, state: &SymbolState) -> char {
    let mismatched = matches!(
        state,
        SymbolState::Pdb {
            mismatched: true,
            ..
        }
    );
    match module {
        // What nobody asked for was not checked either.
        _ if *state == SymbolState::Deferred => ' ',
        _ if mismatched => '#',
        Module { timestamp: 0, .. } => 'T',
        Module { checksum: 0, .. } => 'C',
        _ => ' ',
    }
}

/// `ln`: the symbols around an address; with `lines` first where its source is.
///
/// # Errors
/// Those of `out`.
pub(crate) fn nearest(
    process: &Process<'_, '_>,
    symbols: &dyn NameSource,
    address: u64,
    lines: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let bitness = process.bitness;
    if lines && let Some(source) = symbols.source_line(address) {
        write!(out, "{}({})", source.file, source.line)?;
        if source.displacement != 0 {
            write!(out, "+0x{:x}", source.displacement)?;
        }
        writeln!(out)?;
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
        parameters(symbols, &symbol, out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// `x`: the symbols of a module that match a pattern.
///
/// # Errors
/// Those of `out`.
pub(crate) fn search(
    process: &Process<'_, '_>,
    symbols: &dyn NameSource,
    pattern: &str,
    out: &mut dyn Write,
) -> fmt::Result {
    for symbol in symbols.search(pattern) {
        let address = back_quoted(symbol.address, process.bitness);
        write!(out, "{address:17} {}!{}", symbol.module, symbol.symbol)?;
        parameters(symbols, &symbol, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn parameters(symbols: &dyn NameSource, symbol: &NamedAddress, out: &mut dyn Write) -> fmt::Result {
    match symbols.parameters(symbol) {
        Some(parameters) => write!(out, " {parameters}"),
        None if !symbol.symbol.starts_with(IMPORT) => write!(out, " (<no parameter info>)"),
        None => write!(out, " = <no type information>"),
    }
}

/// An address with a back quote between its halves.
pub(crate) fn back_quoted(address: u64, bitness: Bitness) -> String {
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
