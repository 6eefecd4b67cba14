//! Says when each call of a plan was made, by the journal's readings of the clock, and whether an
//! event's timestamps lie within that. A timestamp may be off by less than a call takes; nothing
//! here sees that.

use std::collections::HashMap;

use settime32_abi::journal::{Header, Operation};

use super::seen::Seen;
use super::workload::clocks_are_sane;
use crate::model::Bounds;

/// How far readings of `CLOCK_MONOTONIC` by the eBPF program and by others may disagree,
/// nanoseconds.
pub(super) const SLACK_NS: i64 = 1_000;

/// The clock of one plan.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    /// When the plan was done.
    plan: Bounds,
    /// When each call was made.
    calls: Vec<Bounds>,
}

/// What is wrong with an event's timestamps.
pub(super) type Fault = String;

impl Timing {
    /// Takes the thread of each record, too.
    pub(super) fn new(header: &Header, records: &[Operation], tids: &[u32]) -> Self {
        let plan = if clocks_are_sane(header) {
            Bounds::new(header.start.monotonic_after_ns, header.end.monotonic_before_ns)
        } else {
            Bounds::new(0, i64::MAX / 2)
        };
        let mut calls = Vec::with_capacity(records.len());
        let mut ended: HashMap<u32, i64> = HashMap::new();
        for (record, tid) in records.iter().zip(tids) {
            let since = ended.get(tid).copied().unwrap_or(plan.low);
            let end = record.after_ns.min(plan.high);
            // Of a record that contradicts those around it only its place is believed.
            let call = if since <= record.before_ns && record.before_ns <= end {
                Bounds::new(record.before_ns, end)
            } else {
                Bounds::new(since, plan.high)
            };
            ended.insert(*tid, if record.after_ns == end { end.max(call.low) } else { call.low });
            calls.push(call);
        }
        Self { plan, calls }
    }

    /// When a call was made.
    pub(super) fn of_call(&self, call: usize) -> Bounds {
        self.calls[call]
    }

    /// What [`Operation::before_ns`] may be: the end of the call before it where the same thread made
    /// that.
    pub(super) fn begin_of(&self, call: usize, tids: &[u32], records: &[Operation]) -> Bounds {
        match call.checked_sub(1).filter(|before| tids[*before] == tids[call]) {
            Some(before) => Bounds::exactly(records[before].after_ns),
            None => self.plan,
        }
    }

    /// When the plan had ended.
    pub(super) const fn end(&self) -> i64 {
        self.plan.high
    }

    /// Whether an event came while the plan was done.
    pub(super) fn covers(&self, seen: &Seen) -> bool {
        !seen.is_timed() || entered_within(seen, self.plan)
    }

    /// Judges the event that was taken for a call, and says when that was. `last_exit_ns` is of the
    /// event before it of its thread, `next_entry_ns` of the one behind it, where they are there.
    pub(super) fn judge(
        &self,
        call: usize,
        seen: &Seen,
        last_exit_ns: Option<u64>,
        next_entry_ns: Option<u64>,
    ) -> (Bounds, Option<Fault>) {
        let window = self.calls[call];
        if !seen.is_timed() {
            return (window, None);
        }
        let entry = nanos(seen.entry_ns);
        // Without an exit all that is known is that it was over before the next call.
        let exit = match seen.exit_ns {
            Some(exit) => nanos(exit),
            None => next_entry_ns.map_or(window.high, |next| nanos(next).min(window.high)),
        };
        if entry > exit {
            return (window, Some(format!("entry_ns {entry} is after exit_ns {exit}")));
        }
        if !is_within(seen, window) {
            let Bounds { low, high } = window;
            let fault =
                format!("{entry} to {exit} is not within {low} to {high}, when the call was made");
            return (window, Some(fault));
        }
        let last_exit = last_exit_ns.map_or(entry, nanos);
        let fault = (entry < last_exit).then(|| {
            format!("entry_ns {entry} is before {last_exit}, when the call before it returned")
        });
        (Bounds::new(entry, exit), fault)
    }
}

/// Whether an event's call entered within these bounds.
pub(super) fn entered_within(seen: &Seen, window: Bounds) -> bool {
    let entry = nanos(seen.entry_ns);
    window.low.saturating_sub(SLACK_NS) <= entry && entry <= window.high.saturating_add(SLACK_NS)
}

/// Whether an event's call entered and, as far as that is known, returned within these bounds.
pub(super) fn is_within(seen: &Seen, window: Bounds) -> bool {
    let exit = seen.exit_ns.map_or(window.high, nanos);
    entered_within(seen, window) && exit <= window.high.saturating_add(SLACK_NS)
}

/// Times past the year 2262 are all the same to a comparison.
pub(super) fn nanos(time_ns: u64) -> i64 {
    i64::try_from(time_ns).unwrap_or(i64::MAX)
}
