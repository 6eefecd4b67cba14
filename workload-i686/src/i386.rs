//! The kernel that this process runs on, called from i386 code.
//!
//! Calls that take times go through `int 0x80` by number, never through the C library: its wrappers choose
//! other calls, and its `time_t` ends in 2038.

use std::arch::asm;
use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::process::exit;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::prctl::get_name;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socket, socketpair,
};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, dup, dup2_raw, fork, getpid, gettid, pipe};
use settime32_abi::NR_TIMERFD_SETTIME32;
use settime32_abi::event::COMM_LEN;
use settime32_abi::journal::Clocks;
use settime32_abi::plan::{Clock, Entry, Other, Silent};
use settime32_abi::timespec::{NSEC_PER_SEC, OldItimerspec32};

use crate::interpret::Failure;
use crate::kernel::{ChildError, Identity, Kernel, Source};

// Numbers of `arch/x86/entry/syscalls/syscall_32.tbl`.
const NR_CAPGET: u32 = 184;
const NR_CAPSET: u32 = 185;
const NR_TIMER_CREATE: u32 = 259;
const NR_TIMER_SETTIME32: u32 = 260;
const NR_TIMER_DELETE: u32 = 263;
const NR_TIMERFD_CREATE: u32 = 322;
const NR_TIMERFD_GETTIME32: u32 = 326;
const NR_CLOCK_GETTIME64: u32 = 403;
const NR_CLOCK_SETTIME64: u32 = 404;
const NR_TIMERFD_SETTIME64: u32 = 411;

/// `AT_SYSINFO` of `arch/x86/include/uapi/asm/auxvec.h`: the address of the vDSO's `__kernel_vsyscall`.
const AT_SYSINFO: libc::c_ulong = 32;

/// `_LINUX_CAPABILITY_VERSION_3` of `include/uapi/linux/capability.h`: two words of 32 capabilities.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// `CAP_WAKE_ALARM`, as a bit of the second word.
const WAKE_ALARM: u32 = 1 << (35 - 32);

/// `SIGEV_NONE` of `include/uapi/asm-generic/siginfo.h`.
const SIGEV_NONE: u32 = 1;

/// Numbers from here on are given to no descriptor: the table of a plan is far smaller.
const FIRST_CLOSED_NUMBER: RawFd = 900;

/// `struct __kernel_timespec`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct KernelTimespec {
    tv_sec: i64,
    tv_nsec: i64,
}

/// `struct __kernel_itimerspec`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct KernelItimerspec {
    it_interval: KernelTimespec,
    it_value: KernelTimespec,
}

/// One of the two `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Capabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The calling process.
#[derive(Debug)]
pub struct I386 {
    identity: Identity,
    /// `__kernel_vsyscall`; 0 where the kernel gives no vDSO.
    vsyscall: u32,
}

impl I386 {
    /// The calling process, whose only thread this must be.
    pub fn new() -> Self {
        // SAFETY: the call only looks at what the kernel gave this process.
        let vsyscall = unsafe { libc::getauxval(AT_SYSINFO) } as u32;
        Self { identity: ask_identity(), vsyscall }
    }
}

impl Default for I386 {
    fn default() -> Self {
        Self::new()
    }
}

fn ask_identity() -> Identity {
    Identity { pid: getpid().as_raw().cast_unsigned(), tid: gettid().as_raw().cast_unsigned() }
}

impl Kernel for I386 {
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
        let nanos = |time: KernelTimespec| time.tv_sec * NSEC_PER_SEC + time.tv_nsec;
        Ok(Clocks {
            monotonic_before_ns: nanos(monotonic_before),
            realtime_ns: nanos(realtime),
            monotonic_after_ns: nanos(monotonic_after),
        })
    }

    fn open(&mut self, source: Source) -> Result<RawFd, Errno> {
        Ok(match source {
            // SAFETY: both arguments are plain numbers.
            Source::Timer(clock) => return Errno::result(unsafe { checked(NR_TIMERFD_CREATE, [clock.id().cast_unsigned(), 0, 0, 0]) }?),
            Source::Dup(fd) => dup(borrow(fd))?,
            Source::Passed(fd) => pass(borrow(fd))?,
            Source::Path => open("/", OFlag::O_PATH, Mode::empty())?,
            Source::NotATimer(Other::Eventfd) => EventFd::new()?.into(),
            Source::NotATimer(Other::Pipe) => pipe()?.0,
            Source::NotATimer(Other::Socket) => socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?,
            Source::NotATimer(Other::Directory) => open("/", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?,
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
    unsafe fn timerfd_settime32(&mut self, entry: Entry, ufd: i32, flags: i32, utmr: u32, otmr: u32) -> i32 {
        let arguments = [ufd.cast_unsigned(), flags.cast_unsigned(), utmr, otmr];
        match entry {
            // SAFETY: the caller answers for the pointers.
            Entry::Int80 => unsafe { int80(NR_TIMERFD_SETTIME32, arguments) },
            // SAFETY: as above, and the address is what the kernel gave for this.
            Entry::Vdso => unsafe { vsyscall(self.vsyscall, NR_TIMERFD_SETTIME32, arguments) },
        }
    }

    fn set_clock(&mut self) -> Result<(), Errno> {
        let now = read_clock(Clock::Realtime)?;
        // SAFETY: the call reads one `__kernel_timespec`.
        unsafe { checked(NR_CLOCK_SETTIME64, [Clock::Realtime.id().cast_unsigned(), &raw const now as u32, 0, 0]) }?;
        Ok(())
    }

    fn allow_wake_alarm(&mut self, allowed: bool) -> Result<(), Errno> {
        let header = [CAPABILITY_VERSION, 0];
        let mut words = [Capabilities::default(); 2];
        // SAFETY: the call reads the header and writes both words.
        unsafe { checked(NR_CAPGET, [header.as_ptr() as u32, words.as_mut_ptr() as u32, 0, 0]) }?;
        words[1].effective = if allowed { words[1].effective | WAKE_ALARM } else { words[1].effective & !WAKE_ALARM };
        // SAFETY: the call reads the header and both words.
        unsafe { checked(NR_CAPSET, [header.as_ptr() as u32, words.as_ptr() as u32, 0, 0]) }.map(drop)
    }

    fn silent(&mut self, call: Silent) -> Result<(), Errno> {
        match call {
            Silent::TimerfdSettime64 => on_own_timer(|fd| {
                let (new, mut old) = (
                    KernelItimerspec { it_value: KernelTimespec { tv_sec: 900, tv_nsec: 7 }, ..Default::default() },
                    KernelItimerspec::default(),
                );
                // SAFETY: the call reads the one and writes the other structure.
                unsafe { checked(NR_TIMERFD_SETTIME64, [fd, 0, &raw const new as u32, &raw mut old as u32]) }
            }),
            Silent::TimerfdGettime32 => on_own_timer(|fd| {
                let mut old = OldItimerspec32::default();
                // SAFETY: the call writes the structure.
                unsafe { checked(NR_TIMERFD_GETTIME32, [fd, &raw mut old as u32, 0, 0]) }
            }),
            Silent::TimerSettime32 => set_posix_timer(),
        }
    }

    fn wait_readable(&mut self, fd: RawFd, timeout_ms: u16) -> Result<(), Errno> {
        poll(&mut [PollFd::new(borrow(fd), PollFlags::POLLIN)], timeout_ms).map(drop)
    }

    fn in_child(&mut self, work: impl FnOnce(&mut Self) -> Result<(), Failure>) -> Result<(), ChildError> {
        // SAFETY: this process has one thread, so that the child may do all that its parent may.
        match unsafe { fork() }.map_err(|errno| ChildError::NoChild { action: "fork", errno })? {
            ForkResult::Child => {
                self.identity = ask_identity();
                let done = work(self);
                if let Err(failure) = done {
                    eprintln!("settime32-workload: {failure}");
                }
                // Nothing of this process is buffered, so that exit's own work has nothing to repeat.
                exit(done.is_err().into())
            }
            ForkResult::Parent { child } => match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => Ok(()),
                Ok(WaitStatus::Exited(_, code)) => Err(ChildError::Failed { code }),
                Ok(WaitStatus::Signaled(_, signal, _)) => Err(ChildError::Killed { signal: signal as i32 }),
                Ok(_) => Err(ChildError::NoChild { action: "wait for the end of the forked child", errno: Errno::EINTR }),
                Err(errno) => Err(ChildError::NoChild { action: "wait for the forked child", errno }),
            },
        }
    }
}

/// A descriptor of the interpreter's table, for the time of one call.
fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the interpreter closes a descriptor only when it gives up its number.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Calls with a new timer's descriptor and closes it again.
fn on_own_timer(call: impl FnOnce(u32) -> Result<i32, Errno>) -> Result<(), Errno> {
    // SAFETY: both arguments are plain numbers.
    let fd = unsafe { checked(NR_TIMERFD_CREATE, [Clock::Monotonic.id().cast_unsigned(), 0, 0, 0]) }?;
    let done = call(fd.cast_unsigned()).map(drop);
    // SAFETY: the descriptor was made just now.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    done
}

/// Makes a POSIX timer, sets it, asks for the old setting too, and deletes it.
fn set_posix_timer() -> Result<(), Errno> {
    // `struct sigevent`: value, signal, how to notify, and what is of no use here.
    let mut event = [0_u32; 16];
    event[2] = SIGEV_NONE;
    let mut timer = 0_u32;
    let (new, mut old) = ([7_i32, 8, 900, 9], [0_i32; 4]);
    // SAFETY: the calls read and write what is given here, for as long as they say.
    unsafe {
        let clock = Clock::Monotonic.id().cast_unsigned();
        checked(NR_TIMER_CREATE, [clock, event.as_ptr() as u32, &raw mut timer as u32, 0])?;
        let set = checked(NR_TIMER_SETTIME32, [timer, 0, new.as_ptr() as u32, old.as_mut_ptr() as u32]);
        checked(NR_TIMER_DELETE, [timer, 0, 0, 0])?;
        set.map(drop)
    }
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
    sendmsg::<()>(from.as_raw_fd(), &[IoSlice::new(b"x")], &[ControlMessage::ScmRights(&rights)], MsgFlags::empty(), None)?;
    let (mut byte, mut space) = ([0], nix::cmsg_space!(RawFd));
    let mut slices = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(to.as_fd().as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
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

fn read_clock(clock: Clock) -> Result<KernelTimespec, Errno> {
    let mut time = KernelTimespec::default();
    // SAFETY: the call writes one `__kernel_timespec`.
    unsafe { checked(NR_CLOCK_GETTIME64, [clock.id().cast_unsigned(), &raw mut time as u32, 0, 0]) }?;
    Ok(time)
}

/// A system call whose failure is an error.
///
/// # Safety
///
/// As for [`int80`].
unsafe fn checked(number: u32, arguments: [u32; 4]) -> Result<i32, Errno> {
    // SAFETY: the caller's promise.
    let ret = unsafe { int80(number, arguments) };
    if (-4095..0).contains(&ret) { Err(Errno::from_raw(-ret)) } else { Ok(ret) }
}

/// A system call by the i386 entry, with exactly these register values.
///
/// # Safety
///
/// The kernel must not be made to write where Rust does not expect it.
#[inline]
unsafe fn int80(number: u32, [bx, cx, dx, si]: [u32; 4]) -> i32 {
    let registers = [number, bx, cx, dx, si];
    let ret;
    // LLVM keeps ebx and esi for itself, so that they are saved here and loaded from memory.
    // SAFETY: the registers and the stack are as before at the end; the rest is the caller's promise.
    unsafe {
        asm!(
            "push ebx",
            "push esi",
            "mov ebx, [eax + 4]",
            "mov ecx, [eax + 8]",
            "mov edx, [eax + 12]",
            "mov esi, [eax + 16]",
            "mov eax, [eax]",
            "int 0x80",
            "pop esi",
            "pop ebx",
            inlateout("eax") registers.as_ptr() => ret,
            out("ecx") _,
            out("edx") _,
        );
    }
    ret
}

/// A system call by the vDSO's entry at `vsyscall`, with exactly these register values but for `ebp`, which the vDSO
/// keeps on the stack.
///
/// # Safety
///
/// As for [`int80`], and the address must be that of `__kernel_vsyscall`.
#[inline]
unsafe fn vsyscall(vsyscall: u32, number: u32, [bx, cx, dx, si]: [u32; 4]) -> i32 {
    let registers = [number, bx, cx, dx, si, vsyscall];
    let ret;
    // SAFETY: as in `int80`; the vDSO's entry gives back all registers but eax.
    unsafe {
        asm!(
            "push ebx",
            "push esi",
            "push dword ptr [eax + 20]",
            "mov ebx, [eax + 4]",
            "mov ecx, [eax + 8]",
            "mov edx, [eax + 12]",
            "mov esi, [eax + 16]",
            "mov eax, [eax]",
            "call dword ptr [esp]",
            "add esp, 4",
            "pop esi",
            "pop ebx",
            inlateout("eax") registers.as_ptr() => ret,
            out("ecx") _,
            out("edx") _,
        );
    }
    ret
}
