//! What the system information stream says: processor, platform, version; and what stands in for it.

use super::{
    Architecture, Module, Problem, Product, Region, Thread,
    directory::{Bytes, Stream},
    memory_list::Ranges,
};
use crate::{Error, Result};

/// What is known of the system.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct System {
    /// `None` where the stream is missing or names no processor that exists.
    pub(super) architecture: Option<Architecture>,
    pub(super) version: Option<[u32; 3]>,
    pub(super) processors: u8,
    pub(super) product: Product,
}

impl System {
    /// Reads the stream.
    ///
    /// # Errors
    /// The dump is that of another system than Windows, or of a processor that Windows has and whose
    /// heaps are not known.
    pub(super) fn read(
        file: Bytes<'_>,
        stream: Stream,
        problems: &mut Vec<Problem>,
    ) -> Result<System> {
        const NAME: &str = "SystemInfo";
        let at = |offset: u64| stream.offset.saturating_add(offset);
        let Some(processor) = file.u16(at(0)) else {
            problems.push(Problem::StreamTruncated {
                stream: NAME,
                missing: stream.size,
            });
            return Ok(System::default());
        };
        if let Some(platform) = file.u32(at(20)).and_then(foreign_platform) {
            return Err(Error::ForeignPlatform { platform });
        }
        let architecture = match processor {
            0 => Some(Architecture::X86),
            9 => Some(Architecture::X64),
            12 => Some(Architecture::Arm64),
            other if is_processor(other) => {
                return Err(Error::Architecture {
                    architecture: other,
                });
            }
            other => {
                problems.push(Problem::StreamUnreadable {
                    stream: NAME,
                    reason: format!("there is no processor architecture {other}"),
                });
                None
            }
        };
        let version = || Some([file.u32(at(8))?, file.u32(at(12))?, file.u32(at(16))?]);
        Ok(System {
            architecture,
            version: version(),
            processors: file.u8(at(6)).unwrap_or(0),
            product: Product::of(file.u8(at(7)).unwrap_or(0)),
        })
    }
}

/// The system that a platform number of Breakpad and Crashpad stands for.
fn foreign_platform(id: u32) -> Option<&'static str> {
    Some(match id {
        0x8000 => "Unix",
        0x8101 => "macOS",
        0x8102 => "iOS",
        0x8201 => "Linux",
        0x8202 => "Solaris",
        0x8203 => "Android",
        0x8204 => "PlayStation 3",
        0x8205 => "Native Client",
        0x8206 => "Fuchsia",
        _ => return None,
    })
}

/// Whether this is the number of a processor, as Windows or Breakpad count them.
fn is_processor(id: u16) -> bool {
    matches!(id, 1..=14 | 0x8001..=0x8006)
}

/// The width of the processor by the addresses of the process, for a dump without system information.
pub(super) fn guess(
    ranges: &Ranges,
    modules: &[Module],
    threads: &[Thread],
    regions: &[Region],
) -> Architecture {
    /// Addresses of 32-bit processes that were widened with their sign begin here.
    const SIGN: u64 = 0xffff_ffff_8000_0000;
    let is_wide = |address: u64| (1 << 32..SIGN).contains(&address);
    let wide = ranges.iter().any(|range| is_wide(range.0))
        || modules.iter().any(|module| is_wide(module.base))
        || threads.iter().any(|thread| is_wide(thread.teb))
        || regions.iter().any(|region| is_wide(region.base));
    let nothing = ranges.is_empty() && modules.is_empty() && threads.is_empty();
    match wide || nothing {
        true => Architecture::X64,
        false => Architecture::X86,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(processor: u16, platform: u32) -> Result<System> {
        let mut file = vec![0; 56];
        file[..2].copy_from_slice(&processor.to_le_bytes());
        file[20..24].copy_from_slice(&platform.to_le_bytes());
        let stream = Stream {
            kind: 7,
            offset: 0,
            size: 56,
        };
        System::read(Bytes(&file), stream, &mut Vec::new())
    }

    #[test]
    fn dumps_of_other_systems_are_called_what_they_are() {
        let linux = read(9, 0x8201).unwrap_err();
        assert!(matches!(
            linux,
            Error::ForeignPlatform { platform: "Linux" }
        ));
        assert!(linux.hint().is_none_or(|hint| !hint.contains("procdump")));
        assert!(matches!(
            read(9, 0x8101),
            Err(Error::ForeignPlatform { .. })
        ));
        let itanium = read(6, 2).unwrap_err();
        assert!(matches!(itanium, Error::Architecture { architecture: 6 }));
    }

    #[test]
    fn a_processor_that_does_not_exist_is_no_reason_to_stop() {
        let system = read(0x4009, 2).expect("not fatal");
        assert_eq!(system.architecture, None);
        assert_eq!(
            read(0, 2).expect("x86").architecture,
            Some(Architecture::X86)
        );
    }
}
