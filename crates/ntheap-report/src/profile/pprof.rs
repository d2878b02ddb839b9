//! pprof's format: a gzipped protocol buffer (`profile.proto`), here with the messages and fields
//! that a heap profile needs.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use rustc_hash::FxHashMap;

use super::{By, Frame, NO_STACK, Sample, function};
use ntheap::names::Name;

/// An image that frames lie in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// Name of the module, as the frames' names have it.
    pub module: String,
    /// First address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Path of the image.
    pub file: String,
    /// Identity of the image's PDB, empty where it is not known.
    pub build_id: String,
}

/// What a profile says besides its samples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PprofOptions {
    /// The number that viewers show first.
    pub by: By,
    /// When the (newer) dump was taken: seconds since 1970, UTC.
    pub timestamp: u64,
    /// Seconds between two dumps, 0 for one.
    pub seconds: u64,
    /// The images.
    pub mappings: Vec<Mapping>,
    /// Lines for the reader.
    pub comments: Vec<String>,
}

mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Profile {
        #[prost(message, repeated, tag = "1")]
        pub(super) sample_type: Vec<ValueType>,
        #[prost(message, repeated, tag = "2")]
        pub(super) sample: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) mapping: Vec<Mapping>,
        #[prost(message, repeated, tag = "4")]
        pub(super) location: Vec<Location>,
        #[prost(message, repeated, tag = "5")]
        pub(super) function: Vec<Function>,
        #[prost(string, repeated, tag = "6")]
        pub(super) string_table: Vec<String>,
        #[prost(int64, tag = "9")]
        pub(super) time_nanos: i64,
        #[prost(int64, tag = "10")]
        pub(super) duration_nanos: i64,
        #[prost(int64, repeated, tag = "13")]
        pub(super) comment: Vec<i64>,
        #[prost(int64, tag = "14")]
        pub(super) default_sample_type: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct ValueType {
        #[prost(int64, tag = "1")]
        pub(super) kind: i64,
        #[prost(int64, tag = "2")]
        pub(super) unit: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub(super) location_id: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub(super) value: Vec<i64>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Mapping {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(uint64, tag = "2")]
        pub(super) memory_start: u64,
        #[prost(uint64, tag = "3")]
        pub(super) memory_limit: u64,
        #[prost(int64, tag = "5")]
        pub(super) filename: i64,
        #[prost(int64, tag = "6")]
        pub(super) build_id: i64,
        /// Tells viewers not to look for symbols themselves.
        #[prost(bool, tag = "7")]
        pub(super) has_functions: bool,
        #[prost(bool, tag = "8")]
        pub(super) has_filenames: bool,
        #[prost(bool, tag = "9")]
        pub(super) has_line_numbers: bool,
        #[prost(bool, tag = "10")]
        pub(super) has_inline_frames: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Location {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(uint64, tag = "2")]
        pub(super) mapping_id: u64,
        #[prost(uint64, tag = "3")]
        pub(super) address: u64,
        #[prost(message, repeated, tag = "4")]
        pub(super) line: Vec<Line>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Line {
        #[prost(uint64, tag = "1")]
        pub(super) function_id: u64,
        #[prost(int64, tag = "2")]
        pub(super) line: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Function {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(int64, tag = "2")]
        pub(super) name: i64,
        #[prost(int64, tag = "3")]
        pub(super) system_name: i64,
        #[prost(int64, tag = "4")]
        pub(super) filename: i64,
    }
}

/// Writes a gzipped profile with the values `inuse_objects` and `inuse_space`. Of samples with a
/// part before, the values are what was gained, as in the output of `pprof -diff_base`: negative
/// where memory was freed.
///
/// # Errors
/// Those of `out`.
pub fn write_pprof(
    samples: impl IntoIterator<Item = Sample>,
    options: &PprofOptions,
    out: impl Write,
) -> io::Result<()> {
    let profile = profile(samples, options);
    let mut encoder = GzEncoder::new(out, Compression::default());
    encoder.write_all(&profile.encode_to_vec())?;
    encoder.finish()?.flush()
}

fn profile(samples: impl IntoIterator<Item = Sample>, options: &PprofOptions) -> proto::Profile {
    let mut builder = Builder::default();
    // Index 0 of the string table is the empty string.
    builder.string("");
    let mut value_type = |kind, unit| proto::ValueType {
        kind: builder.string(kind),
        unit: builder.string(unit),
    };
    let sample_type = vec![
        value_type("inuse_objects", "count"),
        value_type("inuse_space", "bytes"),
    ];
    builder.profile.default_sample_type = match options.by {
        By::Blocks => sample_type[0].kind,
        By::Bytes => sample_type[1].kind,
    };
    builder.profile.sample_type = sample_type;
    for mapping in &options.mappings {
        builder.mapping(mapping);
    }
    let comments = options.comments.iter();
    builder.profile.comment = comments.map(|text| builder.strings.add(text)).collect();
    let nanos =
        |seconds: u64| i64::try_from(seconds.saturating_mul(1_000_000_000)).unwrap_or(i64::MAX);
    builder.profile.time_nanos = nanos(options.timestamp);
    builder.profile.duration_nanos = nanos(options.seconds);
    for sample in samples {
        builder.sample(&sample);
    }
    builder
        .profile
        .sample
        .retain(|sample| sample.value != [0, 0]);
    builder.profile.string_table = builder.strings.list;
    builder.profile
}

/// The string table.
#[derive(Default)]
struct Strings {
    list: Vec<String>,
    known: FxHashMap<String, i64>,
}

impl Strings {
    fn add(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.known.get(text) {
            return index;
        }
        let index = self.list.len() as i64;
        self.list.push(text.to_owned());
        self.known.insert(text.to_owned(), index);
        index
    }
}

#[derive(Default)]
struct Builder {
    profile: proto::Profile,
    strings: Strings,
    /// Identifier of a mapping by its module's name.
    mappings: FxHashMap<String, u64>,
    /// Identifier of a function by name and file.
    functions: FxHashMap<(i64, i64), u64>,
    /// Identifier of a location by its place: two dumps can have a module at two addresses.
    locations: FxHashMap<String, u64>,
    /// Index of a sample by its stack.
    stacks: FxHashMap<Vec<u64>, usize>,
}

impl Builder {
    fn string(&mut self, text: &str) -> i64 {
        self.strings.add(text)
    }

    fn mapping(&mut self, mapping: &Mapping) {
        let id = self.profile.mapping.len() as u64 + 1;
        let encoded = proto::Mapping {
            id,
            memory_start: mapping.start,
            memory_limit: mapping.end,
            filename: self.string(&mapping.file),
            build_id: self.string(&mapping.build_id),
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        };
        self.profile.mapping.push(encoded);
        self.mappings.entry(mapping.module.clone()).or_insert(id);
    }

    fn sample(&mut self, sample: &Sample) {
        let gained = |after: u64, before: u64| after.wrapping_sub(before) as i64;
        let value = vec![
            gained(sample.after.blocks, sample.before.blocks),
            gained(sample.after.bytes, sample.before.bytes),
        ];
        if value == [0, 0] {
            return;
        }
        let location_id = match sample.frames[..] {
            [] => vec![self.location(&Frame::default(), NO_STACK.to_owned())],
            ref frames => {
                let frames = frames.iter();
                frames
                    .map(|frame| self.location(frame, place(frame)))
                    .collect()
            }
        };
        // Of two dumps each stack comes twice.
        let next = self.profile.sample.len();
        let at = *self.stacks.entry(location_id.clone()).or_insert(next);
        match self.profile.sample.get_mut(at) {
            Some(known) => {
                let values = known.value.iter_mut().zip(value);
                values.for_each(|(sum, value)| *sum = sum.wrapping_add(value));
            }
            None => self
                .profile
                .sample
                .push(proto::Sample { location_id, value }),
        }
    }

    fn location(&mut self, frame: &Frame, place: String) -> u64 {
        if let Some(&id) = self.locations.get(&place) {
            return id;
        }
        let line = match frame.names[..] {
            // A viewer shows functions only.
            [] => vec![self.line(&place, None)],
            ref names => {
                let names = names.iter();
                names
                    .map(|name| self.line(&function(name), name.line.as_ref()))
                    .collect()
            }
        };
        let module = frame.names.last().map(|name| &name.module);
        let mapping = module.and_then(|module| self.mappings.get(module));
        let id = self.profile.location.len() as u64 + 1;
        self.profile.location.push(proto::Location {
            id,
            mapping_id: mapping.copied().unwrap_or(0),
            address: frame.address,
            line,
        });
        self.locations.insert(place, id);
        id
    }

    fn line(&mut self, name: &str, source: Option<&(String, u32)>) -> proto::Line {
        let (file, line) = source.map_or(("", 0), |(file, line)| (file.as_str(), *line));
        let (name, filename) = (self.string(name), self.string(file));
        let next = self.profile.function.len() as u64 + 1;
        let function_id = *self.functions.entry((name, filename)).or_insert(next);
        if function_id == next {
            self.profile.function.push(proto::Function {
                id: next,
                name,
                system_name: name,
                filename,
            });
        }
        proto::Line {
            function_id,
            line: line.into(),
        }
    }
}

/// What tells one place of the program from another.
fn place(frame: &Frame) -> String {
    let name = |name: &Name| match &name.line {
        Some((file, line)) => format!("{name} {file} {line}"),
        None => name.to_string(),
    };
    match frame.names[..] {
        [] => format!("{:#x}", frame.address),
        ref names => names.iter().map(name).collect::<Vec<_>>().join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use ntheap::stats::Count;

    fn frame(address: u64, symbols: &[&str]) -> Frame {
        let name = |symbol: &&str| Name {
            module: "app".into(),
            symbol: Some((*symbol).into()),
            displacement: 0x10,
            line: Some((r"C:\src\app.cpp".into(), 7)),
            ..Name::default()
        };
        Frame {
            address,
            names: symbols.iter().map(name).collect(),
        }
    }

    fn decoded(samples: &[Sample], options: &PprofOptions) -> proto::Profile {
        let mut bytes = Vec::new();
        write_pprof(samples.iter().cloned(), options, &mut bytes).unwrap();
        let mut plain = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
        proto::Profile::decode(&plain[..]).unwrap()
    }

    #[test]
    fn every_reference_of_a_profile_leads_somewhere() {
        let count = |blocks, bytes| Count { blocks, bytes };
        let samples = [
            Sample {
                frames: vec![frame(0x1010, &["inlined", "f"]), frame(0x2020, &["main"])],
                before: count(1, 16),
                after: count(4, 64),
            },
            // The same place of a module that moved.
            Sample {
                frames: vec![
                    frame(0x9020, &["main"]),
                    Frame {
                        address: 0x77,
                        names: vec![],
                    },
                ],
                before: count(2, 32),
                after: count(0, 0),
            },
            Sample {
                frames: vec![],
                before: count(2, 16),
                after: count(0, 0),
            },
            Sample {
                frames: vec![],
                before: count(0, 0),
                after: count(3, 24),
            },
            // Nothing gained: left out.
            Sample {
                frames: vec![frame(0x3030, &["g"])],
                before: count(1, 8),
                after: count(1, 8),
            },
        ];
        let options = PprofOptions {
            timestamp: 1_700_000_000,
            seconds: 60,
            mappings: vec![Mapping {
                module: "app".into(),
                start: 0x1000,
                end: 0xa000,
                file: r"C:\app.exe".into(),
                build_id: String::new(),
            }],
            comments: vec!["of a test".into()],
            ..PprofOptions::default()
        };
        let profile = decoded(&samples, &options);
        let text = |index: i64| profile.string_table[index as usize].as_str();
        assert_eq!(text(0), "");
        let types = profile
            .sample_type
            .iter()
            .map(|t| (text(t.kind), text(t.unit)));
        assert_eq!(
            types.collect::<Vec<_>>(),
            [("inuse_objects", "count"), ("inuse_space", "bytes")]
        );
        assert_eq!(text(profile.default_sample_type), "inuse_space");
        assert_eq!(text(profile.comment[0]), "of a test");
        assert_eq!(profile.time_nanos, 1_700_000_000_000_000_000);
        assert_eq!(profile.duration_nanos, 60_000_000_000);
        assert_eq!(text(profile.mapping[0].filename), r"C:\app.exe");

        let location = |id: u64| profile.location.iter().find(|l| l.id == id).unwrap();
        let name = |id: u64| {
            let function = profile.function.iter().find(|f| f.id == id).unwrap();
            text(function.name)
        };
        let stacks: Vec<(Vec<&str>, &[i64])> = profile
            .sample
            .iter()
            .map(|sample| {
                let lines = sample.location_id.iter().flat_map(|&id| &location(id).line);
                (
                    lines.map(|line| name(line.function_id)).collect(),
                    &sample.value[..],
                )
            })
            .collect();
        assert_eq!(
            stacks,
            [
                (vec!["app!inlined", "app!f", "app!main"], &[3, 48][..]),
                (vec!["app!main", "0x77"], &[-2, -32][..]),
                (vec!["[no stack]"], &[1, 8][..]),
            ]
        );
        assert_eq!(profile.location.len(), 4, "main is one place");
        assert_eq!(location(1).mapping_id, 1);
        assert_eq!(location(1).line[0].line, 7);
        assert_eq!(
            profile.sample[0].location_id[1],
            profile.sample[1].location_id[0]
        );
    }
}
