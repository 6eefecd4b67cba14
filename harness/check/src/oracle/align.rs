//! Decides which event is that of which call of one thread, so that one fault stays one finding. It
//! compares contents and order only; it reports nothing itself.
//!
//! As long as events and calls agree one by one there is nothing to decide. Where they do not, the
//! explanations (the event is altered, two are swapped, calls have no event, an event is one too
//! many) are weighed by how well what follows fits; the cheapest wins.

use std::collections::VecDeque;

use super::seen::{Seen, differences};

/// Events that are looked at to weigh explanations.
pub(super) const LOOK_AHEAD: usize = 8;
/// Events that are remembered to recognise a second copy.
const REMEMBERED: usize = 16;
/// What an event too many or too few costs, where a differing field costs 1: an event with a few
/// wrong fields in the right place is more likely than one that is missing and one too many.
const UNPAIRED: u32 = 3;
/// What a swap costs: less than the two differences at least that it explains.
const SWAPPED: u32 = 1;

/// What to do about the first event of the queue and the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is the call's event, perhaps with differences.
    Take,
    /// The second event is the call's, the first that of the call after it.
    Swap,
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
pub(super) struct Window<'a, F> {
    pub queue: &'a VecDeque<Seen>,
    pub recent: &'a Recent,
    /// Calls of the thread that have no event yet.
    pub calls_left: usize,
    /// What the event of the n-th of those must be.
    pub expected: F,
    /// No more events will come.
    pub closing: bool,
    /// Look for the end of a gap of any length, which takes time in proportion.
    pub far: bool,
}

impl<F: Fn(usize) -> Seen> Window<'_, F> {
    /// What to do next; there is at least one call left.
    pub(super) fn next_move(&self) -> Move {
        let Some(head) = self.queue.front() else {
            return if self.closing { Move::Miss(self.calls_left) } else { Move::Starved };
        };
        if !self.closing && self.queue.len() < LOOK_AHEAD.min(self.calls_left) {
            return Move::Starved;
        }
        if self.recent.has(head) {
            return Move::Doubled;
        }
        if !self.agree(0, 0) {
            // Near the end of a thread only what follows tells an altered event from one too many.
            let enough = self.closing || self.queue.len() >= LOOK_AHEAD;
            return if enough { self.weigh() } else { Move::Starved };
        }
        // Two calls that are alike in everything but time.
        let swapped = self.calls_left > 1
            && self.queue.get(1).is_some_and(|second| second.entry_ns < head.entry_ns)
            && self.agree(1, 0)
            && self.agree(0, 1);
        if swapped { Move::Swap } else { Move::Take }
    }

    fn cost_of(&self, event: usize, call: usize) -> u32 {
        differences(&(self.expected)(call), &self.queue[event]).count()
    }

    fn agree(&self, event: usize, call: usize) -> bool {
        self.cost_of(event, call) == 0
    }

    /// How badly the events from `event` on fit the calls from `call` on. At the end of the input
    /// the events or calls that are left over count, too.
    fn rest(&self, event: usize, call: usize) -> u32 {
        let (events, calls) =
            (self.queue.len().saturating_sub(event), self.calls_left.saturating_sub(call));
        let pairs = events.min(calls).min(LOOK_AHEAD);
        let misfit: u32 = (0..pairs).map(|pair| self.cost_of(event + pair, call + pair)).sum();
        let left_over =
            if self.closing { UNPAIRED * events.abs_diff(calls).min(LOOK_AHEAD) as u32 } else { 0 };
        misfit + left_over
    }

    fn weigh(&self) -> Move {
        let two = self.queue.len() > 1 && self.calls_left > 1;
        let swap = two.then(|| {
            (SWAPPED + self.cost_of(1, 0) + self.cost_of(0, 1) + self.rest(2, 2), Move::Swap)
        });
        let missing = (1..self.calls_left.min(LOOK_AHEAD + 1))
            .map(|gap| (UNPAIRED + gap as u32 / 4 + self.rest(0, gap), Move::Miss(gap)));
        let candidates = [(self.rest(0, 0), Move::Take)].into_iter().chain(swap).chain(missing);
        let best = candidates
            .chain([(UNPAIRED + self.rest(1, 0), Move::Extra)])
            .min_by_key(|(cost, _)| *cost);
        let (cost, best) = best.expect("there is always the first candidate");
        // Nothing near fits: look for a place far ahead where everything does, as after a full ring
        // buffer.
        let hopeless = self.far && cost as usize > LOOK_AHEAD;
        if hopeless && let Some(gap) = self.far_gap() { Move::Miss(gap) } else { best }
    }

    /// The nearest place where all that is in view fits; failing that, where most in a row does,
    /// since a tracer that loses events may lose some more right after.
    fn far_gap(&self) -> Option<usize> {
        let in_view = |gap: usize| self.queue.len().min(self.calls_left - gap).min(LOOK_AHEAD);
        let run =
            |gap: usize| (0..in_view(gap)).take_while(|pair| self.agree(*pair, gap + pair)).count();
        let mut longest = (0, None);
        for gap in 1..self.calls_left {
            let found = run(gap);
            if found == in_view(gap) {
                return Some(gap);
            }
            if found > longest.0 {
                longest = (found, Some(gap));
            }
        }
        longest.1
    }
}
