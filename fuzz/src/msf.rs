//! PDBs in smaller pieces: the same streams in blocks of an eighth of the size, so that most bytes of the
//! file are ones that a reader looks at.

const MAGIC: &[u8; 32] = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0";
/// Bytes of a block of a file that is written.
pub const BLOCK: usize = 0x200;
/// The blocks behind the first, which tell what is free.
const FREE: u32 = 1;
const FIRST: usize = 3;
/// The size of a stream that is none.
const ABSENT: u32 = u32::MAX;

/// The stream that lists the modules (object files), where it tells how many bytes that takes, and where
/// the list begins.
const MODULES: usize = 3;
const MODULES_SIZE: usize = 24;
const MODULES_BEGIN: usize = 64;
/// In the record of a module: the number of its stream, the bytes there of symbols and of lines in two
/// encodings, and behind the record its two names.
const STREAM: usize = 34;
const SIZES: usize = 36;
const NAMES: usize = 64;
/// The number of a stream that is none.
const NO_STREAM: u16 = u16::MAX;
/// A larger module has more functions, not other kinds of records.
const MOST_OF_MODULE: usize = 0x900;

/// The same file in blocks of [`BLOCK`] bytes, without the contents of large modules.
///
/// # Panics
/// If it is no such file, or too large for one map of blocks.
#[must_use]
pub fn repacked(file: &[u8]) -> Vec<u8> {
    let mut streams = streams(file);
    empty_large_modules(&mut streams);
    let mut directory = vec![streams.len() as u32];
    directory.extend(streams.iter().map(|stream| stream.len() as u32));
    let mut bytes = vec![0; FIRST * BLOCK];
    for stream in &streams {
        directory.extend(put(&mut bytes, stream));
    }
    let directory = to_bytes(&directory);
    let places = put(&mut bytes, &directory);
    let places = to_bytes(&places);
    let [map] = put(&mut bytes, &places)[..] else {
        panic!("too many blocks of the directory");
    };
    let blocks = bytes.len() / BLOCK;
    assert!(blocks < BLOCK, "a second map of what is free");
    let header = [
        BLOCK as u32,
        FREE,
        blocks as u32,
        directory.len() as u32,
        0,
        map,
    ];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    let header = to_bytes(&header);
    bytes[MAGIC.len()..MAGIC.len() + header.len()].copy_from_slice(&header);
    bytes
}

/// Makes large modules ones that have no stream.
fn empty_large_modules(streams: &mut [Vec<u8>]) {
    let mut list = std::mem::take(&mut streams[MODULES]);
    let [size] = numbers(&list[MODULES_SIZE..][..4])[..] else {
        panic!("no list of modules");
    };
    let end = MODULES_BEGIN + size as usize;
    let mut at = MODULES_BEGIN;
    while at < end {
        let record = &mut list[at..end];
        let stream = u16::from_le_bytes([record[STREAM], record[STREAM + 1]]);
        if stream != NO_STREAM && streams[usize::from(stream)].len() > MOST_OF_MODULE {
            streams[usize::from(stream)].clear();
            record[STREAM..SIZES].copy_from_slice(&NO_STREAM.to_le_bytes());
            record[SIZES..SIZES + 3 * 4].fill(0);
        }
        let names = record[NAMES..].split_inclusive(|&byte| byte == 0).take(2);
        let names: usize = names.map(<[u8]>::len).sum();
        at += (NAMES + names).next_multiple_of(4);
    }
    streams[MODULES] = list;
}

/// Writes bytes into blocks behind the others; their numbers.
fn put(file: &mut Vec<u8>, bytes: &[u8]) -> Vec<u32> {
    let first = file.len() / BLOCK;
    file.extend(bytes);
    file.resize(file.len().next_multiple_of(BLOCK), 0);
    (first as u32..(file.len() / BLOCK) as u32).collect()
}

fn streams(file: &[u8]) -> Vec<Vec<u8>> {
    assert!(file.starts_with(MAGIC), "no PDB");
    let [size, _, _, directory, _, map] = numbers(&file[MAGIC.len()..][..24])[..] else {
        panic!("no header");
    };
    let size = size as usize;
    let gather = |blocks: &[u32], bytes: u32| {
        let blocks = blocks
            .iter()
            .flat_map(|&block| &file[block as usize * size..][..size]);
        blocks.copied().take(bytes as usize).collect::<Vec<u8>>()
    };
    let count = |bytes: u32| (bytes as usize).div_ceil(size);
    let map = numbers(&file[map as usize * size..][..4 * count(directory)]);
    let directory = numbers(&gather(&map, directory));
    let (sizes, mut blocks) = directory[1..].split_at(directory[0] as usize);
    let mut streams = Vec::new();
    for &size in sizes {
        let size = if size == ABSENT { 0 } else { size };
        let (own, rest) = blocks.split_at(count(size));
        streams.push(gather(own, size));
        blocks = rest;
    }
    streams
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

fn to_bytes(numbers: &[u32]) -> Vec<u8> {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    bytes.collect()
}
