//! What an umdh log holds, independent of its text.

use std::collections::BTreeMap;
use std::fmt;

/// An umdh log: the process, its modules, its heaps' allocations and the stacks they came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Who wrote the log, when, and of which process.
    pub header: Header,
    /// Loaded modules, in the log's order.
    pub modules: Vec<LogModule>,
    /// Heaps, in the log's order.
    pub heaps: Vec<LogHeap>,
    /// The stacks, by trace id. Ids whose stack the log never shows have no entry.
    pub traces: BTreeMap<TraceId, Trace>,
}

/// The comment lines at the start of a log. Fields that the log lacks are empty (0).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Version of the program that wrote the log, like `10.0.10011.16399`.
    pub version: String,
    /// Local time at which the log was written, like `2024-05-06 07:08`.
    pub log_time: String,
    /// Name of the machine.
    pub machine: String,
    /// Process id.
    pub process_id: u32,
    /// Version of Windows the process ran on, like `10.0`.
    pub os_version: String,
}

/// A loaded module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogModule {
    /// Address the image is mapped at.
    pub base: u64,
    /// Size of the mapped image, in bytes.
    pub size: u64,
    /// Path of the image file, as in the log.
    pub path: String,
}

impl LogModule {
    /// The name umdh prints before the `!`: the file name without folder and extension.
    ///
    /// ```
    /// let module = ntheap_report::umdh::LogModule {
    ///     path: r"C:\Windows\System32\ntdll.dll".into(),
    ///     ..Default::default()
    /// };
    /// assert_eq!(module.name(), "ntdll");
    /// ```
    pub fn name(&self) -> &str {
        let file = self.path.rsplit(['\\', '/']).next().unwrap_or_default();
        match file.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => file,
        }
    }

    /// Whether `address` lies in the mapped image.
    pub fn contains(&self, address: u64) -> bool {
        address
            .checked_sub(self.base)
            .is_some_and(|offset| offset < self.size)
    }
}

/// Modules ordered for look-up by address.
#[derive(Debug, Clone)]
pub struct ModuleIndex<'a> {
    by_base: Vec<&'a LogModule>,
}

impl<'a> ModuleIndex<'a> {
    /// Orders `modules` by base. Of modules with one base the first one counts, as it was listed
    /// first.
    pub fn new(modules: &'a [LogModule]) -> Self {
        let mut by_base: Vec<_> = modules.iter().collect();
        by_base.sort_by_key(|module| module.base);
        by_base.dedup_by_key(|module| module.base);
        Self { by_base }
    }

    /// The module that `address` lies in.
    pub fn at(&self, address: u64) -> Option<&'a LogModule> {
        let after = self
            .by_base
            .partition_point(|module| module.base <= address);
        let module = self.by_base[..after].last()?;
        module.contains(address).then_some(*module)
    }
}

/// The allocations of one heap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogHeap {
    /// Address of the heap; `None` for allocations that the log lists outside any heap (as excerpts
    /// of logs do).
    pub address: Option<u64>,
    /// Allocations listed one by one, in the log's order.
    pub allocations: Vec<Allocation>,
    /// Allocations that the log only gives as sums (form of old logs), in the log's order.
    pub aggregates: Vec<Aggregate>,
}

/// One allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// Address of the user data.
    pub address: u64,
    /// Size the program asked for, in bytes.
    pub requested: u64,
    /// Size of the block beyond `requested`, in bytes.
    pub overhead: u64,
    /// The stack that allocated it.
    pub trace: TraceId,
}

/// Allocations of one size from one stack, as old logs with resolved symbols sum them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregate {
    /// Size of all of them together, in bytes.
    pub bytes: u64,
    /// Number of allocations.
    pub count: u64,
    /// Size of each, in bytes.
    pub each: u64,
    /// The stack that allocated them.
    pub trace: TraceId,
}

/// Name of a stack: the hexadecimal number after `BackTrace`.
///
/// umdh uses the low 32 bits of the address of the stack's entry in the stack database. The number
/// means nothing outside the process run it came from. umdh matches ids as text, so leading zeros
/// (which only old versions wrote) belong to the id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId {
    value: u64,
    /// Digits to print; 0 if the number has no leading zeros.
    digits: u8,
}

impl TraceId {
    /// An id without leading zeros.
    pub const fn new(value: u64) -> Self {
        Self { value, digits: 0 }
    }

    /// The id umdh gives the stack whose entry in the stack database is at `address`.
    ///
    /// ```
    /// let id = ntheap_report::umdh::TraceId::from_entry_address(0x206_EDD4_EEA6);
    /// assert_eq!(id.to_string(), "EDD4EEA6");
    /// ```
    pub const fn from_entry_address(address: u64) -> Self {
        Self::new(address & 0xffff_ffff)
    }

    /// Reads the digits after `BackTrace`: 1 to 16 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > 16 {
            return None;
        }
        let value = super::lines::hex_digits(text)?;
        let digits = if text.len() > 1 && text.starts_with('0') {
            text.len() as u8
        } else {
            0
        };
        Some(Self { value, digits })
    }

    /// The number.
    pub const fn value(self) -> u64 {
        self.value
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:0width$X}",
            self.value,
            width = usize::from(self.digits)
        )
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackTrace{self}")
    }
}

/// A stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Frames, innermost first.
    pub frames: Vec<Frame>,
    /// Further stacks under the same id, which logs of Windows 7 list after a line `Alias`. A
    /// comparison does not print them.
    pub aliases: Vec<Vec<Frame>>,
}

impl From<Vec<Frame>> for Trace {
    fn from(frames: Vec<Frame>) -> Self {
        Self {
            frames,
            aliases: Vec::new(),
        }
    }
}

/// A frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Return address.
    Address(u64),
    /// Text of a frame whose symbol was resolved when the log was written, like
    /// `ntdll!RtlAllocateHeap+0x00000808`.
    Text(Box<str>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(base: u64, size: u64, path: &str) -> LogModule {
        LogModule {
            base,
            size,
            path: path.into(),
        }
    }

    #[test]
    fn module_names() {
        assert_eq!(module(0, 0, r"C:\app\my.tool.exe").name(), "my.tool");
        assert_eq!(module(0, 0, "/opt/noext").name(), "noext");
        assert_eq!(module(0, 0, r"C:\.hidden").name(), ".hidden");
        assert_eq!(module(0, 0, r"C:\").name(), "");
    }

    #[test]
    fn modules_are_found_by_address() {
        let modules = [
            module(0x5000, 0x1000, "b"),
            module(0x1000, 0x1000, "a"),
            module(u64::MAX, 9, "z"),
        ];
        let index = ModuleIndex::new(&modules);
        let at = |address| index.at(address).map(LogModule::name);
        assert_eq!(at(0xfff), None);
        assert_eq!(at(0x1000), Some("a"));
        assert_eq!(at(0x1fff), Some("a"));
        assert_eq!(at(0x2000), None);
        assert_eq!(at(0x5800), Some("b"));
        assert_eq!(at(u64::MAX), Some("z"));
    }

    #[test]
    fn leading_zeros_belong_to_an_id() {
        for text in [
            "0",
            "00B53",
            "B53",
            "EDD4EEA6",
            "FFFFFFFFFFFFFFFF",
            "0000000000000001",
        ] {
            assert_eq!(TraceId::parse(text).unwrap().to_string(), text);
        }
        assert_ne!(TraceId::parse("0B53"), TraceId::parse("B53"));
        for text in ["", "+1", "G", "10000000000000000", "1 2"] {
            assert_eq!(TraceId::parse(text), None, "{text:?}");
        }
    }
}
