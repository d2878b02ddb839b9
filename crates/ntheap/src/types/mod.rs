//! What blocks are: C++ classes by their virtual function tables, containers of the C++ library by
//! their shape, text, what the runtime and ntdll allocate for themselves.
//!
//! Nothing is taken on trust: a class needs a complete object locator that can be followed to its name
//! (or a PDB's name for the table), a container an owner whose count of elements its blocks have. What
//! stays unknown has no type.
//!
//! ```no_run
//! use ntheap::{
//!     dump::{Dump, DumpFile}, graph::Graph, heap::Heaps, process::Process, types::Types,
//! };
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let graph = Graph::of(&Heaps::of(&process));
//! let types = Types::of(&graph, None);
//! for row in types.totals() {
//!     println!("{:8} {:10} {}", row.blocks, row.bytes, row.name);
//! }
//! for container in types.containers() {
//!     println!("{} with {} elements in {}", container.kind, container.elements, container.holder);
//! }
//! # Ok(())
//! # }
//! ```

mod containers;
mod ground;
mod objects;
mod retained;
pub mod rtti;
mod table;
mod text;
mod totals;

use std::{fmt, sync::Arc};

pub use containers::{Container, ContainerKind};
pub use retained::Retained;
pub use rtti::Rtti;
pub use text::{CommonText, Encoding};
pub use totals::{Explained, TypeChange, TypeTotal, changes};

use crate::{
    blocks::{Block, CONTINUE, Flow, Visitor},
    graph::Graph,
    heap::Heaps,
    names::{NameSource, is_meant},
};
use ground::Ground;
use table::Table;

/// What sort of type it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TypeKind {
    /// An object of a C++ class.
    Class,
    /// An array of such objects.
    Array,
    /// A control block of `shared_ptr`, with the object in it or without.
    ControlBlock,
    /// A callable that a `std::function` keeps.
    Callable,
    /// A container object of the C++ library, by itself.
    Container,
    /// What a container holds: nodes, elements, text.
    ContainerPart,
    /// Text.
    Text,
    /// What ntdll allocated for itself.
    System,
    /// Known by the line that allocated it, from the debug C runtime.
    Line,
}

impl TypeKind {
    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            TypeKind::Class => "class",
            TypeKind::Array => "array",
            TypeKind::ControlBlock => "control-block",
            TypeKind::Callable => "callable",
            TypeKind::Container => "container",
            TypeKind::ContainerPart => "container-part",
            TypeKind::Text => "text",
            TypeKind::System => "system",
            TypeKind::Line => "line",
        }
    }
}

/// The type of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Type {
    /// Its name: `app::Order`, `std::map/set node of app::Service+0x28`.
    pub name: Arc<str>,
    /// What sort of type it is.
    pub kind: TypeKind,
    /// The class, where run-time type information tells it ([`Rtti::class`]).
    pub class: Option<u32>,
}

/// Collects the numbers of blocks.
struct Kept<'g> {
    index: ground::Blocks<'g>,
    numbers: Vec<u32>,
}

impl Visitor for Kept<'_> {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            // The program's own part may begin behind a header.
            let end = block.address.saturating_add(block.size.max(1));
            self.numbers.extend(self.index.first_in(block.address, end));
        }
        CONTINUE
    }
}

/// The types of the blocks of a process.
pub struct Types<'g, 'a> {
    ground: Ground<'g, 'a>,
    table: Table,
    rtti: Rtti,
    containers: Vec<Container>,
}

impl fmt::Debug for Types<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Types")
            .field("blocks", &self.ground.blocks.len())
            .field("types", &self.table.types.len())
            .field("containers", &self.containers.len())
            .finish_non_exhaustive()
    }
}

impl<'g, 'a> Types<'g, 'a> {
    /// Finds what the blocks of a process are. `names` name variables, and the virtual function tables
    /// of modules without run-time type information.
    #[must_use]
    pub fn of(graph: &'g Graph<'_, 'a>, names: Option<&dyn NameSource>) -> Self {
        Self::with_rtti(graph, Rtti::of(graph.process()), names)
    }

    /// Likewise, with run-time type information that was read before, or with none.
    #[must_use]
    pub fn with_rtti(graph: &'g Graph<'_, 'a>, rtti: Rtti, names: Option<&dyn NameSource>) -> Self {
        let process = graph.process();
        let ground = Ground::new(graph);
        let modules = &process.dump.modules;
        let ranges = modules.iter().map(|module| (module.base, module.end()));
        let images = objects::Images::new(ranges.collect());
        let mut table = Table::new(ground.blocks.len());
        objects::judge(&ground, &rtti, &images, names, &mut table);
        let module_name = |address| match process.dump.module_at(address) {
            Some(module) => format!("{}+{:#x}", module.name(), address - module.base),
            None => format!("{address:x}"),
        };
        let source = (names, Some(process.dump));
        let containers = containers::find(&ground, &rtti, source, &module_name, &mut table);
        text::judge(&ground, &mut table);
        if graph.debug_blocks() > 0 {
            objects::lines(&ground, &mut table);
        }
        Types {
            ground,
            table,
            rtti,
            containers,
        }
    }

    /// Leaves out all blocks but those of these heaps.
    pub fn keep(&mut self, heaps: &Heaps<'_, '_>) {
        let count = self.ground.blocks.len();
        let index = self.ground.blocks;
        let kept = heaps.walk_parallel(
            |_| Kept {
                index,
                numbers: Vec::new(),
            },
            |mut all, more| {
                all.numbers.extend(more.numbers);
                all
            },
        );
        let mut keep = vec![false; count];
        for number in kept.into_iter().flat_map(|kept| kept.numbers) {
            keep[number as usize] = true;
        }
        for (of, keep) in self.table.of.iter_mut().zip(&keep) {
            if !keep {
                *of = table::LEFT_OUT;
            }
        }
        self.containers.retain(|container| {
            let home = index.at(container.data);
            home.is_some_and(|home| keep[home as usize])
        });
    }

    /// The type of the block with this number in the graph.
    #[must_use]
    pub fn of_block(&self, number: u32) -> Option<&Type> {
        self.table.get(number)
    }

    /// The type of the block that the program has at `address`, behind the debug C runtime's header
    /// where there is one.
    #[must_use]
    pub fn type_of(&self, address: u64) -> Option<&Type> {
        self.table.get(self.ground.blocks.at(address)?)
    }

    /// The name of that type.
    #[must_use]
    pub fn name_of(&self, address: u64) -> Option<Arc<str>> {
        Some(self.type_of(address)?.name.clone())
    }

    /// All blocks as (address, size, type), by ascending address.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, u64, Option<&Type>)> {
        let kept = |number: &u32| self.table.of[*number as usize] != table::LEFT_OUT;
        let numbers = (0..self.ground.blocks.len() as u32).filter(kept);
        numbers.map(|number| {
            let (address, size) = self.ground.blocks.block(number);
            (address, size, self.table.get(number))
        })
    }

    /// The containers, in no particular order.
    #[must_use]
    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    /// What the images say of their classes.
    #[must_use]
    pub fn rtti(&self) -> &Rtti {
        &self.rtti
    }

    /// Whether the type is that of an object of the class that `name` means ([`is_meant`]), or of one
    /// that derives from it.
    #[must_use]
    pub fn derives(&self, of: &Type, name: &str) -> bool {
        let class = of.class.and_then(|class| self.rtti.class(class));
        match class {
            Some(class) => {
                let mut bases = class.bases.iter();
                is_meant(name, &class.name) || bases.any(|base| is_meant(name, &base.name))
            }
            None => of.kind == TypeKind::Class && is_meant(name, &of.name),
        }
    }

    /// The texts that are stored in more than one block, the most frequent first.
    #[must_use]
    pub fn common_texts(&self) -> Vec<CommonText<'a>> {
        text::common(&self.ground, &self.table)
    }
}
