//! Situations of the four numbers.

use settime32_abi::plan::{Call, Clock, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::script::Script;

const EDGES: [i32; 7] = [0, 1, -1, 999_999_999, 1_000_000_000, i32::MIN, i32::MAX];
const ZERO: OldTimespec32 = OldTimespec32 { tv_sec: 0, tv_nsec: 0 };

pub(super) fn any(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for round in 0..2000 {
        let words = [(); 4].map(|()| script.word());
        let new = if round % 2 == 0 { bytemuck::cast(words) } else { script.any() };
        let call = Call::plain(0, new);
        script.call(call);
    }
}

pub(super) fn edges(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    script.arm(0);
    for number in 0..EDGES.len().pow(4) {
        let edge = |place: u32| EDGES[number / EDGES.len().pow(place) % EDGES.len()];
        script.call(Call::plain(0, bytemuck::cast([0, 1, 2, 3].map(edge))));
    }
}

pub(super) fn bad_interval(script: &mut Script) {
    script.timer(0, Clock::Realtime);
    script.arm(0);
    script.arm(0);
    for tv_sec in EDGES {
        for tv_nsec in EDGES {
            script.call_and_look(Call::plain(
                0,
                OldItimerspec32 { it_interval: OldTimespec32 { tv_sec, tv_nsec }, it_value: ZERO },
            ));
        }
    }
}

pub(super) fn disarm(script: &mut Script) {
    for (slot, clock) in [
        Clock::Monotonic,
        Clock::Realtime,
        Clock::Boottime,
        Clock::RealtimeAlarm,
        Clock::BoottimeAlarm,
    ]
    .into_iter()
    .enumerate()
    {
        let slot = slot as u8;
        script.timer(slot, clock);
        for _ in 0..60 {
            let it_interval = script.valid().it_interval;
            script
                .call_and_look(Call::plain(slot, OldItimerspec32 { it_interval, it_value: ZERO }));
            // The second one finds it disarmed already.
            script.call(Call::plain(slot, OldItimerspec32 { it_interval, it_value: ZERO }));
            script.call(Call::plain(slot, OldItimerspec32 { it_interval: ZERO, it_value: ZERO }));
        }
    }
}

pub(super) fn expired(script: &mut Script) {
    let nanos = |tv_nsec: u32| OldTimespec32 { tv_sec: 0, tv_nsec: tv_nsec as i32 };
    for (slot, clock) in
        [Clock::Monotonic, Clock::Realtime, Clock::BoottimeAlarm].into_iter().enumerate()
    {
        let slot = slot as u8;
        script.timer(slot, clock);
        for round in 0..60 {
            let it_interval = match round % 3 {
                0 => ZERO,
                1 => nanos(1 + script.below(2_000_000)),
                _ => OldTimespec32 { tv_sec: 5, tv_nsec: script.below(1_000_000_000) as i32 },
            };
            let it_value = nanos(1 + script.below(300_000));
            script.call(Call::plain(slot, OldItimerspec32 { it_interval, it_value }));
            script.step(Step::Wait { slot, timeout_ms: 20 });
            script.call(Call::plain(slot, OldItimerspec32 { it_interval, it_value: ZERO }));
        }
    }
}
