//! Situations of the flags and of the descriptor.

use settime32_abi::plan::{Call, Clock, Ending, FdKind, Other, Pointer, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::script::Script;

const INVALID: OldTimespec32 = OldTimespec32 { tv_sec: 1, tv_nsec: -1 };

pub(super) fn each_bit(script: &mut Script) {
    for (slot, clock) in [Clock::Monotonic, Clock::Realtime].into_iter().enumerate() {
        script.timer(slot as u8, clock);
        for bit in 0..32 {
            for known in 0..4 {
                let new = script.valid();
                script.call_and_look(Call {
                    flags: 1 << bit | known,
                    ..Call::plain(slot as u8, new)
                });
            }
        }
        let new = script.valid();
        script.call_and_look(Call { flags: -1, ..Call::plain(slot as u8, new) });
    }
}

pub(super) fn any_flags(script: &mut Script) {
    script.timer(0, Clock::Realtime);
    for round in 0..1000 {
        let flags = if round % 2 == 0 { script.word() as i32 } else { script.any_flags() };
        let new = script.valid();
        script.call(Call { flags, ..Call::plain(0, new) });
    }
}

/// One slot for each kind of descriptor; the first three are timers.
const KINDS: [FdKind; 20] = [
    FdKind::Timer(Clock::Monotonic),
    FdKind::Timer(Clock::Realtime),
    FdKind::Timer(Clock::Boottime),
    FdKind::Dup(0),
    FdKind::Passed(1),
    FdKind::Passed(3),
    FdKind::Closed,
    FdKind::Number(-1),
    FdKind::Number(i32::MIN),
    FdKind::Number(i32::MAX),
    FdKind::Number(-100),
    FdKind::Path,
    FdKind::Dup(11),
    FdKind::NotATimer(Other::Eventfd),
    FdKind::NotATimer(Other::Pipe),
    FdKind::NotATimer(Other::Socket),
    FdKind::NotATimer(Other::Directory),
    FdKind::Passed(13),
    FdKind::Dup(6),
    FdKind::Number(1 << 16),
];

fn open_each_kind(script: &mut Script) {
    for (slot, kind) in KINDS.into_iter().enumerate() {
        script.open(slot as u8, kind);
    }
}

pub(super) fn each_kind(script: &mut Script) {
    open_each_kind(script);
    for _ in 0..30 {
        for slot in 0..KINDS.len() as u8 {
            let call = Call::plain(slot, script.any());
            script.call_and_look(call);
        }
        // A number that was a timer's and is another's now, and back.
        let slot = script.below(3) as u8;
        script.open(slot, FdKind::NotATimer(Other::Eventfd));
        script.arm(slot);
        script.open(slot, KINDS[usize::from(slot)]);
    }
}

pub(super) fn order(script: &mut Script) {
    open_each_kind(script);
    for slot in 0..KINDS.len() as u8 {
        for wrong in 0..16 {
            let is = |bit: i32| wrong >> bit & 1 == 1;
            let OldItimerspec32 { it_interval, it_value } = script.valid();
            let new = OldItimerspec32 {
                it_interval: if is(0) { INVALID } else { it_interval },
                it_value: if is(1) { INVALID } else { it_value },
            };
            let flags = if is(2) { 1 << (2 + script.below(30)) } else { 0 };
            for (utmr, otmr) in [
                (Pointer::Valid, Pointer::Valid),
                (Pointer::Valid, Pointer::Literal(1)),
                (if is(3) { Pointer::Null } else { Pointer::Literal(1) }, Pointer::Valid),
            ] {
                script.call(Call { flags, utmr, otmr, ..Call::plain(slot, new) });
            }
        }
    }
}

pub(super) fn after_fork(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    script.open(1, FdKind::Dup(0));
    for round in 0..40 {
        script.arm(0);
        let calls = 1 + round % 4;
        // One step to change the child's table, which its parent must not notice.
        script.step(Step::Fork { steps: calls + 2, ending: Ending::Exit });
        script
            .open(1, if round % 2 == 0 { FdKind::Closed } else { FdKind::Timer(Clock::Realtime) });
        script.arm(1);
        for _ in 0..calls {
            script.arm(0);
        }
        script.arm(1);
    }
}
