//! The calls and waits of a simulated life.

use settime32_abi::errno;
use settime32_abi::journal::{ALL_THERE, MEMORY_LEN, Operation, what};
use settime32_abi::lifecycle::{By, RelatedCall, Wakeup};
use settime32_abi::output::{Abi, CallEvent};
use settime32_abi::plan::{self, Act, Api, Call, Clock, Means, Pointer, PosixAct, SLOTS};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32, Timespec64};

use super::kernel::{EAGAIN, EBADF, EINVAL, Kernel};
use super::{Behind, Event, Machine, Made, blank, zeroed};
use crate::simulate::{COMM, CPUS, event_with};

impl Machine<'_> {
    /// What is behind a slot: its number, and the timer or an errno.
    fn timer(&self, slot: u8) -> (i32, Result<usize, i32>) {
        let (fd, behind) = self.process.slots[usize::from(slot)];
        let timer = match behind {
            Behind::Nothing | Behind::NoDescriptor => Err(EBADF),
            Behind::Other => Err(EINVAL),
            Behind::Timer(timer) => Ok(timer),
        };
        (fd, timer)
    }

    fn abi(&self) -> Abi {
        if self.plan.process == plan::Process::I386 { Abi::I386 } else { Abi::X86_64 }
    }

    /// Keeps a call's operation and tells of it; `event` has what is its own.
    fn tell(
        &mut self,
        step: usize,
        what: u32,
        before_ns: i64,
        made: Made,
        timer: Option<usize>,
        event: RelatedCall,
    ) {
        let mut out_after = [0xa5; MEMORY_LEN];
        out_after[..made.out.len()].copy_from_slice(&made.out);
        let Made { nr, ret, args, new, entry_ns, exit_ns, .. } = made;
        self.keep(
            step,
            what,
            before_ns,
            Operation { nr, ret, args, new, out_before: [0xa5; MEMORY_LEN], out_after, ..zeroed() },
        );
        let (pid, context) = (self.process.pid, timer.map(|timer| &self.kernel.timers[timer]));
        let event = RelatedCall {
            entry_ns,
            exit_ns: Some(exit_ns),
            pid,
            tid: pid,
            abi: self.abi(),
            nr,
            timer: context.map(|context| context.id),
            clockid: event.clockid.or(context.map(|context| context.clockid)),
            ret: Some(ret.into()),
            errno: (ret < 0).then(|| errno::name(-ret).unwrap().into()),
            ..event
        };
        self.kernel.events.push(Event::Call(event));
    }

    pub(super) fn create(&mut self, step: usize, slot: u8, clockid: i32, flags: i32) {
        self.close(step, slot);
        let before_ns = self.kernel.now;
        self.spend(100, 900);
        let entry_ns = self.kernel.now as u64;
        let made = self.kernel.create(clockid, flags, self.process.wake_alarm);
        let fd = self.free_fd();
        self.spend(300, 2_000);
        let exit_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let (ret, opened) = match made {
            Ok(timer) => (fd, (fd, Behind::Timer(timer))),
            Err(errno) => (-errno, (-1, Behind::Nothing)),
        };
        self.process.slots[usize::from(slot)] = opened;
        let args = [clockid as u32, flags as u32, 0, 0].map(u64::from);
        let nr = self.plan.process.timerfd_create();
        let made_call =
            Made { nr, ret, args, new: [0; MEMORY_LEN], out: Vec::new(), entry_ns, exit_ns };
        let event =
            RelatedCall { clockid: Some(clockid), flags: Some(flags), ..blank("timerfd_create") };
        self.tell(step, what::CREATE, before_ns, made_call, made.ok(), event);
    }

    pub(super) fn call(&mut self, step: usize, call: &Call) {
        let (before_ns, (ufd, timer)) = (self.kernel.now, self.timer(call.slot));
        self.spend(100, 900);
        let entry_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let there = call.utmr != Pointer::Null;
        let result = |machine: &mut Self| {
            machine.kernel.settime(timer, call.flags, &call.new.into(), machine.process.wake_alarm)
        };
        let (ret, old) = if there { result(self) } else { (-errno::EFAULT, None) };
        self.spend(300, 1_500);
        let exit_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let pattern = [0xa5; 16];
        let otmr = if call.otmr == Pointer::Null { 0 } else { 0x5000_0a00_u32 };
        let old = old.filter(|_| ret == 0 && otmr != 0);
        let cut = |old: Itimerspec64| OldItimerspec32 {
            it_interval: old.it_interval.cut(),
            it_value: old.it_value.cut(),
        };
        let given = |there: bool, bytes: [u8; 16]| {
            bytemuck::cast([if there { bytes } else { [0; 16] }, [0; 16]])
        };
        let record = Operation {
            ret,
            args: [
                ufd.cast_unsigned().into(),
                call.flags.cast_unsigned().into(),
                if there { 0x5000_0200 } else { 0 },
                otmr.into(),
            ],
            new: given(there, bytemuck::cast(call.new)),
            out_before: given(otmr != 0, pattern),
            out_after: given(otmr != 0, old.map_or(pattern, |old| bytemuck::cast(cut(old)))),
            new_there: if there { ALL_THERE } else { 0 },
            out_there: if otmr == 0 { 0 } else { ALL_THERE },
            ..zeroed()
        };
        let record = self.keep(step, what::SETTIME32, before_ns, record);
        // What fails before it comes to a timer names none.
        let reached = timer.ok().filter(|_| there && call.flags & !3 == 0 && call.new.is_valid());
        let context = reached.map(|timer| &self.kernel.timers[timer]);
        let event = CallEvent {
            abi: self.abi(),
            old,
            old_truncated: old.is_some_and(|old| Itimerspec64::from(cut(old)) != old),
            timer: context.map(|context| context.id),
            clockid: context.map(|context| context.clockid),
            ..event_with(&record, [true; 2], None, entry_ns, exit_ns, self.cpu(0))
        };
        self.kernel.events.push(Event::Main(event));
    }

    pub(super) fn act(&mut self, step: usize, act: Act) {
        match act {
            Act::Create { slot, clockid, flags } => self.create(step, slot, clockid, flags),
            Act::Close { slot } => self.close(step, slot),
            Act::Settime64 { slot, flags, new, old, api } => {
                self.settime64(step, slot, (flags, new), old, api)
            }
            Act::Gettime { slot, api } => self.gettime(step, slot, api),
            Act::Read { slot, blocking } => self.read(step, slot, blocking),
            Act::Wait { slots, by, timeout_ms } => self.wait(step, slots, by, timeout_ms),
            Act::Posix { timer, act } => self.posix(step, timer, act),
        }
    }

    fn settime64(
        &mut self,
        step: usize,
        slot: u8,
        (flags, new): (i32, Itimerspec64),
        old: bool,
        api: Api,
    ) {
        let (before_ns, (fd, timer)) = (self.kernel.now, self.timer(slot));
        self.spend(100, 900);
        let entry_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let padded = |time: Timespec64| Timespec64 { tv_nsec: time.tv_nsec & 0xffff_ffff, ..time };
        let compat = api == Api::Time64;
        let used = if compat {
            Itimerspec64 { it_interval: padded(new.it_interval), it_value: padded(new.it_value) }
        } else {
            new
        };
        let (ret, was) = self.kernel.settime(timer, flags, &used, self.process.wake_alarm);
        self.spend(300, 1_500);
        let exit_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let (utmr, otmr) = (0x5100_0200_u64, if old { 0x5100_0a00_u64 } else { 0 });
        let given = was.filter(|_| ret == 0 && old);
        let out = given.map_or(Vec::new(), |was| bytemuck::bytes_of(&was).to_vec());
        let args = [u64::from(fd as u32), u64::from(flags as u32), utmr, otmr];
        let made =
            Made { nr: api.settime(), ret, args, new: bytemuck::cast(new), out, entry_ns, exit_ns };
        let event = RelatedCall {
            ufd: Some(fd),
            flags: Some(flags),
            utmr: Some(utmr),
            utmr_used: Some(used),
            otmr: (otmr != 0).then_some(otmr),
            old: was,
            ..blank("timerfd_settime")
        };
        self.tell(
            step,
            what::SETTIME64,
            before_ns,
            made,
            timer.ok().filter(|_| ret != -EINVAL),
            event,
        );
    }

    fn gettime(&mut self, step: usize, slot: u8, api: Api) {
        let (before_ns, (fd, timer)) = (self.kernel.now, self.timer(slot));
        self.spend(100, 900);
        let entry_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let got = timer.map(|timer| self.kernel.gettime(timer));
        self.spend(300, 1_500);
        let exit_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let name = if api == Api::Time32 { "timerfd_gettime32" } else { "timerfd_gettime" };
        let out = match (got, api) {
            (Err(_), _) => Vec::new(),
            (Ok(got), Api::Time32) => bytemuck::bytes_of(&OldItimerspec32 {
                it_interval: got.it_interval.cut(),
                it_value: got.it_value.cut(),
            })
            .to_vec(),
            (Ok(got), _) => bytemuck::bytes_of(&got).to_vec(),
        };
        let otmr = 0x5100_0a00_u64;
        let args = [u64::from(fd as u32), otmr, 0, 0];
        let ret = got.err().map_or(0, |errno| -errno);
        let made =
            Made { nr: api.gettime(), ret, args, new: [0; MEMORY_LEN], out, entry_ns, exit_ns };
        let event = RelatedCall { ufd: Some(fd), otmr: Some(otmr), old: got.ok(), ..blank(name) };
        self.tell(step, what::GETTIME, before_ns, made, timer.ok(), event);
    }

    fn wakeup(&mut self, timer: usize, by: By) -> Wakeup {
        let (pid, timer, ns) =
            (self.process.pid, self.kernel.timers[timer].id, self.kernel.now as u64);
        let (comm, cpu) = (COMM.into(), self.cpu(CPUS - 1));
        Wakeup {
            event: "wakeup".into(),
            ns,
            pid,
            tid: pid,
            comm,
            cpu,
            timer,
            by,
            entry_ns: None,
            ret: None,
            errno: None,
            ticks: None,
            host_pid: None,
            host_tid: None,
        }
    }

    fn read(&mut self, step: usize, slot: u8, blocking: bool) {
        let (before_ns, (fd, timer)) = (self.kernel.now, self.timer(slot));
        self.spend(100, 900);
        let entry_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let timer = timer.expect("plans read timers");
        while blocking && !self.kernel.is_readable(timer) {
            let (at, _) = self.kernel.next_expiry().expect("what is read fires");
            let until = (at - self.kernel.now).max(0);
            self.kernel.pass(until);
        }
        let (ret, ticks) = self.kernel.read(timer, blocking);
        self.spend(300, 900);
        if ret == 8 || ret == -errno::ECANCELED {
            let errno = (ret < 0).then(|| errno::name(-ret).unwrap().into());
            let ticks = (ret == 8).then_some(Some(ticks));
            let wakeup = Wakeup {
                entry_ns: Some(Some(entry_ns)),
                ret: Some(ret.into()),
                errno,
                ticks,
                ..self.wakeup(timer, By::Read)
            };
            self.kernel.events.push(Event::Wakeup(wakeup));
        } else {
            assert!(ret == -EAGAIN || ret == 0);
        }
        self.spend(100, 900);
        let mut out_after = [0xa5; MEMORY_LEN];
        if ret == 8 {
            out_after[..8].copy_from_slice(&ticks.to_le_bytes());
        }
        let args = [u64::from(fd as u32), 0x5100_0a00, 8, 0];
        let nr = if self.plan.process == plan::Process::I386 { 3 } else { 0 };
        self.keep(
            step,
            what::READ,
            before_ns,
            Operation { nr, ret, args, out_before: [0xa5; MEMORY_LEN], out_after, ..zeroed() },
        );
    }

    pub(super) fn wait(&mut self, step: usize, slots: u32, by: Means, timeout_ms: u16) {
        let before_ns = self.kernel.now;
        self.spend(500, 2_000);
        let until = self.kernel.now + i64::from(timeout_ms) * 1_000_000;
        let waited: Vec<(usize, usize)> = (0..SLOTS)
            .filter(|slot| slots >> slot & 1 == 1)
            .filter_map(|slot| match self.process.slots[slot].1 {
                Behind::Timer(timer) => Some((slot, timer)),
                _ => None,
            })
            .collect();
        let any = |kernel: &Kernel| waited.iter().any(|(_, timer)| kernel.is_readable(*timer));
        while !any(&self.kernel) && self.kernel.now < until {
            let at =
                self.kernel.next_expiry().map_or(until, |(at, _)| at.clamp(self.kernel.now, until));
            let ns = at - self.kernel.now;
            self.kernel.pass(ns);
            if ns == 0 && !any(&self.kernel) {
                self.kernel.pass(1);
            }
        }
        let means = match by {
            Means::Epoll => By::EpollWait,
            Means::Poll => By::Poll,
            Means::Select => By::Select,
        };
        let mut extra = 0_u32;
        for (slot, timer) in waited {
            if self.kernel.is_readable(timer) {
                extra |= 1 << slot;
                let wakeup = self.wakeup(timer, means);
                self.kernel.events.push(Event::Wakeup(wakeup));
            }
        }
        self.spend(300, 2_000);
        self.keep(
            step,
            what::WAIT,
            before_ns,
            Operation { ret: extra.count_ones() as i32, extra, ..zeroed() },
        );
    }

    fn posix(&mut self, step: usize, timer: u8, act: PosixAct) {
        let place = usize::from(timer);
        if let PosixAct::Create { clock } = act {
            if self.process.posix[place].is_some() {
                self.posix(step, timer, PosixAct::Delete);
            }
            return self.posix_create(step, place, clock);
        }
        let (id, mut posix) = self.process.posix[place].take().unwrap();
        let before_ns = self.kernel.now;
        self.spend(100, 900);
        let entry_ns = self.kernel.now as u64;
        let (otmr, utmr) = (0x5100_0a00_u64, 0x5100_0200_u64);
        let cut = |old: Itimerspec64| {
            bytemuck::bytes_of(&OldItimerspec32 {
                it_interval: old.it_interval.cut(),
                it_value: old.it_value.cut(),
            })
            .to_vec()
        };
        let (what, nr, args, new, ret, old) = match act {
            PosixAct::Set { flags, new, old } => {
                let (ret, was) = self.kernel.posix_set(&mut posix, flags, &new.into(), old);
                let mut memory = [0; MEMORY_LEN];
                memory[..16].copy_from_slice(bytemuck::bytes_of(&new));
                let args = [
                    u64::from(id as u32),
                    u64::from(flags as u32),
                    utmr,
                    if old { otmr } else { 0 },
                ];
                (what::POSIX_SET, 260, args, memory, ret, was)
            }
            PosixAct::Get => {
                let got = self.kernel.posix_get(&mut posix);
                (
                    what::POSIX_GET,
                    261,
                    [u64::from(id as u32), otmr, 0, 0],
                    [0; MEMORY_LEN],
                    0,
                    Some(got),
                )
            }
            _ => {
                self.spend(500, 900);
                let operation =
                    Operation { nr: 263, args: [u64::from(id as u32), 0, 0, 0], ..zeroed() };
                self.keep(step, what::POSIX_DELETE, before_ns, operation);
                return;
            }
        };
        self.process.posix[place] = Some((id, posix));
        self.spend(300, 1_500);
        let exit_ns = self.kernel.now as u64;
        self.spend(100, 900);
        let out = old.map_or(Vec::new(), cut);
        let event = match act {
            PosixAct::Set { flags, new, .. } => RelatedCall {
                flags: Some(flags),
                utmr: Some(utmr),
                utmr_used: Some(new.into()),
                otmr: (args[3] != 0).then_some(otmr),
                ..blank("timer_settime32")
            },
            _ => RelatedCall { otmr: Some(otmr), ..blank("timer_gettime32") },
        };
        let event = RelatedCall { timer_id: Some(id), old, ..event };
        self.tell(
            step,
            what,
            before_ns,
            Made { nr, ret, args, new, out, entry_ns, exit_ns },
            None,
            event,
        );
    }

    fn posix_create(&mut self, step: usize, place: usize, clock: Clock) {
        let before_ns = self.kernel.now;
        self.spend(900, 4_000);
        let id = self.next_posix;
        self.next_posix += 1;
        self.process.posix[place] = Some((id, self.kernel.posix(clock.id())));
        let mut out_after = [0xa5; MEMORY_LEN];
        out_after[..4].copy_from_slice(&id.to_le_bytes());
        self.keep(
            step,
            what::POSIX_CREATE,
            before_ns,
            Operation { nr: 259, out_before: [0xa5; MEMORY_LEN], out_after, ..zeroed() },
        );
    }
}
