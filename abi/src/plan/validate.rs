//! What the types of a plan cannot say: whether each step can be done after those before it. It
//! decides nothing about what a step gives.

use super::{
    Act, Api, Call, Ending, Entry, FdKind, MAX_STEPS, POSIX_TIMERS, Page, Plan, PlanError, Pointer,
    PosixAct, Process, SLOTS, Step,
};
use crate::timespec::OldTimespec32;

/// Bytes of one half of the structure, which the kernel copies at once.
const HALF: u8 = size_of::<OldTimespec32>() as u8;

/// See [`Plan::validate`].
pub(super) fn check(plan: &Plan) -> Result<(), PlanError> {
    if plan.steps.len() > MAX_STEPS {
        return Err(PlanError::Step { index: MAX_STEPS, reason: "the plan is too long" });
    }
    let mut walk = Walk {
        process: plan.process,
        of_lifecycles: plan.is_of_lifecycles(),
        filled: [false; SLOTS],
        posix: [false; POSIX_TIMERS],
        inside: None,
    };
    for (index, step) in plan.steps.iter().enumerate() {
        walk.begin(index);
        let left = plan.steps.len() - index - 1;
        if let Some(reason) = walk.fault(index, step, left) {
            return Err(PlanError::Step { index, reason });
        }
        walk.follow(index, step);
    }
    Ok(())
}

/// The steps of a forked child or of threads.
struct Inside {
    /// The step after its last.
    end: usize,
    /// The table as the parent keeps it; threads share it.
    table: [bool; SLOTS],
    /// The POSIX timers of the parent.
    posix: [bool; POSIX_TIMERS],
    /// How a child ends; `None` in threads.
    ending: Option<Ending>,
}

struct Walk {
    process: Process,
    of_lifecycles: bool,
    filled: [bool; SLOTS],
    posix: [bool; POSIX_TIMERS],
    inside: Option<Inside>,
}

impl Walk {
    fn begin(&mut self, index: usize) {
        if let Some(inside) = self.inside.take_if(|inside| inside.end == index) {
            self.filled = inside.table;
            self.posix = inside.posix;
        }
    }

    fn fault(&self, index: usize, step: &Step, left: usize) -> Option<&'static str> {
        let known = |slot: u8| self.filled.get(usize::from(slot)).copied().unwrap_or(false);
        let threads = matches!(self.inside, Some(Inside { ending: None, .. }));
        match *step {
            _ if self.process != process_of(self.process, step) => {
                Some("a step of another kind of process")
            }
            _ if threads && !matches!(step, Step::Call(_)) => {
                Some("a step of a thread that is no call")
            }
            Step::Threads { .. } | Step::Silent(_) if self.of_lifecycles => {
                Some("threads or a silent call in a plan of lifecycles")
            }
            Step::Lifecycle(act) => self.fault_of_act(act),
            Step::Open { slot, .. } if usize::from(slot) >= SLOTS => Some("no such slot"),
            Step::Open { kind: FdKind::Dup(of) | FdKind::Passed(of), .. } if !known(of) => {
                Some("a copy of an empty slot")
            }
            Step::Open { kind: FdKind::Dup(of) | FdKind::Passed(of), slot } if of == slot => {
                Some("a copy of itself")
            }
            Step::Call(Call { slot, .. }) | Step::Wait { slot, .. } if !known(slot) => {
                Some("an empty slot")
            }
            Step::Call(ref call) => self.fault_of_call(index, call, threads),
            Step::Fork { .. } | Step::Threads { .. } if self.inside.is_some() => {
                Some("a fork or threads inside of others")
            }
            Step::Fork { .. } | Step::Threads { .. } if step.inner() > left => {
                Some("a fork or threads past the end")
            }
            Step::Threads { threads, calls } if threads < 2 || calls == 0 => {
                Some("fewer than two threads, or none with a call")
            }
            _ => None,
        }
    }

    fn fault_of_act(&self, act: Act) -> Option<&'static str> {
        let known = |slot: u8| self.filled.get(usize::from(slot)).copied().unwrap_or(false);
        let there = |timer: u8| self.posix.get(usize::from(timer)).copied();
        match act {
            Act::Create { slot, .. } if usize::from(slot) >= SLOTS => Some("no such slot"),
            Act::Close { slot }
            | Act::Settime64 { slot, .. }
            | Act::Gettime { slot, .. }
            | Act::Read { slot, .. }
                if !known(slot) =>
            {
                Some("an empty slot")
            }
            Act::Wait { slots, .. }
                if slots == 0
                    || !(0..SLOTS as u8).filter(|slot| slots >> slot & 1 == 1).all(known) =>
            {
                Some("a wait for no slot, or for an empty one")
            }
            Act::Settime64 { api: Api::Time32, .. } => {
                Some("64-bit times in a call with 32-bit ones")
            }
            Act::Posix { act: PosixAct::Create { clock }, .. } if clock.is_alarm() => {
                Some("a POSIX timer of an alarm clock")
            }
            Act::Posix { timer, act } => match (there(timer), act) {
                (None, _) => Some("no such POSIX timer"),
                (Some(false), PosixAct::Set { .. } | PosixAct::Get | PosixAct::Delete) => {
                    Some("a POSIX timer that was not created")
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn fault_of_call(&self, index: usize, call: &Call, threads: bool) -> Option<&'static str> {
        let plain = |pointer| matches!(pointer, Pointer::Null | Pointer::Valid);
        let held_for_threads = call.utmr == Pointer::On(Page::Held) && plain(call.otmr);
        let in_child = matches!(self.inside, Some(Inside { ending: Some(_), .. }));
        let killed_here = self
            .inside
            .as_ref()
            .is_some_and(|inside| inside.ending == Some(Ending::Kill) && inside.end == index + 1);
        if self.of_lifecycles
            && !(plain(call.utmr)
                && plain(call.otmr)
                && call.meanwhile.is_none()
                && call.entry != Entry::Rewritten)
        {
            return Some("an odd call in a plan of lifecycles");
        }
        if let Some(reason) = call.utmr.fault(None).or(call.otmr.fault(Some(call.utmr))) {
            return Some(reason);
        }
        match call.meanwhile {
            Some(_) if call.touches(Page::Held) && !halves_apart(call.utmr) => {
                return Some("a half that is rewritten in part");
            }
            Some(_) if call.touches(Page::Held) => {}
            Some(_) if call.utmr != Pointer::Valid || !plain(call.otmr) => {
                return Some("a race for memory that is not plain");
            }
            Some(other)
                if ![call.new, other]
                    .iter()
                    .all(|new| new.is_valid() && new.it_value.as_nanos() > 0) =>
            {
                return Some("a race that decides the result");
            }
            Some(_) if self.inside.is_some() => return Some("a race in a child or in a thread"),
            _ => {}
        }
        match () {
            () if call.touches(Page::Withheld) && !killed_here => {
                Some("a withheld page where nobody is killed")
            }
            () if call.touches(Page::Withheld) && !withheld_whole(call) => {
                Some("a withheld page that is not all there is")
            }
            () if call.touches(Page::Held) && in_child => Some("a held page in a forked child"),
            () if threads && !held_for_threads && !(plain(call.utmr) && plain(call.otmr)) => {
                Some("a thread with odd pointers")
            }
            () if call.entry == Entry::Rewritten && self.inside.is_some() => {
                Some("a ptracer of a child or of a thread")
            }
            () => None,
        }
    }

    fn follow(&mut self, index: usize, step: &Step) {
        let inside = |ending| Inside {
            end: index + 1 + step.inner(),
            table: self.filled,
            posix: self.posix,
            ending,
        };
        match *step {
            Step::Open { slot, .. } | Step::Lifecycle(Act::Create { slot, .. }) => {
                self.filled[usize::from(slot)] = true
            }
            Step::Lifecycle(Act::Close { slot }) => self.filled[usize::from(slot)] = false,
            Step::Lifecycle(Act::Posix { timer, act: PosixAct::Create { .. } }) => {
                self.posix[usize::from(timer)] = true
            }
            Step::Lifecycle(Act::Posix { timer, act: PosixAct::Delete }) => {
                self.posix[usize::from(timer)] = false
            }
            Step::Fork { ending, .. } => {
                self.inside = Some(inside(Some(ending)));
                // `copy_signal`: a child has none of its parent's.
                self.posix = [false; POSIX_TIMERS];
            }
            Step::Threads { .. } => self.inside = Some(inside(None)),
            _ => {}
        }
    }
}

/// Whether each half lies on one page.
fn halves_apart(utmr: Pointer) -> bool {
    match utmr {
        Pointer::Edge { before, .. } => before == HALF,
        _ => true,
    }
}

/// The other pointer is then of no account.
fn withheld_whole(call: &Call) -> bool {
    let plain = |pointer| matches!(pointer, Pointer::Null | Pointer::Valid);
    let withheld = Pointer::On(Page::Withheld);
    (call.utmr == withheld && plain(call.otmr))
        || (call.utmr == Pointer::Valid && call.otmr == withheld)
}

/// The kind of process that can do a step: this one, if any can.
fn process_of(this: Process, step: &Step) -> Process {
    let (utmr, otmr, entry) = match step {
        Step::Call(Call { utmr, otmr, entry, .. }) => (utmr, otmr, entry),
        Step::Silent(call) => return call.process(),
        Step::Lifecycle(
            Act::Settime64 { api: Api::Native, .. } | Act::Gettime { api: Api::Native, .. },
        ) => return Process::Amd64,
        _ => return this,
    };
    let either = |pointer| *utmr == pointer || *otmr == pointer;
    if *entry == Entry::Vdso || either(Pointer::LastUserBytes) {
        Process::I386
    } else if either(Pointer::Across4Gib) || either(Pointer::StackLowHalf) {
        Process::Amd64
    } else {
        this
    }
}
