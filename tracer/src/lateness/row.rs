//! What is counted of some timers.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Key;
use super::story::{Firing, Told};
use crate::cli::Per;

/// Digits of each value that a histogram keeps.
const DIGITS: u8 = 3;

/// Counts and histograms.
#[derive(Debug)]
pub struct Row {
    /// Settings that armed.
    pub armings: u64,
    /// Expiries.
    pub firings: u64,
    /// How late the kernel's handler ran, nanoseconds.
    pub handler: Histogram<u64>,
    /// How late a thread that waited had been told, nanoseconds.
    pub waiter: Histogram<u64>,
    /// Expiries beyond the first that a read told of.
    pub overruns: u64,
    /// Settings that were replaced before they fired.
    pub rearmed: u64,
    /// Settings that were taken back before they fired.
    pub disarmed: u64,
    /// Timers that were cancelled because their clock was set.
    pub cancelled: u64,
    /// Expiries that were due before the timer was armed; not in the histograms.
    pub past: u64,
    /// Expiries that the machine slept through; not in the histograms.
    pub slept: u64,
    /// Expiries before their time.
    pub early: u64,
}

impl Default for Row {
    fn default() -> Self {
        let empty = || Histogram::new(DIGITS).expect("the number of digits is one that it takes");
        Self {
            armings: 0,
            firings: 0,
            handler: empty(),
            waiter: empty(),
            overruns: 0,
            rearmed: 0,
            disarmed: 0,
            cancelled: 0,
            past: 0,
            slept: 0,
            early: 0,
        }
    }
}

impl Row {
    /// Counts something.
    pub fn count(&mut self, told: &Told) {
        match told {
            Told::Armed(..) => self.armings += 1,
            Told::Firing(firing) => self.count_firing(firing),
            Told::Overrun(_, _, more) => self.overruns += more,
            Told::Rearmed(..) => self.rearmed += 1,
            Told::Disarmed(..) => self.disarmed += 1,
            Told::Cancelled(..) => self.cancelled += 1,
        }
    }

    fn count_firing(&mut self, firing: &Firing) {
        self.firings += 1;
        if firing.is_early {
            self.early += 1;
        } else if firing.was_past {
            self.past += 1;
        } else if firing.slept_ns > 0 {
            self.slept += 1;
        } else {
            record(&mut self.handler, firing.handler_late_ns);
            firing.waiter_late_ns.into_iter().for_each(|late_ns| record(&mut self.waiter, late_ns));
        }
    }

    /// The row for machines.
    pub fn summary(&self, per: Per, (id, comm): &Key) -> Summary {
        Summary {
            event: "lateness",
            timer: (per == Per::Timer).then_some(*id),
            pid: (per == Per::Process).then_some(*id),
            comm: (per != Per::All).then(|| comm.clone()),
            armings: self.armings,
            firings: self.firings,
            handler: Percentiles::of(&self.handler),
            waiter: Percentiles::of(&self.waiter),
            overruns: self.overruns,
            rearmed: self.rearmed,
            disarmed: self.disarmed,
            cancelled: self.cancelled,
            past: self.past,
            slept: self.slept,
            early: self.early,
        }
    }
}

/// The histogram grows with what it is given, and has room for any 64 bits.
fn record(histogram: &mut Histogram<u64>, ns: i64) {
    histogram.record(ns.max(0).unsigned_abs()).expect("a histogram that grows has room for any 63 bits");
}

/// A row, as an object.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timer: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    armings: u64,
    firings: u64,
    handler: Option<Percentiles>,
    waiter: Option<Percentiles>,
    overruns: u64,
    rearmed: u64,
    disarmed: u64,
    cancelled: u64,
    past: u64,
    slept: u64,
    early: u64,
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
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            min_ns: histogram.min(),
            mean_ns: histogram.mean(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: histogram.max(),
        })
    }
}
