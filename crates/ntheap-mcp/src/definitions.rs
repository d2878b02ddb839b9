//! What agents are told of the tools.

use std::sync::{Arc, LazyLock};

use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// What agents are told of the server as a whole.
pub(crate) const INSTRUCTIONS: &str = "Finds leaks in Windows user-mode memory dumps. `open` without a path \
lists the dumps. With two or more dumps of one process call `verdict` first: it names what grew, why that \
is suspect and how sure it is. Then `stacks` (where blocks come from), `types` (what they are), `owners` \
(who holds them). Answers come in pages: for more rows repeat the call with `cursor`.";

/// Name, description, arguments (name, schema), required ones.
type Definition = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const TOOLS: [Definition; 8] = [
    (
        "open",
        "List dumps (no path, or a folder), or tell of one dump: program, build, heaps, whether blocks have \
         stacks, what could not be read.",
        &["path"],
        &[],
    ),
    (
        "verdict",
        "What leaks. Two or more dumps: suspects with confidence, functions, sizes, type, lost or who holds \
         them; then heaps by growth. One dump: blocks that nothing leads to (lost), by type, size, stack.",
        &["dumps"],
        &["dumps"],
    ),
    (
        "heaps",
        "The heaps by bytes held; with after by growth.",
        &["dump", "after"],
        &["dump"],
    ),
    (
        "sizes",
        "Blocks by requested size, over all heaps or one; with after by growth.",
        &["dump", "after", "heap", "by"],
        &["dump"],
    ),
    (
        "stacks",
        "Call stacks of allocations (innermost first) by bytes, of all blocks or of one heap or size; with \
         after by growth.",
        &["dump", "after", "heap", "size"],
        &["dump"],
    ),
    (
        "types",
        "What blocks are: classes, containers, text; unknown ones by size. With after by growth. type: only \
         this class and what derives from it.",
        &["dump", "after", "type"],
        &["dump"],
    ),
    (
        "block",
        "The block at an address: heap, size, state, type, lost or held and by whom, first bytes, stack.",
        &["dump", "address"],
        &["dump", "address"],
    ),
    (
        "owners",
        "Who holds a block (address), or all of a size or type: where they accumulate, the way from a root, \
         what keeps most. Give one of address, size, type.",
        &["dump", "address", "size", "type"],
        &["dump"],
    ),
];

fn argument(name: &str) -> Value {
    match name {
        "path" => json!({"type": "string", "description": "dump or folder"}),
        "dump" => json!({"type": "string", "description": "path of the dump"}),
        "dumps" => json!({"type": "array", "items": {"type": "string"}, "minItems": 1,
            "description": "paths; two: older, newer; more: any order"}),
        "after" => json!({"type": "string", "description": "newer dump to compare with"}),
        "heap" => json!({"type": "string", "description": "handle, hex"}),
        "address" => json!({"type": "string", "description": "anywhere in the block, hex"}),
        "size" => {
            json!({"type": ["integer", "string"], "description": "requested bytes: 48 or \"0x30\""})
        }
        "type" => json!({"type": "string", "description": "as types names it"}),
        "by" => json!({"enum": ["bytes", "blocks", "size"]}),
        _ => json!({"type": "string"}),
    }
}

/// The arguments' schemas, by tool.
static SCHEMAS: LazyLock<Vec<(&'static str, Value)>> = LazyLock::new(|| {
    let schema = |&(name, _, arguments, required): &Definition| {
        let all = arguments.iter().chain(&["cursor"]);
        let properties: Map<String, Value> = all
            .map(|name| ((*name).to_owned(), argument(name)))
            .collect();
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        (name, schema)
    };
    TOOLS.iter().map(schema).collect()
});

/// The schema of a tool's arguments.
pub(crate) fn schema(tool: &str) -> Option<&'static Value> {
    let found = SCHEMAS.iter().find(|(name, _)| *name == tool);
    found.map(|(_, schema)| schema)
}

/// The tools, as the protocol has them.
pub(crate) fn tools() -> Vec<Tool> {
    let tool = |&(name, description, _, _): &Definition| {
        let schema = schema(name).and_then(Value::as_object).cloned();
        Tool::new(name, description, Arc::new(schema.unwrap_or_default()))
            .with_annotations(ToolAnnotations::new().read_only(true).open_world(false))
    };
    TOOLS.iter().map(tool).collect()
}
