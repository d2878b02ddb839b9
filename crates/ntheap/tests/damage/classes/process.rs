//! Damage to what leads to the heaps: file, streams, environment blocks, lists of heaps.

use super::class;
use crate::{
    image::{Addresses, Image, PAGE, stream},
    score::{Case, Class},
    subject::Subject,
};

pub(super) fn classes() -> Vec<Class> {
    vec![
        class("count of heaps zeroed", |subject, case| {
            let mut image = subject.image.clone();
            assert!(image.put(subject.count_of_heaps, &[0; 4]));
            case(whole(image));
        }),
        class("count of heaps one too small", |subject, case| {
            let offset = subject.image.offset(subject.count_of_heaps);
            let offset = offset.expect("the count is in the dump");
            let mut image = subject.image.clone();
            let count = image.bytes()[offset];
            image.put_at(offset, &[count.saturating_sub(1)]);
            case(whole(image));
        }),
        class("array of heaps missing", |subject, case| {
            case(without(subject, vec![pages(&subject.array)]));
        }),
        class("array of heaps zeroed", |subject, case| {
            let mut image = subject.image.clone();
            image.zero(&subject.array);
            case(whole(image));
        }),
        class("process heap's handle wild", |subject, case| {
            let mut image = subject.image.clone();
            assert!(image.put(subject.process_heap, &[0x00, 0x70, 0x00, 0x00]));
            case(whole(image));
        }),
        class("ntdll's memory missing", |subject, case| {
            let ntdll = subject
                .modules
                .iter()
                .filter(|module| module.0.eq_ignore_ascii_case("ntdll.dll"));
            case(without(
                subject,
                ntdll.map(|module| module.1.clone()).collect(),
            ));
        }),
        class("no image memory", |subject, case| {
            let modules = subject.modules.iter();
            case(without(
                subject,
                modules.map(|module| module.1.clone()).collect(),
            ));
        }),
        class("private writable memory alone", private_alone),
        class("file cut at 99 %", |subject, case| cut(subject, 990, case)),
        class("file cut at 90 %", |subject, case| cut(subject, 900, case)),
        class("file cut at 75 %", |subject, case| cut(subject, 750, case)),
        class("file cut at 50 %", |subject, case| cut(subject, 500, case)),
        class("no system information", |subject, case| {
            case(whole(
                subject.image.clone().without_stream(stream::SYSTEM_INFO),
            ));
        }),
        class("no thread list", |subject, case| {
            case(whole(
                subject.image.clone().without_stream(stream::THREAD_LIST),
            ));
        }),
        class("no module list", |subject, case| {
            case(whole(
                subject.image.clone().without_stream(stream::MODULE_LIST),
            ));
        }),
        class("no memory information", |subject, case| {
            if subject.image.has_stream(stream::MEMORY_INFO_LIST) {
                let image = subject.image.clone();
                case(whole(image.without_stream(stream::MEMORY_INFO_LIST)));
            }
        }),
        class("memory alone", |subject, case| {
            let image = [
                stream::SYSTEM_INFO,
                stream::THREAD_LIST,
                stream::MODULE_LIST,
                stream::MEMORY_INFO_LIST,
            ]
            .into_iter()
            .fold(subject.image.clone(), Image::without_stream);
            case(whole(image));
        }),
        class("thread environment blocks missing", |subject, case| {
            case(without(subject, subject.teb_pages()));
        }),
        class("environment block missing", |subject, case| {
            let pebs = subject.pebs.iter().map(|&peb| pages(&(peb..peb + 1)));
            case(without(subject, pebs.collect()));
        }),
        class("all environment blocks missing", |subject, case| {
            let pebs = subject.pebs.iter().map(|&peb| pages(&(peb..peb + 1)));
            case(without(subject, pebs.chain(subject.teb_pages()).collect()));
        }),
        class(
            "links of a record in the ring of heaps overwritten",
            |subject, case| {
                for &record in &subject.ring {
                    let mut image = subject.image.clone();
                    let links = vec![0x77; 2 * subject.pointer_size];
                    assert!(image.put(record, &links));
                    case(whole(image));
                }
            },
        ),
        class(
            "name and PDB of a module out of the file",
            |subject, case| {
                const NAME: usize = 0x14;
                const CODE_VIEW: usize = 0x50;
                let list = subject.image.stream_offset(stream::MODULE_LIST);
                let list = list.expect("a list of modules") + 4;
                for index in 0..subject.modules.len() {
                    let mut image = subject.image.clone();
                    for field in [NAME, CODE_VIEW] {
                        image.put_at(list + index * 0x6c + field, &[0xff; 4]);
                    }
                    case(whole(image));
                }
            },
        ),
        class("memory list's size wrong", |subject, case| {
            for size in [0, 16, 40] {
                let mut image = subject.image.clone();
                image.set_stream_size(stream::MEMORY64_LIST, size);
                case(whole(image));
            }
        }),
    ]
}

/// Damage that touches no memory of blocks.
fn whole(image: Image) -> Case {
    Case {
        bytes: image.bytes().to_vec(),
        touched: Vec::new(),
    }
}

fn without(subject: &Subject, gone: Vec<Addresses>) -> Case {
    Case {
        bytes: subject.image.without(&gone).bytes().to_vec(),
        touched: gone,
    }
}

/// The pages that hold some addresses.
fn pages(addresses: &Addresses) -> Addresses {
    addresses.start & !(PAGE - 1)..addresses.end.next_multiple_of(PAGE)
}

/// What a dump of `MiniDumpWithPrivateReadWriteMemory` has.
fn private_alone(subject: &Subject, case: &mut dyn FnMut(Case)) {
    if subject.private.is_empty() {
        return;
    }
    let mut gone = Vec::new();
    for range in subject.image.ranges() {
        let mut at = range.start;
        for kept in &subject.private {
            if kept.start < range.end && kept.end > at {
                gone.push(at..kept.start.max(at));
                at = kept.end;
            }
        }
        gone.push(at..range.end.max(at));
    }
    gone.retain(|addresses| addresses.start < addresses.end);
    case(without(subject, gone));
}

fn cut(subject: &Subject, thousandths: usize, case: &mut dyn FnMut(Case)) {
    let (bytes, touched) = subject.image.cut(thousandths);
    case(Case { bytes, touched });
}
