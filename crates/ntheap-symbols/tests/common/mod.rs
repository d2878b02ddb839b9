//! Modules and files that several tests share.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ntheap::dump::{Module, PdbReference};
use ntheap_symbols::{SymbolPath, Symbols, SymbolsBuilder};

pub(crate) const ORDERSVC: &str = "9DBD9908BC89219A4C4C44205044422E1";
pub(crate) const ORDERSVC_X86: &str = "294A2C25F7A0998B4C4C44205044422E1";
pub(crate) const STRKIT: &str = "D36372DA9B9FF0BD4C4C44205044422E1";

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/symbols")
}

pub(crate) fn module(pdb: &str, id: &str) -> Module {
    Module {
        base: 0x7ff6_228b_0000,
        size: 0x78000,
        path: format!(r"C:\Nowhere\{}", pdb.replace(".pdb", ".exe")),
        timestamp: 0,
        checksum: 0,
        version: None,
        pdb: Some(PdbReference {
            file: format!(r"C:\nowhere\build\{pdb}"),
            id: id.parse().unwrap(),
        }),
    }
}

pub(crate) fn ordersvc() -> Module {
    module("ordersvc.pdb", ORDERSVC)
}

pub(crate) fn folder(folder: &Path) -> SymbolsBuilder {
    let mut path = SymbolPath::default();
    path.push_folder(folder);
    Symbols::builder().path(path)
}

pub(crate) fn pdb_file(name: &str, id: &str) -> PathBuf {
    testdata().join(name).join(id).join(name)
}

pub(crate) fn pdb_bytes(name: &str, id: &str) -> Vec<u8> {
    fs::read(pdb_file(name, id)).unwrap()
}

/// A cabinet that holds one compressed file.
pub(crate) fn cabinet(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = cab::CabinetBuilder::new();
    builder
        .add_folder(cab::CompressionType::MsZip)
        .add_file(name);
    let mut writer = builder.build(std::io::Cursor::new(Vec::new())).unwrap();
    while let Some(mut file) = writer.next_file().unwrap() {
        file.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(crate) fn put(folder: &Path, parts: &[&str], content: &[u8]) {
    let file = parts
        .iter()
        .fold(folder.to_owned(), |path, part| path.join(part));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}
