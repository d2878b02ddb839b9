//! What functions answer and callbacks are given, as C has it.

/// How a call went.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// Done, but something could not be read.
    Partial = 1,
    /// The callback ended the walk.
    Stopped = 2,
    /// An argument is null, no UTF-8, or makes no sense.
    Argument = 3,
    /// The file can't be read.
    Io = 4,
    /// The file is no dump that can be analysed, or changed meanwhile.
    NotADump = 5,
    /// A fault of the library.
    Internal = 6,
}

/// A block of a heap. Sizes are in bytes, addresses those of the dumped process.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Handle of the heap.
    pub heap: u64,
    /// Address that the program has.
    pub address: u64,
    /// Address of the block's header.
    pub entry: u64,
    /// Requested size; of a free block what it could hold.
    pub size: u64,
    /// Size of the whole block with its header.
    pub block_size: u64,
    /// 0 busy, 1 free, 2 freed but kept (page heap).
    pub state: u32,
    /// 1 for the heap's own blocks, else 0.
    pub internal: u32,
}

impl From<&ntheap::blocks::Block> for Block {
    fn from(block: &ntheap::blocks::Block) -> Self {
        use ntheap::blocks::State;
        Block {
            heap: block.heap,
            address: block.address,
            entry: block.entry,
            size: block.size,
            block_size: block.block_size,
            state: match block.state {
                State::Busy => 0,
                State::Free => 1,
                _ => 2,
            },
            internal: block.internal.into(),
        }
    }
}
