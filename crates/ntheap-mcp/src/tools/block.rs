//! `block`: what lies at an address.

use std::fmt::Write;

use ntheap::{graph::Rules, names::NameSource, types::Types};
use ntheap_report::text::holders::Holders;
use serde_json::json;

use crate::{
    answer::{Answer, clip},
    arguments::Arguments,
    desk::Desk,
    fault::{Fault, FaultKind},
};

/// Bytes of a block that are shown.
const MOST_BYTES: usize = 64;

pub(super) fn answer(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let session = desk.session(&arguments.dump)?;
    let missing = || Fault::argument("block needs 'address'");
    let address = arguments.address()?.ok_or_else(missing)?;
    let found = session.block(address, false)?;
    let Some(block) = found.block else {
        let text = format!("{address:#x} is in no block of a heap");
        return Err(Fault::new(FaultKind::NoSuchBlock, text));
    };
    let mut answer = Answer::of(format!(
        "{address:#x} lies in a {} block of {} ({:#x}) bytes at {} in heap {}.",
        block.state, block.size, block.size, block.address, block.heap
    ));
    for (name, value) in [
        ("address", json!(block.address)),
        ("heap", json!(block.heap)),
        ("size", json!(block.size)),
        ("block_size", json!(block.block_size)),
        ("state", json!(block.state)),
        ("kind", json!(block.kind)),
    ] {
        answer.fact(name, value);
    }
    // Where the program's own data begin, behind a debug runtime's header.
    let data = block
        .crt
        .as_ref()
        .map_or(block.address.0, |crt| crt.address.0);
    if block.state == "busy" {
        tell_type(&session, data, &mut answer)?;
    }
    if !desk.is_private() {
        let bytes = session.with(|view| {
            let most = usize::try_from(block.size).map_or(MOST_BYTES, |size| size.min(MOST_BYTES));
            let bytes = view.process.memory().slice(data, most as u64)?;
            Some(bytes.to_vec())
        })?;
        if let Some(bytes) = bytes {
            let mut hex = String::with_capacity(2 * bytes.len());
            for byte in bytes {
                // Writing to a string does not fail.
                let _ = write!(hex, "{byte:02x}");
            }
            answer.fact("first_bytes", hex);
        }
    }
    if let Some(crt) = &block.crt {
        answer.fact("crt_file", crt.file.as_deref().map(clip));
        answer.fact("crt_line", crt.line);
    }
    let frames = block.stack.as_ref().and_then(|stack| stack.frames.clone());
    for frame in frames.unwrap_or_default() {
        answer.row(clip(&frame), json!({"frame": clip(&frame)}));
    }
    if answer.rows.is_empty() {
        answer.words.push_str(" It has no stack.");
    }
    Ok(answer)
}

/// Tells what the block is, and whether and by whom it is held.
fn tell_type(
    session: &ntheap_session::Session,
    address: u64,
    answer: &mut Answer,
) -> Result<(), Fault> {
    session.with(|view| {
        let graph = view.graph();
        let types = Types::of(&graph, Some(view.names as &dyn NameSource));
        let Some(block) = graph.index().find(address) else {
            return;
        };
        let type_of = |address: u64| types.name_of(address);
        let holders = Holders {
            graph: &graph,
            names: view.names,
            type_of: &type_of,
        };
        let name = holders.type_name(block);
        if let Some(name) = &name {
            let _ = write!(answer.words, " It is a {}.", clip(name));
        }
        answer.fact("type", name.as_deref().map(clip));
        let class = graph.classes(Rules::DEFAULT).of(block);
        answer.fact("class", class.name());
        let ways = graph.ways(Rules::DEFAULT);
        match ways.last(&graph, block).filter(|_| !class.is_lost()) {
            Some(link) => {
                let place = clip(&holders.place(&link));
                let _ = write!(answer.words, " Held by {place}.");
                answer.fact("holder", place);
            }
            None if class.is_lost() => answer.words.push_str(" Lost: nothing leads to it."),
            None => {}
        }
    })?;
    Ok(())
}
