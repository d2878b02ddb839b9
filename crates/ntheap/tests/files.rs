//! Files that are no dumps to map, that change while they are mapped, or that unpack to too much.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ntheap::{
    Error,
    dump::{Dump, DumpFile, OpenOptions},
    heap::Heaps,
    process::Process,
    stats,
};
use tempfile::{NamedTempFile, TempDir};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/19041.662-small.snap1.dmp.zst")
}

/// A copy of a dump, unpacked.
fn unpacked() -> NamedTempFile {
    let packed = DumpFile::open(&testdata()).expect("opens");
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(packed.bytes()).expect("written");
    file
}

fn busy_bytes(file: &DumpFile) -> u64 {
    let dump = Dump::parse(file.bytes()).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    stats::collect(&Heaps::of(&process))
        .iter()
        .map(|heap| heap.busy_bytes)
        .sum()
}

#[test]
fn a_file_that_stays_as_it_is_passes() {
    let file = unpacked();
    let dump = DumpFile::open(file.path()).expect("opens");
    assert!(busy_bytes(&dump) > 0);
    dump.check().expect("nothing happened to it");
    let packed = DumpFile::open(&testdata()).expect("opens");
    packed.check().expect("nothing happened to it");
}

#[test]
#[cfg(unix)]
fn a_file_cut_off_while_it_is_read_is_an_error() {
    for kept in [0, 1, 0x1000, 0x12345] {
        let file = unpacked();
        let dump = DumpFile::open(file.path()).expect("opens");
        let size = dump.bytes().len() as u64;
        let parsed = Dump::parse(dump.bytes()).expect("a dump");
        file.as_file().set_len(kept).expect("shrinks");
        // Whatever comes of it, it comes to an end.
        if let Ok(process) = Process::of(&parsed) {
            let _ = stats::collect(&Heaps::of(&process));
        }
        let sum: u64 = dump.bytes().iter().copied().map(u64::from).sum();
        assert!(sum > 0 || kept < 2);
        match dump.check() {
            Err(Error::Lost { from, size: of }) => assert_eq!((from, of), (kept, size)),
            other => panic!("{kept}: {other:?}"),
        }
    }
}

/// Less than a page is missing: no read fails.
#[test]
#[cfg(unix)]
fn a_file_that_loses_its_last_byte_is_an_error() {
    let file = unpacked();
    let dump = DumpFile::open(file.path()).expect("opens");
    let size = dump.bytes().len() as u64;
    file.as_file().set_len(size - 1).expect("shrinks");
    assert!(busy_bytes(&dump) > 0);
    assert!(matches!(dump.check(), Err(Error::Lost { from, .. }) if from == size - 1));
}

#[test]
#[cfg(unix)]
fn a_file_written_to_while_it_is_read_is_an_error() {
    let mut file = unpacked();
    let dump = DumpFile::open(file.path()).expect("opens");
    file.write_all(b"more").expect("written");
    assert!(matches!(dump.check(), Err(Error::Changed { before, after }) if after == before + 4));
    let dump = DumpFile::open(file.path()).expect("opens");
    let later = SystemTime::now() + Duration::from_secs(10);
    file.as_file().set_modified(later).expect("touched");
    assert!(matches!(dump.check(), Err(Error::Changed { .. })));
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_refused_at_once() {
    use std::os::unix::net::UnixListener;
    let folder = TempDir::new().expect("a folder");
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).expect("a socket");
    for (path, what) in [
        (pipe.as_path(), "a pipe"),
        (&socket, "a socket"),
        (folder.path(), "a folder"),
        (Path::new("/dev/zero"), "a device"),
    ] {
        let error = DumpFile::open(path).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    }
}

/// A compressed file of this many zeros.
fn bomb(size: u64) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a temporary file");
    let mut packer = zstd::Encoder::new(file.reopen().expect("a handle"), 1).expect("zstd");
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(0), size),
        &mut packer,
    )
    .expect("packed");
    packer.finish().expect("packed");
    file
}

#[test]
fn a_file_that_unpacks_to_too_much_is_refused() {
    let file = bomb(64 << 20);
    assert!(fs::metadata(file.path()).expect("there").len() < 1 << 16);
    let open = |limit| {
        let options = OpenOptions {
            max_decompressed: Some(limit),
            ..OpenOptions::default()
        };
        DumpFile::open_with(file.path(), options)
    };
    let error = open((64 << 20) - 1).unwrap_err();
    assert!(matches!(error, Error::UnpacksToTooMuch { .. }), "{error}");
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("--max-unpacked"))
    );
    let whole = open(64 << 20).expect("as much as is allowed");
    assert_eq!(whole.bytes().len(), 64 << 20);
}

/// Zeros take no room on the disk, so that a dump of untouched memory is cheap to unpack.
#[test]
fn holes_are_kept_where_they_were() {
    let mut content = vec![0u8; 5 << 20];
    content[3] = 1;
    content[(2 << 20) + 17] = 2;
    for size in [4 << 20, (4 << 20) + 1, (5 << 20) - 1] {
        for packed in [
            zstd::encode_all(&content[..size], 1).expect("packed"),
            gzip(&content[..size]),
        ] {
            let mut file = NamedTempFile::new().expect("a temporary file");
            file.write_all(&packed).expect("written");
            let dump = DumpFile::open(file.path()).expect("opens");
            assert!(dump.bytes() == &content[..size], "{size}");
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("packed");
    packer.finish().expect("packed")
}

#[test]
fn a_file_that_is_gone_keeps_its_bytes() {
    let file = unpacked();
    let dump = DumpFile::open(file.path()).expect("opens");
    let held = File::open(file.path()).expect("opens");
    drop(file);
    assert!(busy_bytes(&dump) > 0);
    dump.check().expect("it is as it was");
    drop(held);
}
