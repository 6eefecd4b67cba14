//! Takes a name that begins as asked for the one that was asked for.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::{COMM_LEN, RawEvent};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "comm-by-prefix",
    error: "--comm lets names through that are longer than what was asked for",
    caught_by: Work::Scenario("field/names"),
    shows: Shows::Said("with --comm Some(\"sho\")"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    comms: Vec<[u8; COMM_LEN]>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn filters_itself(&mut self, _pids: &[u32], comms: &[[u8; COMM_LEN]]) -> bool {
        self.comms = comms.to_vec();
        true
    }

    #[cfg(not(target_arch = "bpf"))]
    fn takes(&mut self, event: &RawEvent) -> bool {
        let begins = |comm: &[u8; COMM_LEN]| event.comm.iter().zip(comm).all(|(has, asked)| *asked == 0 || has == asked);
        self.comms.is_empty() || self.comms.iter().any(begins)
    }
}
