//! `lm`, `ln` and `x`: modules and symbols.

use std::fmt::{self, Write};

use super::{format::shown_path, time};
use ntheap::{
    dump::Module,
    layout::Bitness,
    names::{NameSource, NamedAddress, SymbolState},
    printable::printable,
    process::Process,
};

/// Pointers to imported functions are data.
const IMPORT: &str = "_imp_";

/// What `lm` shows of each module.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ModuleRow {
    /// The path, in place of what there is of its symbols.
    pub(crate) path: bool,
    /// The name of the image's file.
    pub(crate) image: bool,
    /// When it was linked.
    pub(crate) time: bool,
    /// Lines of details below the row.
    pub(crate) details: bool,
    /// Nothing but the name.
    pub(crate) name_only: bool,
}

/// `lm`: the modules that are wanted, and what there is of their symbols.
///
/// # Errors
/// Those of `out`.
pub(crate) fn modules(
    process: &Process<'_, '_>,
    symbols: &dyn NameSource,
    wanted: &dyn Fn(&Module) -> bool,
    row: &ModuleRow,
    by_name: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    // An address takes as much as the back quote between its halves adds to it.
    let width = back_quoted(0, process.bitness).len();
    let (start, end) = (width + 1, width + 3);
    if !row.name_only {
        writeln!(out, "{:start$}{:end$}module name", "start", "end")?;
    }
    let modules = process.dump.modules.iter();
    let mut modules: Vec<_> = modules.filter(|module| wanted(module)).collect();
    match by_name {
        true => modules.sort_by_key(|module| module.name().to_ascii_lowercase()),
        false => modules.sort_by_key(|module| module.base),
    }
    for module in modules {
        let name = printable(module.name());
        if row.name_only {
            writeln!(out, "{name}")?;
            continue;
        }
        write!(
            out,
            "{} {}   {name:<8} ",
            back_quoted(module.base, process.bitness),
            back_quoted(module.end(), process.bitness),
        )?;
        if row.path || row.image || row.time {
            let mut parts = Vec::new();
            if row.image {
                parts.push(format!("{:<12}", printable(module.file_name())));
            }
            if row.path {
                parts.push(printable(&module.path).into_owned());
            }
            if row.time {
                let date = time::date(module.timestamp.into());
                parts.push(format!("{date} ({:08X})", module.timestamp));
            }
            writeln!(out, "  {}", parts.join(" ").trim_end())?;
        } else {
            let state = symbols.symbol_state(module);
            let (text, path) = symbol_words(module, &state);
            let doubt = doubt(module, &state);
            writeln!(out, "{doubt} {text:<23}{}", printable(path))?;
        }
        if row.details {
            details(module, out)?;
        }
    }
    Ok(())
}

fn symbol_words<'s>(module: &'s Module, state: &'s SymbolState) -> (&'static str, &'s str) {
    match state {
        SymbolState::Deferred => ("(deferred)", ""),
        SymbolState::Missing => ("(no symbols)", ""),
        SymbolState::Exports => ("(export symbols)", module.path.as_str()),
        SymbolState::Pdb { path, private, .. } if *private => ("(private pdb symbols)", path),
        SymbolState::Pdb { path, .. } => ("(pdb symbols)", path),
    }
}

/// `lmv`: what the module list says of a module.
fn details(module: &Module, out: &mut dyn Write) -> fmt::Result {
    let mut row = |label: &str, text: &str| writeln!(out, "    {label:<17}{text}");
    row("Image path:", &printable(&module.path))?;
    row("Image name:", &printable(module.file_name()))?;
    let date = time::date(module.timestamp.into());
    row("Timestamp:", &format!("{date} ({:08X})", module.timestamp))?;
    row("CheckSum:", &format!("{:08X}", module.checksum))?;
    row("ImageSize:", &format!("{:08X}", module.size))?;
    if let Some([major, minor, build, revision]) = module.version {
        row(
            "File version:",
            &format!("{major}.{minor}.{build}.{revision}"),
        )?;
    }
    if let Some(pdb) = &module.pdb {
        row("Symbol file:", &printable(pdb.file_name()))?;
        row("Symbol id:", &pdb.id.breakpad().to_string())?;
    }
    Ok(())
}

/// The modules that were unloaded, below those of `lm`; with `whole` as the dump names them, which can
/// be paths.
///
/// # Errors
/// Those of `out`.
pub(crate) fn unloaded_modules(
    process: &Process<'_, '_>,
    wanted: &dyn Fn(&str) -> bool,
    whole: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut modules = process.dump.unloaded_modules();
    modules.retain(|module| wanted(&module.name));
    if modules.is_empty() {
        return Ok(());
    }
    modules.sort_by_key(|module| module.base);
    writeln!(out, "\nUnloaded modules:")?;
    for module in modules {
        let end = module.base.saturating_add(module.size.into());
        writeln!(
            out,
            "{} {}   {}",
            back_quoted(module.base, process.bitness),
            back_quoted(end, process.bitness),
            printable(shown_path(&module.name, whole))
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
