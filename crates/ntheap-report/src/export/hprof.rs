//! Java's heap dumps (HPROF 1.0.2), for Eclipse MAT and what else reads them.
//!
//! A block is an instance of a class of its type and size, with a field for each word: `+0x18` is a
//! reference where a pointer to another block lies there, else null. Each root is a class with a static
//! field for each pointer. Viewers add a header of 16 bytes to each object: the true size is part of the
//! class's name.

use std::io::{self, Read, Write};

use rustc_hash::FxHashMap;

use super::Objects;

const STRING: u8 = 0x01;
const LOAD_CLASS: u8 = 0x02;
const STACK_TRACE: u8 = 0x05;
const SEGMENT: u8 = 0x1c;
const END: u8 = 0x2c;
const ROOT_UNKNOWN: u8 = 0xff;
const ROOT_CLASS: u8 = 0x05;
const CLASS: u8 = 0x20;
const INSTANCE: u8 = 0x21;
const BYTES: u8 = 0x23;
/// Types of fields.
const OBJECT_TYPE: u8 = 2;
const BYTE_TYPE: u8 = 8;
/// Fields that a class can have.
const MAX_FIELDS: u64 = u16::MAX as u64;
/// Bytes of a segment, which has 32 bits for its length.
const SEGMENT_BYTES: usize = 64 << 20;

/// Writes one dump; `milliseconds` since 1970 is when it was taken. `word` is the size of a pointer.
///
/// # Errors
/// Those of `out`, which should be buffered.
pub fn write(
    objects: &Objects,
    word: u64,
    milliseconds: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(b"JAVA PROFILE 1.0.2\0")?;
    out.write_all(&8u32.to_be_bytes())?;
    out.write_all(&milliseconds.to_be_bytes())?;
    let mut file = File {
        out,
        strings: FxHashMap::default(),
        next: 1,
        segment: Vec::new(),
    };
    // Trace 1 is the empty one that everything has.
    let mut empty = Vec::new();
    for number in [1u32, 0, 0] {
        empty.extend(number.to_be_bytes());
    }
    file.record(STACK_TRACE, &empty)?;
    file.classes_of_java()?;
    file.roots(objects)?;
    file.blocks(objects, word)?;
    file.flush()?;
    file.record(END, &[])
}

/// Identifiers: blocks by their place, classes and strings in ranges of their own.
fn block_id(number: u32) -> u64 {
    0x10_0000_0000 + u64::from(number) * 16
}

fn class_id(serial: u32) -> u64 {
    0x1000 + u64::from(serial) * 16
}

struct File<'o> {
    out: &'o mut dyn Write,
    strings: FxHashMap<String, u64>,
    /// Serial number of the next class.
    next: u32,
    segment: Vec<u8>,
}

impl File<'_> {
    fn record(&mut self, tag: u8, body: &[u8]) -> io::Result<()> {
        self.out.write_all(&[tag])?;
        self.out.write_all(&0u32.to_be_bytes())?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(body)
    }

    fn string(&mut self, text: &str) -> io::Result<u64> {
        if let Some(&id) = self.strings.get(text) {
            return Ok(id);
        }
        let id = 0x4_0000_0000 + self.strings.len() as u64;
        let mut body = id.to_be_bytes().to_vec();
        body.extend_from_slice(text.as_bytes());
        self.record(STRING, &body)?;
        self.strings.insert(text.to_owned(), id);
        Ok(id)
    }

    /// Announces a class; answers its identifier.
    fn load_class(&mut self, name: &str) -> io::Result<u64> {
        let name = self.string(name)?;
        let (serial, id) = (self.next, class_id(self.next));
        self.next += 1;
        let mut body = serial.to_be_bytes().to_vec();
        body.extend(id.to_be_bytes());
        body.extend(1u32.to_be_bytes());
        body.extend(name.to_be_bytes());
        self.record(LOAD_CLASS, &body)?;
        Ok(id)
    }

    fn id(&mut self, id: u64) {
        self.segment.extend(id.to_be_bytes());
    }

    fn number(&mut self, number: u32) {
        self.segment.extend(number.to_be_bytes());
    }

    fn short(&mut self, number: u16) {
        self.segment.extend(number.to_be_bytes());
    }

    /// A class with these static references and these fields.
    fn class(
        &mut self,
        id: u64,
        parent: u64,
        size: u32,
        statics: &[(u64, u64)],
        fields: &[(u64, u8)],
    ) {
        self.segment.push(CLASS);
        self.id(id);
        self.number(1);
        self.id(parent);
        for _ in 0..5 {
            self.id(0);
        }
        self.number(size);
        self.short(0);
        self.short(statics.len() as u16);
        for &(name, target) in statics {
            self.id(name);
            self.segment.push(OBJECT_TYPE);
            self.id(target);
        }
        self.short(fields.len() as u16);
        for &(name, kind) in fields {
            self.id(name);
            self.segment.push(kind);
        }
    }

    /// Ends the segment where it has become large.
    fn breathe(&mut self) -> io::Result<()> {
        match self.segment.len() >= SEGMENT_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let segment = std::mem::take(&mut self.segment);
        match segment.is_empty() {
            true => Ok(()),
            false => self.record(SEGMENT, &segment),
        }
    }

    /// What readers expect of any Java program.
    fn classes_of_java(&mut self) -> io::Result<()> {
        let object = self.load_class("java/lang/Object")?;
        for name in [
            "java/lang/Class",
            "java/lang/String",
            "java/lang/System",
            "[B",
        ] {
            let id = self.load_class(name)?;
            self.class(id, object, 0, &[], &[]);
        }
        self.class(object, 0, 0, &[], &[]);
        Ok(())
    }

    fn object(&self) -> u64 {
        class_id(1)
    }

    fn roots(&mut self, objects: &Objects) -> io::Result<()> {
        for root in &objects.roots {
            // One class has room for so many pointers only.
            for (part, references) in root.references.chunks(MAX_FIELDS as usize).enumerate() {
                let suffix = if part == 0 {
                    String::new()
                } else {
                    format!(" ({})", part + 1)
                };
                let id = self.load_class(&format!("root/{}{suffix}", class_name(&root.name)))?;
                let mut statics = Vec::with_capacity(references.len());
                for (place, target) in references {
                    statics.push((self.string(place)?, block_id(*target)));
                }
                let object = self.object();
                self.class(id, object, 0, &statics, &[]);
                self.segment.push(ROOT_CLASS);
                self.id(id);
                self.breathe()?;
            }
        }
        for &leak in &objects.leaks {
            self.segment.push(ROOT_UNKNOWN);
            self.id(block_id(leak));
        }
        Ok(())
    }

    fn blocks(&mut self, objects: &Objects, word: u64) -> io::Result<()> {
        let mut classes: FxHashMap<(u32, u64), u64> = FxHashMap::default();
        for (number, object) in (0u32..).zip(&objects.objects) {
            let words = object.size / word;
            let fields = words.saturating_add(object.size % word);
            let held = object.references.iter().filter(|reference| !reference.2);
            let held: FxHashMap<u64, u32> = held.map(|&(at, target, _)| (at, target)).collect();
            if fields > MAX_FIELDS || words * 8 + object.size % word > u64::from(u32::MAX) {
                self.bytes(number, object.size)?;
                continue;
            }
            let id = match classes.get(&(object.class, object.size)) {
                Some(&id) => id,
                None => {
                    let id = self.class_of(objects, object, word)?;
                    classes.insert((object.class, object.size), id);
                    id
                }
            };
            self.segment.push(INSTANCE);
            self.id(block_id(number));
            self.number(1);
            self.id(id);
            let rest = object.size % word;
            self.number((words * 8 + rest) as u32);
            for index in 0..words {
                let target = held
                    .get(&(index * word))
                    .map_or(0, |&target| block_id(target));
                self.id(target);
            }
            for _ in 0..rest {
                self.segment.push(0);
            }
            self.breathe()?;
        }
        Ok(())
    }

    /// An array of bytes, without references: an instance has no room for so many. It has a segment of
    /// its own, and is not made in memory.
    fn bytes(&mut self, number: u32, size: u64) -> io::Result<()> {
        const HEADER: u32 = 1 + 8 + 4 + 4 + 1;
        self.flush()?;
        let size = u32::try_from(size)
            .unwrap_or(u32::MAX)
            .min(u32::MAX - HEADER);
        self.out.write_all(&[SEGMENT])?;
        self.out.write_all(&0u32.to_be_bytes())?;
        self.out.write_all(&(HEADER + size).to_be_bytes())?;
        self.out.write_all(&[BYTES])?;
        self.out.write_all(&block_id(number).to_be_bytes())?;
        self.out.write_all(&1u32.to_be_bytes())?;
        self.out.write_all(&size.to_be_bytes())?;
        self.out.write_all(&[BYTE_TYPE])?;
        io::copy(&mut io::repeat(0).take(size.into()), self.out)?;
        Ok(())
    }

    fn class_of(
        &mut self,
        objects: &Objects,
        object: &super::Object,
        word: u64,
    ) -> io::Result<u64> {
        let name = class_name(&objects.classes[object.class as usize]);
        let id = self.load_class(&format!("{name} [{:#x}]", object.size))?;
        let mut fields = Vec::new();
        let words = object.size / word;
        for index in 0..words {
            fields.push((self.string(&format!("+{:#x}", index * word))?, OBJECT_TYPE));
        }
        for index in words * word..object.size {
            fields.push((self.string(&format!("+{index:#x}"))?, BYTE_TYPE));
        }
        let parent = self.object();
        let size = (words * 8 + object.size % word) as u32;
        self.class(id, parent, size, &[], &fields);
        Ok(id)
    }
}

/// Slashes part packages there, and dots are shown for them.
fn class_name(name: &str) -> String {
    name.replace(['/', '.', ';'], "_").replace("::", "/")
}
