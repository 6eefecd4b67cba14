//! What happens in a timer's life beside the call under test: makes the calls and keeps an operation of
//! each.

use std::ptr::NonNull;

use bytemuck::Zeroable;
use nix::errno::Errno;
use settime32_abi::journal::{MEMORY_LEN, Operation, what};
use settime32_abi::number::i386::{TIMER_CREATE, TIMER_DELETE, TIMER_GETTIME32, TIMER_SETTIME32};
use settime32_abi::plan::{Api, Clock, Means, POSIX_TIMERS, Plan, Process};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32};

use crate::kernel::{Door, Kernel};
use crate::memory::Shared;

type Bytes = [u8; MEMORY_LEN];

/// Places on one page, for what the kernel reads and for what it writes.
const NEW_OFFSET: usize = 0x200;
const OUT_OFFSET: usize = 0xa00;
const LEN: usize = 0x1000;

/// `SIGEV_NONE` of `include/uapi/asm-generic/siginfo.h`.
const SIGEV_NONE: u32 = 1;

/// The most operations that a plan's journal can have: of a plan of lifecycles, a step closes a
/// descriptor and does one thing more at most.
pub fn most_operations(plan: &Plan) -> usize {
    if plan.is_of_lifecycles() { 2 * plan.steps.len() } else { plan.calls() }
}

/// What a life takes: memory for its calls, and the ids of POSIX timers.
#[derive(Debug)]
pub(crate) struct Bench {
    process: Process,
    memory: Shared,
    posix: [Option<i32>; POSIX_TIMERS],
}

/// A call that is to be made.
struct Wanted {
    what: u32,
    door: Door,
    number: u32,
    /// The argument that is the address of `new`, and that is the one for the kernel's answer.
    new_at: Option<usize>,
    out_at: Option<usize>,
    new: Bytes,
    args: [u64; 4],
}

impl Wanted {
    fn new(what: u32, door: Door, number: u32, args: [u64; 4]) -> Self {
        Self { what, door, number, new_at: None, out_at: None, new: [0; MEMORY_LEN], args }
    }

    fn reading(mut self, at: usize, new: &[u8]) -> Self {
        self.new[..new.len()].copy_from_slice(new);
        self.new_at = Some(at);
        self
    }

    fn writing(mut self, at: usize) -> Self {
        self.out_at = Some(at);
        self
    }
}

impl Bench {
    pub(crate) fn new(process: Process) -> Result<Self, Errno> {
        Ok(Self { process, memory: Shared::map(LEN)?, posix: [None; POSIX_TIMERS] })
    }

    /// The ids of the POSIX timers.
    pub(crate) fn posix(&mut self) -> &mut [Option<i32>; POSIX_TIMERS] {
        &mut self.posix
    }

    /// `timerfd_create`.
    pub(crate) fn create<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        clockid: i32,
        flags: i32,
    ) -> Result<Operation, Errno> {
        let args = [word(clockid), word(flags), 0, 0];
        self.make(
            kernel,
            step,
            Wanted::new(what::CREATE, Door::Own, self.process.timerfd_create(), args),
        )
    }

    /// `timerfd_settime` with 64-bit times.
    pub(crate) fn settime64<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        (fd, flags): (i32, i32),
        (new, old): (&Itimerspec64, bool),
        api: Api,
    ) -> Result<Operation, Errno> {
        let wanted =
            Wanted::new(what::SETTIME64, door(api), api.settime(), [word(fd), word(flags), 0, 0]);
        let wanted = wanted.reading(2, bytemuck::bytes_of(new));
        self.make(kernel, step, if old { wanted.writing(3) } else { wanted })
    }

    /// `timerfd_gettime`.
    pub(crate) fn gettime<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        fd: i32,
        api: Api,
    ) -> Result<Operation, Errno> {
        self.make(
            kernel,
            step,
            Wanted::new(what::GETTIME, door(api), api.gettime(), [word(fd), 0, 0, 0]).writing(1),
        )
    }

    /// `read`.
    pub(crate) fn read<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        fd: i32,
        blocking: bool,
    ) -> Result<Operation, Errno> {
        match kernel.set_blocking(fd, blocking) {
            // The read says so as well.
            Err(Errno::EBADF) => {}
            set => set?,
        }
        let number = match self.process {
            Process::I386 => 3,
            Process::Amd64 => 0,
        };
        self.make(
            kernel,
            step,
            Wanted::new(what::READ, Door::Own, number, [word(fd), 0, 8, 0]).writing(1),
        )
    }

    /// A wait for some of these slots, whose descriptors are given.
    pub(crate) fn wait<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        slots: &[(u8, i32)],
        by: Means,
        timeout_ms: u16,
    ) -> Result<Operation, Errno> {
        let fds: Vec<i32> = slots.iter().map(|(_, fd)| *fd).collect();
        let before_ns = kernel.monotonic_ns()?;
        let readable = kernel.wait_any(by, &fds, timeout_ms)?;
        let after_ns = kernel.monotonic_ns()?;
        let extra = slots
            .iter()
            .enumerate()
            .filter(|(at, _)| readable >> at & 1 == 1)
            .fold(0, |bits, (_, (slot, _))| bits | 1 << slot);
        let ret = readable.count_ones() as i32;
        Ok(Operation { ret, extra, ..operation(kernel, step, what::WAIT, (before_ns, after_ns)) })
    }

    /// `timer_create`.
    pub(crate) fn posix_create<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        timer: u8,
        clock: Clock,
    ) -> Result<Operation, Errno> {
        // `struct compat_sigevent`: value, signal, how to notify, and what is of no use here. Its
        // head is as large as the memory that is kept; the kernel copies the rest, which lies
        // behind it and is zero.
        let mut event = [0_u32; MEMORY_LEN / 4];
        event[2] = SIGEV_NONE;
        let wanted =
            Wanted::new(what::POSIX_CREATE, Door::Int80, TIMER_CREATE, [word(clock.id()), 0, 0, 0]);
        let made =
            self.make(kernel, step, wanted.reading(1, bytemuck::bytes_of(&event)).writing(2))?;
        self.posix[usize::from(timer)] =
            (made.ret == 0).then(|| bytemuck::pod_read_unaligned(&made.out_after[..4]));
        Ok(made)
    }

    /// `timer_settime32`.
    pub(crate) fn posix_set<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        (timer, flags): (u8, i32),
        new: &OldItimerspec32,
        old: bool,
    ) -> Result<Operation, Errno> {
        let wanted = Wanted::new(
            what::POSIX_SET,
            Door::Int80,
            TIMER_SETTIME32,
            [self.posix_id(timer)?, word(flags), 0, 0],
        );
        let wanted = wanted.reading(2, bytemuck::bytes_of(new));
        self.make(kernel, step, if old { wanted.writing(3) } else { wanted })
    }

    /// `timer_gettime32`.
    pub(crate) fn posix_get<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        timer: u8,
    ) -> Result<Operation, Errno> {
        let wanted = Wanted::new(
            what::POSIX_GET,
            Door::Int80,
            TIMER_GETTIME32,
            [self.posix_id(timer)?, 0, 0, 0],
        );
        self.make(kernel, step, wanted.writing(1))
    }

    /// `timer_delete`.
    pub(crate) fn posix_delete<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        timer: u8,
    ) -> Result<Operation, Errno> {
        let wanted = Wanted::new(
            what::POSIX_DELETE,
            Door::Int80,
            TIMER_DELETE,
            [self.posix_id(timer)?, 0, 0, 0],
        );
        self.posix[usize::from(timer)] = None;
        self.make(kernel, step, wanted)
    }

    fn posix_id(&self, timer: u8) -> Result<u64, Errno> {
        self.posix[usize::from(timer)].map(word).ok_or(Errno::ENODEV)
    }

    fn make<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: u32,
        wanted: Wanted,
    ) -> Result<Operation, Errno> {
        let Wanted { what, door, number, new_at, out_at, new, mut args } = wanted;
        let (new_place, out_place): (NonNull<Bytes>, NonNull<Bytes>) =
            (self.memory.at(NEW_OFFSET), self.memory.at(OUT_OFFSET));
        for (at, place) in [(new_at, new_place), (out_at, out_place)] {
            if let Some(at) = at {
                args[at] = place.addr().get() as u64;
            }
        }
        let out_before = pattern(step);
        // SAFETY: both places are this memory's. Volatile, because the kernel reads and writes
        // there unseen.
        unsafe {
            new_place.write_volatile(new);
            out_place.write_volatile(out_before);
        }
        let before_ns = kernel.monotonic_ns()?;
        // SAFETY: the kernel writes to the one place at most.
        let ret = unsafe { kernel.of_life(door, number, args.map(|argument| argument as usize)) };
        let after_ns = kernel.monotonic_ns()?;
        // SAFETY: as above.
        let out_after = unsafe { out_place.read_volatile() };
        Ok(Operation {
            nr: number,
            ret,
            args,
            new,
            out_before,
            out_after,
            ..operation(kernel, step, what, (before_ns, after_ns))
        })
    }
}

/// An operation of which nothing is known but who, when and what.
pub(crate) fn operation<K: Kernel>(
    kernel: &K,
    step: u32,
    what: u32,
    (before_ns, after_ns): (i64, i64),
) -> Operation {
    let who = kernel.identity();
    Operation {
        before_ns,
        after_ns,
        step,
        what,
        pid: who.pid,
        tid: who.tid,
        cpu: kernel.cpu(),
        ..Operation::zeroed()
    }
}

/// A register's low half.
fn word(value: i32) -> u64 {
    value.cast_unsigned().into()
}

fn door(api: Api) -> Door {
    match api {
        Api::Time32 | Api::Time64 => Door::Int80,
        Api::Native => Door::Own,
    }
}

/// What is at the address for an answer before the call: no answer that the kernel gives, and
/// another for each step.
fn pattern(step: u32) -> Bytes {
    bytemuck::cast([0, 1, 2, 3, 4, 5, 6, 7].map(|field| 0xa500_0000 | step << 3 | field))
}
