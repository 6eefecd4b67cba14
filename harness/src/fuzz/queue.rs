//! The seeds that are still to be done, for guests that take them side by side, and when to stop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::ranges::Ranges;

/// Shared by all guests.
#[derive(Debug)]
pub(super) struct Queue<'a> {
    cells: Mutex<Vec<CellQueue>>,
    until: Option<Instant>,
    stopped: &'a AtomicBool,
    /// A guest could not be had, so that the others need not go on.
    given_up: AtomicBool,
}

/// The seeds of a kernel and attach mode, by their places.
#[derive(Debug)]
struct CellQueue {
    next: u64,
    end: u64,
    done: Ranges,
    given_back: Vec<u64>,
    /// Regressions are to be run first.
    regressions: bool,
    /// Guests that are at it.
    guests: u32,
    closed: bool,
}

impl<'a> Queue<'a> {
    /// Of cells in which the same range is to be done, but for what was done before.
    pub(super) fn new(
        range: std::ops::Range<u64>,
        done: impl Iterator<Item = Ranges>,
        regressions: bool,
        until: Option<Instant>,
        stopped: &'a AtomicBool,
    ) -> Self {
        let cell = |done| CellQueue {
            next: range.start,
            end: range.end,
            done,
            given_back: Vec::new(),
            regressions,
            guests: 0,
            closed: false,
        };
        Self {
            cells: Mutex::new(done.map(cell).collect()),
            until,
            stopped,
            given_up: AtomicBool::new(false),
        }
    }

    /// Nothing more is to be begun.
    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
            || self.stopped.load(Ordering::Relaxed)
            || self.given_up.load(Ordering::Relaxed)
    }

    /// Has all guests end.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// A cell for a guest that is free: that at which the fewest guests are, of which the fewest
    /// seeds were taken.
    pub(super) fn enter(&self) -> Option<usize> {
        if self.is_over() {
            return None;
        }
        let mut cells = self.cells.lock().expect("no holder panics");
        let open = cells.iter().enumerate().filter(|(_, cell)| cell.has_more());
        let at = open.min_by_key(|(_, cell)| (cell.guests, cell.next)).map(|(at, _)| at)?;
        cells[at].guests += 1;
        Some(at)
    }

    /// The guest is done with the cell for now.
    pub(super) fn leave(&self, cell: usize) {
        self.cells.lock().expect("no holder panics")[cell].guests -= 1;
    }

    /// Nothing more can be done in a cell.
    pub(super) fn close(&self, cell: usize) {
        self.cells.lock().expect("no holder panics")[cell].closed = true;
    }

    /// Whether regressions are to be run now; once.
    pub(super) fn take_regressions(&self, cell: usize) -> bool {
        std::mem::take(&mut self.cells.lock().expect("no holder panics")[cell].regressions)
    }

    /// The next seed's place.
    pub(super) fn take(&self, cell: usize) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        self.cells.lock().expect("no holder panics")[cell].take()
    }

    /// Seeds that were taken and not done.
    pub(super) fn give_back(&self, cell: usize, places: impl IntoIterator<Item = u64>) {
        self.cells.lock().expect("no holder panics")[cell].given_back.extend(places);
    }
}

impl CellQueue {
    fn has_more(&self) -> bool {
        let left = !self.done.gaps(self.next..self.end).is_empty();
        !self.closed && (self.regressions || left || !self.given_back.is_empty())
    }

    fn take(&mut self) -> Option<u64> {
        if self.closed {
            return None;
        }
        if let Some(place) = self.given_back.pop() {
            return Some(place);
        }
        while self.next < self.end && self.done.contains(self.next) {
            self.next += 1;
        }
        let place = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &Queue<'_>, cell: usize) -> Vec<u64> {
        std::iter::from_fn(|| queue.take(cell)).collect()
    }

    #[test]
    fn what_was_done_is_not_done_again() {
        let stopped = AtomicBool::new(false);
        let mut done = Ranges::default();
        done.insert_range(11..13);
        done.insert(17);
        let queue =
            Queue::new(10..18, [done, Ranges::default()].into_iter(), false, None, &stopped);
        assert_eq!(all(&queue, 0), [10, 13, 14, 15, 16]);
        queue.give_back(0, [14, 15]);
        assert_eq!(queue.enter(), Some(1), "the one with fewer seeds taken");
        assert_eq!(all(&queue, 0), [15, 14]);
        assert_eq!(all(&queue, 1).len(), 8);
        queue.leave(1);
        assert_eq!(queue.enter(), None);
    }

    #[test]
    fn guests_spread_over_the_cells() {
        let stopped = AtomicBool::new(false);
        let queue = Queue::new(0..9, (0..3).map(|_| Ranges::default()), false, None, &stopped);
        assert_eq!(
            [queue.enter(), queue.enter(), queue.enter(), queue.enter()],
            [0, 1, 2, 0].map(Some)
        );
        queue.close(1);
        assert_eq!((queue.take(1), queue.take(2)), (None, Some(0)));
    }

    #[test]
    fn nothing_begins_once_it_is_over() {
        let stopped = AtomicBool::new(false);
        let queue = Queue::new(0..9, [Ranges::default()].into_iter(), true, None, &stopped);
        assert_eq!([queue.take_regressions(0), queue.take_regressions(0)], [true, false]);
        assert_eq!(queue.take(0), Some(0));
        stopped.store(true, Ordering::Relaxed);
        assert_eq!((queue.take(0), queue.enter()), (None, None));
        let late = Queue::new(
            0..9,
            [Ranges::default()].into_iter(),
            true,
            Some(Instant::now()),
            &AtomicBool::new(false),
        )
        .is_over();
        assert!(late);
    }
}
