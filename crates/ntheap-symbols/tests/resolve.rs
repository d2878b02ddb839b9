//! Resolution from local folders.

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use ntheap::layout::TypeSource;
use ntheap_symbols::{
    Error, ModuleStatus, ModuleSymbols, Resolution, SymbolDetail, SymbolKind, Symbols,
};

fn frames(resolution: &Resolution) -> Vec<(&str, Option<u32>, bool)> {
    let frames = resolution.frames.iter();
    frames
        .map(|f| (f.function.as_str(), f.line, f.inlined))
        .collect()
}

#[test]
fn functions_lines_and_inlined_calls() {
    let symbols = folder(&testdata()).build();
    let module = ordersvc();

    let at = symbols.resolve(&module, 0x1449).unwrap();
    assert_eq!(frames(&at), [("ServiceStart", Some(159), false)]);
    assert_eq!(at.displacement, 0x449);
    assert_eq!(
        at.function().file.as_deref(),
        Some(r"C:\src\ordersvc\main.cpp")
    );
    let call = symbols.resolve_return(&module, 0x1449).unwrap();
    assert_eq!(frames(&call), [("ServiceStart", Some(158), false)]);
    assert_eq!(
        call.displacement, 0x449,
        "the displacement stays that of the address itself"
    );

    let call = symbols.resolve_return(&module, 0x29f6).unwrap();
    assert_eq!(
        frames(&call),
        [
            ("app::core::AllocateZeroed", Some(55), true),
            ("app::orders::AuditTree", Some(110), false)
        ]
    );
    assert_eq!(call.displacement, 0x36);
    let inner = &call.frames[0];
    assert_eq!(inner.file.as_deref(), Some(r"C:\src\ordersvc\core.h"));
    assert_eq!(
        inner.signature.as_deref(),
        Some("app::core::AllocateZeroed(void*, unsigned long long)")
    );
    let three = symbols.resolve(&module, 0x1084).unwrap();
    assert_eq!(
        frames(&three),
        [
            ("app::Match", Some(17), true),
            ("app::ReadCommandLine", Some(41), true),
            ("ServiceStart", Some(155), false)
        ]
    );
    let template = symbols.resolve(&module, 0x1ffe).unwrap();
    assert_eq!(
        template.function().function,
        "app::cache::Table<app::cache::Blob,509>::Insert"
    );
    // The first byte of a function is its own, also as a return address.
    let first = symbols.resolve_return(&module, 0x1000).unwrap();
    assert_eq!(
        (first.function().function.as_str(), first.displacement),
        ("ServiceStart", 0)
    );
    assert_eq!(symbols.resolve(&module, 0xfff), None);

    let x86 = self::module("ordersvc.pdb", ORDERSVC_X86);
    let call = symbols.resolve_return(&x86, 0x149b).unwrap();
    assert_eq!(frames(&call), [("ServiceStart", Some(160), false)]);
    let strkit = self::module("strkit.pdb", STRKIT);
    let names = symbols.search(&strkit, "*AllocateRaw");
    assert_eq!(names[0].name, "strkit::`anonymous namespace'::AllocateRaw");
}

#[test]
fn a_pdb_that_is_in_memory() {
    let bytes = fs::read(pdb_file("ordersvc.pdb", ORDERSVC)).unwrap();
    let limit = Duration::from_secs(60);
    let found = ModuleSymbols::from_bytes(bytes.clone(), limit).unwrap();
    let kept = folder(&testdata()).build().module(&ordersvc()).unwrap();
    for rva in (0xfff..0x3000).step_by(0x11) {
        assert_eq!(found.resolve(rva), kept.resolve(rva), "{rva:x}");
        assert_eq!(found.source_line(rva), kept.source_line(rva), "{rva:x}");
    }
    let types = |symbols: &ModuleSymbols| symbols.types().unwrap().structures().count();
    assert_eq!(types(&found), types(&kept));
    for broken in [&[][..], b"no PDB", &bytes[..bytes.len() / 2]] {
        ModuleSymbols::from_bytes(broken.to_vec(), limit).unwrap_err();
    }
    let late = ModuleSymbols::from_bytes(bytes, Duration::ZERO).unwrap_err();
    assert!(matches!(late, Error::TimedOut { .. }));
}

#[test]
fn where_the_code_of_a_line_begins() {
    let symbols = folder(&testdata()).build();
    let module = ordersvc();
    let place = |rva| {
        let line = symbols.source_line(&module, rva)?;
        assert_eq!(line.file, r"C:\src\ordersvc\main.cpp");
        Some((line.line, line.displacement))
    };
    assert_eq!(place(0xfff), None);
    assert_eq!(place(0x1000), Some((153, 0)));
    // Code of inlined functions is the calling line's.
    assert_eq!(place(0x1349), Some((155, 0x334)));
    assert_eq!(place(0x19d0), Some((133, 7)));
    assert_eq!(place(0x4830), None, "data");
    // The records and the cache of functions tell the same lines.
    let loaded = symbols.module(&module).unwrap();
    let mut lines = 0;
    for rva in 0x1000..0x3000 {
        let Some(resolution) = loaded.resolve(rva) else {
            continue;
        };
        let Some(line) = resolution.function().line else {
            continue;
        };
        assert_eq!(
            loaded.source_line(rva).map(|l| l.line),
            Some(line),
            "{rva:x}"
        );
        lines += 1;
    }
    assert!(lines > 0x1000, "{lines}");
}

#[test]
fn parameter_types() {
    let symbols = folder(&testdata()).build();
    for module in [ordersvc(), self::module("ordersvc.pdb", ORDERSVC_X86)] {
        let parameters = |name| {
            let rva = symbols.lookup(&module, name).unwrap();
            symbols.parameters(&module, rva)
        };
        let wide = module == ordersvc();
        let size = if wide { "int64" } else { "int" };
        let expected = format!("(void *, unsigned {size}, unsigned int)");
        assert_eq!(parameters("app::core::Allocate"), Some(expected));
        let expected = "(unsigned char *)".to_owned();
        assert_eq!(parameters("ServiceStart"), Some(expected));
        // A reference is a pointer.
        let expected = "(class app::Random *)".to_owned();
        assert_eq!(parameters("app::PhaseTwo"), Some(expected));
        assert_eq!(parameters("app::g_heaps"), None);
    }
}

#[test]
fn symbols_by_name_and_address() {
    let symbols = folder(&testdata()).build();
    let module = ordersvc();
    assert_eq!(symbols.lookup(&module, "app::g_heaps"), Some(0x4830));
    assert_eq!(symbols.lookup(&module, "APP::G_HEAPS"), Some(0x4830));
    assert_eq!(
        symbols.lookup(&module, "?g_heaps@app@@3UHeaps@1@A"),
        Some(0x4830)
    );
    assert_eq!(
        symbols.lookup(&module, "_imp_RtlAllocateHeap"),
        Some(0x3290)
    );
    assert_eq!(symbols.lookup(&module, "app::g_hea"), None);

    let (below, above) = symbols.nearest(&module, 0x4838);
    assert_eq!(below.unwrap().name, "app::g_heaps");
    assert_eq!(above.unwrap().name, "app::cache::g_table");
    let data = symbols.resolve(&module, 0x4838).unwrap();
    assert_eq!(
        (data.function().function.as_str(), data.displacement),
        ("app::g_heaps", 8)
    );

    let found = symbols.search(&module, "app::parse::*Parse?al*");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "app::parse::JsonParser::ParseValue");
    assert_eq!(found[0].kind, SymbolKind::Procedure);
    assert_eq!(
        found[0].signature(),
        "app::parse::JsonParser::ParseValue(unsigned int,unsigned int)"
    );
}

#[test]
fn layouts() {
    let symbols = folder(&testdata()).build();
    let loaded = symbols.module(&ordersvc()).unwrap();
    let types = loaded.types().unwrap();
    assert_eq!(types.size_of("app::Config"), Some(0x28));
    assert_eq!(types.field_offset("app::Config", "leak"), Some(0x10));
    assert_eq!(types.field_offset("app::Config", "none"), None);
    assert_eq!(types.size_of("none"), None);
    let config = types.structure("app::Config").unwrap();
    let fields: Vec<_> = config
        .fields
        .iter()
        .map(|f| (f.offset, f.name.as_str(), f.type_name.as_str()))
        .collect();
    assert_eq!(fields[..2], [(0, "seed", "Uint8B"), (8, "scale", "Uint4B")]);
    let vector = types.structure("app::core::Vector<void *>").unwrap();
    assert_eq!(vector.fields[1].type_name, "Ptr64 Ptr64 Void");
}

#[test]
fn every_store_layout() {
    let content = pdb_bytes("ordersvc.pdb", ORDERSVC);
    let packed = cabinet("ordersvc.pdb", &content);
    let lower = ORDERSVC.to_lowercase();
    let layouts: [(&[&str], &[u8]); 8] = [
        (&["ordersvc.pdb"], &content),
        (&["OrderSvc.PDB"], &content),
        (&["ordersvc.pdb", ORDERSVC, "ordersvc.pdb"], &content),
        (&["ORDERSVC.pdb", &lower, "OrderSvc.pdb"], &content),
        (&["or", "ordersvc.pdb", ORDERSVC, "ordersvc.pdb"], &content),
        (&["ordersvc.pdb", ORDERSVC, "ordersvc.pd_"], &packed),
        (&["exe", "ordersvc.pdb"], &content),
        (&["symbols", "dll", "ordersvc.pdb"], &content),
    ];
    for (parts, content) in layouts {
        let temp = tempfile::tempdir().unwrap();
        put(temp.path(), parts, content);
        if parts[0] == "or" {
            put(temp.path(), &["index2.txt"], b"");
        }
        let symbols = folder(temp.path()).build();
        assert!(symbols.resolve(&ordersvc(), 0x1449).is_some(), "{parts:?}");
        // Also beside the dump, without any symbol path.
        let symbols = Symbols::builder().extra_folder(temp.path()).build();
        assert!(symbols.resolve(&ordersvc(), 0x1449).is_some(), "{parts:?}");
    }
}

#[test]
fn where_the_module_was_built_is_looked_at_if_that_is_wanted() {
    let temp = tempfile::tempdir().unwrap();
    put(
        temp.path(),
        &["ordersvc.pdb"],
        &pdb_bytes("ordersvc.pdb", ORDERSVC),
    );
    let here = temp
        .path()
        .join("ordersvc.pdb")
        .to_str()
        .unwrap()
        .to_owned();
    let symbols = Symbols::builder().recorded_folders(true).build();
    let mut module = ordersvc();
    assert!(symbols.resolve(&module, 0x1449).is_none());
    module.pdb.as_mut().unwrap().file.clone_from(&here);
    let careful = Symbols::builder().build();
    assert!(careful.resolve(&module, 0x1449).is_none());
    assert!(symbols.resolve(&module, 0x1449).is_some());
    let mut module = ordersvc();
    module.path = here.replace(".pdb", ".exe");
    assert!(symbols.resolve(&module, 0x1449).is_some());
    // A share could be on a machine that is to be told of this one.
    let mut module = ordersvc();
    module.pdb.as_mut().unwrap().file = format!("/{here}");
    assert!(symbols.resolve(&module, 0x1449).is_none());
}

#[test]
fn the_identity_decides() {
    let temp = tempfile::tempdir().unwrap();
    put(
        temp.path(),
        &["ordersvc.pdb"],
        &pdb_bytes("ordersvc.pdb", ORDERSVC_X86),
    );
    let symbols = folder(temp.path()).build();
    let ModuleStatus::NotFound { tried } = symbols.status(&ordersvc()) else {
        panic!()
    };
    assert!(
        tried[0].contains(&format!("is {ORDERSVC_X86}, wanted {ORDERSVC}")),
        "{tried:?}"
    );
    assert!(tried.iter().any(|t| t.ends_with("not there")), "{tried:?}");

    let symbols = folder(temp.path()).allow_mismatched(true).build();
    let ModuleStatus::Loaded { mismatched, id, .. } = symbols.status(&ordersvc()) else {
        panic!()
    };
    assert!(mismatched);
    assert_eq!(id.breakpad().to_string(), ORDERSVC_X86);

    // A right one elsewhere is preferred.
    let symbols = folder(temp.path())
        .extra_folder(testdata())
        .allow_mismatched(true)
        .build();
    let ModuleStatus::Loaded { mismatched, .. } = symbols.status(&ordersvc()) else {
        panic!()
    };
    assert!(!mismatched);
    // The age counts too.
    let older = module("ordersvc.pdb", &ORDERSVC.replace("2E1", "2E2"));
    let symbols = folder(&testdata()).build();
    assert!(matches!(
        symbols.status(&older),
        ModuleStatus::NotFound { .. }
    ));
}

#[test]
fn statuses() {
    let symbols = folder(&testdata()).build();
    let mut module = ordersvc();
    let ModuleStatus::Loaded {
        path,
        detail,
        line_error,
        ..
    } = symbols.status(&module)
    else {
        panic!()
    };
    assert!(path.ends_with(format!("ordersvc.pdb/{ORDERSVC}/ordersvc.pdb")));
    assert_eq!((detail, line_error), (SymbolDetail::Private, None));

    module.pdb.as_mut().unwrap().file = r"C:\x\..".to_owned();
    assert!(matches!(
        symbols.status(&module),
        ModuleStatus::NotFound { .. }
    ));
    module.pdb = None;
    assert_eq!(symbols.status(&module), ModuleStatus::NoPdbReference);
    assert_eq!(symbols.nearest(&module, 0x1000), (None, None));

    let too_large = folder(&testdata()).max_pdb_size(1000).build();
    let ModuleStatus::Failed { reason, .. } = too_large.status(&ordersvc()) else {
        panic!()
    };
    assert!(reason.contains("more than the limit of 1000"), "{reason}");
    let no_time = folder(&testdata())
        .read_limit(std::time::Duration::ZERO)
        .build();
    assert!(matches!(
        no_time.status(&ordersvc()),
        ModuleStatus::Failed { .. }
    ));
}

#[test]
fn later_runs_use_what_was_kept() {
    let temp = tempfile::tempdir().unwrap();
    let run = || {
        let symbols = folder(&testdata()).cache_dir(temp.path()).build();
        symbols.resolve_return(&ordersvc(), 0x29f6).unwrap()
    };
    let first = run();
    let kept: Vec<_> = fs::read_dir(temp.path().join("v1"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [kept] = kept.as_slice() else {
        panic!("{kept:?}")
    };
    let sound = fs::read(kept).unwrap();
    assert_eq!(run(), first);

    // What is read is the kept file: another name in it, with a right checksum, shows.
    for damage in 0..40 {
        let mut damaged = sound.clone();
        let at = sound.len() * damage / 40;
        if damage % 2 == 0 {
            damaged.truncate(at);
        } else {
            damaged[at] ^= 0xff;
        }
        fs::write(kept, &damaged).unwrap();
        assert_eq!(run(), first, "damage {damage}");
        assert_eq!(fs::read(kept).unwrap(), sound, "rebuilt");
    }
}

#[test]
fn many_threads_share_one() {
    let symbols = Arc::new(folder(&testdata()).build());
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let symbols = Arc::clone(&symbols);
            std::thread::spawn(move || {
                let id = if i % 2 == 0 { ORDERSVC } else { ORDERSVC_X86 };
                symbols
                    .resolve(&module("ordersvc.pdb", id), 0x1020)
                    .unwrap()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap().function().function, "ServiceStart");
    }
}
