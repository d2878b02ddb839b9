//! Downloads PDBs from symbol servers.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;
use ureq::Agent;

use crate::container::{MAGIC as PDB_MAGIC, foreign};
use crate::content::Content;
use crate::convert::identity;
use crate::store::{Found, Wanted, expand};
use crate::{Error, partial, sandbox};

/// How long a download may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    /// For which the server may send nothing.
    pub(crate) silence: Duration,
    /// For a whole file.
    pub(crate) file: Duration,
}

/// Asks the server for the PDB, as it is and compressed, and keeps it in `stores` (the first is
/// where it is loaded from; without any it is gone with the program). Only a complete file of the right
/// identity gets into a store.
pub(crate) fn download(
    server: &str,
    stores: &[PathBuf],
    wanted: &Wanted,
    limits: Limits,
) -> Result<Found, Error> {
    let result = ask(server, stores, wanted, limits);
    if result.is_err() {
        for store in stores {
            tidy(store, wanted);
        }
    }
    result
}

fn ask(server: &str, stores: &[PathBuf], wanted: &Wanted, limits: Limits) -> Result<Found, Error> {
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(limits.connect))
        .timeout_recv_response(Some(limits.silence))
        .timeout_per_read(Some(limits.silence))
        .timeout_global(Some(limits.file))
        .user_agent("Microsoft-Symbol-Server/10.0.0.0")
        .http_status_as_error(false)
        .build()
        .into();
    let key = wanted.key();
    let folder = format!("{server}/{}/{key}", escaped(&wanted.name));
    let mut target = Target::new(stores, wanted)?;
    let plain = format!("{folder}/{}", escaped(&wanted.name));
    let packed = format!("{folder}/{}", escaped(&wanted.compressed_name()));
    let url = if fetch(&agent, &plain, target.file(), wanted.max_size)? {
        plain
    } else if fetch(&agent, &packed, target.file(), wanted.max_size)? {
        target
            .expand(wanted, limits.file)
            .map_err(|error| garbage(&packed, error))?;
        packed
    } else {
        let detail = "the server does not have it".to_owned();
        return Err(Error::Download { url: plain, detail });
    };
    let failed = |error: Error| Error::Download {
        url: url.clone(),
        detail: error.to_string(),
    };
    let content = target.content().map_err(failed)?;
    let found = identity(&content).map_err(|error| garbage(&url, error))?;
    if found != wanted.id {
        let found = found.breakpad().to_string();
        let error = Error::WrongIdentity { found, wanted: key };
        return Err(garbage(&url, error));
    }
    let (path, data) = target.keep(stores, wanted).map_err(failed)?;
    Ok(Found {
        path: path.unwrap_or_else(|| PathBuf::from(&url)),
        data,
        id: found,
    })
}

fn garbage(url: &str, error: Error) -> Error {
    Error::BadDownload {
        url: url.to_owned(),
        detail: error.to_string(),
    }
}

/// Removes the folders that were made for a file that did not come, as far as they are empty.
fn tidy(store: &Path, wanted: &Wanted) {
    partial::tidy(store);
    let file = in_store(store, wanted);
    for folder in file.ancestors().skip(1).take(2) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// The file that a download goes to until it is known to be the right one.
enum Target {
    /// In the store that will keep it.
    Store(NamedTempFile, PathBuf),
    /// Where it goes away with the program, because no store can be written.
    Unnamed(File),
}

impl Target {
    fn new(stores: &[PathBuf], wanted: &Wanted) -> Result<Self, Error> {
        for store in stores {
            let path = in_store(store, wanted);
            let folder = path.parent().unwrap_or(store);
            if let Ok(()) = fs::create_dir_all(folder)
                && let Ok(file) = partial::create(store)
            {
                partial::sweep_former(folder);
                return Ok(Self::Store(file, path));
            }
        }
        let file = tempfile::tempfile().map_err(|e| Error::io(std::env::temp_dir(), e))?;
        Ok(Self::Unnamed(file))
    }

    fn file(&mut self) -> &mut File {
        match self {
            Self::Store(file, _) => file.as_file_mut(),
            Self::Unnamed(file) => file,
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Store(file, _) => file.path().to_owned(),
            Self::Unnamed(_) => std::env::temp_dir(),
        }
    }

    fn content(&mut self) -> Result<Content, Error> {
        let path = self.path();
        Content::of(self.file()).map_err(|error| Error::io(path, error))
    }

    /// Replaces a cabinet by what it holds.
    fn expand(&mut self, wanted: &Wanted, limit: Duration) -> Result<(), Error> {
        let path = self.path();
        let io = |error| Error::io(&path, error);
        let mut packed = tempfile::tempfile().map_err(io)?;
        let file = self.file();
        file.rewind().map_err(io)?;
        std::io::copy(file, &mut packed).map_err(io)?;
        restart(file).map_err(io)?;
        let (packed, wanted) = (Content::of(&packed).map_err(io)?, wanted.clone());
        let mut target = file.try_clone().map_err(io)?;
        sandbox::run(limit, move || expand(&packed, &wanted, &mut target))
    }

    /// Gives the file its name, and copies it to the other stores.
    fn keep(
        mut self,
        stores: &[PathBuf],
        wanted: &Wanted,
    ) -> Result<(Option<PathBuf>, Content), Error> {
        self.file()
            .sync_all()
            .map_err(|error| Error::io(self.path(), error))?;
        let data = self.content()?;
        let Self::Store(file, path) = self else {
            return Ok((None, data));
        };
        file.persist(&path)
            .map_err(|error| Error::io(&path, error.error))?;
        for store in stores {
            let other = in_store(store, wanted);
            if other != path {
                // A store that cannot be written is passed over: the file itself is here.
                let _ = partial::write(store, &other, &data);
            }
            partial::tidy(store);
        }
        Ok((Some(path), data))
    }
}

fn in_store(store: &Path, wanted: &Wanted) -> PathBuf {
    store
        .join(&wanted.name)
        .join(wanted.key())
        .join(&wanted.name)
}

fn restart(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0)).map(|_| ())
}

/// Writes the body of the answer to `target`. False when the server does not have the file.
fn fetch(agent: &Agent, url: &str, target: &mut File, max_size: u64) -> Result<bool, Error> {
    let failed = |detail: String| Error::Download {
        url: url.to_owned(),
        detail,
    };
    let mut response = agent
        .get(url)
        .call()
        .map_err(|error| failed(error.to_string()))?;
    match response.status().as_u16() {
        200 => {}
        404 | 410 => return Ok(false),
        _ => return Err(failed(format!("the server answered {}", response.status()))),
    }
    let announced = response.body().content_length();
    restart(target).map_err(|error| failed(error.to_string()))?;
    let mut body = response.body_mut().as_reader();
    let mut head = Vec::new();
    let begun = body.by_ref().take(HEAD).read_to_end(&mut head);
    begun.map_err(|error| failed(error.to_string()))?;
    let own = size_in_head(&head).map_err(|error| garbage(url, error))?;
    // A server that announces nothing may send as much as the file itself says that it has.
    let size = announced.unwrap_or(own);
    let too_large = |size| {
        let limit = max_size;
        garbage(url, Error::TooLarge { size, limit })
    };
    if size > max_size || own > max_size {
        return Err(too_large(size.max(own)));
    }
    let mut all = head.as_slice().chain(body).take(size.saturating_add(1));
    let came = std::io::copy(&mut all, target).map_err(|error| failed(error.to_string()))?;
    match announced {
        Some(announced) if came != announced => {
            Err(failed(format!("{came} bytes came instead of {announced}")))
        }
        None if came > own => {
            let detail = format!("more bytes come than the {own} that the file says it has");
            Err(garbage(url, Error::container(detail)))
        }
        _ => Ok(true),
    }
}

/// As much of a file as tells its size.
const HEAD: u64 = 64;

/// The size that a PDB or a cabinet has by its own header.
fn size_in_head(head: &[u8]) -> Result<u64, Error> {
    /// What may lie behind a cabinet: a signature.
    const SIGNATURE: u64 = 1 << 16;
    let number = |at: usize| {
        let bytes = head.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
    };
    if head.starts_with(b"MSCF") {
        return Ok(number(8) + SIGNATURE);
    }
    if head.starts_with(PDB_MAGIC) {
        return Ok(number(32) * number(40));
    }
    Err(Error::NotAPdb {
        detail: foreign(head),
    })
}

/// Escapes what may not stand in a path of an address.
fn escaped(name: &str) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
