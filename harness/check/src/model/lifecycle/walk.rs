//! Goes through the steps of a plan and the operations of its journal side by side: tables of
//! descriptors, processes and clocks.

mod calls;

use std::ops::Range;

use settime32_abi::errno;
use settime32_abi::journal::{Journal, Operation, what};
use settime32_abi::plan::{
    Act, Clock, FdKind, Means, POSIX_TIMERS, Plan, SLOTS, Step, TFD_CLOEXEC, TFD_NONBLOCK,
};

use super::posix::Posix;
use super::timer::{Now, Timer};
use super::{Fault, Lived, Story, Told, Wrong, wrong};
use crate::model::timer::Bounds;

/// The journal is not that of the plan, and cannot be followed further.
struct Stop;

type Goes<T = ()> = Result<T, Stop>;

/// What is behind a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    /// Nothing is open.
    Nothing,
    Path,
    Other,
    Timer(usize),
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The number, where it is known.
    fd: Option<i32>,
    behind: Behind,
}

const EMPTY: Slot = Slot { fd: None, behind: Behind::Nothing };

/// What a process has of its own.
#[derive(Clone)]
struct Table {
    pid: Option<u32>,
    slots: [Slot; SLOTS],
    posix: [Option<Posix>; POSIX_TIMERS],
    wake_alarm: bool,
}

pub(super) struct Walk<'a> {
    plan: &'a Plan,
    journal: &'a Journal,
    next: usize,
    table: Table,
    timers: Vec<Timer>,
    /// Descriptors that refer to each timer, over all processes.
    references: Vec<u32>,
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`.
    offset: Bounds,
    realtime_peak: i64,
    story: Story,
}

impl<'a> Walk<'a> {
    pub(super) fn new(plan: &'a Plan, journal: &'a Journal) -> Self {
        let start = journal.header.start;
        let offset = Bounds::new(
            start.realtime_ns.saturating_sub(start.monotonic_after_ns),
            start.realtime_ns.saturating_sub(start.monotonic_before_ns),
        );
        Self {
            plan,
            journal,
            next: 0,
            table: Table {
                pid: Some(journal.header.pid),
                slots: [EMPTY; SLOTS],
                posix: [const { None }; POSIX_TIMERS],
                wake_alarm: true,
            },
            timers: Vec::new(),
            references: Vec::new(),
            offset,
            realtime_peak: 0,
            story: Story {
                told: vec![Told::default(); journal.operations.len()],
                ..Story::default()
            },
        }
    }

    pub(super) fn through(mut self) -> Story {
        if self.steps(0..self.plan.steps.len()).is_ok() && self.next < self.journal.operations.len()
        {
            let (at, left) = (self.next, self.journal.operations.len() - self.next);
            self.lie(
                at,
                self.plan.steps.len(),
                wrong("operations", "no more".to_owned(), format!("{left} more")),
            );
        }
        self.story
    }

    fn lie(&mut self, operation: usize, step: usize, wrong: Wrong) {
        self.story.faults.push(Fault { operation, step, lie: true, wrong });
    }

    fn must(
        &mut self,
        at: usize,
        field: &'static str,
        right: bool,
        expected: impl ToString,
        found: impl ToString,
    ) {
        if !right {
            let step = self.journal.operations[at].step as usize;
            self.lie(at, step, wrong(field, expected.to_string(), found.to_string()));
        }
    }

    /// What the kernel's sources do not allow.
    fn contradicted(&mut self, at: usize, wrongs: Vec<Wrong>) {
        let step = self.journal.operations[at].step as usize;
        self.story.faults.extend(wrongs.into_iter().map(|wrong| Fault {
            operation: at,
            step,
            lie: false,
            wrong,
        }));
    }

    fn result(&mut self, at: usize, expected: i32) {
        let found = self.journal.operations[at].ret;
        if found != expected {
            self.contradicted(at, vec![wrong("ret", expected.to_string(), found.to_string())]);
        }
    }

    /// The next operation, which is to be of this step and kind.
    fn take(&mut self, step: usize, what: u32) -> Goes<(usize, Operation)> {
        let at = self.next;
        let Some(operation) = self.journal.operations.get(at).copied() else {
            self.lie(
                at,
                step,
                wrong("operations", format!("one more, of kind {what}"), "none".to_owned()),
            );
            return Err(Stop);
        };
        if (operation.step as usize, operation.what) != (step, what) {
            let found = format!("kind {} of step {}", operation.what, operation.step);
            self.lie(at, step, wrong("operations", format!("kind {what} of step {step}"), found));
            return Err(Stop);
        }
        self.next += 1;
        let pid = *self.table.pid.get_or_insert(operation.pid);
        self.must(at, "pid", operation.pid == pid, pid, operation.pid);
        self.must(at, "tid", operation.tid == operation.pid, operation.pid, operation.tid);
        // That of a child began before those of its steps.
        let since = if what == what::CHILD {
            0
        } else {
            at.checked_sub(1).map_or(0, |before| self.journal.operations[before].after_ns)
        };
        let ordered = since <= operation.before_ns && operation.before_ns <= operation.after_ns;
        self.must(
            at,
            "before_ns",
            ordered,
            format!("from {since} to after_ns, {}", operation.after_ns),
            operation.before_ns,
        );
        Ok((at, operation))
    }

    fn now(&self, operation: &Operation) -> Now {
        let monotonic = Bounds::new(operation.before_ns, operation.after_ns);
        let realtime = Bounds::new(
            monotonic.low.saturating_add(self.offset.low),
            monotonic.high.saturating_add(self.offset.high),
        );
        Now { monotonic, realtime, realtime_peak: self.realtime_peak }
    }

    fn steps(&mut self, range: Range<usize>) -> Goes {
        let mut step = range.start;
        while step < range.end {
            let inner = self.plan.steps[step].inner();
            match self.plan.steps[step] {
                Step::Call(ref call) => self.call(step, call)?,
                Step::Open { slot, kind } => self.open(step, slot, kind)?,
                Step::SetClock => self.set_clock(step)?,
                Step::WakeAlarm { allowed } => self.table.wake_alarm = allowed,
                Step::Wait { slot, timeout_ms } => {
                    self.act(step, Act::Wait { slots: 1 << slot, by: Means::Poll, timeout_ms })?
                }
                Step::Lifecycle(act) => self.act(step, act)?,
                Step::Fork { .. } => self.fork(step, step + 1..step + 1 + inner)?,
                Step::Silent(_) | Step::Threads { .. } | Step::Pin { .. } => {}
            }
            step += 1 + inner;
        }
        Ok(())
    }

    fn fork(&mut self, step: usize, range: Range<usize>) -> Goes {
        // The child has a table of its own, which refers to the same files (`dup_fd`, fs/file.c).
        let child =
            Table { pid: None, posix: [const { None }; POSIX_TIMERS], ..self.table.clone() };
        let parent = std::mem::replace(&mut self.table, child);
        self.references_of_table(|count| *count += 1);
        self.steps(range)?;
        let child = std::mem::replace(&mut self.table, parent);
        let (at, operation) = self.take(step, what::CHILD)?;
        if let Some(pid) = child.pid {
            self.must(
                at,
                "extra",
                operation.extra == pid,
                format!("{pid}, as the child said"),
                operation.extra,
            );
        }
        self.must(
            at,
            "extra",
            operation.extra != operation.pid,
            "that of a child",
            operation.extra,
        );
        for slot in child.slots {
            self.drop_reference(slot, at);
        }
        Ok(())
    }

    fn references_of_table(&mut self, change: impl Fn(&mut u32)) {
        for slot in &self.table.slots {
            if let Behind::Timer(timer) = slot.behind {
                change(&mut self.references[timer]);
            }
        }
    }

    /// `timerfd_release`, when it was the last.
    fn drop_reference(&mut self, slot: Slot, at: usize) {
        let Behind::Timer(timer) = slot.behind else { return };
        self.references[timer] -= 1;
        if self.references[timer] == 0 {
            self.story.timers[timer].released = Some(at);
            self.story.told[at].released.push(timer);
            self.end_arming(timer, at);
        }
    }

    fn end_arming(&mut self, timer: usize, at: usize) {
        if let Some(arming) = self.timers[timer].arming.take() {
            self.story.armings[arming].until = Some(at);
        }
    }

    fn set_clock(&mut self, step: usize) -> Goes {
        let (at, operation) = self.take(step, what::SET_CLOCK)?;
        let set = operation.args[0].cast_signed();
        let now = self.now(&operation);
        self.realtime_peak = self.realtime_peak.max(now.realtime.high);
        let fits = now.realtime.low.saturating_sub(2_000) <= set
            && set <= now.realtime.high.saturating_add(2_000);
        self.must(at, "args[0]", fits, format!("{:?}", now.realtime), set);
        self.offset = Bounds::new(
            set.saturating_sub(operation.after_ns),
            set.saturating_sub(operation.before_ns),
        );
        for timer in 0..self.timers.len() {
            let released = self.references[timer] == 0;
            if self.timers[timer].might_cancel() && !released {
                let again = self.timers[timer].cancel_is_pending();
                self.story.told[at].canceled.push((timer, again));
            }
            self.timers[timer].clock_was_set();
            if let Some(arming) = self.timers[timer].arming {
                self.story.armings[arming].clock_was_set |= self.story.armings[arming].realtime;
            }
        }
        Ok(())
    }

    /// Empties a slot, of which an operation tells when anything was open.
    fn close(&mut self, step: usize, slot: u8) -> Goes {
        let was = std::mem::replace(&mut self.table.slots[usize::from(slot)], EMPTY);
        if was.behind == Behind::Nothing {
            return Ok(());
        }
        let (at, operation) = self.take(step, what::CLOSE)?;
        if let Some(fd) = was.fd {
            self.must(at, "args[0]", operation.args[0] as i32 == fd, fd, operation.args[0]);
        }
        self.drop_reference(was, at);
        Ok(())
    }

    fn open(&mut self, step: usize, slot: u8, kind: FdKind) -> Goes {
        if let FdKind::Timer(clock) = kind {
            return self.create(step, slot, clock.id(), 0);
        }
        let of = match kind {
            FdKind::Dup(of) | FdKind::Passed(of) => Some(self.table.slots[usize::from(of)]),
            _ => None,
        };
        self.close(step, slot)?;
        let opened = match (kind, of) {
            (_, Some(of)) if of.behind != Behind::Nothing => {
                let (at, operation) = self.take(step, what::COPY)?;
                if let Behind::Timer(timer) = of.behind {
                    self.references[timer] += 1;
                }
                self.fresh_number(at, operation.ret);
                Slot { fd: Some(operation.ret), ..of }
            }
            (FdKind::Number(number), _) => Slot { fd: Some(number), behind: Behind::Nothing },
            (FdKind::Path, _) => Slot { fd: None, behind: Behind::Path },
            (FdKind::NotATimer(_), _) => Slot { fd: None, behind: Behind::Other },
            _ => EMPTY,
        };
        self.table.slots[usize::from(slot)] = opened;
        Ok(())
    }

    /// A number that was given must not be that of another slot.
    fn fresh_number(&mut self, at: usize, fd: i32) {
        let taken = self
            .table
            .slots
            .iter()
            .any(|slot| slot.behind != Behind::Nothing && slot.fd == Some(fd));
        self.must(at, "ret", !taken && fd >= 0, "a descriptor of its own", fd);
    }

    /// `timerfd_create`.
    fn create(&mut self, step: usize, slot: u8, clockid: i32, flags: i32) -> Goes {
        self.close(step, slot)?;
        let (at, operation) = self.take(step, what::CREATE)?;
        let passed = [operation.args[0] as i32, operation.args[1] as i32];
        self.must(
            at,
            "args",
            passed == [clockid, flags],
            format!("{:?}", [clockid, flags]),
            format!("{passed:?}"),
        );
        self.number(at, self.plan.process.timerfd_create());
        let clock = clock_of(clockid);
        let refused = match clock {
            _ if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 => Some(errno::EINVAL),
            None => Some(errno::EINVAL),
            Some(clock) if clock.is_alarm() && !self.table.wake_alarm => Some(errno::EPERM),
            Some(_) => None,
        };
        self.table.slots[usize::from(slot)] = match (refused, clock) {
            (None, Some(clock)) if operation.ret >= 0 => {
                self.fresh_number(at, operation.ret);
                let timer = self.timers.len();
                self.timers.push(Timer::new(clock));
                self.references.push(1);
                self.story.timers.push(Lived { clockid, created: at, released: None });
                self.story.told[at].timer = Some(timer);
                Slot { fd: Some(operation.ret), behind: Behind::Timer(timer) }
            }
            (refused, _) => {
                match refused {
                    Some(errno) => self.result(at, -errno),
                    None => self.contradicted(
                        at,
                        vec![wrong("ret", "a descriptor".to_owned(), operation.ret.to_string())],
                    ),
                }
                Slot { fd: Some(-1), behind: Behind::Nothing }
            }
        };
        Ok(())
    }

    fn number(&mut self, at: usize, expected: u32) {
        let found = self.journal.operations[at].nr;
        self.must(at, "nr", found == expected, expected, found);
    }

    /// Checks the descriptor that was passed, and gives what is behind it.
    fn behind(&mut self, at: usize, slot: u8) -> Behind {
        let Slot { fd, behind } = self.table.slots[usize::from(slot)];
        if let Some(fd) = fd {
            let found = self.journal.operations[at].args[0] as i32;
            self.must(at, "args[0]", found == fd, fd, found);
        }
        behind
    }

    /// `timerfd_fget`: a timer, or the errno.
    fn timer_behind(behind: Behind) -> Result<usize, i32> {
        match behind {
            Behind::Timer(timer) => Ok(timer),
            Behind::Nothing | Behind::Path => Err(errno::EBADF),
            Behind::Other => Err(errno::EINVAL),
        }
    }
}

/// The clocks that `timerfd_create` takes.
fn clock_of(clockid: i32) -> Option<Clock> {
    const ALL: [Clock; 5] = [
        Clock::Realtime,
        Clock::Monotonic,
        Clock::Boottime,
        Clock::RealtimeAlarm,
        Clock::BoottimeAlarm,
    ];
    ALL.into_iter().find(|clock| clock.id() == clockid)
}
