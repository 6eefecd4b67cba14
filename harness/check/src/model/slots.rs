//! The table of descriptors of one process, as far as a call can tell its entries apart.

use settime32_abi::plan::{FdKind, SLOTS};

use super::timer::Timer;

/// What is behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// Not open.
    Closed,
    /// Opened with `O_PATH`.
    Path,
    /// Open, but no timerfd.
    Other,
    /// The timer with this index; duplicates share it.
    Timer(usize),
}

/// All slots; a fork copies them.
#[derive(Clone, Debug)]
pub(super) struct Slots([Slot; SLOTS]);

impl Default for Slots {
    fn default() -> Self {
        Self([Slot::Closed; SLOTS])
    }
}

impl Slots {
    pub(super) fn get(&self, slot: u8) -> Slot {
        self.0[usize::from(slot)]
    }

    /// Opens a slot; a new timer is added to `timers`.
    pub(super) fn open(&mut self, slot: u8, kind: FdKind, timers: &mut Vec<Timer>) {
        self.0[usize::from(slot)] = match kind {
            FdKind::Timer(clock) => {
                timers.push(Timer::new(clock));
                Slot::Timer(timers.len() - 1)
            }
            // Both give a descriptor of the same open file (`do_dup2`, `scm_detach_fds`).
            FdKind::Dup(of) | FdKind::Passed(of) => self.get(of),
            FdKind::Closed | FdKind::Number(_) => Slot::Closed,
            FdKind::Path => Slot::Path,
            FdKind::NotATimer(_) => Slot::Other,
        };
    }
}
