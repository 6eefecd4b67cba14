//! The oracle: compares, call by call and as a stream, what was asked for (plan), what was really
//! passed and answered (journal), what the kernel's sources say (model) and what the tracer printed
//! (events).
//!
//! It verifies:
//! * that the journal is what the plan asks for: steps, order, processes, flags, pointers null or
//!   not, the bytes at `utmr`, and descriptor numbers as far as they must be equal, different or
//!   given;
//! * that the kernel's result, the old interval and, within the bounds that timestamps give, the
//!   old value are the model's, and that `otmr` is written as far as the kernel gets, and no
//!   further;
//! * that every call has exactly one event, in order within its thread (but for those that the
//!   tracer counted as lost, and those of a time when it says that it was blind), with every field
//!   equal to the journal: arguments, both structures as read and as the kernel itself had them,
//!   result, errno name, pid, tid, comm and ABI, the entry path where the event names one or must,
//!   and the CPU, which is that of the entry where the thread is kept on one, or else one that
//!   exists;
//! * that what a probe at entry cannot read is not made up: a half that is not resident is null,
//!   with its errno, and what the kernel copied is there all the same;
//! * that no event is of anything else, no line is unknown, each has the keys that are documented
//!   and no others, and the summary agrees with the events;
//! * where another thread writes what a call reads, that `toctou` says what the two readings say,
//!   that both are made of what was written, and that what the kernel used is what the timer then
//!   has;
//! * where threads set one timer, that each setting was replaced once;
//! * that timestamps are in order within a call, between calls, and within the workload's own
//!   reading of the clock.
//!
//! It does not verify:
//! * timestamps more closely than that, or the CPU of a thread that may be on any;
//! * the order of events of different threads, and in which order threads set a timer that they
//!   share;
//! * `it_value` of a running timer more closely than by the span of the two calls, nor how often it
//!   fired;
//! * what was at `otmr` before a call that succeeded, since only the workload saw it;
//! * that an address in the journal is where the workload keeps its memory, beyond the event naming
//!   the same and its place on a page being that of the plan;
//! * whether the vDSO entered by `sysenter` or by `syscall`, which the CPU's maker decides;
//! * which call a lost event was of, when calls that are alike follow each other.
//!
//! Memory is bounded by the plans that are not settled: an event is compared and forgotten.

mod align;
mod contract;
mod events;
mod expected;
mod facts;
mod field;
mod finding;
mod lifecycle;
mod pairing;
mod race;
mod reading;
mod replay;
mod seen;
mod timing;
mod workload;

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;
use settime32_abi::journal::Journal;
use settime32_abi::output::{CallEvent, SUMMARY_EVENT, Summary};
use settime32_abi::plan::Plan;

use align::Recent;
use contract::Contract;
pub use events::{EventSet, EventSets};
pub use facts::{Example, FactTally, Facts};
pub use field::Fields;
pub use finding::{Difference, Finding, Findings, Kind, Place, Tally};
pub use reading::{Reading, Telling};
use replay::{Missing, Replay, Report};
use seen::{Names, Seen};

/// What the oracle has to know of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// CPUs of the guest.
    pub cpus: u32,
    /// Name of the workload's process as the kernel cuts it, when it is known.
    pub comm: Option<String>,
    /// Whether every event must name the entry path; not every way to attach, nor every CPU, lets a
    /// tracer tell.
    pub entry_path_needed: bool,
    /// The tracer is not this project's: what an event does not tell is not held against it, what
    /// it does is counted field by field, and the new setting may be read at entry in ways that
    /// this project's tracer does not.
    pub of_others: bool,
    /// What it counts as lost are lines, several of which tell of one call: it may count more than
    /// there are calls without an event.
    pub loses_lines: bool,
    /// The plans are of lifecycles; see [`lifecycle`].
    pub lifecycle: bool,
    /// What it was asked for, where the plans are of lifecycles.
    pub events: EventSet,
    /// Of lifecycles, the tracer tells of some threads only: a timer that was there before it is
    /// known once such a thread has come to it.
    pub filtered: bool,
    /// Of lifecycles, when the tracer was ready, `CLOCK_MONOTONIC`: what began before need not be
    /// told, but what is told of it must be right.
    pub since_ns: i64,
    /// The kernel fires a timer that is due as it is set in the call that sets it (since 7.2).
    pub fires_inline: bool,
    /// No tracer ran: only the journal is compared.
    pub untraced: bool,
    /// Findings that are kept; the others are only counted.
    pub max_findings: usize,
    /// A plan is given up when so many events of others came after its journal: its own were lost.
    pub patience_events: u64,
    /// The tracer came or went while the calls were made: those of a thread before its first event
    /// and behind its last one are not missing, and the last one may be of a call that was not seen
    /// to return.
    pub partial: bool,
    /// Events of unknown threads that may wait for a journal; more are of no plan.
    pub max_waiting_events: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cpus: 1,
            comm: None,
            entry_path_needed: false,
            of_others: false,
            loses_lines: false,
            lifecycle: false,
            events: EventSet::all(),
            filtered: false,
            since_ns: i64::MIN,
            fires_inline: false,
            untraced: false,
            max_findings: 100,
            partial: false,
            patience_events: 1 << 16,
            max_waiting_events: 1 << 20,
        }
    }
}

/// Threads of settled plans of which the last events are kept.
const REMEMBERED_THREADS: usize = 1024;

/// What becomes of a thread's events.
#[derive(Clone, Copy, Debug)]
enum Owner {
    /// They belong to this plan.
    Plan(u64),
    /// They belong to a plan whose journal is useless, which was reported.
    Nobody,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Oracle {
    config: Config,
    report: Report,
    contract: Contract,
    /// Plans with a journal that are not settled, and the number of events that had come when they
    /// were added.
    replays: BTreeMap<u64, (Replay, u64)>,
    owners: HashMap<u32, Owner>,
    waiting: HashMap<u32, VecDeque<Seen>>,
    waiting_events: usize,
    /// Last events of threads whose plans are settled, to tell copies from strangers.
    settled: HashMap<u32, (u64, Recent)>,
    /// Of lifecycles, which takes everything then.
    lifecycle: Option<lifecycle::Lifecycle>,
}

impl Oracle {
    /// An oracle that has seen nothing.
    pub fn new(config: Config) -> Self {
        let report = Report {
            names: Names::new(),
            findings: Findings::default(),
            limit: config.max_findings,
            missing: Vec::new(),
            missing_when: Vec::new(),
            partial: config.partial,
            results_lost: 0,
            unfinished: 0,
        };
        let (owners, waiting, settled) = (HashMap::new(), HashMap::new(), HashMap::new());
        let lifecycle = config.lifecycle.then(lifecycle::Lifecycle::default);
        Self {
            config,
            report,
            contract: Contract::default(),
            replays: BTreeMap::new(),
            owners,
            waiting,
            waiting_events: 0,
            settled,
            lifecycle,
        }
    }

    /// Takes a plan that was done, with its journal. Plans are added in the order in which they
    /// were done, each under an index of its own; events may have come before.
    pub fn plan_done(&mut self, index: u64, plan: Plan, journal: Journal) {
        if let Some(lifecycle) = &mut self.lifecycle {
            return lifecycle.plan_done(index, plan, journal, &self.config, &mut self.report);
        }
        let start_ns = journal.header.start.monotonic_before_ns;
        let made = journal.operations.iter().flat_map(|made| [made.pid, made.tid]);
        let tids: Vec<u32> = made.chain([journal.header.pid]).collect();
        let Some(mut replay) = Replay::new(index, plan, journal, &self.config, &mut self.report)
        else {
            self.owners.extend(tids.iter().map(|tid| (*tid, Owner::Nobody)));
            tids.iter().for_each(|tid| self.forget(*tid));
            return;
        };
        for tid in replay.tids().collect::<Vec<_>>() {
            // The kernel gave the number to another process, so that plan's events have all come.
            if let Some(Owner::Plan(earlier)) = self.owners.insert(tid, Owner::Plan(index)) {
                let before = self.replays.get_mut(&earlier);
                let ours = before.map(|(before, _)| before.split_off(tid, start_ns));
                self.close(earlier);
                self.owners.insert(tid, Owner::Plan(index));
                ours.into_iter().flatten().for_each(|seen| _ = replay.push(seen));
            }
            self.settled.remove(&tid);
            let waited = self.waiting.remove(&tid).unwrap_or_default();
            self.waiting_events -= waited.len();
            waited.into_iter().for_each(|seen| _ = replay.push(seen));
        }
        self.replays.insert(index, (replay, self.report.findings.events));
        self.advance(index);
        self.give_up_on_stale_plans();
    }

    /// Takes a call event, in the order in which the tracer printed them.
    pub fn event(&mut self, event: &CallEvent<'_>) {
        let seen = Seen::new(event, &mut self.report.names);
        self.take(seen);
    }

    /// Takes what another tracer told of a call, in the order in which it did.
    pub fn reading(&mut self, reading: &Reading) {
        let mut seen = Seen::of_reading(reading, &mut self.report.names);
        if !seen.is_timed() {
            seen.entry_ns = self.report.findings.events;
        }
        self.take(seen);
    }

    fn take(&mut self, seen: Seen) {
        if self.report.findings.summary.is_some() {
            self.report.note(Place::default(), Kind::Summary, "an event came after it".to_owned());
        }
        self.report.findings.events += 1;
        self.report.results_lost += u64::from(seen.result_lost);
        self.report.unfinished += u64::from(seen.unfinished);
        match self.owners.get(&seen.tid) {
            Some(Owner::Nobody) => {}
            Some(&Owner::Plan(index)) => {
                let (replay, _) =
                    self.replays.get_mut(&index).expect("a plan owns threads until it is settled");
                if replay.push(seen) {
                    self.advance(index);
                }
            }
            None => self.unowned(seen),
        }
    }

    /// Takes a line of the tracer's output, with or without its newline: an event, the summary, or
    /// a fault.
    pub fn line(&mut self, line: &[u8]) {
        const CALL_PREFIX: &[u8] = br#"{"event":"timerfd_settime32","#;
        const SUMMARY_PREFIX: &[u8] = br#"{"event":"summary","#;
        let of_life = self
            .lifecycle
            .is_some()
            .then(|| lifecycle::Event::read(line, &mut self.contract))
            .flatten();
        let faults = if let Some(read) = of_life {
            read.map(|(event, faults)| (self.life_event(event), faults).1)
        } else if line.starts_with(CALL_PREFIX) {
            self.contract
                .read::<CallEvent<'_>>(line)
                .map(|(event, faults)| (self.event(&event), faults).1)
        } else if line.starts_with(SUMMARY_PREFIX) {
            self.contract
                .read::<Summary>(line)
                .map(|(summary, faults)| (self.summary(summary), faults).1)
        } else {
            return self.unparseable(line, "it begins like neither");
        };
        match faults {
            Ok(faults) if faults.is_empty() => {}
            Ok(faults) => self.faulty(Kind::Undocumented, line, &faults),
            // serde_json calls some values of another type a fault of the syntax.
            Err(error) if serde_json::from_slice::<Value>(line).is_ok() => {
                self.faulty(Kind::Undocumented, line, &error.to_string())
            }
            Err(error) => self.unparseable(line, &error.to_string()),
        }
    }

    fn life_event(&mut self, event: lifecycle::Event) {
        if self.report.findings.summary.is_some() {
            self.report.note(Place::default(), Kind::Summary, "an event came after it".to_owned());
        }
        self.report.findings.events += 1;
        let (result_lost, unfinished) = event.is_cut_short();
        self.report.results_lost += u64::from(result_lost);
        self.report.unfinished += u64::from(unfinished);
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.take(event);
        }
    }

    /// Takes the tracer's last words.
    pub fn summary(&mut self, summary: Summary) {
        if self.report.findings.summary.is_some() {
            self.report.note(Place::default(), Kind::Summary, "it came twice".to_owned());
        }
        // A span in which it was blind is one loss at least, of nobody knows how many calls.
        self.report.findings.lost = summary.lost.total() + summary.blind.len() as u64;
        self.report.findings.summary = Some(summary);
    }

    /// From now on it is known when the tracer was ready ([`Config::since_ns`]).
    pub fn ready_since(&mut self, ns: i64) {
        self.config.since_ns = ns;
    }

    /// Call events that have come.
    pub fn received(&self) -> u64 {
        self.report.findings.events
    }

    /// Calls in journals that were not compared yet. It comes down to 0 when all events have come
    /// and are right; after a fault at the end of a thread a few may stay until [`Oracle::finish`],
    /// so nobody should wait for 0 for ever.
    pub fn outstanding(&self) -> u64 {
        let in_lifecycles = self.lifecycle.as_ref().map_or(0, lifecycle::Lifecycle::outstanding);
        in_lifecycles
            + self.replays.values().map(|(replay, _)| replay.calls_left() as u64).sum::<u64>()
    }

    /// Findings so far; losses are judged at the end only.
    pub fn so_far(&self) -> &Findings {
        &self.report.findings
    }

    /// Ends the input: what has not come by now is missing, and what was for nobody is extra.
    pub fn finish(mut self) -> Findings {
        self.settle();
        if !self.config.untraced {
            self.check_summary();
            self.judge_missing();
        }
        self.report.findings
    }

    /// The same while the tracer goes on, which has not said yet what it lost: every call without
    /// an event is taken for one that it did not count.
    pub fn finish_running(mut self) -> Findings {
        self.settle();
        self.judge_missing();
        self.report.findings
    }

    /// Whether this plan, whose journal is there, was compared to its end.
    pub fn is_compared(&self, index: u64) -> bool {
        !self.replays.contains_key(&index)
            && self.lifecycle.as_ref().is_none_or(|lifecycle| lifecycle.is_judged(index))
    }

    fn settle(&mut self) {
        if let Some(lifecycle) = &mut self.lifecycle {
            lifecycle.settle(&self.config, &mut self.report);
        }
        while let Some(index) = self.replays.keys().next().copied() {
            self.close(index);
        }
        let mut strangers: Vec<Seen> = self.waiting.values().flatten().copied().collect();
        strangers.sort_by_key(|seen| seen.entry_ns);
        for seen in &strangers {
            self.report.event_of_no_call(Place::default(), Kind::Extra, seen);
        }
    }

    fn unowned(&mut self, seen: Seen) {
        if let Some((index, _)) =
            self.settled.get(&seen.tid).filter(|(_, recent)| recent.has(&seen))
        {
            let place = Place { plan: Some(*index), ..Place::default() };
            self.report.event_of_no_call(place, Kind::Doubled, &seen);
        } else if self.waiting_events < self.config.max_waiting_events {
            self.waiting.entry(seen.tid).or_default().push_back(seen);
            self.waiting_events += 1;
        } else {
            self.report.event_of_no_call(Place::default(), Kind::Extra, &seen);
        }
    }

    fn forget(&mut self, tid: u32) {
        self.waiting_events -= self.waiting.remove(&tid).map_or(0, |queue| queue.len());
    }

    /// Takes a line of which its reader can make nothing.
    pub fn unparseable(&mut self, line: &[u8], reason: &str) {
        self.faulty(Kind::Unparseable, line, reason);
    }

    fn faulty(&mut self, kind: Kind, line: &[u8], reason: &str) {
        const SHOWN: usize = 200;
        let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
        self.report.note(Place::default(), kind, format!("{reason}: {:?}", text.trim_end()));
    }

    fn advance(&mut self, index: u64) {
        let (replay, _) =
            self.replays.get_mut(&index).expect("only plans that are there are advanced");
        if replay.advance(false, &mut self.report) {
            self.end(index);
        }
    }

    /// Ends a plan with the events that have come.
    fn close(&mut self, index: u64) {
        let Some((replay, _)) = self.replays.get_mut(&index) else { return };
        let done = replay.advance(true, &mut self.report);
        debug_assert!(done, "a closing plan never waits");
        self.end(index);
    }

    fn end(&mut self, index: u64) {
        let Some((replay, _)) = self.replays.remove(&index) else { return };
        let waiting_before: usize = self.waiting.values().map(VecDeque::len).sum();
        let threads = replay.end(&mut self.waiting, &mut self.report);
        self.waiting_events -=
            waiting_before - self.waiting.values().map(VecDeque::len).sum::<usize>();
        // Who is forgotten here is at worst called a stranger instead of a copy.
        if self.settled.len() > REMEMBERED_THREADS {
            self.settled.clear();
        }
        for (tid, mut thread) in threads {
            self.owners.remove(&tid);
            let rest = thread.take_rest();
            self.settled.insert(tid, (index, thread.recent));
            // Either copies, or of a later process with the same number.
            rest.into_iter().for_each(|seen| self.unowned(seen));
        }
    }

    fn give_up_on_stale_plans(&mut self) {
        let events = self.report.findings.events;
        let patience = self.config.patience_events;
        let stale = self
            .replays
            .iter()
            .filter(|(_, (_, since))| events - since > patience)
            .map(|(index, _)| *index);
        for index in stale.collect::<Vec<_>>() {
            self.close(index);
        }
    }

    fn check_summary(&mut self) {
        let Some(summary) = &self.report.findings.summary else {
            self.report.note(
                Place::default(),
                Kind::Summary,
                "the tracer never printed it".to_owned(),
            );
            return;
        };
        let counts = [
            ("reported", self.report.findings.events, summary.reported),
            ("unfinished", self.report.unfinished, summary.unfinished),
            ("lost.result", self.report.results_lost, summary.lost.result),
        ];
        let wrong = counts.into_iter().filter(|(_, expected, found)| expected != found);
        let differences: Vec<Difference> = wrong
            .map(|(field, expected, found)| Difference {
                field,
                expected: expected.to_string(),
                found: found.to_string(),
            })
            .collect();
        if !differences.is_empty() {
            let finding = Finding {
                place: Place::default(),
                kind: Kind::Summary,
                differences,
                note: String::new(),
            };
            self.report.add(Place::default(), Kind::Summary, finding);
        }
    }

    /// Calls without an event are a loss that was counted, or one that nobody can count while the
    /// tracer says that it was blind, or else a silent one, which is a mismatch. More losses than
    /// calls without an event are a count that is not right.
    fn judge_missing(&mut self) {
        let missing = self.report.findings.missing;
        let summary = self.report.findings.summary.clone();
        let excused = summary.as_ref().map_or(Some(0), |summary| finding::excused(&summary.lost));
        // Of an expiry that no answer shows nobody knows, so that one may have been lost that is
        // not missing.
        let has_unseen = self.config.lifecycle
            && self.config.events.has(settime32_abi::lifecycle::Kind::Expiry.as_str());
        let may_be_more = self.config.partial || self.config.loses_lines || has_unseen;
        if let Some(counted) = excused.filter(|counted| *counted > missing && !may_be_more) {
            let difference = Difference {
                field: "lost",
                expected: format!("{missing}, the calls without an event"),
                found: counted.to_string(),
            };
            let finding = Finding {
                place: Place::default(),
                kind: Kind::Summary,
                differences: vec![difference],
                note: String::new(),
            };
            self.report.add(Place::default(), Kind::Summary, finding);
        }
        let is_silent = |when| !finding::was_blind(summary.as_ref(), when);
        let silent = self
            .report
            .missing_when
            .iter()
            .filter(|(when, _)| is_silent(*when))
            .map(|(_, count)| count)
            .sum();
        // What may have been a wanted call explains one, and demands none.
        let unknown = summary.as_ref().map_or(0, |summary| summary.unknown);
        let Some(excused) =
            excused.map(|excused| excused + unknown).filter(|excused| *excused < silent)
        else {
            return;
        };
        let mut named = core::mem::take(&mut self.report.missing);
        named.retain(|missing| is_silent(missing.when));
        self.report.findings.count_only(Kind::Missing, silent - named.len() as u64);
        for Missing { place, what, .. } in named {
            let note = match what.is_empty() {
                true => format!(
                    "{silent} calls have no event, and the tracer counted {excused} as lost"
                ),
                false => format!(
                    "of {what}; {silent} have none, and the tracer counted {excused} as lost"
                ),
            };
            self.report.note(place, Kind::Missing, note);
        }
    }
}

const _: () =
    assert!(SUMMARY_EVENT.len() == 7, "the prefix of a summary line is written out above");
