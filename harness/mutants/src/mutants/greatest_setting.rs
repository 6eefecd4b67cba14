//! Wrong for one setting only, of which there is one in more than 20,000 generated calls: what
//! fuzzing and shrinking are shown with.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "greatest-setting",
    error: "the greatest setting that there is, and no other, is printed a nanosecond short",
    caught_by: Work::Case("values/edges"),
    shows: Shows::Field("utmr_used"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        const TIME: OldTimespec32 = OldTimespec32 { tv_sec: i32::MAX, tv_nsec: 999_999_999 };
        const GREATEST: OldItimerspec32 = OldItimerspec32 { it_interval: TIME, it_value: TIME };
        for setting in [&mut event.utmr_entry, &mut event.utmr_used] {
            if *setting == GREATEST {
                setting.it_value.tv_nsec -= 1;
            }
        }
    }
}
