//! Downloads PDBs from symbol servers.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use symbolic_common::ByteView;
use tempfile::NamedTempFile;
use ureq::Agent;

use crate::convert::identity;
use crate::store::{Found, Wanted, expand};
use crate::{Error, sandbox};

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
        let content = target.content()?;
        let wanted = wanted.clone();
        let expanded = sandbox::run(limits.file, move || expand(&content, &wanted))?;
        target.replace(&expanded)?;
        packed
    } else {
        let detail = "the server does not have it".to_owned();
        return Err(Error::Download { url: plain, detail });
    };
    let failed = |error: Error| Error::Download {
        url: url.clone(),
        detail: error.to_string(),
    };
    let found = identity(&target.content().map_err(failed)?).map_err(failed)?;
    if found != wanted.id {
        let found = found.breakpad().to_string();
        return Err(failed(Error::WrongIdentity { found, wanted: key }));
    }
    let (path, data) = target.keep(stores, wanted).map_err(failed)?;
    Ok(Found {
        path: path.unwrap_or_else(|| PathBuf::from(&url)),
        data,
        id: found,
    })
}

/// Removes the folders that were made for a file that did not come, as far as they are empty.
fn tidy(store: &Path, wanted: &Wanted) {
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
                && let Ok(file) = partial(folder)
            {
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

    fn content(&mut self) -> Result<ByteView<'static>, Error> {
        let path = self.path();
        ByteView::map_file_ref(self.file()).map_err(|error| Error::io(path, error))
    }

    fn replace(&mut self, content: &[u8]) -> Result<(), Error> {
        let path = self.path();
        let file = self.file();
        restart(file)
            .and_then(|()| file.write_all(content))
            .map_err(|error| Error::io(path, error))
    }

    /// Gives the file its name, and copies it to the other stores.
    fn keep(
        mut self,
        stores: &[PathBuf],
        wanted: &Wanted,
    ) -> Result<(Option<PathBuf>, ByteView<'static>), Error> {
        self.file()
            .sync_all()
            .map_err(|error| Error::io(self.path(), error))?;
        let data = self.content()?;
        let Self::Store(file, path) = self else {
            return Ok((None, data));
        };
        file.persist(&path)
            .map_err(|error| Error::io(&path, error.error))?;
        for other in stores.iter().map(|store| in_store(store, wanted)) {
            if other != path {
                // A store that cannot be written is passed over: the file itself is here.
                let _ = write_atomically(&other, &data);
            }
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

fn partial(folder: &Path) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(folder)
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
    if let Some(size) = announced.filter(|&size| size > max_size) {
        return Err(failed(
            Error::TooLarge {
                size,
                limit: max_size,
            }
            .to_string(),
        ));
    }
    restart(target).map_err(|error| failed(error.to_string()))?;
    let mut body = response
        .body_mut()
        .as_reader()
        .take(max_size.saturating_add(1));
    let size = std::io::copy(&mut body, target).map_err(|error| failed(error.to_string()))?;
    if size > max_size {
        return Err(failed(
            Error::TooLarge {
                size,
                limit: max_size,
            }
            .to_string(),
        ));
    }
    if let Some(announced) = announced.filter(|&announced| announced != size) {
        return Err(failed(format!("{size} bytes came instead of {announced}")));
    }
    Ok(true)
}

/// Writes a file under another name in the same folder and renames it when it is complete.
pub(crate) fn write_atomically(file: &Path, data: &[u8]) -> Result<(), Error> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let io = |error| Error::io(file, error);
    fs::create_dir_all(folder).map_err(io)?;
    let mut temporary = partial(folder).map_err(io)?;
    temporary.write_all(data).map_err(io)?;
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(file).map_err(|error| io(error.error))?;
    Ok(())
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
