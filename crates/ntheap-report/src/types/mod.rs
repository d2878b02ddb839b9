//! What the blocks are.

mod text;

pub use text::{Options, containers, write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::json::Address;
use ntheap::types::{
    CommonText, Container, Encoding, Explained, Retained, TypeChange, TypeKind, TypeTotal, Types,
};

/// What to tell of the types.
#[derive(Debug, Clone, Copy, Default)]
pub struct TypesOptions<'o> {
    /// Only this class and those that derive from it.
    pub base: Option<&'o str>,
    /// Also what texts say.
    pub contents: bool,
    /// Most texts.
    pub texts: usize,
}

/// The types of the blocks of one dump, or of two.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TypesReport {
    /// How much of the (newer) dump's blocks has a type.
    pub explained: ExplainedReport,
    /// The types, largest first; of two dumps those that grew most.
    pub types: Vec<TypeReport>,
    /// Texts that are stored more than once, the most frequent first.
    pub texts: Vec<TextReport>,
}

/// How much of the blocks has a type.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct ExplainedReport {
    /// Blocks.
    pub blocks: u64,
    /// Their requested bytes.
    pub bytes: u64,
    /// Blocks with a type.
    pub typed_blocks: u64,
    /// Their requested bytes.
    pub typed_bytes: u64,
    /// The latter as a share of all bytes.
    pub percent: f64,
}

impl From<Explained> for ExplainedReport {
    fn from(explained: Explained) -> Self {
        ExplainedReport {
            blocks: explained.blocks,
            bytes: explained.bytes,
            typed_blocks: explained.typed_blocks,
            typed_bytes: explained.typed_bytes,
            percent: (explained.percent() * 100.0).round() / 100.0,
        }
    }
}

/// A type and its blocks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TypeReport {
    /// Its name; of unknown blocks their size.
    #[serde(rename = "type")]
    pub name: String,
    /// `class`, `array`, `control-block`, `callable`, `container`, `container-part`, `text`, `system`,
    /// `line`; null: unknown.
    pub kind: Option<&'static str>,
    /// Number of blocks.
    pub blocks: u64,
    /// Their requested bytes.
    pub bytes: u64,
    /// Bytes that they keep alive, themselves included; null where that was not counted.
    pub retained: Option<u64>,
    /// Blocks in the older dump; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks_before: Option<u64>,
    /// Their bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_before: Option<u64>,
}

impl TypeReport {
    fn new(total: TypeTotal, before: Option<(u64, u64)>) -> Self {
        TypeReport {
            name: total.name.to_string(),
            kind: total.kind.map(TypeKind::name),
            blocks: total.blocks,
            bytes: total.bytes,
            retained: total.retained,
            blocks_before: before.map(|before| before.0),
            bytes_before: before.map(|before| before.1),
        }
    }

    /// Growth in blocks; 0 where there is one dump.
    #[must_use]
    pub fn block_growth(&self) -> i64 {
        let before = self.blocks_before.unwrap_or(self.blocks);
        self.blocks.wrapping_sub(before) as i64
    }

    /// Growth in bytes.
    #[must_use]
    pub fn byte_growth(&self) -> i64 {
        let before = self.bytes_before.unwrap_or(self.bytes);
        self.bytes.wrapping_sub(before) as i64
    }
}

/// A text that is stored more than once.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TextReport {
    /// Its length in characters.
    pub characters: usize,
    /// `char` or `wchar_t`.
    pub encoding: &'static str,
    /// Blocks that hold it.
    pub blocks: u64,
    /// Their requested bytes.
    pub bytes: u64,
    /// Address of one of them.
    pub first: Address,
    /// The text, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl TextReport {
    fn new(text: &CommonText<'_>, contents: bool) -> Self {
        TextReport {
            characters: text.characters(),
            encoding: match text.encoding {
                Encoding::Wide => "wchar_t",
                _ => "char",
            },
            blocks: text.blocks,
            bytes: text.total,
            first: Address(text.first),
            text: contents.then(|| text.to_text()),
        }
    }
}

impl TypesReport {
    /// The types of a dump, with what they retain.
    #[must_use]
    pub fn new(types: &Types<'_, '_>, retained: &Retained, options: &TypesOptions<'_>) -> Self {
        let totals = selected(types, retained, options).into_iter();
        let rows = totals.map(|total| TypeReport::new(total, None)).collect();
        Self::with_rows(types, options, rows)
    }

    /// The types of two dumps.
    #[must_use]
    pub fn compare(
        before: (&Types<'_, '_>, &Retained),
        after: (&Types<'_, '_>, &Retained),
        options: &TypesOptions<'_>,
    ) -> Self {
        let changes = ntheap::types::changes(
            selected(before.0, before.1, options),
            selected(after.0, after.1, options),
        );
        let row = |change: TypeChange| {
            let before = (change.blocks_before, change.bytes_before);
            TypeReport::new(change.after, Some(before))
        };
        Self::with_rows(after.0, options, changes.into_iter().map(row).collect())
    }

    fn with_rows(types: &Types<'_, '_>, options: &TypesOptions<'_>, rows: Vec<TypeReport>) -> Self {
        // A class that was asked for is no text.
        let wanted = if options.base.is_some() {
            0
        } else {
            options.texts
        };
        let mut texts = types.common_texts();
        texts.truncate(wanted);
        let text = |text| TextReport::new(text, options.contents);
        TypesReport {
            explained: types.explained().into(),
            types: rows,
            texts: texts.iter().map(text).collect(),
        }
    }
}

fn selected(
    types: &Types<'_, '_>,
    retained: &Retained,
    options: &TypesOptions<'_>,
) -> Vec<TypeTotal> {
    match options.base {
        Some(base) => types.totals_where(Some(retained), |of| {
            of.is_some_and(|of| types.derives(of, base))
        }),
        None => types.totals_where(Some(retained), |_| true),
    }
}

/// A container of the C++ library.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ContainerReport {
    /// Address of the container object.
    pub owner: Address,
    /// `vector`, `vector<bool>`, `string`, `wstring`, `list`, `map` (or set), `unordered_map` (or set), `deque`.
    pub kind: &'static str,
    /// Number of elements; of a string characters.
    pub elements: u64,
    /// Bytes of the blocks that it holds.
    pub bytes: u64,
    /// Bytes of them that are room for further elements.
    pub spare: u64,
    /// What the container object lies in.
    pub holder: String,
}

impl ContainerReport {
    /// All containers, the largest first.
    #[must_use]
    pub fn all(types: &Types<'_, '_>) -> Vec<Self> {
        let mut all: Vec<&Container> = types.containers().iter().collect();
        all.sort_unstable_by_key(|container| (std::cmp::Reverse(container.bytes), container.owner));
        all.into_iter().map(Self::from).collect()
    }
}

impl From<&Container> for ContainerReport {
    fn from(container: &Container) -> Self {
        ContainerReport {
            owner: Address(container.owner),
            kind: container.kind.name(),
            elements: container.elements,
            bytes: container.bytes,
            spare: container.spare,
            holder: container.holder.to_string(),
        }
    }
}

/// Containers instead of types.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ContainersReport {
    /// The containers.
    pub containers: Vec<ContainerReport>,
}
