//! One module a tool, or two that show alike.

mod block;
mod counts;
mod heaps;
mod open;
mod owners;
mod types;
mod verdict;

use ntheap::{diff::human_bytes, layout::Bitness, losses::Losses, names::NameSource};
use serde_json::Value;

use crate::{
    answer::{Answer, clip},
    desk::Make,
};

/// Frames of a stack that are told.
const MOST_FRAMES: usize = 6;

/// A tool's name and what makes its answer, if there is such a tool.
pub(crate) fn known(name: &str) -> Option<(&'static str, Make)> {
    let tools: [(&str, Make); 8] = [
        ("open", open::answer),
        ("verdict", verdict::answer),
        ("heaps", heaps::answer),
        ("sizes", counts::sizes),
        ("stacks", counts::stacks),
        ("types", types::answer),
        ("block", block::answer),
        ("owners", owners::answer),
    ];
    tools.into_iter().find(|(known, _)| *known == name)
}

/// Tells in an answer whether everything was read.
fn tell_losses(answer: &mut Answer, losses: &Losses) {
    answer.fact("complete", losses.complete());
    if !losses.complete() {
        let lines: Vec<String> = losses.lines().take(3).map(|line| clip(&line)).collect();
        answer.words.push_str(" Not everything could be read.");
        answer.fact("losses", lines);
    }
}

/// A number of bytes, for people.
fn bytes(count: u64) -> String {
    human_bytes(count)
}

/// Growth, for people.
fn signed(delta: i64) -> String {
    let sign = if delta < 0 { '-' } else { '+' };
    format!("{sign}{}", human_bytes(delta.unsigned_abs()))
}

/// The innermost functions of a stack that are no allocator's, as far as there is room.
fn frames(stack: &[u64], bitness: Bitness, names: &dyn NameSource) -> Vec<String> {
    let named: Vec<String> = ntheap_report::text::stacks::frame_texts(stack, bitness, names);
    let skipped = named.iter().take_while(|frame| is_allocator(frame)).count();
    let told = if skipped < named.len() { skipped } else { 0 };
    named[told..]
        .iter()
        .take(MOST_FRAMES)
        .map(|frame| clip(frame))
        .collect()
}

fn is_allocator(frame: &str) -> bool {
    let module = frame.split(['!', '+']).next().unwrap_or_default();
    ntheap::names::is_allocator(module)
}

/// A list as it stands in a row of text.
fn joined(frames: &[String]) -> String {
    frames.join(" < ")
}

fn list(texts: Vec<String>) -> Value {
    Value::from(texts)
}
