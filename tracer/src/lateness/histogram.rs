//! How often times were how long, to three digits: as small as what is in it is little.

use serde::Serialize;

/// Leading bits of a value that are kept: what is lost of it is less than its thousandth.
const BITS: u32 = 11;

/// Values in ascending order, each with how often it was there.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: Vec<(u64, u64)>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Histogram {
    /// Adds a value.
    pub fn record(&mut self, value: u64) {
        let one = Self {
            buckets: vec![(value >> shift(value) << shift(value), 1)],
            count: 1,
            sum: value.into(),
            min: value,
            max: value,
        };
        self.add(&one);
    }

    /// Adds all of another one.
    pub fn add(&mut self, other: &Self) {
        for (value, count) in &other.buckets {
            match self.buckets.binary_search_by_key(value, |bucket| bucket.0) {
                Ok(at) => self.buckets[at].1 += count,
                Err(at) => self.buckets.insert(at, (*value, *count)),
            }
        }
        if other.count > 0 {
            self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
            self.max = self.max.max(other.max);
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// What it takes of memory, in values that differ.
    pub const fn size(&self) -> usize {
        self.buckets.len()
    }

    /// Values in it.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The greatest.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// Each value that is there, at the most that it may have been, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets
            .iter()
            .map(|(value, count)| ((value | ((1 << shift(*value)) - 1)).min(self.max), *count))
    }

    /// The value that this share of all is not above.
    fn at(&self, quantile: f64) -> u64 {
        let rank = (quantile * self.count as f64).ceil() as u64;
        let mut seen = 0;
        let mut up_to = self.iter().skip_while(|(_, count)| {
            seen += count;
            seen < rank
        });
        up_to.next().map_or(self.max, |(value, _)| value)
    }
}

/// Bits that are not kept.
const fn shift(value: u64) -> u32 {
    (u64::BITS - value.leading_zeros()).saturating_sub(BITS)
}

/// Of a histogram that is not empty; nanoseconds, to three digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// Values in it.
    pub count: u64,
    /// The least.
    pub min_ns: u64,
    /// The mean.
    pub mean_ns: f64,
    /// The median.
    pub p50_ns: u64,
    /// Nine tenths are not later.
    pub p90_ns: u64,
    /// 99 of 100 are not later.
    pub p99_ns: u64,
    /// 999 of 1,000 are not later.
    pub p999_ns: u64,
    /// The greatest.
    pub max_ns: u64,
}

impl Percentiles {
    /// `None` when there is nothing in it.
    pub fn of(histogram: &Histogram) -> Option<Self> {
        (histogram.count > 0).then(|| Self {
            count: histogram.count,
            min_ns: histogram.min,
            mean_ns: histogram.sum as f64 / histogram.count as f64,
            p50_ns: histogram.at(0.5),
            p90_ns: histogram.at(0.9),
            p99_ns: histogram.at(0.99),
            p999_ns: histogram.at(0.999),
            max_ns: histogram.max,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_values_are_exact_and_nothing_is_made_of_nothing() {
        let mut histogram = Histogram::default();
        assert_eq!(Percentiles::of(&histogram), None);
        (1..=1000).for_each(|value| histogram.record(value));
        let told = Percentiles::of(&histogram).unwrap();
        assert_eq!((told.count, told.min_ns, told.mean_ns, told.p50_ns), (1000, 1, 500.5, 500));
        assert_eq!((told.p90_ns, told.p99_ns, told.p999_ns, told.max_ns), (900, 990, 999, 1000));
    }

    proptest! {
        #[test]
        fn three_digits_are_kept_also_when_two_become_one(mut values: Vec<u64>, more: Vec<u64>) {
            let filled = |values: &[u64]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|value| histogram.record(*value));
                histogram
            };
            let mut histogram = filled(&values);
            histogram.add(&filled(&more));
            values.extend(more);
            values.sort_unstable();
            let told = Percentiles::of(&histogram);
            prop_assert_eq!(told.is_none(), values.is_empty());
            if let Some(told) = told {
                prop_assert_eq!((told.min_ns, told.max_ns), (values[0], values[values.len() - 1]));
                let median = values[values.len().div_ceil(2) - 1];
                prop_assert!(told.p50_ns >= median && told.p50_ns - median <= median / 1000, "{} of {median}", told.p50_ns);
                prop_assert!(histogram.size() <= values.len());
            }
        }
    }
}
