//! The processes that are asked for. Each is held by a descriptor, since its id is another's once
//! it has ended.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::preflight::Refusal;

/// Processes that ran when tracing began.
#[derive(Debug, Default)]
pub struct Processes {
    run: Vec<(u32, OwnedFd)>,
    /// Those that have ended, and when that was found, by `CLOCK_MONOTONIC`.
    ended: Vec<(u32, u64)>,
}

impl Processes {
    /// Those with these ids, in the tracer's own pid namespace. Fails where an id is of no process
    /// that runs, or of another thread than its process's first.
    pub fn open(pids: &[u32]) -> Result<Self, Refusal> {
        let opened = pids.iter().map(|&pid| match descriptor(pid) {
            Ok(process) if has_ended(process.as_fd()) => Err(Refusal::NoProcess { pid }),
            Ok(process) => Ok((pid, process)),
            Err(Errno::ESRCH) => Err(Refusal::NoProcess { pid }),
            Err(errno) => Err(refused(pid, process_of(Path::new("/"), pid), errno)),
        });
        Ok(Self { run: opened.collect::<Result<_, _>>()?, ended: Vec::new() })
    }

    /// Whether some were asked for, and none runs any more.
    pub const fn have_ended(&self) -> bool {
        self.run.is_empty() && !self.ended.is_empty()
    }

    /// What can be read when a process has ended.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.run.iter().map(|(_, process)| process.as_fd())
    }

    /// Looks which have ended by now. The kernel's half is not told, since it passes programs over
    /// while a map is written to.
    pub fn look(&mut self, now_ns: u64) {
        let ended = self.run.extract_if(.., |(_, process)| has_ended(process.as_fd()));
        self.ended.extend(ended.map(|(pid, _)| (pid, now_ns)));
    }

    /// Whether what a process with this id began then is done by another one than was asked for.
    pub fn is_another(&self, pid: u32, began_ns: u64) -> bool {
        self.ended.iter().any(|(ended, ns)| *ended == pid && *ns <= began_ns)
    }
}

/// Kernels differ in what they say of a thread; what stands in the way says it of any process.
fn refused(id: u32, process: Option<u32>, errno: Errno) -> Refusal {
    let may_be_thread = matches!(errno, Errno::EINVAL | Errno::ENOENT)
        || process.is_some_and(|process| process != id);
    if may_be_thread {
        Refusal::OfThread { tid: id, pid: process }
    } else {
        Refusal::NoPidfd { errno }
    }
}

/// `pidfd_open(2)`.
fn descriptor(pid: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: both arguments are plain numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the descriptor was made just now.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn has_ended(process: BorrowedFd<'_>) -> bool {
    let mut source = [PollFd::new(process, PollFlags::POLLIN)];
    poll(&mut source, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// The process that a thread is of; `None` where that cannot be looked at.
fn process_of(root: &Path, tid: u32) -> Option<u32> {
    let status = fs::read_to_string(root.join(format!("proc/{tid}/status"))).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))
        .and_then(|pid| pid.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc;
    use std::thread;

    use nix::unistd::gettid;

    use super::*;

    #[test]
    fn what_is_refused_is_no_thread() {
        assert!(matches!(
            refused(7, Some(7), Errno::EPERM),
            Refusal::NoPidfd { errno: Errno::EPERM }
        ));
        assert!(matches!(refused(7, None, Errno::ENOSYS), Refusal::NoPidfd { .. }));
        assert!(matches!(refused(7, None, Errno::EINVAL), Refusal::OfThread { tid: 7, pid: None }));
        assert!(matches!(
            refused(7, Some(6), Errno::EPERM),
            Refusal::OfThread { tid: 7, pid: Some(6) }
        ));
    }

    #[test]
    fn a_process_is_there_until_it_ends() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let processes = Processes::open(&[child.id()]).unwrap();
        assert!(!has_ended(processes.sources().next().unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(has_ended(processes.sources().next().unwrap()));
        assert!(
            matches!(Processes::open(&[child.id()]), Err(Refusal::NoProcess { pid }) if pid == child.id())
        );
    }

    #[test]
    fn one_that_has_ended_and_was_not_waited_for_does_not_run() {
        let mut child = Command::new("true").spawn().unwrap();
        let held = descriptor(child.id()).unwrap();
        poll(&mut [PollFd::new(held.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        assert!(matches!(Processes::open(&[child.id()]), Err(Refusal::NoProcess { .. })));
        child.wait().unwrap();
    }

    #[test]
    fn a_thread_is_none_and_its_process_is_named() {
        let (tells, told) = mpsc::channel();
        let (ends, end) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tells.send(gettid()).unwrap();
            _ = end.recv();
        });
        let tid = told.recv().unwrap().as_raw().cast_unsigned();
        let refused = Processes::open(&[tid]);
        let own = std::process::id();
        assert!(
            matches!(refused, Err(Refusal::OfThread { tid: of, pid: Some(pid) }) if of == tid && pid == own),
            "{refused:?}"
        );
        drop(ends);
        thread.join().unwrap();
    }
}
