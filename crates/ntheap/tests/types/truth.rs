//! The truth that comes with a dump.

use std::{collections::HashMap, fs::File, io::BufReader, path::Path};

use serde_json::Value;

/// A block, as the program has it.
pub(crate) struct TrueBlock {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) of: Option<String>,
    pub(crate) role: String,
}

#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) blocks: Vec<TrueBlock>,
    /// Owner: kind and number of elements.
    pub(crate) containers: HashMap<u64, (String, u64)>,
}

impl Truth {
    pub(crate) fn read(path: &Path) -> Self {
        let file = BufReader::new(File::open(path).expect("the truth"));
        let json: Value = match path.extension() {
            Some(extension) if extension == "zst" => {
                let file = zstd::Decoder::with_buffer(file).expect("compressed");
                serde_json::from_reader(file)
            }
            _ => serde_json::from_reader(file),
        }
        .expect("JSON");
        let columns = json["leak_columns"].as_array().expect("columns");
        let column = |name: &str| {
            columns
                .iter()
                .position(|known| known == name)
                .expect("a column")
        };
        let (address, size) = (column("user_address"), column("user_size"));
        let (of, role) = (column("type"), column("role"));
        let rows = json["leaks"].as_array().expect("rows");
        let blocks = rows.iter().map(|row| TrueBlock {
            address: row[address].as_u64().expect("an address"),
            size: row[size].as_u64().expect("a size"),
            of: row[of].as_str().map(str::to_owned),
            role: row[role].as_str().unwrap_or_default().to_owned(),
        });
        let containers = json["containers"].as_array().into_iter().flatten();
        let containers = containers.map(|container| {
            let kind = container["kind"].as_str().expect("a kind").to_owned();
            let elements = container["elements"].as_u64().expect("a number");
            (
                container["owner"].as_u64().expect("an owner"),
                (kind, elements),
            )
        });
        Truth {
            blocks: blocks.collect(),
            containers: containers.collect(),
        }
    }
}
