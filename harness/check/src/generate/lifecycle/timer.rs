//! One life, as a list of moves.

use settime32_abi::plan::{
    Act, Api, Call, Clock, Ending, FdKind, Means, Other, Pointer, PosixAct, Process, Step,
    TFD_CLOEXEC, TFD_NONBLOCK,
};
use settime32_abi::timespec::{
    Itimerspec64, NSEC_PER_SEC, OldItimerspec32, OldTimespec32, Timespec64,
};

use crate::generate::gene::scale16;

/// Words that a lifecycle is drawn from; a longer one goes through them again.
pub(super) const WORDS: usize = 32;

/// The integers of a lifecycle, one after the other.
pub(super) struct Draw {
    words: [u16; WORDS],
    next: usize,
}

impl Draw {
    pub(super) fn new(words: [u16; WORDS]) -> Self {
        Self { words, next: 0 }
    }

    pub(super) fn word(&mut self) -> u16 {
        let word = self.words[self.next % WORDS];
        // What is drawn the second time differs from the first time, unless it is 0.
        let again = (self.next / WORDS) as u16;
        self.next += 1;
        word.rotate_left(u32::from(again) * 5)
    }

    /// A number below `count`.
    pub(super) fn below(&mut self, count: u32) -> u32 {
        scale16(self.word(), count)
    }

    /// True in so many of 100 cases.
    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) >= 100 - percent
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}

/// Where a lifecycle keeps what it opens.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    pub first: u8,
    pub second: u8,
    /// Of everybody, for what is closed within one move.
    pub spare: u8,
    pub posix: u8,
}

/// What is done in one turn.
pub(super) enum Move {
    /// These steps.
    Steps(Vec<Step>),
    /// A wait for all timers that are open, of whatever lifecycle.
    LookAround { by: Means, timeout_ms: u16 },
}

/// What the timer is set to, as far as it decides what can be waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sure {
    /// Nothing may come.
    Nothing,
    /// One read will not wait for long.
    Once,
    /// No read will.
    Always,
}

pub(super) struct Lifecycle<'a> {
    draw: &'a mut Draw,
    process: Process,
    slots: Slots,
    moves: Vec<Move>,
    /// The slot of the timer now.
    at: u8,
    clock: Clock,
    sure: Sure,
    /// It asks for a cancellation.
    cancels: bool,
    timers: u64,
}

impl<'a> Lifecycle<'a> {
    pub(super) fn drawn(draw: &'a mut Draw, process: Process, slots: Slots) -> Self {
        let mut lifecycle = Self {
            draw,
            process,
            slots,
            moves: Vec::new(),
            at: slots.first,
            clock: Clock::Monotonic,
            sure: Sure::Nothing,
            cancels: false,
            timers: 0,
        };
        match lifecycle.draw.below(100) {
            0..88 => lifecycle.of_a_timer(),
            88..92 => lifecycle.of_a_posix_timer(),
            92..95 => lifecycle.of_no_timer(),
            95..97 => lifecycle.refused(),
            _ => lifecycle.of_a_child(),
        }
        lifecycle
    }

    /// Timers that it makes.
    pub(super) fn timers(&self) -> u64 {
        self.timers
    }

    pub(super) fn into_moves(self) -> Vec<Move> {
        self.moves
    }

    fn step(&mut self, step: Step) {
        self.moves.push(Move::Steps(vec![step]));
    }

    fn act(&mut self, act: Act) {
        self.step(Step::Lifecycle(act));
    }

    fn of_a_timer(&mut self) {
        const CLOCKS: [Clock; 8] = [
            Clock::Monotonic,
            Clock::Realtime,
            Clock::Monotonic,
            Clock::Boottime,
            Clock::Realtime,
            Clock::RealtimeAlarm,
            Clock::BoottimeAlarm,
            Clock::Realtime,
        ];
        self.clock = self.draw.pick(&CLOCKS);
        self.create();
        if self.draw.chance(10) {
            self.look();
        }
        self.arm();
        for _ in 0..1 + self.draw.below(6) {
            self.live();
        }
        // What is left open goes with the process.
        if !self.draw.chance(8) {
            self.act(Act::Close { slot: self.at });
        } else if self.at == self.slots.second {
            // The place is somebody else's from now on.
            self.act(Act::Close { slot: self.at });
        }
    }

    fn create(&mut self) {
        let (slot, clock) = (self.at, self.clock);
        self.timers += 1;
        match self.draw.below(4) {
            0 | 1 => self.step(Step::Open { slot, kind: FdKind::Timer(clock) }),
            2 => self.act(Act::Create { slot, clockid: clock.id(), flags: TFD_CLOEXEC }),
            _ => self.act(Act::Create {
                slot,
                clockid: clock.id(),
                flags: TFD_NONBLOCK | TFD_CLOEXEC,
            }),
        }
    }

    fn api(&mut self) -> Api {
        match self.process {
            Process::I386 => self.draw.pick(&[Api::Time32, Api::Time64]),
            Process::Amd64 => self.draw.pick(&[Api::Time32, Api::Native, Api::Time64, Api::Native]),
        }
    }

    fn look(&mut self) {
        let (slot, api) = (self.at, self.api());
        self.act(Act::Gettime { slot, api });
    }

    /// Nanoseconds: mostly so few that the timer fires before its setting call returns, or right
    /// after it; 20 ms at most.
    fn short(&mut self) -> i64 {
        let most = self.draw.pick(&[
            1, 1_000, 100_000, 10_000, 1_000, 100_000, 100, 100_000, 3_000_000, 20_000_000,
        ]);
        1 + i64::from(self.draw.word()) * (most - 1) / i64::from(u16::MAX)
    }

    fn arm(&mut self) {
        let seconds = NSEC_PER_SEC;
        let far = 2_000_000_000 * seconds + i64::from(self.draw.word()) * 1_000_003;
        let long = 1000 * seconds + i64::from(self.draw.word()) * 7_000_001;
        let interval = 50_000 + i64::from(self.draw.word()) * 60;
        let (flags, value, interval, sure) = match self.draw.below(28) {
            0..10 => (0, self.short(), 0, Sure::Once),
            10..19 => (0, self.short(), interval, Sure::Always),
            19 => (1, 1 + i64::from(self.draw.word()), 0, Sure::Once),
            20 => (1, 1 + i64::from(self.draw.word()), interval * 3, Sure::Always),
            21 => (
                3,
                1 + i64::from(self.draw.word()),
                interval * (self.draw.below(2) as i64),
                Sure::Once,
            ),
            22 | 23 => (3, far, 0, Sure::Nothing),
            24 => (self.draw.below(2) as i32, far, interval, Sure::Nothing),
            25 => (0, long, self.short(), Sure::Nothing),
            26 => (self.draw.below(4) as i32, 0, interval, Sure::Nothing),
            // Flags that ask for nothing are taken all the same.
            _ => (2, self.short(), 0, Sure::Once),
        };
        self.cancels = flags == 3;
        self.sure = sure;
        self.set(flags, value, interval);
    }

    /// By one of the calls; one with 64-bit times may say more.
    fn set(&mut self, flags: i32, value: i64, interval: i64) {
        let (slot, api, old) = (self.at, self.api(), self.draw.below(4) > 0);
        // More often than not the call under test.
        if api == Api::Time32 || self.draw.chance(40) {
            let new = OldItimerspec32 { it_interval: time32(interval), it_value: time32(value) };
            let otmr = if old { Pointer::Valid } else { Pointer::Null };
            return self.step(Step::Call(Call { flags, otmr, ..Call::plain(slot, new) }));
        }
        let wide = self.sure == Sure::Nothing && value != 0 && self.draw.chance(50);
        let more = if wide { i64::from(self.draw.word()) << 20 } else { 0 };
        let time =
            |nanos: i64| Timespec64 { tv_sec: nanos / NSEC_PER_SEC, tv_nsec: nanos % NSEC_PER_SEC };
        let later = |time: Timespec64| Timespec64 { tv_sec: time.tv_sec + more, ..time };
        let new = Itimerspec64 {
            it_interval: if wide { later(time(interval)) } else { time(interval) },
            it_value: later(time(value)),
        };
        self.act(Act::Settime64 { slot, flags, new, old, api });
        if wide && self.draw.chance(60) {
            self.look();
        }
    }

    /// One thing after the arming.
    fn live(&mut self) {
        match self.draw.below(24) {
            0..6 => self.read(),
            6..9 => self.wait_and_read(),
            9..12 => self.look(),
            12 | 13 => self.arm(),
            14 => self.set_wrongly(),
            15..17 => self.copy(),
            17 if self.draw.chance(50) => self.fork(),
            18 if self.cancels => self.step(Step::SetClock),
            18 if self.draw.chance(25) => self.step(Step::SetClock),
            19 if self.cancels => self.step(Step::SetClock),
            20 => {
                let (by, timeout_ms) = (self.means(), self.draw.below(3) as u16);
                self.moves.push(Move::LookAround { by, timeout_ms });
            }
            _ => self.glance(),
        }
    }

    fn means(&mut self) -> Means {
        self.draw.pick(&[Means::Poll, Means::Epoll, Means::Select])
    }

    fn read(&mut self) {
        let slot = self.at;
        let blocking = self.sure != Sure::Nothing && self.draw.chance(75);
        self.act(Act::Read { slot, blocking });
        self.was_read();
    }

    fn was_read(&mut self) {
        if self.sure == Sure::Once || self.cancels {
            self.sure = Sure::Nothing;
        }
    }

    /// For as long as it takes when it is sure to come.
    fn wait_and_read(&mut self) {
        let (slot, by) = (self.at, self.means());
        let timeout_ms = if self.sure == Sure::Nothing { self.draw.below(2) as u16 } else { 2_000 };
        if self.draw.chance(10) {
            self.step(Step::Wait { slot, timeout_ms });
        } else {
            self.act(Act::Wait { slots: 1 << slot, by, timeout_ms });
        }
        if self.draw.chance(80) {
            self.read();
        }
    }

    /// Without waiting.
    fn glance(&mut self) {
        let (slot, by) = (self.at, self.means());
        self.act(Act::Wait { slots: 1 << slot, by, timeout_ms: 0 });
    }

    /// A setting that the kernel refuses, which changes nothing.
    fn set_wrongly(&mut self) {
        let slot = self.at;
        let bad = OldTimespec32 { tv_sec: 1, tv_nsec: 1_000_000_000 };
        let api = match self.process {
            Process::I386 => Api::Time64,
            Process::Amd64 => Api::Native,
        };
        let (nothing, wrong) = (Timespec64::default(), Timespec64 { tv_sec: -1, tv_nsec: 5 });
        match self.draw.below(4) {
            0 => self.step(Step::Call(Call::plain(
                slot,
                OldItimerspec32 { it_interval: bad, it_value: OldTimespec32::default() },
            ))),
            1 => self.step(Step::Call(Call {
                flags: 4,
                ..Call::plain(slot, OldItimerspec32::default())
            })),
            2 => self.step(Step::Call(Call {
                utmr: Pointer::Null,
                ..Call::plain(slot, OldItimerspec32::default())
            })),
            _ => self.act(Act::Settime64 {
                slot,
                flags: 0,
                new: Itimerspec64 { it_interval: nothing, it_value: wrong },
                old: true,
                api,
            }),
        }
    }

    /// A second descriptor, and most often the first is closed: the timer lives on.
    fn copy(&mut self) {
        let (from, to) = (
            self.at,
            if self.at == self.slots.first { self.slots.second } else { self.slots.first },
        );
        let kind = if self.draw.chance(40) { FdKind::Passed(from) } else { FdKind::Dup(from) };
        self.step(Step::Open { slot: to, kind });
        if self.draw.chance(70) {
            self.act(Act::Close { slot: from });
            self.at = to;
        } else {
            if self.draw.chance(50) {
                self.act(Act::Gettime { slot: to, api: Api::Time32 });
            }
            self.act(Act::Close { slot: to });
        }
    }

    /// A child that uses the timer; what it sets is set for its parent too.
    fn fork(&mut self) {
        let slot = self.at;
        let mut inner = Vec::new();
        let blocking = self.sure != Sure::Nothing;
        match self.draw.below(5) {
            0 => inner.push(Step::Lifecycle(Act::Gettime { slot, api: Api::Time32 })),
            1 | 2 => {
                inner.push(Step::Lifecycle(Act::Read { slot, blocking }));
                self.was_read();
            }
            3 => {
                // Closed by the child, and still open in its parent; a timer of its own goes with
                // it.
                self.timers += 1;
                inner.push(Step::Lifecycle(Act::Close { slot }));
                inner.push(Step::Open { slot: self.slots.spare, kind: FdKind::Timer(self.clock) });
                inner.push(Step::Call(Call::plain(self.slots.spare, setting32(self.short(), 0))));
            }
            _ => {
                let value = self.short();
                inner.push(Step::Call(Call::plain(slot, setting32(value, 0))));
                (self.sure, self.cancels) = (Sure::Once, false);
            }
        }
        let ending = if self.draw.chance(30) { Ending::Kill } else { Ending::Exit };
        let mut steps = vec![Step::Fork { steps: inner.len() as u16, ending }];
        steps.extend(inner);
        self.moves.push(Move::Steps(steps));
    }

    fn of_a_posix_timer(&mut self) {
        let timer = self.slots.posix;
        let clock = self.draw.pick(&[Clock::Monotonic, Clock::Realtime, Clock::Boottime]);
        let mut acts = vec![PosixAct::Create { clock }];
        if self.draw.chance(20) {
            acts.push(PosixAct::Get);
        }
        for _ in 0..1 + self.draw.below(3) {
            let flags = self.draw.below(2) as i32;
            let value = if flags == 1 { 2_000_000_000 * NSEC_PER_SEC } else { self.short() };
            let value = if self.draw.chance(15) { 0 } else { value };
            let interval = if self.draw.chance(50) { self.short() } else { 0 };
            let mut new = setting32(value, interval);
            if self.draw.chance(10) {
                new.it_value.tv_nsec = -1;
            }
            acts.push(PosixAct::Set { flags, new, old: self.draw.chance(60) });
            acts.extend((0..self.draw.below(3)).map(|_| PosixAct::Get));
        }
        acts.push(PosixAct::Delete);
        // At once, since several lifecycles share the few places.
        self.moves.push(Move::Steps(
            acts.into_iter().map(|act| Step::Lifecycle(Act::Posix { timer, act })).collect(),
        ));
    }

    /// Everything on something that is no timer.
    fn of_no_timer(&mut self) {
        let slot = self.at;
        let kinds = [
            FdKind::Closed,
            FdKind::Number(-1),
            FdKind::Path,
            FdKind::NotATimer(Other::Eventfd),
            FdKind::NotATimer(Other::Socket),
        ];
        let (kind, api) = (self.draw.pick(&kinds), self.api());
        self.step(Step::Open { slot, kind });
        self.act(Act::Gettime { slot, api });
        self.act(Act::Gettime { slot, api: Api::Time32 });
        // Nothing is looked at afterwards.
        self.sure = Sure::Once;
        self.set(0, 5 * NSEC_PER_SEC, 0);
        self.act(Act::Close { slot });
    }

    /// What `timerfd_create` refuses, and an alarm that may not be set.
    fn refused(&mut self) {
        let slot = self.slots.spare;
        self.timers += 1;
        let clock = self.draw.pick(&[Clock::RealtimeAlarm, Clock::BoottimeAlarm]);
        let create =
            |clockid: i32, flags: i32| Step::Lifecycle(Act::Create { slot, clockid, flags });
        let get = |api| Step::Lifecycle(Act::Gettime { slot, api });
        let arm = Step::Call(Call::plain(slot, setting32(1000 * NSEC_PER_SEC, 0)));
        // At once, so that no other life misses the capability.
        let steps = vec![
            create(self.draw.pick(&[2, 3, 4, 11, -1, 0x7fff_ffff]), 0),
            get(Api::Time32),
            create(1, self.draw.pick(&[1, 4, -1, 1 << 30])),
            create(clock.id(), 0),
            Step::WakeAlarm { allowed: false },
            arm.clone(),
            get(Api::Time64),
            create(clock.id(), 0),
            arm,
            Step::WakeAlarm { allowed: true },
            Step::Lifecycle(Act::Close { slot }),
        ];
        self.moves.push(Move::Steps(steps));
    }

    /// A timer that lives in a child only.
    fn of_a_child(&mut self) {
        let (slot, clock) = (
            self.slots.spare,
            self.draw.pick(&[Clock::Monotonic, Clock::Realtime, Clock::Boottime]),
        );
        self.timers += 1;
        let mut inner = vec![
            Step::Lifecycle(Act::Create { slot, clockid: clock.id(), flags: 0 }),
            Step::Call(Call::plain(slot, setting32(self.short(), 0))),
            Step::Lifecycle(Act::Read { slot, blocking: true }),
        ];
        if self.draw.chance(50) {
            inner.push(Step::Lifecycle(Act::Close { slot }));
        }
        let mut steps = vec![Step::Fork { steps: inner.len() as u16, ending: Ending::Exit }];
        steps.extend(inner);
        self.moves.push(Move::Steps(steps));
    }
}

fn time32(nanos: i64) -> OldTimespec32 {
    OldTimespec32 { tv_sec: (nanos / NSEC_PER_SEC) as i32, tv_nsec: (nanos % NSEC_PER_SEC) as i32 }
}

fn setting32(value: i64, interval: i64) -> OldItimerspec32 {
    OldItimerspec32 { it_interval: time32(interval), it_value: time32(value) }
}
