//! The calls that wait until one of several descriptors is readable.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{self, c_long, c_ulong};
use nix::poll::{PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use settime32_abi::plan::{Means, SLOTS};

/// `select` with its arguments as such, and not in memory.
#[cfg(target_arch = "x86")]
const SELECT: c_long = libc::SYS__newselect;
#[cfg(not(target_arch = "x86"))]
const SELECT: c_long = libc::SYS_select;
/// What `select` takes at most.
const FD_SETSIZE: usize = 1024;

/// Which are readable, a bit each in their order; none when the time was over.
pub(crate) fn wait_any(by: Means, fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    match by {
        Means::Poll => by_poll(fds, timeout_ms),
        Means::Select => by_select(fds, timeout_ms),
        Means::Epoll => by_epoll(fds, timeout_ms),
    }
}

// Each by its number: C libraries differ in what they call for what.

fn by_poll(fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    let mut fds: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    // SAFETY: a `PollFd` is a `struct pollfd`, and there are as many as is said.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_poll, fds.as_mut_ptr(), fds.len(), c_long::from(timeout_ms))
    })?;
    Ok(bits(
        fds.iter().map(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLIN))),
    ))
}

fn by_select(fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    const BITS: usize = c_ulong::BITS as usize;
    let numbers = fds
        .iter()
        .map(|fd| usize::try_from(fd.as_raw_fd()).map_err(|_| Errno::EBADF))
        .collect::<Result<Vec<_>, _>>()?;
    let highest = numbers
        .iter()
        .copied()
        .max()
        .filter(|highest| *highest < FD_SETSIZE)
        .ok_or(Errno::EINVAL)?;
    let mut set: [c_ulong; FD_SETSIZE / BITS] = [0; _];
    numbers.iter().for_each(|fd| set[fd / BITS] |= 1 << (fd % BITS));
    let mut timeout = [c_long::from(timeout_ms / 1000), c_long::from(timeout_ms % 1000) * 1000];
    let (none, longest) = (std::ptr::null_mut::<c_ulong>(), timeout.as_mut_ptr());
    // SAFETY: the set is as long as the kernel knows sets to be, and the time is a `struct timeval`
    // of the process's width.
    Errno::result(unsafe {
        libc::syscall(SELECT, highest + 1, set.as_mut_ptr(), none, none, longest)
    })?;
    Ok(bits(numbers.iter().map(|fd| set[fd / BITS] >> (fd % BITS) & 1 == 1)))
}

fn by_epoll(fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, fd) in fds.iter().enumerate() {
        epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let mut events = [EpollEvent::empty(); SLOTS];
    let (epoll, most) = (epoll.0.as_raw_fd(), events.len());
    // SAFETY: an `EpollEvent` is a `struct epoll_event`, and there is room for as many as is said.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_wait,
            epoll,
            events.as_mut_ptr(),
            most,
            c_long::from(timeout_ms),
        )
    };
    let count = usize::try_from(Errno::result(count)?).unwrap_or(0);
    Ok(events[..count].iter().fold(0, |bits, event| bits | 1 << event.data()))
}

fn bits(readable: impl Iterator<Item = bool>) -> u32 {
    readable.enumerate().fold(0, |bits, (index, is)| bits | u32::from(is) << index)
}
