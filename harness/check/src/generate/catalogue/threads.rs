//! Situations of several threads and processes: calls side by side, memory that changes during the
//! call, and ends of whoever calls.

use settime32_abi::plan::{Call, Clock, Ending, Page, Pointer, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::script::Script;

/// Threads that share the guest's CPUs.
const MANY: u8 = 16;
/// The same, and return probes have room for all of them where the kernel keeps 10
/// (`register_kretprobe`).
const SEVERAL: u8 = 8;
/// More threads than return probes have room for on a guest of two CPUs: max(10, 2 × CPUs),
/// `register_kretprobe` of `kernel/kprobes.c`.
const MORE_THAN_MAXACTIVE: u8 = 24;

/// Starts threads; `call` makes each call of each of them.
fn side_by_side(
    script: &mut Script,
    threads: u8,
    calls: u16,
    mut call: impl FnMut(&mut Script, u8) -> Call,
) {
    script.step(Step::Threads { threads: threads.into(), calls });
    for thread in 0..threads {
        for _ in 0..calls {
            let call = call(script, thread);
            script.call(call);
        }
    }
}

pub(super) fn many(script: &mut Script) {
    a_timer_each(script, MANY);
}

pub(super) fn several(script: &mut Script) {
    a_timer_each(script, SEVERAL);
}

fn a_timer_each(script: &mut Script, threads: u8) {
    for slot in 0..threads {
        script.timer(slot, if slot % 2 == 0 { Clock::Monotonic } else { Clock::Realtime });
    }
    for _ in 0..4 {
        side_by_side(script, threads, 60, |script, thread| {
            let (new, flags) = if script.below(4) == 0 {
                (script.any(), script.any_flags())
            } else {
                (script.valid(), 0)
            };
            let (utmr, otmr) = match script.below(16) {
                0 => (Pointer::Null, Pointer::Valid),
                1..4 => (Pointer::Valid, Pointer::Null),
                _ => (Pointer::Valid, Pointer::Valid),
            };
            Call { flags, utmr, otmr, ..Call::plain(thread, new) }
        });
        (0..threads).for_each(|slot| script.arm(slot));
    }
}

/// All threads set one timer, each call to an interval of its own.
pub(super) fn one_fd(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    let mut number = 0;
    for _ in 0..4 {
        side_by_side(script, 8, 100, |script, _| {
            number += 1;
            let OldItimerspec32 { it_value, .. } = script.valid();
            let it_interval =
                OldTimespec32 { tv_sec: number, tv_nsec: script.below(1_000_000_000) as i32 };
            Call::plain(0, OldItimerspec32 { it_interval, it_value })
        });
        script.arm(0);
    }
}

/// Threads wait at a held page, all of them inside the call before any goes on.
pub(super) fn more_than_maxactive(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for _ in 0..3 {
        side_by_side(script, MORE_THAN_MAXACTIVE, 2, |script, _| Call {
            utmr: Pointer::On(Page::Held),
            otmr: Pointer::Null,
            ..Call::plain(0, script.valid())
        });
    }
    // Enough calls for whatever was kept of those to show in a later event.
    (0..100).for_each(|_| script.arm(0));
}

/// The interval's half is held while the value's is rewritten, and the other way round, when the
/// first was copied already.
pub(super) fn toctou_on_purpose(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for _ in 0..1000 {
        let held_first = Pointer::Edge { before: 8, first: Page::Held, next: Page::Resident };
        let rewritten = script.valid();
        let call =
            Call { utmr: held_first, meanwhile: Some(rewritten), ..Call::plain(0, script.valid()) };
        script.call(call);
    }
    for _ in 0..100 {
        let held_second = Pointer::Edge { before: 8, first: Page::Resident, next: Page::Held };
        for utmr in [held_second, Pointer::On(Page::Held)] {
            let rewritten = script.any();
            let call = Call { utmr, meanwhile: Some(rewritten), ..Call::plain(0, script.any()) };
            script.call_and_look(call);
        }
    }
}

/// Another thread writes two settings in turns; each call reads back what the one before used.
pub(super) fn toctou_race(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for _ in 0..9 {
        let (new, meanwhile) = (script.valid(), Some(script.valid()));
        for _ in 0..1100 {
            script.call(Call { meanwhile, ..Call::plain(0, new) });
        }
        script.arm(0);
    }
}

/// The kernel waits for pages of either pointer.
pub(super) fn held(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    let edge = |before, first, next| Pointer::Edge { before, first, next };
    for before in 1..16 {
        for (first, next) in [
            (Page::Held, Page::Resident),
            (Page::Resident, Page::Held),
            (Page::Held, Page::Held),
            (Page::Held, Page::Untouched),
        ] {
            for (utmr, otmr) in [
                (edge(before, first, next), Pointer::Valid),
                (Pointer::Valid, edge(before, first, next)),
            ] {
                let call = Call { utmr, otmr, ..Call::plain(0, script.valid()) };
                script.call_and_look(call);
            }
        }
        let cut_short = edge(before, Page::Held, Page::Unmapped);
        for (utmr, otmr) in [
            (cut_short, Pointer::Valid),
            (Pointer::Valid, cut_short),
            (Pointer::On(Page::Held), Pointer::On(Page::Held)),
        ] {
            let call = Call { utmr, otmr, ..Call::plain(0, script.valid()) };
            script.call_and_look(call);
        }
    }
}

/// A child ends right after its last call, in each way.
pub(super) fn ends_after(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for round in 0..60 {
        let ending = [Ending::Exit, Ending::Kill, Ending::Exec][round % 3];
        script.step(Step::Fork { steps: 2, ending });
        script.arm(0);
        script.arm(0);
        script.arm(0);
    }
}

/// A child is killed inside of its last call, before or after the timer was set.
pub(super) fn killed_inside(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for round in 0..40 {
        let withheld = Pointer::On(Page::Withheld);
        let (utmr, otmr) =
            if round % 2 == 0 { (withheld, Pointer::Valid) } else { (Pointer::Valid, withheld) };
        script.step(Step::Fork { steps: 2, ending: Ending::Kill });
        script.arm(0);
        let call = Call { utmr, otmr, ..Call::plain(0, script.valid()) };
        script.call(call);
        script.arm(0);
    }
}
