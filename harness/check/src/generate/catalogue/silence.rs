//! Situations in which something else must go unreported, and leave no trace in what is reported.

use settime32_abi::plan::{Call, Clock, Page, Pointer, Silent, Step};

use super::script::Script;

pub(super) fn timerfd_settime64(script: &mut Script) {
    around(script, Silent::TimerfdSettime64);
}

pub(super) fn timer_settime32(script: &mut Script) {
    around(script, Silent::TimerSettime32);
}

pub(super) fn timerfd_gettime32(script: &mut Script) {
    around(script, Silent::TimerfdGettime32);
}

pub(super) fn native(script: &mut Script) {
    script.in_64_bits();
    around(script, Silent::NativeTimerfdSettime);
}

pub(super) fn mlock2(script: &mut Script) {
    script.in_64_bits();
    around(script, Silent::Mlock2);
}

pub(super) fn refused_by_seccomp(script: &mut Script) {
    around(script, Silent::RefusedBySeccomp);
}

pub(super) fn without_stack(script: &mut Script) {
    around(script, Silent::FastEntryWithoutStack);
}

/// Calls of all kinds, each after silent ones: what a tracer keeps of those would show in the next
/// event.
fn around(script: &mut Script, silent: Silent) {
    script.timer(0, Clock::Monotonic);
    for round in 0..200 {
        script.step(Step::Silent(silent));
        let (new, flags) = (script.any(), script.any_flags());
        let (utmr, otmr) = match round % 5 {
            0 => (Pointer::Null, Pointer::Valid),
            1 => (Pointer::Valid, Pointer::Null),
            2 => (Pointer::On(Page::FileBacked), Pointer::Literal(1)),
            _ => (Pointer::Valid, Pointer::Valid),
        };
        script.call(Call { flags, utmr, otmr, ..Call::plain(0, new) });
        script.step(Step::Silent(silent));
    }
}
