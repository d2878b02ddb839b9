//! The minidump around the memory: streams in front, the memory behind.

use ntheap::layout::{Bitness, PAGE};

use super::{
    plan::{Content, NTDLL_SIZE, PROGRAM_SIZE, Place},
    traces::program,
};

/// Types of streams.
const THREADS: u32 = 3;
const MODULES: u32 = 4;
const SYSTEM: u32 = 7;
const MEMORY_64: u32 = 9;
const REGIONS: u32 = 16;

/// `MiniDumpWithFullMemory` and what full dumps have besides.
const FLAGS: u64 = 0x1826;

/// Bytes of a file, appended number by number.
#[derive(Debug, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn zero(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }
}

/// Everything in front of the memory: the ranges follow it one behind the other.
pub(super) fn head(place: &Place, ranges: &[(u64, u64)]) -> Vec<u8> {
    let regions = regions(place);
    let names = names();
    let streams = [
        (SYSTEM, system(place)),
        (THREADS, threads(place)),
        (REGIONS, regions),
    ];
    let directory = 32;
    let mut at = directory + 12 * (streams.len() + 2);
    let mut file = Bytes::default();
    file.0.extend(b"MDMP");
    file.u32(0xa793).u32(streams.len() as u32 + 2).u32(32);
    file.u32(0).u32(0x671d_b2f8).u64(FLAGS);
    for (kind, bytes) in &streams {
        file.u32(*kind).u32(bytes.len() as u32).u32(at as u32);
        at += bytes.len();
    }
    let modules = modules(place, at);
    file.u32(MODULES)
        .u32(modules.len() as u32)
        .u32((at + names.len()) as u32);
    at += names.len() + modules.len();
    let list = 16 + 16 * ranges.len();
    file.u32(MEMORY_64).u32(list as u32).u32(at as u32);
    streams.iter().for_each(|(_, bytes)| file.0.extend(bytes));
    file.0.extend(names);
    file.0.extend(modules);
    file.u64(ranges.len() as u64).u64((at + list) as u64);
    for &(address, size) in ranges {
        file.u64(address).u64(size);
    }
    file.0
}

fn system(place: &Place) -> Vec<u8> {
    let mut info = Bytes::default();
    let (architecture, platform) = match place.plan.bitness {
        Bitness::X86 => (0, 2),
        Bitness::X64 => (9, 2),
    };
    let (major, minor) = match place.plan.build {
        ..9200 => (6, 1),
        9200..9600 => (6, 2),
        9600..10240 => (6, 3),
        _ => (10, 0),
    };
    info.u16(architecture).u16(6).u16(0);
    // Two processors, a workstation.
    info.0.extend([2, 1]);
    info.u32(major)
        .u32(minor)
        .u32(place.plan.build)
        .u32(platform);
    info.zero(32);
    info.0
}

fn threads(place: &Place) -> Vec<u8> {
    let mut list = Bytes::default();
    list.u32(1)
        .u32(77)
        .u32(0)
        .u32(0x20)
        .u32(0)
        .u64(place.areas[0].base);
    list.zero(24);
    list.0
}

const NAMES: [&str; 2] = ["C:\\made\\made.exe", "C:\\Windows\\System32\\ntdll.dll"];

fn names() -> Vec<u8> {
    let mut bytes = Bytes::default();
    for name in NAMES {
        bytes.u32(2 * name.len() as u32);
        name.encode_utf16().for_each(|unit| {
            bytes.u16(unit);
        });
        bytes.u16(0);
    }
    bytes.0
}

fn modules(place: &Place, names: usize) -> Vec<u8> {
    let mut list = Bytes::default();
    list.u32(NAMES.len() as u32);
    let images = [(program(place), PROGRAM_SIZE), (place.ntdll, NTDLL_SIZE)];
    let mut at = names;
    for ((base, size), name) in images.into_iter().zip(NAMES) {
        list.u64(base)
            .u32(size as u32)
            .u32(0)
            .u32(0x5f00_0000)
            .u32(at as u32);
        at += 4 + 2 * name.len() + 2;
        // VS_FIXEDFILEINFO.
        let (major, build) = (
            if place.plan.build < 10240 { 6 } else { 10 },
            place.plan.build,
        );
        list.u32(0xfeef_04bd)
            .u32(0x1_0000)
            .u32(major << 16)
            .u32(build << 16 | 1);
        list.zero(108 - 24 - 16);
    }
    list.0
}

/// Every part of every area with its state, as `VirtualQuery` tells it.
fn regions(place: &Place) -> Vec<u8> {
    const COMMITTED: u32 = 0x1000;
    const RESERVED: u32 = 0x2000;
    const READ_WRITE: u32 = 4;
    const PRIVATE: u32 = 0x2_0000;
    const IMAGE: u32 = 0x100_0000;
    let mut list: Vec<(u64, u64, u64, u32, u32)> = Vec::new();
    for area in &place.areas {
        let kind = if area.content == Content::Ntdll {
            IMAGE
        } else {
            PRIVATE
        };
        let allocation = match area.content {
            Content::Ntdll => place.ntdll,
            _ => area.base,
        };
        let mut at = 0;
        for (start, size) in place.runs(area) {
            if start > at {
                list.push((area.base + at, start - at, allocation, RESERVED, kind));
            }
            list.push((area.base + start, size, allocation, COMMITTED, kind));
            at = start + size;
        }
    }
    let mut bytes = Bytes::default();
    bytes.u32(16).u32(48).u64(list.len() as u64);
    for (base, size, allocation, state, kind) in list {
        let protection = if state == COMMITTED { READ_WRITE } else { 0 };
        bytes.u64(base).u64(allocation).u32(READ_WRITE).u32(0);
        bytes
            .u64(size.next_multiple_of(PAGE))
            .u32(state)
            .u32(protection)
            .u32(kind)
            .u32(0);
    }
    bytes.0
}
