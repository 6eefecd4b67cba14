//! Pairs all events of a thread with all its calls at once, for tracers of any make: they lose many
//! events or print them out of order, and get the same field wrong in each, so that nothing can be
//! decided from a few events. It reports nothing.
//!
//! It is the cheapest of all explanations (the edit distance of sequences, Needleman and Wunsch
//! 1970): a pair costs its differing fields, those more that tell one call from the next, and what
//! is left alone costs as below.

use std::collections::VecDeque;

use super::align::Move;
use super::field::Fields;
use super::seen::{Seen, differences};
use super::timing::{is_within, nanos};
use crate::model::Bounds;

/// What a call without an event costs.
const MISSING: u32 = 1;
/// What an event of no call costs: with a call that misses one, more than a pair of which two
/// telling fields differ.
const EXTRA: u32 = 6;
/// The same for a tracer that is wrong about so much that else most of its events would be of no
/// call.
const EXTRA_OF_THE_CONFUSED: u32 = 60;
/// What a telling field costs beyond another: an event is rather of a call of which a structure
/// could not be read.
const TELLING: u32 = 2;
/// Events of no call, beyond those that numbers alone tell, before the cheapest explanation may be
/// missed.
const SLACK: usize = 256;

/// How a cell of the table was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Pair,
    Call,
    Event,
}

/// What a time costs at which the call was not made: little, since the clock may be another; enough
/// to tell calls apart that are alike.
const OUT_OF_TIME: u32 = 1;

/// How badly what an event tells fits a call, but for its time.
pub(super) fn misfit_of_contents(event: &Seen, call: &Seen) -> u32 {
    let fields = differences(call, event).without(event.no_evidence());
    fields.count() + TELLING * fields.without(Fields::ALL.without(Fields::TELLING)).count()
}

/// How badly an event fits a call.
fn misfit(event: &Seen, call: &Seen) -> u32 {
    let made = Bounds::new(nanos(call.entry_ns), call.exit_ns.map_or(i64::MAX, nanos));
    let is_out_of_time = event.is_timed() && !is_within(event, made);
    misfit_of_contents(event, call) + OUT_OF_TIME * u32::from(is_out_of_time)
}

/// What to do, event by event and call by call; events behind the last call are left.
pub(super) fn pair(events: &[Seen], calls: &[Seen]) -> VecDeque<Move> {
    let fitting =
        events.iter().zip(calls).take_while(|(event, call)| misfit(event, call) == 0).count();
    let mut moves: VecDeque<Move> = vec![Move::Take; fitting].into();
    let (events, calls) = (&events[fitting..], &calls[fitting..]);
    let mut rest = Table::new(events, calls, EXTRA).moves();
    if 2 * rest.iter().filter(|of| **of == Move::Extra).count() > events.len() {
        rest = Table::new(events, calls, EXTRA_OF_THE_CONFUSED).moves();
    }
    moves.extend(rest);
    moves
}

/// The cells near the diagonals on which an explanation can lie: `width` of them for each number of
/// events, from the call `events - before` on.
struct Table<'a> {
    events: &'a [Seen],
    calls: &'a [Seen],
    before: usize,
    width: usize,
    extra: u32,
    from: Vec<From>,
}

impl<'a> Table<'a> {
    fn new(events: &'a [Seen], calls: &'a [Seen], extra: u32) -> Self {
        let before = SLACK + events.len().saturating_sub(calls.len());
        let width = before + SLACK + 1 + calls.len().saturating_sub(events.len());
        let mut table = Self {
            events,
            calls,
            before,
            width,
            extra,
            from: Vec::with_capacity((events.len() + 1) * width),
        };
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
                    best = (
                        above[column] + misfit(&self.events[event - 1], &self.calls[call - 1]),
                        From::Pair,
                    );
                }
                if column > 0 && call > 0 && costs[column - 1] + MISSING < best.0 {
                    best = (costs[column - 1] + MISSING, From::Call);
                }
                if event > 0 && column + 1 < self.width && above[column + 1] + self.extra < best.0 {
                    best = (above[column + 1] + self.extra, From::Event);
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

#[cfg(test)]
mod tests {
    use super::super::reading::Reading;
    use super::super::seen::Names;
    use super::*;

    /// Calls that differ in `ufd` and `flags`, as another tracer tells them.
    fn seen(names: &mut Names, number: i32) -> Seen {
        let mut reading = Reading::of_thread(7);
        (reading.event.ufd, reading.event.flags) = (3 + number % 5, number);
        reading.reported = ["ufd", "flags", "comm"]
            .iter()
            .fold(reading.reported, |all, name| all.with(Fields::named(name).unwrap()));
        Seen::of_reading(&reading, names)
    }

    fn all(names: &mut Names, count: i32) -> Vec<Seen> {
        (0..count).map(|number| seen(names, number)).collect()
    }

    /// In letters: a pair, a call alone, an event alone.
    fn letters(events: &[Seen], calls: &[Seen]) -> String {
        let letter = |of: &Move| match of {
            Move::Take => '=',
            Move::Miss(1) => '-',
            Move::Extra => '+',
            other => panic!("{other:?}"),
        };
        pair(events, calls).iter().map(letter).collect()
    }

    #[test]
    fn each_event_finds_its_call_among_any_number_of_losses() {
        let names = &mut Names::new();
        let calls = all(names, 2000);
        let kept = |call: usize| call * call % 7 < 3 && !(500..1200).contains(&call);
        let events: Vec<Seen> =
            (0..calls.len()).filter(|call| kept(*call)).map(|call| calls[call]).collect();
        let expected: String =
            (0..calls.len()).map(|call| if kept(call) { '=' } else { '-' }).collect();
        assert_eq!(letters(&events, &calls), expected);
    }

    #[test]
    fn an_altered_event_stays_at_its_place_and_a_late_one_does_not() {
        let names = &mut Names::new();
        let calls = all(names, 6);
        let mut events = calls.clone();
        (events[2].ufd, events[2].flags) = (99, 99);
        assert_eq!(letters(&events, &calls), "======");
        let mut late = calls.clone();
        let first = late.remove(0);
        late.insert(3, first);
        assert_eq!(letters(&late, &calls), "-===+==");
        let mut twice = calls.clone();
        twice.insert(1, calls[0]);
        assert_eq!(letters(&twice, &calls), "=+=====");
    }

    #[test]
    fn events_that_are_wrong_in_everything_are_taken_in_their_order() {
        let names = &mut Names::new();
        let calls = all(names, 40);
        let comm = names.number("other");
        let confuse = |seen: &Seen| Seen { ufd: -1, flags: -1, comm, cpu: 9, ..*seen };
        let events: Vec<Seen> = calls.iter().map(confuse).collect();
        assert_eq!(letters(&events, &calls), "=".repeat(40));
    }

    #[test]
    fn nothing_pairs_with_nothing() {
        let names = &mut Names::new();
        let calls = all(names, 3);
        assert_eq!(letters(&[], &calls), "---");
        assert_eq!(letters(&calls, &[]), "+++");
        assert_eq!(letters(&[], &[]), "");
    }
}
