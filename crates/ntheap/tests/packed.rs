//! A dump in any of the packings that people send is the dump.

use std::{
    fs::File,
    io::{Cursor, Write},
    path::Path,
};

use ntheap::{Error, dump::DumpFile};
use ntheap_synth::{oracle::testdata, small_dump};

/// Opens a file with these contents.
fn open(name: &str, contents: &[u8]) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, contents).expect("written");
    Ok(DumpFile::open(&path)?.bytes().to_vec())
}

fn zip(members: &[(&str, &[u8])], method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, contents) in members {
        archive.start_file(*name, options).expect("started");
        archive.write_all(contents).expect("written");
    }
    archive.finish().expect("finished").into_inner()
}

fn seven_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = sevenz_rust2::ArchiveWriter::new(Cursor::new(Vec::new())).expect("a writer");
    for (name, contents) in members {
        let entry = sevenz_rust2::ArchiveEntry::new_file(name);
        archive
            .push_archive_entry(entry, Some(*contents))
            .expect("pushed");
    }
    archive.finish().expect("finished").into_inner()
}

fn cabinet(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = cab::CabinetBuilder::new();
    let folder = builder.add_folder(cab::CompressionType::MsZip);
    for (name, _) in members {
        folder.add_file(*name);
    }
    let mut writer = builder.build(Cursor::new(Vec::new())).expect("a writer");
    for (_, contents) in members {
        let mut file = writer.next_file().expect("a file").expect("one more");
        file.write_all(contents).expect("written");
    }
    writer.finish().expect("finished").into_inner()
}

#[test]
fn every_packing_holds_the_dump() {
    let (dump, _) = small_dump();
    let readme: &[u8] = b"two files";
    let members = [("read me.txt", readme), ("app/App.DMP", &dump)];
    for method in [
        zip::CompressionMethod::Stored,
        zip::CompressionMethod::Deflated,
        zip::CompressionMethod::Zstd,
    ] {
        assert!(open("a.zip", &zip(&members, method)).expect("opens") == dump);
    }
    assert!(open("a.7z", &seven_zip(&members)).expect("opens") == dump);
    assert!(open("a.cab", &cabinet(&members)).expect("opens") == dump);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1))
        .expect("a writer");
    xz.write_all(&dump).expect("written");
    assert!(open("a.xz", &xz.finish().expect("finished")).expect("opens") == dump);
}

#[test]
fn archives_without_one_dump_say_so() {
    let deflated = zip::CompressionMethod::Deflated;
    let two = zip(&[("a.dmp", b"MDMP"), ("b.dmp", b"MDMP")], deflated);
    let error = open("two.zip", &two).expect_err("which one").to_string();
    assert!(error.contains("2 dumps (a.dmp, b.dmp)"), "{error}");
    let none = zip(&[("a.txt", b"a"), ("b.txt", b"b")], deflated);
    let error = open("none.zip", &none).expect_err("none").to_string();
    assert!(error.contains("no member"), "{error}");
}

#[test]
fn archives_cut_off_or_damaged_are_errors_or_read_in_part() {
    let path = testdata().join("19041.662-small.snap1.dmp.zst");
    let mut whole = Vec::new();
    zstd::stream::copy_decode(File::open(Path::new(&path)).expect("opens"), &mut whole)
        .expect("unpacks");
    for archive in [
        zip(&[("a.dmp", &whole)], zip::CompressionMethod::Deflated),
        seven_zip(&[("a.dmp", &whole)]),
        cabinet(&[("a.dmp", &whole)]),
    ] {
        for part in 1..8 {
            let mut archive = archive.clone();
            archive.truncate(archive.len() * part / 8);
            let _ = open("cut", &archive);
        }
        for at in (0..archive.len()).step_by(archive.len() / 50 + 1) {
            let mut archive = archive.clone();
            archive[at] ^= 0x55;
            let _ = open("flipped", &archive);
        }
    }
}
