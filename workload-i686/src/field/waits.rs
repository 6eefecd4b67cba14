//! Every call by which a thread learns that a timer went off, by its name.

use std::ptr::{null, null_mut};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use settime32_abi::plan::Clock;

use super::Told;
use super::timer::{Timer, me};

/// A timer goes off after this time.
const AFTER_NS: i64 = 2_000_000;

/// The eight bytes into two pieces of four.
pub(super) fn readv(told: &mut Told, _: &[String]) -> Result<()> {
    let timer = Timer::new(Clock::Monotonic)?;
    timer.arm(AFTER_NS, 0)?;
    let mut words = [9_u32, 0xbbbb_bbbb, 9, 9];
    let place = words.as_mut_ptr();
    // SAFETY: both pieces are inside of the array.
    let pieces = [place, unsafe { place.add(2) }]
        .map(|base| libc::iovec { iov_base: base.cast(), iov_len: 4 });
    // SAFETY: the pieces are this function's own memory.
    let got = unsafe { libc::readv(timer.fd(), pieces.as_ptr(), 2) };
    told.say(&format!("readv {} got={got} ticks={} high={}", me(), words[0], words[2]))
}

/// How a wait is made: its name, the call, and whether it gives the ticks itself.
type Wait = (&'static str, fn(i32) -> c_long, bool);

const WAITS: &[Wait] = &[
    ("read", by_read, true),
    ("readv", by_readv, true),
    ("preadv2", by_preadv2, true),
    ("poll", by_poll, false),
    ("ppoll", by_ppoll, false),
    ("select", by_select, false),
    ("pselect6", by_pselect6, false),
    ("epoll_wait", |fd| by_epoll(&[fd], libc::SYS_epoll_wait), false),
    ("epoll_pwait", |fd| by_epoll(&[fd], libc::SYS_epoll_pwait), false),
    ("epoll_pwait2", |fd| by_epoll(&[fd], libc::SYS_epoll_pwait2), false),
];

/// A timer for each; of those that give no ticks, they are read after. An epoll inside of another
/// comes last, and one that is given a timer, and given it anew, when that went off already: of
/// this only the wait tells.
pub(super) fn waits(told: &mut Told, _: &[String]) -> Result<()> {
    for (name, wait, gives_ticks) in WAITS {
        wait_by(told, name, wait, *gives_ticks)?;
    }
    wait_by(told, "epoll_wait", by_nested_epoll, false)?;
    wait_by(told, "epoll_wait", by_late_epoll, false)
}

fn wait_by(
    told: &mut Told,
    name: &str,
    wait: impl FnOnce(i32) -> c_long,
    gives_ticks: bool,
) -> Result<()> {
    let timer = Timer::new(Clock::Monotonic)?;
    timer.arm(AFTER_NS, 0)?;
    let woken = wait(timer.fd());
    if woken < 0 && Errno::last() == Errno::ENOSYS {
        return told.say(&format!("missing {} by={name}", me()));
    }
    ensure!(woken > 0, "failed to wait by {name}: {}", Errno::last());
    told.say(&format!("woken {} by={name}", me()))?;
    if !gives_ticks {
        let ticks = timer.read().context("failed to read what is over")?;
        told.say(&format!("woken {} by=read ticks={ticks}", me()))?;
    }
    Ok(())
}

fn by_read(fd: i32) -> c_long {
    let mut ticks = 0_u64;
    // SAFETY: the call writes eight bytes.
    unsafe { libc::syscall(libc::SYS_read, fd, &raw mut ticks, 8_usize) }
}

fn by_readv(fd: i32) -> c_long {
    let mut ticks = 0_u64;
    let piece = libc::iovec { iov_base: (&raw mut ticks).cast(), iov_len: 8 };
    // SAFETY: the call writes eight bytes.
    unsafe { libc::syscall(libc::SYS_readv, fd, &raw const piece, 1_usize) }
}

fn by_preadv2(fd: i32) -> c_long {
    let mut ticks = 0_u64;
    let piece = libc::iovec { iov_base: (&raw mut ticks).cast(), iov_len: 8 };
    // SAFETY: the call writes eight bytes. Both halves of the offset are -1: none.
    unsafe {
        libc::syscall(libc::SYS_preadv2, fd, &raw const piece, 1_usize, -1_isize, -1_isize, 0)
    }
}

fn by_poll(fd: i32) -> c_long {
    let mut fds = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the call writes to the structure.
    unsafe { libc::syscall(libc::SYS_poll, &raw mut fds, 1_usize, -1) }
}

fn by_ppoll(fd: i32) -> c_long {
    let mut fds = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: as above.
    unsafe {
        libc::syscall(libc::SYS_ppoll, &raw mut fds, 1_usize, null::<u8>(), null::<u8>(), 0_usize)
    }
}

/// A set with one descriptor, as the kernel takes it.
fn set_of(fd: i32) -> [u8; 128] {
    let mut set = [0; 128];
    set[fd as usize / 8] |= 1 << (fd % 8);
    set
}

fn by_select(fd: i32) -> c_long {
    #[cfg(target_arch = "x86")]
    let number = libc::SYS__newselect;
    #[cfg(target_arch = "x86_64")]
    let number = libc::SYS_select;
    let mut set = set_of(fd);
    // SAFETY: the call writes to the set.
    unsafe {
        libc::syscall(
            number,
            fd + 1,
            set.as_mut_ptr(),
            null_mut::<u8>(),
            null_mut::<u8>(),
            null_mut::<u8>(),
        )
    }
}

fn by_pselect6(fd: i32) -> c_long {
    let mut set = set_of(fd);
    let no: *mut u8 = null_mut();
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_pselect6, fd + 1, set.as_mut_ptr(), no, no, no, no) }
}

/// An epoll that looks at these; negative where there is none.
fn epoll_of(fds: &[i32]) -> i32 {
    // SAFETY: the argument is a plain number.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    fds.iter().for_each(|fd| look_at(epoll, libc::EPOLL_CTL_ADD, *fd));
    epoll
}

fn look_at(epoll: i32, how: i32, fd: i32) {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 1 };
    // SAFETY: the call reads the structure.
    unsafe { libc::epoll_ctl(epoll, how, fd, &raw mut event) };
}

/// All of them take the same arguments, of which the timeout is none.
fn by_epoll(fds: &[i32], number: c_long) -> c_long {
    wait_for(epoll_of(fds), number)
}

/// Closes the epoll, too.
fn wait_for(epoll: i32, number: c_long) -> c_long {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // epoll_pwait2 takes a pointer there, to no time.
    let timeout: isize = if number == libc::SYS_epoll_pwait2 { 0 } else { -1 };
    // SAFETY: the call writes one structure.
    let woken =
        unsafe { libc::syscall(number, epoll, &raw mut event, 1, timeout, null::<u8>(), 8_usize) };
    let errno = Errno::last();
    // SAFETY: it was made above.
    unsafe { libc::close(epoll) };
    errno.set();
    woken
}

fn by_nested_epoll(fd: i32) -> c_long {
    let inner = epoll_of(&[fd]);
    let woken = by_epoll(&[inner], libc::SYS_epoll_wait);
    // SAFETY: it was made above.
    unsafe { libc::close(inner) };
    woken
}

/// It is ready when the epoll is given it, and given it anew.
fn by_late_epoll(fd: i32) -> c_long {
    thread::sleep(Duration::from_nanos(2 * AFTER_NS.unsigned_abs()));
    let epoll = epoll_of(&[fd]);
    look_at(epoll, libc::EPOLL_CTL_MOD, fd);
    wait_for(epoll, libc::SYS_epoll_wait)
}
