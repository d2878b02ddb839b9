//! Names of addresses: the debugger had other symbols, or had not read them yet.

use ntheap::names::ModuleNames;
use ntheap_symbols::public_name;

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, hex, key, words},
    transcript::Typed,
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "ln: the debugger had not read the symbols yet",
        |context| context.is("ln "),
        read_later,
    ),
    known(
        "lm: which symbols the debugger had read",
        |context| context.is("lm"),
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite(theirs, |theirs, ours| symbol_state(context, theirs, ours))
        },
    ),
    known(
        "named by symbols that are not at hand",
        |_| true,
        |context, theirs| {
            let nothing = context.ours.lines == [""];
            let held = holds_address(context, theirs);
            let held = held.filter(|range| nothing || nearer_than_exports(context, range));
            if context.is("ln ") && held.is_some() {
                theirs.clone_from(&context.ours.lines);
                return true;
            }
            named(context, theirs, other_symbols)
        },
    ),
    known(
        "a constant among types taken for a symbol",
        |_| true,
        |context, theirs| named(context, theirs, constant),
    ),
    known(
        "named by exports where symbols are at hand",
        |_| true,
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite(theirs, |theirs, ours| export(context, theirs, ours))
        },
    ),
    known(
        "a function without a type record shown as taking nothing",
        |_| true,
        |context, theirs| {
            context.ours.rewrite_alone(theirs, |line| {
                let right = format!("{}(<no parameter info>)", line.strip_suffix("(void)")?);
                context.ours.has(&right).then_some(right)
            })
        },
    ),
    known(
        "x: order, and inlined calls",
        |context| context.is("x "),
        |context, theirs| {
            context
                .ours
                .drop(theirs, |line| is_inlined(context, line) == Some(true));
            let sorted = |lines: &Lines| {
                let mut lines = lines.clone();
                lines.sort();
                lines
            };
            context.instead(theirs, sorted(theirs) == sorted(&context.ours.lines))
        },
    ),
];

/// Whether a line tells of a call that was inlined into the function that there is at the address.
fn is_inlined(context: &Context<'_, '_>, line: &str) -> Option<bool> {
    let (head, caller) = line.split_once("(inline caller) ")?;
    let (function, distance) = caller.rsplit_once('+')?;
    let place = key(head);
    let near = Context::of(context.model, context.command, format!("ln {place}"));
    let named = format!("   {function}+0x{distance} ");
    Some(near.ours.lines.iter().any(|line| line.contains(&named)))
}

/// Puts the names of frames right, and the guesses of a class below a row, each by what `proved`
/// says of theirs and ours.
fn named(context: &Context<'_, '_>, theirs: &mut Lines, proved: fn(&str, &str) -> bool) -> bool {
    let ours = &context.ours;
    let mut changed = ours.rewrite(theirs, |theirs, ours| {
        let (at, name) = frame(theirs)?;
        let (also, our_name) = frame(ours)?;
        let same = at == also && is_padded(name) == is_padded(our_name);
        (same && proved(name, our_name)).then(|| ours.to_owned())
    });
    for index in 1..theirs.len() {
        let line = &theirs[index];
        let guess = line.starts_with("          ? ") || line.contains(" <PERF> (");
        let row = key(&theirs[index - 1]);
        let mut rows = ours.lines.windows(2);
        if guess
            && let Some([_, right]) = rows.find(|pair| key(&pair[0]) == row)
            && let Some(our_name) = right.trim().strip_prefix("? ")
            && right != line
            && proved(line.trim().trim_start_matches("? "), our_name)
        {
            theirs[index] = right.clone();
            changed = true;
        }
    }
    changed
}

/// The address of a frame, and its name.
fn frame(line: &str) -> Option<(&str, &str)> {
    let (at, name) = line.trim().split_once(' ')?;
    (name.contains("+0x") && hex(at.trim_matches(['(', ')', ':']).replace('`', "").as_str())? > 0)
        .then_some((at, name))
}

/// Whether an offset is written with all digits of a pointer; stacks of the database have the others.
fn is_padded(name: &str) -> bool {
    const SHORTEST: usize = 8;
    name.rsplit_once("+0x")
        .is_some_and(|(_, offset)| offset.len() >= SHORTEST)
}

fn module(name: &str) -> &str {
    name.trim_start()
        .split(['!', '+'])
        .next()
        .unwrap_or_default()
}

fn offset(name: &str) -> Option<u64> {
    match name.rsplit_once('+') {
        Some((_, offset)) => hex(offset.trim_start_matches("0x")),
        None => Some(0),
    }
}

/// Whether a name is one of the same module, and the side with more symbols names a nearer one: a
/// symbol is nearer than the module's base, and a private one nearer than an export.
pub(crate) fn other_symbols(theirs: &str, ours: &str) -> bool {
    let (Some(their_offset), Some(our_offset)) = (offset(theirs), offset(ours)) else {
        return false;
    };
    let nearer = match (theirs.contains('!'), ours.contains('!')) {
        (true, _) => their_offset < our_offset,
        (false, true) => our_offset < their_offset,
        (false, false) => false,
    };
    let symbol = |name: &'_ str| {
        name.rsplit_once('+')
            .map_or(name, |(symbol, _)| symbol)
            .to_owned()
    };
    let other = symbol(theirs) != symbol(ours);
    module(theirs) == module(ours) && other && nearer && !theirs.contains("<PERF>")
}

/// A constant among types, taken for a symbol; the offset in the module stands behind.
fn constant(theirs: &str, ours: &str) -> bool {
    theirs.split_once(" <PERF> (").is_some_and(|(_, inside)| {
        let same = inside.trim_end_matches(')');
        module(same) == module(ours) && (ours.contains('!') || offset(same) == offset(ours))
    })
}

/// A frame named by the exports of a module whose symbols are at hand here: the debugger's name is
/// that of the nearest export, and ours is nearer.
fn export(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    // `ADDRESS module!symbol+0xOFFSET`
    let frame = |line: &str| {
        let (address, name) = line.trim_start().split_once(' ')?;
        let (module, name) = name.split_once('!')?;
        let (symbol, offset) = name.rsplit_once("+0x")?;
        let at = hex(address.trim_end_matches(':'))?;
        Some((at, module.to_owned(), symbol.to_owned(), hex(offset)?))
    };
    let (theirs, named) = (frame(theirs)?, frame(ours)?);
    let (export, distance) = ModuleNames::new(context.process.dump).export(theirs.0)?;
    let proved = (theirs.0, &theirs.1) == (named.0, &named.1)
        && (theirs.2, theirs.3) == (public_name(&export), distance)
        && named.3 < distance;
    proved.then(|| ours.to_owned())
}

/// Ours names the exports around the address, and the symbols of theirs, from one address to the next, are
/// no farther.
fn nearer_than_exports(context: &Context<'_, '_>, theirs: &std::ops::Range<u64>) -> bool {
    let read = || {
        let address = hex(context.typed.strip_prefix("ln ")?)?;
        let (export, distance) = ModuleNames::new(context.process.dump).export(address)?;
        let ours = context.ours.lines.first()?;
        let below = ours.contains(&format!("!{}", public_name(&export)));
        let (_, above) = ours.split_once("|  (")?;
        let above = hex(&above.split(')').next()?.replace('`', ""))?;
        Some(below && theirs.start >= address - distance && theirs.end <= above)
    };
    read().unwrap_or(false)
}

/// `ln` in a module whose symbols are not at hand: the first symbol that they name is of the module
/// that holds the address, and not above it. From this symbol's address to the next one's.
fn holds_address(context: &Context<'_, '_>, theirs: &Lines) -> Option<std::ops::Range<u64>> {
    let address = hex(context.typed.strip_prefix("ln ")?)?;
    let mut modules = context.process.dump.modules.iter();
    let module = modules.find(|module| (module.base..module.end()).contains(&address))?;
    let prefix = format!("{}!", module.name());
    theirs.iter().find_map(|line| {
        // `(START)   module!symbol+0xDISTANCE   |  (NEXT)   module!symbol`
        let (start, rest) = line.strip_prefix('(')?.split_once(')')?;
        let (symbol, rest) = rest.trim_start().split_once(' ')?;
        let next = rest.split_once("|  (")?.1.split(')').next()?;
        let [start, next] = [start, next].map(|text| hex(&text.replace('`', "")));
        let range = start?.max(module.base)..next?.min(module.end());
        let right = start? + offset(symbol)? == address && symbol.starts_with(&prefix);
        (right && range.contains(&address)).then_some(range)
    })
}

/// The debugger told nothing. When the same was typed again, behind `.lines`, it told what ours
/// tells, behind one line with the place in the source.
fn read_later(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let ours = context.ours.lines.join("\n");
    let again = |other: &&Typed| {
        let text = other.expected();
        let source = text.strip_suffix(ours.as_str());
        other.typed() == context.typed
            && source.is_some_and(|line| line.lines().count() == 1 && line.contains('('))
    };
    let mut commands = context.model.transcript.commands.iter();
    context.instead(
        theirs,
        *theirs == [""] && !ours.is_empty() && commands.any(|other| again(&other)),
    )
}

/// `lm` tells what the debugger had read of a module's symbols: nothing where it says so, which is
/// proved by its own messages, and by no symbol of the module being named from `.lines` on. It marks
/// a module without a checksum once it has complained of that.
fn symbol_state(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    let commands = || context.model.transcript.commands.iter();
    let told = |message: &str, module: &str| {
        let text = format!("{message} {module}.");
        commands().any(|command| command.messages().contains(&text))
    };
    let is_named = |module: &str| {
        let symbol = format!("{module}!");
        // `.lines` makes it forget all symbols.
        let mut later = commands().filter(|command| command.is_behind_lines());
        later.any(|command| command.expected().contains(&symbol))
    };
    let (module, mark, state) = parts(theirs)?;
    let (same, our_mark, our_state) = parts(ours)?;
    let name = *words(module).get(2)?;
    let read = match state {
        "(deferred)             " => is_named(name),
        "(no symbols)           " => {
            is_named(name) || !told("symbols could not be loaded for", name)
        }
        _ => return None,
    };
    let complained = told("Unable to verify checksum for", name);
    // Ours gives no mark to what nobody asked for, else to what has no checksum.
    let mut modules = context.process.dump.modules.iter();
    let image = modules.find(|module| module.name() == name)?;
    let unchecked = image.checksum == 0 && !our_state.starts_with("(deferred)");
    let marked = our_mark == if unchecked { 'C' } else { ' ' };
    let proved = module == same && !read && (mark == 'C') == complained && marked;
    proved.then(|| ours.to_owned())
}

/// Addresses and name; the mark; the state.
fn parts(line: &str) -> Option<(&str, char, &str)> {
    let (module, state) = line.split_at(line.find('(')?);
    let module = module.strip_suffix(' ')?;
    let mark = module.chars().next_back()?;
    Some((&module[..module.len() - mark.len_utf8()], mark, state))
}
