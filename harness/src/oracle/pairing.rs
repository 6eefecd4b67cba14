//! Pairs all events of a thread with all its calls at once, for tracers of any make: they lose many events or print them
//! out of order, and get the same field wrong in each, so that nothing can be decided from a few events. It reports nothing.
//!
//! It is the cheapest of all explanations (the edit distance of sequences, Needleman and Wunsch 1970): a pair costs its
//! differing fields, and what is left alone costs as below.

use std::collections::VecDeque;

use super::align::Move;
use super::seen::{Seen, differences};

/// What a call without an event costs.
const MISSING: u32 = 1;
/// What an event of no call costs.
const EXTRA: u32 = 3;
/// Events of no call, beyond those that numbers alone tell, before the cheapest explanation may be missed.
const SLACK: usize = 64;

/// How a cell of the table was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Pair,
    Call,
    Event,
}

/// How badly an event fits a call.
pub(super) fn misfit(event: &Seen, call: &Seen) -> u32 {
    differences(call, event).without(event.no_evidence()).count()
}

/// What to do, event by event and call by call; events behind the last call are left.
pub(super) fn pair(events: &[Seen], calls: &[Seen]) -> VecDeque<Move> {
    let fitting = events.iter().zip(calls).take_while(|(event, call)| misfit(event, call) == 0).count();
    let mut moves: VecDeque<Move> = vec![Move::Take; fitting].into();
    moves.extend(Table::new(&events[fitting..], &calls[fitting..]).moves());
    moves
}

/// The cells near the diagonals on which an explanation can lie: `width` of them for each number of events, from the
/// call `events - before` on.
struct Table<'a> {
    events: &'a [Seen],
    calls: &'a [Seen],
    before: usize,
    width: usize,
    from: Vec<From>,
}

impl<'a> Table<'a> {
    fn new(events: &'a [Seen], calls: &'a [Seen]) -> Self {
        let before = SLACK + events.len().saturating_sub(calls.len());
        let width = before + SLACK + 1 + calls.len().saturating_sub(events.len());
        let mut table = Self { events, calls, before, width, from: Vec::with_capacity((events.len() + 1) * width) };
        let mut above = Vec::new();
        for event in 0..=events.len() {
            above = table.row(event, &above);
        }
        table
    }

    /// The call of a column; `None` where there is none.
    fn call(&self, event: usize, column: usize) -> Option<usize> {
        (event + column).checked_sub(self.before).filter(|call| *call <= self.calls.len())
    }

    /// Costs after `event` events, of which `above` were those after one less.
    fn row(&mut self, event: usize, above: &[u32]) -> Vec<u32> {
        const FAR: u32 = u32::MAX / 2;
        let mut costs = vec![FAR; self.width];
        for column in 0..self.width {
            let mut best = (FAR, From::Event);
            if let Some(call) = self.call(event, column) {
                if event == 0 && call == 0 {
                    best = (0, From::Event);
                }
                if event > 0 && call > 0 {
                    best = (above[column] + misfit(&self.events[event - 1], &self.calls[call - 1]), From::Pair);
                }
                if column > 0 && call > 0 && costs[column - 1] + MISSING < best.0 {
                    best = (costs[column - 1] + MISSING, From::Call);
                }
                if event > 0 && column + 1 < self.width && above[column + 1] + EXTRA < best.0 {
                    best = (above[column + 1] + EXTRA, From::Event);
                }
            }
            costs[column] = best.0;
            self.from.push(best.1);
        }
        costs
    }

    fn moves(&self) -> Vec<Move> {
        let (mut event, mut call) = (self.events.len(), self.calls.len());
        let mut moves = Vec::new();
        while event + call > 0 {
            let column = call + self.before - event;
            match self.from[event * self.width + column] {
                From::Pair => {
                    (event, call) = (event - 1, call - 1);
                    moves.push(Move::Take);
                }
                From::Call => {
                    call -= 1;
                    moves.push(Move::Miss(1));
                }
                From::Event => {
                    event -= 1;
                    moves.push(Move::Extra);
                }
            }
        }
        moves.reverse();
        moves
    }
}
