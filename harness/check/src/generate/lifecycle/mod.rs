//! Plans of lifecycles: timers that are created, set, read back, waited for, read, copied, passed,
//! inherited and closed, many of them side by side in one process, so that some fire while others
//! are handled.
//!
//! As for other plans, each lifecycle is drawn as plain integers, smaller ones meaning something
//! simpler, and any integers make a valid plan. What blocks is only asked for where a timer is sure
//! to fire, since a plan knows no time of day: so absolute times are long past or far away.

mod timer;

use proptest::collection::SizeRange;
use proptest::prelude::*;
use settime32_abi::plan::{
    Act, Clock, FdKind, Means, Plan, Process, SLOTS, Step, TFD_CLOEXEC, TFD_NONBLOCK,
};

use timer::{Draw, Lifecycle, Move, Slots, WORDS};

/// Lifecycles that go on side by side at most; each takes two slots.
const SIDE_BY_SIDE: usize = 12;
const _: () = assert!(2 * SIDE_BY_SIDE < SLOTS);

/// The slot of what lifecycles do that take none of their own.
const SPARE_SLOT: u8 = SLOTS as u8 - 1;

/// Timers in one plan, which is one process of the workload.
pub const TIMERS_PER_PLAN: u64 = 500;

/// The plan number `index` of the run with this seed: so many timers or a few more, the same on
/// every machine. Every other one is done by a 64-bit process, and of each kind every other one by
/// a process that is kept on one CPU.
pub fn plan(seed: u64, index: u64, timers: u64) -> Plan {
    let mut rng = super::rng(seed ^ 0x11fe, index);
    let words = std::iter::repeat_with(move || {
        let mut words = [0_u16; WORDS];
        words.iter_mut().for_each(|word| *word = rng.next_u32() as u16);
        words
    });
    let mut plan = assemble(
        words,
        timers,
        if index.is_multiple_of(2) { Process::I386 } else { Process::Amd64 },
    );
    if index / 2 % 2 == 1 {
        plan.steps.insert(0, Step::Pin { cpu: Some((index / 4) as u8) });
    }
    plan
}

/// Timers that a plan makes at least: those of alarm clocks may be refused.
pub fn timers(plan: &Plan) -> u64 {
    let is_one = |step: &&Step| match step {
        Step::Open { kind: FdKind::Timer(clock), .. } => !clock.is_alarm(),
        Step::Lifecycle(Act::Create { clockid, flags, .. }) => {
            [0, 1, 7].contains(clockid) && flags & !(TFD_NONBLOCK | TFD_CLOEXEC) == 0
        }
        _ => false,
    };
    plan.steps.iter().filter(is_one).count() as u64
}

/// Plans with a number of lifecycles in this range, for `proptest!`.
pub fn strategy(lifecycles: impl Into<SizeRange>) -> impl Strategy<Value = Plan> + Clone {
    let words = proptest::array::uniform32(any::<u16>());
    (proptest::collection::vec(words, lifecycles), any::<bool>()).prop_map(|(words, amd64)| {
        assemble(words.into_iter(), u64::MAX, if amd64 { Process::Amd64 } else { Process::I386 })
    })
}

/// A lifecycle under way.
struct Running {
    moves: std::vec::IntoIter<Move>,
    draw: Draw,
    place: usize,
}

/// Takes turns between lifecycles, each turn a move of one.
fn assemble(
    mut lifecycles: impl Iterator<Item = [u16; WORDS]>,
    timers: u64,
    process: Process,
) -> Plan {
    let mut steps = Vec::new();
    let mut running: Vec<Running> = Vec::new();
    let mut places: Vec<usize> = (0..SIDE_BY_SIDE).rev().collect();
    let (mut turn, mut made) = (0_usize, 0);
    loop {
        while let Some(place) = places.last().copied() {
            let Some(words) = lifecycles.next().filter(|_| made < timers) else { break };
            places.pop();
            let slots = Slots {
                first: 2 * place as u8,
                second: 2 * place as u8 + 1,
                spare: SPARE_SLOT,
                posix: place as u8 % 8,
            };
            let mut draw = Draw::new(words);
            let lifecycle = Lifecycle::drawn(&mut draw, process, slots);
            made += lifecycle.timers();
            let moves = lifecycle.into_moves().into_iter();
            running.push(Running { moves, draw, place });
        }
        if running.is_empty() {
            break;
        }
        turn += 1;
        // Round and round, but for some that are passed over.
        let count = running.len();
        let passed = running[turn % count].draw.below(3) as usize;
        let at = (turn + passed) % count;
        let Some(step) = running[at].moves.next() else {
            places.push(running.remove(at).place);
            continue;
        };
        match step {
            Move::Steps(more) => steps.extend(more),
            Move::LookAround { by, timeout_ms } => wait_for_all(&mut steps, by, timeout_ms),
        }
    }
    if !steps.iter().any(|step| matches!(step, Step::Lifecycle(_))) {
        // Few and short lifecycles may have nothing but calls and descriptors, which would make another
        // kind of plan.
        steps.extend([
            Step::Lifecycle(Act::Create {
                slot: SPARE_SLOT,
                clockid: Clock::Monotonic.id(),
                flags: 0,
            }),
            Step::Lifecycle(Act::Close { slot: SPARE_SLOT }),
        ]);
    }
    Plan { process, steps }
}

/// Waits for the first slot of every life that has one open.
fn wait_for_all(steps: &mut Vec<Step>, by: Means, timeout_ms: u16) {
    let mut open = 0_u32;
    let mut child_until = 0;
    for (index, step) in steps.iter().enumerate() {
        match *step {
            // What a child opens and closes is its own.
            _ if index < child_until => {}
            Step::Fork { .. } => child_until = index + 1 + step.inner(),
            Step::Open { slot, kind: FdKind::Timer(_) | FdKind::Dup(_) | FdKind::Passed(_) }
            | Step::Lifecycle(Act::Create { slot, .. }) => {
                open |= 1 << slot;
            }
            Step::Open { slot, .. } | Step::Lifecycle(Act::Close { slot }) => open &= !(1 << slot),
            _ => {}
        }
    }
    // Every second slot may be a copy of the one before it.
    let slots = open & 0x0055_5555;
    if slots != 0 {
        steps.push(Step::Lifecycle(Act::Wait { slots, by, timeout_ms }));
    }
}

#[cfg(test)]
mod tests;
