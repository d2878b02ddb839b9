//! The header is that of the functions, and C programs can use them.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    path::{Path, PathBuf},
    process::Command,
    ptr,
};

use ntheap_c::{
    boundary::{
        ntheap_close, ntheap_diff_json, ntheap_free_text, ntheap_last_error, ntheap_open,
        ntheap_walk,
    },
    values::{Block, Status},
};
use ntheap_synth::oracle::workspace;

fn sample(name: &str) -> CString {
    let path = workspace().join("testdata").join(name);
    CString::new(path.display().to_string()).expect("a path")
}

#[test]
fn the_header_is_up_to_date() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).expect("a configuration");
    let made = cbindgen::Builder::new()
        .with_config(config)
        .with_src(here.join("src/values.rs"))
        .with_src(here.join("src/boundary.rs"))
        .generate()
        .expect("bindings");
    let mut text = Vec::new();
    made.write(&mut text);
    let text = String::from_utf8(text).expect("text");
    let path = here.join("include/ntheap.h");
    let there = std::fs::read_to_string(&path)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    if there != text && std::env::var_os("NTHEAP_WRITE_HEADER").is_some() {
        std::fs::write(&path, &text).expect("the header is written");
        return;
    }
    assert_eq!(there, text, "run the test with NTHEAP_WRITE_HEADER=1");
}

/// Where cargo puts the shared library: beside this test's folder.
fn library_folder() -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    test.parent()
        .and_then(Path::parent)
        .expect("a folder")
        .to_owned()
}

#[cfg(unix)]
#[test]
fn the_example_in_c_runs() {
    let library = library_folder().join("libntheap_c.a");
    let shared = library_folder();
    let deps = shared.join("deps");
    if Command::new("cc").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no C compiler");
        return;
    }
    let folder = [shared, deps].into_iter().find(|folder| {
        folder.join("libntheap_c.so").exists() || folder.join("libntheap_c.dylib").exists()
    });
    let Some(folder) = folder else {
        panic!("no shared library beside {}", library.display());
    };
    let home = tempfile::tempdir().expect("a folder");
    let program = home.path().join("growth");
    let built = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
        .arg(workspace().join("examples/c/growth.c"))
        .arg("-L")
        .arg(&folder)
        .args(["-lntheap_c", "-o"])
        .arg(&program)
        .output()
        .expect("cc runs");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let run = |dumps: [&str; 2]| {
        Command::new(&program)
            .args(dumps.map(|name| workspace().join("testdata").join(name)))
            .env("LD_LIBRARY_PATH", &folder)
            .env("DYLD_LIBRARY_PATH", &folder)
            .output()
            .expect("it runs")
    };
    let output = run([
        "19041.662-small.snap1.dmp.zst",
        "19041.662-small.snap2.dmp.zst",
    ]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("2008 blocks, 2862498 bytes"));
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("2219 blocks, ")),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(lines.next().unwrap_or_default()).expect("JSON");
    assert_eq!(json["command"], "diff");
    assert_eq!(json["total"]["delta_blocks"], 211);
    let refused = run(["README.md", "19041.662-small.snap2.dmp.zst"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("not a minidump"), "{said}");
}

fn last_error() -> String {
    let text = ntheap_last_error();
    // SAFETY: the library made it, and it is given back once.
    unsafe {
        let copy = std::ffi::CStr::from_ptr(text)
            .to_string_lossy()
            .into_owned();
        ntheap_free_text(text);
        copy
    }
}

unsafe extern "C" fn stop_at_ten(_: *const Block, context: *mut c_void) -> c_int {
    // SAFETY: the test hands over a counter.
    let seen = unsafe { &mut *context.cast::<u32>() };
    *seen += 1;
    c_int::from(*seen == 10)
}

#[test]
fn nonsense_is_refused_and_walks_can_be_stopped() {
    let mut dump = ptr::null_mut();
    let mut json: *mut c_char = ptr::null_mut();
    let none = CString::new("no-such-file.dmp").expect("a path");
    let broken = CString::new(b"\xff\xfe.dmp".to_vec()).expect("bytes");
    // SAFETY: pointers are null, or lead to what lives in this function.
    unsafe {
        assert_eq!(
            ntheap_open(ptr::null(), ptr::null(), &raw mut dump),
            Status::Argument
        );
        assert_eq!(last_error(), "path is null");
        assert_eq!(
            ntheap_open(none.as_ptr(), ptr::null(), ptr::null_mut()),
            Status::Argument
        );
        assert_eq!(
            ntheap_open(broken.as_ptr(), ptr::null(), &raw mut dump),
            Status::Argument
        );
        assert_eq!(
            ntheap_open(none.as_ptr(), ptr::null(), &raw mut dump),
            Status::Io
        );
        assert!(last_error().contains("no-such-file.dmp"));
        assert_eq!(
            ntheap_diff_json(ptr::null(), ptr::null(), &raw mut json),
            Status::Argument
        );
        assert_eq!(
            ntheap_walk(ptr::null(), Some(stop_at_ten), ptr::null_mut()),
            Status::Argument
        );
        ntheap_close(ptr::null_mut());
        ntheap_free_text(ptr::null_mut());

        let path = sample("x86-2600.5512-small.snap1.dmp.zst");
        assert_eq!(
            ntheap_open(path.as_ptr(), ptr::null(), &raw mut dump),
            Status::Ok
        );
        assert_eq!(last_error(), "");
        assert_eq!(ntheap_walk(dump, None, ptr::null_mut()), Status::Argument);
        let mut seen = 0u32;
        let context = (&raw mut seen).cast();
        assert_eq!(
            ntheap_walk(dump, Some(stop_at_ten), context),
            Status::Stopped
        );
        assert_eq!(seen, 10);
        ntheap_close(dump);
    }
}
