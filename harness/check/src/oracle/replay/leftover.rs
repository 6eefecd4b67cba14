//! What is left when all calls of a plan were gone through: calls without an event, and events
//! without a call, some of which belong together.

use std::collections::{HashMap, VecDeque};

use super::super::field::Fields;
use super::super::finding::{Kind, Place};
use super::super::pairing;
use super::super::seen::{Seen, describe, differences};
use super::super::timing::Timing;
use super::{Missing, Replay, Report, Thread, differing};

/// How much of an event at a wrong place may differ for it to be a call's that has none; see
/// [`pairing::misfit_of_contents`].
const FEW: u32 = 3;

impl Replay {
    /// Ends a plan that is done: calls without an event and events without a call that fit but for
    /// their identity are one fault, not two. `waiting` holds events of threads that no journal
    /// knows. Gives back events that came after the last call of their thread, and what to
    /// recognise copies by.
    pub(in crate::oracle) fn end(
        mut self,
        waiting: &mut HashMap<u32, VecDeque<Seen>>,
        report: &mut Report,
    ) -> Vec<(u32, Thread)> {
        for thread in self.threads.values_mut().filter(|_| !self.missing.is_empty()) {
            let (ours, later) = thread
                .queue
                .drain(..)
                .partition(|seen| self.timing.covers(seen) && !thread.recent.has(seen));
            self.strays.extend::<VecDeque<Seen>>(ours);
            thread.queue = later;
        }
        for (call, when) in core::mem::take(&mut self.missing) {
            let place = self.place_of(call);
            let inside = self.threads[&self.tids[call]]
                .seen
                .is_some_and(|(first, last)| first < call && call < last);
            if report.partial && !inside {
                report.findings.outside += 1;
                continue;
            }
            let expected = self.expected(call);
            if self.of_others && self.found_late(call, &expected, report) {
                continue;
            }
            let fits = |seen: &Seen| {
                let fields = differences(&expected, seen);
                !fields.is_empty() && fields.within(Fields::IDENTITY) && self.timing.covers(seen)
            };
            let position = self.strays.iter().position(fits);
            let found = position
                .map(|at| self.strays.swap_remove(at))
                .or_else(|| take_from(waiting, &self.timing, fits));
            let Some(seen) = found else {
                report.missing_event(Missing { place, what: String::new(), when });
                continue;
            };
            let differences =
                describe(differences(&expected, &seen), &expected, &seen, &report.names);
            report.add(place, Kind::Field, differing(differences));
            self.checked += 1;
        }
        self.tell_checked(report);
        let place = Place { plan: Some(self.index), ..Place::default() };
        for seen in &self.strays {
            report.event_of_no_call(place, Kind::Extra, seen);
        }
        self.threads.into_iter().collect()
    }

    /// Takes the event of a call from where it is out of order, as tools print what they collect by
    /// CPU.
    fn found_late(&mut self, call: usize, expected: &Seen, report: &mut Report) -> bool {
        let of_it = |seen: &&(usize, u32)| seen.1 <= FEW;
        let ours = self.strays.iter().enumerate().filter(|(_, seen)| seen.tid == expected.tid);
        let misfits: Vec<(usize, u32)> =
            ours.map(|(at, seen)| (at, pairing::misfit_of_contents(seen, expected))).collect();
        let Some((at, _)) = misfits.iter().filter(of_it).min_by_key(|(_, misfit)| *misfit).copied()
        else {
            return false;
        };
        let seen = self.strays.swap_remove(at);
        let (place, fields) = (self.place_of(call), differences(expected, &seen));
        let wrong = || describe(fields, expected, &seen, &report.names);
        report.findings.facts.count((seen.told(), report.names.lines(&seen)), fields, place, wrong);
        report.note(
            place,
            Kind::OutOfOrder,
            "its event came between those of other calls of its thread".to_owned(),
        );
        self.checked += 1;
        true
    }
}

/// Takes an event of an unknown thread; each queue is in the order of time, so a later plan's is
/// left at once.
fn take_from(
    waiting: &mut HashMap<u32, VecDeque<Seen>>,
    timing: &Timing,
    fits: impl Fn(&Seen) -> bool,
) -> Option<Seen> {
    for queue in waiting.values_mut() {
        if let Some(at) = queue.iter().take_while(|seen| timing.covers(seen)).position(&fits) {
            return queue.remove(at);
        }
    }
    None
}
