//! The frames of call stacks that the debugger names otherwise.

use ntheap::{names::ModuleNames, process::Process};
use ntheap_symbols::public_name;

use crate::excuse::hex;

/// A frame named by the exports of a module whose symbols are at hand here: the debugger's name is
/// that of the nearest export, and ours is nearer.
pub(crate) fn export(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    // `ADDRESS module!symbol+0xOFFSET`
    let frame = |line: &str| {
        let (address, name) = line.trim_start().split_once(' ')?;
        let (module, name) = name.split_once('!')?;
        let (symbol, offset) = name.rsplit_once("+0x")?;
        let offset = hex(offset)?;
        Some((hex(address)?, module.to_owned(), symbol.to_owned(), offset))
    };
    let (theirs, ours) = (frame(expected)?, frame(actual)?);
    let (export, distance) = ModuleNames::new(process.dump).export(theirs.0)?;
    let proved = (theirs.0, &theirs.1) == (ours.0, &ours.1)
        && (theirs.2, theirs.3) == (public_name(&export), distance)
        && ours.3 < distance;
    proved.then_some("named by exports where symbols are at hand")
}
