//! Wild writes, and several pages at once.

use ntheap_synth::Random;

use super::{
    class,
    heaps::{leave_out, overwrite, page_of, picked, zero_out},
};
use crate::{
    image::{Addresses, PAGE},
    score::Class,
    subject::Subject,
};

/// Pages in a row.
const ROW: u64 = 16;

pub(super) fn classes() -> Vec<Class> {
    vec![
        class("sixteen bytes of noise anywhere", |subject, case| {
            for page in picked(&subject.parts.pages) {
                let mut random = Random(page);
                let at = page + random.below(PAGE as usize - 16) as u64;
                overwrite(subject, at, &noise(&mut random, 16), case);
            }
        }),
        class("a header of noise", |subject, case| {
            for at in picked(&subject.parts.headers) {
                overwrite(subject, at, &noise(&mut Random(at), 8), case);
            }
        }),
        class("a page of noise", |subject, case| {
            for page in picked(&subject.parts.pages) {
                let page = page_of(page).start;
                overwrite(subject, page, &noise(&mut Random(page), PAGE), case);
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
            zero_out(subject, tenth(subject), case);
        }),
    ]
}

fn noise(random: &mut Random, count: u64) -> Vec<u8> {
    (0..count).map(|_| random.below(256) as u8).collect()
}

fn tenth(subject: &Subject) -> Vec<Addresses> {
    let pages = subject.parts.pages.iter().skip(4).step_by(10);
    pages.map(|&page| page_of(page)).collect()
}
