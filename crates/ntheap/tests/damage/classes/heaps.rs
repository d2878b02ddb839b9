//! Damage inside heaps: headers of heaps, segments, containers and entries; pages.

use super::class;
use crate::{
    image::{Addresses, PAGE},
    score::{Case, Class},
    subject::Subject,
};

/// Of each sort of part so many are damaged in each dump, evenly spread.
const PICKED: usize = 6;

pub(super) fn classes() -> Vec<Class> {
    // A page range of a segment heap has no proof but its descriptor, an LFH subsegment none but its
    // header.
    let open = |name, damage| Class {
        name,
        floor: None,
        damage,
    };
    vec![
        class("NT heap's first page missing", |subject, case| {
            missing(subject, &subject.parts.nt_heaps, case);
        }),
        class("NT heap's first page zeroed", |subject, case| {
            zeroed(subject, &subject.parts.nt_heaps, case);
        }),
        class("Encoding wrong", |subject, case| {
            for &at in &subject.parts.encodings {
                let wrong: Vec<u8> = (1..=16u8).map(|n| n.wrapping_mul(0x35)).collect();
                overwrite(subject, at, &wrong, case);
            }
        }),
        class("one bit of Encoding flipped", |subject, case| {
            for &at in &subject.parts.encodings {
                // The size's key: it begins with the header's own eight bytes.
                flip(
                    subject,
                    at + if subject.parts.pointer == 8 { 8 } else { 0 },
                    case,
                );
            }
        }),
        class("further segment's header page missing", |subject, case| {
            missing(subject, &subject.parts.segments, case);
        }),
        class("further segment's header page zeroed", |subject, case| {
            zeroed(subject, &subject.parts.segments, case);
        }),
        class("segment list broken in both directions", |subject, case| {
            for &link in &subject.parts.segment_links {
                let wild = vec![0x41; 2 * subject.parts.pointer as usize];
                overwrite(subject, link, &wild, case);
            }
        }),
        class("segment heap's first page missing", |subject, case| {
            missing(subject, &subject.parts.segment_heaps, case);
        }),
        class("segment heap's first page zeroed", |subject, case| {
            zeroed(subject, &subject.parts.segment_heaps, case);
        }),
        open("page segment's first page missing", |subject, case| {
            missing(subject, &subject.parts.page_segments, case);
        }),
        open("page segment's first page zeroed", |subject, case| {
            zeroed(subject, &subject.parts.page_segments, case);
        }),
        class("page heap's root missing", |subject, case| {
            let roots: Vec<u64> = subject
                .parts
                .page_heaps
                .iter()
                .map(|at| at + PAGE)
                .collect();
            missing(subject, &roots, case);
        }),
        class("page heap's root zeroed", |subject, case| {
            let roots: Vec<u64> = subject
                .parts
                .page_heaps
                .iter()
                .map(|at| at + PAGE)
                .collect();
            zeroed(subject, &roots, case);
        }),
        class("page heap's records missing", |subject, case| {
            missing(subject, &picked(&subject.parts.records), case);
        }),
        class("LFH subsegment zeroed", |subject, case| {
            for at in picked(&subject.parts.subsegments) {
                overwrite(subject, at, &[0; 0x20], case);
            }
        }),
        class("LFH subsegment's page missing", |subject, case| {
            missing(subject, &picked(&subject.parts.subsegments), case);
        }),
        // One of a few slots leaves nothing that tells what it was.
        open("LFH container's header zeroed", |subject, case| {
            for at in picked(&subject.parts.containers) {
                overwrite(subject, at, &[0; 0x10], case);
            }
        }),
        class("LFH container's first page missing", |subject, case| {
            missing(subject, &picked(&subject.parts.containers), case);
        }),
        class("segment heap's subsegment zeroed", |subject, case| {
            for at in picked(&subject.parts.ranges) {
                overwrite(subject, at, &[0; 0x18], case);
            }
        }),
        class("one bit of a header flipped", |subject, case| {
            for (index, at) in (0..).zip(picked(&subject.parts.headers)) {
                flip(subject, at + index % 4, case);
            }
        }),
        class("one page missing", |subject, case| {
            missing(subject, &picked(&subject.parts.pages), case);
        }),
        class("one page zeroed", |subject, case| {
            zeroed(subject, &picked(&subject.parts.pages), case);
        }),
    ]
}

/// A few of many, evenly spread.
pub(super) fn picked(all: &[u64]) -> Vec<u64> {
    let step = all.len().div_ceil(PICKED).max(1);
    all.iter().copied().step_by(step).collect()
}

pub(super) fn page_of(address: u64) -> Addresses {
    let start = address & !(PAGE - 1);
    start..start + PAGE
}

/// A case for each of these addresses: its page is left out.
fn missing(subject: &Subject, places: &[u64], case: &mut dyn FnMut(Case)) {
    for &place in places {
        leave_out(subject, vec![page_of(place)], case);
    }
}

/// A case: all of this is left out.
pub(super) fn leave_out(subject: &Subject, gone: Vec<Addresses>, case: &mut dyn FnMut(Case)) {
    case(Case {
        bytes: subject.image.without(&gone).bytes().to_vec(),
        touched: gone,
    });
}

/// A case for each of these addresses: its page is overwritten with zeros.
fn zeroed(subject: &Subject, places: &[u64], case: &mut dyn FnMut(Case)) {
    for &place in places {
        zero_out(subject, vec![page_of(place)], case);
    }
}

/// A case: all of this is overwritten with zeros.
pub(super) fn zero_out(subject: &Subject, gone: Vec<Addresses>, case: &mut dyn FnMut(Case)) {
    let mut image = subject.image.clone();
    gone.iter().for_each(|addresses| image.zero(addresses));
    case(Case {
        bytes: image.bytes().to_vec(),
        touched: gone,
    });
}

pub(super) fn overwrite(subject: &Subject, at: u64, bytes: &[u8], case: &mut dyn FnMut(Case)) {
    let mut image = subject.image.clone();
    let gone = at..at + bytes.len() as u64;
    if image.put(at, bytes) {
        case(Case {
            bytes: image.bytes().to_vec(),
            touched: vec![gone],
        });
    }
}

fn flip(subject: &Subject, at: u64, case: &mut dyn FnMut(Case)) {
    const BIT: u8 = 0x08;
    if let Some(offset) = subject.image.offset(at) {
        let byte = subject.image.bytes()[offset] ^ BIT;
        overwrite(subject, at, &[byte], case);
    }
}
