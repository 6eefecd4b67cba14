//! Makes what is left simple, field by field: nulls, no flags, zeros, the plainest descriptor, `int
//! 0x80` from an i386 process. A number that does not go to 0 is searched for its least value that
//! fails.

use settime32_abi::plan::{
    Call, Clock, Ending, Entry, FdKind, Page, Plan, Pointer, Process, SLOTS, Step,
};
use settime32_abi::timespec::OldTimespec32;

use super::Search;

/// Turns a step into a simpler one; leaves it alone where it does not apply.
type Simpler = fn(&mut Step);

/// All at once first, then step by step. Simplest last where one undoes another.
const SIMPLER: [Simpler; 16] = [
    |step| on_call(step, |call| call.meanwhile = None),
    |step| on_call(step, |call| call.entry = Entry::Int80),
    |step| on_call(step, |call| call.otmr = plainer(call.otmr)),
    |step| {
        on_call(step, |call| {
            call.otmr = if call.otmr == Pointer::Null { Pointer::Null } else { Pointer::Valid }
        })
    },
    |step| on_call(step, |call| call.otmr = Pointer::Null),
    |step| on_call(step, |call| call.utmr = plainer(call.utmr)),
    |step| {
        on_call(step, |call| {
            call.utmr = if call.utmr == Pointer::Null { Pointer::Null } else { Pointer::Valid }
        })
    },
    |step| on_call(step, |call| call.utmr = Pointer::Null),
    |step| on_call(step, |call| call.flags = 0),
    |step| on_call(step, |call| call.new.it_interval = OldTimespec32::default()),
    |step| on_call(step, |call| call.new.it_value = OldTimespec32::default()),
    |step| {
        if let Step::Fork { ending, .. } = step {
            *ending = Ending::Exit;
        }
    },
    |step| {
        if let Step::Wait { timeout_ms, .. } = step {
            *timeout_ms = 1;
        }
    },
    |step| {
        if let Step::Open { kind, .. } = step {
            *kind = plainer_kind(*kind);
        }
    },
    |step| {
        if let Step::Open {
            kind: kind @ (FdKind::Timer(_) | FdKind::Dup(_) | FdKind::Passed(_)),
            ..
        } = step
        {
            *kind = FdKind::Timer(Clock::Monotonic);
        }
    },
    |step| {
        if let Step::Open { kind, .. } = step {
            *kind = FdKind::Timer(Clock::Monotonic);
        }
    },
];

/// A number in a call.
type Number = fn(&mut Call) -> &mut i32;

const NUMBERS: [Number; 4] = [
    |call| &mut call.new.it_interval.tv_sec,
    |call| &mut call.new.it_interval.tv_nsec,
    |call| &mut call.new.it_value.tv_sec,
    |call| &mut call.new.it_value.tv_nsec,
];

/// Calls up to which each is made simple by itself; with more of them that would take too many
/// runs.
const CALLS_ONE_BY_ONE: usize = 16;

impl<E> Search<'_, E> {
    /// Makes everything as simple as it can be.
    pub(super) fn simplify(&mut self) -> Result<(), E> {
        self.attempt(Plan { process: Process::I386, ..self.best.clone() })?;
        for simpler in SIMPLER {
            let mut plan = self.best.clone();
            plan.steps.iter_mut().for_each(simpler);
            self.attempt(plan)?;
        }
        if self.best.calls() > CALLS_ONE_BY_ONE {
            return Ok(());
        }
        for at in 0..self.best.steps.len() {
            for simpler in SIMPLER {
                self.change(at, simpler)?;
            }
            if let Step::Call(call) = self.best.steps[at] {
                self.simplify_slot(at, call.slot)?;
                self.simplify_flags(at, call.flags)?;
                for number in NUMBERS {
                    self.simplify_number(at, number)?;
                }
            }
        }
        Ok(())
    }

    /// Tries the plan with another step in this place.
    fn change(&mut self, at: usize, change: impl Fn(&mut Step)) -> Result<bool, E> {
        let mut plan = self.best.clone();
        change(&mut plan.steps[at]);
        self.attempt(plan)
    }

    /// Another descriptor that is there already, so that this one need not be.
    fn simplify_slot(&mut self, at: usize, slot: u8) -> Result<(), E> {
        for other in 0..slot {
            if self.change(at, |step| on_call(step, |call| call.slot = other))? {
                break;
            }
        }
        Ok(())
    }

    fn simplify_flags(&mut self, at: usize, flags: i32) -> Result<(), E> {
        for bit in (0..i32::BITS).rev().map(|bit| 1_i32 << bit).filter(|bit| flags & bit != 0) {
            self.change(at, |step| on_call(step, |call| call.flags &= !bit))?;
        }
        Ok(())
    }

    /// 0 if that fails, else the number next to a smaller one that does not. A number of which the
    /// neighbour does not fail is taken for a special one, which is not worth a search.
    fn simplify_number(&mut self, at: usize, number: Number) -> Result<(), E> {
        let Step::Call(mut call) = self.best.steps[at] else { return Ok(()) };
        let value = *number(&mut call);
        let set = |to: i64| move |step: &mut Step| on_call(step, |call| *number(call) = to as i32);
        let sign = i64::from(value.signum());
        if value == 0
            || self.change(at, set(0))?
            || value.unsigned_abs() == 1
            || !self.change(at, set(i64::from(value) - sign))?
        {
            return Ok(());
        }
        // By size, since i32::MIN has no positive counterpart.
        let (mut passes, mut fails) = (0, i64::from(value.unsigned_abs()) - 1);
        while fails - passes > 1 && !self.cut_off {
            let middle = passes + (fails - passes) / 2;
            if self.change(at, set(sign * middle))? { fails = middle } else { passes = middle }
        }
        Ok(())
    }

    /// Numbers the slots in the order in which they are opened.
    pub(super) fn renumber(&mut self) -> Result<(), E> {
        if self.best.is_of_lifecycles() {
            return Ok(());
        }
        let mut names: [Option<u8>; SLOTS] = [None; SLOTS];
        let mut next = 0;
        for step in &self.best.steps {
            if let Step::Open { slot, .. } = step {
                names[usize::from(*slot)].get_or_insert_with(|| {
                    next += 1;
                    next - 1
                });
            }
        }
        let renamed = |slot: &mut u8| *slot = names[usize::from(*slot)].unwrap_or(*slot);
        let mut plan = self.best.clone();
        for step in &mut plan.steps {
            match step {
                Step::Call(Call { slot, .. }) | Step::Wait { slot, .. } => renamed(slot),
                Step::Open { slot, kind } => {
                    renamed(slot);
                    if let FdKind::Dup(of) | FdKind::Passed(of) = kind {
                        renamed(of);
                    }
                }
                _ => {}
            }
        }
        self.attempt(plan).map(drop)
    }
}

fn on_call(step: &mut Step, change: impl FnOnce(&mut Call)) {
    if let Step::Call(call) = step {
        change(call);
    }
}

/// A pointer with less about it.
fn plainer(pointer: Pointer) -> Pointer {
    match pointer {
        Pointer::Edge { first, next, .. } if first != Page::Resident && next == Page::Resident => {
            Pointer::On(first)
        }
        Pointer::Edge { next, .. } => Pointer::On(next),
        other => other,
    }
}

/// A descriptor with less about it, of the same answer.
fn plainer_kind(kind: FdKind) -> FdKind {
    match kind {
        FdKind::Timer(Clock::RealtimeAlarm) => FdKind::Timer(Clock::Realtime),
        FdKind::Timer(Clock::BoottimeAlarm) => FdKind::Timer(Clock::Boottime),
        FdKind::Number(_) | FdKind::Path => FdKind::Closed,
        other => other,
    }
}
