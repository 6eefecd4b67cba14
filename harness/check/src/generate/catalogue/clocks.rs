//! Situations of the clocks.

use settime32_abi::plan::{Call, Clock, Ending, FdKind, Pointer, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::script::Script;

const ALL: [Clock; 5] = [
    Clock::Monotonic,
    Clock::Realtime,
    Clock::Boottime,
    Clock::RealtimeAlarm,
    Clock::BoottimeAlarm,
];
const INVALID: OldTimespec32 = OldTimespec32 { tv_sec: -1, tv_nsec: 0 };
/// After any time that a machine's clock shows, in seconds since 1970.
const LATER: i32 = 2_000_000_000;

pub(super) fn each(script: &mut Script) {
    for (slot, clock) in ALL.into_iter().enumerate() {
        script.timer(slot as u8, clock);
    }
    for _ in 0..150 {
        for slot in 0..ALL.len() as u8 {
            let new = script.any();
            let flags = script.below(4) as i32;
            script.call(Call { flags, ..Call::plain(slot, new) });
            // In the future of both epochs, so that something is left.
            let mut new = script.valid();
            new.it_value.tv_sec = LATER + script.below(100_000_000) as i32;
            let flags = script.below(2) as i32;
            script.call(Call { flags, ..Call::plain(slot, new) });
        }
    }
}

pub(super) fn not_allowed(script: &mut Script) {
    for (slot, clock) in
        [Clock::RealtimeAlarm, Clock::BoottimeAlarm, Clock::Monotonic].into_iter().enumerate()
    {
        script.timer(slot as u8, clock);
    }
    script.open(3, FdKind::Dup(0));
    for allowed in [true, false, true, false] {
        script.step(Step::WakeAlarm { allowed });
        for slot in 0..4 {
            for wrong in 0..8 {
                let is = |bit: i32| wrong >> bit & 1 == 1;
                let OldItimerspec32 { it_interval, it_value } = script.valid();
                let new = OldItimerspec32 {
                    it_interval,
                    it_value: if is(0) { INVALID } else { it_value },
                };
                let utmr = if is(1) { Pointer::Null } else { Pointer::Valid };
                let flags = if is(2) { 4 } else { script.below(4) as i32 };
                script.call_and_look(Call { flags, utmr, ..Call::plain(slot, new) });
                // Also what would only disarm, and what could not be written.
                script.call(Call::plain(slot, OldItimerspec32::default()));
                script.call(Call { otmr: Pointer::Literal(1), ..Call::plain(slot, new) });
            }
        }
    }
    // What a child gives up its parent keeps.
    script.step(Step::WakeAlarm { allowed: true });
    script.step(Step::Fork { steps: 2, ending: Ending::Exit });
    script.step(Step::WakeAlarm { allowed: false });
    script.arm(0);
    script.arm(0);
}

pub(super) fn set(script: &mut Script) {
    for (slot, clock) in ALL.into_iter().enumerate() {
        script.timer(slot as u8, clock);
    }
    for _ in 0..12 {
        for slot in 0..ALL.len() as u8 {
            for (before, after) in [(3, 3), (3, 1), (3, 0), (1, 3), (2, 3), (0, 3), (3, 7)] {
                for disarm in [false, true] {
                    let mut new = script.valid();
                    new.it_value.tv_sec = LATER;
                    script.call(Call { flags: before, ..Call::plain(slot, new) });
                    script.step(Step::SetClock);
                    new = script.valid();
                    new.it_value = if disarm {
                        OldTimespec32::default()
                    } else {
                        OldTimespec32 { tv_sec: LATER, ..new.it_value }
                    };
                    // Twice, since it is told once, and once more to see what became of the timer.
                    script.call(Call { flags: after, ..Call::plain(slot, new) });
                    script.call(Call { flags: after, ..Call::plain(slot, new) });
                    script.arm(slot);
                }
            }
        }
    }
}
