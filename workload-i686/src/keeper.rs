//! A thread that gives held pages to whoever waits for them, by `userfaultfd(2)`. What is in them
//! is decided before the call; this decides only when they are given. Who is kept on one CPU is
//! moved to another while it waits, so that its call does not return where it entered.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, read};

use crate::process::{cpus, keep_on};

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// `include/uapi/linux/userfaultfd.h`.
mod uffd {
    pub(super) const API: u64 = 0xaa;
    pub(super) const REGISTER_MODE_MISSING: u64 = 1;
    pub(super) const EVENT_PAGEFAULT: u8 = 0x12;
    /// A page fault names the thread.
    pub(super) const FEATURE_THREAD_ID: u64 = 1 << 8;

    /// `struct uffdio_api`.
    #[repr(C)]
    pub(super) struct Api {
        pub api: u64,
        pub features: u64,
        pub ioctls: u64,
    }

    /// `struct uffdio_register`.
    #[repr(C)]
    pub(super) struct Register {
        pub start: u64,
        pub len: u64,
        pub mode: u64,
        pub ioctls: u64,
    }

    /// `struct uffdio_copy`.
    #[repr(C)]
    pub(super) struct Copy {
        pub dst: u64,
        pub src: u64,
        pub len: u64,
        pub mode: u64,
        pub copy: i64,
    }

    /// `struct uffd_msg`, as far as a page fault fills it in.
    #[repr(C)]
    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    pub(super) struct Message {
        pub event: u8,
        pub reserved: [u8; 7],
        pub flags: u64,
        pub address: u64,
        pub thread: u32,
        pub rest: u32,
    }
    const _: () = assert!(size_of::<Message>() == 32);

    /// `struct uffdio_range`.
    #[repr(C)]
    pub(super) struct Range {
        pub start: u64,
        pub len: u64,
    }

    nix::ioctl_readwrite!(handshake, 0xaa, 0x3f, Api);
    nix::ioctl_readwrite!(register, 0xaa, 0x00, Register);
    nix::ioctl_read!(wake, 0xaa, 0x02, Range);
    nix::ioctl_readwrite!(copy, 0xaa, 0x03, Copy);
}

/// What is done for who waits for a page.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// The page is given with these bytes, after something else was written.
    Given {
        /// All bytes of the page.
        content: Box<[u8; PAGE]>,
        /// Address and bytes of what is written before, if anything: memory that is there.
        before: Option<(usize, [u8; 8])>,
    },
    /// The process is killed, and whoever waits with it.
    Withheld,
}

/// The pages that are held, and the thread that gives them.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Whose memory it is: a forked child has none of its parent's keepers.
    pid: u32,
    fd: Arc<OwnedFd>,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    held: HashMap<usize, Held>,
    /// Pages are given only when so many are waited for.
    together: usize,
    /// Each with the thread that waits.
    waited_for: Vec<(usize, Pid)>,
}

impl Keeper {
    /// A keeper for the memory of this process. Fails where `userfaultfd` is missing, or is for
    /// others only.
    pub(crate) fn new() -> Result<Arc<Self>, Errno> {
        // SAFETY: the argument is a plain number.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) })?;
        // SAFETY: the descriptor was made just now.
        let fd = Arc::new(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        let mut api = uffd::Api { api: uffd::API, features: uffd::FEATURE_THREAD_ID, ioctls: 0 };
        // SAFETY: the structure is what the call reads and writes.
        unsafe { uffd::handshake(fd.as_raw_fd(), &raw mut api) }?;
        let pages = Arc::new(Mutex::new(Pages { together: 1, ..Pages::default() }));
        let (thread_fd, thread_pages) = (Arc::clone(&fd), Arc::clone(&pages));
        // It ends with the process: nothing else tells it that no more pages will be waited for.
        thread::Builder::new()
            .spawn(move || serve(&thread_fd, &thread_pages))
            .map_err(|_| Errno::EAGAIN)?;
        Ok(Arc::new(Self { pid: process::id(), fd, pages }))
    }

    /// Whether it is this process's, and not its parent's.
    pub(crate) fn is_ours(&self) -> bool {
        self.pid == process::id()
    }

    /// Holds a page of anonymous memory that nobody has touched. Mapping something else over it
    /// ends that.
    pub(crate) fn hold(&self, page: usize, held: Held) -> Result<(), Errno> {
        let mut register = uffd::Register {
            start: page as u64,
            len: PAGE as u64,
            mode: uffd::REGISTER_MODE_MISSING,
            ioctls: 0,
        };
        locked(&self.pages).held.insert(page, held);
        // SAFETY: the structure is what the call reads and writes, and the page is the caller's.
        unsafe { uffd::register(self.fd.as_raw_fd(), &raw mut register) }.map(drop)
    }

    /// From now on, gives pages only when `together` are waited for.
    pub(crate) fn give_together(&self, together: usize) {
        locked(&self.pages).together = together;
    }
}

fn locked(pages: &Mutex<Pages>) -> MutexGuard<'_, Pages> {
    pages.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives pages as they are waited for. What goes wrong here leaves somebody waiting for ever, so it
/// ends the process.
fn serve(fd: &OwnedFd, pages: &Mutex<Pages>) {
    loop {
        let mut bytes = [0; size_of::<uffd::Message>()];
        match read(fd, &mut bytes) {
            Ok(len) if len == bytes.len() => {}
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => give_up("read from userfaultfd", errno),
        }
        let message: uffd::Message = bytemuck::cast(bytes);
        if message.event == uffd::EVENT_PAGEFAULT {
            let thread = Pid::from_raw(message.thread.cast_signed());
            touched(fd, &mut locked(pages), message.address as usize & !(PAGE - 1), thread);
        }
    }
}

fn touched(fd: &OwnedFd, pages: &mut Pages, page: usize, thread: Pid) {
    // Who is woken for another reason (a futex) looks again, and is told of again.
    if pages.waited_for.iter().any(|(waited_for, _)| *waited_for == page) {
        return;
    }
    if !pages.held.contains_key(&page) {
        return wake(fd, page);
    }
    pages.waited_for.push((page, thread));
    if pages.waited_for.len() < pages.together {
        return;
    }
    for (page, thread) in std::mem::take(&mut pages.waited_for) {
        move_elsewhere(thread);
        match pages.held.remove(&page) {
            Some(Held::Given { content, before }) => give(fd, page, &content, before),
            Some(Held::Withheld) => drop(kill(Pid::this(), Signal::SIGKILL)),
            None => give_up("tell what belongs on a page", Errno::EFAULT),
        }
    }
}

/// Has a thread that is kept on one CPU go on on another, where there is one.
fn move_elsewhere(thread: Pid) {
    let Ok(allowed) = sched_getaffinity(thread) else { return };
    let mut allowed = cpus(&allowed);
    if let (Some(cpu), None) = (allowed.next(), allowed.next()) {
        _ = (0..CpuSet::count())
            .filter(|other| *other != cpu)
            .find(|other| keep_on(thread, *other).is_ok());
    }
}

fn give(fd: &OwnedFd, page: usize, content: &[u8; PAGE], before: Option<(usize, [u8; 8])>) {
    if let Some((address, bytes)) = before {
        // SAFETY: the caller of `hold` answers for the memory being there. Volatile, because the
        // kernel reads it.
        unsafe { (address as *mut [u8; 8]).write_volatile(bytes) };
    }
    let (dst, src) = (page as u64, content.as_ptr().addr() as u64);
    let mut copy = uffd::Copy { dst, src, len: PAGE as u64, mode: 0, copy: 0 };
    // SAFETY: the structure is what the call reads and writes, and nobody has the page yet.
    if let Err(errno) = unsafe { uffd::copy(fd.as_raw_fd(), &raw mut copy) } {
        give_up("give a held page", errno);
    }
}

/// Wakes whoever waits for a page that was given already.
fn wake(fd: &OwnedFd, page: usize) {
    let mut range = uffd::Range { start: page as u64, len: PAGE as u64 };
    // SAFETY: the structure is what the call reads.
    if let Err(errno) = unsafe { uffd::wake(fd.as_raw_fd(), &raw mut range) } {
        give_up("wake who waits for a page", errno);
    }
}

fn give_up(action: &str, errno: Errno) -> ! {
    eprintln!("settime32-workload: failed to {action}: {errno}");
    process::exit(1)
}
