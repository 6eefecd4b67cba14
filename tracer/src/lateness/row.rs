//! What is counted of some timers.

use std::rc::Rc;

use serde::Serialize;

use super::clock::Cause;
use super::firing::Line;
use super::histogram::{Histogram, Percentiles};
use super::owner::Owner;
use super::rows::Key;
use super::story::Turn;

/// Counts and histograms.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Whose timers they are, or were first.
    pub owner: Option<Rc<Owner>>,
    /// Settings that armed.
    pub armings: u64,
    /// Expiries.
    pub firings: u64,
    /// How late the kernel's handler ran, nanoseconds.
    pub handler: Histogram,
    /// How late a thread that waited had been told, nanoseconds.
    pub waiter: Histogram,
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
    /// Expiries that came due while the machine slept; not in the histograms.
    pub slept: u64,
    /// Expiries that came due by setting the clock; not in the histograms.
    pub clock_set: u64,
    /// Expiries before their time.
    pub early: u64,
    /// Expiries of which it is not known why they were late, which are not in the histograms, and
    /// settings of which nobody knows what became.
    pub unknown: u64,
    /// Of `rearmed`, and of `disarmed`, those that were due: with expiries lost, they may have
    /// fired.
    due_rearmed: u64,
    due_disarmed: u64,
}

impl Row {
    /// Counts something that is no firing.
    pub fn count(&mut self, turn: &Turn) {
        match turn {
            Turn::Armed => self.armings += 1,
            Turn::Fired(_) => {}
            Turn::Overrun(more) => self.overruns += more,
            Turn::Rearmed { was_due } => {
                self.rearmed += 1;
                self.due_rearmed += u64::from(*was_due);
            }
            Turn::Disarmed { was_due } => {
                self.disarmed += 1;
                self.due_disarmed += u64::from(*was_due);
            }
            Turn::Unknown => self.unknown += 1,
            Turn::Cancelled => self.cancelled += 1,
        }
    }

    /// Counts a firing; whether its arming should have been seen, and was not.
    pub fn count_firing(&mut self, line: &Line, cause: Cause, is_of_lost: bool) {
        self.firings += 1;
        if line.is_early {
            self.early += 1;
        } else if line.was_past == Some(true) {
            self.past += 1;
        } else {
            match cause {
                Cause::Slept(_) => self.slept += 1,
                Cause::Set(_) => self.clock_set += 1,
                Cause::None if !is_of_lost => {
                    self.handler.record(line.handler_late_ns.max(0).unsigned_abs());
                    line.waiter_late_ns
                        .into_iter()
                        .for_each(|late_ns| self.waiter.record(late_ns.max(0).unsigned_abs()));
                }
                Cause::None | Cause::Unknown => self.unknown += 1,
            }
        }
    }

    /// Events were lost: what should have fired may have.
    pub fn doubt(&mut self) {
        let (rearmed, disarmed) =
            (std::mem::take(&mut self.due_rearmed), std::mem::take(&mut self.due_disarmed));
        self.rearmed -= rearmed;
        self.disarmed -= disarmed;
        self.unknown += rearmed + disarmed;
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.handler.add(&other.handler);
        self.waiter.add(&other.waiter);
        for (sum, more) in [
            (&mut self.armings, other.armings),
            (&mut self.firings, other.firings),
            (&mut self.overruns, other.overruns),
            (&mut self.rearmed, other.rearmed),
            (&mut self.disarmed, other.disarmed),
            (&mut self.cancelled, other.cancelled),
            (&mut self.past, other.past),
            (&mut self.slept, other.slept),
            (&mut self.clock_set, other.clock_set),
            (&mut self.early, other.early),
            (&mut self.unknown, other.unknown),
            (&mut self.due_rearmed, other.due_rearmed),
            (&mut self.due_disarmed, other.due_disarmed),
        ] {
            *sum += more;
        }
    }

    /// What its histograms take of memory.
    pub const fn size(&self) -> usize {
        self.handler.size() + self.waiter.size()
    }

    /// The row for machines; `key` is `None` for what was folded into one.
    pub fn summary(&self, key: Option<&Key>) -> Summary {
        let name = |owner: &Option<Rc<Owner>>| owner.as_ref().map(|owner| owner.comm.clone());
        let (timer, pid, comm) = match key {
            Some(Key::Timer(timer)) => (Some(*timer), None, Some(name(&self.owner))),
            Some(Key::Process(owner)) => {
                (None, Some(owner.as_ref().and_then(|owner| owner.pid())), Some(name(owner)))
            }
            Some(Key::All) | None => (None, None, None),
        };
        let host_pid =
            if let Some(Key::Process(Some(owner))) = key { owner.host_pid } else { None };
        Summary {
            event: "lateness",
            timer,
            pid,
            host_pid,
            comm,
            others: key.is_none(),
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
            clock_set: self.clock_set,
            early: self.early,
            unknown: self.unknown,
        }
    }
}

/// A row, as an object.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timer: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<Option<Box<str>>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    others: bool,
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
    clock_set: u64,
    early: u64,
    unknown: u64,
}
