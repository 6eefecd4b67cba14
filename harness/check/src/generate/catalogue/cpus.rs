//! Situations of the CPU that a call is made on.

use settime32_abi::plan::{Call, Clock, Page, Pointer, Step};

use super::script::Script;

/// CPUs of a guest.
const CPUS: u8 = 2;

/// One CPU after the other, each for a while.
pub(super) fn pinned(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for round in 0..20 {
        script.step(Step::Pin { cpu: Some(round % CPUS) });
        (0..10).for_each(|_| script.arm(0));
    }
    script.step(Step::Pin { cpu: None });
    script.arm(0);
}

/// The call returns on another CPU than it entered on, since it waited for a page meanwhile.
pub(super) fn moved(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for round in 0..60 {
        script.step(Step::Pin { cpu: Some(round % CPUS) });
        let held = Pointer::On(Page::Held);
        for (utmr, otmr) in [(held, Pointer::Valid), (Pointer::Valid, held)] {
            let call = Call { utmr, otmr, ..Call::plain(0, script.valid()) };
            script.call_and_look(call);
        }
    }
}
