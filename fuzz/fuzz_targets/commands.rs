//! The debugger's commands with operands made up, over small dumps of every kind.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use libfuzzer_sys::fuzz_target;
use ntheap::{heap::Heaps, names::ModuleNames};
use ntheap_fuzz::{
    Recipe, Seed, one_thread, plans, seeds,
    sink::{ENDLESS, Screen},
    with_changed_for,
};
use ntheap_windbg::{CommandError, Session};

static SEEDS: LazyLock<Vec<Seed>> =
    LazyLock::new(|| seeds(&["small", "tag", "pageheap", "wow64"], &plans::some()));

/// A line of several commands can be a loop of a quarter of a million rounds: so long and so much of each will do.
const LONGEST: Duration = Duration::from_millis(3);
const MOST_OF_LOOP: usize = 1 << 20;

/// Whether there can be several commands in a text.
fn is_several(text: &[u8]) -> bool {
    text.iter().any(|byte| b";\n".contains(byte))
}

const COMMANDS: &[&str] = &[
    "!heap -s",
    "!heap -s -v",
    "!heap -s -a -h",
    "!heap -s -h",
    "!heap -m",
    "!heap -stat",
    "!heap -stat -h",
    "!heap -stat -grp B",
    "!heap -flt s",
    "!heap -flt r",
    "!heap -triage",
    "!heap -l",
    "!heap -p",
    "!heap -p -all",
    "!heap -p -h",
    "!heap -p -a",
    "!heap -a",
    "!heap -h",
    "!heap -hl",
    "!heap -T",
    "!heap -g",
    "!heap -i",
    "!heap -x",
    "!heap -x -v",
    "!heap -b",
    "!heap",
    "!address",
    "!address -summary",
    "ln",
    "lm",
    "x",
    "dps",
    "dp",
    "dq",
    "dd",
    "dw",
    "db",
    "da",
    "du",
    "dt",
    "dt -r",
    "dt -r3 ntdll!_HEAP",
    "dt ntdll!_*",
    ".effmach",
    ".lines",
    "",
];
const WORDS: &[&str] = &[
    "0",
    "-1",
    "*",
    "ntdll!*",
    "ntdll!_HEAP",
    "ntdll",
    "@$peb",
    "@$teb",
    "poi(",
    ")",
    "(",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&",
    "|",
    "^",
    "L10",
    "L0",
    "L?ffffffffffffffff",
    "0n16",
    "0x",
    "ffffffffffffffff",
    "`",
    "7fff`ffffffff",
    "-h",
    "-v",
    "-a",
    "-r9",
    "x86",
    "amd64",
    "S",
    "A",
    ".",
    "!",
    "\u{fffd}",
];

fn word(recipe: &mut Recipe<'_>, seed: &Seed) -> String {
    let which = usize::from(recipe.byte());
    match which % 4 {
        0 => {
            let address = seed.addresses[recipe.short() % seed.addresses.len()];
            format!("{:x}", address.wrapping_add(u64::from(recipe.byte())))
        }
        1 => format!("{:x}", recipe.number()),
        2 => WORDS[(which / 4) % WORDS.len()].to_owned(),
        _ => {
            let length = (which / 4 % 12).min(recipe.0.len());
            let (text, rest) = recipe.0.split_at(length);
            recipe.0 = rest;
            String::from_utf8_lossy(text).into_owned()
        }
    }
}

fuzz_target!(init: one_thread(), |input: &[u8]| {
    let longest = is_several(input).then_some(LONGEST);
    with_changed_for(longest, &SEEDS, input, |seed, process, mut recipe| {
        let names = ModuleNames::new(process.dump);
        let heaps = Heaps::of(process);
        let mut session = Session::new(&heaps, &names);
        // The second may depend on what the first one set.
        for _ in 0..2 {
            let mut command = COMMANDS[usize::from(recipe.byte()) % COMMANDS.len()].to_owned();
            for _ in 0..recipe.byte() % 5 {
                command.push(' ');
                command += &word(&mut recipe, seed);
            }
            let several = is_several(command.as_bytes());
            let most = if several { MOST_OF_LOOP } else { ENDLESS };
            match session.execute(&command, &mut Screen(most)).result {
                Ok(()) => {}
                Err(CommandError::Output) => assert!(several, "endless output: {command:?}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            if recipe.is_empty() {
                return;
            }
        }
    });
});
