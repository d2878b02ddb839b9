//! Downloads, from a server of the test's own on the loopback interface.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use ntheap_symbols::{ModuleStatus, SymbolPath, Symbols, SymbolsBuilder};

/// What the server does with a request for a path.
#[derive(Clone)]
enum Answer {
    File(Vec<u8>),
    Status(&'static str),
    /// Announces the whole and sends a part.
    CutOff(Vec<u8>, usize),
    /// Sends a part and then nothing.
    Stalls(Vec<u8>, usize),
    /// Does not even answer.
    Silent,
    /// Sends a byte now and then, for ever.
    Drips,
    /// Sends something and then zeros for ever, and does not say how much it will be.
    Endless(Vec<u8>),
}

struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

fn serve(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/download", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen, answer) = (stream.unwrap(), Arc::clone(&seen), Arc::clone(&answer));
            std::thread::spawn(move || {
                // The client may hang up at any time.
                let _ = handle(&stream, &seen, &*answer);
            });
        }
    });
    Server { url, requests }
}

fn handle(
    mut stream: &TcpStream,
    seen: &Mutex<Vec<String>>,
    answer: &dyn Fn(&str) -> Answer,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap()?;
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let path = request.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(path.clone());
    let head = |stream: &mut &TcpStream, status: &str, length: usize| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    };
    match answer(&path) {
        Answer::File(content) => {
            head(&mut stream, "200 OK", content.len())?;
            stream.write_all(&content)
        }
        Answer::Status(status) => head(&mut stream, status, 0),
        Answer::CutOff(content, sent) => {
            head(&mut stream, "200 OK", content.len())?;
            stream.write_all(&content[..sent])
        }
        Answer::Stalls(content, sent) => {
            head(&mut stream, "200 OK", content.len())?;
            stream.write_all(&content[..sent])?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(())
        }
        Answer::Silent => {
            std::thread::sleep(Duration::from_secs(20));
            Ok(())
        }
        Answer::Endless(content) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&content)?;
            loop {
                stream.write_all(&[0; 1 << 16])?;
            }
        }
        Answer::Drips => {
            head(&mut stream, "200 OK", 1 << 20)?;
            loop {
                stream.write_all(b"x")?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn symbols(path: &str) -> SymbolsBuilder {
    let second = Duration::from_secs(1);
    Symbols::builder()
        .path(SymbolPath::parse(path).unwrap())
        .download_limits(second, second, 3 * second)
}

fn tried(symbols: &Symbols) -> String {
    match symbols.status(&ordersvc()) {
        ModuleStatus::NotFound { tried } => tried.join("\n"),
        ModuleStatus::Failed { path, reason } => format!("{}: {reason}", path.display()),
        status => panic!("{status:?}"),
    }
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path)
            } else {
                vec![path.to_str().unwrap().to_owned()]
            }
        })
        .collect()
}

fn plain_path() -> String {
    format!("/download/ordersvc.pdb/{ORDERSVC}/ordersvc.pdb")
}

fn serve_pdb() -> Server {
    serve(|path| {
        if path == plain_path() {
            Answer::File(pdb_bytes("ordersvc.pdb", ORDERSVC))
        } else {
            Answer::Status("404 Not Found")
        }
    })
}

#[test]
fn downloads_once_and_keeps_the_file() {
    let server = serve_pdb();
    let store = tempfile::tempdir().unwrap();
    let path = format!("srv*{}*{}", store.path().display(), server.url);
    for _ in 0..2 {
        let symbols = symbols(&path).build();
        assert!(symbols.resolve(&ordersvc(), 0x1449).is_some());
        let ModuleStatus::Loaded { path, .. } = symbols.status(&ordersvc()) else {
            panic!()
        };
        assert!(path.starts_with(store.path()));
    }
    assert_eq!(*server.requests.lock().unwrap(), [plain_path()]);
    let kept = files(store.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        fs::read(&kept[0]).unwrap(),
        pdb_bytes("ordersvc.pdb", ORDERSVC)
    );
}

#[test]
fn places_that_downloads_are_kept_in() {
    let server = serve_pdb();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (first.path().display(), second.path().display());
    let file = pdb_file("ordersvc.pdb", ORDERSVC);
    for (path, kept) in [
        (format!("srv*{a}*{b}*{}", server.url), (1, 1)),
        (format!("cache*{a};srv*{}", server.url), (1, 0)),
        (format!("cache*{b};{}", server.url), (0, 1)),
        // In memory only.
        (format!("srv*{}", server.url), (0, 0)),
        // A folder that cannot be made does not stand in the way.
        (
            format!("srv*{}*{}", file.join("x").display(), server.url),
            (0, 0),
        ),
    ] {
        let symbols = symbols(&path).build();
        assert!(symbols.resolve(&ordersvc(), 0x1449).is_some(), "{path}");
        assert_eq!(
            (files(first.path()).len(), files(second.path()).len()),
            kept,
            "{path}"
        );
        let _ = fs::remove_dir_all(first.path().join("ordersvc.pdb"));
        let _ = fs::remove_dir_all(second.path().join("ordersvc.pdb"));
    }
    let symbols = symbols(&format!("srv**{}", server.url))
        .cache_dir(first.path())
        .build();
    assert!(symbols.resolve(&ordersvc(), 0x1449).is_some());
    assert_eq!(
        files(&first.path().join("store")).len(),
        1,
        "the default folder"
    );
}

#[test]
fn compressed_files() {
    let server = serve(|path| {
        if path.ends_with("/ordersvc.pd_") {
            Answer::File(cabinet(
                "ordersvc.pdb",
                &pdb_bytes("ordersvc.pdb", ORDERSVC),
            ))
        } else {
            Answer::Status("404 Not Found")
        }
    });
    let store = tempfile::tempdir().unwrap();
    let symbols = symbols(&format!("srv*{}*{}", store.path().display(), server.url)).build();
    assert!(symbols.resolve(&ordersvc(), 0x1449).is_some());
    assert!(
        files(store.path())[0].ends_with("ordersvc.pdb"),
        "kept expanded"
    );
}

#[test]
fn servers_without_the_file() {
    for status in [
        "404 Not Found",
        "500 Internal Server Error",
        "403 Forbidden",
    ] {
        let bad = serve(move |_| Answer::Status(status));
        let text = tried(&symbols(&bad.url).build());
        assert!(text.contains(&bad.url), "{text}");
        // The next server is asked.
        let good = serve_pdb();
        let symbols = symbols(&format!("{};{}", bad.url, good.url)).build();
        assert!(symbols.resolve(&ordersvc(), 0x1449).is_some(), "{status}");
        // A module that is not there is asked for once.
        let asked = good.requests.lock().unwrap().len();
        assert!(symbols.resolve(&ordersvc(), 0x1450).is_some());
        assert_eq!(good.requests.lock().unwrap().len(), asked);
    }
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    tried(&symbols(&format!("http://{closed}")).build());
}

#[test]
fn failures_are_remembered() {
    let server = serve(|_| Answer::Status("404 Not Found"));
    let symbols = symbols(&server.url).build();
    for rva in 0..100 {
        assert!(symbols.resolve(&ordersvc(), rva).is_none());
    }
    assert_eq!(
        server.requests.lock().unwrap().len(),
        2,
        "plain and compressed, once"
    );
}

#[test]
fn broken_answers_leave_nothing_behind() {
    let whole = pdb_bytes("ordersvc.pdb", ORDERSVC);
    let other = pdb_bytes("ordersvc.pdb", ORDERSVC_X86);
    let packed = cabinet("ordersvc.pdb", &whole);
    let answers = [
        Answer::CutOff(whole.clone(), 50_000),
        Answer::CutOff(whole.clone(), 0),
        Answer::Stalls(whole.clone(), 50_000),
        Answer::Silent,
        Answer::Drips,
        Answer::File(other),
        Answer::File(b"<html>please log in</html>".to_vec()),
        Answer::File(Vec::new()),
        Answer::File(whole[..whole.len() - 5000].to_vec()),
        Answer::CutOff(packed, 3000),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let compressed = number == 9;
        let server = serve(move |path| {
            if path.ends_with('_') == compressed {
                answer.clone()
            } else {
                Answer::Status("404 Not Found")
            }
        });
        let store = tempfile::tempdir().unwrap();
        let path = format!("srv*{}*{}", store.path().display(), server.url);
        let start = Instant::now();
        let text = tried(&symbols(&path).build());
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{number}: {:?}",
            start.elapsed()
        );
        assert!(text.contains(&server.url), "{number}: {text}");
        let left = fs::read_dir(store.path()).unwrap().count();
        assert_eq!(left, 0, "{number}");
        // The same store serves a later, sound download.
        let good = serve_pdb();
        let symbols = symbols(&format!("srv*{}*{}", store.path().display(), good.url)).build();
        assert!(symbols.resolve(&ordersvc(), 0x1449).is_some(), "{number}");
    }
}

#[test]
fn a_store_with_a_damaged_file_is_mended() {
    let server = serve_pdb();
    let store = tempfile::tempdir().unwrap();
    let whole = pdb_bytes("ordersvc.pdb", ORDERSVC);
    put(
        store.path(),
        &["ordersvc.pdb", ORDERSVC, "ordersvc.pdb"],
        &whole[..60_000],
    );
    let symbols = symbols(&format!("srv*{}*{}", store.path().display(), server.url)).build();
    assert!(symbols.resolve(&ordersvc(), 0x1449).is_some());
    assert_eq!(fs::read(&files(store.path())[0]).unwrap(), whole);
}

#[test]
fn no_server_is_asked_unless_the_path_names_it() {
    let server = serve_pdb();
    let mut module = ordersvc();
    // Neither by what the dump says.
    module.path = format!("{}/ordersvc.exe", server.url);
    module.pdb.as_mut().unwrap().file = format!("{}/ordersvc.pdb", server.url);
    let folder = tempfile::tempdir().unwrap();
    let symbols = symbols(&format!("srv*{0};cache*{0};{0}", folder.path().display())).build();
    assert!(matches!(
        symbols.status(&module),
        ModuleStatus::NotFound { .. }
    ));
    assert!(server.requests.lock().unwrap().is_empty());
}

/// Run by the next test in a process of its own, whose environment names a proxy.
#[test]
#[ignore = "needs the environment that the next test sets up"]
fn child_behind_a_proxy() {
    println!(
        "{}",
        tried(&symbols("http://symbols.invalid/download").build())
    );
}

#[test]
fn the_environment_names_the_proxy() {
    let proxy = serve(|_| Answer::Status("502 Bad Gateway"));
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_behind_a_proxy",
            "--ignored",
            "--nocapture",
        ])
        .env("ALL_PROXY", proxy.url.replace("/download", ""))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let requests = proxy.requests.lock().unwrap();
    assert!(
        requests.iter().any(|r| r.contains("symbols.invalid")),
        "{requests:?}"
    );
}

/// Whatever a server sends, no more gets on the disk than a PDB of its size has.
#[test]
fn endless_answers_end() {
    let whole = pdb_bytes("ordersvc.pdb", ORDERSVC);
    let mut huge = whole[..4096].to_vec();
    huge[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    let packed = cabinet("ordersvc.pdb", &whole);
    let cases = [
        (Vec::new(), false, "not a PDB"),
        (whole.clone(), false, "more bytes come"),
        (huge, false, "more than the limit"),
        (packed, true, "more bytes come"),
    ];
    for (content, compressed, said) in cases {
        let server = serve(move |path| {
            if path.ends_with('_') == compressed {
                Answer::Endless(content.clone())
            } else {
                Answer::Status("404 Not Found")
            }
        });
        let store = tempfile::tempdir().unwrap();
        let path = format!("srv*{}*{}", store.path().display(), server.url);
        let start = Instant::now();
        // What comes counts, not how long it takes: the limit of time is far away.
        let minute = Duration::from_secs(60);
        let symbols = symbols(&path).download_limits(minute, minute, minute);
        let status = symbols.max_pdb_size(1 << 30).build().status(&ordersvc());
        let ModuleStatus::Failed { reason, path } = status else {
            panic!("{said}: {status:?}");
        };
        assert!(reason.contains(said), "{reason}");
        assert!(path.to_str().unwrap().contains(&server.url), "{path:?}");
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0, "{said}");
    }
}

/// Run by the next test in a process of its own, which is killed meanwhile.
#[test]
#[ignore = "needs the store that the next test sets up"]
fn child_whose_download_stalls() {
    let path = std::env::var("NTHEAP_TEST_PATH").unwrap();
    let minute = Duration::from_secs(60);
    let symbols = symbols(&path).download_limits(minute, minute, minute);
    let _ = symbols.build().status(&ordersvc());
}

#[test]
fn what_a_killed_download_leaves_is_gone_at_the_next_start() {
    let whole = pdb_bytes("ordersvc.pdb", ORDERSVC);
    let server = serve(move |_| Answer::Stalls(whole.clone(), 50_000));
    let store = tempfile::tempdir().unwrap();
    let path = format!("srv*{}*{}", store.path().display(), server.url);
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_whose_download_stalls", "--ignored"])
        .env("NTHEAP_TEST_PATH", &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while files(store.path()).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    // It lives: its file stays.
    let _ = symbols(&path).build();
    assert_eq!(files(store.path()).len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(files(store.path()).len(), 1);
    let _ = symbols(&path).build();
    assert_eq!(files(store.path()).len(), 0);
}
