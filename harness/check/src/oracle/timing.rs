//! Checks the timestamps of a plan's events against each other and against the workload's clock,
//! and says within which span of time a call ran. A timestamp may be off by less than its
//! surroundings show; nothing here sees that.

use settime32_abi::journal::Header;

use super::seen::Seen;
use super::workload::clocks_are_sane;
use crate::model::Bounds;

/// How far readings of `CLOCK_MONOTONIC` by the eBPF program and by others may disagree,
/// nanoseconds.
const SLACK_NS: i64 = 1_000;

/// The clock of one plan.
#[derive(Clone, Debug)]
pub(super) struct Timing {
    /// When the plan was done, by the journal.
    window: Bounds,
    last: Option<Last>,
    /// While threads run side by side.
    threads: Option<Threads>,
}

/// The last event's thread, entry and exit.
type Last = (u32, i64, i64);

/// Threads that run side by side are followed one after the other.
#[derive(Clone, Copy, Debug)]
struct Threads {
    /// The last event before all of them.
    before: Option<Last>,
    /// The last event of any of them.
    latest: Option<Last>,
}

/// What is wrong with an event's timestamps.
pub(super) type Fault = String;

impl Timing {
    pub(super) fn new(header: &Header) -> Self {
        let window = if clocks_are_sane(header) {
            Bounds::new(
                header.start.monotonic_after_ns - SLACK_NS,
                header.end.monotonic_before_ns + SLACK_NS,
            )
        } else {
            Bounds::new(0, i64::MAX / 2)
        };
        Self { window, last: None, threads: None }
    }

    /// Whether an event came while the plan was done.
    pub(super) fn covers(&self, seen: &Seen) -> bool {
        if !seen.is_timed() {
            return true;
        }
        let entry = nanos(seen.entry_ns);
        self.window.low <= entry && entry <= self.window.high
    }

    /// Threads start, and calls of theirs follow.
    pub(super) fn begin_threads(&mut self) {
        self.threads = Some(Threads { before: self.last, latest: self.last });
    }

    /// All threads have ended, if any ran.
    pub(super) fn end_threads(&mut self) {
        if let Some(threads) = self.threads.take() {
            self.last = threads.latest;
        }
    }

    /// The most that is known of a call without an event, or with one that cannot be believed. It
    /// begins at the last entry, not at the last exit, since of calls that are alike the last event
    /// may be another's than was thought.
    pub(super) fn unseen(&self) -> Bounds {
        let last = self.threads.map_or(self.last, |threads| threads.before);
        let (_, since, _) = last.unwrap_or((0, self.window.low, self.window.low));
        Bounds::new(since.min(self.window.high), self.window.high)
    }

    /// Judges the event that was taken for a call; `next_entry_ns` is of the next event of its
    /// thread, when it came.
    pub(super) fn judge(
        &mut self,
        seen: &Seen,
        next_entry_ns: Option<u64>,
    ) -> (Bounds, Option<Fault>) {
        if !seen.is_timed() {
            return (self.unseen(), None);
        }
        let entry = nanos(seen.entry_ns);
        // Without an exit all that is known is that it was over before the next call.
        let exit = seen.exit_ns.or(next_entry_ns).map_or(self.window.high, nanos);
        if entry > exit {
            return (self.unseen(), Some(format!("entry_ns {entry} is after exit_ns {exit}")));
        }
        if entry < self.window.low || exit > self.window.high {
            let Bounds { low, high } = self.window;
            return (
                self.unseen(),
                Some(format!(
                    "{entry} to {exit} is not within {low} to {high}, when the plan was done"
                )),
            );
        }
        if let Some(threads) = &self.threads
            && self.last.is_none_or(|(tid, ..)| tid != seen.tid)
        {
            self.last = threads.before;
        }
        // An exit that is not known is no later than anything.
        let last =
            self.last.replace((seen.tid, entry, if seen.exit_ns.is_some() { exit } else { entry }));
        if let Some(threads) = &mut self.threads {
            let by_exit = |last: &Last| last.2;
            threads.latest = [threads.latest, self.last].into_iter().flatten().max_by_key(by_exit);
        }
        if let Some((tid, last_entry, last_exit)) = last {
            // Between processes the order is that of the workload's waiting, on another CPU
            // perhaps.
            let slack = if tid == seen.tid { 0 } else { SLACK_NS };
            if entry + slack < last_exit {
                let span = Bounds::new(last_entry.min(entry), self.window.high);
                return (
                    span,
                    Some(format!(
                        "entry_ns {entry} is before {last_exit}, when the call before it returned"
                    )),
                );
            }
        }
        (Bounds::new(entry, exit), None)
    }
}

/// Times past the year 2262 are all the same to a comparison.
fn nanos(time_ns: u64) -> i64 {
    i64::try_from(time_ns).unwrap_or(i64::MAX)
}
