//! Does the steps of a plan in order. It stops at the first step that cannot be done; a call under
//! test can always be done, whatever its result.

use std::ops::Range;
use std::sync::Mutex;

use bytemuck::Zeroable;
use nix::errno::Errno;
use settime32_abi::journal::{Clocks, Header, MAGIC, Operation, VERSION};
use settime32_abi::plan::{Ending, FdKind, Page, Plan, SLOTS, Step};

use crate::call::{self, Scratch, Turn};
use crate::journal::Journal;
use crate::kernel::{ChildError, Kernel, Source};
use crate::lifecycle::Bench;

/// Why a plan was not done to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A step that prepares for calls failed.
    #[error("step {step} of the plan: failed to {action}: {errno}")]
    Step {
        /// Index of the step.
        step: usize,
        /// What could not be done.
        action: &'static str,
        /// Why.
        errno: Errno,
    },
    /// A forked child did not do its steps.
    #[error("step {step} of the plan: {cause}")]
    Child {
        /// Index of the `Fork`.
        step: usize,
        /// What became of the child.
        cause: ChildError,
    },
    /// Something outside of the steps failed.
    #[error("failed to {action}: {errno}")]
    Around {
        /// What could not be done.
        action: &'static str,
        /// Why.
        errno: Errno,
    },
}

/// A descriptor table's entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Slot {
    #[default]
    Empty,
    /// A descriptor, to be closed when another takes its place.
    Open(i32),
    /// A number with nothing open behind it.
    Number(i32),
}

type Table = [Slot; SLOTS];

/// Does the plan. The header is the journal's in any case, and says whether all steps were done.
pub fn run<K: Kernel>(
    plan: &Plan,
    kernel: &mut K,
    journal: &mut Journal,
) -> (Header, Result<(), Failure>) {
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        pid: kernel.identity().pid,
        operation_size: size_of::<Operation>() as u32,
        ..Zeroable::zeroed()
    };
    let done = run_between_clocks(plan, kernel, journal, &mut header);
    header.complete = done.is_ok().into();
    header.operations = journal.len() as u32;
    (header, done)
}

fn run_between_clocks<K: Kernel>(
    plan: &Plan,
    kernel: &mut K,
    journal: &mut Journal,
    header: &mut Header,
) -> Result<(), Failure> {
    let around = |action| move |errno| Failure::Around { action, errno };
    header.comm = kernel.comm().map_err(around("read the name of this thread"))?;
    let scratch = Scratch::new().map_err(around("map memory for the calls"))?;
    let lifecycle = plan
        .is_of_lifecycles()
        .then(|| Bench::new(plan.process))
        .transpose()
        .map_err(around("map memory for operations on timers"))?;
    header.start = read_clocks(kernel)?;
    let since_ns = header.start.monotonic_after_ns;
    let mut workbench = Workbench {
        steps: &plan.steps,
        table: Table::default(),
        scratch,
        lifecycle,
        journal,
        since_ns,
    };
    workbench.do_steps(kernel, 0..plan.steps.len())?;
    header.end = read_clocks(kernel)?;
    Ok(())
}

fn read_clocks<K: Kernel>(kernel: &K) -> Result<Clocks, Failure> {
    kernel.clocks().map_err(|errno| Failure::Around { action: "read the clocks", errno })
}

/// All that steps work on.
struct Workbench<'a> {
    steps: &'a [Step],
    table: Table,
    scratch: Scratch,
    /// Of a plan of lifecycles.
    lifecycle: Option<Bench>,
    journal: &'a mut Journal,
    /// When the last call under test had ended, or all threads of the last step had.
    since_ns: i64,
}

impl Workbench<'_> {
    fn do_steps<K: Kernel>(&mut self, kernel: &mut K, range: Range<usize>) -> Result<(), Failure> {
        let mut next = range.start;
        while next < range.end {
            let step = next;
            let fail = |action| move |errno| Failure::Step { step, action, errno };
            next += 1;
            if !matches!(self.steps[step], Step::Call(_)) {
                self.scratch.calm();
            }
            match self.steps[step] {
                _ if self.lifecycle.is_some() => next = self.live(kernel, step)?,
                Step::Call(ref call) => {
                    let ufd = self.number(call.slot);
                    let turn = Turn { step: step as u32, before_ns: self.since_ns };
                    let keep = |record| self.journal.push(record);
                    self.since_ns = call::make(kernel, &mut self.scratch, turn, ufd, call, keep)
                        .map_err(fail(PREPARE))?;
                }
                Step::Open { slot, kind } => {
                    self.open(kernel, slot, kind).map_err(fail(action_of(kind)))?
                }
                Step::SetClock => {
                    kernel.set_clock().map(drop).map_err(fail("set CLOCK_REALTIME"))?
                }
                Step::WakeAlarm { allowed } => {
                    kernel.allow_wake_alarm(allowed).map_err(fail("change CAP_WAKE_ALARM"))?
                }
                Step::Pin { cpu } => kernel.pin(cpu).map_err(fail(PIN))?,
                Step::Silent(call) => {
                    kernel.silent(call).map_err(fail("make a call that is to go unreported"))?
                }
                Step::Wait { slot, timeout_ms } => {
                    self.wait(kernel, slot, timeout_ms).map_err(fail("wait for a timer"))?
                }
                Step::Fork { ending, .. } => {
                    next += self.steps[step].inner();
                    self.fork(kernel, step, step + 1..next, ending)?;
                }
                Step::Threads { threads, calls } => {
                    next += self.steps[step].inner();
                    self.threads(kernel, step + 1, threads, calls)?;
                }
                Step::Lifecycle(_) => unreachable!("a plan with such a step is of lifecycles"),
            }
        }
        Ok(())
    }

    /// Threads share the table, and each has memory of its own for its calls.
    fn threads<K: Kernel>(
        &mut self,
        kernel: &mut K,
        first: usize,
        threads: u16,
        calls: u16,
    ) -> Result<(), Failure> {
        let around = |action| move |errno| Failure::Step { step: first - 1, action, errno };
        let calls = usize::from(calls);
        self.scratch.calm();
        let together = self.steps[first..first + calls]
            .iter()
            .any(|step| matches!(step, Step::Call(call) if call.touches(Page::Held)));
        let keeper =
            together.then(|| self.scratch.keeper()).transpose().map_err(around("hold pages"))?;
        if let Some(keeper) = &keeper {
            keeper.give_together(threads.into());
        }
        let (table, steps, since_ns) = (self.table, self.steps, self.since_ns);
        // Each thread locks its own, once.
        let records: Vec<_> = self
            .journal
            .reserve(usize::from(threads) * calls)
            .chunks_mut(calls.max(1))
            .map(Mutex::new)
            .collect();
        let done = kernel.side_by_side(threads, |thread, kernel| {
            let mut scratch =
                Scratch::new().map_err(around("map memory for the calls of a thread"))?;
            scratch.use_keeper(keeper.clone());
            let mut before_ns = since_ns;
            let mut records = records[usize::from(thread)].lock().expect("no other thread has it");
            for (record, step) in records.iter_mut().zip(first + usize::from(thread) * calls..) {
                let Step::Call(call) = &steps[step] else {
                    unreachable!("Plan::validate lets threads make calls only")
                };
                let keep = |made| *record = made;
                let turn = Turn { step: step as u32, before_ns };
                let ufd = number(&table, call.slot);
                before_ns = call::make(kernel, &mut scratch, turn, ufd, call, keep)
                    .map_err(|errno| Failure::Step { step, action: PREPARE, errno })?;
            }
            Ok(())
        });
        if let Some(keeper) = keeper {
            keeper.give_together(1);
        }
        self.since_ns = kernel.monotonic_ns().map_err(around("read the clock"))?;
        done
    }

    fn number(&self, slot: u8) -> i32 {
        number(&self.table, slot)
    }

    fn open<K: Kernel>(&mut self, kernel: &mut K, slot: u8, kind: FdKind) -> Result<(), Errno> {
        let source = self.source(kind);
        if let Slot::Open(fd) = self.table[usize::from(slot)] {
            kernel.close(fd);
        }
        self.table[usize::from(slot)] = match (source, kind) {
            (Some(source), _) => Slot::Open(kernel.open(source)?),
            (None, FdKind::Number(number)) => Slot::Number(number),
            (None, _) => Slot::Number(kernel.closed_number(slot)?),
        };
        Ok(())
    }

    /// Where a descriptor of this kind comes from; `None` for a number with nothing open behind it,
    /// which a copy of such a number is too.
    fn source(&self, kind: FdKind) -> Option<Source> {
        let open = |slot: u8| match self.table[usize::from(slot)] {
            Slot::Open(fd) => Some(fd),
            Slot::Number(_) | Slot::Empty => None,
        };
        match kind {
            FdKind::Timer(clock) => Some(Source::Timer(clock)),
            FdKind::Dup(of) => open(of).map(Source::Dup),
            FdKind::Passed(of) => open(of).map(Source::Passed),
            FdKind::Closed | FdKind::Number(_) => None,
            FdKind::Path => Some(Source::Path),
            FdKind::NotATimer(other) => Some(Source::NotATimer(other)),
        }
    }

    fn wait<K: Kernel>(&self, kernel: &mut K, slot: u8, timeout_ms: u16) -> Result<(), Errno> {
        match self.table[usize::from(slot)] {
            Slot::Open(fd) => kernel.wait_readable(fd, timeout_ms),
            Slot::Number(_) | Slot::Empty => Ok(()),
        }
    }

    fn fork<K: Kernel>(
        &mut self,
        kernel: &mut K,
        step: usize,
        range: Range<usize>,
        ending: Ending,
    ) -> Result<(), Failure> {
        let table = self.table;
        let done = kernel.in_child(ending, |kernel| self.do_steps(kernel, range));
        // In the parent of a real fork nothing changed; a kernel that does the work in place has
        // changed it.
        self.table = table;
        done.map(drop).map_err(|cause| Failure::Child { step, cause })
    }
}

const PREPARE: &str = "prepare a call";
const PIN: &str = "choose the CPUs of a thread";

fn number(table: &Table, slot: u8) -> i32 {
    match table[usize::from(slot)] {
        Slot::Open(fd) | Slot::Number(fd) => fd,
        Slot::Empty => unreachable!("Plan::validate refuses the use of an empty slot"),
    }
}

fn action_of(kind: FdKind) -> &'static str {
    match kind {
        FdKind::Timer(_) => "create a timerfd",
        FdKind::Dup(_) => "duplicate a descriptor",
        FdKind::Passed(_) => "pass a descriptor through a socket",
        FdKind::Closed | FdKind::Number(_) => "find a number that is closed",
        FdKind::Path => "open the root directory with O_PATH",
        FdKind::NotATimer(_) => "open a descriptor that is no timerfd",
    }
}

mod lifecycle;
#[cfg(test)]
mod tests;
