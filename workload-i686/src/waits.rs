//! The calls that wait until one of several descriptors is readable.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::select::{FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};
use settime32_abi::plan::{Means, SLOTS};

/// Which are readable, a bit each in their order; none when the time was over.
pub(crate) fn wait_any(by: Means, fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    match by {
        Means::Poll => by_poll(fds, timeout_ms),
        Means::Select => by_select(fds, timeout_ms),
        Means::Epoll => by_epoll(fds, timeout_ms),
    }
}

fn by_poll(fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut fds, timeout_ms)?;
    Ok(bits(fds.iter().map(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLIN)))))
}

fn by_select(fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    let mut set = FdSet::new();
    fds.iter().for_each(|fd| set.insert(*fd));
    select(None, &mut set, None, None, &mut TimeVal::milliseconds(timeout_ms.into()))?;
    Ok(bits(fds.iter().map(|fd| set.contains(*fd))))
}

/// musl's `epoll_wait` is `epoll_pwait` without a mask.
fn by_epoll(fds: &[BorrowedFd<'_>], timeout_ms: u16) -> Result<u32, Errno> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, fd) in fds.iter().enumerate() {
        epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let mut events = [EpollEvent::empty(); SLOTS];
    let count = epoll.wait(&mut events, EpollTimeout::from(timeout_ms))?;
    Ok(events[..count].iter().fold(0, |bits, event| bits | 1 << event.data()))
}

fn bits(readable: impl Iterator<Item = bool>) -> u32 {
    readable.enumerate().fold(0, |bits, (index, is)| bits | u32::from(is) << index)
}
