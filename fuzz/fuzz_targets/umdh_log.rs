//! Umdh logs made of the lines that logs have, in any order, and of any bytes: what is read is written and
//! read again, and comes out the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ntheap_fuzz::Recipe;
use ntheap_report::umdh::{Diff, Log};

const LINES: &[&str] = &[
    "// Debug library initialized ...",
    "// UMDH: version 10.0.10011.16399: Logtime 2024-05-06 07:08 - Machine=HOST - PID=1234",
    "// OS version 10.0 ",
    "// Loaded modules: ",
    "//     Base Size Module",
    "//      7FF6228B0000    78000 C:\\app\\ordersvc.exe",
    "//      7FF6228B0000    78000 ",
    "// Process modules enumerated.",
    "*- - - - - - - - - - Start of data for heap @ 21AB8320000 - - - - - - - - - -",
    "*- - - - - - - - - - End of data for heap @ 21AB8320000 - - - - - - - - - -",
    "*- - - - - - - - - - Start of data for heap @ ",
    "30 bytes + 10 at 21AB8342600 by BackTrace12AB",
    "FFFFFFFFFFFFFFFF bytes + FFFFFFFFFFFFFFFF at FFFFFFFFFFFFFFFF by BackTraceFFFFFFFFFFFFFFFF",
    "30 bytes at 21AB8342600 by BackTrace12AB",
    "BackTrace12AB",
    "\t7FFA1234",
    "\tordersvc!app::NewOrder+0x00000011 (c:\\src\\main.cpp, 12)",
    "\tFFFFFFFFFFFFFFFF",
    "Alias",
    "",
];

fn text(recipe: &mut Recipe<'_>) -> Vec<u8> {
    let (wide, end) = (recipe.byte(), recipe.byte());
    let mut text = String::new();
    while !recipe.is_empty() {
        let which = usize::from(recipe.byte());
        let mut line = LINES[which % LINES.len()].to_owned();
        if which >= 128 {
            let at = usize::from(recipe.byte()) % (line.len() + 1);
            let put = char::from(recipe.byte());
            if line.is_char_boundary(at) {
                line.insert(at, put);
            }
        }
        text += &line;
        text += if end % 2 == 0 { "\r\n" } else { "\n" };
    }
    match wide % 4 {
        0 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        1 => [0xff, 0xfe]
            .into_iter()
            .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
            .collect(),
        _ => text.into_bytes(),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let made = text(&mut Recipe(rest));
    let bytes = if first % 4 == 0 { rest } else { &made };
    let Ok((log, _)) = Log::parse(bytes) else {
        return;
    };
    assert!(Diff::between(&log, &log).entries().is_empty());
    let Ok(written) = log.write(Vec::new()) else {
        return;
    };
    let (again, _) = Log::parse(&written).expect("a log that was written");
    let once = again.write(Vec::new()).expect("written");
    assert!(once == written, "another log");
});
