//! Threads that write two settings in turns to memory that a call reads, for as long as they are
//! kept.
//!
//! Some share the caller's CPU and sleep between their turns, so that timers interrupt the caller
//! anywhere; inside of a call they get their turn where the kernel lets go before it copies
//! (`might_fault`, or at once on a kernel that preempts). Another has a CPU of its own, and writes
//! at any instant where CPUs really run side by side; emulated ones take turns that are far longer
//! than a call.

use std::hint;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use settime32_abi::timespec::OldItimerspec32;

/// The calling thread, to the calls that place threads.
const THIS: Pid = Pid::from_raw(0);

/// Threads on the caller's CPU.
const SLEEPERS: usize = 4;

/// The threads; dropping this ends them.
#[derive(Debug)]
pub(crate) struct Rival {
    settings: [OldItimerspec32; 2],
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Where the caller may run otherwise.
    allowed: CpuSet,
}

impl Rival {
    /// Writes each at `place`, 8 bytes at once, in turns; both were there once when this returns.
    /// The caller stays on its first CPU until this is dropped.
    ///
    /// # Safety
    ///
    /// The place is writable memory, aligned for 8 bytes, for as long as the value lives, and holds
    /// no Rust value.
    pub(crate) unsafe fn start(
        place: NonNull<[u8; 16]>,
        settings: [OldItimerspec32; 2],
    ) -> Result<Self, Errno> {
        let allowed = sched_getaffinity(THIS)?;
        let mut rival =
            Self { settings, stop: Arc::new(AtomicBool::new(false)), threads: Vec::new(), allowed };
        let mut cpus = each_cpu(&allowed);
        let callers = cpus.next().ok_or(Errno::EINVAL)??;
        sched_setaffinity(THIS, &callers)?;
        for _ in 0..SLEEPERS {
            rival.start_on(callers, place.as_ptr().addr(), sleep)?;
        }
        if let Some(own) = cpus.next().transpose()? {
            rival.start_on(own, place.as_ptr().addr(), hint::spin_loop)?;
        }
        Ok(rival)
    }

    fn start_on(&mut self, cpu: CpuSet, address: usize, between: fn()) -> Result<(), Errno> {
        let started = Arc::new(AtomicBool::new(false));
        let (settings, stop, tell) = (self.settings, Arc::clone(&self.stop), Arc::clone(&started));
        let write = move || {
            // Where it fails, the thread runs anywhere, and less is seen.
            _ = sched_setaffinity(THIS, &cpu);
            write_in_turns(address, settings, between, &stop, &tell);
        };
        self.threads.push(thread::Builder::new().spawn(write).map_err(|_| Errno::EAGAIN)?);
        while !started.load(Ordering::Acquire) {
            thread::yield_now();
        }
        Ok(())
    }

    /// Whether it is these that are written.
    pub(crate) fn writes(&self, settings: [OldItimerspec32; 2]) -> bool {
        self.settings == settings
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            // It does nothing that could panic.
            _ = thread.join();
        }
        // It was allowed before.
        _ = sched_setaffinity(THIS, &self.allowed);
    }
}

/// Sets of one CPU each.
fn each_cpu(allowed: &CpuSet) -> impl Iterator<Item = Result<CpuSet, Errno>> {
    (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).map(|cpu| {
        let mut set = CpuSet::new();
        set.set(cpu).map(|()| set)
    })
}

/// The kernel adds some slack, about two calls' time.
fn sleep() {
    thread::sleep(Duration::from_micros(1));
}

fn write_in_turns(
    address: usize,
    settings: [OldItimerspec32; 2],
    between: fn(),
    stop: &AtomicBool,
    started: &AtomicBool,
) {
    let halves = settings.map(bytemuck::cast::<_, [u64; 2]>);
    // SAFETY: said by the caller of `start`; the kernel, which reads there too, knows nothing of
    // Rust's rules.
    let places =
        [0, 8].map(|offset| unsafe { AtomicU64::from_ptr((address + offset) as *mut u64) });
    while !stop.load(Ordering::Acquire) {
        for setting in halves {
            for (place, half) in places.iter().zip(setting) {
                place.store(half, Ordering::Relaxed);
            }
            // On a CPU of its own an emulator lets another one run here.
            between();
        }
        started.store(true, Ordering::Release);
    }
}
