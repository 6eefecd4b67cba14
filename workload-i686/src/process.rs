//! The kernel that this process runs on. How it is entered is the machine's part ([`machine`]).
//!
//! Calls that take times are made by number, never through the C library: its wrappers choose other
//! calls, and its `time_t` of i386 ends in 2038.

use std::ffi::{CStr, CString};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::exit;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::eventfd::EventFd;
use nix::sys::prctl::get_name;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socket, socketpair,
};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, dup, dup2_raw, execv, fork, getpid, gettid, pipe};
use settime32_abi::event::COMM_LEN;
use settime32_abi::journal::{CPU_UNKNOWN, Clocks};
use settime32_abi::plan::{Clock, Ending, Entry, Means, Other, Silent};
use settime32_abi::timespec::NSEC_PER_SEC;

#[cfg(target_arch = "x86_64")]
pub(crate) use crate::amd64 as machine;
#[cfg(target_arch = "x86")]
pub(crate) use crate::i386 as machine;
use crate::interpret::Failure;
use crate::kernel::{ChildError, Door, Identity, Kernel, Source};
use crate::{ptracer, waits};
use machine::{Doors, number};

/// `_LINUX_CAPABILITY_VERSION_3` of `include/uapi/linux/capability.h`: two words of 32
/// capabilities.
pub(crate) const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// `CAP_WAKE_ALARM`, as a bit of the second word.
const WAKE_ALARM: u32 = 1 << (35 - 32);

/// Numbers from here on are given to no descriptor: the table of a plan is far smaller.
const FIRST_CLOSED_NUMBER: RawFd = 900;

/// `struct __kernel_timespec`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct KernelTimespec {
    pub tv_sec: i64,
    pub tv_nsec: i64,
}

impl KernelTimespec {
    pub(crate) fn as_nanos(self) -> i64 {
        self.tv_sec * NSEC_PER_SEC + self.tv_nsec
    }
}

/// `struct __kernel_itimerspec`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct KernelItimerspec {
    pub it_interval: KernelTimespec,
    pub it_value: KernelTimespec,
}

/// One of the two `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Capabilities {
    pub effective: u32,
    pub permitted: u32,
    pub inheritable: u32,
}

/// The calling process.
#[derive(Debug)]
pub struct ThisProcess {
    identity: Identity,
    doors: Doors,
    /// The CPUs that it could use before it was pinned to one.
    allowed: CpuSet,
    /// As [`Kernel::cpu`].
    cpu: u16,
}

impl ThisProcess {
    /// The calling thread of the calling process.
    pub fn new() -> Self {
        let allowed = sched_getaffinity(THIS_THREAD).unwrap_or_default();
        Self { identity: ask_identity(), doors: Doors::find(), allowed, cpu: CPU_UNKNOWN }
    }
}

impl Default for ThisProcess {
    fn default() -> Self {
        Self::new()
    }
}

/// To the calls that are about a thread's CPUs.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The CPUs in a set.
pub(crate) fn cpus(set: &CpuSet) -> impl Iterator<Item = usize> + '_ {
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false))
}

/// Keeps a thread on one CPU.
pub(crate) fn keep_on(thread: Pid, cpu: usize) -> Result<(), Errno> {
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(thread, &only)
}

fn ask_identity() -> Identity {
    Identity { pid: getpid().as_raw().cast_unsigned(), tid: gettid().as_raw().cast_unsigned() }
}

impl Kernel for ThisProcess {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn comm(&self) -> Result<[u8; COMM_LEN], Errno> {
        let name: CString = get_name()?;
        let mut comm = [0; COMM_LEN];
        comm[..name.count_bytes()].copy_from_slice(name.to_bytes());
        Ok(comm)
    }

    fn clocks(&self) -> Result<Clocks, Errno> {
        let monotonic_before = read_clock(Clock::Monotonic)?;
        let realtime = read_clock(Clock::Realtime)?;
        let monotonic_after = read_clock(Clock::Monotonic)?;
        Ok(Clocks {
            monotonic_before_ns: monotonic_before.as_nanos(),
            realtime_ns: realtime.as_nanos(),
            monotonic_after_ns: monotonic_after.as_nanos(),
        })
    }

    fn open(&mut self, source: Source) -> Result<RawFd, Errno> {
        Ok(match source {
            Source::Timer(clock) => {
                let arguments = [clock.id() as usize, 0, 0, 0];
                // SAFETY: both arguments are plain numbers.
                return Errno::result(unsafe { checked(number::TIMERFD_CREATE, arguments) }?);
            }
            Source::Dup(fd) => dup(borrow(fd))?,
            Source::Passed(fd) => pass(borrow(fd))?,
            Source::Path => open("/", OFlag::O_PATH, Mode::empty())?,
            Source::NotATimer(Other::Eventfd) => EventFd::new()?.into(),
            Source::NotATimer(Other::Pipe) => pipe()?.0,
            Source::NotATimer(Other::Socket) => {
                socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?
            }
            Source::NotATimer(Other::Directory) => {
                open("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?
            }
        }
        .into_raw_fd())
    }

    fn closed_number(&mut self, slot: u8) -> Result<RawFd, Errno> {
        let number = FIRST_CLOSED_NUMBER + RawFd::from(slot);
        if is_open(number)? {
            return Err(Errno::EEXIST);
        }
        let other = open("/", OFlag::O_PATH, Mode::empty())?;
        // SAFETY: nothing is open under this number, so that nothing loses its descriptor.
        drop(unsafe { dup2_raw(&other, number) }?);
        if is_open(number)? { Err(Errno::EEXIST) } else { Ok(number) }
    }

    fn close(&mut self, fd: RawFd) {
        // SAFETY: the interpreter gives up what `open` made, once.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }

    #[inline]
    unsafe fn timerfd_settime32(
        &mut self,
        entry: Entry,
        ufd: i32,
        flags: i32,
        utmr: u32,
        otmr: u32,
    ) -> Result<i32, Errno> {
        let arguments = [ufd.cast_unsigned(), flags.cast_unsigned(), utmr, otmr];
        if entry == Entry::Rewritten {
            // SAFETY: as below, once the ptracer has put the right pointers there; these are of
            // nothing.
            return ptracer::replacing(arguments, || unsafe {
                self.doors.settime32(Entry::Int80, ptracer::DECOY)
            });
        }
        // SAFETY: the caller answers for the pointers.
        Ok(unsafe { self.doors.settime32(entry, arguments) })
    }

    fn set_clock(&mut self) -> Result<i64, Errno> {
        let now = read_clock(Clock::Realtime)?;
        // SAFETY: the call reads one `__kernel_timespec`.
        unsafe {
            checked(
                number::CLOCK_SETTIME,
                [Clock::Realtime.id() as usize, &raw const now as usize, 0, 0],
            )
        }?;
        Ok(now.as_nanos())
    }

    fn monotonic_ns(&self) -> Result<i64, Errno> {
        // By the vDSO: a system call more would make each call that is journalled twice as slow.
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        Ok(i64::try_from(now.as_nanos()).expect("no machine was up for centuries"))
    }

    unsafe fn of_life(&mut self, door: Door, number: u32, arguments: [usize; 4]) -> i32 {
        match door {
            // SAFETY: the caller's promise.
            Door::Int80 => unsafe { machine::of_i386(number, arguments) },
            // SAFETY: as above.
            Door::Own => unsafe { machine::syscall(number, arguments) },
        }
    }

    fn set_blocking(&mut self, fd: RawFd, blocking: bool) -> Result<(), Errno> {
        if fd < 0 {
            return Err(Errno::EBADF);
        }
        let flags = OFlag::from_bits_retain(fcntl(borrow(fd), FcntlArg::F_GETFL)?);
        let wanted = if blocking { flags - OFlag::O_NONBLOCK } else { flags | OFlag::O_NONBLOCK };
        if wanted == flags {
            Ok(())
        } else {
            fcntl(borrow(fd), FcntlArg::F_SETFL(wanted)).map(drop)
        }
    }

    fn wait_any(&mut self, by: Means, fds: &[RawFd], timeout_ms: u16) -> Result<u32, Errno> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| borrow(*fd)).collect();
        waits::wait_any(by, &fds, timeout_ms)
    }

    fn allow_wake_alarm(&mut self, allowed: bool) -> Result<(), Errno> {
        let header = [CAPABILITY_VERSION, 0];
        let mut words = [Capabilities::default(); 2];
        // SAFETY: the call reads the header and writes both words.
        unsafe {
            checked(number::CAPGET, [header.as_ptr() as usize, words.as_mut_ptr() as usize, 0, 0])
        }?;
        words[1].effective = if allowed {
            words[1].effective | WAKE_ALARM
        } else {
            words[1].effective & !WAKE_ALARM
        };
        // SAFETY: the call reads the header and both words.
        unsafe {
            checked(number::CAPSET, [header.as_ptr() as usize, words.as_ptr() as usize, 0, 0])
        }
        .map(drop)
    }

    fn pin(&mut self, cpu: Option<u8>) -> Result<(), Errno> {
        let Some(wanted) = cpu else {
            self.cpu = CPU_UNKNOWN;
            return sched_setaffinity(THIS_THREAD, &self.allowed);
        };
        let allowed: Vec<usize> = cpus(&self.allowed).collect();
        let cpu = *allowed.get(usize::from(wanted) % allowed.len().max(1)).ok_or(Errno::ENODEV)?;
        self.cpu = u16::try_from(cpu).map_err(|_| Errno::ERANGE)?;
        keep_on(THIS_THREAD, cpu)
    }

    fn cpu(&self) -> u16 {
        self.cpu
    }

    fn return_to_cpu(&mut self) -> Result<(), Errno> {
        if self.cpu == CPU_UNKNOWN { Ok(()) } else { keep_on(THIS_THREAD, self.cpu.into()) }
    }

    fn silent(&mut self, call: Silent) -> Result<(), Errno> {
        machine::silent(call)
    }

    fn wait_readable(&mut self, fd: RawFd, timeout_ms: u16) -> Result<(), Errno> {
        poll(&mut [PollFd::new(borrow(fd), PollFlags::POLLIN)], timeout_ms).map(drop)
    }

    fn in_child(
        &mut self,
        ending: Ending,
        work: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<u32, ChildError> {
        // SAFETY: this process's other threads wait for pages, and hold no lock, so that the child
        // may do all that its parent may.
        match unsafe { fork() }.map_err(|errno| ChildError::NoChild { action: "fork", errno })? {
            ForkResult::Child => {
                self.identity = ask_identity();
                if let Err(failure) = work(self) {
                    eprintln!("settime32-workload: {failure}");
                    exit(1);
                }
                end(ending)
            }
            ForkResult::Parent { child } => match waitpid(child, None) {
                Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _)) if ending == Ending::Kill => {
                    Ok(child.as_raw().cast_unsigned())
                }
                Ok(WaitStatus::Exited(_, 0)) if ending == Ending::Kill => Err(ChildError::Survived),
                Ok(WaitStatus::Exited(_, 0)) => Ok(child.as_raw().cast_unsigned()),
                Ok(WaitStatus::Exited(_, code)) => Err(ChildError::Failed { code }),
                Ok(WaitStatus::Signaled(_, signal, _)) => {
                    Err(ChildError::Killed { signal: signal as i32 })
                }
                Ok(_) => Err(ChildError::NoChild {
                    action: "wait for the end of the forked child",
                    errno: Errno::EINTR,
                }),
                Err(errno) => {
                    Err(ChildError::NoChild { action: "wait for the forked child", errno })
                }
            },
        }
    }

    fn side_by_side(
        &mut self,
        threads: u16,
        work: impl Fn(u16, &mut Self) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        let barrier = Barrier::new(threads.into());
        let (allowed, cpu) = (self.allowed, self.cpu);
        let run = &|number| {
            // They start at once, so that their calls overlap.
            barrier.wait();
            work(number, &mut Self { allowed, cpu, ..Self::new() })
        };
        thread::scope(|scope| {
            let started: Vec<_> =
                (0..threads).map(|number| scope.spawn(move || run(number))).collect();
            let ended = started
                .into_iter()
                .map(|thread| thread.join().expect("a thread's work does not panic"));
            // All are waited for, whatever the first of them gave.
            ended.fold(Ok(()), Result::and)
        })
    }
}

/// How a child ends that has done its steps.
fn end(ending: Ending) -> ! {
    match ending {
        // Nothing of this process is buffered, so that exit's own work has nothing to repeat.
        Ending::Exit => exit(0),
        Ending::Kill => _ = kill(Pid::this(), Signal::SIGKILL),
        Ending::Exec => _ = execv(c"/proc/self/exe", &[c"settime32-workload", NOTHING]),
    }
    exit(1)
}

/// The argument of a program that is to do nothing, so that a child can execute one.
pub(crate) const NOTHING: &CStr = c"--nothing";

/// A descriptor of the interpreter's table, for the time of one call.
fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the interpreter closes a descriptor only when it gives up its number.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Calls with a new timer's descriptor and closes it again.
pub(crate) fn on_own_timer(call: impl FnOnce(usize) -> Result<i32, Errno>) -> Result<(), Errno> {
    // SAFETY: both arguments are plain numbers.
    let fd = unsafe { checked(number::TIMERFD_CREATE, [Clock::Monotonic.id() as usize, 0, 0, 0]) }?;
    let done = call(fd.cast_unsigned() as usize).map(drop);
    // SAFETY: the descriptor was made just now.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    done
}

fn is_open(fd: RawFd) -> Result<bool, Errno> {
    match fcntl(borrow(fd), FcntlArg::F_GETFD) {
        Ok(_) => Ok(true),
        Err(Errno::EBADF) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Sends a descriptor through a socket pair and receives the new one.
fn pass(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let (from, to) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::empty())?;
    let rights = [fd.as_raw_fd()];
    sendmsg::<()>(
        from.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &[ControlMessage::ScmRights(&rights)],
        MsgFlags::empty(),
        None,
    )?;
    let (mut byte, mut space) = ([0], nix::cmsg_space!(RawFd));
    let mut slices = [IoSliceMut::new(&mut byte)];
    let message =
        recvmsg::<()>(to.as_fd().as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(passed) = control
            && let [passed] = passed[..]
        {
            // SAFETY: the kernel made this descriptor for us just now.
            return Ok(unsafe { OwnedFd::from_raw_fd(passed) });
        }
    }
    Err(Errno::ENOMSG)
}

pub(crate) fn read_clock(clock: Clock) -> Result<KernelTimespec, Errno> {
    let mut time = KernelTimespec::default();
    // SAFETY: the call writes one `__kernel_timespec`.
    unsafe { checked(number::CLOCK_GETTIME, [clock.id() as usize, &raw mut time as usize, 0, 0]) }?;
    Ok(time)
}

/// A system call by this process's own numbers, whose failure is an error.
///
/// # Safety
///
/// The kernel must not be made to write where Rust does not expect it.
pub(crate) unsafe fn checked(number: u32, arguments: [usize; 4]) -> Result<i32, Errno> {
    // SAFETY: the caller's promise.
    let ret = unsafe { machine::syscall(number, arguments) };
    if (-4095..0).contains(&ret) { Err(Errno::from_raw(-ret)) } else { Ok(ret) }
}
