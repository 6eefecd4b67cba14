//! Judges the events of one plan: which is of which operation its time says, since a plan does one
//! thing after the other.

use std::collections::{HashMap, HashSet};

use settime32_abi::errno;
use settime32_abi::journal::{CPU_UNKNOWN, Operation, what};
use settime32_abi::lifecycle::{self, By, Cancel, Expiry, RelatedCall, Release, TimerId, Wakeup};
use settime32_abi::output::CallEvent;
use settime32_abi::plan::{Act, Ending, Means, Step};

use super::call::{self, Made};
use super::compare::Compare;
use super::finding::Kind;
use super::line::Event;
use super::names::MayBe;
use super::{Config, Difference, Done, Verdicts, expiry, is_told, names};
use crate::model::Bounds;
use crate::oracle::workload::comm_of;

/// How far readings of `CLOCK_MONOTONIC` by the eBPF program and by the workload may disagree,
/// nanoseconds.
pub(super) const SLACK_NS: i64 = 1_000;

/// An event of a call.
#[derive(Clone, Copy)]
enum Call<'a> {
    Main(&'a CallEvent<'static>),
    Related(&'a RelatedCall),
}

impl Call<'_> {
    fn entry_ns(&self) -> i64 {
        nanos(match self {
            Self::Main(call) => call.entry_ns,
            Self::Related(call) => call.entry_ns,
        })
    }

    fn exit_ns(&self) -> Option<i64> {
        match self {
            Self::Main(call) => call.exit_ns,
            Self::Related(call) => call.exit_ns,
        }
        .map(nanos)
    }

    fn timer(&self) -> Option<TimerId> {
        match self {
            Self::Main(call) => call.timer,
            Self::Related(call) => call.timer,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Main(call) => &call.event,
            Self::Related(call) => &call.event,
        }
    }

    fn is_copy_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Main(one), Self::Main(other)) => one == other,
            (Self::Related(one), Self::Related(other)) => one == other,
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Main(call) => format!("{call:?}"),
            Self::Related(call) => format!("{call:?}"),
        }
    }
}

pub(super) fn nanos(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

pub(super) fn judge(
    done: &Done,
    events: Vec<Event>,
    config: &Config,
    used: &HashSet<TimerId>,
) -> Verdicts {
    let comm = comm_of(&done.journal.header);
    let mut judge = Judge {
        done,
        config,
        used,
        comm: &comm,
        sequence: (0..done.journal.operations.len())
            .filter(|at| done.journal.operations[*at].what != what::CHILD)
            .collect(),
        taken: vec![None; done.journal.operations.len()],
        ids: vec![None; done.story.timers.len()],
        may_be: MayBe::new(),
        out: Verdicts::default(),
    };
    judge.order(&events);
    judge.calls(&events);
    names::learn(&mut judge, &events);
    judge.wakeups(&events);
    judge.releases(&events);
    judge.cancels(&events);
    let expiries: Vec<&Expiry> = events
        .iter()
        .filter_map(|event| if let Event::Expiry(expiry) = event { Some(expiry) } else { None })
        .collect();
    expiry::judge(&mut judge, &expiries);
    judge.out
}

pub(super) struct Judge<'a> {
    pub done: &'a Done,
    pub config: &'a Config,
    used: &'a HashSet<TimerId>,
    comm: &'a str,
    /// The operations that follow each other.
    sequence: Vec<usize>,
    /// The event of each call's operation.
    taken: Vec<Option<Call<'a>>>,
    /// The id of each timer.
    pub ids: Vec<Option<TimerId>>,
    pub may_be: MayBe,
    pub out: Verdicts,
}

impl<'a> Judge<'a> {
    pub(super) fn operation(&self, at: usize) -> &'a Operation {
        &self.done.journal.operations[at]
    }

    fn step(&self, at: usize) -> Option<usize> {
        self.done.journal.operations.get(at).map(|operation| operation.step as usize)
    }

    /// Which operation it was at this time.
    pub(super) fn operation_at(&self, ns: i64) -> Option<usize> {
        let behind = self.sequence.partition_point(|at| self.operation(*at).before_ns <= ns);
        let near = [behind.checked_sub(1), Some(behind)]
            .into_iter()
            .flatten()
            .filter_map(|place| self.sequence.get(place).copied());
        let within = |slack: i64| {
            move |at: &usize| {
                let operation = &self.done.journal.operations[*at];
                operation.before_ns - slack <= ns && ns <= operation.after_ns + slack
            }
        };
        near.clone().find(within(0)).or_else(|| near.clone().find(within(SLACK_NS)))
    }

    pub(super) fn has(&self, kind: lifecycle::Kind) -> bool {
        self.config.events.has(kind.as_str())
    }

    /// Whether the call of an operation has an event.
    fn is_asked_for(&self, at: usize) -> bool {
        let operation = self.operation(at);
        is_told(operation.what) && self.config.events.has(call::name(operation))
    }

    /// When the call of an operation began and ended, by its event where there is one.
    pub(super) fn span(&self, at: usize) -> (i64, i64) {
        let operation = self.operation(at);
        match &self.taken[at] {
            Some(call) => (call.entry_ns(), call.exit_ns().unwrap_or(operation.after_ns)),
            None => (operation.before_ns - SLACK_NS, operation.after_ns + SLACK_NS),
        }
    }

    /// The timer of an id.
    pub(super) fn timer_of(&self, id: TimerId) -> Option<usize> {
        self.out.ids.get(&id).copied()
    }

    /// Whether an id may be of one of these timers, of which no event is certain to be.
    fn may_be_one_of(&self, id: TimerId, timers: &[usize]) -> bool {
        let is_one = |timer: &usize| self.ids[*timer].is_none() && timers.contains(timer);
        self.may_be.get(&id).is_some_and(|may_be| may_be.iter().any(is_one))
    }

    pub(super) fn add(
        &mut self,
        at: Option<usize>,
        kind: Kind,
        differences: Vec<Difference>,
        note: impl Into<String>,
    ) {
        let step = at.and_then(|at| self.step(at));
        self.out.add(step, kind, differences, note);
    }

    /// No event tells of something that happened at some time in these bounds.
    pub(super) fn missing(
        &mut self,
        at: Option<usize>,
        timer: Option<usize>,
        what: String,
        when: Bounds,
    ) {
        if when.low < self.config.since_ns {
            return;
        }
        let step = at.and_then(|at| self.step(at));
        self.out.missing.push((step, what, when));
        self.out.incomplete.extend(timer);
    }

    /// When an operation was.
    fn span_of(&self, at: usize) -> Bounds {
        let operation = self.operation(at);
        Bounds::new(operation.before_ns, operation.after_ns)
    }

    /// Each thread's events come in the order in which they were.
    fn order(&mut self, events: &[Event]) {
        let mut last: HashMap<u32, i64> = HashMap::new();
        for event in events {
            let (tid, ns) = match event {
                Event::Main(call) => (call.tid, call.exit_ns.unwrap_or(call.entry_ns)),
                Event::Call(call) => (call.tid, call.exit_ns.unwrap_or(call.entry_ns)),
                Event::Wakeup(wakeup) => (wakeup.tid, wakeup.ns),
                Event::Release(release) => (release.tid, release.ns),
                Event::Expiry(_) | Event::Cancel(_) => continue,
            };
            let before = last.entry(tid).or_insert(i64::MIN);
            if nanos(ns) < *before {
                let note = format!("one of {ns} ns came after one of {before} ns");
                let at = self.operation_at(nanos(ns));
                self.add(at, Kind::OutOfOrder, Vec::new(), note);
            } else {
                *before = nanos(ns);
            }
        }
    }

    fn calls(&mut self, events: &'a [Event]) {
        let calls = events.iter().filter_map(|event| match event {
            Event::Main(call) => Some(Call::Main(call)),
            Event::Call(call) => Some(Call::Related(call)),
            _ => None,
        });
        let mut strays = Vec::new();
        for call in calls {
            match self.operation_at(call.entry_ns()).filter(|at| self.is_asked_for(*at)) {
                Some(at) if self.taken[at].is_none() => self.taken[at] = Some(call),
                Some(at) if self.taken[at].is_some_and(|first| call.is_copy_of(&first)) => {
                    self.add(Some(at), Kind::Doubled, Vec::new(), call.name());
                }
                _ => strays.push(call),
            }
        }
        let called: Vec<usize> =
            (0..self.taken.len()).filter(|at| self.is_asked_for(*at)).collect();
        for at in called {
            let Some(call) = self.taken[at] else {
                self.take_stray(at, &mut strays);
                continue;
            };
            self.call(at, call);
        }
        for call in strays {
            self.add(None, Kind::Extra, Vec::new(), call.text());
        }
    }

    /// A call without an event at its time has one that tells another time, or none.
    fn take_stray(&mut self, at: usize, strays: &mut Vec<Call<'a>>) {
        let operation = self.operation(at);
        if let Some(place) = strays.iter().position(|call| call.name() == call::name(operation)) {
            let call = strays.remove(place);
            let found = format!("{} to {:?}", call.entry_ns(), call.exit_ns());
            let difference = Difference {
                field: "entry_ns",
                expected: format!("within {} to {}", operation.before_ns, operation.after_ns),
                found,
            };
            return self.add(Some(at), Kind::BadTimestamp, vec![difference], call.name());
        }
        let timer = self.done.story.told[at].timer;
        let when = Bounds::new(operation.before_ns, operation.after_ns);
        self.missing(Some(at), timer, format!("the call {}", call::name(operation)), when);
    }

    fn call(&mut self, at: usize, call: Call<'_>) {
        let (operation, told) = (self.operation(at), &self.done.story.told[at]);
        let made = Made {
            operation,
            told,
            timer: told.timer.map(|timer| self.done.story.timers[timer]),
            process: self.done.plan.process,
            comm: self.comm,
            cpus: self.config.cpus,
            // Which way is which the tracer learns before it is ready.
            entry_path_needed: self.config.entry_path_needed
                && operation.before_ns >= self.config.since_ns,
        };
        let mut compare = match (call, operation.what == what::SETTIME32) {
            (Call::Main(found), true) => made.main(found),
            (Call::Related(found), false) => made.related(found),
            _ => {
                let mut compare = Compare::default();
                compare.equal("event", call::name(operation), call.name());
                compare
            }
        };
        // What the kernel passed over is told as unknown; then it is a loss that must be in the
        // counts.
        let is_untold = |difference: &Difference| {
            ["clockid", "old", "utmr_used"].contains(&difference.field)
                && difference.found == "None"
        };
        let lacks_timer = told.timer.is_some() && call.timer().is_none() && !told.refused;
        let lacks = lacks_timer || call.timer().is_none() && compare.0.iter().any(is_untold);
        if lacks {
            compare.0.retain(|difference| !is_untold(difference));
            self.missing(
                Some(at),
                told.timer,
                format!("what the event of the call {} leaves out", call.name()),
                self.span_of(at),
            );
        }
        if !compare.0.is_empty() {
            self.add(Some(at), Kind::Field, compare.0, call.name());
        }
        let (entry, exit) = (call.entry_ns(), call.exit_ns().unwrap_or(call.entry_ns()));
        if entry > exit
            || entry < operation.before_ns - SLACK_NS
            || exit > operation.after_ns + SLACK_NS
        {
            let expected =
                format!("in order within {} to {}", operation.before_ns, operation.after_ns);
            let difference = Difference {
                field: "entry_ns and exit_ns",
                expected,
                found: format!("{entry} to {exit}"),
            };
            self.add(Some(at), Kind::BadTimestamp, vec![difference], call.name());
        }
        if !(told.refused && call.timer().is_none() || lacks_timer) {
            self.identity(at, told.timer, call.timer(), call.name());
        }
    }

    /// One id for one timer; the first call that comes to a timer says which.
    pub(super) fn identity(
        &mut self,
        at: usize,
        timer: Option<usize>,
        id: Option<TimerId>,
        event: &str,
    ) {
        let (expected, right) = match (timer, id) {
            (None, None) => return,
            (Some(timer), Some(id)) if self.ids[timer].is_none() => {
                // Where the id is another's, or was, the timer has none that could be right.
                let taken = self.used.contains(&id)
                    || self.out.ids.contains_key(&id)
                    || self.may_be.contains_key(&id);
                if !taken {
                    self.ids[timer] = Some(id);
                    self.out.ids.insert(id, timer);
                }
                ("an id of its own".to_owned(), !taken)
            }
            (timer, id) => {
                let expected = timer.and_then(|timer| self.ids[timer]);
                (expected.map_or_else(|| "none".to_owned(), |id| id.to_string()), expected == id)
            }
        };
        if !right {
            let found = id.map_or_else(|| "none".to_owned(), |id| id.to_string());
            self.add(
                Some(at),
                Kind::Identity,
                vec![Difference { field: "timer", expected, found }],
                event,
            );
        }
    }

    fn wakeups(&mut self, events: &[Event]) {
        let mut by_moment: HashMap<usize, Vec<&Wakeup>> = HashMap::new();
        for event in events {
            let Event::Wakeup(wakeup) = event else { continue };
            match self.operation_at(nanos(wakeup.ns)) {
                Some(at) if [what::READ, what::WAIT].contains(&self.operation(at).what) => {
                    by_moment.entry(at).or_default().push(wakeup)
                }
                at => self.add(at, Kind::Extra, Vec::new(), format!("{wakeup:?}")),
            }
        }
        for at in 0..self.done.journal.operations.len() {
            let mut found = by_moment.remove(&at).unwrap_or_default();
            let mut left = Vec::new();
            for timer in self.done.story.told[at].woken.clone() {
                match found.iter().position(|wakeup| self.timer_of(wakeup.timer) == Some(timer)) {
                    Some(place) => self.wakeup(at, found.remove(place)),
                    None => left.push(timer),
                }
            }
            // Of an id that may be several timers', any of them may be told.
            let unnamed = left.clone();
            left.retain(|timer| {
                let is_it = |wakeup: &&Wakeup| {
                    self.ids[*timer].is_none() && self.may_be_one_of(wakeup.timer, &unnamed)
                };
                let place = found.iter().position(is_it);
                place.inspect(|place| self.wakeup(at, found.remove(*place))).is_none()
            });
            for timer in left {
                match found.pop() {
                    Some(wakeup) => {
                        self.wakeup(at, wakeup);
                        self.identity(at, Some(timer), Some(wakeup.timer), "wakeup");
                    }
                    None if !self.has(lifecycle::Kind::Wakeup) => {}
                    None => {
                        self.missing(Some(at), Some(timer), "a wakeup".to_owned(), self.span_of(at))
                    }
                }
            }
            for wakeup in found {
                let told = self
                    .timer_of(wakeup.timer)
                    .is_some_and(|timer| self.done.story.told[at].woken.contains(&timer));
                self.add(
                    Some(at),
                    if told { Kind::Doubled } else { Kind::Extra },
                    Vec::new(),
                    format!("{wakeup:?}"),
                );
            }
        }
    }

    fn wakeup(&mut self, at: usize, found: &Wakeup) {
        let operation = self.operation(at);
        let mut compare = Compare::default();
        compare.equal("pid", operation.pid, found.pid);
        compare.equal("tid", operation.tid, found.tid);
        compare.equal("comm", self.comm, &*found.comm);
        compare.cpu(operation.cpu, self.config.cpus, found.cpu);
        let read = operation.what == what::READ;
        compare.equal("by", self.means(operation), found.by);
        compare.equal("ret", read.then_some(i64::from(operation.ret)), found.ret);
        let name = (read && operation.ret < 0).then(|| errno::name(-operation.ret)).flatten();
        compare.equal("errno", name, found.errno.as_deref());
        // Of a read that was under way when the tracer came, its begin was not seen, and where it
        // reads to may not be known.
        let is_across =
            read && operation.before_ns < self.config.since_ns && found.entry_ns == Some(None);
        if !(is_across && found.ticks == Some(None)) {
            compare.equal("ticks", self.done.story.told[at].ticks.map(Some), found.ticks);
        }
        let entry = found.entry_ns.flatten().map(nanos);
        let in_order = entry.is_some_and(|entry| {
            operation.before_ns - SLACK_NS <= entry && entry <= nanos(found.ns)
        });
        compare.must(
            "entry_ns",
            if read { in_order || is_across } else { found.entry_ns.is_none() },
            "the begin of the read, of a read only",
            found.entry_ns,
        );
        if !compare.0.is_empty() {
            self.add(Some(at), Kind::Field, compare.0, "wakeup");
        }
    }

    fn means(&self, operation: &Operation) -> By {
        match self.done.plan.steps.get(operation.step as usize) {
            Some(Step::Lifecycle(Act::Wait { by: Means::Epoll, .. })) => By::EpollWait,
            Some(Step::Lifecycle(Act::Wait { by: Means::Select, .. })) => By::Select,
            Some(Step::Lifecycle(Act::Read { .. })) => By::Read,
            _ => By::Poll,
        }
    }

    fn cancels(&mut self, events: &[Event]) {
        let mut told: HashSet<(usize, usize)> = HashSet::new();
        let cancels = events.iter().filter_map(|event| {
            if let Event::Cancel(cancel) = event { Some(cancel) } else { None }
        });
        for cancel in cancels {
            self.cancel(cancel, &mut told);
        }
        for at in 0..self.done.journal.operations.len() {
            for (timer, again) in self.done.story.told[at].canceled.clone() {
                if !again
                    && !told.contains(&(at, timer))
                    && self.has(lifecycle::Kind::Expiry)
                    && self.is_watched(timer, at)
                {
                    self.missing(Some(at), Some(timer), "a cancel".to_owned(), self.span_of(at));
                }
            }
        }
    }

    /// Whether the tracer knows of a timer at this operation: with a filter only if one of those that
    /// it tells of has come to it.
    fn is_watched(&self, timer: usize, at: usize) -> bool {
        let mut armings =
            self.done.story.armings.iter().filter(|arming| arming.timer == timer && arming.by < at);
        !self.config.filtered
            || armings.any(|arming| self.operation(arming.by).before_ns >= self.config.since_ns)
    }

    fn cancel(&mut self, cancel: &Cancel, told: &mut HashSet<(usize, usize)>) {
        let at = self.operation_at(nanos(cancel.ns));
        let timer =
            self.timer_of(cancel.timer).or_else(|| self.unnamed_canceled(at?, cancel, told));
        let place = at.zip(timer).filter(|(at, timer)| {
            self.done.story.told[*at].canceled.iter().any(|(other, _)| other == timer)
        });
        match place {
            Some(place) if told.insert(place) => {
                let mut compare = Compare::default();
                compare.must(
                    "cpu",
                    cancel.cpu < self.config.cpus,
                    format!("below {}", self.config.cpus),
                    cancel.cpu,
                );
                if !compare.0.is_empty() {
                    self.add(at, Kind::Field, compare.0, "cancel");
                }
            }
            Some(_) => self.add(at, Kind::Doubled, Vec::new(), format!("{cancel:?}")),
            None => self.add(at, Kind::Extra, Vec::new(), format!("{cancel:?}")),
        }
    }

    /// A timer that was cancelled at this operation, of those that the cancellation's id may be of.
    fn unnamed_canceled(
        &self,
        at: usize,
        cancel: &Cancel,
        told: &HashSet<(usize, usize)>,
    ) -> Option<usize> {
        let canceled = self.done.story.told[at].canceled.iter().map(|(timer, _)| *timer);
        let unnamed: Vec<usize> = canceled.filter(|timer| self.ids[*timer].is_none()).collect();
        let is_one = self.may_be_one_of(cancel.timer, &unnamed);
        unnamed.into_iter().find(|timer| is_one && !told.contains(&(at, *timer)))
    }

    fn releases(&mut self, events: &[Event]) {
        let mut found: Vec<Option<&Release>> = vec![None; self.ids.len()];
        let mut strangers: Vec<&Release> = Vec::new();
        for event in events {
            let Event::Release(release) = event else { continue };
            match self.timer_of(release.timer) {
                Some(timer) if found[timer].is_none() => found[timer] = Some(release),
                Some(_) => self.add(None, Kind::Doubled, Vec::new(), format!("{release:?}")),
                None => strangers.push(release),
            }
        }
        // Of an id that may be several timers', any of them may be told: those come before the ones
        // whose own is missing.
        let mut found: Vec<(usize, Option<&Release>)> = found.into_iter().enumerate().collect();
        found.sort_by_key(|(timer, _)| self.ids[*timer].is_some());
        for (timer, found) in found {
            let window = self.release_window(timer);
            let together = self.released_together(timer);
            let in_time: Vec<usize> = (0..strangers.len())
                .filter(|place| window.contains(&nanos(strangers[*place].ns)))
                .collect();
            let may_be = |place: &&usize| {
                self.ids[timer].is_none() && self.may_be_one_of(strangers[**place].timer, &together)
            };
            let unsure = in_time.iter().find(may_be);
            let at = self.done.story.timers[timer].released;
            match (found, unsure.or(in_time.first()).copied()) {
                (Some(release), _) => self.release(timer, release),
                (None, Some(place)) => {
                    let is_unsure = unsure.is_some();
                    let release = strangers.remove(place);
                    if !is_unsure {
                        self.identity(
                            at.unwrap_or_default(),
                            Some(timer),
                            Some(release.timer),
                            "release",
                        );
                    }
                    self.release(timer, release);
                }
                (None, None) if !self.has(lifecycle::Kind::Release) => {}
                (None, None) => {
                    self.missing(
                        at,
                        Some(timer),
                        "a release".to_owned(),
                        Bounds::new(*window.start(), *window.end()),
                    );
                }
            }
        }
        for release in strangers {
            self.add(None, Kind::Extra, Vec::new(), format!("{release:?}"));
        }
    }

    /// The timers that are released at the same operation as this one, which is one of them.
    fn released_together(&self, timer: usize) -> Vec<usize> {
        let timers = &self.done.story.timers;
        (0..timers.len())
            .filter(|other| timers[*other].released == timers[timer].released)
            .collect()
    }

    /// When a timer must have been released.
    pub(super) fn release_window(&self, timer: usize) -> std::ops::RangeInclusive<i64> {
        match self.done.story.timers[timer].released {
            Some(at) => {
                let operation = self.operation(at);
                // A child's is at its end, which is behind its last step.
                let behind = if operation.what == what::CHILD { at.checked_sub(1) } else { None };
                let since = behind.map_or(operation.before_ns, |before| {
                    self.operation(before).after_ns.max(operation.before_ns)
                });
                since - SLACK_NS..=operation.after_ns + SLACK_NS
            }
            None => self.done.journal.header.end.monotonic_before_ns - SLACK_NS..=i64::MAX,
        }
    }

    fn release(&mut self, timer: usize, release: &Release) {
        let at = self.done.story.timers[timer].released;
        let (pid, executed) = match at.map(|at| self.operation(at)) {
            Some(operation) if operation.what == what::CHILD => {
                let step = &self.done.plan.steps[operation.step as usize];
                (operation.extra, matches!(step, Step::Fork { ending: Ending::Exec, .. }))
            }
            Some(operation) => (operation.pid, false),
            None => (self.done.journal.header.pid, false),
        };
        let mut compare = Compare::default();
        compare.equal("pid", pid, release.pid);
        compare.equal("tid", pid, release.tid);
        if !executed {
            compare.equal("comm", self.comm, &*release.comm);
        }
        // A child's steps may have put it elsewhere.
        let known = at
            .map(|at| self.operation(at))
            .filter(|operation| operation.what != what::CHILD)
            .map_or(CPU_UNKNOWN, |operation| operation.cpu);
        compare.cpu(known, self.config.cpus, release.cpu);
        if !compare.0.is_empty() {
            self.add(at, Kind::Field, compare.0, "release");
        }
        let window = self.release_window(timer);
        if !window.contains(&nanos(release.ns)) {
            let difference = Difference {
                field: "ns",
                expected: format!("within {window:?}"),
                found: release.ns.to_string(),
            };
            self.add(at, Kind::BadTimestamp, vec![difference], "release");
        }
    }
}
