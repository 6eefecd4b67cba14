//! The identity of timers: numbers in place of what the kernel side tells them by.

use settime32_abi::lifecycle::TimerId;
use settime32_abi::moment::Timer;

use super::recent::Recent;

/// Twice the timers that the kernel side keeps at one time: those that are forgotten here are gone,
/// and so is the record of their release, unless that many releases were lost, and counted.
const MOST: usize = 2 * super::MAX_TIMERS as usize;

/// Numbers from 1, in the order in which timers are first reported.
#[derive(Debug)]
pub struct Timers {
    known: Recent<Timer, TimerId>,
    last: TimerId,
}

impl Default for Timers {
    fn default() -> Self {
        Self { known: Recent::new(MOST), last: 0 }
    }
}

impl Timers {
    /// The number of a timer.
    pub fn number(&mut self, timer: Timer) -> TimerId {
        if let Some(known) = self.known.get(timer) {
            return known;
        }
        self.last += 1;
        self.known.insert(timer, self.last);
        self.last
    }

    /// The number of a timer that is gone: nothing more is told of it.
    pub fn released(&mut self, timer: Timer) -> TimerId {
        let number = self.number(timer);
        self.known.remove(timer);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn timer(address: u64, met_ns: u64) -> Timer {
        Timer { address, met_ns }
    }

    #[test]
    fn an_address_that_is_used_again_is_another_timer() {
        let mut timers = Timers::default();
        let numbers = [timer(16, 5), timer(32, 5), timer(16, 5), timer(16, 6)]
            .map(|timer| timers.number(timer));
        assert_eq!(numbers, [1, 2, 1, 3], "though no release was seen");
        assert_eq!((timers.released(timer(16, 6)), timers.number(timer(32, 5))), (3, 2));
        assert_eq!(timers.released(timer(48, 7)), 4, "of one that was not seen before");
    }

    #[test]
    fn a_timer_that_is_gone_is_forgotten() {
        let mut timers = Timers::default();
        for met_ns in 1..1000 {
            assert_eq!(
                (timers.number(timer(16, met_ns)), timers.released(timer(16, met_ns))),
                (met_ns, met_ns)
            );
        }
        assert_eq!(timers.known.len(), 0);
    }
}
