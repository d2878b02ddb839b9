//! What holds of every fingerprint: it is in bounds, its totals are exact, and sums do not depend on the
//! order of their parts.

use proptest::prelude::*;

use super::{
    Fingerprint, HeapRow, Known, LIMIT, LabelRow, ModuleIdentity, OwnerRow, ProcessRow, Row,
    SiteRow, SizeRow, StackRow, Table, TypeRow, compare,
};
use crate::json::CountReport;

/// A block: stack (0: none), size, how many.
type Block = (usize, u64, u64);

fn module(number: usize, name: &str) -> ModuleIdentity {
    ModuleIdentity {
        name: format!("{name}{number}.dll"),
        timestamp: number as u32,
        size: 0x1_0000,
        system: number.is_multiple_of(2),
        pdb: (number % 3 == 1).then(|| format!("{name}.pdb")),
        pdb_id: (number % 3 == 1).then(|| "3249D99D0C4049318610F4E4FB0B69361".to_owned()),
    }
}

/// A fingerprint of a dump with these blocks, as one is collected.
fn fingerprint(blocks: &[Block], name: &str, known: bool) -> Fingerprint {
    let modules: Vec<ModuleIdentity> = (0..7).map(|number| module(number, name)).collect();
    let stack = |number: usize| {
        let frames = (0..1 + number % 9).map(|depth| {
            let at = (number + depth) % 8;
            (at < 7).then_some((at, (number * 16 + depth) as u64))
        });
        StackRow::of(frames.collect(), &modules)
    };
    let counted = |size: u64, blocks: u64| (blocks, size.saturating_mul(blocks));
    let mut all = Fingerprint {
        dumps: 1,
        first: blocks.len() as u32,
        last: blocks.len() as u32,
        processes: vec![ProcessRow {
            program: Some(format!("{name}1.dll")),
            version: Some("1.2.3.4".to_owned()),
            build: 19041,
            bits: 64,
            dumps: 1,
        }],
        modules: modules.clone(),
        ..Fingerprint::default()
    };
    let mut sites = Vec::new();
    for &(number, size, blocks) in blocks {
        let (blocks, bytes) = counted(size, blocks);
        if number == 0 {
            all.untraced.add(CountReport { blocks, bytes });
            continue;
        }
        let row = stack(number);
        sites.push(SiteRow {
            stack: row.stack.clone(),
            size,
            blocks,
            bytes,
        });
        all.stacks.push(row);
    }
    all.sites = Table::of(sites);
    all.sizes = Table::of(blocks.iter().map(|&(_, size, blocks)| SizeRow {
        size,
        blocks,
        bytes: counted(size, blocks).1,
    }));
    all.heaps = Table::of(blocks.iter().map(|&(number, size, blocks)| HeapRow {
        index: number as u64,
        kind: "nt".to_owned(),
        blocks,
        bytes: counted(size, blocks).1,
    }));
    all.total = all.heaps.total;
    all.known = known.then(|| Known {
        dumps: 1,
        types: Table::of(blocks.iter().map(|&(number, size, blocks)| TypeRow {
            name: format!("{name}::Type{number}").repeat(1 + number % 5),
            kind: "class".to_owned(),
            blocks,
            bytes: counted(size, blocks).1,
            retained: size,
        })),
        owners: Table::of(blocks.iter().map(|&(number, size, blocks)| OwnerRow {
            owner: (number % 5 > 0).then(|| format!("{name}{number}")),
            kind: "object".to_owned(),
            blocks,
            bytes: counted(size, blocks).1,
        })),
        ..Known::default()
    });
    all.label("machine", name);
    all.in_order()
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    prop::collection::vec((0usize..60, 0u64..5000, 1u64..100), 0..40)
}

fn one() -> impl Strategy<Value = Fingerprint> {
    (blocks(), "[a-c]", any::<bool>())
        .prop_map(|(blocks, name, known)| fingerprint(&blocks, &name, known))
}

fn sum(parts: &[&Fingerprint]) -> Fingerprint {
    let mut sum = Fingerprint::default();
    parts.iter().for_each(|part| sum.add(part));
    sum
}

fn whole<R: Row>(table: &Table<R>) -> CountReport {
    let mut all = table.others.count();
    table.rows.iter().for_each(|row| all.add(row.count()));
    all
}

fn assert_exact(folded: &Fingerprint, of: &Fingerprint) {
    assert_eq!(
        (folded.dumps, folded.total, folded.untraced),
        (of.dumps, of.total, of.untraced)
    );
    assert_eq!(whole(&folded.heaps), whole(&of.heaps));
    assert_eq!(whole(&folded.sizes), whole(&of.sizes));
    assert_eq!(whole(&folded.sites), whole(&of.sites));
    let known = |of: &Fingerprint| {
        let known = of.known.as_ref();
        known.map(|known| (whole(&known.types), whole(&known.owners)))
    };
    assert_eq!(known(folded), known(of));
    let dumps = |of: &Fingerprint| of.processes.iter().map(|row| row.dumps).sum::<u64>();
    assert_eq!(dumps(folded), dumps(of));
}

proptest! {
    #[test]
    fn sums_depend_on_no_order(a in one(), b in one(), c in one()) {
        let mut left = sum(&[&a, &b]);
        left.add(&c);
        let mut right = a.clone();
        right.add(&sum(&[&b, &c]));
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(&left, &sum(&[&c, &a, &b]));
        prop_assert_eq!(left.dumps, 3);
        let total = a.total.bytes + b.total.bytes + c.total.bytes;
        prop_assert_eq!(whole(&left.sites).bytes + left.untraced.bytes, total);
    }

    #[test]
    fn many_add_up_as_one_by_one(parts in prop::collection::vec(one(), 0..9)) {
        let mut many = super::Sum::default();
        parts.iter().for_each(|part| many.add(part.clone()));
        prop_assert_eq!(many.finish(), sum(&parts.iter().collect::<Vec<_>>()));
    }

    #[test]
    fn nothing_is_the_sum_of_nothing(a in one()) {
        prop_assert_eq!(sum(&[&a]), a.clone());
        prop_assert_eq!(sum(&[&Fingerprint::default(), &a, &Fingerprint::default()]), a);
    }

    #[test]
    fn folding_keeps_the_totals(a in one(), b in one(), limit in 12_000usize..40_000) {
        let both = sum(&[&a, &b]);
        let folded = both.folded(limit);
        prop_assert!(folded.to_line().len() <= limit);
        assert_exact(&folded, &both);
        // What is folded adds up as well as what is not.
        assert_exact(&sum(&[&folded, &a]), &sum(&[&both, &a]));
        // A key lacks no more than is said.
        for site in &both.sites.rows {
            let kept = folded.sites.rows.iter().find(|row| row.key() == site.key());
            let lacking = site.bytes - kept.map_or(0, |row| row.bytes);
            prop_assert!(lacking <= folded.sites.others.most_bytes);
        }
    }

    #[test]
    fn what_is_written_is_read(a in one(), b in one()) {
        let folded = sum(&[&a, &b]).folded(20_000);
        prop_assert_eq!(Fingerprint::parse(&folded.to_line()).expect("it is one"), folded.clone());
        let pretty = serde_json::to_string_pretty(&crate::json::document("fingerprint", &folded));
        prop_assert_eq!(Fingerprint::parse(&pretty.expect("JSON")).expect("it is one"), folded);
    }

    #[test]
    fn changes_are_the_difference(a in one(), b in one()) {
        let diff = compare::compare(&a, &b, compare::Sites::StackAndSize);
        let sites: i64 = diff.sites.iter().map(|row| row.change.delta_bytes).sum();
        let untraced = b.untraced.bytes as i64 - a.untraced.bytes as i64;
        prop_assert_eq!(sites + untraced, diff.total.delta_bytes);
        let back = compare::compare(&b, &a, compare::Sites::Stack);
        prop_assert_eq!(back.total.delta_bytes, -diff.total.delta_bytes);
    }

    #[test]
    fn strangers_texts_are_no_harm(text in "\\PC{0,300}") {
        let _ = Fingerprint::parse(&text);
        let line = fingerprint(&[(1, 2, 3)], "a", true).to_line();
        let _ = Fingerprint::parse(&line.replacen("\"bytes\":6", &text, 1));
    }
}

#[test]
fn the_largest_fingerprint_is_in_bounds() {
    let blocks: Vec<Block> = (0..20_000)
        .map(|n| (n, 8 + n as u64 % 9000, 1 + n as u64 % 7))
        .collect();
    let mut huge = fingerprint(&blocks, "application", true);
    // Names as long as they can be, and many of everything.
    for number in 0..20 {
        let mut other = fingerprint(&[(1, 1, 1)], "x", false);
        other.labels = vec![LabelRow {
            label: format!("label{number}"),
            value: Some("\u{1d11e}".repeat(150)),
            dumps: 1,
        }];
        other.processes[0].program = Some(format!("{number}{}", "\\".repeat(150)));
        huge.add(&other);
    }
    let folded = huge.folded(LIMIT);
    let length = folded.to_line().len();
    assert!(length <= LIMIT, "{length}");
    assert!(length > LIMIT / 2, "{length} is a waste of room");
    assert!(folded.sites.rows.len() > 100, "{}", folded.sites.rows.len());
    assert_exact(&folded, &huge);
}

#[test]
fn what_contradicts_itself_is_refused() {
    let good = fingerprint(&[(0, 8, 2), (3, 16, 4)], "app", true);
    assert!(Fingerprint::parse(&good.to_line()).is_ok());
    let spoilt: [&dyn Fn(&mut Fingerprint); 8] = [
        &|of| of.total.blocks += 1,
        &|of| of.sites.rows[0].bytes += 1,
        &|of| of.stacks[0].frames[0] = Some((usize::MAX, 1)),
        &|of| of.stacks[0].site = "0123456789abcdef".to_owned(),
        &|of| of.modules.clear(),
        &|of| of.dumps = 0,
        &|of| of.labels[0].value = Some("a\nb".to_owned()),
        &|of| of.modules[0].name = "n".repeat(5000),
    ];
    for (number, spoil) in spoilt.iter().enumerate() {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(Fingerprint::parse(&bad.to_line()).is_err(), "{number}");
    }
    for text in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"schema":1,"command":"diff"}"#,
        r#"{"schema":2,"command":"fingerprint"}"#,
    ] {
        assert!(Fingerprint::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_module_keeps_its_pdb() {
    let identity = module(1, "app");
    let pdb = identity.as_module().pdb.expect("a PDB");
    assert_eq!(pdb.file, "app.pdb");
    assert_eq!(Some(pdb.id.breakpad().to_string()), identity.pdb_id);
    assert_eq!(
        ModuleIdentity::of(&identity.as_module()).pdb_id,
        identity.pdb_id
    );
}
