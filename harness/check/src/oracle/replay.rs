//! Follows one plan through its journal and its events, step by step, as events come. Which event
//! is which call's is decided by `align`; what is right by `workload`, `seen` and `timing`.

mod leftover;

use std::collections::{HashMap, VecDeque};

use settime32_abi::journal::Journal;
use settime32_abi::plan::{Call, Plan, Step};
use settime32_abi::timespec::Timespec64;

use super::Config;
use super::align::{Move, Recent, Window};
use super::expected;
use super::field::Fields;
use super::finding::{Difference, Finding, Findings, Kind, Place};
use super::pairing;
use super::race::Race;
use super::seen::{Name, Names, Seen, WHOLE, describe, differences};
use super::timing::{Timing, nanos};
use super::workload::{self, Caller, Descriptors};
use crate::model::{Bounds, Model, Outcome};

/// Events that are gathered before they are compared, so that the state of a plan is touched
/// rarely.
const BATCH: usize = 64;
/// Events of no call that are kept to be told apart from altered ones.
const STRAYS: usize = 4096;

/// Where faults go.
#[derive(Debug)]
pub(super) struct Report {
    pub names: Names,
    pub findings: Findings,
    pub limit: usize,
    /// The first calls without an event, and of what else there is none.
    pub missing: Vec<Missing>,
    /// When all of them were, and how many are known to be of the same time.
    pub missing_when: Vec<(Bounds, u64)>,
    /// See [`super::Config::partial`].
    pub partial: bool,
    /// Events that said that their result was lost.
    pub results_lost: u64,
    /// Events that said that their call was unfinished.
    pub unfinished: u64,
}

/// Something that no event tells of.
#[derive(Debug)]
pub(super) struct Missing {
    pub place: Place,
    /// What it is, in words, where it is no call under test.
    pub what: String,
    /// When it was.
    pub when: Bounds,
}

impl Report {
    pub(super) fn add(&mut self, place: Place, kind: Kind, finding: Finding) {
        self.findings.add(self.limit, Finding { place, kind, ..finding });
    }

    pub(super) fn note(&mut self, place: Place, kind: Kind, note: String) {
        self.findings.add(self.limit, Finding { place, kind, differences: Vec::new(), note });
    }

    pub(super) fn event_of_no_call(&mut self, place: Place, kind: Kind, seen: &Seen) {
        let Seen { entry_ns, pid, tid, ufd, flags, .. } = seen;
        self.note(
            place,
            kind,
            format!("entry_ns {entry_ns}, pid {pid}, tid {tid}, ufd {ufd}, flags {flags:#x}"),
        );
    }

    /// No event tells of this.
    pub(super) fn missing_event(&mut self, missing: Missing) {
        self.findings.missing += 1;
        if let Some(plan) = missing.place.plan {
            self.findings.tally(plan).missing += 1;
        }
        match self.missing_when.last_mut() {
            Some((when, count)) if *when == missing.when => *count += 1,
            _ => self.missing_when.push((missing.when, 1)),
        }
        if self.missing.len() < self.limit {
            self.missing.push(missing);
        }
    }
}

/// Events of one thread and its calls.
#[derive(Debug, Default)]
pub(super) struct Thread {
    /// Indices of its calls in the journal.
    calls: Vec<u32>,
    /// How many of those are done.
    done: usize,
    queue: VecDeque<Seen>,
    pub recent: Recent,
    /// Calls that are known to have no event.
    gap: usize,
    /// When the last of its calls with an event returned.
    exit_ns: Option<u64>,
    /// The last of its calls with an event, if that says that the call had not returned.
    unfinished: Option<Place>,
    /// Of another tracer: what was decided of its events and calls, from the next on.
    moves: VecDeque<Move>,
    /// The first and the last call with an event.
    seen: Option<(usize, usize)>,
}

impl Thread {
    fn calls_left(&self) -> usize {
        self.calls.len() - self.done
    }
}

/// A plan of which not every event was seen yet.
#[derive(Debug)]
pub(super) struct Replay {
    index: u64,
    plan: Plan,
    journal: Journal,
    /// Process and thread of each call.
    pids: Vec<u32>,
    tids: Vec<u32>,
    /// The step of each call.
    steps: Vec<u32>,
    /// The process that forks.
    parent: u32,
    comm: Name,
    cpus: u32,
    /// See [`super::Config::partial`].
    partial: bool,
    entry_path_needed: bool,
    of_others: bool,
    threads: HashMap<u32, Thread>,
    model: Model,
    descriptors: Descriptors,
    timing: Timing,
    /// The step after the calls of the threads that were started last.
    threads_until: usize,
    step: usize,
    call: usize,
    /// Calls that were compared since the report was told of it.
    checked: u64,
    /// Those among them whose event says that memory changed.
    toctou: u64,
    /// Calls whose event says that its result was lost.
    results_lost: u64,
    /// Calls without an event.
    missing: Vec<(usize, Bounds)>,
    /// Events of no call.
    strays: Vec<Seen>,
    race: Race,
}

impl Replay {
    /// `None` when the journal has not as many records as the plan has calls, which was reported.
    pub(super) fn new(
        index: u64,
        plan: Plan,
        journal: Journal,
        config: &Config,
        report: &mut Report,
    ) -> Option<Self> {
        let comm = config.comm.as_deref();
        let place = Place { plan: Some(index), ..Place::default() };
        report.findings.calls += plan.calls() as u64;
        report.findings.tally(index).calls += plan.calls() as u64;
        if plan.calls() != journal.operations.len() {
            let note = format!("{} records for {} calls", journal.operations.len(), plan.calls());
            report.note(place, Kind::WorkloadLied, note);
            return None;
        }
        let pids = workload::processes(&plan, &journal);
        let outside = workload::outside_forks(&plan).map(|call| pids[call]);
        let parent = outside.unwrap_or(journal.header.pid);
        let lies = workload::header_lies(&journal.header, parent, comm);
        if !lies.is_empty() {
            report.add(place, Kind::WorkloadLied, differing(lies));
        }
        let calls = plan.steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Call(_)));
        let steps = calls.map(|(index, _)| index as u32).collect();
        let mut threads: HashMap<u32, Thread> = HashMap::new();
        let tids = workload::threads(&plan, &journal, &pids);
        for (call, tid) in tids.iter().enumerate() {
            threads.entry(*tid).or_default().calls.push(call as u32);
        }
        let comm = report.names.number(comm.unwrap_or(&workload::comm_of(&journal.header)));
        let model = Model::new(workload::timeline(&journal.header));
        let timing = Timing::new(&journal.header, &journal.operations, &tids);
        let descriptors = Descriptors::new();
        let (missing, strays) = (Vec::new(), Vec::new());
        Some(Self {
            index,
            plan,
            journal,
            pids,
            tids,
            steps,
            parent,
            comm,
            cpus: config.cpus,
            entry_path_needed: config.entry_path_needed,
            of_others: config.of_others,
            partial: report.partial,
            threads,
            model,
            descriptors,
            timing,
            threads_until: 0,
            step: 0,
            call: 0,
            checked: 0,
            toctou: 0,
            results_lost: 0,
            missing,
            strays,
            race: Race::default(),
        })
    }

    pub(super) fn tids(&self) -> impl Iterator<Item = u32> {
        self.threads.keys().copied()
    }

    pub(super) fn calls_left(&self) -> usize {
        self.pids.len() - self.call
    }

    /// Gives back the events of a thread that entered at this time or later: they are of another
    /// process, which has its number now.
    pub(super) fn split_off(&mut self, tid: u32, time: i64) -> VecDeque<Seen> {
        let Some(thread) = self.threads.get_mut(&tid) else { return VecDeque::new() };
        let is_later = |seen: &Seen| seen.is_timed() && nanos(seen.entry_ns) >= time;
        let (later, ours) = thread.queue.drain(..).partition(is_later);
        thread.queue = ours;
        later
    }

    /// Takes an event of one of its threads and says whether it is time to [`Replay::advance`].
    pub(super) fn push(&mut self, seen: Seen) -> bool {
        let waited_for = self.tids.get(self.call).copied();
        let Some(thread) = self.threads.get_mut(&seen.tid) else { return false };
        thread.queue.push_back(seen);
        // A thread whose calls are all done has events of no call; they are told apart when the
        // plan is done.
        waited_for == Some(seen.tid) && thread.queue.len() >= BATCH.min(thread.calls_left())
    }

    /// Goes on as far as the events allow; true when the plan is done. `closing` says that no more
    /// will come.
    pub(super) fn advance(&mut self, closing: bool, report: &mut Report) -> bool {
        if self.of_others && closing {
            self.pair_all();
        }
        let done = self.advance_steps(closing, report);
        self.tell_checked(report);
        done
    }

    /// Counting here and telling now and then costs a call nothing.
    fn tell_checked(&mut self, report: &mut Report) {
        let (checked, toctou) =
            (core::mem::take(&mut self.checked), core::mem::take(&mut self.toctou));
        report.findings.checked += checked;
        let tally = report.findings.tally(self.index);
        tally.checked += checked;
        tally.toctou += toctou;
        tally.results_lost += core::mem::take(&mut self.results_lost);
    }

    fn advance_steps(&mut self, closing: bool, report: &mut Report) -> bool {
        while self.step < self.plan.steps.len() {
            self.model.begin_step(self.step);
            self.descriptors.begin_step(self.step);
            match self.plan.steps[self.step] {
                Step::Call(call) => {
                    if !self.settle(&call, closing, report) {
                        return false;
                    }
                    self.call += 1;
                }
                ref other => {
                    self.model.follow(self.step, &self.plan.steps[self.step..]);
                    self.descriptors.follow(self.step, other);
                    if matches!(other, Step::Threads { .. }) {
                        self.threads_until = self.step + 1 + other.inner();
                    }
                }
            }
            self.step += 1;
        }
        true
    }

    /// Finds the event of the next call and compares; false when more events are needed.
    fn settle(&mut self, call: &Call, closing: bool, report: &mut Report) -> bool {
        loop {
            let tid = self.tids[self.call];
            let next = self.next_move(tid, closing);
            let thread = self.threads.get_mut(&tid).expect("every call's thread is there");
            match next {
                Move::Starved => return false,
                Move::Miss(gap) => {
                    thread.gap = gap - 1;
                    thread.done += 1;
                    self.compare(call, None, report);
                    return true;
                }
                Move::Doubled | Move::Extra => {
                    let seen = thread.queue.pop_front().expect("the move is about the first");
                    self.set_aside(seen, next == Move::Doubled, report);
                }
                Move::Late(event) => {
                    if let Some(late) = thread.queue.remove(event) {
                        thread.queue.push_front(late);
                    }
                    let note = "the event of a later call came first".to_owned();
                    report.note(self.place(), Kind::OutOfOrder, note);
                }
                Move::Take => {
                    self.take(call, tid, report);
                    return true;
                }
            }
        }
    }

    fn next_move(&mut self, tid: u32, closing: bool) -> Move {
        if self.of_others {
            let thread = self.threads.get_mut(&tid).expect("every call's thread is there");
            return thread.moves.pop_front().unwrap_or(Move::Starved);
        }
        let thread = &self.threads[&tid];
        if thread.gap > 0 {
            return Move::Miss(thread.gap);
        }
        let expected = |ahead: usize| self.expected(thread.calls[thread.done + ahead] as usize);
        let made = |ahead: usize| self.timing.of_call(thread.calls[thread.done + ahead] as usize);
        let (queue, recent, calls_left) = (&thread.queue, &thread.recent, thread.calls_left());
        let end = self.timing.end();
        Window { queue, recent, calls_left, expected, made, end, closing }.next_move()
    }

    /// Of another tracer: decides which event is of which call, once all of them have come.
    fn pair_all(&mut self) {
        let mut threads = core::mem::take(&mut self.threads);
        for thread in threads.values_mut() {
            let calls: Vec<Seen> =
                thread.calls.iter().map(|call| self.expected(*call as usize)).collect();
            thread.moves = pairing::pair(thread.queue.make_contiguous(), &calls);
        }
        self.threads = threads;
    }

    /// See [`expected::event`].
    fn expected(&self, call: usize) -> Seen {
        let Step::Call(asked) = &self.plan.steps[self.steps[call] as usize] else {
            unreachable!("only calls were counted")
        };
        let caller = expected::Caller {
            process: self.plan.process,
            pid: self.pids[call],
            tid: self.tids[call],
            comm: self.comm,
            entry_path_needed: self.entry_path_needed,
            of_others: self.of_others,
            may_be_unfinished: self.partial,
        };
        let made = self.timing.of_call(call);
        expected::event(caller, asked, &self.journal.operations[call], made, self.cpus)
    }

    fn take(&mut self, call: &Call, tid: u32, report: &mut Report) {
        let thread = self.threads.get_mut(&tid).expect("every call's thread is there");
        let seen = thread.queue.pop_front().expect("an event to take was there");
        thread.recent.push(seen);
        thread.done += 1;
        self.compare(call, Some(seen), report);
    }

    /// Judges a call: the record against the plan, the kernel against the model, the event against
    /// the record. A record that is wrong itself is not held against the event.
    fn compare(&mut self, call: &Call, seen: Option<Seen>, report: &mut Report) {
        let place = self.place();
        let tid = self.tids[self.call];
        let thread = self.threads.get_mut(&tid).expect("every call's thread is there");
        let next = thread.queue.front().map(|next| next.entry_ns);
        let last = thread.exit_ns;
        let (span, fault) = match &seen {
            None => (self.timing.of_call(self.call), None),
            Some(seen) => self.timing.judge(self.call, seen, last, next),
        };
        if seen.is_some()
            && let Some(place) = thread.unfinished.take()
        {
            let difference = Difference {
                field: "unfinished",
                expected: "false: its thread made another call".to_owned(),
                found: "true".to_owned(),
            };
            report.add(place, Kind::Field, differing(vec![difference]));
        }
        if let Some(seen) = seen.filter(|seen| seen.is_timed() && fault.is_none()) {
            thread.exit_ns = seen.exit_ns.or(thread.exit_ns);
        }
        let record = self.journal.operations[self.call];
        let not = self.model.begin_step(self.step).then_some(self.parent);
        let caller = Caller {
            step: self.step,
            pid: self.pids[self.call],
            tid,
            started: self.step < self.threads_until,
            not,
            begin: self.timing.begin_of(self.call, &self.tids, &self.journal.operations),
            end: self.timing.end(),
        };
        let lies = workload::lies(caller, call, &record, &mut self.descriptors);
        let outcome = self.model.call(&self.race.as_seen(call, seen.as_ref()), span);
        let contradictions = workload::contradictions(call, &outcome, &record);
        let expected = self.expected(self.call);
        let fields = seen.map_or(Fields::default(), |seen| {
            // Of a thread's events only the last can be of a call that the tracer did not see to
            // its end.
            let last = self.threads[&tid].queue.is_empty();
            differences(
                &Seen { may_be_unfinished: expected.may_be_unfinished && last, ..expected },
                &seen,
            )
        });
        if seen.is_some_and(|seen| seen.unfinished) && fields.is_empty() {
            self.threads.get_mut(&tid).expect("every call's thread is there").unfinished =
                Some(place);
        }
        if let Some(seen) =
            seen.filter(|_| self.of_others && lies.is_empty() && contradictions.is_empty())
        {
            let wrong = || describe(fields, &expected, &seen, &report.names);
            report.findings.facts.count(
                (seen.told(), report.names.lines(&seen)),
                fields,
                place,
                wrong,
            );
        }
        if !lies.is_empty() {
            report.add(place, Kind::WorkloadLied, differing(lies));
        } else if let Some((place, difference)) = self.race.read_back(call, &outcome, &record) {
            report.add(place, Kind::Field, differing(vec![difference]));
        } else if !contradictions.is_empty() {
            report.add(place, Kind::Model, differing(contradictions));
        } else if let Some(seen) = seen.filter(|_| !fields.is_empty()) {
            let differences = describe(fields, &expected, &seen, &report.names);
            report.add(place, Kind::Field, differing(differences));
        } else if let Some(difference) =
            seen.and_then(|seen| old_contradicts(&outcome, &expected, &seen))
        {
            report.add(place, Kind::Field, differing(vec![difference]));
        }
        if let Some(difference) = self.race.took_turns(call, &outcome, &record) {
            report.add(place, Kind::Model, differing(vec![difference]));
        }
        if !self.race.made(call, place, seen.as_ref()) {
            self.model.forget(call.slot);
        }
        self.toctou += u64::from(seen.is_some_and(|seen| seen.toctou));
        if let Some(fault) = fault {
            report.findings.facts.count_bad_time(
                place,
                &fault,
                seen.map_or("", |seen| report.names.lines(&seen)),
            );
            report.note(place, Kind::BadTimestamp, fault);
        }
        if seen.is_some() {
            let thread = self.threads.get_mut(&tid).expect("every call's thread is there");
            thread.seen =
                Some(thread.seen.map_or((self.call, self.call), |(first, _)| (first, self.call)));
        }
        match seen {
            None => self.missing.push((self.call, span)),
            Some(seen) if seen.result_lost => self.results_lost += 1,
            Some(_) => self.checked += 1,
        }
    }

    fn set_aside(&mut self, seen: Seen, doubled: bool, report: &mut Report) {
        let place = Place { call: None, step: None, ..self.place() };
        if doubled {
            report.event_of_no_call(place, Kind::Doubled, &seen);
        } else if self.strays.len() < STRAYS {
            self.strays.push(seen);
        } else {
            report.event_of_no_call(place, Kind::Extra, &seen);
        }
    }

    fn place(&self) -> Place {
        Place { plan: Some(self.index), step: Some(self.step), call: Some(self.call) }
    }

    fn place_of(&self, call: usize) -> Place {
        Place {
            plan: Some(self.index),
            step: Some(self.journal.operations[call].step as usize),
            call: Some(call),
        }
    }
}

impl Thread {
    /// Events that came after the last call.
    pub(super) fn take_rest(&mut self) -> VecDeque<Seen> {
        core::mem::take(&mut self.queue)
    }
}

/// Where the journal has only a part of the old setting, the event's account of it must be one that
/// the model allows.
fn old_contradicts(outcome: &Outcome, expected: &Seen, seen: &Seen) -> Option<Difference> {
    let (old, found) = (outcome.old.filter(|_| expected.old_known < WHOLE)?, seen.old?);
    let interval = Timespec64::from(old.interval);
    let value = found.it_value.cut();
    let fits = found.it_interval == interval
        && old.remaining.allows(value)
        && Timespec64::from(value) == found.it_value;
    let expected = format!(
        "interval {:?}, value {} s of a timer that was {:?}",
        old.interval, old.remaining, old.setting
    );
    (!fits).then(|| Difference { field: "old", expected, found: format!("{found:?}") })
}

fn differing(differences: Vec<Difference>) -> Finding {
    Finding { place: Place::default(), kind: Kind::Field, differences, note: String::new() }
}
