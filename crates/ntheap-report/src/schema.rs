//! The JSON Schema of everything that the program prints as JSON, made of the reports' own types.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    address::AddressSpaceReport,
    block::BlocksReport,
    diff::DiffReport,
    fingerprint::{Fingerprint, compare::FingerprintDiff},
    info::InfoReport,
    json::{BlockReport, SCHEMA},
    leaks::{LeakBlock, LeaksReport},
    owners::OwnersReport,
    scan::ScanReport,
    stat::{HeapSizes, HeapStacks, StatReport},
    summary::SummaryReport,
    symbol::SymbolsReport,
    types::{ContainerReport, ContainersReport, TypeReport, TypesReport},
    verify::VerificationsReport,
};

/// The schema of a report.
type Of = fn(&mut SchemaGenerator) -> Schema;

/// The schema, as `docs/schema.json` has it: a document of any command, with a definition for each
/// (`document-diff`, …) and for the lines of `--format jsonl` (`line-blocks`, …).
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut generator = settings.into_generator();
    let mut documents: Vec<(&str, Value)> = Vec::new();
    let all: [(&str, &[Of]); 13] = [
        ("address", &[of::<AddressSpaceReport>]),
        ("block", &[of::<BlocksReport>]),
        ("diff", &[of::<DiffReport>, of::<FingerprintDiff>]),
        ("fingerprint", &[of::<Fingerprint>]),
        ("info", &[of::<InfoReport>]),
        ("leaks", &[of::<LeaksReport>]),
        ("owners", &[of::<OwnersReport>]),
        ("scan", &[of::<ScanReport>]),
        (
            "stat",
            &[of::<StatReport<HeapSizes>>, of::<StatReport<HeapStacks>>],
        ),
        ("summary", &[of::<SummaryReport>]),
        ("symbol", &[of::<SymbolsReport>]),
        ("types", &[of::<TypesReport>, of::<ContainersReport>]),
        ("verify", &[of::<VerificationsReport>]),
    ];
    for (command, reports) in all {
        let reports: Vec<Schema> = reports.iter().map(|of| of(&mut generator)).collect();
        let report = match &reports[..] {
            [one] => one.as_value().clone(),
            several => json!({ "anyOf": several }),
        };
        documents.push((command, document(command, report)));
    }
    let lines = [
        ("blocks", of::<BlockReport>(&mut generator)),
        ("leaks", of::<LeakBlock>(&mut generator)),
        ("types", of::<TypeReport>(&mut generator)),
        ("containers", of::<ContainerReport>(&mut generator)),
    ];
    let mut definitions = generator.take_definitions(true);
    let mut any: Vec<Value> = Vec::new();
    for (command, document) in documents {
        let name = format!("document-{command}");
        any.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name, document);
    }
    for (command, line) in lines {
        definitions.insert(format!("line-{command}"), line.to_value());
    }
    // `blocks` and `filter` print the same list.
    let list = json!({
        "type": "object",
        "required": ["blocks"],
        "properties": {
            "blocks": { "type": "array", "items": { "$ref": "#/$defs/line-blocks" } },
        },
    });
    for command in ["blocks", "filter"] {
        let name = format!("document-{command}");
        any.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name, document(command, list.clone()));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What ntheap prints with --format json",
        "anyOf": any,
        "$defs": definitions,
    })
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn document(command: &str, report: Value) -> Value {
    json!({
        "type": "object",
        "required": ["schema", "command"],
        "properties": {
            "schema": { "const": SCHEMA },
            "command": { "const": command },
        },
        "allOf": [report],
    })
}
