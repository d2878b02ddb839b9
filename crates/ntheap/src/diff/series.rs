//! How a number went through a series of dumps: steadily, once, or up and down.

use super::{HeapChange, Snapshot};
use crate::{
    stats::Count,
    usage::{Class, Total, Usage},
};

/// A dump of a series, in sums.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Moment {
    /// When it was taken, in seconds since 1970.
    pub timestamp: u32,
    /// Requested bytes and blocks of all heaps.
    pub busy: Count,
    /// The use of the address space by class, the largest committed first.
    pub classes: Vec<(Class, Total)>,
}

impl Moment {
    pub(super) fn of(
        index: usize,
        snapshot: &Snapshot<'_, '_>,
        usage: &Usage,
        heaps: &[HeapChange],
    ) -> Self {
        let mut busy = Count::default();
        for heap in heaps {
            busy.merge(heap.counts.get(index).copied().unwrap_or_default());
        }
        Moment {
            timestamp: snapshot.process().dump.timestamp,
            busy,
            classes: usage.totals(),
        }
    }
}

/// The way that a number takes through a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trend {
    /// More in every interval. Of two dumps nobody can say more than that.
    EveryInterval,
    /// More in this one interval (counted from 1), the same in all others.
    Once(usize),
    /// More in several intervals, never less.
    Sometimes,
    /// More in some intervals, less in others.
    ComesAndGoes,
    /// Never more.
    Shrinks,
    /// Always the same.
    Same,
}

impl Trend {
    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Trend::EveryInterval => "every-interval",
            Trend::Once(_) => "once",
            Trend::Sometimes => "sometimes",
            Trend::ComesAndGoes => "comes-and-goes",
            Trend::Shrinks => "shrinks",
            Trend::Same => "same",
        }
    }
}

/// How blocks of one kind went through a series of dumps.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Course {
    /// The way that they took.
    pub trend: Trend,
    /// How near their curve comes to a straight line upwards: 1 for the line, 0 for a single step.
    /// `None` of fewer than three dumps, and where nothing grew.
    pub steadiness: Option<f64>,
}

impl Course {
    /// The course of some counts that were taken at these times. Where bytes change, bytes are what
    /// is looked at; of equal times the dumps count as equally far apart.
    ///
    /// ```
    /// use ntheap::{diff::{Course, Trend}, stats::Count};
    ///
    /// let counts: Vec<Count> = [10, 20, 30].map(|blocks| Count { blocks, bytes: blocks * 48 }).into();
    /// let course = Course::of(&[0, 60, 120], &counts);
    /// assert_eq!(course.trend, Trend::EveryInterval);
    /// assert_eq!(course.steadiness, Some(1.0));
    /// ```
    #[must_use]
    pub fn of(times: &[u32], counts: &[Count]) -> Self {
        let values: Vec<u64> = counts.iter().map(|count| count.bytes).collect();
        Course {
            trend: trend(&values),
            steadiness: steadiness(times, &values),
        }
    }
}

fn trend(values: &[u64]) -> Trend {
    let steps = || values.windows(2).map(|pair| pair[1].cmp(&pair[0]));
    let up = steps().filter(|step| step.is_gt()).count();
    let down = steps().filter(|step| step.is_lt()).count();
    let intervals = values.len().saturating_sub(1);
    match (up, down) {
        (0, 0) => Trend::Same,
        (0, _) => Trend::Shrinks,
        (up, 0) if up == intervals => Trend::EveryInterval,
        (1, 0) => Trend::Once(steps().take_while(|step| !step.is_gt()).count() + 1),
        (_, 0) => Trend::Sometimes,
        _ => Trend::ComesAndGoes,
    }
}

/// One less twice the farthest distance from the straight line between the ends, as a part of the
/// growth.
fn steadiness(times: &[u32], values: &[u64]) -> Option<f64> {
    let (&first, &last) = (values.first()?, values.last()?);
    if values.len() < 3 || last <= first {
        return None;
    }
    let in_order = times.len() == values.len() && times.windows(2).all(|pair| pair[0] < pair[1]);
    let place = |index: usize| match in_order {
        true => f64::from(times[index] - times[0]),
        false => index as f64,
    };
    let (length, growth) = (place(values.len() - 1), (last - first) as f64);
    let distance = |(index, &value): (usize, &u64)| {
        let line = place(index) / length;
        let is = (value as f64 - first as f64) / growth;
        (is - line).abs()
    };
    let farthest = values.iter().enumerate().map(distance).fold(0.0, f64::max);
    Some((1.0 - 2.0 * farthest).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn course(values: &[u64]) -> Course {
        let times: Vec<u32> = (0..values.len() as u32).map(|index| index * 60).collect();
        let count = |&bytes| Count { blocks: 1, bytes };
        Course::of(&times, &values.iter().map(count).collect::<Vec<_>>())
    }

    #[test]
    fn a_step_a_line_and_a_wave_are_told_apart() {
        assert_eq!(course(&[0, 5, 10, 15, 20]).trend, Trend::EveryInterval);
        assert_eq!(course(&[0, 5, 10, 15, 20]).steadiness, Some(1.0));
        assert_eq!(course(&[3, 3, 9, 9]).trend, Trend::Once(2));
        assert!(course(&[0, 9, 9, 9, 9]).steadiness.unwrap() < 0.01);
        assert_eq!(course(&[0, 9, 0, 9]).trend, Trend::ComesAndGoes);
        assert_eq!(course(&[0, 9, 0, 9]).steadiness, Some(0.0));
        assert_eq!(course(&[5, 5]).trend, Trend::Same);
        assert_eq!(course(&[5, 4, 4]).trend, Trend::Shrinks);
        assert_eq!(course(&[0, 1, 1, 2]).trend, Trend::Sometimes);
        assert_eq!(course(&[0, 1]).steadiness, None);
    }

    #[test]
    fn dumps_at_uneven_times_still_make_a_line() {
        let count = |bytes| Count { blocks: 1, bytes };
        let counts = [count(0), count(10), count(100)];
        assert_eq!(Course::of(&[0, 60, 600], &counts).steadiness, Some(1.0));
        assert!(Course::of(&[0, 0, 0], &counts).steadiness.unwrap() < 0.5);
    }

    proptest! {
        #[test]
        fn the_score_is_a_part_of_one(values in proptest::collection::vec(any::<u64>(), 0..9)) {
            let course = course(&values);
            prop_assert!(course.steadiness.is_none_or(|score| (0.0..=1.0).contains(&score)));
        }
    }
}
