//! A thread that writes two settings in turns to memory that a call reads, for as long as it is kept.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use settime32_abi::timespec::OldItimerspec32;

/// The thread; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Rival {
    settings: [OldItimerspec32; 2],
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rival {
    /// Writes each at `place`, 8 bytes at once, in turns; both were there once when this returns.
    ///
    /// # Safety
    ///
    /// The place is writable memory, aligned for 8 bytes, for as long as the value lives, and holds no Rust value.
    pub(crate) unsafe fn start(place: NonNull<[u8; 16]>, settings: [OldItimerspec32; 2]) -> Result<Self, Errno> {
        let (stop, started) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (until, tell, address) = (Arc::clone(&stop), Arc::clone(&started), place.as_ptr().addr());
        let thread = thread::Builder::new().spawn(move || write_in_turns(address, settings, &until, &tell)).map_err(|_| Errno::EAGAIN)?;
        while !started.load(Ordering::Acquire) {
            thread::yield_now();
        }
        Ok(Self { settings, stop, thread: Some(thread) })
    }

    /// Whether it is these that it writes.
    pub(crate) fn writes(&self, settings: [OldItimerspec32; 2]) -> bool {
        self.settings == settings
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It does nothing that could panic.
            _ = thread.join();
        }
    }
}

fn write_in_turns(address: usize, settings: [OldItimerspec32; 2], stop: &AtomicBool, started: &AtomicBool) {
    let halves = settings.map(bytemuck::cast::<_, [u64; 2]>);
    // SAFETY: said by the caller of `start`; the kernel, which reads there too, knows nothing of Rust's rules.
    let places = [0, 8].map(|offset| unsafe { AtomicU64::from_ptr((address + offset) as *mut u64) });
    while !stop.load(Ordering::Acquire) {
        for setting in halves {
            for (place, half) in places.iter().zip(setting) {
                place.store(half, Ordering::Relaxed);
            }
        }
        started.store(true, Ordering::Release);
    }
}
