//! How much of a file the system can keep in memory.

/// Bytes of files that the system can keep at once: what it says is available, or less where a control
/// group limits this process. `None` where it can't be asked, as anywhere but on Linux.
#[cfg(target_os = "linux")]
pub(super) fn for_files() -> Option<u64> {
    let available = fs::read_to_string("/proc/meminfo").ok()?;
    let available = available
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = available.trim().strip_suffix(" kB")?.parse().ok()?;
    limits().chain([kilobytes << 10]).min()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn for_files() -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The limits of this process's control groups and of those above them, of either version.
#[cfg(target_os = "linux")]
fn limits() -> impl Iterator<Item = u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files: Vec<PathBuf> = groups.lines().flat_map(limit_files).collect();
    files
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// Where the limits lie that a line of `/proc/self/cgroup` stands for: `0::/GROUP` of version 2,
/// `N:memory:/GROUP` of version 1.
#[cfg(target_os = "linux")]
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (root, name) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|one| one == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group
        .ancestors()
        .map(|group| Path::new(root).join(group).join(name))
        .collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_limited_by_those_above_it() {
        let files = |line| {
            let files = limit_files(line).into_iter();
            let files = files.map(|file| file.display().to_string());
            files.collect::<Vec<_>>()
        };
        assert_eq!(
            files("0::/user/a"),
            [
                "/sys/fs/cgroup/user/a/memory.max",
                "/sys/fs/cgroup/user/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            files("4:cpu,memory:/a"),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert!(files("5:devices:/a").is_empty() && files("").is_empty());
    }

    #[test]
    fn there_is_room_for_something() {
        assert!(for_files().is_none_or(|bytes| bytes > 0));
    }
}
