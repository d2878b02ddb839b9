//! Where the oracle's dumps are: one finder for all suites, so that none is left out by itself.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("workspace root")
        .to_owned()
}

/// The folder of sample dumps.
pub fn testdata() -> PathBuf {
    workspace().join("testdata")
}

/// The sample dumps, in order of their names.
pub fn testdata_dumps() -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(testdata())
        .expect("testdata")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".dmp.zst"))
        .collect();
    paths.sort();
    paths
}

/// The oracle.
#[derive(Debug, Clone)]
pub struct Oracle {
    /// The folder of packed dumps that `NTHEAP_ORACLE` names.
    pub packed: PathBuf,
    /// The unpacked dumps: below `target/`, or where `NTHEAP_ORACLE_UNPACKED` says.
    pub unpacked: PathBuf,
}

/// The oracle, unpacked where it is not yet; `None`, and a line that says so, without one.
pub fn oracle() -> Option<Oracle> {
    unpacked(packed()?, "oracle", env::var_os("NTHEAP_ORACLE_UNPACKED"))
}

/// The folder of packed dumps called `name` that lies beside the oracle, unpacked likewise: below
/// `target/`, or beside where `NTHEAP_ORACLE_UNPACKED` says.
pub fn oracle_beside(name: &str) -> Option<Oracle> {
    let folder = packed()?.with_file_name(name);
    if !folder.is_dir() {
        println!(
            "there is no {}: none of its dumps is looked at",
            folder.display()
        );
        return None;
    }
    let place = env::var_os("NTHEAP_ORACLE_UNPACKED")
        .map(|place| PathBuf::from(place).with_file_name(name).into_os_string());
    unpacked(folder, name, place)
}

/// The folder that `NTHEAP_ORACLE` names; a relative path is one from the root of the workspace.
fn packed() -> Option<PathBuf> {
    let Some(packed) = env::var_os("NTHEAP_ORACLE") else {
        println!("NTHEAP_ORACLE is not set: no dump of the oracle is looked at");
        return None;
    };
    Some(workspace().join(packed))
}

fn unpacked(packed: PathBuf, name: &str, place: Option<OsString>) -> Option<Oracle> {
    let unpacked = place.map_or_else(|| workspace().join("target").join(name), PathBuf::from);
    // Tests ask for it at once, of one suite or of several; the first unpacks, the others wait.
    fs::create_dir_all(&unpacked).expect("a folder for the unpacked dumps");
    let lock = File::create(unpacked.join(".lock")).expect("a lock");
    lock.lock().expect("to be the only one who unpacks");
    let status = Command::new("sh")
        .arg(packed.join("unpack.sh"))
        .arg(&unpacked)
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "unpack.sh failed"
    );
    Some(Oracle { packed, unpacked })
}
