//! What must hold where chance decides. Of a raced `utmr`, that the setting which the event says
//! was used is the one that the timer has, by the next call that reads it back. Of a timer that
//! threads set side by side, that each setting was replaced exactly once.

use std::collections::HashMap;

use settime32_abi::journal::Operation;
use settime32_abi::plan::Call;
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32, OldTimespec32};

use super::finding::{Difference, Place};
use super::seen::{Seen, made_of, setting};
use super::workload::from_bytes;
use crate::model::Outcome;

/// What is still to be seen.
#[derive(Debug, Default)]
pub(super) struct Race {
    /// The last raced call: its slot, its place, and what its event says that the kernel used.
    last: Option<(u8, Place, OldItimerspec32)>,
    /// Intervals of timers that threads set: what was set, and what was replaced.
    shared: HashMap<usize, Intervals>,
}

#[derive(Debug, Default)]
struct Intervals {
    set: Vec<OldTimespec32>,
    replaced: Vec<OldTimespec32>,
    /// What was replaced by a call that does not say it.
    unseen: bool,
}

impl Race {
    /// The call as the model can follow it: with the setting that the event says was used, where
    /// that may be.
    pub(super) fn as_seen(&self, call: &Call, seen: Option<&Seen>) -> Call {
        match used(call, seen) {
            Some(used) => Call { new: used, meanwhile: None, ..*call },
            None => *call,
        }
    }

    /// Takes a call down once it was compared; false when nobody knows what it set.
    pub(super) fn made(&mut self, call: &Call, place: Place, seen: Option<&Seen>) -> bool {
        if !call.is_raced() {
            return true;
        }
        let used = used(call, seen);
        self.last = used.map(|used| (call.slot, place, used));
        used.is_some()
    }

    /// What the event of the raced call before this one says, when the timer shows something else.
    pub(super) fn read_back(
        &mut self,
        call: &Call,
        outcome: &Outcome,
        record: &Operation,
    ) -> Option<(Place, Difference)> {
        let (_, place, used) = self.last.take_if(|(slot, ..)| *slot == call.slot)?;
        let read: OldItimerspec32 = from_bytes(&record.otmr_after());
        let old =
            outcome.old.filter(|_| outcome.written == ITIMERSPEC32_SIZE && record.ret == 0)?;
        let right = read.it_interval == used.it_interval && old.remaining.allows(read.it_value);
        let difference = || Difference {
            field: "utmr_used",
            expected: format!(
                "what the timer was set to, of which the next call read {}",
                setting(Some(read))
            ),
            found: setting(Some(used)),
        };
        (!right).then(|| (place, difference()))
    }

    /// Collects the calls on a timer that threads share; the first call after them tells whether
    /// each setting was replaced once (`do_timerfd_settime` holds the timer's lock while it takes
    /// the old setting and sets the new one).
    pub(super) fn took_turns(
        &mut self,
        call: &Call,
        outcome: &Outcome,
        record: &Operation,
    ) -> Option<Difference> {
        let shared = outcome.shared?;
        let intervals = self.shared.entry(shared.timer).or_default();
        intervals.unseen |= outcome.written != ITIMERSPEC32_SIZE;
        intervals.replaced.push(from_bytes(&record.otmr_after()).it_interval);
        if shared.in_threads {
            intervals.set.push(call.new.it_interval);
            return None;
        }
        let Intervals { set, replaced, unseen } = self.shared.remove(&shared.timer)?;
        // A timer that was raced, whose event is lost, is not one that threads set.
        if unseen || set.is_empty() {
            return None;
        }
        let sorted = |mut intervals: Vec<OldTimespec32>| {
            intervals.sort_by_key(|interval| interval.as_nanos());
            intervals
        };
        let (set, replaced) =
            (sorted(set.into_iter().chain([shared.before]).collect()), sorted(replaced));
        let wrong = replaced.iter().zip(&set).find(|(replaced, set)| replaced != set);
        wrong.map(|(replaced, set)| Difference {
            field: "otmr_after.it_interval",
            expected: format!("each interval that threads set, once, {set:?} among them"),
            found: format!("{replaced:?}"),
        })
    }
}

/// The setting that an event of a raced call says was used, if it is one that can have been.
fn used(call: &Call, seen: Option<&Seen>) -> Option<OldItimerspec32> {
    let other = call.meanwhile.filter(|_| call.is_raced())?;
    seen?.utmr_used.filter(|used| made_of([call.new, other], *used))
}
