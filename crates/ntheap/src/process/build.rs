//! Judging the Windows build, and proving that its layouts fit.

use std::fmt;

use super::{HeapKind, Problem, Process, probe::fits_layout};
use crate::layout::{Layouts, NEWEST_PROVED_BUILD};

/// Where a build number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildSource {
    /// The dump's system information stream.
    SystemInfo,
    /// The process environment block, which compatibility settings can alter.
    Peb,
    /// The version of ntdll.dll in the module list, whose major number can be wrong.
    Ntdll,
}

impl fmt::Display for BuildSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BuildSource::SystemInfo => "system information",
            BuildSource::Peb => "PEB",
            BuildSource::Ntdll => "ntdll.dll",
        })
    }
}

/// Builds with a layout of their own, newest first: what to try when the judged one does not fit.
const LAYOUT_BUILDS: &[u32] = &[
    26100, 22000, 17763, 14393, 9600, 9200, 7600, 6000, 3790, 2600,
];

/// Updates that share the files of another build: 19042 to 19045 are 19041, 22631 is 22621, 26200
/// is 26100. Their system information differs from ntdll's version by no fault of either.
const SAME_FILES_DISTANCE: u32 = 100;

impl Process<'_, '_> {
    /// Takes the build from the system information unless the two other sources agree on another.
    pub(crate) fn judge_build(&mut self) {
        let peb_build = self.peb.and_then(|peb| {
            let peb = self.memory().at(peb, self.bitness);
            peb.u16(self.layouts.peb.os_build_number).map(u32::from)
        });
        let ntdll_build = self
            .ntdll()
            .and_then(|m| m.version)
            .map(|version| u32::from(version[2]));
        let sources: Vec<(BuildSource, u32)> = [
            (
                BuildSource::SystemInfo,
                self.dump.os_version.map(|version| version[2]),
            ),
            (BuildSource::Ntdll, ntdll_build),
            (BuildSource::Peb, peb_build),
        ]
        .into_iter()
        .filter_map(|(source, build)| Some((source, build.filter(|&build| build != 0)?)))
        .collect();
        let near = |a: u32, b: u32| a.abs_diff(b) <= SAME_FILES_DISTANCE;
        let votes = |build| {
            sources
                .iter()
                .filter(|source| near(source.1, build))
                .count()
        };
        // `max_by_key` takes the last of equals: reversed, the first source wins a tie.
        let Some(&(_, build)) = sources.iter().rev().max_by_key(|source| votes(source.1)) else {
            self.build = NEWEST_PROVED_BUILD;
            return;
        };
        self.build = build;
        if votes(build) != sources.len() {
            self.problems.push(Problem::BuildInDoubt {
                used: build,
                sources,
            });
        }
    }

    /// Proves the layouts on the process heap (or what is behind it); where they do not fit, looks for the build whose
    /// layouts do.
    pub(crate) fn check_layouts(&mut self) {
        let newer = !self.layouts.is_known();
        let Some(handle) = self.heap_to_prove() else {
            if newer {
                self.problems.push(Problem::NewerBuild {
                    build: self.build,
                    checked: false,
                });
            }
            return;
        };
        let fits = fits_layout(self.memory(), &self.layouts, handle);
        if newer {
            self.problems.push(Problem::NewerBuild {
                build: self.build,
                checked: fits == Some(true),
            });
        }
        if fits != Some(false) {
            return;
        }
        let other = LAYOUT_BUILDS
            .iter()
            .map(|&build| Layouts::for_build(build, self.bitness))
            .find(|layouts| fits_layout(self.memory(), layouts, handle) == Some(true));
        if let Some(layouts) = other {
            self.problems.push(Problem::LayoutOfOtherBuild {
                judged: self.build,
                used: layouts.build,
            });
            self.layouts = layouts;
        }
    }

    /// The process heap; where that is a page heap, the first heap of the environment block's array,
    /// which lists the normal heaps behind page heaps; where neither is there, one that a search found.
    fn heap_to_prove(&self) -> Option<u64> {
        let is_nt =
            |&handle: &u64| matches!(self.heap_kind(handle), Some(HeapKind::Nt | HeapKind::NtXp));
        let first_of_array = || {
            let peb = self.memory().at(self.peb?, self.bitness);
            let array = peb.pointer(self.layouts.peb.process_heaps)?;
            self.memory().pointer(array, self.bitness)
        };
        match self
            .process_heap
            .map(|handle| (handle, self.heap_kind(handle)))
        {
            Some((handle, Some(HeapKind::Nt | HeapKind::NtXp | HeapKind::Segment))) => Some(handle),
            _ => first_of_array()
                .filter(is_nt)
                .or_else(|| self.found.heaps.iter().map(|heap| heap.0).find(is_nt)),
        }
    }
}
