//! The identity of timers: numbers in place of addresses, which the kernel gives to one timer after the other.

use std::collections::HashMap;

use settime32_abi::life::TimerId;

/// Numbers by address.
#[derive(Debug, Default)]
pub struct Timers {
    known: HashMap<u64, Known>,
    last: TimerId,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: TimerId,
    is_released: bool,
}

impl Timers {
    /// The timer that a descriptor leads to. One that was released is not it, but another one at its address.
    pub fn by_descriptor(&mut self, address: u64) -> TimerId {
        match self.known.get(&address) {
            Some(known) if !known.is_released => known.id,
            _ => self.new_at(address),
        }
    }

    /// The timer of which the kernel tells by itself: one that is released may still expire until the kernel has stopped it.
    pub fn by_address(&mut self, address: u64) -> TimerId {
        match self.known.get(&address) {
            Some(known) => known.id,
            None => self.new_at(address),
        }
    }

    /// The timer whose last descriptor is closed.
    pub fn released(&mut self, address: u64) -> TimerId {
        let id = self.by_descriptor(address);
        self.known.insert(address, Known { id, is_released: true });
        id
    }

    fn new_at(&mut self, address: u64) -> TimerId {
        self.last += 1;
        self.known.insert(address, Known { id: self.last, is_released: false });
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_used_again_is_another_timer() {
        let mut timers = Timers::default();
        assert_eq!((timers.by_descriptor(16), timers.by_descriptor(32), timers.by_descriptor(16)), (1, 2, 1));
        assert_eq!((timers.released(16), timers.by_address(16)), (1, 1), "it expires while it is being released");
        assert_eq!((timers.by_descriptor(16), timers.by_address(16), timers.by_address(32)), (3, 3, 2));
        assert_eq!((timers.released(48), timers.by_descriptor(48)), (4, 5), "of one that was not seen before");
    }
}
