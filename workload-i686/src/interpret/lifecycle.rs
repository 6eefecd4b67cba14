//! The steps of a plan of lifecycles: as those of other plans, and an operation of each is kept.

use nix::errno::Errno;
use settime32_abi::journal::{Operation, what};
use settime32_abi::plan::{Act, FdKind, Means, PosixAct, SLOTS, Step};

use super::{Failure, PIN, PREPARE, Slot, Workbench, action_of};
use crate::call::{self, Turn};
use crate::kernel::{Kernel, Source};
use crate::lifecycle::{Bench, operation};

impl Workbench<'_> {
    /// Does one step, with all that belong to it, and gives the next.
    pub(super) fn live<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: usize,
    ) -> Result<usize, Failure> {
        let fail = |action| move |errno| Failure::Step { step, action, errno };
        let index = step as u32;
        match self.steps[step] {
            Step::Call(ref call) => {
                let ufd = self.number(call.slot);
                let before_ns = kernel.monotonic_ns().map_err(fail("read the clock"))?;
                let turn = Turn { step: index, before_ns };
                let keep = |operation| self.journal.push(operation);
                call::make(kernel, &mut self.scratch, turn, ufd, call, keep)
                    .map_err(fail(PREPARE))?;
            }
            Step::Open { slot, kind } => {
                self.open_in_life(kernel, index, slot, kind).map_err(fail(action_of(kind)))?
            }
            Step::SetClock => {
                let (set_ns, operation) = timed(kernel, index, what::SET_CLOCK, |kernel| {
                    kernel.set_clock().map(|set_ns| (set_ns, 0))
                })
                .map_err(fail("set CLOCK_REALTIME"))?;
                self.journal
                    .push(Operation { args: [set_ns.cast_unsigned(), 0, 0, 0], ..operation });
            }
            Step::WakeAlarm { allowed } => {
                kernel.allow_wake_alarm(allowed).map_err(fail("change CAP_WAKE_ALARM"))?
            }
            Step::Pin { cpu } => kernel.pin(cpu).map_err(fail(PIN))?,
            Step::Wait { slot, timeout_ms } => {
                let act = Act::Wait { slots: 1 << slot, by: Means::Poll, timeout_ms };
                self.act(kernel, index, act).map_err(fail("wait for a timer"))?;
            }
            Step::Lifecycle(act) => {
                self.act(kernel, index, act).map_err(fail(action_of_act(act)))?
            }
            Step::Fork { ending, .. } => {
                let next = step + 1 + self.steps[step].inner();
                let posix = self.lifecycle.as_mut().map(|bench| *bench.posix());
                let before_ns = kernel.monotonic_ns().map_err(fail("read the clock"))?;
                let table = self.table;
                let done = kernel.in_child(ending, |kernel| {
                    // `copy_signal`: a child has none of its parent's.
                    self.lifecycle.iter_mut().for_each(|bench| *bench.posix() = Default::default());
                    self.do_steps(kernel, step + 1..next)
                });
                // As in a plan of other calls; and the POSIX timers are the parent's again.
                self.table = table;
                if let Some((bench, posix)) = self.lifecycle.as_mut().zip(posix) {
                    *bench.posix() = posix;
                }
                let child = done.map_err(|cause| Failure::Child { step, cause })?;
                let after_ns = kernel.monotonic_ns().map_err(fail("read the clock"))?;
                let operation = operation(kernel, index, what::CHILD, (before_ns, after_ns));
                self.journal.push(Operation { extra: child, ..operation });
                return Ok(next);
            }
            Step::Silent(_) | Step::Threads { .. } => {
                unreachable!("Plan::validate has none in a plan of lifecycles")
            }
        }
        Ok(step + 1)
    }

    fn bench(&mut self) -> Result<&mut Bench, Errno> {
        self.lifecycle.as_mut().ok_or(Errno::ENODEV)
    }

    fn act<K: Kernel>(&mut self, kernel: &mut K, step: u32, act: Act) -> Result<(), Errno> {
        let fd_of = |bench: &Self, slot: u8| bench.number(slot);
        let made = match act {
            Act::Create { slot, clockid, flags } => {
                self.close_slot(kernel, step, slot)?;
                let made = self.bench()?.create(kernel, step, clockid, flags)?;
                self.table[usize::from(slot)] =
                    if made.ret >= 0 { Slot::Open(made.ret) } else { Slot::Number(-1) };
                made
            }
            Act::Close { slot } => {
                self.close_slot(kernel, step, slot)?;
                self.table[usize::from(slot)] = Slot::Empty;
                return Ok(());
            }
            Act::Settime64 { slot, flags, new, old, api } => {
                let fd = fd_of(self, slot);
                self.bench()?.settime64(kernel, step, (fd, flags), (&new, old), api)?
            }
            Act::Gettime { slot, api } => {
                let fd = fd_of(self, slot);
                self.bench()?.gettime(kernel, step, fd, api)?
            }
            Act::Read { slot, blocking } => {
                let fd = fd_of(self, slot);
                self.bench()?.read(kernel, step, fd, blocking)?
            }
            Act::Wait { slots, by, timeout_ms } => {
                let open = |slot: u8| match self.table[usize::from(slot)] {
                    Slot::Open(fd) => Some((slot, fd)),
                    Slot::Number(_) | Slot::Empty => None,
                };
                let slots: Vec<(u8, i32)> = (0..SLOTS as u8)
                    .filter(|slot| slots >> slot & 1 == 1)
                    .filter_map(open)
                    .collect();
                self.bench()?.wait(kernel, step, &slots, by, timeout_ms)?
            }
            Act::Posix { timer, act } => match act {
                PosixAct::Create { clock } => {
                    if self.bench()?.posix()[usize::from(timer)].is_some() {
                        let deleted = self.bench()?.posix_delete(kernel, step, timer)?;
                        self.journal.push(deleted);
                    }
                    self.bench()?.posix_create(kernel, step, timer, clock)?
                }
                PosixAct::Set { flags, new, old } => {
                    self.bench()?.posix_set(kernel, step, (timer, flags), &new, old)?
                }
                PosixAct::Get => self.bench()?.posix_get(kernel, step, timer)?,
                PosixAct::Delete => self.bench()?.posix_delete(kernel, step, timer)?,
            },
        };
        self.journal.push(made);
        Ok(())
    }

    fn open_in_life<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        slot: u8,
        kind: FdKind,
    ) -> Result<(), Errno> {
        if let FdKind::Timer(clock) = kind {
            return self.act(kernel, step, Act::Create { slot, clockid: clock.id(), flags: 0 });
        }
        let source = self.source(kind);
        self.close_slot(kernel, step, slot)?;
        self.table[usize::from(slot)] = match (source, kind) {
            (Some(source @ (Source::Dup(of) | Source::Passed(of))), _) => {
                let (fd, operation) = timed(kernel, step, what::COPY, |kernel| {
                    kernel.open(source).map(|fd| (fd, fd))
                })?;
                self.journal.push(Operation { args: [of as u64, 0, 0, 0], ..operation });
                Slot::Open(fd)
            }
            (Some(source), _) => Slot::Open(kernel.open(source)?),
            (None, FdKind::Number(number)) => Slot::Number(number),
            (None, _) => Slot::Number(kernel.closed_number(slot)?),
        };
        Ok(())
    }

    /// Closes what is in the slot, if anything is.
    fn close_slot<K: Kernel>(&mut self, kernel: &mut K, step: u32, slot: u8) -> Result<(), Errno> {
        let Slot::Open(fd) = self.table[usize::from(slot)] else { return Ok(()) };
        let ((), operation) = timed(kernel, step, what::CLOSE, |kernel| {
            kernel.close(fd);
            Ok(((), 0))
        })?;
        self.journal.push(Operation { args: [fd as u64, 0, 0, 0], ..operation });
        Ok(())
    }
}

/// Does something that gives a value and the result to be noted, and keeps the time.
fn timed<K: Kernel, T>(
    kernel: &mut K,
    step: u32,
    what: u32,
    work: impl FnOnce(&mut K) -> Result<(T, i32), Errno>,
) -> Result<(T, Operation), Errno> {
    let before_ns = kernel.monotonic_ns()?;
    let (value, ret) = work(kernel)?;
    let after_ns = kernel.monotonic_ns()?;
    Ok((value, Operation { ret, ..operation(kernel, step, what, (before_ns, after_ns)) }))
}

fn action_of_act(act: Act) -> &'static str {
    match act {
        Act::Create { .. } => "create a timerfd",
        Act::Close { .. } => "close a descriptor",
        Act::Settime64 { .. } => "set a timer by a call with 64-bit times",
        Act::Gettime { .. } => "read a timer back",
        Act::Read { .. } => "read a timer",
        Act::Wait { .. } => "wait for timers",
        Act::Posix { .. } => "use a POSIX timer",
    }
}
