//! Where the oracle's dumps are: one finder for all suites, so that none is left out by itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("workspace root")
        .to_owned()
}

/// The oracle.
pub(crate) struct Oracle {
    /// The folder of packed dumps that `NTHEAP_ORACLE` names.
    #[allow(dead_code, reason = "not every suite needs what lies beside it")]
    pub(crate) packed: PathBuf,
    /// The unpacked dumps: below `target/`, or where `NTHEAP_ORACLE_UNPACKED` says.
    pub(crate) unpacked: PathBuf,
}

/// The oracle, unpacked where it is not yet; `None`, and a line that says so, without one.
pub(crate) fn oracle() -> Option<Oracle> {
    let Some(packed) = env::var_os("NTHEAP_ORACLE") else {
        println!("NTHEAP_ORACLE is not set: no dump of the oracle is looked at");
        return None;
    };
    // A relative path is one from the root of the workspace.
    let packed = workspace().join(packed);
    let unpacked = env::var_os("NTHEAP_ORACLE_UNPACKED")
        .map_or_else(|| workspace().join("target/oracle"), PathBuf::from);
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
