//! Downloads PDBs from symbol servers.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use symbolic_common::ByteView;
use ureq::Agent;

use crate::Error;
use crate::convert::identity;
use crate::store::{Found, Wanted, expand};

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
/// where it is loaded from; without any it is kept in memory). Only a complete file of the right
/// identity gets into a store.
pub(crate) fn download(
    server: &str,
    stores: &[PathBuf],
    wanted: &Wanted,
    limits: Limits,
) -> Result<Found, Error> {
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
    let name = &wanted.name;
    let folder = format!("{server}/{}/{key}", escaped(name));
    let plain = format!("{folder}/{}", escaped(name));
    let (url, data) = match fetch(&agent, &plain, wanted.max_size)? {
        Some(data) => (plain, data),
        None => {
            let packed = format!("{folder}/{}", escaped(&wanted.compressed_name()));
            match fetch(&agent, &packed, wanted.max_size)? {
                Some(data) => {
                    let wanted = wanted.clone();
                    let data = crate::sandbox::run(limits.file, move || expand(&data, &wanted))?;
                    (packed, data)
                }
                None => {
                    let detail = "the server does not have it".to_owned();
                    return Err(Error::Download { url: plain, detail });
                }
            }
        }
    };
    let found = identity(&data).map_err(|error| Error::Download {
        url: url.clone(),
        detail: error.to_string(),
    })?;
    if found != wanted.id {
        let wrong = Error::WrongIdentity {
            found: found.breakpad().to_string(),
            wanted: key.clone(),
        };
        return Err(Error::Download {
            url,
            detail: wrong.to_string(),
        });
    }
    let mut path = None;
    for store in stores {
        let file = store.join(name).join(&key).join(name);
        // A store that cannot be written is passed over: the file itself is here.
        if write_atomically(&file, &data).is_ok() {
            path.get_or_insert(file);
        }
    }
    let path = path.unwrap_or_else(|| PathBuf::from(&url));
    Ok(Found {
        path,
        data: ByteView::from_vec(data),
        id: found,
    })
}

/// The body of the answer, or `None` when the server does not have the file.
fn fetch(agent: &Agent, url: &str, max_size: u64) -> Result<Option<Vec<u8>>, Error> {
    let failed = |detail: String| Error::Download {
        url: url.to_owned(),
        detail,
    };
    let mut response = agent
        .get(url)
        .call()
        .map_err(|error| failed(error.to_string()))?;
    let status = response.status().as_u16();
    match status {
        200 => {}
        404 | 410 => return Ok(None),
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
    let mut data = Vec::new();
    response
        .body_mut()
        .as_reader()
        .take(max_size.saturating_add(1))
        .read_to_end(&mut data)
        .map_err(|error| failed(format!("after {} bytes: {error}", data.len())))?;
    let size = data.len() as u64;
    if size > max_size {
        return Err(failed(
            Error::TooLarge {
                size,
                limit: max_size,
            }
            .to_string(),
        ));
    }
    if announced.is_some_and(|announced| announced != size) {
        return Err(failed(format!(
            "{size} bytes came instead of {}",
            announced.unwrap_or(0)
        )));
    }
    Ok(Some(data))
}

/// Writes a file under another name in the same folder and renames it when it is complete.
pub(crate) fn write_atomically(file: &Path, data: &[u8]) -> Result<(), Error> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let io = |error| Error::io(file, error);
    fs::create_dir_all(folder).map_err(io)?;
    let mut temporary = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(folder)
        .map_err(io)?;
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
