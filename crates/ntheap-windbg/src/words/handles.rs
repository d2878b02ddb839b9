//! `!handle`: the handles that the process had open.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use super::format::{NOT_SHOWN, pointer};
use ntheap::{dump::Handle, printable::printable, process::Process};

/// Access rights that every kind of object has.
const RIGHTS: [(u32, &str); 6] = [
    (0x1_0000, "Delete"),
    (0x2_0000, "ReadControl"),
    (0x4_0000, "WriteDac"),
    (0x8_0000, "WriteOwner"),
    (0x10_0000, "Synch"),
    (0x100_0000, "AccessSystemSecurity"),
];

/// What `!handle`'s flags ask for.
const TYPE: u64 = 1;
const BASIC: u64 = 2;
const NAME: u64 = 4;

/// Which handles, and how much of each.
#[derive(Debug)]
pub(crate) struct HandleRows<'t> {
    /// One alone.
    pub(crate) only: Option<u64>,
    /// What is shown of each.
    pub(crate) flags: Option<u64>,
    /// Those of a type alone.
    pub(crate) kind: Option<&'t str>,
    /// Whether the names of objects, which have paths and users in them, may be shown.
    pub(crate) names: bool,
}

/// Prints handles.
///
/// # Errors
/// Those of `out`.
pub(crate) fn handles(
    process: &Process<'_, '_>,
    handles: &[Handle],
    wanted: &HandleRows<'_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let HandleRows {
        only,
        flags,
        kind,
        names,
    } = *wanted;
    let flags = flags.unwrap_or(if only.is_some() { TYPE | BASIC } else { TYPE });
    let type_of = |handle: &Handle| {
        handle
            .type_name
            .clone()
            .unwrap_or_else(|| "None".to_owned())
    };
    let wanted = |handle: &&Handle| {
        only.is_none_or(|only| only == handle.value)
            && kind.is_none_or(|kind| type_of(handle).eq_ignore_ascii_case(kind))
    };
    let mut counts = BTreeMap::<String, usize>::new();
    for handle in handles.iter().filter(wanted) {
        *counts.entry(type_of(handle)).or_default() += 1;
        writeln!(out, "Handle {}", pointer(handle.value, process.bitness))?;
        if flags & TYPE != 0 {
            writeln!(out, "  Type         \t{}", printable(&type_of(handle)))?;
        }
        if flags & BASIC != 0 {
            let access = handle.granted_access;
            writeln!(out, "  Attributes   \t{:#x}", handle.attributes)?;
            writeln!(out, "  GrantedAccess\t{access:#x}:")?;
            let rights: Vec<&str> = RIGHTS
                .iter()
                .filter(|(bit, _)| access & bit != 0)
                .map(|(_, name)| *name)
                .collect();
            let own = access & 0xffff;
            writeln!(
                out,
                "         {}",
                if rights.is_empty() {
                    "None".to_owned()
                } else {
                    rights.join(",")
                }
            )?;
            writeln!(out, "         own rights {own:#x}")?;
            writeln!(out, "  HandleCount  \t{}", handle.handle_count)?;
            writeln!(out, "  PointerCount \t{}", handle.pointer_count)?;
        }
        if flags & NAME != 0 {
            let name = handle
                .object_name
                .as_deref()
                .filter(|name| !name.is_empty());
            let shown = match (name, names) {
                (None, _) => "<none>",
                (Some(_), false) => NOT_SHOWN,
                (Some(name), true) => name,
            };
            writeln!(out, "  Name         \t{}", printable(shown))?;
        }
    }
    if only.is_some() {
        if counts.is_empty() {
            writeln!(out, "The handle is not in the dump's list.")?;
        }
        return Ok(());
    }
    let total: usize = counts.values().sum();
    writeln!(out, "{total} Handles\nType           \tCount")?;
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (name, count) in counts {
        writeln!(out, "{:<15}\t{count}", printable(&name))?;
    }
    Ok(())
}
