//! Calls of `timerfd_settime32` of the tracer's own, made by a child by `int 0x80`: what shows that
//! the probes see, and from which they learn where that way into the kernel returns to. A child,
//! because a kernel whose 32-bit entry is switched off kills who tries it; one that was there
//! before anything was attached, so that nothing is seen of its timer but these calls.

use std::arch::asm;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid, pipe2};
use settime32_abi::NR_TIMERFD_SETTIME32;
use settime32_abi::event::{RawEvent, flag};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

/// How long the child may take to start: a machine under load has it wait for its turn.
const MAX_START: Duration = Duration::from_secs(30);

/// Why no call of ours can be made.
#[derive(Debug, thiserror::Error)]
pub enum NoCall {
    /// The CPU knows no way in: nobody's call can be made.
    #[error(
        "no 32-bit system call can be made on this kernel, so there is nothing to see: its 32-bit entry is switched off; boot without ia32_emulation=0"
    )]
    NoEntry,
    /// Something forbids it to this process.
    #[error("{by}")]
    Refused {
        /// What, in words.
        by: String,
    },
}

/// The child, which makes a call whenever it is told to.
#[derive(Debug)]
pub struct OwnCall {
    /// Until it was waited for.
    pid: Option<Pid>,
    gate: Option<File>,
    answers: File,
    interval: OldTimespec32,
}

impl OwnCall {
    /// Starts the child and has it make one call, which nobody sees yet: the next one finds its
    /// interval in the timer.
    pub fn prepare() -> Result<Self> {
        let interval = secret_interval()?;
        let (gate_out, gate_in) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        let (answers_out, answers_in) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        be_born_here();
        let parent = nix::unistd::getpid();
        // SAFETY: this process has one thread, so the child can do whatever the parent could.
        match unsafe { fork() }.context("failed to fork")? {
            ForkResult::Child => {
                drop((gate_in, answers_out));
                child(parent, gate_out, answers_in, interval)
            }
            ForkResult::Parent { child } => {
                drop((gate_out, answers_in));
                let own = Self {
                    pid: Some(child),
                    gate: Some(gate_in.into()),
                    answers: answers_out.into(),
                    interval,
                };
                own.first()
            }
        }
    }

    fn first(mut self) -> Result<Self> {
        self.ask()?;
        let timeout = PollTimeout::try_from(MAX_START).unwrap_or(PollTimeout::MAX);
        while poll(&mut [PollFd::new(self.answers.as_fd(), PollFlags::POLLIN)], timeout)
            == Err(Errno::EINTR)
        {}
        nix::fcntl::fcntl(&self.answers, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .context("failed to set up a pipe")?;
        match self.answer() {
            Ok(Some(0)) => Ok(self),
            Ok(Some(result)) => Err(NoCall::Refused {
                by: format!("its own call is refused ({})", Errno::from_raw(-result)),
            }
            .into()),
            Ok(None) => {
                Err(NoCall::Refused { by: "its own process does not answer".to_owned() }.into())
            }
            Err(_) => Err(self.death().into()),
        }
    }

    /// Of what the child died.
    fn death(&mut self) -> NoCall {
        match self.pid.take().map(|pid| waitpid(pid, None)) {
            Some(Ok(WaitStatus::Signaled(_, Signal::SIGSEGV, _))) => NoCall::NoEntry,
            Some(Ok(WaitStatus::Signaled(_, signal, _))) => {
                NoCall::Refused { by: format!("its own process was killed by {signal}") }
            }
            _ => NoCall::Refused { by: "its own process could not do it".to_owned() },
        }
    }

    /// The interval that it sets, by which its calls are known.
    pub fn interval(&self) -> OldTimespec32 {
        self.interval
    }

    /// Has a call made.
    pub fn ask(&mut self) -> io::Result<()> {
        self.gate.as_mut().ok_or(ErrorKind::BrokenPipe)?.write_all(&[1])
    }

    /// The result of a call that was asked for, once it was made.
    pub fn answer(&mut self) -> io::Result<Option<i32>> {
        let mut result = [0; 4];
        match self.answers.read(&mut result) {
            Ok(4) => Ok(Some(i32::from_ne_bytes(result))),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Whether it is one of these calls, as far as `raw` tells.
    pub fn made(&self, raw: &RawEvent) -> bool {
        let has = |bit| raw.flags & bit != 0;
        (has(flag::USED) && raw.utmr_used.it_interval == self.interval)
            || (has(flag::INTERVAL_READ) && raw.utmr_entry.it_interval == self.interval)
    }

    /// Whether all of one of these calls was seen: by the programs at its entry, in its midst, and
    /// at its return.
    pub fn is_whole(&self, raw: &RawEvent) -> bool {
        let all = flag::RETURNED | flag::USED | flag::OLD;
        let has_all = raw.flags & all == all;
        let old = raw.old.cut();
        has_all
            && raw.ret == 0
            && raw.utmr_used == setting(self.interval)
            && old.it_interval == self.interval
    }
}

impl AsFd for OwnCall {
    /// Readable once there is an answer.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.answers.as_fd()
    }
}

impl Drop for OwnCall {
    fn drop(&mut self) {
        self.gate = None;
        // However it ended, there is nothing more to do about it.
        if let Some(pid) = self.pid {
            _ = kill(pid, Signal::SIGKILL);
            _ = waitpid(pid, None);
        }
    }
}

/// Where children are born into another pid namespace (`unshare --pid`), the command is, and we are
/// not: the first process there ends all others with itself.
fn be_born_here() {
    let of = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    if of("pid") != of("pid_for_children")
        && let Ok(here) = File::open("/proc/self/ns/pid")
    {
        // Where it fails, the child is there, and its end is told.
        // SAFETY: it takes no pointer.
        _ = unsafe { libc::setns(here.as_raw_fd(), libc::CLONE_NEWPID) };
    }
}

/// Disarms, and keeps the interval in the timer (`timerfd_setup`, `fs/timerfd.c`).
fn setting(interval: OldTimespec32) -> OldItimerspec32 {
    OldItimerspec32 { it_interval: interval, it_value: OldTimespec32 { tv_sec: 0, tv_nsec: 0 } }
}

/// One that nobody else sets.
fn secret_interval() -> Result<OldTimespec32> {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is as long as said.
    let len = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if len != bytes.len() as isize {
        return Err(anyhow!(Errno::last()).context("failed to draw a random number"));
    }
    let [seconds, nanos]: [u32; 2] = bytemuck::cast(bytes);
    Ok(OldTimespec32 {
        tv_sec: (seconds >> 1).cast_signed(),
        tv_nsec: (1 + nanos % 999_999_999).cast_signed(),
    })
}

/// What the call reads and writes; where 32 bits can point to.
#[repr(C)]
struct Memory {
    new: OldItimerspec32,
    old: OldItimerspec32,
}

/// Makes a call for each byte that comes, until there come no more. It holds nothing of its
/// parent's, so that nobody waits for it, and takes no signal that ends it but the one that comes
/// when its parent is gone.
fn child(parent: Pid, gate: OwnedFd, answers: OwnedFd, interval: OldTimespec32) -> ! {
    _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None);
    // SAFETY: it takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // Where the entry is switched off, no core is to be left: this is the limit that goes for
    // programs that take cores, too (`do_coredump`, `fs/coredump.c`).
    _ = setrlimit(Resource::RLIMIT_CORE, 1, 1);
    go_first();
    if getppid() == parent
        && let Some(memory) = low_memory()
        && let Some((mut gate, mut answers, timer)) = only_ours(&gate, &answers)
    {
        while gate.read_exact(&mut [0]).is_ok() {
            // Written each time, so that it is in memory when the probe reads it.
            // SAFETY: it was mapped for this, and nobody else uses it.
            unsafe { (&raw mut (*memory).new).write_volatile(setting(interval)) };
            let result = call(timer, memory);
            if answers.write_all(&result.to_ne_bytes()).is_err() {
                break;
            }
        }
    }
    // SAFETY: it does not return, and nothing of the parent's is to be flushed or undone.
    unsafe { libc::_exit(0) }
}

/// While a program in a trampoline is preempted, the kernel passes it over for others' calls on the
/// same CPU. So this process is put before all that are not for real time, where that is allowed.
fn go_first() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: it reads what it is pointed to.
    _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
}

fn low_memory() -> Option<*mut Memory> {
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
    );
    // SAFETY: a new mapping, which replaces none.
    let memory =
        unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Memory>(), protection, flags, -1, 0) };
    (memory != libc::MAP_FAILED).then_some(memory.cast())
}

/// Puts the two pipes and a new timer where standard input, output and error were, and closes all
/// else.
fn only_ours(gate: &OwnedFd, answers: &OwnedFd) -> Option<(File, File, RawFd)> {
    const LAST: RawFd = 2;
    // SAFETY: numbers only; whatever these descriptors were, nothing of this process uses them any
    // more.
    let files = unsafe {
        let timer = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC);
        let placed = [gate.as_raw_fd(), answers.as_raw_fd(), timer]
            .iter()
            .zip(0..=LAST)
            .all(|(from, to)| libc::dup2(*from, to) == to);
        if !placed {
            return None;
        }
        if libc::syscall(libc::SYS_close_range, LAST + 1, libc::c_uint::MAX, 0) != 0 {
            // Before 5.9.
            (LAST + 1..libc::sysconf(libc::_SC_OPEN_MAX) as RawFd)
                .for_each(|fd| _ = libc::close(fd));
        }
        use std::os::fd::FromRawFd;
        (File::from_raw_fd(0), File::from_raw_fd(1))
    };
    Some((files.0, files.1, LAST))
}

/// The call; its result.
fn call(timer: RawFd, memory: *mut Memory) -> i32 {
    let result: u64;
    // SAFETY: both structures are at `memory`, below 4 GiB. LLVM keeps rbx for itself; the upper
    // registers are lost on kernels before 4.17.
    unsafe {
        let (new, old) = (&raw mut (*memory).new, &raw mut (*memory).old);
        asm!(
            "xchg {bx}, rbx",
            "int 0x80",
            "xchg {bx}, rbx",
            bx = inout(reg) i64::from(timer) => _,
            inlateout("rax") u64::from(NR_TIMERFD_SETTIME32) => result,
            in("rcx") 0_u64,
            in("rdx") new,
            in("rsi") old,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result as i32
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use bytemuck::Zeroable;

    use super::*;

    fn answer(own: &mut OwnCall) -> i32 {
        loop {
            poll(&mut [PollFd::new(own.as_fd(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16))
                .unwrap();
            if let Some(answer) = own.answer().unwrap() {
                return answer;
            }
        }
    }

    /// What is seen of the calls cannot be seen here; a guest shows that.
    #[test]
    fn it_calls_as_often_as_it_is_told_and_ends() {
        let mut own = OwnCall::prepare().unwrap();
        let pid = own.pid.unwrap();
        for _ in 0..3 {
            own.ask().unwrap();
            assert_eq!(answer(&mut own), 0);
        }
        drop(own);
        assert!(waitpid(pid, None).is_err(), "it was waited for");
    }

    #[test]
    fn it_keeps_nothing_of_its_parents_open() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // As a program's standard output is.
        nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
            .unwrap();
        let own = OwnCall::prepare().unwrap();
        drop(ours);
        theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "the child is a second writer");
        let names: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", own.pid.unwrap()))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["0", "1", "2"]);
    }

    #[test]
    fn a_child_that_is_gone_answers_no_more() {
        let mut own = OwnCall::prepare().unwrap();
        kill(own.pid.unwrap(), Signal::SIGKILL).unwrap();
        own.death();
        assert!(own.ask().is_err() && own.answer().is_err());
    }

    #[test]
    fn it_is_known_by_its_interval_and_whole_with_all_facts() {
        let own = OwnCall::prepare().unwrap();
        let whole = RawEvent {
            flags: flag::RETURNED | flag::USED | flag::OLD,
            utmr_used: setting(own.interval),
            old: setting(own.interval).into(),
            ..RawEvent::zeroed()
        };
        assert!(own.made(&whole) && own.is_whole(&whole));
        let others = RawEvent { utmr_used: OldItimerspec32::zeroed(), ..whole };
        assert!(!own.made(&others));
        for lacking in [
            RawEvent { flags: whole.flags & !flag::OLD, ..whole },
            RawEvent { flags: whole.flags & !flag::RETURNED, ..whole },
            RawEvent { ret: -14, ..whole },
            RawEvent { old: OldItimerspec32::zeroed().into(), ..whole },
        ] {
            assert!(own.made(&lacking) && !own.is_whole(&lacking), "{lacking:?}");
        }
        let entered = RawEvent {
            flags: flag::INTERVAL_READ,
            utmr_entry: setting(own.interval),
            ..RawEvent::zeroed()
        };
        assert!(own.made(&entered) && !own.is_whole(&entered));
    }
}
