//! Who uses the address space, as a table.

use std::fmt::{self, Write};

use ntheap::{
    diff::human_bytes,
    process::Process,
    usage::{Class, Owner, Total, Usage},
};

/// Writes the use of a process's address space: by class, by owner, and the largest regions; at
/// most `top` owners and regions.
///
/// # Errors
/// Those of `out`.
pub fn write(
    process: &Process<'_, '_>,
    usage: &Usage,
    top: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    if !usage.described {
        writeln!(
            out,
            "The dump does not describe its regions: only the memory that it holds is counted.\n"
        )?;
    }
    header("use", out)?;
    let totals = usage.totals();
    for (class, total) in totals.iter().filter(|(class, _)| *class != Class::Free) {
        row(class.title(), total, out)?;
    }
    row("all", &usage.total(), out)?;
    if let Some(largest) = usage.largest_free() {
        let free = usage.of_class(Class::Free);
        writeln!(
            out,
            "free: {} in {} regions, the largest {}",
            human_bytes(free.size),
            free.regions,
            human_bytes(largest)
        )?;
    }
    let owners = usage.owners();
    let named: Vec<&(Owner, Total)> = owners
        .iter()
        .filter(|(owner, total)| *owner != Owner::Free && total.size > 0)
        .collect();
    writeln!(out)?;
    header("owner", out)?;
    for (owner, total) in named.iter().take(top) {
        row(&owner.describe(process.dump), total, out)?;
    }
    if named.len() > top {
        writeln!(out, "{} others", named.len() - top)?;
    }
    writeln!(
        out,
        "\n{:<17} {:>11}  state    kind     largest regions",
        "address", "size"
    )?;
    for used in usage.largest(top) {
        writeln!(
            out,
            "{:<17} {:>11}  {:<7}  {:<7}  {}",
            format!("{:x}", used.region.base),
            human_bytes(used.region.size),
            used.region.state.name(),
            used.region.kind.name(),
            used.owner.describe(process.dump)
        )?;
    }
    Ok(())
}

fn header(first: &str, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "{first:<28} {:>11} {:>11} {:>11} {:>8}",
        "committed", "private", "reserved", "regions"
    )
}

fn row(name: &str, total: &Total, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "{name:<28} {:>11} {:>11} {:>11} {:>8}",
        human_bytes(total.committed),
        human_bytes(total.private),
        human_bytes(total.reserved()),
        total.regions
    )
}
