//! The symbol path, in the form that debugger users know.

use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// Where to look for PDBs: the parsed form of a string such as
/// `srv*C:\symbols*https://symbols.example.com;D:\build\out`.
///
/// Entries are separated by `;`:
///
/// - `DIR`: a folder, in which `DIR/NAME` and the store layouts `DIR/NAME/ID/NAME` and
///   `DIR/NA/NAME/ID/NAME` are looked at;
/// - `srv*DIR*…*URL` (or `symsrv*symsrv.dll*…`): stores searched from left to right, of which the
///   last may be a server; what it delivers is copied to the stores before it;
/// - `cache*DIR`: a store that also keeps what servers in later entries deliver.
///
/// Nothing is ever downloaded unless an entry names a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolPath {
    /// The entries in the order in which they are searched.
    pub entries: Vec<Entry>,
}

/// One entry of a [`SymbolPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A plain folder.
    Folder(PathBuf),
    /// A folder that keeps what later entries deliver. `None` is the default folder.
    Cache(Option<PathBuf>),
    /// A chain of stores, of which the last may be a server.
    Server {
        /// Local stores; `None` is the default folder.
        stores: Vec<Option<PathBuf>>,
        /// Address of the server without a slash at its end.
        url: Option<String>,
    },
}

impl SymbolPath {
    /// Parses a symbol path. An empty string gives an empty path.
    ///
    /// # Errors
    ///
    /// When an entry names a server that is not reached with `http` or `https`, a server that is
    /// not last, or nothing at all.
    ///
    /// ```
    /// use ntheap_symbols::{Entry, SymbolPath};
    ///
    /// let path = SymbolPath::parse("srv*/var/symbols*https://symbols.example.com/;/build/out")?;
    /// assert_eq!(path.entries.len(), 2);
    /// assert_eq!(path.entries[1], Entry::Folder("/build/out".into()));
    /// assert_eq!(path.servers().collect::<Vec<_>>(), ["https://symbols.example.com"]);
    /// # Ok::<(), ntheap_symbols::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for entry in text.split(';') {
            let entry = entry.trim().trim_matches('"').trim();
            if !entry.is_empty() {
                entries.push(Entry::parse(entry)?);
            }
        }
        Ok(Self { entries })
    }

    /// Adds the entries of `other` after those of `self`.
    pub fn append(&mut self, mut other: Self) {
        self.entries.append(&mut other.entries);
    }

    /// Adds a plain folder at the end.
    pub fn push_folder(&mut self, folder: impl Into<PathBuf>) {
        self.entries.push(Entry::Folder(folder.into()));
    }

    /// Addresses of the servers that may be asked.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Server { url, .. } => url.as_deref(),
            Entry::Folder(_) | Entry::Cache(_) => None,
        })
    }
}

impl FromStr for SymbolPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl Entry {
    fn parse(entry: &str) -> Result<Self, Error> {
        let mut parts = entry.split('*').map(str::trim);
        let first = parts.next().unwrap_or_default();
        let rest: Vec<&str> = parts.collect();
        match first.to_ascii_lowercase().as_str() {
            "cache" if entry.contains('*') => Ok(Self::Cache(store(rest.first().unwrap_or(&"")))),
            "srv" if entry.contains('*') => Self::parse_server(entry, &rest),
            // The element after `symsrv` names the DLL that speaks to the server.
            "symsrv" if entry.contains('*') => {
                Self::parse_server(entry, rest.get(1..).unwrap_or_default())
            }
            _ if is_url(first) => Self::parse_server(entry, &[first]),
            _ => Ok(Self::Folder(PathBuf::from(entry))),
        }
    }

    fn parse_server(entry: &str, elements: &[&str]) -> Result<Self, Error> {
        let mut stores = Vec::new();
        let mut url = None;
        for (i, element) in elements.iter().enumerate() {
            if is_url(element) {
                let lower = element.to_ascii_lowercase();
                if !lower.starts_with("http://") && !lower.starts_with("https://") {
                    return Err(Error::UnsupportedScheme {
                        entry: entry.to_owned(),
                    });
                }
                if i + 1 != elements.len() {
                    return Err(Error::ServerNotLast {
                        entry: entry.to_owned(),
                    });
                }
                url = Some(element.trim_end_matches('/').to_owned());
            } else {
                stores.push(store(element));
            }
        }
        if url.is_none() && stores.iter().all(Option::is_none) {
            return Err(Error::EmptyServerEntry {
                entry: entry.to_owned(),
            });
        }
        Ok(Self::Server { stores, url })
    }
}

fn store(element: &str) -> Option<PathBuf> {
    (!element.is_empty()).then(|| PathBuf::from(element))
}

fn is_url(element: &str) -> bool {
    element.split_once("://").is_some_and(|(scheme, _)| {
        scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Entry {
        let mut path = SymbolPath::parse(text).unwrap();
        assert_eq!(path.entries.len(), 1, "{text}");
        path.entries.remove(0)
    }

    #[test]
    fn server_entries() {
        let url = Some("https://s.example.com/download".to_owned());
        assert_eq!(
            one(r"srv*C:\sym*https://s.example.com/download"),
            Entry::Server {
                stores: vec![Some(r"C:\sym".into())],
                url: url.clone()
            }
        );
        assert_eq!(
            one("SRV*https://s.example.com/download/"),
            Entry::Server {
                stores: vec![],
                url: url.clone()
            }
        );
        assert_eq!(
            one("srv**https://s.example.com/download"),
            Entry::Server {
                stores: vec![None],
                url: url.clone()
            }
        );
        assert_eq!(
            one(r"symsrv*symsrv.dll*C:\a*\\host\b*https://s.example.com/download"),
            Entry::Server {
                stores: vec![Some(r"C:\a".into()), Some(r"\\host\b".into())],
                url: url.clone()
            }
        );
        assert_eq!(
            one("srv*/var/sym"),
            Entry::Server {
                stores: vec![Some("/var/sym".into())],
                url: None
            }
        );
        assert_eq!(
            one("https://s.example.com/download"),
            Entry::Server {
                stores: vec![],
                url
            }
        );
    }

    #[test]
    fn folders_and_caches() {
        let path = SymbolPath::parse(r#"cache*/c; ;C:\with space\x ;"D:\q";srvless;cache*"#);
        assert_eq!(
            path.unwrap().entries,
            [
                Entry::Cache(Some("/c".into())),
                Entry::Folder(r"C:\with space\x".into()),
                Entry::Folder(r"D:\q".into()),
                Entry::Folder("srvless".into()),
                Entry::Cache(None),
            ]
        );
        assert!(SymbolPath::parse("").unwrap().entries.is_empty());
    }

    #[test]
    fn broken_entries() {
        for text in ["srv*", "srv**", "symsrv*symsrv.dll", "/x;srv*"] {
            let error = SymbolPath::parse(text).unwrap_err();
            assert!(matches!(error, Error::EmptyServerEntry { .. }), "{text}");
        }
        let error = SymbolPath::parse("srv*ftp://s.example.com").unwrap_err();
        assert!(matches!(error, Error::UnsupportedScheme { .. }));
        let error = SymbolPath::parse("srv*http://s.example.com*/late").unwrap_err();
        assert!(matches!(error, Error::ServerNotLast { .. }));
    }
}
