//! The oracle of lifecycles: compares plan, journal, model and every event of a tracer that was
//! asked for all of them.
//!
//! It verifies:
//! * that the journal is what the plan asks for, and that the kernel's answers (results, what was
//!   left, ticks, which timers were readable) are those of [`crate::model::life`];
//! * that each call has exactly one event, in order within its thread, with every field equal to
//!   the journal, settings with all their 64 bits, and times within the workload's own readings of
//!   the clock;
//! * that a timer has one id for as long as the kernel has it, whatever descriptors of whichever
//!   process refer to it, and that no other timer has or had it;
//! * that each answer which only an expiry explains has one, that no timer fires before its time,
//!   after it was stopped, set anew or closed, or twice for one period, and that what is told as
//!   due is what the timer was set to: equal for an absolute time, within the arming call's own
//!   timestamps for a relative one, and whole intervals after that;
//! * that each wait or read that succeeded has exactly one wakeup of each timer by that means in
//!   that thread, and none else has, with the ticks that were read;
//! * that each setting of the clock cancelled the timers that asked for it, and that each timer was
//!   released once, by who closed its last descriptor, when that was closed.
//!
//! Of a tracer that came in the midst of lifecycles ([`Config::since_ns`]) everything is asked for that
//! began after it was ready, of timers that were there before as well.
//!
//! A tracer that was asked for a few kinds of events is held to those. A timer may then be told by
//! its id in one event alone; which timer it is is known where only one can be it.
//!
//! It does not verify:
//! * how late anything is, which CPU it was among those that exist, and whether a timer that nobody
//!   looked at fired;
//! * that a read which found nothing came before the expiry, since the handler may be under way on
//!   another CPU;
//! * the old setting of a call that did not hand it out (no pointer, or `ECANCELED`), where an
//!   event may tell it or not, and the timer of an alarm's setting that is refused for want of a
//!   capability;
//! * whether a second setting of the clock, while a cancellation was not told yet, is told again;
//! * the clock of a POSIX timer;
//! * calls with odd pointers, and threads side by side, which plans of lifecycles have none of;
//! * the order of events of different threads, or of expiries and the events of threads;
//! * the name of a process that releases a timer after it executed another program.
//!
//! Plans are done one after the other, so that an event is of the plan that was being done at its
//! time; a plan is judged when the next one is done.

mod call;
mod compare;
mod expiry;
mod judge;
mod line;
mod names;

use std::collections::{HashMap, HashSet};

use settime32_abi::journal::{Journal, Operation, what};
use settime32_abi::lifecycle::{Kind, TimerId};
use settime32_abi::plan::Plan;

use super::finding;
use super::replay::{Missing, Report};
use super::workload::comm_of;
use super::{Config, Difference, Finding, Place};
use crate::model::Bounds;
use crate::model::lifecycle::{Lived, Story, follow};
pub(super) use line::Event;

/// A plan that was done, and not judged yet.
#[derive(Debug)]
struct Done {
    index: u64,
    plan: Plan,
    journal: Journal,
    story: Story,
    /// Events that must come of it, and those that have.
    sure: u64,
    came: u64,
    /// Since when these are counted.
    since: i64,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    done: Vec<Done>,
    /// Events of plans that were not judged yet, in the order in which they came.
    events: Vec<Event>,
    /// Ids of timers of plans that were.
    used: HashSet<TimerId>,
}

/// What was found of one plan, in terms of the journal.
#[derive(Debug, Default)]
struct Verdicts {
    findings: Vec<(Option<usize>, finding::Kind, Vec<Difference>, String)>,
    /// Steps with an event that never came, what it is, and when it was.
    missing: Vec<(Option<usize>, String, Bounds)>,
    /// Timers whose story lacks an event.
    incomplete: HashSet<usize>,
    ids: HashMap<TimerId, usize>,
}

impl Verdicts {
    fn add(
        &mut self,
        step: Option<usize>,
        kind: finding::Kind,
        differences: Vec<Difference>,
        note: impl Into<String>,
    ) {
        self.findings.push((step, kind, differences, note.into()));
    }
}

impl Lifecycle {
    /// Takes a plan that was done.
    pub(super) fn plan_done(
        &mut self,
        index: u64,
        plan: Plan,
        journal: Journal,
        config: &Config,
        report: &mut Report,
    ) {
        let story = follow(&plan, &journal);
        let place = |step| Place { plan: Some(index), step: Some(step), call: None };
        for fault in &story.faults {
            let kind = if fault.lie { finding::Kind::WorkloadLied } else { finding::Kind::Model };
            let wrong = &fault.wrong;
            let difference = Difference {
                field: wrong.field,
                expected: wrong.expected.clone(),
                found: wrong.found.clone(),
            };
            report.add(
                place(fault.step),
                kind,
                Finding {
                    place: place(fault.step),
                    kind,
                    differences: vec![difference],
                    note: String::new(),
                },
            );
        }
        let timers = story.timers.len() as u64;
        report.findings.calls += timers;
        report.findings.tally(index).calls += timers;
        if config.untraced {
            // What the model says of the journal is all there is.
            report.findings.checked += timers;
            report.findings.tally(index).checked += timers;
            return;
        }
        let start = journal.header.start.monotonic_before_ns;
        if let Some(comm) = config.comm.as_ref().filter(|comm| **comm != comm_of(&journal.header)) {
            let difference = Difference {
                field: "comm of the header",
                expected: comm.clone(),
                found: comm_of(&journal.header),
            };
            let kind = finding::Kind::WorkloadLied;
            let finding = Finding {
                place: place(0),
                kind,
                differences: vec![difference],
                note: String::new(),
            };
            report.add(place(0), kind, finding);
        }
        let is_asked_for = |operation: &&Operation| {
            is_told(operation.what)
                && config.events.has(call::name(operation))
                && operation.before_ns >= config.since_ns
        };
        let calls = journal.operations.iter().filter(is_asked_for).count() as u64;
        let since = start.max(config.since_ns);
        let came =
            self.events.iter().filter(|event| event.time() >= since && event.is_sure()).count()
                as u64;
        // The releases at its end are what comes last of a plan; without them nobody knows whether
        // all of it has come.
        let has_releases = config.events.has(Kind::Release.as_str());
        if has_releases {
            self.judge_before(start, config, report);
        }
        let ends = |lived: &&Lived| {
            lived.released.map_or(journal.header.end.monotonic_before_ns, |at| {
                journal.operations[at].before_ns
            })
        };
        let releases = story
            .timers
            .iter()
            .filter(|lived| has_releases && ends(lived) >= config.since_ns)
            .count() as u64;
        self.done.push(Done { index, plan, sure: calls + releases, came, since, journal, story });
    }

    /// Takes an event.
    pub(super) fn take(&mut self, event: Event) {
        if event.is_sure()
            && let Some(last) = self.done.last_mut()
        {
            last.came += u64::from(event.time() >= last.since);
        }
        self.events.push(event);
    }

    /// Calls and releases that have not come yet.
    pub(super) fn outstanding(&self) -> u64 {
        self.done.iter().map(|done| done.sure.saturating_sub(done.came)).sum()
    }

    pub(super) fn is_judged(&self, index: u64) -> bool {
        self.done.iter().all(|done| done.index != index)
    }

    /// Judges what is left, and what is of no plan.
    pub(super) fn settle(&mut self, config: &Config, report: &mut Report) {
        self.judge_before(i64::MAX, config, report);
        for event in std::mem::take(&mut self.events) {
            report.note(Place::default(), finding::Kind::Extra, format!("{event:?}"));
        }
    }

    /// Judges the plans that were done before a time.
    fn judge_before(&mut self, time: i64, config: &Config, report: &mut Report) {
        let plans = std::mem::take(&mut self.done);
        let starts = plans
            .iter()
            .skip(1)
            .map(|next| next.journal.header.start.monotonic_before_ns)
            .chain([time]);
        for (done, end) in plans.iter().zip(starts.collect::<Vec<_>>()) {
            let (ours, later) =
                std::mem::take(&mut self.events).into_iter().partition(|event| event.time() < end);
            self.events = later;
            let verdicts = judge::judge(done, ours, config, &self.used);
            self.used.extend(verdicts.ids.keys());
            tell(done, verdicts, config.since_ns, report);
        }
    }
}

fn tell(done: &Done, verdicts: Verdicts, since_ns: i64, report: &mut Report) {
    let place = |step| Place { plan: Some(done.index), step, call: None };
    for (step, kind, differences, note) in verdicts.findings {
        report.add(place(step), kind, Finding { place: place(step), kind, differences, note });
    }
    for (step, what, when) in verdicts.missing {
        report.missing_event(Missing { place: place(step), what, when });
    }
    let when = |lived: &Lived| {
        let end = lived.released.map_or(done.journal.header.end.monotonic_after_ns, |at| {
            done.journal.operations[at].after_ns
        });
        (done.journal.operations[lived.created].before_ns, end)
    };
    let outside = done.story.timers.iter().filter(|lived| when(lived).1 < since_ns).count();
    if since_ns > i64::MIN {
        let across = done
            .story
            .timers
            .iter()
            .filter(|lived| when(lived).0 < since_ns && since_ns <= when(lived).1)
            .count();
        *report.findings.across.get_or_insert(0) += across as u64;
    }
    report.findings.outside += outside as u64;
    let whole = (done.story.timers.len() - outside - verdicts.incomplete.len()) as u64;
    report.findings.checked += whole;
    report.findings.tally(done.index).checked += whole;
}

/// Whether the tracer tells of such an operation as a call.
fn is_told(of: u32) -> bool {
    [
        what::CREATE,
        what::SETTIME32,
        what::SETTIME64,
        what::GETTIME,
        what::POSIX_SET,
        what::POSIX_GET,
    ]
    .contains(&of)
}
