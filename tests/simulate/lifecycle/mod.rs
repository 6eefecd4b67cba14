//! A simulated run of a plan of lifecycles: the journal that the workload would write, and all
//! events that an exact tracer would print. As its neighbours it shares nothing with the harness's
//! model.

mod calls;
pub mod kernel;

use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};
use settime32_abi::journal::{CPU_UNKNOWN, Clocks, Journal, MEMORY_LEN, Operation, what};
use settime32_abi::lifecycle::{Cancel, Expiry, RelatedCall, Release, TimerId, Wakeup};
use settime32_abi::output::{Abi, CallEvent};
use settime32_abi::plan::{Ending, FdKind, Means, POSIX_TIMERS, Plan, SLOTS, Step};

use crate::simulate::{COMM, empty_journal, pinned};
use kernel::{Kernel, Posix};

/// What the tracer prints.
#[derive(Clone, Debug)]
pub enum Event {
    Main(CallEvent<'static>),
    Call(RelatedCall),
    Expiry(Expiry),
    Cancel(Cancel),
    Wakeup(Wakeup),
    Release(Release),
}

impl Event {
    /// The line.
    pub fn line(&self) -> String {
        let line = match self {
            Self::Main(event) => serde_json::to_string(event),
            Self::Call(event) => serde_json::to_string(event),
            Self::Expiry(event) => serde_json::to_string(event),
            Self::Cancel(event) => serde_json::to_string(event),
            Self::Wakeup(event) => serde_json::to_string(event),
            Self::Release(event) => serde_json::to_string(event),
        };
        line.unwrap()
    }
}

/// What is left of a simulated plan.
#[derive(Clone, Debug)]
pub struct Lived {
    pub plan: Plan,
    pub journal: Journal,
    pub events: Vec<Event>,
}

#[derive(Clone, Copy)]
enum Behind {
    Nothing,
    NoDescriptor,
    Other,
    Timer(usize),
}

#[derive(Clone)]
struct Process {
    pid: u32,
    slots: [(i32, Behind); SLOTS],
    posix: [Option<(i32, Posix)>; POSIX_TIMERS],
    wake_alarm: bool,
    /// As in the journal.
    cpu: u16,
}

struct Machine<'a> {
    plan: &'a Plan,
    kernel: Kernel,
    rng: TestRng,
    process: Process,
    next_pid: u32,
    next_fd: i32,
    next_posix: i32,
    journal: Journal,
}

/// Does the plan; the seed decides how long everything takes.
pub fn live(plan: &Plan, seed: u64) -> Lived {
    live_from(plan, seed, 0)
}

/// The same on a machine that was up for so much longer.
pub fn live_from(plan: &Plan, seed: u64, later_ns: i64) -> Lived {
    let mut key = [0x3c; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
    let lateness =
        (0..97)
            .map(|at| {
                if at % 5 == 0 { rng.random_range(0..400_000) } else { rng.random_range(0..9_000) }
            })
            .collect();
    let kernel = Kernel::new(later_ns + rng.random_range(2_000_000_000..90_000_000_000), lateness);
    let pid = 300 + (seed % 1000) as u32;
    let process = Process {
        pid,
        slots: [(-1, Behind::Nothing); SLOTS],
        posix: [const { None }; POSIX_TIMERS],
        wake_alarm: true,
        cpu: CPU_UNKNOWN,
    };
    let (next_pid, next_fd, next_posix, journal) = (pid + 1, 3, 0, empty_journal(pid));
    let mut machine =
        Machine { plan, kernel, rng, process, next_pid, next_fd, next_posix, journal };
    machine.journal.header.start = machine.clocks();
    machine.steps(0, plan.steps.len());
    machine.journal.header.end = machine.clocks();
    machine.spend(5_000, 90_000);
    machine.close_all();
    let Machine { mut journal, kernel, .. } = machine;
    journal.header.operations = journal.operations.len() as u32;
    Lived { plan: plan.clone(), journal, events: kernel.events }
}

/// A call that was made.
struct Made {
    nr: u32,
    ret: i32,
    args: [u64; 4],
    new: [u8; MEMORY_LEN],
    /// What is written.
    out: Vec<u8>,
    entry_ns: u64,
    exit_ns: u64,
}

impl Machine<'_> {
    fn spend(&mut self, least: i64, most: i64) {
        let ns = self.rng.random_range(least..=most);
        self.kernel.pass(ns);
    }

    /// The CPU of an event of the process, which may be this one.
    fn cpu(&self, anywhere: u32) -> u32 {
        if self.process.cpu == CPU_UNKNOWN { anywhere } else { self.process.cpu.into() }
    }

    fn clocks(&mut self) -> Clocks {
        let monotonic_before_ns = self.kernel.now;
        self.spend(40, 900);
        let realtime_ns = self.kernel.realtime();
        self.spend(40, 900);
        Clocks { monotonic_before_ns, realtime_ns, monotonic_after_ns: self.kernel.now }
    }

    fn steps(&mut self, from: usize, to: usize) {
        let mut step = from;
        while step < to {
            self.spend(1_500, 12_000);
            let inner = self.plan.steps[step].inner();
            match self.plan.steps[step].clone() {
                Step::Call(call) => self.call(step, &call),
                Step::Open { slot, kind } => self.open(step, slot, kind),
                Step::SetClock => self.set_clock(step),
                Step::WakeAlarm { allowed } => self.process.wake_alarm = allowed,
                Step::Wait { slot, timeout_ms } => {
                    self.wait(step, 1 << slot, Means::Poll, timeout_ms)
                }
                Step::Fork { ending, .. } => self.fork(step, inner, ending),
                Step::Lifecycle(act) => self.act(step, act),
                Step::Pin { cpu } => self.process.cpu = pinned(cpu),
                Step::Silent(_) | Step::Threads { .. } => {
                    unreachable!("not in a plan of lifecycles")
                }
            }
            step += 1 + inner;
        }
    }

    fn keep(&mut self, step: usize, what: u32, before_ns: i64, operation: Operation) -> Operation {
        let pid = self.process.pid;
        let kept = Operation {
            step: step as u32,
            what,
            before_ns,
            after_ns: self.kernel.now,
            pid,
            tid: pid,
            cpu: self.process.cpu,
            ..operation
        };
        self.journal.operations.push(kept);
        kept
    }

    fn fork(&mut self, step: usize, inner: usize, _ending: Ending) {
        let before_ns = self.kernel.now;
        let child = Process {
            pid: self.next_pid,
            posix: [const { None }; POSIX_TIMERS],
            ..self.process.clone()
        };
        self.next_pid += 1;
        for (_, behind) in &child.slots {
            if let Behind::Timer(timer) = behind {
                self.kernel.timers[*timer].references += 1;
            }
        }
        let pid = child.pid;
        let parent = std::mem::replace(&mut self.process, child);
        self.spend(20_000, 90_000);
        self.steps(step + 1, step + 1 + inner);
        self.spend(5_000, 90_000);
        self.close_all();
        self.process = parent;
        self.spend(5_000, 50_000);
        self.keep(step, what::CHILD, before_ns, Operation { extra: pid, ..zeroed() });
    }

    fn close_all(&mut self) {
        for slot in 0..SLOTS {
            let (_, behind) = self.process.slots[slot];
            self.drop_behind(behind);
        }
    }

    fn drop_behind(&mut self, behind: Behind) {
        let Behind::Timer(timer) = behind else { return };
        if self.kernel.close(timer) {
            let (pid, timer, ns) =
                (self.process.pid, self.kernel.timers[timer].id, self.kernel.now as u64);
            let (event, comm, cpu) = ("release".into(), COMM.into(), self.cpu(1));
            let release = Release {
                event,
                ns,
                pid,
                tid: pid,
                comm,
                cpu,
                timer,
                host_pid: None,
                host_tid: None,
            };
            self.kernel.events.push(Event::Release(release));
        }
    }

    fn set_clock(&mut self, step: usize) {
        let before_ns = self.kernel.now;
        let read = self.kernel.realtime();
        self.spend(400, 6_000);
        self.kernel.set_realtime(read);
        self.spend(400, 2_000);
        self.keep(
            step,
            what::SET_CLOCK,
            before_ns,
            Operation { args: [read as u64, 0, 0, 0], ..zeroed() },
        );
    }

    fn close(&mut self, step: usize, slot: u8) {
        let (fd, behind) =
            std::mem::replace(&mut self.process.slots[usize::from(slot)], (-1, Behind::Nothing));
        if matches!(behind, Behind::Nothing) {
            return;
        }
        let before_ns = self.kernel.now;
        self.spend(200, 2_000);
        self.drop_behind(behind);
        self.spend(100, 900);
        self.keep(
            step,
            what::CLOSE,
            before_ns,
            Operation { args: [fd as u64, 0, 0, 0], ..zeroed() },
        );
        self.spend(1_500, 3_000);
    }

    /// The lowest number that is free, as the kernel takes it.
    fn free_fd(&mut self) -> i32 {
        let taken = |fd: i32| {
            self.process
                .slots
                .iter()
                .any(|(other, behind)| *other == fd && !matches!(behind, Behind::Nothing))
        };
        (self.next_fd..).find(|fd| !taken(*fd)).unwrap()
    }

    fn open(&mut self, step: usize, slot: u8, kind: FdKind) {
        let of = match kind {
            FdKind::Timer(clock) => return self.create(step, slot, clock.id(), 0),
            FdKind::Dup(of) | FdKind::Passed(of) => Some(self.process.slots[usize::from(of)].1),
            _ => None,
        };
        self.close(step, slot);
        self.process.slots[usize::from(slot)] = match (of, kind) {
            (Some(behind), _) if !matches!(behind, Behind::Nothing) => {
                let (before_ns, fd) = (self.kernel.now, self.free_fd());
                if let Behind::Timer(timer) = behind {
                    self.kernel.timers[timer].references += 1;
                }
                self.spend(400, 9_000);
                self.keep(step, what::COPY, before_ns, Operation { ret: fd, ..zeroed() });
                (fd, behind)
            }
            (_, FdKind::Path) => (self.free_fd(), Behind::NoDescriptor),
            (_, FdKind::NotATimer(_)) => (self.free_fd(), Behind::Other),
            (_, FdKind::Number(number)) => (number, Behind::Nothing),
            _ => (900 + i32::from(slot), Behind::Nothing),
        };
    }
}

fn zeroed() -> Operation {
    bytemuck::Zeroable::zeroed()
}

/// An event of a call of which nothing is known but its name.
fn blank(name: &'static str) -> RelatedCall {
    RelatedCall {
        event: name.into(),
        entry_ns: 0,
        exit_ns: None,
        pid: 0,
        tid: 0,
        comm: COMM.into(),
        cpu: 0,
        abi: Abi::I386,
        nr: 0,
        timer: None,
        clockid: None,
        ufd: None,
        timer_id: None,
        flags: None,
        utmr: None,
        utmr_used: None,
        otmr: None,
        old: None,
        ret: None,
        errno: None,
        unfinished: false,
        result_lost: false,
        host_pid: None,
        host_tid: None,
    }
}

/// Of a timer that has an event of each of these kinds.
pub fn id_of(event: &Event) -> Option<TimerId> {
    match event {
        Event::Main(call) => call.timer,
        Event::Call(call) => call.timer,
        Event::Expiry(expiry) => Some(expiry.timer),
        Event::Cancel(cancel) => Some(cancel.timer),
        Event::Wakeup(wakeup) => Some(wakeup.timer),
        Event::Release(release) => Some(release.timer),
    }
}
