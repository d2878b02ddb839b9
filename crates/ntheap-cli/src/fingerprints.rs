//! Fingerprints as inputs: made of dumps, or read from files.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use ntheap::{dump::Dump, graph::Graph, heap::Heaps, losses::Losses, stats};
use ntheap_report::fingerprint::{Fingerprint, FingerprintError, Known, ModuleIdentity, Sum};
use ntheap_symbols::Symbols;
use sha2::{Digest, Sha256};

use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    options::Common,
    privacy,
    progress::Working,
};

/// Longest fingerprint that is read: those that are written are much shorter.
const LONGEST: u64 = 1 << 20;
/// Bytes at either end of a file that tell it from others.
const ENDS: u64 = 64 * 1024;

/// Whether the file is JSON, and so no dump.
pub(crate) fn is_one(path: &Path) -> bool {
    let is_file = path.metadata().is_ok_and(|of| of.is_file());
    let begin = || {
        let mut begin = Vec::new();
        File::open(path)?.take(64).read_to_end(&mut begin)?;
        Ok::<_, io::Error>(begin)
    };
    is_file && begin().is_ok_and(|begin| begin.trim_ascii_start().starts_with(b"{"))
}

/// Hands over the fingerprints in a file: one, in any layout, or one a line.
pub(crate) fn each(path: &Path, mut take: impl FnMut(Fingerprint)) -> Result<(), Failure> {
    let failed = |reason: String| Failure::Fingerprint {
        path: path.to_owned(),
        reason,
    };
    let unread = |error: io::Error| failed(error.to_string());
    let mut reader = BufReader::new(File::open(path).map_err(unread)?);
    let mut text = String::new();
    for number in 1u64.. {
        text.clear();
        let mut line = (&mut reader).take(LONGEST);
        if line.read_line(&mut text).map_err(unread)? == 0 {
            break;
        }
        let mut parsed = parse(&text);
        if number == 1 && parsed.as_ref().is_err_and(is_cut_off) {
            (&mut reader)
                .take(LONGEST)
                .read_to_string(&mut text)
                .map_err(unread)?;
            parsed = parse(&text);
        }
        match parsed {
            Ok(Some(fingerprint)) => take(fingerprint),
            Ok(None) => {}
            Err(error) if number == 1 => return Err(failed(error.to_string())),
            Err(error) => return Err(failed(format!("line {number} {error}"))),
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Option<Fingerprint>, FingerprintError> {
    match text.trim() {
        "" => Ok(None),
        text => Fingerprint::parse(text).map(Some),
    }
}

/// Whether the text ends where a document goes on.
fn is_cut_off(error: &FingerprintError) -> bool {
    matches!(error, FingerprintError::Form(error) if error.is_eof())
}

/// The sum of the fingerprints in a file.
pub(crate) fn read(path: &Path) -> Result<Fingerprint, Failure> {
    let mut sum = Sum::default();
    each(path, |one| sum.add(one))?;
    let sum = sum.finish();
    match sum.dumps {
        0 => Err(Failure::Fingerprint {
            path: path.to_owned(),
            reason: "holds no fingerprint".to_owned(),
        }),
        _ => Ok(sum),
    }
}

/// Bytes of heaps that a fingerprint goes through, about: they are counted by size and by stack, and their references
/// read where somebody wants to know who holds what.
pub(crate) fn bytes_to_read(heaps: &Heaps<'_, '_>, references: bool) -> u64 {
    let graph = references.then(|| Graph::bytes_to_read(heaps));
    let counted = heaps.bytes().saturating_mul(2);
    counted.saturating_add(graph.unwrap_or(0))
}

/// A fingerprint of a dump, whole, and what could not be read.
pub(crate) fn of(
    input: &Input,
    dump: &Dump<'_>,
    common: &Common,
    owners: bool,
) -> Result<(Fingerprint, Losses), Failure> {
    let process = input.process(dump, common)?;
    let chosen = heaps(input, &process, common)?;
    // What one heap's blocks are is held by the blocks of the others, which would be counted, too.
    let looks = owners && common.heap.is_none();
    let working = Working::walking("looking at blocks", bytes_to_read(&chosen, looks));
    let known = looks.then(|| {
        let graph = Graph::of(&chosen);
        Known::of(&graph, None)
    });
    let statistics = stats::collect(&chosen);
    let mut fingerprint = Fingerprint::with_statistics(&chosen, &statistics, known);
    drop(working);
    fingerprint.dump = id(input.path()).ok();
    let losses = Losses::of(&process).merged(stats::losses(&statistics));
    Ok((fingerprint, losses))
}

/// A fingerprint of whatever the file is; what could not be read is said.
pub(crate) fn open(
    path: &Path,
    common: &Common,
    owners: bool,
) -> Result<(Fingerprint, Status), Failure> {
    if is_one(path) {
        return Ok((read(path)?, Status::Complete));
    }
    let input = Input::open(path, common)?;
    let dump = input.parse_with_paths()?;
    let (fingerprint, losses) = of(&input, &dump, common, owners)?;
    Ok((fingerprint, input.report(&losses)))
}

/// What tells a file from others wherever it lies: 16 hexadecimal digits of the SHA-256 of its size and
/// of the 64 KiB at either end.
pub(crate) fn id(path: &Path) -> io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut digest = Sha256::new();
    digest.update(size.to_le_bytes());
    let mut bytes = Vec::new();
    (&mut file).take(ENDS).read_to_end(&mut bytes)?;
    let behind = size.saturating_sub(ENDS).max(ENDS);
    if size > behind {
        file.seek(SeekFrom::Start(behind))?;
        file.take(ENDS).read_to_end(&mut bytes)?;
    }
    digest.update(&bytes);
    let digits = digest.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(digits)
}

/// Gives the stacks of a fingerprint the names that symbols have.
pub(crate) fn name(fingerprint: &mut Fingerprint, symbols: &Symbols) -> Status {
    let of = |module: &ModuleIdentity, offset: u64| {
        let found = symbols.resolve_return(&module.as_module(), u32::try_from(offset).ok()?)?;
        let function = &found.function().function;
        let sign = if found.displacement < 0 { "-" } else { "+" };
        let distance = found.displacement.unsigned_abs();
        Some(format!(
            "{}!{function}{sign}{distance:#x}",
            module.short_name()
        ))
    };
    fingerprint.name(&of);
    let mut status = Status::Complete;
    for module in &fingerprint.modules {
        if let Some(ntheap_symbols::ModuleStatus::Failed { path, reason }) =
            symbols.known_status(&module.as_module())
        {
            say!("{}: {}: {reason}", module.name, privacy::path(&path));
            status = Status::Partial;
        }
    }
    status
}
