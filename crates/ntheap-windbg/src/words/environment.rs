//! `!peb`, `!teb`, `!dlls`, `!gflag`, `!envvar`: the environment blocks of process and threads.

use std::fmt::{self, Write};

use super::{
    format::{NOT_SHOWN, digits, pointer, shown_path},
    time,
};
use ntheap::{
    address_space::{AddressSpace, Structure},
    layout::Bitness,
    printable::printable,
    process::{Process, global_flags as flags_of},
};

/// Loader lists are followed for so many entries.
const MOST_MODULES: usize = 1 << 16;
/// Environments are shorter, in bytes.
const LARGEST_ENVIRONMENT: u64 = 1 << 20;

/// The text of a `UNICODE_STRING` at an address.
fn counted_string(memory: &AddressSpace<'_>, at: u64, bitness: Bitness) -> Option<String> {
    let length = memory.u16(at)?;
    let buffer = memory.pointer(at.checked_add(bitness.pointer_size())?, bitness)?;
    if length == 0 {
        return Some(String::new());
    }
    let mut bytes = vec![0; length.into()];
    let read = memory.read(buffer, &mut bytes);
    (read == bytes.len()).then(|| wide(&bytes))
}

fn wide(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The variables of the process, `NAME=VALUE`.
fn variables(process: &Process<'_, '_>) -> Vec<String> {
    let read = || {
        let (bitness, layouts) = (process.bitness, &process.layouts);
        let memory = process.memory();
        let parameters = memory
            .at(process.peb?, bitness)
            .pointer(layouts.peb.process_parameters)?;
        let start = memory
            .at(parameters, bitness)
            .pointer(layouts.process_parameters.environment)?;
        let size = memory.readable(start, LARGEST_ENVIRONMENT);
        let mut bytes = vec![0; size as usize];
        let read = memory.read(start, &mut bytes);
        bytes.truncate(read);
        let mut found = Vec::new();
        let mut rest = &bytes[..];
        // An empty string ends the list.
        while let Some(end) = rest.chunks_exact(2).position(|unit| unit == [0, 0]) {
            if end == 0 {
                break;
            }
            found.push(wide(&rest[..end * 2]));
            rest = &rest[end * 2 + 2..];
        }
        Some(found)
    };
    read().unwrap_or_default()
}

/// The value of an environment variable; names have no case.
#[must_use]
pub(crate) fn environment_variable(process: &Process<'_, '_>, name: &str) -> Option<String> {
    variables(process).into_iter().find_map(|variable| {
        let (found, value) = variable.split_once('=')?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

fn parameter(process: &Process<'_, '_>, field: Option<u32>) -> Option<String> {
    let (bitness, memory) = (process.bitness, process.memory());
    let peb = memory.at(process.peb?, bitness);
    let parameters = peb.pointer(process.layouts.peb.process_parameters)?;
    let at = memory.at(parameters, bitness).address(field)?;
    counted_string(memory, at, bitness)
}

/// How the process was started, if the dump has that.
#[must_use]
pub(super) fn command_line(process: &Process<'_, '_>) -> Option<String> {
    parameter(process, process.layouts.process_parameters.command_line)
}

/// `!gflag`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn global_flags(flags: u32, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "Current NtGlobalFlag contents: 0x{flags:08x}")?;
    for flag in flags_of(flags) {
        writeln!(out, "    {} - {}", flag.abbreviation, flag.description)?;
    }
    Ok(())
}

/// `!peb`; with `whole` also the strings in it: paths, the command line, the environment.
///
/// # Errors
/// Those of `out`.
pub(crate) fn peb(
    process: &Process<'_, '_>,
    address: u64,
    whole: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let (bitness, layouts) = (process.bitness, &process.layouts);
    let memory = process.memory();
    let block = memory.at(address, bitness);
    let shown = |value: Option<u64>| word(value, bitness);
    let yes = |value: Option<u8>| match value {
        Some(0) => "No",
        Some(_) => "Yes",
        None => "??",
    };
    writeln!(out, "PEB at {}", pointer(address, bitness))?;
    let fields = &layouts.peb;
    writeln!(
        out,
        "    InheritedAddressSpace:    {}\n    ReadImageFileExecOptions: {}\n    BeingDebugged:            {}",
        yes(block.u8(fields.inherited_address_space)),
        yes(block.u8(fields.read_image_file_exec_options)),
        yes(block.u8(fields.being_debugged)),
    )?;
    let base = block.pointer(fields.image_base_address);
    writeln!(out, "    ImageBaseAddress:         {}", shown(base))?;
    if let Some(flags) = block.u32(fields.nt_global_flag) {
        writeln!(out, "    NtGlobalFlag:             {flags:x}")?;
    }
    let loader = block.pointer(fields.ldr);
    writeln!(out, "    Ldr                       {}", shown(loader))?;
    if let Some(loader) = loader.filter(|&loader| loader != 0) {
        let data = memory.at(loader, bitness);
        let fields = &layouts.loader_data;
        writeln!(
            out,
            "    Ldr.Initialized:          {}",
            yes(data.u8(fields.initialized))
        )?;
        for (name, field) in [
            (
                "Ldr.InInitializationOrderModuleList: ",
                fields.initialization_order,
            ),
            ("Ldr.InLoadOrderModuleList:           ", fields.load_order),
            ("Ldr.InMemoryOrderModuleList:         ", fields.memory_order),
        ] {
            let links = data.address(field);
            let first = data.pointer(field);
            let size = bitness.pointer_size();
            let last = links.and_then(|at| memory.pointer(at.checked_add(size)?, bitness));
            writeln!(out, "    {name}{} . {}", shown(first), shown(last))?;
        }
        writeln!(out, "{:20}Base TimeStamp                     Module", "")?;
        for entry in entries(process, loader, Order::Load) {
            let fields = &layouts.loader_entry;
            let entry = memory.at(entry, bitness);
            let Some(base) = entry.pointer(fields.dll_base) else {
                continue;
            };
            let stamp = entry.u32(fields.time_date_stamp).unwrap_or(0);
            writeln!(
                out,
                "{base:>24x} {stamp:08x} {} {}",
                &time::date(stamp.into())[4..],
                printable(shown_path(&path_of(process, &entry), whole))
            )?;
        }
    }
    writeln!(
        out,
        "    SubSystemData:     {}\n    ProcessHeap:       {}\n    ProcessParameters: {}",
        shown(block.pointer(fields.sub_system_data)),
        shown(block.pointer(fields.process_heap)),
        shown(block.pointer(fields.process_parameters)),
    )?;
    let fields = &layouts.process_parameters;
    for (label, field) in [
        ("CurrentDirectory:", fields.current_directory),
        ("WindowTitle: ", fields.window_title),
        ("ImageFile:   ", fields.image_path_name),
        ("CommandLine: ", fields.command_line),
        ("DllPath:     ", fields.dll_path),
    ] {
        match parameter(process, field) {
            Some(_) if !whole => writeln!(out, "    {label} {NOT_SHOWN}")?,
            Some(text) => writeln!(out, "    {label} '{}'", printable(&text))?,
            None => writeln!(out, "    {label} < Name not readable >")?,
        }
    }
    let environment = variables(process);
    if !environment.is_empty() && !whole {
        return writeln!(
            out,
            "    Environment: {} variables {NOT_SHOWN}",
            environment.len()
        );
    }
    if !environment.is_empty() {
        writeln!(out, "    Environment:")?;
        for variable in environment {
            writeln!(out, "        {}", printable(&variable))?;
        }
    }
    Ok(())
}

/// The orders in which the loader lists modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Load,
    Memory,
    Initialization,
}

/// The loader's entries.
fn entries(process: &Process<'_, '_>, loader: u64, order: Order) -> Vec<u64> {
    let layouts = &process.layouts;
    let (head, links) = match order {
        Order::Load => (layouts.loader_data.load_order, Some(0)),
        Order::Memory => (
            layouts.loader_data.memory_order,
            layouts.loader_entry.memory_order_links,
        ),
        Order::Initialization => (
            layouts.loader_data.initialization_order,
            layouts.loader_entry.initialization_order_links,
        ),
    };
    let memory = process.memory();
    let head = memory.at(loader, process.bitness).address(head);
    let (Some(head), Some(links)) = (head, links) else {
        return Vec::new();
    };
    let (elements, _) = memory.list(head, process.bitness, MOST_MODULES);
    let entry = |element: u64| element.checked_sub(links.into());
    elements.into_iter().filter_map(entry).collect()
}

/// The path of the module that an entry of the loader's stands for; nothing where it is not in the dump.
fn path_of(process: &Process<'_, '_>, entry: &Structure<'_, '_>) -> String {
    let at = entry.address(process.layouts.loader_entry.full_dll_name);
    let text = at.and_then(|at| counted_string(process.memory(), at, process.bitness));
    text.unwrap_or_default()
}

/// `!dlls`: the loader's entries, in the order that is asked for; of one module alone where an address
/// is given. With `whole` their paths, else their names.
///
/// # Errors
/// Those of `out`.
pub(crate) fn loaded_modules(
    process: &Process<'_, '_>,
    order: &str,
    address: Option<u64>,
    whole: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let (bitness, layouts) = (process.bitness, &process.layouts);
    let memory = process.memory();
    let order = match order {
        "-m" => Order::Memory,
        "-i" => Order::Initialization,
        _ => Order::Load,
    };
    let loader = process
        .peb
        .and_then(|peb| memory.at(peb, bitness).pointer(layouts.peb.ldr));
    let Some(loader) = loader else {
        return writeln!(out, "The loader's list is not in the dump.");
    };
    let fields = &layouts.loader_entry;
    for at in entries(process, loader, order) {
        let entry = memory.at(at, bitness);
        let base = entry.pointer(fields.dll_base).unwrap_or(0);
        let size = entry.u32(fields.size_of_image).unwrap_or(0);
        let end = base.saturating_add(size.into());
        if address.is_some_and(|address| !(base..end).contains(&address)) {
            continue;
        }
        writeln!(
            out,
            "0x{}: {}",
            pointer(at, bitness),
            printable(shown_path(&path_of(process, &entry), whole))
        )?;
        let start = entry.pointer(fields.entry_point).unwrap_or(0);
        writeln!(
            out,
            "      Base   0x{}  EntryPoint  0x{}  Size        0x{size:08x}",
            pointer(base, bitness),
            pointer(start, bitness),
        )?;
        let count = entry
            .u16(fields.load_count)
            .or_else(|| entry.u16(fields.obsolete_load_count))
            .unwrap_or(0);
        writeln!(
            out,
            "      Flags  0x{:08x}  TlsIndex    0x{:08x}  LoadCount   0x{count:08x}\n",
            entry.u32(fields.flags).unwrap_or(0),
            entry.u16(fields.tls_index).unwrap_or(0),
        )?;
    }
    Ok(())
}

/// `!teb`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn teb(process: &Process<'_, '_>, address: u64, out: &mut dyn Write) -> fmt::Result {
    let (bitness, layouts) = (process.bitness, &process.layouts);
    let memory = process.memory();
    let block = memory.at(address, bitness);
    let (tib, fields) = (&layouts.nt_tib, &layouts.teb);
    let word = |field| word(block.pointer(field), bitness);
    let number = |field| match block.u32(field) {
        Some(value) => format!("{value:x}"),
        None => "????????".to_owned(),
    };
    let size = bitness.pointer_size() as u32;
    let second = fields.client_id.map(|at| at + size);
    writeln!(out, "TEB at {}", pointer(address, bitness))?;
    writeln!(
        out,
        "    ExceptionList:        {}",
        word(tib.exception_list)
    )?;
    writeln!(out, "    StackBase:            {}", word(tib.stack_base))?;
    writeln!(out, "    StackLimit:           {}", word(tib.stack_limit))?;
    writeln!(
        out,
        "    SubSystemTib:         {}",
        word(tib.sub_system_tib)
    )?;
    writeln!(out, "    FiberData:            {}", word(tib.fiber_data))?;
    writeln!(
        out,
        "    ArbitraryUserPointer: {}",
        word(tib.arbitrary_user_pointer)
    )?;
    writeln!(out, "    Self:                 {}", word(tib.this))?;
    writeln!(
        out,
        "    EnvironmentPointer:   {}",
        word(fields.environment_pointer)
    )?;
    writeln!(
        out,
        "    ClientId:             {} . {}",
        word(fields.client_id),
        word(second)
    )?;
    writeln!(
        out,
        "    RpcHandle:            {}",
        word(fields.active_rpc_handle)
    )?;
    writeln!(
        out,
        "    Tls Storage:          {}",
        word(fields.thread_local_storage)
    )?;
    writeln!(
        out,
        "    PEB Address:          {}",
        word(fields.process_environment_block)
    )?;
    writeln!(
        out,
        "    LastErrorValue:       {}",
        decimal(block.u32(fields.last_error_value))
    )?;
    writeln!(
        out,
        "    LastStatusValue:      {}",
        number(fields.last_status_value)
    )?;
    writeln!(
        out,
        "    Count Owned Locks:    {}",
        decimal(block.u32(fields.count_of_owned_critical_sections))
    )?;
    writeln!(
        out,
        "    HardErrorMode:        {}",
        decimal(block.u32(fields.hard_error_mode))
    )
}

/// A word of the process; question marks for one that is not in the dump.
fn word(value: Option<u64>, bitness: Bitness) -> String {
    match value {
        Some(value) => pointer(value, bitness),
        None => "?".repeat(digits(bitness)),
    }
}

fn decimal(value: Option<u32>) -> String {
    value.map_or("??".to_owned(), |value| value.to_string())
}
