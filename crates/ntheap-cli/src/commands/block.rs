//! `ntheap block`: `!heap -p -a` and `!heap -x`.

use std::sync::Arc;

use ntheap::{
    blocks::Block as HeapBlock,
    heap::{
        Heaps,
        references::{Reference, references},
    },
    losses::Losses,
    names::NameSource,
    process::Process,
    traces::Traces,
};
use ntheap_report::{
    json::{Address, BlockReport, CrtReport, StackReport},
    text::stacks::frame_texts,
};
use ntheap_symbols::DumpNames;
use ntheap_windbg::Session;
use serde::Serialize;

use super::{debugger, document, document_format};
use crate::{
    args::{Block, Common, Format},
    failure::{Failure, Status},
    input::Input,
    numbers,
    output::Output,
    symbols,
};

#[derive(Serialize)]
struct Report {
    addresses: Vec<AddressReport>,
}

#[derive(Serialize)]
struct AddressReport {
    asked: Address,
    block: Option<BlockReport>,
    /// Segment, subsegment or range that holds the block.
    container: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    references: Option<Vec<ReferenceReport>>,
}

#[derive(Serialize)]
struct ReferenceReport {
    at: Address,
    value: Address,
    holder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder_block: Option<Address>,
}

pub(crate) fn run(args: &Block, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let heaps = Heaps::of(&process);
    let mut status = Status::Complete;
    let names = input.names(&dump);
    let traces = Traces::named(&process, |name| names.address_of(name));
    let mut session = Session::new(&heaps, &names);
    let mut report = Report {
        addresses: Vec::new(),
    };
    for text in &args.addresses {
        let address = numbers::parse_address(text)?;
        let block = heaps.block_at(address);
        if block.is_none() {
            say!("{address:x} is in no block of a heap");
            status = Status::Partial;
        }
        let pointers = match block {
            Some(block) if args.references => {
                let (start, end) = block.extent();
                Some(references(&heaps, start, end))
            }

            _ => None,
        };
        if format == Format::Text {
            output.text(|out| {
                debugger(&mut session, &format!("!heap -p -a {address:x}"), out)?;
                debugger(&mut session, &format!("!heap -x {address:x}"), out)?;
                let Some(block) = block else { return Ok(()) };
                if let Some(crt) = CrtReport::of(&process, &block) {
                    let file = crt.file.as_deref().unwrap_or("unknown file");
                    writeln!(
                        out,
                        "debug C runtime: {:x}, {} bytes, {} block, request {}, {file}({})",
                        crt.address.0, crt.size, crt.block_use, crt.request, crt.line
                    )?;
                }
                let Some(pointers) = &pointers else {
                    return Ok(());
                };
                let noun = if pointers.count == 1 {
                    "pointer"
                } else {
                    "pointers"
                };
                writeln!(out, "{} {noun} to this block:", pointers.count)?;
                let width = process.bitness.pointer_size() as usize * 2;
                for pointer in &pointers.found {
                    let (at, value) = (pointer.at, pointer.value);
                    let holder = holder(&process, &names, pointer);
                    writeln!(out, "    {at:0width$x} -> {value:0width$x}  in {holder}")?;
                }
                let more = pointers.count - pointers.found.len() as u64;
                if more > 0 {
                    writeln!(out, "    ... and {more} more")?;
                }
                Ok(())
            })?;
        } else {
            report.addresses.push(AddressReport {
                asked: Address(address),
                container: block.map(|block| Address(block.container)),
                block: block.map(|block| describe(&process, &traces, &names, &input, &block)),
                references: pointers.map(|pointers| {
                    let describe = |pointer: Reference| ReferenceReport {
                        at: Address(pointer.at),
                        value: Address(pointer.value),
                        holder: holder(&process, &names, &pointer),
                        holder_block: pointer.holder.map(|block| Address(block.address)),
                    };
                    pointers.found.into_iter().map(describe).collect()
                }),
            });
        }
    }
    let status = status.and(symbols::report(&dump, input.symbols()));
    if format != Format::Text {
        output.json(&document("block", report))?;
    }
    Ok(status.and(input.report(&Losses::of(&process))))
}

fn describe(
    process: &Process<'_, '_>,
    traces: &Traces<'_, '_>,
    names: &DumpNames<'_, '_, '_>,
    input: &Input,
    block: &HeapBlock,
) -> BlockReport {
    let mut report = BlockReport::new(block, traces.address(block.trace));
    let stack = traces.frames(block.trace);
    let named = stack.as_deref().filter(|_| input.has_symbols());
    report.stack = Some(Arc::new(StackReport {
        frames: named.map(|stack| frame_texts(stack, process.bitness, names)),
        stack: stack.map(|stack| stack.into_iter().map(Address).collect()),
    }));
    report.crt = CrtReport::of(process, block);
    report
}

/// What a pointer lies in: a block, a module, a thread's stack, or a region.
fn holder(process: &Process<'_, '_>, names: &dyn NameSource, pointer: &Reference) -> String {
    if let Some(block) = &pointer.holder {
        let state = if block.internal {
            "internal"
        } else {
            block.state.name()
        };
        return format!(
            "block {:x} ({:#x} bytes, {state}) of heap {:x}",
            block.address, block.size, block.heap
        );
    }
    if let Some(name) = names.name(pointer.at) {
        return name.to_string();
    }
    let stack = process.dump.threads.iter().find(|thread| {
        (thread.stack_base..thread.stack_base.saturating_add(thread.stack_size))
            .contains(&pointer.at)
    });
    if let Some(thread) = stack {
        return format!("stack of thread {:x}", thread.id);
    }
    match process.dump.region_at(pointer.at) {
        Some(region) => format!("region {:x} of {:#x} bytes", region.base, region.size),
        None => "memory of no known region".to_owned(),
    }
}
