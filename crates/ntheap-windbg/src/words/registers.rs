//! `r`: the registers.

use std::fmt::{self, Write};

use ntheap::{
    dump::{Architecture, Context},
    names::NameSource,
    process::Process,
};

/// The flags in the order in which they are shown: bit, what stands for it when it is not set, and
/// when it is.
const FLAGS: [(u32, &str, &str); 8] = [
    (11, "nv", "ov"),
    (10, "up", "dn"),
    (9, "di", "ei"),
    (7, "pl", "ng"),
    (6, "nz", "zr"),
    (4, "na", "ac"),
    (2, "po", "pe"),
    (0, "nc", "cy"),
];

/// Rows of 64-bit registers.
const X64: [&[&str]; 5] = [
    &["rax", "rbx", "rcx"],
    &["rdx", "rsi", "rdi"],
    &["rip", "rsp", "rbp"],
    &["r8", "r9", "r10"],
    &["r11", "r12", "r13"],
];

/// Prints the registers, and which function they are in.
///
/// # Errors
/// Those of `out`.
pub(crate) fn registers(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    context: &Context,
    out: &mut dyn Write,
) -> fmt::Result {
    let value = |name: &str| match name {
        "rip" | "eip" => Some(context.instruction_pointer()),
        name => context.register(name),
    };
    let show = |name: &str, digits: usize| match value(name) {
        Some(value) => format!("{name}={value:0digits$x}"),
        None => format!("{name}={:?<digits$}", ""),
    };
    match context.architecture() {
        Architecture::X64 => {
            for row in X64.iter().chain(&[["r14", "r15"].as_slice()]) {
                // Names of two letters stand under those of three.
                let shown: Vec<_> = row
                    .iter()
                    .map(|name| format!("{:>20}", show(name, 16)))
                    .collect();
                writeln!(out, "{}", shown.join(" "))?;
            }
            flags(context, out)?;
            writeln!(out)?;
        }
        Architecture::X86 => {
            let row = ["eax", "ebx", "ecx", "edx", "esi", "edi"].map(|name| show(name, 8));
            writeln!(out, "{}", row.join(" "))?;
            let row = ["eip", "esp", "ebp"].map(|name| show(name, 8));
            write!(out, "{} ", row.join(" "))?;
            flags(context, out)?;
            writeln!(out)?;
        }
        Architecture::Arm64 => {
            let all: Vec<_> = context
                .registers()
                .map(|(name, value)| format!("{name:>4}={value:016x}"))
                .collect();
            for row in all.chunks(4) {
                writeln!(out, "{}", row.join("  "))?;
            }
            writeln!(out, "  pc={:016x}", context.instruction_pointer())?;
        }
    }
    let segments: Vec<_> = context
        .segments()
        .map(|(name, value)| format!("{name}={value:04x}"))
        .collect();
    if !segments.is_empty() {
        let segments = segments.join("  ");
        let flags = context.processor_flags();
        writeln!(out, "{segments}             efl={flags:08x}")?;
    }
    let address = context.instruction_pointer();
    match names.name(address) {
        Some(name) => writeln!(out, "{name}:"),
        None => writeln!(
            out,
            "{}:",
            super::modules::back_quoted(address, process.bitness)
        ),
    }
}

fn flags(context: &Context, out: &mut dyn Write) -> fmt::Result {
    let value = context.processor_flags();
    write!(out, "iopl={:x}        ", value >> 12 & 3)?;
    for (bit, clear, set) in FLAGS {
        let text = if value >> bit & 1 != 0 { set } else { clear };
        write!(out, " {text}")?;
    }
    Ok(())
}
