//! What a tool is called with.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    definitions,
    fault::{Fault, FaultKind},
};

/// The arguments of all tools; which of them a tool takes is said by its definition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Arguments {
    pub(crate) path: Option<String>,
    pub(crate) dump: String,
    pub(crate) dumps: Vec<String>,
    pub(crate) after: Option<String>,
    heap: Option<Value>,
    size: Option<Value>,
    address: Option<Value>,
    #[serde(rename = "type")]
    pub(crate) type_name: Option<String>,
    pub(crate) by: Option<String>,
    cursor: Option<Value>,
}

/// Most dumps of one comparison.
const MOST_DUMPS: usize = 32;

impl Arguments {
    /// Reads the arguments of a tool, which must be known to its definition and not lack what it needs.
    pub(crate) fn read(tool: &str, given: Map<String, Value>) -> Result<Self, Fault> {
        let schema =
            definitions::schema(tool).ok_or_else(|| Fault::argument("there is no such tool"))?;
        let known = schema["properties"].as_object();
        for name in given.keys() {
            if !known.is_some_and(|known| known.contains_key(name)) {
                return Err(Fault::argument(format!(
                    "{tool} takes no '{}'",
                    name.chars().take(40).collect::<String>()
                )));
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if given.get(name).is_none_or(Value::is_null) {
                return Err(Fault::argument(format!("{tool} needs '{name}'")));
            }
        }
        let given = given.into_iter().filter(|(_, value)| !value.is_null());
        let arguments: Arguments = serde_json::from_value(Value::Object(given.collect()))
            .map_err(|error| Fault::argument(error.to_string()))?;
        if arguments.dumps.len() > MOST_DUMPS {
            let text = format!("at most {MOST_DUMPS} dumps are compared");
            return Err(Fault::argument(text));
        }
        Ok(arguments)
    }

    pub(crate) fn heap(&self) -> Result<Option<u64>, Fault> {
        self.heap
            .as_ref()
            .map(|value| number(value, 16, "heap"))
            .transpose()
    }

    pub(crate) fn address(&self) -> Result<Option<u64>, Fault> {
        self.address
            .as_ref()
            .map(|value| number(value, 16, "address"))
            .transpose()
    }

    pub(crate) fn size(&self) -> Result<Option<u64>, Fault> {
        self.size
            .as_ref()
            .map(|value| number(value, 10, "size"))
            .transpose()
    }

    /// The row that the answer begins with.
    pub(crate) fn start(&self) -> Result<usize, Fault> {
        let Some(cursor) = &self.cursor else {
            return Ok(0);
        };
        let row = number(cursor, 10, "cursor")?;
        usize::try_from(row).map_err(|_| Fault::new(FaultKind::BadArgument, "cursor: too far"))
    }
}

/// A number, or its text: with `0x` hexadecimal, else in the radix that is usual there.
fn number(value: &Value, radix: u32, name: &str) -> Result<u64, Fault> {
    let invalid = || Fault::argument(format!("{name}: not a number (48, \"0x30\")"));
    if let Some(number) = value.as_u64() {
        return Ok(number);
    }
    let text = value.as_str().ok_or_else(invalid)?.replace(['`', '_'], "");
    let text = text.trim().to_ascii_lowercase();
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => u64::from_str_radix(&text, radix),
    }
    .map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(tool: &str, given: Value) -> Result<Arguments, Fault> {
        Arguments::read(tool, given.as_object().cloned().expect("an object"))
    }

    #[test]
    fn numbers_come_in_both_forms() {
        let given = json!({"dump": "a", "size": "0x30", "heap": "21ab`6d00000"});
        let arguments = read("stacks", given).expect("arguments");
        assert_eq!(arguments.size().expect("a size"), Some(0x30));
        assert_eq!(arguments.heap().expect("a heap"), Some(0x21a_b6d0_0000));
        let arguments = read("sizes", json!({"dump": "a", "cursor": "12", "heap": null}));
        let arguments = arguments.expect("arguments");
        assert_eq!(arguments.start().expect("a row"), 12);
        assert_eq!(arguments.heap().expect("none"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (tool, given) in [
            ("sizes", json!({})),
            ("sizes", json!({"dump": "a", "address": 1})),
            ("sizes", json!({"dump": 5})),
            ("verdict", json!({"dumps": vec!["a"; 33]})),
            ("none", json!({})),
        ] {
            let fault = read(tool, given).expect_err("a fault");
            assert_eq!(fault.kind, FaultKind::BadArgument, "{tool}");
        }
        let cursor = read("sizes", json!({"dump": "a", "cursor": "-1"})).expect("arguments");
        assert_eq!(
            cursor.start().expect_err("no row").kind,
            FaultKind::BadArgument
        );
    }
}
