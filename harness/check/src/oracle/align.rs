//! Decides which event is that of which call of one thread, so that one fault stays one finding. It
//! reports nothing itself.
//!
//! The journal says when each call of the thread was made, and a thread makes one after the other:
//! an event is of the call in whose time it entered, however many others are lost. Contents decide
//! only where that cannot be: two events in the time of one call, or an event in nobody's time.

use std::collections::VecDeque;

use super::seen::{Seen, differences};
use super::timing::{SLACK_NS, entered_within, is_within, nanos};
use crate::model::Bounds;

/// Events that are looked through for one that came out of order, or calls for one that an event
/// without a credible time is of.
const LOOK_AHEAD: usize = 8;
/// Events that are remembered to recognise a second copy.
const REMEMBERED: usize = 16;

/// What to do about the first event of the queue and the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is the call's event, perhaps with differences.
    Take,
    /// The event at this place of the queue is the call's, and came out of order.
    Late(usize),
    /// This many calls have no event.
    Miss(usize),
    /// It is a second copy of an event that came before.
    Doubled,
    /// It is of no call.
    Extra,
    /// More events are needed to tell.
    Starved,
}

/// Events that were taken last.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(VecDeque<Seen>);

impl Recent {
    pub(super) fn push(&mut self, seen: Seen) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(seen);
    }

    pub(super) fn has(&self, seen: &Seen) -> bool {
        self.0.iter().any(|known| seen.is_copy_of(known))
    }
}

/// One thread's events and the calls that they must be of.
pub(super) struct Window<'a, F, W> {
    pub queue: &'a VecDeque<Seen>,
    pub recent: &'a Recent,
    /// Calls of the thread that have no event yet.
    pub calls_left: usize,
    /// What the event of the n-th of those must be.
    pub expected: F,
    /// When the n-th was made.
    pub made: W,
    /// When the plan had ended.
    pub end: i64,
    /// No more events will come.
    pub closing: bool,
}

impl<F: Fn(usize) -> Seen, W: Fn(usize) -> Bounds> Window<'_, F, W> {
    /// What to do next; there is at least one call left.
    pub(super) fn next_move(&self) -> Move {
        let Some(head) = self.queue.front() else {
            return if self.closing { Move::Miss(self.calls_left) } else { Move::Starved };
        };
        if self.recent.has(head) {
            return Move::Doubled;
        }
        if is_within(head, (self.made)(0)) && self.agree(0, 0) && !self.is_rather_of_later(head) {
            return Move::Take;
        }
        // Perhaps of a later process with the same number.
        if !self.closing && nanos(head.entry_ns) > self.end.saturating_add(SLACK_NS) {
            return Move::Starved;
        }
        // Only what follows tells an event out of order from one of a later call, and an altered
        // one from one too many.
        if !self.closing && self.queue.len() < LOOK_AHEAD.min(self.calls_left.max(2)) {
            return Move::Starved;
        }
        let near = 1..self.queue.len().min(LOOK_AHEAD);
        let own = near.into_iter().find(|event| self.is_of_next(*event));
        match (self.call_at(head), own) {
            (Some(0), Some(_)) => Move::Extra,
            (Some(0), None) => Move::Take,
            (Some(gap), _) if !self.agree(0, gap) && self.agree(0, 0) => Move::Take,
            (Some(_), Some(event)) => Move::Late(event),
            (Some(gap), None) => Move::Miss(gap),
            (None, Some(_)) => Move::Extra,
            (None, None) => self.without_time(),
        }
    }

    /// Whether the first event entered after the next call had ended, by less than clocks may
    /// disagree, and is as much that of the call behind it.
    fn is_rather_of_later(&self, head: &Seen) -> bool {
        nanos(head.entry_ns) > (self.made)(0).high
            && self.call_at(head).is_some_and(|gap| gap > 0 && self.agree(0, gap))
    }

    fn agree(&self, event: usize, call: usize) -> bool {
        differences(&(self.expected)(call), &self.queue[event]).is_empty()
    }

    /// Whether an event is that of the next call by time and contents.
    fn is_of_next(&self, event: usize) -> bool {
        is_within(&self.queue[event], (self.made)(0)) && self.agree(event, 0)
    }

    /// The call that was being made when this event's entered.
    fn call_at(&self, seen: &Seen) -> Option<usize> {
        let entry = nanos(seen.entry_ns);
        let (mut low, mut high) = (0, self.calls_left);
        while low < high {
            let middle = low.midpoint(high);
            if (self.made)(middle).low <= entry { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1).filter(|call| entered_within(seen, (self.made)(*call)))
    }

    /// Of an event that entered in the time of no call that is left.
    fn without_time(&self) -> Move {
        let calls = self.calls_left.min(LOOK_AHEAD);
        match (0..calls).find(|call| self.agree(0, *call)) {
            Some(0) => Move::Take,
            Some(gap) => Move::Miss(gap),
            None if self.queue.len() <= self.calls_left => Move::Take,
            None => Move::Extra,
        }
    }
}
