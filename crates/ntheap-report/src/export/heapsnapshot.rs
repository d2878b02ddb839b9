//! Chrome's heap snapshots, which DevTools of Chrome, Edge and VS Code open: blocks with sizes, types,
//! stacks, retainers, dominators; two snapshots can be compared there.
//!
//! The loader streams the file: the order of its parts matters, and numbers are digits alone. Blocks are
//! *native* nodes, because their names are shown as they are; the roots stand below the snapshot's own
//! root; lost blocks hang on one node of their own, by those that lead to the others.

use std::io::{self, Write};

use ntheap::names::NameSource;
use rustc_hash::FxHashMap;

use super::{Identities, Objects};

/// Types of nodes and edges, as positions in the lists of [`META`].
const SYNTHETIC: u32 = 9;
const NATIVE: u32 = 8;
const ELEMENT: u32 = 1;
const PROPERTY: u32 = 2;
const WEAK: u32 = 6;
/// Numbers of a node.
const NODE_FIELDS: u64 = 7;

const META: &str = r#"{"node_fields":["type","name","id","self_size","edge_count","trace_node_id","detachedness"],"node_types":[["hidden","array","string","object","code","closure","regexp","number","native","synthetic","concatenated string","sliced string","symbol","bigint","object shape"],"string","number","number","number","number","number"],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property","internal","hidden","shortcut","weak"],"string_or_number","node"],"trace_function_info_fields":["function_id","name","script_name","script_id","line","column"],"trace_node_fields":["id","function_info_index","count","size","children"],"sample_fields":["timestamp_us","last_assigned_id"],"location_fields":["object_index","script_id","line","column"]}"#;

/// The strings of a snapshot, each once.
#[derive(Default)]
struct Strings {
    numbers: FxHashMap<String, u32>,
    all: Vec<String>,
}

impl Strings {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.all.len() as u32;
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

/// Writes a snapshot. Files that are to be compared are written one after the other with the same
/// `identities`. Answers how many bytes could not be told, as a node has 32 bits for its size.
///
/// # Errors
/// Those of `out`, which should be buffered.
pub fn write(
    objects: &Objects,
    identities: &mut Identities,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> io::Result<u64> {
    let mut strings = Strings::default();
    strings.number("<dummy>");
    let traces = Traces::of(objects, names, &mut strings);
    let first_block = 1 + objects.roots.len() as u64 + 1;
    let node_count = first_block + objects.objects.len() as u64;
    let root_edges = 1 + objects.roots.len();
    let held: usize = objects.roots.iter().map(|root| root.references.len()).sum();
    let own: usize = objects.objects.iter().map(|o| o.references.len()).sum();
    let edge_count = root_edges + held + objects.leaks.len() + own;
    write!(
        out,
        "{{\"snapshot\":{{\"meta\":{META},\"node_count\":{node_count},\"edge_count\":{edge_count},\
         \"trace_function_count\":{}}},\n\"nodes\":[",
        traces.functions.len()
    )?;

    // Odd numbers; those of the nodes that are no blocks come first.
    let (empty, leaked) = (strings.number(""), strings.number("(leaked)"));
    write!(out, "{SYNTHETIC},{empty},1,0,{root_edges},0,0")?;
    for (number, root) in objects.roots.iter().enumerate() {
        let name = strings.number(&root.name);
        let (id, edges) = (2 * number + 5, root.references.len());
        write!(out, "\n,{NATIVE},{name},{id},0,{edges},0,0")?;
    }
    write!(out, "\n,{NATIVE},{leaked},3,0,{},0,0", objects.leaks.len())?;
    /// Numbers below are the roots'.
    const FIRST_ID: u64 = 1 << 20;
    let mut clamped = 0u64;
    for object in &objects.objects {
        let class = &objects.classes[object.class as usize];
        let name = strings.number(class);
        let id = FIRST_ID + 2 * u64::from(identities.of(objects, object)) + 1;
        let size = u32::try_from(object.size).unwrap_or(u32::MAX);
        clamped += object.size - u64::from(size);
        let (edges, trace) = (object.references.len(), traces.leaf[object.stack as usize]);
        write!(out, "\n,{NATIVE},{name},{id},{size},{edges},{trace},0")?;
    }

    out.write_all(b"],\n\"edges\":[")?;
    let node = |number: u64| number * NODE_FIELDS;
    let block = |number: u32| node(first_block + u64::from(number));
    for number in 0..root_edges as u64 {
        let comma = if number == 0 { "" } else { "\n," };
        write!(out, "{comma}{ELEMENT},{number},{}", node(number + 1))?;
    }
    for root in &objects.roots {
        for (place, target) in &root.references {
            let place = strings.number(place);
            write!(out, "\n,{PROPERTY},{place},{}", block(*target))?;
        }
    }
    for (number, &leak) in objects.leaks.iter().enumerate() {
        write!(out, "\n,{ELEMENT},{number},{}", block(leak))?;
    }
    let mut offsets: FxHashMap<u64, u32> = FxHashMap::default();
    for object in &objects.objects {
        for &(offset, target, dropped) in &object.references {
            let name = *offsets
                .entry(offset)
                .or_insert_with(|| strings.number(&format!("+{offset:#x}")));
            let kind = if dropped { WEAK } else { PROPERTY };
            write!(out, "\n,{kind},{name},{}", block(target))?;
        }
    }
    out.write_all(b"],\n\"trace_function_infos\":[")?;
    traces.write_functions(out)?;
    out.write_all(b"],\n\"trace_tree\":")?;
    traces.write_tree(out)?;
    out.write_all(b",\n\"samples\":[],\n\"locations\":[],\n\"strings\":[")?;
    for (number, text) in strings.all.iter().enumerate() {
        out.write_all(if number == 0 { b"" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, text)?;
    }
    out.write_all(b"]}\n")?;
    Ok(clamped)
}

/// A function of the tree of stacks: name, file, line.
type FunctionInfo = (u32, u32, u32);

#[derive(Default)]
struct TraceNode {
    function: u32,
    count: u64,
    size: u64,
    children: Vec<u32>,
}

/// The stacks as a tree, outermost frame first.
struct Traces {
    functions: Vec<FunctionInfo>,
    nodes: Vec<TraceNode>,
    /// The node of each stack, as the file numbers it: from 1; 0 for no stack.
    leaf: Vec<u32>,
}

impl Traces {
    fn of(objects: &Objects, names: &dyn NameSource, strings: &mut Strings) -> Self {
        let mut sums = vec![(0u64, 0u64); objects.stacks.len()];
        for object in &objects.objects {
            let sum = &mut sums[object.stack as usize];
            sum.0 += 1;
            sum.1 = sum.1.saturating_add(object.size);
        }
        let root = (strings.number("(root)"), strings.number(""), 0);
        let mut traces = Traces {
            functions: vec![root],
            nodes: vec![TraceNode::default()],
            leaf: Vec::with_capacity(objects.stacks.len()),
        };
        let mut functions: FxHashMap<FunctionInfo, u32> = FxHashMap::default();
        let mut of_address: FxHashMap<u64, Vec<u32>> = FxHashMap::default();
        let mut children: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for (stack, sum) in objects.stacks.iter().zip(&sums) {
            if stack.is_empty() {
                traces.leaf.push(0);
                continue;
            }
            let mut at = 0u32;
            for &address in stack.iter().rev() {
                let numbers = of_address.entry(address).or_insert_with(|| {
                    let infos = infos(address, names, strings);
                    let number = |info: FunctionInfo| {
                        *functions.entry(info).or_insert_with(|| {
                            traces.functions.push(info);
                            traces.functions.len() as u32 - 1
                        })
                    };
                    infos.into_iter().rev().map(number).collect()
                });
                for &function in numbers.iter() {
                    at = *children.entry((at, function)).or_insert_with(|| {
                        let next = traces.nodes.len() as u32;
                        traces.nodes[at as usize].children.push(next);
                        traces.nodes.push(TraceNode {
                            function,
                            ..TraceNode::default()
                        });
                        next
                    });
                }
            }
            let leaf = &mut traces.nodes[at as usize];
            leaf.count += sum.0;
            leaf.size = leaf.size.saturating_add(sum.1);
            traces.leaf.push(at + 1);
        }
        traces
    }

    fn write_functions(&self, out: &mut dyn Write) -> io::Result<()> {
        for (number, (name, file, line)) in self.functions.iter().enumerate() {
            let comma = if number == 0 { "" } else { "\n," };
            write!(out, "{comma}{number},{name},{file},0,{line},0")?;
        }
        Ok(())
    }

    /// Depth-first, with a stack of its own: stacks of calls can be deep.
    fn write_tree(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut open: Vec<(u32, usize)> = vec![(0, 0)];
        out.write_all(b"[")?;
        self.write_node(0, out)?;
        while let Some((node, next)) = open.pop() {
            let children = &self.nodes[node as usize].children;
            match children.get(next) {
                Some(&child) => {
                    open.push((node, next + 1));
                    if next > 0 {
                        out.write_all(b",")?;
                    }
                    self.write_node(child, out)?;
                    open.push((child, 0));
                }
                None => out.write_all(b"]")?,
            }
        }
        out.write_all(b"]")
    }

    fn write_node(&self, number: u32, out: &mut dyn Write) -> io::Result<()> {
        let node = &self.nodes[number as usize];
        let (id, function) = (number + 1, node.function);
        write!(out, "{id},{function},{},{},[", node.count, node.size)
    }
}

/// The functions of an address, innermost first: name, file, line.
fn infos(address: u64, names: &dyn NameSource, strings: &mut Strings) -> Vec<FunctionInfo> {
    let named = names.frames(address);
    if named.is_empty() {
        return vec![(
            strings.number(&format!("{address:#x}")),
            strings.number(""),
            0,
        )];
    }
    let info = |name: &ntheap::names::Name| {
        let text = match &name.symbol {
            Some(symbol) => format!("{}!{symbol}", name.module),
            None => name.to_string(),
        };
        let (file, line) = name
            .line
            .as_ref()
            .map_or(("", 0), |(file, line)| (file, *line));
        (strings.number(&text), strings.number(file), line)
    };
    named.iter().map(info).collect()
}
