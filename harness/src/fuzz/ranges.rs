//! A set of numbers that lie mostly side by side: the seeds that are done.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Ranges without their ends, in order, none empty, and none that touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a number.
    pub fn insert(&mut self, number: u64) {
        self.insert_range(number..number + 1);
    }

    /// Adds a range.
    pub fn insert_range(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        // Those before it, without what touches it; then it, then those behind.
        let first = self.0.partition_point(|(_, until)| *until < start);
        let behind = self.0.partition_point(|(from, _)| *from <= end);
        for (from, until) in &self.0[first..behind.max(first)] {
            (start, end) = (start.min(*from), end.max(*until));
        }
        self.0.splice(first..behind.max(first), [(start, end)]);
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: u64) -> bool {
        let behind = self.0.partition_point(|(_, until)| *until <= number);
        self.0.get(behind).is_some_and(|(from, _)| *from <= number)
    }

    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(from, until)| until - from).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(from, until)| *from..*until)
    }

    /// A part that is in both, if any.
    pub fn overlap(&self, other: &Self) -> Option<Range<u64>> {
        let shared =
            |one: &Range<u64>, two: &Range<u64>| one.start.max(two.start)..one.end.min(two.end);
        self.iter().find_map(|one| {
            other.iter().map(|two| shared(&one, &two)).find(|range| !range.is_empty())
        })
    }

    /// What of a range is not in it.
    pub fn gaps(&self, within: Range<u64>) -> Self {
        let mut gaps = Self::default();
        let mut next = within.start;
        for range in
            self.iter().filter(|range| range.end > within.start && range.start < within.end)
        {
            gaps.insert_range(next..range.start.max(next));
            next = range.end;
        }
        gaps.insert_range(next..within.end.max(next));
        gaps
    }
}

impl TryFrom<Vec<(u64, u64)>> for Ranges {
    type Error = String;

    fn try_from(pairs: Vec<(u64, u64)>) -> Result<Self, String> {
        let apart = pairs.is_sorted_by(|one, next| one.1 < next.0)
            && pairs.iter().all(|(from, until)| from < until);
        if apart { Ok(Self(pairs)) } else { Err("the ranges of seeds are not in order".into()) }
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = |(from, until): &(u64, u64)| {
            if from + 1 == *until { from.to_string() } else { format!("{from} to {}", until - 1) }
        };
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn parts() -> impl Strategy<Value = Vec<Range<u64>>> {
        prop::collection::vec(
            (0..60_u64, 0..12_u64).prop_map(|(start, len)| start..start + len),
            0..20,
        )
    }

    fn both(parts: &[Range<u64>]) -> (Ranges, BTreeSet<u64>) {
        let mut ranges = Ranges::default();
        parts.iter().cloned().for_each(|part| ranges.insert_range(part));
        (ranges, parts.iter().cloned().flatten().collect())
    }

    proptest! {
        #[test]
        fn it_is_the_set_of_what_was_put_in(parts in parts()) {
            let (ranges, set) = both(&parts);
            prop_assert_eq!(ranges.iter().flatten().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ranges.len(), set.len() as u64);
            for number in 0..80 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
            let text = serde_json::to_string(&ranges).unwrap();
            prop_assert_eq!(serde_json::from_str::<Ranges>(&text).unwrap(), ranges);
        }

        #[test]
        fn gaps_and_overlaps_are_those_of_sets(one in parts(), two in parts(), start in 0..80_u64, len in 0..80_u64) {
            let ((one, ones), (two, twos)) = (both(&one), both(&two));
            let missing: Vec<u64> = (start..start + len).filter(|number| !ones.contains(number)).collect();
            prop_assert_eq!(one.gaps(start..start + len).iter().flatten().collect::<Vec<_>>(), missing);
            let shared = ones.intersection(&twos).next().copied();
            prop_assert_eq!(one.overlap(&two).map(|range| range.start), shared);
        }
    }

    #[test]
    fn what_is_out_of_order_is_refused() {
        for text in ["[[3,5],[1,2]]", "[[1,3],[3,5]]", "[[4,4]]", "[[2,1]]"] {
            assert!(serde_json::from_str::<Ranges>(text).is_err(), "{text}");
        }
    }
}
