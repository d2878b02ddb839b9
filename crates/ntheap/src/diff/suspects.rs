//! The answer: which growth is suspect, why, and how sure that is.

use std::sync::Arc;

use super::{
    Change, Comparison, Course, Evidence, Snapshot, Trend,
    candidates::{self, Candidate, in_lock_step},
    evidence::{Witness, references},
};
use crate::{names::NameSource, stats::Count, usage::RegionOwner};

/// Candidates of which is looked up who holds them.
const LOOKED_UP: usize = 24;
/// Rows of what came once, and of what comes and goes.
const LISTED: usize = 5;
/// Fewer bytes in as few blocks as [`FEW_BLOCKS`] are no large block.
const LARGE: i64 = 0x2000;
/// Growth by so few blocks is nothing that repeats.
const FEW_BLOCKS: i64 = 3;
/// Growth below this is noise, unless blocks are lost or come in every interval.
const NOISE_BLOCKS: i64 = 5;
/// As [`NOISE_BLOCKS`], in bytes.
const NOISE_BYTES: i64 = 0x1_0000;
/// From this score on growth is steady.
const STEADY: f64 = 0.8;

/// How to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Keep the runtimes' functions and the program's allocation wrappers in stacks.
    pub keep_frames: bool,
    /// Stacks that begin with the same so many functions are one; `None`: found by itself.
    pub depth: Option<usize>,
    /// Look up in the newest dump which blocks are lost, who holds them, and what they are.
    pub look_up: bool,
    /// Suspects at most.
    pub most: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            keep_frames: false,
            depth: None,
            look_up: true,
            most: 3,
        }
    }
}

/// Why growth is suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Blocks are lost: nobody can free them.
    Lost,
    /// It grew in every interval of a series.
    EveryInterval,
    /// One owner holds the blocks, and gets more.
    OneOwner,
    /// Many blocks of one size.
    ManyOfOneSize,
    /// Much memory.
    Bytes,
}

impl Reason {
    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Lost => "lost",
            Reason::EveryInterval => "every-interval",
            Reason::OneOwner => "one-owner",
            Reason::ManyOfOneSize => "many-of-one-size",
            Reason::Bytes => "bytes",
        }
    }
}

/// How sure it is that growth is a leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// It may be, or not.
    Low,
    /// It is likely.
    Medium,
    /// There is hardly another explanation.
    High,
}

impl Confidence {
    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// The blocks of one size among those of a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeChange {
    /// Requested size.
    pub size: u64,
    /// How they changed.
    pub change: Change,
}

/// Blocks that grew together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Suspect {
    /// The functions that say who wanted the memory, innermost first; empty without stacks.
    pub frames: Vec<Arc<str>>,
    /// Number of distinct stacks that meet in these functions.
    pub stacks: usize,
    /// The heap that most of the blocks lie in.
    pub heap: u64,
    /// By size, in order of growth.
    pub sizes: Vec<SizeChange>,
    /// From the first dump to the last.
    pub change: Change,
    /// In each dump, the oldest first.
    pub counts: Vec<Count>,
    /// How they went through the series.
    pub course: Course,
    /// Growth in bytes per hour; `None` where the dumps' times don't tell.
    pub bytes_per_hour: Option<i64>,
    /// What the newest dump says of the new blocks.
    pub evidence: Evidence,
    /// Why they are suspect, the best reason first.
    pub reasons: Vec<Reason>,
    /// How sure that is.
    pub confidence: Confidence,
    /// Whether it is a large block or two, which may well be needed.
    pub one_off: bool,
}

/// A heap that keeps memory which the program does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fragmentation {
    /// The heap.
    pub heap: u64,
    /// Growth in committed bytes.
    pub committed: i64,
    /// Growth in bytes that the program holds.
    pub busy: i64,
    /// Bytes in free blocks of the last dump.
    pub free: u64,
    /// The largest free block of the last dump.
    pub largest_free: u64,
}

/// Growth outside the heaps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outside {
    /// Growth of private memory that is no heap's and no stack's.
    pub bytes: i64,
    /// Growth of the heaps' memory.
    pub heaps: i64,
    /// Who owns what is new, the largest first.
    pub owners: Vec<RegionOwner>,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Judgement {
    /// The suspects, the worst first.
    pub suspects: Vec<Suspect>,
    /// Large blocks that came alone, and in a series what came in one interval only.
    pub once: Vec<Suspect>,
    /// What came and went, in a series.
    pub comes_and_goes: Vec<Suspect>,
    /// Suspects that are not among those named.
    pub more: usize,
    /// Growth outside the heaps, where that is more than theirs.
    pub outside: Option<Outside>,
    /// Heaps that grew without need.
    pub fragmented: Vec<Fragmentation>,
    /// The program's own functions that only pass allocations on, as they were found.
    pub wrappers: Vec<Arc<str>>,
}

pub(super) fn judge(
    comparison: &Comparison,
    last: &Snapshot<'_, '_>,
    names: &dyn NameSource,
    options: &Options,
) -> Judgement {
    let grew = comparison
        .heaps
        .iter()
        .any(|heap| !heap.new_blocks.is_empty());
    let graph = (options.look_up && grew).then(|| references(last));
    let witness = graph.as_ref().map(|graph| Witness::of(graph, names));
    let lost = witness.as_ref().map(|witness| witness.lost(comparison));
    let found = candidates::find(comparison, names, options, &lost.unwrap_or_default());
    let functions = found.functions;
    let times: Vec<u32> = comparison.moments.iter().map(|m| m.timestamp).collect();
    let (grown, others): (Vec<Candidate>, Vec<Candidate>) = found
        .all
        .into_iter()
        .partition(|candidate| candidate.bytes() > 0);
    let totals = Totals::of(&grown);
    let mut chosen = join(choose(grown), &times);

    let mut evidence = vec![Evidence::default(); chosen.len()];
    if let Some(witness) = &witness {
        let blocks = witness.blocks(comparison, &chosen);
        let parts = witness.parts_of(&blocks);
        let blocks = absorb_parts(&mut chosen, blocks, &parts, &times);
        evidence = blocks
            .iter()
            .map(|blocks| witness.evidence(blocks))
            .collect();
    }
    let naming = |candidate: &Candidate| -> Vec<Arc<str>> {
        let passed_over = match options.keep_frames {
            true => candidate.passed_over.as_slice(),
            false => &[],
        };
        let path = passed_over.iter().chain(&candidate.path);
        let functions = path.filter_map(|&id| functions.get(id));
        functions.map(|function| function.name.clone()).collect()
    };
    let suspect = |(candidate, evidence): (Candidate, Evidence)| {
        suspect(comparison, naming(&candidate), candidate, evidence)
    };
    let mut suspects: Vec<Suspect> = chosen.into_iter().zip(evidence).map(suspect).collect();
    suspects.sort_by(|a, b| {
        let order = totals.score(b).total_cmp(&totals.score(a));
        order.then_with(|| b.change.bytes().cmp(&a.change.bytes()))
    });
    let mut judgement = Judgement {
        wrappers: found
            .wrappers
            .found()
            .iter()
            .filter_map(|&id| Some(functions.get(id)?.name.clone()))
            .collect(),
        fragmented: fragmented(comparison),
        outside: outside(comparison, last),
        ..Judgement::default()
    };
    for suspect in suspects {
        let came_once = matches!(suspect.course.trend, Trend::Once(_));
        let series = suspect.counts.len() > 2;
        let is_lost = suspect.reasons.contains(&Reason::Lost);
        if series && suspect.course.trend == Trend::ComesAndGoes && !is_lost {
            judgement.comes_and_goes.push(suspect);
        } else if (series && came_once || suspect.one_off) && !is_lost {
            judgement.once.push(suspect);
        } else if !suspect.reasons.is_empty() {
            judgement.suspects.push(suspect);
        }
    }
    let waves = others.into_iter().filter(|candidate| {
        candidate.course.trend == Trend::ComesAndGoes && candidate.counts.len() > 2
    });
    let waves = waves.map(|candidate| suspect((candidate, Evidence::default())));
    judgement.comes_and_goes.extend(waves);
    judgement
        .comes_and_goes
        .sort_by_key(|wave| std::cmp::Reverse(swing(wave)));
    judgement.comes_and_goes.truncate(LISTED);
    judgement
        .once
        .sort_by_key(|once| std::cmp::Reverse(once.change.bytes()));
    judgement.once.truncate(LISTED);
    judgement.more = judgement.suspects.len().saturating_sub(options.most);
    judgement.suspects.truncate(options.most);
    judgement
}

/// From the least to the most, in bytes.
fn swing(suspect: &Suspect) -> u64 {
    let bytes = || suspect.counts.iter().map(|count| count.bytes);
    bytes().max().unwrap_or(0) - bytes().min().unwrap_or(0)
}

/// The candidates that grew by most bytes, and those that grew by most blocks.
fn choose(mut grown: Vec<Candidate>) -> Vec<Candidate> {
    grown.sort_by_key(|c| (std::cmp::Reverse(c.bytes()), c.path.clone(), c.heap));
    if grown.len() > LOOKED_UP {
        let mut rest = grown.split_off(LOOKED_UP / 2);
        rest.sort_by_key(|c| (std::cmp::Reverse(c.blocks()), c.path.clone(), c.heap));
        rest.truncate(LOOKED_UP / 2);
        grown.append(&mut rest);
    }
    grown
}

/// Joins the candidates that grow in lock-step.
fn join(candidates: Vec<Candidate>, times: &[u32]) -> Vec<Candidate> {
    let mut joined: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        match joined.iter_mut().find(|one| in_lock_step(one, &candidate)) {
            Some(one) => one.absorb(candidate, times),
            None => joined.push(candidate),
        }
    }
    joined
}

/// Joins the parts of lost objects with these, and their blocks.
fn absorb_parts(
    candidates: &mut Vec<Candidate>,
    mut blocks: Vec<Vec<u32>>,
    parts: &[Option<usize>],
    times: &[u32],
) -> Vec<Vec<u32>> {
    // A part's object can itself be a part: then it stays one of its own.
    let whole = |place: usize| parts[place].filter(|&of| parts[of].is_none());
    let mut kept = Vec::new();
    let mut places = vec![None; candidates.len()];
    let all = std::mem::take(candidates);
    let mut moved: Vec<(usize, Candidate, Vec<u32>)> = Vec::new();
    for (place, candidate) in all.into_iter().enumerate() {
        let own = std::mem::take(&mut blocks[place]);
        match whole(place) {
            Some(of) => moved.push((of, candidate, own)),
            None => {
                places[place] = Some(candidates.len());
                candidates.push(candidate);
                kept.push(own);
            }
        }
    }
    for (of, candidate, own) in moved {
        if let Some(place) = places[of] {
            let path = candidates[place].path.clone();
            candidates[place].absorb(candidate, times);
            // The object says more than what it has in common with its parts.
            candidates[place].path = path;
            kept[place].extend(own);
        }
    }
    kept
}

fn suspect(
    comparison: &Comparison,
    frames: Vec<Arc<str>>,
    candidate: Candidate,
    mut evidence: Evidence,
) -> Suspect {
    // Whoever holds the blocks may lie in memory that was not read: then nothing is called lost.
    evidence.lost = evidence.lost.filter(|_| comparison.is_complete());
    let change = Change::of(&candidate.counts);
    let per_hour = |seconds: i64| change.bytes().saturating_mul(3600) / seconds;
    let mut suspect = Suspect {
        frames,
        stacks: candidate.stacks,
        heap: comparison.heaps.get(candidate.heap).map_or(0, |h| h.handle),
        one_off: (1..=FEW_BLOCKS).contains(&change.blocks()) && change.bytes() >= LARGE,
        sizes: candidate.sizes,
        change,
        counts: candidate.counts,
        course: candidate.course,
        bytes_per_hour: (comparison.seconds > 0).then(|| per_hour(comparison.seconds)),
        evidence,
        reasons: Vec::new(),
        confidence: Confidence::Low,
    };
    suspect.reasons = reasons(&suspect);
    suspect.confidence = confidence(&suspect);
    suspect
}

fn reasons(suspect: &Suspect) -> Vec<Reason> {
    let (bytes, blocks) = (suspect.change.bytes(), suspect.change.blocks());
    let lost = suspect.evidence.lost.unwrap_or_default();
    let steady = suspect.course.steadiness.is_some_and(|s| s >= STEADY);
    let mut reasons = Vec::new();
    if lost.share() >= 0.5 {
        reasons.push(Reason::Lost);
    }
    if suspect.counts.len() > 2 && suspect.course.trend == Trend::EveryInterval && steady {
        reasons.push(Reason::EveryInterval);
    }
    let much = blocks >= NOISE_BLOCKS || bytes >= NOISE_BYTES;
    if much && suspect.evidence.held.is_some() && lost.share() < 0.5 {
        reasons.push(Reason::OneOwner);
    }
    let one_size = suspect.sizes.first().is_some_and(|size| {
        size.change.blocks() >= NOISE_BLOCKS
            && size.change.bytes().saturating_mul(10) >= bytes.saturating_mul(8)
    });
    if one_size {
        reasons.push(Reason::ManyOfOneSize);
    }
    if reasons.is_empty() && much {
        reasons.push(Reason::Bytes);
    }
    reasons
}

fn confidence(suspect: &Suspect) -> Confidence {
    /// Fewer lost blocks than this can be an accident.
    const SURELY_LOST: i64 = 3;
    /// From so many blocks on two dumps make a leak likely.
    const MANY: i64 = 100;
    let lost = suspect.evidence.lost.unwrap_or_default().share();
    let blocks = suspect.change.blocks();
    let intervals = suspect.counts.len().saturating_sub(1);
    let steady = suspect.course.steadiness.unwrap_or(0.0);
    let every = suspect.reasons.contains(&Reason::EveryInterval);
    let surely_lost = lost >= 0.9 && blocks >= SURELY_LOST;
    if surely_lost || (every && intervals >= 3 && steady >= 0.9) {
        Confidence::High
    } else if lost >= 0.5 || every || (blocks >= MANY && !suspect.one_off) {
        Confidence::Medium
    } else {
        Confidence::Low
    }
}

/// All growth, by which a suspect's is measured.
struct Totals {
    bytes: f64,
    blocks: f64,
}

impl Totals {
    fn of(grown: &[Candidate]) -> Self {
        let sum = |of: &dyn Fn(&Candidate) -> i64| -> f64 {
            grown
                .iter()
                .map(|candidate| of(candidate).max(0) as f64)
                .sum()
        };
        Totals {
            bytes: sum(&Candidate::bytes).max(1.0),
            blocks: sum(&Candidate::blocks).max(1.0),
        }
    }

    /// What a suspect weighs: its part of the growth, by bytes and by blocks, times what speaks for a
    /// leak. Roots, because a leak of small blocks is worth more than its bytes.
    fn score(&self, suspect: &Suspect) -> f64 {
        let part = |value: i64, all: f64| (value.max(0) as f64 / all).sqrt();
        let bytes = part(suspect.change.bytes(), self.bytes);
        let blocks = part(suspect.change.blocks(), self.blocks);
        let lost = suspect.evidence.lost.unwrap_or_default().share();
        let steady = match suspect.course.trend {
            Trend::EveryInterval => suspect.course.steadiness.unwrap_or(0.0),
            _ => 0.0,
        };
        let once = matches!(suspect.course.trend, Trend::Once(_)) && suspect.counts.len() > 2;
        let evidence = 1.0 + 4.0 * lost + 3.0 * steady;
        let doubt = if once || suspect.one_off { 0.2 } else { 1.0 };
        (0.7 * bytes + 0.3 * blocks) * evidence * doubt
    }
}

fn fragmented(comparison: &Comparison) -> Vec<Fragmentation> {
    /// Less memory than this is no fragmentation worth a word.
    const LEAST: i64 = 0x10_0000;
    let heaps = comparison.heaps.iter().map(|heap| Fragmentation {
        heap: heap.handle,
        committed: heap.committed[1].wrapping_sub(heap.committed[0]) as i64,
        busy: heap.busy.bytes(),
        free: heap.free[1].all.bytes,
        largest_free: heap.free[1].largest,
    });
    let mut found: Vec<Fragmentation> = heaps
        .filter(|heap| {
            heap.committed >= LEAST
                && heap.busy.max(0) < heap.committed / 4
                && heap.free >= heap.committed.unsigned_abs() / 2
        })
        .collect();
    found.sort_by_key(|heap| std::cmp::Reverse(heap.committed));
    found
}

fn outside(comparison: &Comparison, last: &Snapshot<'_, '_>) -> Option<Outside> {
    use crate::usage::Class;
    let usage = &comparison.usage;
    let bytes = usage.private(Class::Private);
    if !usage.is_virtual_leak() || bytes <= comparison.total.bytes() {
        return None;
    }
    Some(Outside {
        bytes,
        heaps: usage.private(Class::Heap),
        owners: RegionOwner::of(last.process(), usage.grown()),
    })
}
