//! The multi-stream container of a PDB: its identity, and the checks that make it safe to hand
//! the file to the parsers.

use debugid::DebugId;

use crate::Error;

pub(crate) const MAGIC: &[u8; 32] = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0";
const ABSENT: u32 = u32::MAX;

const PDB_STREAM: usize = 1;
const TPI_STREAM: usize = 2;
const DBI_STREAM: usize = 3;
const IPI_STREAM: usize = 4;

/// How deep type records may nest, and how many records the text of one may involve.
const MAX_TYPE_DEPTH: u32 = 512;
const MAX_TYPE_WEIGHT: u32 = 1 << 16;

/// A PDB whose directory has been read and found sound.
#[derive(Debug)]
pub(crate) struct Container<'d> {
    data: &'d [u8],
    block_size: usize,
    directory: Vec<u8>,
    /// Size in bytes and position of the first block number in the directory.
    streams: Vec<(u32, usize)>,
}

impl<'d> Container<'d> {
    /// Reads the directory. Every block that any stream uses lies in the file afterwards, and the
    /// streams together are no larger than the file.
    pub(crate) fn parse(data: &'d [u8]) -> Result<Self, Error> {
        let Some(header) = data.get(..52) else {
            return Err(Error::NotAPdb {
                detail: format!("only {} bytes long", data.len()),
            });
        };
        if &header[..32] != MAGIC {
            return Err(Error::NotAPdb {
                detail: foreign(header),
            });
        }
        let block_size = u32_at(header, 32) as usize;
        if !block_size.is_power_of_two() || !(0x100..=0x1_0000).contains(&block_size) {
            return Err(Error::container(format!("block size {block_size:#x}")));
        }
        let blocks = data.len().div_ceil(block_size);
        if u32_at(header, 40) as usize > blocks {
            return Err(Error::container(format!(
                "the header counts {} blocks, the file holds {blocks}",
                u32_at(header, 40)
            )));
        }
        let directory_size = u32_at(header, 44) as usize;
        if directory_size > data.len() {
            return Err(Error::container(format!(
                "directory of {directory_size:#x} bytes"
            )));
        }
        let directory_blocks = directory_size.div_ceil(block_size);
        let list_blocks = (directory_blocks * 4).div_ceil(block_size);
        let list_end = 52 + list_blocks * 4;
        let list_list = data
            .get(52..list_end)
            .ok_or_else(|| Error::container("the directory's block map is cut off"))?;
        let list = gather(data, block_size, list_list, directory_blocks * 4)?;
        let directory = gather(data, block_size, &list, directory_size)?;

        let count = directory
            .get(..4)
            .map(|d| u32_at(d, 0) as usize)
            .ok_or_else(|| Error::container("empty directory"))?;
        if count > directory.len() / 4 {
            return Err(Error::container(format!("{count} streams")));
        }
        let mut position = 4 + count * 4;
        let mut used = 0;
        let mut streams = Vec::with_capacity(count);
        for stream in 0..count {
            let size = directory
                .get(4 + stream * 4..8 + stream * 4)
                .map(|d| u32_at(d, 0))
                .ok_or_else(|| Error::container("the directory's sizes are cut off"))?;
            streams.push((size, position));
            if size != ABSENT {
                let needed = (size as usize).div_ceil(block_size);
                position += needed * 4;
                used += needed;
            }
            if used > blocks {
                return Err(Error::container(format!(
                    "stream {stream} of {size:#x} bytes: the streams exceed the file"
                )));
            }
        }
        if position > directory.len() {
            return Err(Error::container(
                "the directory's block numbers are cut off",
            ));
        }
        let this = Self {
            data,
            block_size,
            directory,
            streams,
        };
        for stream in 0..count {
            let numbers = this.numbers(stream).unwrap_or_default();
            for number in numbers.chunks_exact(4).map(|n| u32_at(n, 0) as usize) {
                if number >= blocks {
                    return Err(Error::container(format!(
                        "stream {stream} has block {number:#x}"
                    )));
                }
            }
        }
        Ok(this)
    }

    /// GUID (or signature) and age, as an image's CodeView record names them: the age is the debug
    /// information stream's, not that of the PDB's own header.
    pub(crate) fn identity(&self) -> Result<DebugId, Error> {
        let info = self.prefix(PDB_STREAM, 28)?;
        let info = info
            .get(..28)
            .ok_or_else(|| Error::container("no identity"))?;
        let age = match self.prefix(DBI_STREAM, 12) {
            Ok(dbi) if dbi.len() == 12 => u32_at(&dbi, 8),
            _ => u32_at(info, 8),
        };
        DebugId::from_guid_age(&info[12..28], age)
            .map_err(|error| Error::container(format!("identity: {error}")))
    }

    /// Checks that type records refer to earlier records only and stay below sane limits, so that
    /// printing any of them ends.
    pub(crate) fn check_types(&self) -> Result<(), Error> {
        check_records(&self.stream(TPI_STREAM)?, type_references)?;
        check_records(&self.stream(IPI_STREAM)?, id_references)
    }

    /// Checks that the counts in type records fit the records, so that reading one cannot ask for
    /// more memory than the file is large.
    pub(crate) fn check_counts(&self) -> Result<(), Error> {
        for stream in [TPI_STREAM, IPI_STREAM] {
            for_records(&self.stream(stream)?, |index, kind, record| {
                if matches!(kind, LF_ARGLIST | LF_SUBSTR_LIST)
                    && (record.len() < 4 || u32_at(record, 0) as usize > (record.len() - 4) / 4)
                {
                    let detail = "its list is longer than the record";
                    return Err(Error::BadTypeRecord { index, detail });
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn numbers(&self, stream: usize) -> Option<&[u8]> {
        let &(size, position) = self.streams.get(stream)?;
        if size == ABSENT {
            return None;
        }
        let count = (size as usize).div_ceil(self.block_size);
        self.directory.get(position..position + count * 4)
    }

    fn stream(&self, stream: usize) -> Result<Vec<u8>, Error> {
        self.prefix(stream, usize::MAX)
    }

    /// The first `limit` bytes of a stream; empty when the stream is absent.
    fn prefix(&self, stream: usize, limit: usize) -> Result<Vec<u8>, Error> {
        let Some(numbers) = self.numbers(stream) else {
            return Ok(Vec::new());
        };
        let size = self.streams.get(stream).map_or(0, |s| s.0 as usize);
        gather(self.data, self.block_size, numbers, size.min(limit))
    }
}

pub(crate) fn foreign(header: &[u8]) -> String {
    if header.starts_with(b"Microsoft MSFZ Container") {
        "a compressed (MSFZ) container, which is not supported".to_owned()
    } else if header.starts_with(b"Microsoft C/C++ program database 2.00") {
        "a PDB of Visual C++ 6 or older, which is not supported".to_owned()
    } else if header.starts_with(b"BSJB") {
        "a portable PDB of .NET, which holds no native symbols".to_owned()
    } else {
        format!(
            "begins with {}",
            header[..header.len().min(16)].escape_ascii()
        )
    }
}

fn gather(data: &[u8], block_size: usize, numbers: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(size);
    for number in numbers.chunks_exact(4).map(|n| u32_at(n, 0) as usize) {
        let left = size - out.len();
        if left == 0 {
            break;
        }
        let start = number * block_size;
        let block = data
            .get(start..start.saturating_add(left.min(block_size)))
            .ok_or_else(|| Error::container(format!("block {number:#x} lies past the end")))?;
        out.extend_from_slice(block);
    }
    if out.len() < size {
        return Err(Error::container("a stream has too few blocks"));
    }
    Ok(out)
}

/// From here on indexes are those of records of another module.
const OF_OTHER_MODULES: u32 = 0x8000_0000;

const LF_MODIFIER: u16 = 0x1001;
const LF_POINTER: u16 = 0x1002;
const LF_PROCEDURE: u16 = 0x1008;
const LF_MFUNCTION: u16 = 0x1009;
const LF_ARGLIST: u16 = 0x1201;
const LF_BITFIELD: u16 = 0x1205;
const LF_ARRAY: u16 = 0x1503;
const LF_STRIDED_ARRAY: u16 = 0x1516;
const LF_ENUM: u16 = 0x1507;
const LF_FUNC_ID: u16 = 0x1601;
const LF_SUBSTR_LIST: u16 = 0x1604;

/// Calls `visit` with index, kind and content of every record of a type stream. Readers do not stop at
/// the last record that its header tells of, so those behind it are visited too, as far as there are any.
fn for_records(
    stream: &[u8],
    mut visit: impl FnMut(u32, u16, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    if stream.is_empty() {
        return Ok(());
    }
    let Some(header) = stream.get(..56) else {
        return Err(Error::container("the type stream's header is cut off"));
    };
    let (header_size, begin, end) = (
        u32_at(header, 4) as usize,
        u32_at(header, 8),
        u32_at(header, 12),
    );
    // No more records than this fit in.
    let most = u32::try_from(stream.len() / 4).unwrap_or(u32::MAX);
    let is_sane = begin >= 0x1000
        && end.checked_sub(begin).is_some_and(|count| count <= most)
        && begin.saturating_add(most) <= OF_OTHER_MODULES;
    if !is_sane {
        return Err(Error::container(format!(
            "type records {begin:#x} to {end:#x}"
        )));
    }
    let mut rest = stream.get(header_size..).unwrap_or_default();
    let mut index = begin;
    while rest.len() >= 4 {
        let length = usize::from(u16_at(rest, 0));
        let record = match rest.get(4..2 + length) {
            Some(record) => record,
            None if index >= end => break,
            None => {
                let detail = if length < 2 {
                    "it is empty"
                } else {
                    "it is cut off"
                };
                return Err(Error::BadTypeRecord { index, detail });
            }
        };
        visit(index, u16_at(rest, 2), record)?;
        rest = rest.get(2 + length..).unwrap_or_default();
        index += 1;
    }
    Ok(())
}

fn check_records(
    stream: &[u8],
    references: fn(u16, &[u8], &mut dyn FnMut(u32)),
) -> Result<(), Error> {
    let mut begin = None;
    let mut weights: Vec<(u32, u32)> = Vec::new();
    for_records(stream, |index, kind, record| {
        let begin = *begin.get_or_insert(index);
        let (mut depth, mut weight, mut broken) = (1_u32, 1_u32, None);
        references(kind, record, &mut |reference| {
            if reference < begin {
                return;
            }
            match weights.get((reference - begin) as usize) {
                Some(&(d, w)) => {
                    depth = depth.max(d + 1);
                    weight = weight.saturating_add(w);
                }
                None => broken = Some("it refers to itself or to a later record"),
            }
        });
        if depth > MAX_TYPE_DEPTH || weight > MAX_TYPE_WEIGHT {
            broken = Some("it nests too deep");
        }
        weights.push((depth, weight));
        broken.map_or(Ok(()), |detail| Err(Error::BadTypeRecord { index, detail }))
    })
}

/// The records that the text of a type involves.
fn type_references(kind: u16, record: &[u8], visit: &mut dyn FnMut(u32)) {
    let offsets: &[usize] = match kind {
        LF_MODIFIER | LF_POINTER | LF_BITFIELD | LF_ARRAY | LF_STRIDED_ARRAY => &[0],
        LF_PROCEDURE => &[0, 8],
        LF_MFUNCTION => &[0, 4, 8, 16],
        LF_ENUM => &[4],
        LF_ARGLIST => {
            let count = record.get(..4).map_or(0, |r| u32_at(r, 0) as usize);
            for reference in record
                .get(4..)
                .unwrap_or_default()
                .chunks_exact(4)
                .take(count)
            {
                visit(u32_at(reference, 0));
            }
            &[]
        }
        _ => &[],
    };
    for &offset in offsets {
        if let Some(reference) = record.get(offset..offset + 4) {
            visit(u32_at(reference, 0));
        }
    }
}

/// The identifier records that the text of an identifier involves.
fn id_references(kind: u16, record: &[u8], visit: &mut dyn FnMut(u32)) {
    if kind == LF_FUNC_ID
        && let Some(scope) = record.get(..4)
    {
        visit(u32_at(scope, 0));
    }
}

fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([data[at], data[at + 1]])
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}
