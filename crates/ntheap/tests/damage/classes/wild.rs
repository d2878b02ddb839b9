//! Wild writes, and several pages at once.

use super::heaps::{leave_out, overwrite, page_of, picked};
use crate::{
    image::{Addresses, PAGE},
    score::{Case, Class},
    subject::Subject,
};

/// Of untouched blocks 99 per cent have to be found.
const FLOOR: u64 = 990;
/// Pages in a row.
const ROW: u64 = 16;

pub(super) fn classes() -> Vec<Class> {
    let class = |name, damage| Class {
        name,
        floor: Some(FLOOR),
        damage,
    };
    vec![
        class("sixteen bytes of noise anywhere", |subject, case| {
            for page in picked(&subject.parts.pages) {
                let mut noise = Noise(page);
                let at = page + noise.next() % (PAGE - 16);
                overwrite(subject, at, &noise.bytes(16), case);
            }
        }),
        class("a header of noise", |subject, case| {
            for at in picked(&subject.parts.headers) {
                overwrite(subject, at, &Noise(at).bytes(8), case);
            }
        }),
        class("a page of noise", |subject, case| {
            for page in picked(&subject.parts.pages) {
                let page = page_of(page).start;
                overwrite(subject, page, &Noise(page).bytes(PAGE), case);
            }
        }),
        class("a page with another one's bytes", |subject, case| {
            let pages = &subject.parts.pages;
            for page in picked(pages) {
                let page = page_of(page).start;
                let behind = pages.partition_point(|&other| other <= page);
                let other = pages
                    .get(behind)
                    .and_then(|&o| subject.image.offset(page_of(o).start));
                if let Some(offset) = other {
                    let bytes = subject.image.bytes()[offset..][..PAGE as usize].to_vec();
                    overwrite(subject, page, &bytes, case);
                }
            }
        }),
        class("sixteen pages in a row missing", |subject, case| {
            for page in picked(&subject.parts.pages) {
                let start = page_of(page).start;
                let row = start..start + ROW * PAGE;
                leave_out(subject, vec![row], case);
            }
        }),
        class("every tenth page missing", |subject, case| {
            leave_out(subject, tenth(subject), case);
        }),
        class("every tenth page zeroed", |subject, case| {
            let gone = tenth(subject);
            let mut image = subject.image.clone();
            gone.iter().for_each(|page| image.zero(page));
            case(Case {
                bytes: image.bytes().to_vec(),
                touched: gone,
            });
        }),
    ]
}

/// Numbers that look random, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 29
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn tenth(subject: &Subject) -> Vec<Addresses> {
    let pages = subject.parts.pages.iter().skip(4).step_by(10);
    pages.map(|&page| page_of(page)).collect()
}
