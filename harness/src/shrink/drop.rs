//! Leaves steps out: halves first, then ever smaller parts, last single steps (Zeller's ddmin by
//! complements), from the end to the beginning, since what comes behind a failure seldom causes it.

use settime32_abi::plan::{Call, FdKind, Plan, SLOTS, Step};

use super::Search;

impl<E> Search<'_, E> {
    /// Tries the step that failed alone, then without what came behind it.
    pub(super) fn guess(&mut self, step: Option<usize>) -> Result<(), E> {
        let Some(step) = step.filter(|step| *step < self.best.steps.len()) else { return Ok(()) };
        let units = units(&self.best);
        let Some(of) = units.iter().position(|unit| unit.steps.contains(&step)) else {
            return Ok(());
        };
        let alone: Vec<usize> =
            (0..units.len()).filter(|unit| *unit != of && !units[*unit].opens).collect();
        if self.attempt(tidied(without(&self.best, &units, &alone)))? {
            return Ok(());
        }
        let behind: Vec<usize> = (of + 1..units.len()).collect();
        self.attempt(without(&self.best, &units, &behind)).map(drop)
    }

    /// Leaves out all that can be left out.
    pub(super) fn drop_steps(&mut self) -> Result<(), E> {
        self.attempt(tidied(self.best.clone()))?;
        let mut size = units(&self.best).len().div_ceil(2);
        while size > 0 {
            self.drop_parts(size)?;
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        self.flatten()
    }

    /// Leaves out parts of so many units, from the end on.
    fn drop_parts(&mut self, size: usize) -> Result<(), E> {
        let mut end = units(&self.best).len();
        while end > 0 && !self.cut_off {
            let units = units(&self.best);
            end = end.min(units.len());
            let part: Vec<usize> = (end.saturating_sub(size)..end).collect();
            // Descriptors that nobody uses any more go in the same turn; if just that matters, they
            // stay.
            let smaller = without(&self.best, &units, &part);
            if !self.attempt(tidied(smaller.clone()))? {
                self.attempt(smaller)?;
            }
            end = end.saturating_sub(size);
        }
        Ok(())
    }

    /// Forked children and threads: their steps in the parent, or fewer of them.
    fn flatten(&mut self) -> Result<(), E> {
        let mut at = 0;
        while at < self.best.steps.len() && !self.cut_off {
            let inner = self.best.steps[at].inner();
            if inner > 0 {
                let mut plain = self.best.clone();
                plain.steps.remove(at);
                if !self.attempt(plain)? {
                    self.drop_inner(at, inner)?;
                }
            }
            at += 1;
        }
        Ok(())
    }

    fn drop_inner(&mut self, at: usize, inner: usize) -> Result<(), E> {
        if let Step::Threads { .. } = self.best.steps[at] {
            for least in [(2, 1), (2, u16::MAX), (u16::MAX, 1)] {
                self.attempt(with_threads(&self.best, at, least))?;
            }
            return Ok(());
        }
        for child in (at + 1..=at + inner).rev() {
            let mut fewer = self.best.clone();
            remove_step(&mut fewer, child);
            self.attempt(fewer)?;
        }
        Ok(())
    }
}

/// What can be left out as a whole: a step, with those that belong to it.
struct Unit {
    steps: std::ops::Range<usize>,
    /// It puts something into a slot.
    opens: bool,
}

fn units(plan: &Plan) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut at = 0;
    while at < plan.steps.len() {
        let end = (at + 1 + plan.steps[at].inner()).min(plan.steps.len());
        units.push(Unit { steps: at..end, opens: matches!(plan.steps[at], Step::Open { .. }) });
        at = end;
    }
    units
}

fn without(plan: &Plan, units: &[Unit], dropped: &[usize]) -> Plan {
    let mut keep = vec![true; plan.steps.len()];
    for unit in dropped {
        keep[units[*unit].steps.clone()].fill(false);
    }
    let kept = plan.steps.iter().zip(keep).filter(|(_, keep)| *keep).map(|(step, _)| step.clone());
    Plan { steps: kept.collect(), ..*plan }
}

/// With no more than so many threads, and calls of each.
fn with_threads(plan: &Plan, at: usize, (threads_max, calls_max): (u16, u16)) -> Plan {
    let Step::Threads { threads, calls } = plan.steps[at] else { return plan.clone() };
    let (first, behind) = (at + 1, at + 1 + plan.steps[at].inner());
    let (fewer_threads, fewer_calls) = (threads.min(threads_max), calls.min(calls_max));
    let of_each = plan.steps[first..behind].chunks(usize::from(calls)).take(fewer_threads.into());
    let kept = of_each.flat_map(|steps| &steps[..usize::from(fewer_calls)]);
    let header = Step::Threads { threads: fewer_threads, calls: fewer_calls };
    let steps = plan.steps[..at].iter().chain([&header]).chain(kept).chain(&plan.steps[behind..]);
    Plan { steps: steps.cloned().collect(), ..*plan }
}

/// Takes a step out, and out of the child's count if it is a child's.
fn remove_step(plan: &mut Plan, index: usize) {
    let parent = (0..index).rev().find(|at| matches!(plan.steps[*at], Step::Fork { .. }));
    if let Some(at) = parent
        && let Step::Fork { steps, .. } = &mut plan.steps[at]
        && index <= at + usize::from(*steps)
    {
        *steps -= 1;
    }
    plan.steps.remove(index);
}

/// The plan without the descriptors that nothing needs.
fn tidied(mut plan: Plan) -> Plan {
    if plan.is_of_lifecycles() {
        // There a descriptor has a life of its own.
        return plan;
    }
    let mut child_until = 0;
    let inside: Vec<bool> = (0..plan.steps.len())
        .map(|at| {
            if let Step::Fork { .. } = plan.steps[at] {
                child_until = at + 1 + plan.steps[at].inner();
                return false;
            }
            at < child_until
        })
        .collect();
    let mut needed = [false; SLOTS];
    for at in (0..plan.steps.len()).rev() {
        match plan.steps[at] {
            Step::Call(Call { slot, .. }) | Step::Wait { slot, .. } => {
                needed[usize::from(slot)] = true
            }
            Step::Open { slot, .. } if !needed[usize::from(slot)] => remove_step(&mut plan, at),
            Step::Open { slot, kind } => {
                // What a child opens is not there for its parent.
                needed[usize::from(slot)] = inside[at];
                if let FdKind::Dup(of) | FdKind::Passed(of) = kind {
                    needed[usize::from(of)] = true;
                }
            }
            _ => {}
        }
    }
    plan
}
