//! What was read from PDBs, kept on disk between runs.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use debugid::DebugId;
use flate2::Crc;

use crate::convert::Converted;
use crate::table::{SeparatedCode, Symbol, SymbolKind};
use crate::{Error, partial};

const MAGIC: &[u8; 8] = b"NTHSYM\r\n";
/// To be changed with every change of the file's form or of how its content is made.
const VERSION: u32 = 1;

/// The cache file of a PDB in the folder `dir`.
pub(crate) fn file(dir: &Path, pdb: &Path, id: DebugId, size: u64) -> PathBuf {
    let name = pdb.file_name().unwrap_or_default().to_string_lossy();
    // Damaged PDBs can share their identity with sound ones.
    let mut hasher = DefaultHasher::new();
    (name.to_ascii_lowercase(), size).hash(&mut hasher);
    let hash = hasher.finish();
    folder(dir).join(format!("{}-{hash:016x}.sym", id.breakpad()))
}

/// The folder of the files of this version in the folder `dir`.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join(format!("v{VERSION}"))
}

pub(crate) fn read(file: &Path, id: DebugId) -> Result<Converted, Error> {
    let bytes = fs::read(file).map_err(|error| Error::io(file, error))?;
    decode(&bytes, id)
}

pub(crate) fn write(file: &Path, id: DebugId, converted: &Converted) -> Result<(), Error> {
    let root = file.parent().unwrap_or(Path::new("."));
    partial::write(root, file, &encode(converted, id))
}

fn encode(converted: &Converted, id: DebugId) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, &id.breakpad().to_string());
    body.push(u8::from(converted.has_private));
    put_number(&mut body, converted.symbols.len());
    for symbol in &converted.symbols {
        body.extend_from_slice(&symbol.rva.to_le_bytes());
        body.extend_from_slice(&symbol.size.to_le_bytes());
        body.push(match symbol.kind {
            SymbolKind::Procedure => 0,
            SymbolKind::Data => 1,
            SymbolKind::PublicFunction => 2,
            SymbolKind::PublicData => 3,
        });
        put_text(&mut body, &symbol.name);
        put_text(&mut body, symbol.decorated.as_deref().unwrap_or(""));
    }
    put_number(&mut body, converted.separated.len());
    for block in &converted.separated {
        for number in [block.rva, block.size, block.parent] {
            body.extend_from_slice(&number.to_le_bytes());
        }
    }
    match &converted.lines {
        Ok(lines) => {
            body.push(1);
            put_number(&mut body, lines.len());
            body.extend_from_slice(lines);
        }
        Err(reason) => {
            body.push(0);
            put_text(&mut body, reason);
        }
    }
    let mut out = Vec::with_capacity(body.len() + 24);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&checksum(&body).to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&body);
    out
}

fn decode(bytes: &[u8], id: DebugId) -> Result<Converted, Error> {
    let mut header = Input(bytes);
    if header.take(8)? != MAGIC || header.number()? != VERSION {
        return Err(Error::DamagedCache {
            detail: "another format",
        });
    }
    let expected = header.number()?;
    let (low, high) = (u64::from(header.number()?), u64::from(header.number()?));
    let mut body = header;
    if body.0.len() as u64 != low | high << 32 {
        return Err(Error::DamagedCache {
            detail: "another length than its header says",
        });
    }
    if checksum(body.0) != expected {
        return Err(Error::DamagedCache {
            detail: "the checksum is wrong",
        });
    }
    if body.text()? != id.breakpad().to_string() {
        return Err(Error::DamagedCache {
            detail: "of another PDB",
        });
    }
    let has_private = body.byte()? != 0;
    let count = body.number()? as usize;
    let mut symbols = Vec::with_capacity(count.min(body.0.len() / 17));
    for _ in 0..count {
        let (rva, size) = (body.number()?, body.number()?);
        let kind = match body.byte()? {
            0 => SymbolKind::Procedure,
            1 => SymbolKind::Data,
            2 => SymbolKind::PublicFunction,
            3 => SymbolKind::PublicData,
            _ => {
                return Err(Error::DamagedCache {
                    detail: "a symbol of unknown kind",
                });
            }
        };
        let name = body.text()?.to_owned();
        let decorated = Some(body.text()?).filter(|d| !d.is_empty()).map(Into::into);
        symbols.push(Symbol {
            rva,
            size,
            kind,
            name,
            decorated,
        });
    }
    let mut separated = Vec::new();
    for _ in 0..body.number()? {
        let (rva, size, parent) = (body.number()?, body.number()?, body.number()?);
        separated.push(SeparatedCode { rva, size, parent });
    }
    let lines = match body.byte()? {
        0 => Err(body.text()?.to_owned()),
        _ => {
            let length = body.number()? as usize;
            Ok(body.take(length)?.to_vec())
        }
    };
    Ok(Converted {
        symbols,
        separated,
        has_private,
        lines,
    })
}

fn put_number(out: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn checksum(body: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(body);
    crc.sum()
}

struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    fn take(&mut self, length: usize) -> Result<&'d [u8], Error> {
        let cut_off = Error::DamagedCache { detail: "cut off" };
        let (taken, rest) = self.0.split_at_checked(length).ok_or(cut_off)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, Error> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<&'d str, Error> {
        let length = self.number()? as usize;
        std::str::from_utf8(self.take(length)?).map_err(|_| Error::DamagedCache {
            detail: "a name is not text",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let id: DebugId = "294A2C25F7A0998B4C4C44205044422E1".parse().unwrap();
        let converted = Converted {
            symbols: vec![
                Symbol::public(0x1000, true, "?f@@YAXXZ"),
                Symbol::private(0x2000, 7, SymbolKind::Procedure, "g"),
            ],
            has_private: true,
            separated: vec![SeparatedCode {
                rva: 1,
                size: 2,
                parent: 3,
            }],
            lines: Ok(vec![1, 2, 3]),
        };
        let bytes = encode(&converted, id);
        assert_eq!(decode(&bytes, id).unwrap(), converted);
        let failed = Converted {
            lines: Err("why".to_owned()),
            ..converted
        };
        assert_eq!(decode(&encode(&failed, id), id).unwrap(), failed);

        let other = "00000000F7A0998B4C4C44205044422E1".parse().unwrap();
        assert!(decode(&bytes, other).is_err());
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length], id).is_err(), "cut to {length}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged, id).is_err(), "byte {at}");
        }
    }
}
