//! speedscope's JSON: a profile per dump, in bytes.

use std::io::{self, Write};

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::Allocations;
use crate::text::stacks::function_name;
use ntheap::names::NameSource;

#[derive(Serialize)]
struct File<'f> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    exporter: &'static str,
    name: &'f str,
    #[serde(rename = "activeProfileIndex")]
    active: usize,
    shared: Shared,
    profiles: Vec<Profile>,
}

#[derive(Serialize)]
struct Shared {
    frames: Vec<Frame>,
}

#[derive(Serialize, PartialEq, Eq, Hash, Clone)]
struct Frame {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
struct Profile {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    unit: &'static str,
    #[serde(rename = "startValue")]
    start: u64,
    #[serde(rename = "endValue")]
    end: u64,
    samples: Vec<Vec<usize>>,
    weights: Vec<u64>,
}

/// Writes a profile for each dump, named by its file; the last is shown first.
///
/// # Errors
/// Those of `out`, which should be buffered.
pub fn write(
    dumps: &[(String, &Allocations)],
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut numbers: FxHashMap<Frame, usize> = FxHashMap::default();
    let mut of_address: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
    let mut profiles = Vec::new();
    for (name, allocations) in dumps {
        let mut sums = vec![0u64; allocations.stacks.len()];
        for &(_, size, stack) in &allocations.blocks {
            let sum = &mut sums[stack as usize];
            *sum = sum.saturating_add(size);
        }
        let mut profile = Profile {
            kind: "sampled",
            name: name.clone(),
            unit: "bytes",
            start: 0,
            end: sums.iter().fold(0, |all, sum| all.saturating_add(*sum)),
            samples: Vec::new(),
            weights: Vec::new(),
        };
        for (stack, &sum) in allocations
            .stacks
            .iter()
            .zip(&sums)
            .filter(|(_, sum)| **sum > 0)
        {
            let mut sample = Vec::new();
            for &address in stack.iter().rev() {
                let known = of_address.entry(address).or_insert_with(|| {
                    let named = named(address, names).into_iter();
                    let number = |frame: Frame| {
                        *numbers.entry(frame).or_insert_with_key(|frame| {
                            frames.push(frame.clone());
                            frames.len() - 1
                        })
                    };
                    named.map(number).collect()
                });
                sample.extend_from_slice(known);
            }
            if stack.is_empty() {
                let frame = Frame {
                    name: "[no stack]".to_owned(),
                    file: None,
                    line: None,
                };
                sample.push(*numbers.entry(frame).or_insert_with_key(|frame| {
                    frames.push(frame.clone());
                    frames.len() - 1
                }));
            }
            profile.samples.push(sample);
            profile.weights.push(sum);
        }
        profiles.push(profile);
    }
    let file = File {
        schema: "https://www.speedscope.app/file-format-schema.json",
        exporter: concat!("ntheap ", env!("CARGO_PKG_VERSION")),
        name: dumps.last().map_or("", |(name, _)| name.as_str()),
        active: profiles.len().saturating_sub(1),
        shared: Shared { frames },
        profiles,
    };
    serde_json::to_writer(&mut *out, &file)?;
    out.write_all(b"\n")
}

/// The frames of an address, outermost first.
fn named(address: u64, names: &dyn NameSource) -> Vec<Frame> {
    let found = names.frames(address);
    if found.is_empty() {
        return vec![Frame {
            name: format!("{address:#x}"),
            file: None,
            line: None,
        }];
    }
    let frame = |name: &ntheap::names::Name| Frame {
        name: function_name(name),
        file: name.line.as_ref().map(|(file, _)| file.clone()),
        line: name.line.as_ref().map(|(_, line)| *line),
    };
    found.iter().rev().map(frame).collect()
}
