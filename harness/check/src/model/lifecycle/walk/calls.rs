//! The calls and waits of a plan, each with its operation.

use settime32_abi::errno;
use settime32_abi::journal::{Operation, what};
use settime32_abi::plan::{Act, Api, Call, PosixAct, Process, SLOTS};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32, Timespec64};

use super::{Behind, Goes, Stop, Walk};
use crate::model::lifecycle::posix::Posix;
use crate::model::lifecycle::timer::{Answer, is_valid};
use crate::model::lifecycle::{Arming, Need, wrong};
use crate::model::timer::Bounds;
use crate::model::{TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET};

impl Walk<'_> {
    /// The call under test.
    pub(super) fn call(&mut self, step: usize, call: &Call) -> Goes {
        let (at, operation) = self.take(step, what::SETTIME32)?;
        let null = |pointer| pointer == settime32_abi::plan::Pointer::Null;
        let pointers = (operation.utmr() == 0, operation.otmr() == 0);
        self.must(
            at,
            "utmr and otmr",
            pointers == (null(call.utmr), null(call.otmr)),
            "as in the plan",
            format!("{pointers:?}"),
        );
        let flags = operation.flags();
        self.must(at, "flags", flags == call.flags, call.flags, flags);
        let (fd, ufd) = (self.table.slots[usize::from(call.slot)].fd, operation.ufd());
        self.must(at, "ufd", fd.is_none_or(|fd| fd == ufd), format!("{fd:?}"), ufd);
        if null(call.utmr) {
            self.result(at, -errno::EFAULT);
            return Ok(());
        }
        let before: OldItimerspec32 = bytemuck::cast(operation.utmr_before());
        self.must(
            at,
            "utmr_before",
            before == call.new,
            format!("{:?}", call.new),
            format!("{before:?}"),
        );
        let written = operation.ret == 0 && operation.otmr() != 0;
        let old = written.then(|| Answer::Cut(bytemuck::cast(operation.otmr_after())));
        let untouched = written || operation.otmr_after() == operation.otmr_before();
        let behind = self.table.slots[usize::from(call.slot)].behind;
        self.settime(at, &operation, behind, (call.flags, call.new.into()), old);
        self.untouched(at, untouched);
        Ok(())
    }

    fn untouched(&mut self, at: usize, untouched: bool) {
        if !untouched {
            self.contradicted(
                at,
                vec![wrong("out_after", "untouched".to_owned(), "written".to_owned())],
            );
        }
    }

    /// `do_timerfd_settime`, of any call.
    fn settime(
        &mut self,
        at: usize,
        operation: &Operation,
        behind: Behind,
        (flags, new): (i32, Itimerspec64),
        old: Option<Answer>,
    ) {
        self.story.told[at].used = Some(new);
        if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0
            || !is_valid(new.it_interval)
            || !is_valid(new.it_value)
        {
            return self.result(at, -errno::EINVAL);
        }
        let timer = match Self::timer_behind(behind) {
            Ok(timer) => timer,
            Err(errno) => return self.result(at, -errno),
        };
        self.story.told[at].timer = Some(timer);
        if self.timers[timer].clock.is_alarm() && !self.table.wake_alarm {
            self.story.told[at].refused = true;
            return self.result(at, -errno::EPERM);
        }
        let now = self.now(operation);
        let mut wrongs = Vec::new();
        self.end_arming(timer, at);
        let set = self.timers[timer].settime((flags, &new), old, &now, &mut wrongs);
        self.story.told[at].old = set.old;
        if let Some(arming) = set.arming {
            self.timers[timer].arming = Some(self.story.armings.len());
            self.story.armings.push(Arming { timer, by: at, ..arming });
        }
        self.contradicted(at, wrongs);
        self.result(at, set.ret);
    }

    pub(super) fn act(&mut self, step: usize, act: Act) -> Goes {
        match act {
            Act::Create { slot, clockid, flags } => self.create(step, slot, clockid, flags),
            Act::Close { slot } => self.close(step, slot),
            Act::Settime64 { slot, flags, new, old, api } => {
                self.settime64(step, slot, (flags, new), old, api)
            }
            Act::Gettime { slot, api } => self.gettime(step, slot, api),
            Act::Read { slot, blocking } => self.read(step, slot, blocking),
            Act::Wait { slots, .. } => self.wait(step, slots),
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
    ) -> Goes {
        let (at, operation) = self.take(step, what::SETTIME64)?;
        self.number(at, api.settime());
        let behind = self.behind(at, slot);
        self.must(at, "flags", operation.args[1] as i32 == flags, flags, operation.args[1]);
        let passed: Itimerspec64 = bytemuck::cast(operation.new);
        self.must(at, "new", passed == new, format!("{new:?}"), format!("{passed:?}"));
        self.must(at, "otmr", (operation.args[3] != 0) == old, old, operation.args[3]);
        // `get_timespec64` leaves out what is padding in the structures of the i386 table.
        let padded = |time: Timespec64| Timespec64 { tv_nsec: time.tv_nsec & 0xffff_ffff, ..time };
        let compat = api == Api::Time64 || self.plan.process == Process::I386;
        let used = match compat {
            true => Itimerspec64 {
                it_interval: padded(new.it_interval),
                it_value: padded(new.it_value),
            },
            false => new,
        };
        let written = operation.ret == 0 && old;
        let answer = written.then(|| Answer::Whole(bytemuck::cast(operation.out_after)));
        self.settime(at, &operation, behind, (flags, used), answer);
        self.untouched(at, written || operation.out_after == operation.out_before);
        Ok(())
    }

    /// `do_timerfd_gettime`.
    fn gettime(&mut self, step: usize, slot: u8, api: Api) -> Goes {
        let (at, operation) = self.take(step, what::GETTIME)?;
        self.number(at, api.gettime());
        let behind = self.behind(at, slot);
        let timer = match Self::timer_behind(behind) {
            Ok(timer) => timer,
            Err(errno) => {
                self.untouched(at, operation.out_after == operation.out_before);
                self.result(at, -errno);
                return Ok(());
            }
        };
        self.story.told[at].timer = Some(timer);
        self.result(at, 0);
        let answer = match api {
            Api::Time32 => Answer::Cut(bytemuck::pod_read_unaligned(
                &operation.out_after[..size_of::<OldItimerspec32>()],
            )),
            Api::Time64 | Api::Native => Answer::Whole(bytemuck::cast(operation.out_after)),
        };
        let (now, mut wrongs) = (self.now(&operation), Vec::new());
        self.story.told[at].old = self.timers[timer].gettime(answer, &now, &mut wrongs);
        self.contradicted(at, wrongs);
        Ok(())
    }

    fn read(&mut self, step: usize, slot: u8, blocking: bool) -> Goes {
        let (at, operation) = self.take(step, what::READ)?;
        let timer = match self.behind(at, slot) {
            Behind::Timer(timer) => timer,
            // What a read of something else gives is nobody's concern.
            Behind::Other => return Ok(()),
            Behind::Nothing | Behind::Path => {
                self.result(at, -errno::EBADF);
                return Ok(());
            }
        };
        let (now, mut wrongs) = (self.now(&operation), Vec::new());
        let ticks: u64 = bytemuck::pod_read_unaligned(&operation.out_after[..size_of::<u64>()]);
        let forwards = self.timers[timer].read(blocking, operation.ret, ticks, &now, &mut wrongs);
        self.contradicted(at, wrongs);
        self.untouched(at, operation.ret == 8 || operation.out_after == operation.out_before);
        let told = &mut self.story.told[at];
        told.timer = Some(timer);
        told.ticks = (operation.ret == 8).then_some(ticks);
        if operation.ret == 8 || operation.ret == -errno::ECANCELED {
            told.woken.push(timer);
        }
        self.need(timer, at, forwards);
        Ok(())
    }

    fn need(&mut self, timer: usize, operation: usize, forwards: Option<Bounds>) {
        if let (Some(arming), Some(forwards)) = (self.timers[timer].arming, forwards) {
            self.story.needs.push(Need { arming, operation, forwards });
        }
    }

    fn wait(&mut self, step: usize, slots: u32) -> Goes {
        let (at, operation) = self.take(step, what::WAIT)?;
        self.must(
            at,
            "extra",
            operation.extra & !slots == 0,
            format!("slots of {slots:#x}"),
            format!("{:#x}", operation.extra),
        );
        let ready = operation.extra.count_ones() as i32;
        self.must(at, "ret", operation.ret == ready, ready, operation.ret);
        let now = self.now(&operation);
        for slot in (0..SLOTS).filter(|slot| slots >> slot & 1 == 1) {
            let Behind::Timer(timer) = self.table.slots[slot].behind else { continue };
            let said = operation.extra >> slot & 1 == 1;
            let mut wrongs = Vec::new();
            let forwards = self.timers[timer].waited(said, &now, &mut wrongs);
            self.contradicted(at, wrongs);
            if said {
                self.story.told[at].woken.push(timer);
                self.need(timer, at, forwards);
            }
        }
        Ok(())
    }

    fn posix(&mut self, step: usize, timer: u8, act: PosixAct) -> Goes {
        let place = usize::from(timer);
        if let PosixAct::Create { clock } = act {
            if self.table.posix[place].is_some() {
                self.posix(step, timer, PosixAct::Delete)?;
            }
            let (at, operation) = self.take(step, what::POSIX_CREATE)?;
            self.result(at, 0);
            let id = bytemuck::pod_read_unaligned(&operation.out_after[..4]);
            self.table.posix[place] = (operation.ret == 0).then(|| Posix::new(id, clock));
            return Ok(());
        }
        let kind = match act {
            PosixAct::Set { .. } => what::POSIX_SET,
            PosixAct::Get => what::POSIX_GET,
            _ => what::POSIX_DELETE,
        };
        let (at, operation) = self.take(step, kind)?;
        let now = self.now(&operation);
        let Some(mut posix) = self.table.posix[place].take() else { return Err(Stop) };
        self.must(at, "args[0]", operation.args[0] as i32 == posix.id, posix.id, operation.args[0]);
        self.story.told[at].posix = Some(posix.id);
        let answer: OldItimerspec32 =
            bytemuck::pod_read_unaligned(&operation.out_after[..size_of::<OldItimerspec32>()]);
        let mut wrongs = Vec::new();
        match act {
            PosixAct::Set { flags, new, old } => {
                let given = (
                    operation.args[1] as i32,
                    bytemuck::pod_read_unaligned::<OldItimerspec32>(&operation.new[..16]),
                );
                self.must(
                    at,
                    "args",
                    given == (flags, new),
                    format!("{:?}", (flags, new)),
                    format!("{given:?}"),
                );
                self.story.told[at].used = Some(new.into());
                if !new.is_valid() {
                    self.result(at, -errno::EINVAL);
                } else {
                    self.result(at, 0);
                    if old {
                        self.story.told[at].old = posix.get(answer, &now, &mut wrongs);
                    }
                    posix.set(flags, &new.into(), &now);
                }
            }
            PosixAct::Get => {
                self.result(at, 0);
                self.story.told[at].old = posix.get(answer, &now, &mut wrongs);
            }
            PosixAct::Create { .. } | PosixAct::Delete => self.result(at, 0),
        }
        self.contradicted(at, wrongs);
        if act != PosixAct::Delete {
            self.table.posix[place] = Some(posix);
        }
        Ok(())
    }
}
