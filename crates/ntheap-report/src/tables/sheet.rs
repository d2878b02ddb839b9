//! One table as a Parquet file, written in row groups: what is held at a time is one of them.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};

/// Rows of a row group.
const ROWS: usize = 1 << 16;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// A number of 64 bits without sign.
    Address,
    /// Milliseconds since 1970, UTC.
    Time,
    Flag,
}

impl Kind {
    fn message(self, optional: bool, name: &str) -> String {
        let repetition = if optional { "optional" } else { "required" };
        match self {
            Kind::Text => format!("{repetition} binary {name} (STRING);"),
            Kind::Number => format!("{repetition} int64 {name};"),
            Kind::Address => format!("{repetition} int64 {name} (INTEGER(64,false));"),
            Kind::Time => format!("{repetition} int64 {name} (TIMESTAMP(MILLIS,true));"),
            Kind::Flag => format!("{repetition} boolean {name};"),
        }
    }
}

/// A field of a table: name, kind, and whether it can be null.
pub(super) type Field = (&'static str, Kind, bool);

/// A table: its name, its fields, and behind them, where it has one, a list of records.
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
    pub(super) list: Option<(&'static str, &'static [Field])>,
}

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Null,
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Cell {
    /// Counts and sizes, which are far from the end of what is signed.
    pub(super) fn number(value: u64) -> Self {
        Cell::Number(i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub(super) fn address(value: u64) -> Self {
        Cell::Number(value as i64)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Cell::Null, Cell::from)
    }
}

/// The values of a field in a row group.
#[derive(Debug, Default)]
struct Leaf {
    texts: Vec<ByteArray>,
    numbers: Vec<i64>,
    flags: Vec<bool>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl Leaf {
    /// Puts a value; `depth` is what is defined around it.
    fn put(&mut self, cell: Cell, optional: bool, depth: i16, repetition: i16) {
        let is_null = matches!(cell, Cell::Null);
        self.definitions
            .push(depth + i16::from(optional && !is_null));
        self.repetitions.push(repetition);
        match cell {
            Cell::Null => {}
            Cell::Text(text) => self.texts.push(ByteArray::from(text.into_bytes())),
            Cell::Number(number) => self.numbers.push(number),
            Cell::Flag(flag) => self.flags.push(flag),
        }
    }

    fn write(
        &self,
        kind: Kind,
        levels: bool,
        column: &mut SerializedColumnWriter<'_>,
    ) -> io::Result<()> {
        let definitions = levels.then_some(&self.definitions[..]);
        let repetitions = levels.then_some(&self.repetitions[..]);
        let written =
            match kind {
                Kind::Text => column.typed::<ByteArrayType>().write_batch(
                    &self.texts,
                    definitions,
                    repetitions,
                ),
                Kind::Number | Kind::Address | Kind::Time => column
                    .typed::<Int64Type>()
                    .write_batch(&self.numbers, definitions, repetitions),
                Kind::Flag => {
                    column
                        .typed::<BoolType>()
                        .write_batch(&self.flags, definitions, repetitions)
                }
            };
        written.map(|_| ()).map_err(failed)
    }
}

/// A table that is being written. The file has its name when it is whole.
pub(super) struct Sheet {
    schema: &'static Schema,
    writer: SerializedFileWriter<File>,
    leaves: Vec<Leaf>,
    rows: usize,
    part: PathBuf,
    path: PathBuf,
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

impl Sheet {
    /// Begins the file of a dump in the table's folder.
    pub(super) fn create(
        schema: &'static Schema,
        folder: &std::path::Path,
        id: &str,
    ) -> io::Result<Self> {
        let folder = folder.join(schema.name);
        std::fs::create_dir_all(&folder)?;
        let part = folder.join(format!(".{id}.part"));
        let file = File::create(&part)?;
        let message = Arc::new(parse_message_type(&message(schema)).map_err(failed)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3).map_err(failed)?))
            .set_created_by(concat!("ntheap ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let listed = schema.list.map_or(0, |(_, fields)| fields.len());
        Ok(Sheet {
            writer: SerializedFileWriter::new(file, message, Arc::new(properties))
                .map_err(failed)?,
            leaves: (0..schema.fields.len() + listed)
                .map(|_| Leaf::default())
                .collect(),
            rows: 0,
            path: folder.join(format!("{id}.parquet")),
            schema,
            part,
        })
    }

    /// Adds a row without a list.
    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) -> io::Result<()> {
        self.row_with(cells.into(), Vec::new())
    }

    /// Adds a row with the records of its list.
    pub(super) fn row_with(&mut self, cells: Vec<Cell>, list: Vec<Vec<Cell>>) -> io::Result<()> {
        let fields = self.schema.fields;
        debug_assert_eq!(cells.len(), fields.len());
        let (plain, listed) = self.leaves.split_at_mut(fields.len());
        for ((leaf, field), cell) in plain.iter_mut().zip(fields).zip(cells) {
            leaf.put(cell, field.2, 0, 0);
        }
        if list.is_empty() {
            listed
                .iter_mut()
                .for_each(|leaf| leaf.put(Cell::Null, false, 0, 0));
        }
        let records = self.schema.list.map_or(&[][..], |(_, fields)| fields);
        for (number, record) in list.into_iter().enumerate() {
            for ((leaf, field), cell) in listed.iter_mut().zip(records).zip(record) {
                leaf.put(cell, field.2, 1, i16::from(number > 0));
            }
        }
        self.rows += 1;
        if self.rows == ROWS {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes the rows so far as a row group.
    fn flush(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let listed = self.schema.list.map_or(&[][..], |(_, fields)| fields);
        let plain = self.schema.fields.iter().map(|field| (field, field.2));
        let fields = plain.chain(listed.iter().map(|field| (field, true)));
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for ((field, levels), leaf) in fields.zip(&mut self.leaves) {
            let Some(mut column) = group.next_column().map_err(failed)? else {
                return Err(io::Error::other("a column is missing"));
            };
            leaf.write(field.1, levels, &mut column)?;
            column.close().map_err(failed)?;
            *leaf = Leaf::default();
        }
        group.close().map_err(failed)?;
        self.rows = 0;
        Ok(())
    }

    /// Ends the file and gives it its name.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.writer.close().map_err(failed)?;
        std::fs::rename(&self.part, &self.path)
    }
}

fn message(schema: &Schema) -> String {
    let line = |field: &Field| field.1.message(field.2, field.0);
    let mut text = format!("message {} {{ ", schema.name);
    text.extend(schema.fields.iter().map(line));
    if let Some((name, fields)) = schema.list {
        text += &format!(
            "required group {name} (LIST) {{ repeated group list {{ required group element {{ "
        );
        text.extend(fields.iter().map(line));
        text += "} } }";
    }
    text + " }"
}
