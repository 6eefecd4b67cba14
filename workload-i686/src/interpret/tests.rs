//! Every step kind, on a kernel that is made up here: descriptors are numbers, and a call writes a
//! known old setting.

use std::collections::BTreeSet;

use settime32_abi::event::COMM_LEN;
use settime32_abi::journal::{CPU_UNKNOWN, Journal as ReadBack};
use settime32_abi::plan::{
    Act, Api, Call, Clock, Entry, Means, Other, Page, Pointer, PosixAct, Process, Silent,
};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use settime32_abi::journal::what;

use super::*;
use crate::kernel::{Door, Identity};
use crate::memory::Shared;

const PARENT: Identity = Identity { pid: 100, tid: 101 };
const OLD: [i32; 4] = [1, 2, 3, 4];
/// Of an i386 process, which plans are of unless they say otherwise.
const TIMERFD_CREATE_HERE: u32 = settime32_abi::number::i386::TIMERFD_CREATE;

/// What was asked of the kernel, but for reads of identity and name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Open(Source, i32),
    ClosedNumber(u8),
    Close(i32),
    Settime { entry: Entry, ufd: i32, flags: i32, new: Option<[i32; 4]>, otmr: bool },
    SetClock,
    WakeAlarm(bool),
    Pin(Option<u8>),
    ReturnToCpu,
    Silent(Silent),
    Wait(i32, u16),
    OfLife(Door, u32, usize),
    SetBlocking(i32, bool),
    WaitAny(Means, Vec<i32>, u16),
    Fork(Ending),
    Joined,
}

#[derive(Debug)]
struct Fake {
    who: Identity,
    cpu: u16,
    asked: Vec<Asked>,
    open: BTreeSet<i32>,
    /// Fails this, when asked.
    failing: Option<Asked>,
    /// How a child ends that did its steps.
    child_end: Result<(), ChildError>,
}

impl Fake {
    fn new() -> Self {
        Self {
            who: PARENT,
            cpu: CPU_UNKNOWN,
            asked: vec![],
            open: (0..3).collect(),
            failing: None,
            child_end: Ok(()),
        }
    }

    fn ask(&mut self, what: Asked) -> Result<(), Errno> {
        let fails = self.failing.as_ref() == Some(&what);
        self.asked.push(what);
        if fails { Err(Errno::EMFILE) } else { Ok(()) }
    }
}

impl Kernel for Fake {
    fn identity(&self) -> Identity {
        self.who
    }

    fn comm(&self) -> Result<[u8; COMM_LEN], Errno> {
        Ok(*b"fake\0\0\0\0\0\0\0\0\0\0\0\0")
    }

    fn clocks(&self) -> Result<Clocks, Errno> {
        let at = self.asked.len() as i64;
        Ok(Clocks { monotonic_before_ns: at, realtime_ns: 1000, monotonic_after_ns: at })
    }

    fn open(&mut self, source: Source) -> Result<i32, Errno> {
        let fd = (0..).find(|fd| !self.open.contains(fd)).unwrap();
        self.ask(Asked::Open(source, fd))?;
        self.open.insert(fd);
        Ok(fd)
    }

    fn closed_number(&mut self, slot: u8) -> Result<i32, Errno> {
        self.ask(Asked::ClosedNumber(slot))?;
        Ok(900 + i32::from(slot))
    }

    fn close(&mut self, fd: i32) {
        assert!(self.open.remove(&fd), "{fd} closed, but it is not open");
        self.asked.push(Asked::Close(fd));
    }

    unsafe fn timerfd_settime32(
        &mut self,
        entry: Entry,
        ufd: i32,
        flags: i32,
        utmr: u32,
        otmr: u32,
    ) -> Result<i32, Errno> {
        // SAFETY: the caller's promise about the pointers.
        let new =
            (utmr != 0).then(|| unsafe { (utmr as usize as *const [i32; 4]).read_unaligned() });
        self.asked.push(Asked::Settime { entry, ufd, flags, new, otmr: otmr != 0 });
        if new.is_none() {
            return Ok(-14);
        }
        if otmr != 0 {
            // SAFETY: as above.
            unsafe { (otmr as usize as *mut [i32; 4]).write_unaligned(OLD) };
        }
        Ok(0)
    }

    fn set_clock(&mut self) -> Result<i64, Errno> {
        self.ask(Asked::SetClock).map(|()| 1000)
    }

    fn monotonic_ns(&self) -> Result<i64, Errno> {
        Ok(self.asked.len() as i64)
    }

    unsafe fn of_life(&mut self, door: Door, number: u32, arguments: [usize; 4]) -> i32 {
        self.asked.push(Asked::OfLife(door, number, arguments[0]));
        match number {
            TIMERFD_CREATE_HERE => {
                let fd = (0..).find(|fd| !self.open.contains(fd)).unwrap();
                self.open.insert(fd);
                fd
            }
            3 => {
                // SAFETY: the caller's promise about the pointers.
                unsafe { (arguments[1] as *mut u64).write_unaligned(7) };
                8
            }
            _ => 0,
        }
    }

    fn set_blocking(&mut self, fd: i32, blocking: bool) -> Result<(), Errno> {
        self.ask(Asked::SetBlocking(fd, blocking))
    }

    fn wait_any(&mut self, by: Means, fds: &[i32], timeout_ms: u16) -> Result<u32, Errno> {
        self.ask(Asked::WaitAny(by, fds.to_vec(), timeout_ms)).map(|()| 1 << (fds.len() - 1))
    }

    fn allow_wake_alarm(&mut self, allowed: bool) -> Result<(), Errno> {
        self.ask(Asked::WakeAlarm(allowed))
    }

    fn pin(&mut self, cpu: Option<u8>) -> Result<(), Errno> {
        self.cpu = cpu.map_or(CPU_UNKNOWN, u16::from);
        self.ask(Asked::Pin(cpu))
    }

    fn cpu(&self) -> u16 {
        self.cpu
    }

    fn return_to_cpu(&mut self) -> Result<(), Errno> {
        self.ask(Asked::ReturnToCpu)
    }

    fn silent(&mut self, call: Silent) -> Result<(), Errno> {
        self.ask(Asked::Silent(call))
    }

    fn wait_readable(&mut self, fd: i32, timeout_ms: u16) -> Result<(), Errno> {
        self.ask(Asked::Wait(fd, timeout_ms))
    }

    /// One after the other, each under a thread id of its own.
    fn side_by_side(
        &mut self,
        threads: u16,
        work: impl Fn(u16, &mut Self) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        let who = self.who;
        let done = (0..threads).try_for_each(|number| {
            self.who.tid = 300 + u32::from(number);
            work(number, self)
        });
        self.who = who;
        done
    }

    fn in_child(
        &mut self,
        ending: Ending,
        work: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<u32, ChildError> {
        self.ask(Asked::Fork(ending))
            .map_err(|errno| ChildError::NoChild { action: "fork", errno })?;
        let (who, cpu, open) = (self.who, self.cpu, self.open.clone());
        self.who = Identity { pid: 200, tid: 200 };
        let done = work(self);
        (self.who, self.cpu, self.open) = (who, cpu, open);
        self.asked.push(Asked::Joined);
        done.map_err(|_| ChildError::Failed { code: 1 }).and(self.child_end).map(|()| 200)
    }
}

const NEW: OldItimerspec32 = OldItimerspec32 {
    it_interval: OldTimespec32 { tv_sec: 5, tv_nsec: -6 },
    it_value: OldTimespec32 { tv_sec: i32::MIN, tv_nsec: 8 },
};
const NEW_WORDS: [i32; 4] = [5, -6, i32::MIN, 8];

fn call(slot: u8, utmr: Pointer, otmr: Pointer) -> Step {
    Step::Call(Call { slot, flags: -7, utmr, otmr, new: NEW, meanwhile: None, entry: Entry::Int80 })
}

fn valid_call(slot: u8) -> Step {
    call(slot, Pointer::Valid, Pointer::Valid)
}

fn open(slot: u8, kind: FdKind) -> Step {
    Step::Open { slot, kind }
}

fn settime(ufd: i32) -> Asked {
    Asked::Settime { entry: Entry::Int80, ufd, flags: -7, new: Some(NEW_WORDS), otmr: true }
}

/// Runs the steps, and reads the journal back as the harness does.
fn run_on(mut fake: Fake, steps: Vec<Step>) -> (Fake, Header, Vec<Operation>, Result<(), Failure>) {
    let plan = Plan { steps, ..Plan::default() };
    plan.validate().unwrap();
    let mut journal = Journal::with_capacity(plan.calls()).unwrap();
    let (header, done) = run(&plan, &mut fake, &mut journal);
    let mut bytes = Vec::new();
    journal.write(&header, &mut bytes).unwrap();
    assert_eq!(
        ReadBack::parse(&bytes).is_ok(),
        done.is_ok(),
        "a journal is whole exactly when its plan was done"
    );
    (fake, header, journal.operations().to_vec(), done)
}

fn asked_by(steps: Vec<Step>) -> Vec<Asked> {
    let (fake, _, _, done) = run_on(Fake::new(), steps);
    assert_eq!(done, Ok(()));
    fake.asked
}

#[test]
fn a_call_is_recorded_as_it_was_made() {
    let (_, _, records, _) = run_on(
        Fake::new(),
        vec![open(9, FdKind::Timer(Clock::Boottime)), valid_call(9), valid_call(9)],
    );
    let [first, second] = records[..] else { panic!("two calls, but {} records", records.len()) };
    assert_eq!(
        (first.step, first.pid, first.tid, first.ufd(), first.flags(), first.ret),
        (1, PARENT.pid, PARENT.tid, 3, -7, 0)
    );
    assert_eq!(first.utmr_before(), bytemuck::cast::<_, [u8; 16]>(NEW_WORDS));
    assert_eq!(first.otmr_after(), bytemuck::cast::<_, [u8; 16]>(OLD));
    assert!(first.utmr().abs_diff(first.otmr()) >= 16 && first.utmr() != 0 && first.otmr() != 0);
    assert_ne!(first.otmr_before(), second.otmr_before());
    assert!(![[0; 16], first.otmr_after()].contains(&first.otmr_before()));
    assert_eq!(
        second.otmr_after(),
        first.otmr_after(),
        "the pattern is put there again before each call"
    );
}

#[test]
fn null_pointers_are_passed_as_null_and_recorded_as_zeros() {
    let steps = vec![
        open(0, FdKind::Number(-1)),
        call(0, Pointer::Null, Pointer::Valid),
        call(0, Pointer::Valid, Pointer::Null),
        call(0, Pointer::Null, Pointer::Null),
    ];
    let (fake, _, records, _) = run_on(Fake::new(), steps);
    let expected = [(None, true), (Some(NEW_WORDS), false), (None, false)];
    assert_eq!(
        fake.asked,
        expected.map(|(new, otmr)| Asked::Settime {
            entry: Entry::Int80,
            ufd: -1,
            flags: -7,
            new,
            otmr
        })
    );
    assert_eq!((records[0].utmr(), records[0].utmr_before(), records[0].ret), (0, [0; 16], -14));
    assert_eq!(
        records[0].otmr_after(),
        records[0].otmr_before(),
        "a call that fails leaves what was there"
    );
    assert_eq!(
        (records[1].otmr(), records[1].otmr_before(), records[1].otmr_after()),
        (0, [0; 16], [0; 16])
    );
}

#[test]
fn a_call_on_other_memory_is_recorded_as_it_was_made() {
    let edge = Pointer::Edge { before: 4, first: Page::Resident, next: Page::GivenUp };
    let over = |otmr| Call {
        slot: 0,
        flags: -7,
        utmr: Pointer::Unaligned(3),
        otmr,
        new: NEW,
        meanwhile: None,
        entry: Entry::Vdso,
    };
    let steps = vec![
        open(0, FdKind::Number(8)),
        call(0, edge, Pointer::Valid),
        Step::Call(over(Pointer::OverUtmr(8))),
        Step::Call(over(Pointer::On(Page::Untouched))),
    ];
    let (fake, _, records, _) = run_on(Fake::new(), steps);
    let [edge, over, untouched] = records[..] else {
        panic!("three calls, but {} records", records.len())
    };
    assert_eq!(
        (edge.new_there, edge.out_there, edge.entry, edge.utmr() % 4096),
        (u16::MAX, u16::MAX, 0, 4092)
    );
    assert_eq!(edge.utmr_before(), bytemuck::cast::<_, [u8; 16]>([NEW_WORDS[0], 0, 0, 0]));
    assert_eq!((over.otmr(), over.utmr() % 16, over.entry), (over.utmr() + 8, 3, 1));
    assert_eq!(over.otmr_before()[..8], over.utmr_before()[8..]);
    assert_eq!(over.otmr_after(), bytemuck::cast::<_, [u8; 16]>(OLD));
    assert_eq!((untouched.otmr_before(), untouched.otmr_after()), ([0; 16], bytemuck::cast(OLD)));
    let whole =
        Asked::Settime { entry: Entry::Vdso, ufd: 8, flags: -7, new: Some(NEW_WORDS), otmr: true };
    assert_eq!(fake.asked[1..], [whole.clone(), whole]);
}

#[test]
fn memory_that_cannot_be_had_ends_the_run() {
    let taken = Shared::map(1).unwrap();
    let literal = Pointer::Literal(taken.at::<u8>(0).addr().get() as u32);
    let (_, header, _, done) =
        run_on(Fake::new(), vec![open(0, FdKind::Number(1)), call(0, literal, Pointer::Null)]);
    let message = "step 1 of the plan: failed to prepare a call: EEXIST: File exists";
    assert_eq!((done.unwrap_err().to_string().as_str(), header.operations), (message, 0));
}

#[test]
fn capabilities_and_silent_calls_are_asked_for() {
    let calls = || Silent::ALL.into_iter().filter(|call| call.process() == Process::I386);
    let silent = calls().map(Step::Silent);
    let steps = [Step::WakeAlarm { allowed: false }, Step::WakeAlarm { allowed: true }]
        .into_iter()
        .chain(silent)
        .collect();
    let asked = [Asked::WakeAlarm(false), Asked::WakeAlarm(true)]
        .into_iter()
        .chain(calls().map(Asked::Silent));
    assert_eq!(asked_by(steps), asked.collect::<Vec<_>>());
}

#[test]
fn records_have_the_cpu_that_their_thread_is_kept_on() {
    let child = Step::Fork { steps: 2, ending: Ending::Exit };
    let pin = |cpu| Step::Pin { cpu };
    let steps = vec![
        open(0, FdKind::Number(1)),
        valid_call(0),
        pin(Some(1)),
        valid_call(0),
        child,
        pin(Some(0)),
        valid_call(0),
    ];
    let steps = steps.into_iter().chain([valid_call(0), pin(None), valid_call(0)]).collect();
    let (_, _, records, done) = run_on(Fake::new(), steps);
    done.unwrap();
    assert_eq!(
        records.iter().map(|record| record.cpu).collect::<Vec<_>>(),
        [CPU_UNKNOWN, 1, 0, 1, CPU_UNKNOWN]
    );
}

#[test]
fn each_kind_of_descriptor_is_asked_for() {
    for (kind, source) in [
        (FdKind::Timer(Clock::Realtime), Source::Timer(Clock::Realtime)),
        (FdKind::Path, Source::Path),
        (FdKind::NotATimer(Other::Eventfd), Source::NotATimer(Other::Eventfd)),
        (FdKind::NotATimer(Other::Pipe), Source::NotATimer(Other::Pipe)),
        (FdKind::NotATimer(Other::Socket), Source::NotATimer(Other::Socket)),
        (FdKind::NotATimer(Other::Directory), Source::NotATimer(Other::Directory)),
    ] {
        assert_eq!(
            asked_by(vec![open(1, kind), valid_call(1)]),
            [Asked::Open(source, 3), settime(3)]
        );
    }
    assert_eq!(
        asked_by(vec![open(1, FdKind::Closed), valid_call(1)]),
        [Asked::ClosedNumber(1), settime(901)]
    );
    assert_eq!(asked_by(vec![open(1, FdKind::Number(77)), valid_call(1)]), [settime(77)]);
}

#[test]
fn copies_are_made_of_descriptors_and_are_closed_where_there_is_none() {
    let timer = open(0, FdKind::Timer(Clock::Monotonic));
    let opened = Asked::Open(Source::Timer(Clock::Monotonic), 3);
    for (kind, source) in [(FdKind::Dup(0), Source::Dup(3)), (FdKind::Passed(0), Source::Passed(3))]
    {
        let asked = asked_by(vec![timer.clone(), open(1, kind), valid_call(1)]);
        assert_eq!(asked, [opened.clone(), Asked::Open(source, 4), settime(4)]);
        assert_eq!(
            asked_by(vec![open(0, FdKind::Number(5)), open(1, kind), valid_call(1)]),
            [Asked::ClosedNumber(1), settime(901)]
        );
        let asked = asked_by(vec![open(0, FdKind::Closed), open(1, kind), valid_call(1)]);
        assert_eq!(asked, [Asked::ClosedNumber(0), Asked::ClosedNumber(1), settime(901)]);
    }
}

#[test]
fn what_was_in_a_slot_is_closed_once() {
    let asked =
        asked_by(vec![open(0, FdKind::Path), open(0, FdKind::Number(-1)), open(0, FdKind::Path)]);
    assert_eq!(
        asked,
        [Asked::Open(Source::Path, 3), Asked::Close(3), Asked::Open(Source::Path, 3)]
    );
}

#[test]
fn only_what_is_open_is_waited_for() {
    let wait = Step::Wait { slot: 0, timeout_ms: 250 };
    let asked = asked_by(vec![open(0, FdKind::Path), wait.clone()]);
    assert_eq!(asked, [Asked::Open(Source::Path, 3), Asked::Wait(3, 250)]);
    assert_eq!(asked_by(vec![open(0, FdKind::Number(-1)), wait.clone()]), []);
    assert_eq!(asked_by(vec![open(0, FdKind::Closed), wait]), [Asked::ClosedNumber(0)]);
}

#[test]
fn a_child_does_its_steps_with_a_table_of_its_own() {
    let steps = vec![
        open(0, FdKind::Number(10)),
        Step::Fork { steps: 2, ending: Ending::Exit },
        open(0, FdKind::Number(20)),
        valid_call(0),
        valid_call(0),
        Step::Fork { steps: 0, ending: Ending::Exit },
        Step::SetClock,
    ];
    let (fake, header, records, done) = run_on(Fake::new(), steps);
    assert_eq!(done, Ok(()));
    let expected = [
        Asked::Fork(Ending::Exit),
        settime(20),
        Asked::Joined,
        settime(10),
        Asked::Fork(Ending::Exit),
        Asked::Joined,
        Asked::SetClock,
    ];
    assert_eq!(fake.asked, expected);
    let by = |record: &Operation| (record.step, record.pid, record.tid);
    assert_eq!(
        records.iter().map(by).collect::<Vec<_>>(),
        [(3, 200, 200), (4, PARENT.pid, PARENT.tid)]
    );
    assert_eq!((header.pid, header.operations), (PARENT.pid, 2));
}

#[test]
fn records_of_threads_stand_in_the_order_of_the_plan() {
    let calls = [1, 1, 2, 2, 3, 3].map(|slot| call(slot, Pointer::Valid, Pointer::Null));
    let opened = (1..4).map(|slot| open(slot, FdKind::Number(10 * i32::from(slot))));
    let steps = opened
        .chain([Step::Threads { threads: 3, calls: 2 }])
        .chain(calls)
        .chain([valid_call(1)])
        .collect();
    let (_, header, records, done) = run_on(Fake::new(), steps);
    assert_eq!((done, header.operations), (Ok(()), 7));
    let by = |record: &Operation| (record.step, record.pid, record.tid, record.ufd());
    let expected = [
        (4, 100, 300, 10),
        (5, 100, 300, 10),
        (6, 100, 301, 20),
        (7, 100, 301, 20),
        (8, 100, 302, 30),
        (9, 100, 302, 30),
    ];
    assert_eq!(
        records.iter().map(by).collect::<Vec<_>>(),
        expected.into_iter().chain([(10, 100, 101, 10)]).collect::<Vec<_>>()
    );
    let places: BTreeSet<u32> = records.iter().map(|record| record.utmr()).collect();
    assert!(
        places.len() >= 2,
        "threads have memory of their own, though one may get what another gave back"
    );
}

#[test]
fn a_raced_call_finds_either_setting_and_a_later_one_its_own() {
    let time = |tv_sec| OldTimespec32 { tv_sec, tv_nsec: 1 };
    let settings = [10, 20]
        .map(|tv_sec| OldItimerspec32 { it_interval: time(tv_sec), it_value: time(tv_sec + 1) });
    let raced = Call {
        slot: 0,
        flags: 0,
        utmr: Pointer::Valid,
        otmr: Pointer::Null,
        new: settings[0],
        meanwhile: Some(settings[1]),
        entry: Entry::Int80,
    };
    let calm = Call { meanwhile: None, new: NEW, ..raced };
    let steps = [
        open(0, FdKind::Number(1)),
        Step::Call(raced),
        Step::Call(raced),
        Step::Call(calm),
        Step::Call(calm),
    ];
    let (_, _, records, done) = run_on(Fake::new(), steps.to_vec());
    assert_eq!(done, Ok(()));
    let halves = settings.map(bytemuck::cast::<_, [[u8; 8]; 2]>);
    for record in &records[..2] {
        let found: [[u8; 8]; 2] = bytemuck::cast(record.utmr_before());
        assert!(
            (0..2).all(|half| halves.iter().any(|setting| setting[half] == found[half])),
            "{found:?}"
        );
    }
    assert!(
        records[2..]
            .iter()
            .all(|record| record.utmr_before() == bytemuck::cast::<_, [u8; 16]>(NEW_WORDS)),
        "the rival writes on"
    );
}

#[test]
fn the_header_tells_of_the_whole_run() {
    let (_, header, _, _) =
        run_on(Fake::new(), vec![open(0, FdKind::Number(1)), valid_call(0), Step::SetClock]);
    assert_eq!((header.complete, header.operations, header.operation_size), (1, 1, 184));
    assert_eq!(&header.comm, b"fake\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(
        (header.start.monotonic_before_ns, header.end.monotonic_before_ns),
        (0, 2),
        "before the first step, after the last"
    );
}

#[test]
fn a_step_that_fails_ends_the_run_and_is_named() {
    let calls = [open(0, FdKind::Number(1)), valid_call(0), open(1, FdKind::Path), valid_call(0)];
    for (failing, last, message) in [
        (
            Asked::Open(Source::Path, 3),
            None,
            "step 2 of the plan: failed to open the root directory with O_PATH: EMFILE",
        ),
        (
            Asked::SetClock,
            Some(Step::SetClock),
            "step 4 of the plan: failed to set CLOCK_REALTIME: EMFILE",
        ),
        (
            Asked::Fork(Ending::Exit),
            Some(Step::Fork { steps: 0, ending: Ending::Exit }),
            "step 4 of the plan: failed to fork: EMFILE",
        ),
        (
            Asked::Wait(3, 1),
            Some(Step::Wait { slot: 1, timeout_ms: 1 }),
            "step 4 of the plan: failed to wait for a timer: EMFILE",
        ),
        (
            Asked::ClosedNumber(2),
            Some(open(2, FdKind::Closed)),
            "step 4 of the plan: failed to find a number that is closed: EMFILE",
        ),
    ] {
        let fake = Fake { failing: Some(failing), ..Fake::new() };
        let before = if last.is_some() { 2 } else { 1 };
        let (_, header, records, done) = run_on(fake, calls.iter().cloned().chain(last).collect());
        assert!(
            done.unwrap_err().to_string().starts_with(message),
            "{} is not {message}",
            done.unwrap_err()
        );
        assert_eq!(
            (header.complete, header.operations, records.len()),
            (0, before, before as usize)
        );
    }
}

#[test]
fn a_child_that_fails_or_is_killed_fails_the_run() {
    let steps = vec![
        open(0, FdKind::Number(1)),
        Step::Fork { steps: 2, ending: Ending::Exit },
        valid_call(0),
        open(1, FdKind::Path),
        valid_call(0),
    ];
    let failing = Fake { failing: Some(Asked::Open(Source::Path, 3)), ..Fake::new() };
    let killed = Fake { child_end: Err(ChildError::Killed { signal: 9 }), ..Fake::new() };
    for (fake, message) in [
        (
            failing,
            "step 1 of the plan: the forked child failed with exit code 1; its own message is above",
        ),
        (killed, "step 1 of the plan: the forked child was killed by signal 9"),
    ] {
        let (_, header, records, done) = run_on(fake, steps.clone());
        assert_eq!(done.unwrap_err().to_string(), message);
        assert_eq!(
            (header.complete, records.len()),
            (0, 1),
            "the child's call is kept, the parent makes none"
        );
    }
}

#[test]
fn each_step_of_a_life_is_an_operation() {
    let mut fake = Fake::new();
    let (slot, api) = (4, Api::Time64);
    let steps = vec![
        Step::Lifecycle(Act::Create { slot, clockid: 1, flags: 0 }),
        Step::Call(Call::plain(slot, NEW)),
        Step::Open { slot: 5, kind: FdKind::Dup(slot) },
        Step::Lifecycle(Act::Close { slot }),
        Step::Lifecycle(Act::Wait { slots: 1 << 5, by: Means::Select, timeout_ms: 9 }),
        Step::Lifecycle(Act::Read { slot: 5, blocking: true }),
        Step::Fork { steps: 1, ending: Ending::Exit },
        Step::Lifecycle(Act::Gettime { slot: 5, api }),
        Step::SetClock,
        Step::Lifecycle(Act::Posix { timer: 0, act: PosixAct::Create { clock: Clock::Monotonic } }),
    ];
    let plan = Plan { steps, ..Plan::default() };
    plan.validate().unwrap();
    let mut journal = Journal::with_capacity(crate::lifecycle::most_operations(&plan)).unwrap();
    let (header, done) = run(&plan, &mut fake, &mut journal);
    assert_eq!(done, Ok(()));
    assert_eq!(header.operations, 10);
    let operations = journal.operations();
    let whats: Vec<u32> = operations.iter().map(|operation| operation.what).collect();
    assert_eq!(
        whats,
        [
            what::CREATE,
            what::SETTIME32,
            what::COPY,
            what::CLOSE,
            what::WAIT,
            what::READ,
            what::GETTIME,
            what::CHILD,
            what::SET_CLOCK,
            what::POSIX_CREATE
        ]
    );
    assert_eq!((operations[0].ret, operations[0].args, operations[1].extra), (3, [1, 0, 0, 0], 0));
    assert_eq!((operations[4].ret, operations[4].extra), (1, 1 << 5));
    assert_eq!(
        (operations[5].ret, bytemuck::pod_read_unaligned::<u64>(&operations[5].out_after[..8])),
        (8, 7)
    );
    assert_eq!((operations[6].pid, operations[7].pid, operations[7].extra), (200, PARENT.pid, 200));
    assert_eq!(operations[8].args[0], 1000);
    assert!(operations.iter().all(|operation| operation.before_ns <= operation.after_ns));
    // The dup is closed by nobody, and the original once.
    assert_eq!(fake.asked.iter().filter(|asked| matches!(asked, Asked::Close(3))).count(), 1);
}
