//! `!vprot`, `!vadump`: regions as the system's own query of them tells.

use std::fmt::{self, Write};

use super::{
    address::{kind, protection, state},
    format::pointer,
};
use ntheap::{
    dump::{Region, RegionState},
    process::Process,
};

/// `!vprot`: the region that holds an address; whether the dump lists one.
///
/// # Errors
/// Those of `out`.
pub(crate) fn region_protection(
    process: &Process<'_, '_>,
    address: u64,
    out: &mut dyn Write,
) -> Result<bool, fmt::Error> {
    let Some(region) = process.dump.region_at(address) else {
        return Ok(false);
    };
    // The query starts at the page that was asked for.
    let page = address & !0xfff;
    let from = page.max(region.base);
    let shown = Region {
        base: from,
        size: region.end() - from,
        ..*region
    };
    self::region(process, &shown, true, out)?;
    Ok(true)
}

/// `!vadump`: all regions; with `verbose` also what they were allocated as.
///
/// # Errors
/// Those of `out`.
pub(crate) fn all_regions(
    process: &Process<'_, '_>,
    verbose: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    for region in &process.dump.regions {
        self::region(process, region, verbose, out)?;
        writeln!(out)?;
    }
    Ok(())
}

fn region(
    process: &Process<'_, '_>,
    region: &Region,
    verbose: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let number = |value| pointer(value, process.bitness);
    let bits = |(bits, name): (u32, &str)| format!("{bits:08x}  {name}");
    let protected = |value: u32| bits((value, &protection(value)));
    let taken = region.state != RegionState::Free;
    let mut row = |label: &str, text: &str| writeln!(out, "{label:<19}{text}");
    row("BaseAddress:", &number(region.base))?;
    if verbose && taken {
        row("AllocationBase:", &number(region.allocation_base))?;
        let allocated = region.allocation_protection;
        row("AllocationProtect:", &protected(allocated))?;
    }
    row("RegionSize:", &number(region.size))?;
    row("State:", &bits(state(region.state)))?;
    if region.state != RegionState::Reserve {
        row("Protect:", &protected(region.protection))?;
    }
    if taken {
        row("Type:", &bits(kind(region.kind)))?;
    }
    Ok(())
}
