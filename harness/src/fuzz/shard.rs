//! Which seeds a machine does when several share a run: arithmetic on ranges and nothing else, so
//! that whoever starts them (a CI's matrix, an indexed job, a loop in a shell) only counts.

use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A part of a run, written `I/N`: the I-th of N, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    number: u64,
    count: u64,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Self = Self { number: 1, count: 1 };

    /// Of how many it is.
    pub const fn count(self) -> u64 {
        self.count
    }

    /// All shards of such a run.
    pub fn siblings(self) -> impl Iterator<Item = Self> {
        (1..=self.count).map(move |number| Self { number, ..self })
    }

    /// Which of so many seeds, counted from 0: each belongs to one shard, and no two shards differ
    /// by more than one seed.
    pub fn range(self, seeds: u64) -> Range<u64> {
        let until =
            |number: u64| (u128::from(seeds) * u128::from(number) / u128::from(self.count)) as u64;
        until(self.number - 1)..until(self.number)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((number @ 1.., count)) if number <= count => Ok(Self { number, count }),
            _ => Err("a shard is I/N, such as 1/3, with I from 1 to N".into()),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_shards_are_the_whole_and_no_two_overlap(seeds in any::<u64>(), count in 1..2000_u64) {
            let mut next = 0;
            for shard in (Shard { number: 1, count }).siblings() {
                let range = shard.range(seeds);
                prop_assert_eq!(range.start, next, "shard {} begins where the one before ends", shard);
                prop_assert!(range.end >= range.start);
                let len = range.end - range.start;
                prop_assert!(len == seeds / count || len == seeds / count + 1, "shard {} has {} of {} seeds", shard, len, seeds);
                next = range.end;
            }
            prop_assert_eq!(next, seeds);
        }

        #[test]
        fn each_seed_has_one_shard(seeds in 1..u64::MAX, count in 1..300_u64, part in any::<prop::sample::Index>()) {
            let seed = part.index(usize::MAX) as u64 % seeds;
            let owners = Shard { number: 1, count }.siblings().filter(|shard| shard.range(seeds).contains(&seed)).count();
            prop_assert_eq!(owners, 1);
        }

        #[test]
        fn a_shard_reads_as_it_is_written(number in 1..1000_u64, more in 0..1000_u64) {
            let shard = Shard { number, count: number + more };
            prop_assert_eq!(shard.to_string().parse(), Ok(shard));
        }
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        for text in ["", "1", "0/3", "4/3", "1/0", "1/", "/2", "-1/2", "1/2/3", "a/b"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
        assert_eq!("1/1".parse(), Ok(Shard::WHOLE));
    }
}
