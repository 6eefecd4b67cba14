//! Genes to steps: any list of genes becomes a valid plan, and what no call needs is not opened.

use settime32_abi::plan::{Call, Ending, Entry, FdKind, Plan, Pointer, SLOTS, Step};
use settime32_abi::timespec::OldItimerspec32;

use super::Mix;
use super::gene::{Gene, pick, scale16};
use super::table::{self, TABLE, TIMERS};
use super::values;

/// The most calls that one forked child makes.
const FORKED_CALLS: u32 = 8;
/// The longest wait, milliseconds.
const LONGEST_WAIT_MS: u32 = 3;
/// CPUs that threads are kept on; a machine with fewer counts round.
const CPUS: u32 = 4;

#[derive(Clone, Copy)]
enum Side {
    Nothing,
    SetClock,
    Reopen,
    Wait,
    Fork,
    Pin,
}

/// A fork that is not finished: where its step is, and the calls that the child still makes.
struct OpenFork {
    at: usize,
    calls_left: u32,
}

pub(super) fn assemble(genes: impl Iterator<Item = Gene>, calls: usize, mix: &Mix) -> Plan {
    let mut body = Vec::with_capacity(calls + calls / 8);
    let mut fork: Option<OpenFork> = None;
    for gene in genes {
        push_side(&mut body, &mut fork, &gene, mix);
        body.push(Step::Call(call(&gene)));
        if let Some(open) = &mut fork {
            open.calls_left -= 1;
            if open.calls_left == 0 {
                close_fork(&mut body, fork.take());
            }
        }
    }
    close_fork(&mut body, fork);
    let mut steps = prologue(&body);
    steps.append(&mut body);
    Plan { steps, ..Plan::default() }
}

fn push_side(body: &mut Vec<Step>, fork: &mut Option<OpenFork>, gene: &Gene, mix: &Mix) {
    let [set_clock, reopen, wait, forks, pin] =
        [mix.set_clock, mix.reopen, mix.wait, mix.fork, mix.pin].map(u32::from);
    let nothing = (1 << 16) - set_clock - reopen - wait - forks - pin;
    let shares = [
        (nothing, Side::Nothing),
        (pin, Side::Pin),
        (set_clock, Side::SetClock),
        (reopen, Side::Reopen),
        (wait, Side::Wait),
        (forks, Side::Fork),
    ];
    match pick(gene.side, &shares) {
        Side::Nothing => {}
        Side::SetClock => body.push(Step::SetClock),
        Side::Reopen => {
            let (slot, kind) = table::reopened(gene.side_detail);
            body.push(Step::Open { slot, kind });
        }
        Side::Wait => {
            let slot = scale16(gene.side_detail, u32::from(TIMERS)) as u8;
            let timeout_ms = 1 + (u32::from(gene.side_detail) % LONGEST_WAIT_MS) as u16;
            body.push(Step::Wait { slot, timeout_ms });
        }
        // As often anywhere as on one of them.
        Side::Pin => body.push(Step::Pin {
            cpu: scale16(gene.side_detail, 2 * CPUS).checked_sub(CPUS).map(|cpu| cpu as u8),
        }),
        // Forks do not nest.
        Side::Fork if fork.is_some() => {}
        Side::Fork => {
            *fork = Some(OpenFork {
                at: body.len(),
                calls_left: 1 + scale16(gene.side_detail, FORKED_CALLS),
            });
            body.push(Step::Fork { steps: 0, ending: Ending::Exit });
        }
    }
}

fn close_fork(body: &mut [Step], fork: Option<OpenFork>) {
    if let Some(OpenFork { at, .. }) = fork {
        // A child makes few calls with at most one other step each, so this is far below u16::MAX.
        body[at] = Step::Fork { steps: (body.len() - at - 1) as u16, ending: Ending::Exit };
    }
}

fn call(gene: &Gene) -> Call {
    /// Shares out of 65,536 of (`utmr`, `otmr`).
    const POINTERS: [(u32, (Pointer, Pointer)); 4] = [
        (12_000, (Pointer::Valid, Pointer::Null)),
        (51_000, (Pointer::Valid, Pointer::Valid)),
        (1_200, (Pointer::Null, Pointer::Null)),
        (1_336, (Pointer::Null, Pointer::Valid)),
    ];
    let (utmr, otmr) = pick(gene.pointers, &POINTERS);
    let new = OldItimerspec32 {
        it_interval: values::interval(gene.interval),
        it_value: values::value(gene.value),
    };
    Call {
        slot: table::called(gene.slot),
        flags: values::flags(gene.flags, gene.flags_detail),
        utmr,
        otmr,
        new,
        meanwhile: None,
        entry: Entry::Int80,
    }
}

/// Opens the slots of the table that the body uses, and what those are copies of.
fn prologue(body: &[Step]) -> Vec<Step> {
    let mut needed = [false; SLOTS];
    for step in body {
        match *step {
            Step::Call(Call { slot, .. }) | Step::Wait { slot, .. } => {
                needed[usize::from(slot)] = true
            }
            Step::Open { kind: FdKind::Dup(of) | FdKind::Passed(of), .. } => {
                needed[usize::from(of)] = true
            }
            Step::Open { .. }
            | Step::SetClock
            | Step::Fork { .. }
            | Step::Threads { .. }
            | Step::WakeAlarm { .. }
            | Step::Silent(_)
            | Step::Pin { .. }
            | Step::Lifecycle(_) => {}
        }
    }
    // Backwards, since a copy stands behind what it is a copy of.
    for slot in (0..SLOTS).rev() {
        if let (true, FdKind::Dup(of) | FdKind::Passed(of)) = (needed[slot], TABLE[slot]) {
            needed[usize::from(of)] = true;
        }
    }
    let wanted = (0..SLOTS).filter(|slot| needed[*slot]);
    wanted.map(|slot| Step::Open { slot: slot as u8, kind: TABLE[slot] }).collect()
}
