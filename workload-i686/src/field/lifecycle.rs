//! Timers that are made, set, read and closed, one after the other.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::unistd::{Pid, execv, getpid, gettid};
use settime32_abi::plan::Clock;

use super::timer::{NR_SETTIME, Timer, me, monotonic_ns};
use super::{LOOK, Told, number};
use crate::keeper::{Held, Keeper, PAGE};

const HOUR_NS: i64 = 3_600_000_000_000;

/// Sets one timer, once.
pub(super) fn arm(told: &mut Told, _: &[String]) -> Result<()> {
    Timer::new(Clock::Monotonic)?.arm(1_000_000_000, 0)?;
    told.say(&format!("arm {}", me()))
}

/// Has a timer until the file that is named is there, and leaves another there when it has none any
/// more.
pub(super) fn give(told: &mut Told, arguments: &[String]) -> Result<()> {
    let [taken, closed] = arguments else { bail!("usage: give TAKEN CLOSED") };
    let timer = Timer::new(Clock::Monotonic)?;
    told.say(&format!("give {} fd={}", me(), timer.fd()))?;
    super::wait_for(taken);
    drop(timer);
    File::create(closed).map(drop).with_context(|| format!("failed to make {closed}"))
}

/// Takes a copy of a process's descriptor, and ends with it once the process has closed its own.
pub(super) fn take(told: &mut Told, arguments: &[String]) -> Result<()> {
    let (pid, fd) = (number::<i32>(arguments, 0)?, number::<i32>(arguments, 1)?);
    let [_, _, taken, closed] = arguments else { bail!("usage: take PID FD TAKEN CLOSED") };
    // SAFETY: all arguments are plain numbers.
    let copied = unsafe {
        let process = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0))
            .context("failed to open the process")?;
        Errno::result(libc::syscall(libc::SYS_pidfd_getfd, process, fd, 0))
            .context("failed to take the descriptor")?
    };
    File::create(taken).with_context(|| format!("failed to make {taken}"))?;
    super::wait_for(closed);
    told.say(&format!("take {} fd={copied}", me()))
}

/// So many threads that set one timer and end, one after the other.
pub(super) fn dead_threads(told: &mut Told, arguments: &[String]) -> Result<()> {
    let (threads, timer) = (number::<u32>(arguments, 0)?, Timer::new(Clock::Monotonic)?);
    for _ in 0..threads {
        thread::scope(|scope| scope.spawn(|| timer.arm(HOUR_NS, 0)).join())
            .expect("the thread does not panic")?;
    }
    told.say(&format!("dead-threads {} threads={threads}", me()))
}

/// So many timers of so many nanoseconds, each of which is read once.
pub(super) fn short(told: &mut Told, arguments: &[String]) -> Result<()> {
    let (timers, value_ns) = (number::<u64>(arguments, 0)?, number(arguments, 1)?);
    let mut ticks = 0;
    for _ in 0..timers {
        let timer = Timer::new(Clock::Monotonic)?;
        timer.arm(value_ns, 0)?;
        ticks += timer.read()?;
    }
    told.say(&format!("short {} timers={timers} ticks={ticks}", me()))
}

/// So many timers that never go off. Says when it is half done, and waits then for the file that is
/// named.
pub(super) fn churn(told: &mut Told, arguments: &[String]) -> Result<()> {
    let timers = number::<u64>(arguments, 0)?;
    for made in 0..timers {
        if made == timers / 2 {
            told.say(&format!("half {} timers={made}", me()))?;
            arguments.get(1).into_iter().for_each(|path| super::wait_for(path));
        }
        Timer::new(Clock::Monotonic)?.arm(HOUR_NS, 0)?;
    }
    told.say(&format!("churn {} timers={timers}", me()))?;
    arguments.get(2).into_iter().for_each(|path| super::wait_for(path));
    Ok(())
}

/// One periodic timer of so many nanoseconds that is read until the file that is named is there;
/// says how late its latest reading was by its own clock, from when the first expiry that it told
/// of was due.
pub(super) fn metronome(told: &mut Told, arguments: &[String]) -> Result<()> {
    let period_ns = number::<i64>(arguments, 0)?;
    let end = Path::new(arguments.get(1).context("failed to find the file that ends it")?);
    let timer = Timer::new(Clock::Monotonic)?;
    let start_ns = monotonic_ns()?;
    timer.arm(period_ns, period_ns)?;
    told.say(&format!("started {}", me()))?;
    let (mut ticks, mut latest_ns) = (0, 0);
    while !end.exists() {
        let due_ns = start_ns + (ticks + 1) * period_ns;
        ticks += timer.read()? as i64;
        latest_ns = latest_ns.max(monotonic_ns()? - due_ns);
    }
    told.say(&format!("metronome {} ticks={ticks} latest={latest_ns}", me()))
}

/// A thread sets a timer and executes this program, which sets another, and says so in the file
/// that is named.
pub(super) fn exec(told: &mut Told, arguments: &[String]) -> Result<()> {
    let file = arguments.first().context("failed to find the file to write to")?;
    let executed = thread::scope(|scope| scope.spawn(|| execute(told, file)).join());
    executed.expect("the thread does not panic").map(|never| match never {})
}

fn execute(told: &mut Told, file: &str) -> Result<Infallible> {
    Timer::new(Clock::Monotonic)?.arm(1_000_000_000, 0)?;
    told.say(&format!("thread {}", me()))?;
    let words = ["settime32-workload", "field", "--to", file, "arm"].map(CString::new);
    let words = words.into_iter().collect::<Result<Vec<_>, _>>()?;
    execv(c"/proc/self/exe", &words).context("failed to execute this program")
}

/// Sets a timer from memory for which the kernel waits until the file that is named is there.
pub(super) fn held(told: &mut Told, arguments: &[String]) -> Result<()> {
    let go = arguments.first().context("failed to find the file that ends it")?;
    let timer = Timer::new(Clock::Monotonic)?;
    let (held, other) = (untouched_page()?, untouched_page()?);
    let keeper = Keeper::new().context("failed to hold pages")?;
    for page in [held, other] {
        keeper
            .hold(page, Held::Given { content: Box::new([0; PAGE]), before: None })
            .context("failed to hold a page")?;
    }
    // The first is given once somebody waits for the second.
    keeper.give_together(2);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let timer = &timer;
        let caller = scope.spawn(move || {
            _ = sender.send(gettid());
            timer.set_from(0, held)
        });
        let tid = receiver.recv().context("the thread ended")?;
        while !is_inside(tid) {
            thread::sleep(LOOK);
        }
        told.say(&format!("held pid={} tid={tid}", getpid()))?;
        super::wait_for(go);
        // SAFETY: the page is mapped, and the keeper gives it.
        unsafe { (other as *const u8).read_volatile() };
        caller.join().expect("the thread does not panic")
    })
}

/// The address of a page that nobody has touched, and that is never unmapped.
fn untouched_page() -> Result<usize> {
    const LEN: NonZeroUsize = NonZeroUsize::new(PAGE).unwrap();
    let flags = MapFlags::MAP_PRIVATE;
    // SAFETY: the kernel picks an address where nothing is mapped.
    let page =
        unsafe { mmap_anonymous(None, LEN, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) };
    Ok(page.context("failed to map a page")?.as_ptr().addr())
}

/// Whether the kernel is in the call for a thread, and waits.
fn is_inside(tid: Pid) -> bool {
    let number = NR_SETTIME.to_string();
    std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"))
        .is_ok_and(|line| line.split(' ').next() == Some(&number))
}

/// A thread beside the first waits until the file that is named is there.
pub(super) fn thread(told: &mut Told, arguments: &[String]) -> Result<()> {
    let go = arguments.first().context("failed to find the file that ends it")?;
    let waits = || {
        told.say(&format!("thread {}", me()))?;
        super::wait_for(go);
        Ok(())
    };
    thread::scope(|scope| scope.spawn(waits).join()).expect("the thread does not panic")
}
