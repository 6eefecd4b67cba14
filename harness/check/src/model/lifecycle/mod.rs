//! Follows a plan of lifecycles through its journal, and says of each operation what the kernel must
//! have done: the result, what was left, the ticks, who was told, what was cancelled, released, and
//! which answer only an expiry explains.
//!
//! It takes for granted what the [model](super) of the call under test does. What the handler's
//! lateness decides it does not predict; it says whether what was seen can be.

mod posix;
mod timer;
mod walk;

use settime32_abi::journal::Journal;
use settime32_abi::plan::Plan;
use settime32_abi::timespec::Itimerspec64;

pub use timer::{Arming, Need};

/// Something that is not as it must be, without its place.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// What.
    pub field: &'static str,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

fn wrong(field: &'static str, expected: String, found: String) -> Wrong {
    Wrong { field, expected, found }
}

/// What is wrong with an operation.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Index of the operation.
    pub operation: usize,
    /// Index of the step.
    pub step: usize,
    /// The workload did not do what the plan asks for; else it is the kernel's answer.
    pub lie: bool,
    /// What.
    pub wrong: Wrong,
}

/// What is known of an operation.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The timer that the call came to.
    pub timer: Option<usize>,
    /// The call found the timer's file, and failed for want of a capability.
    pub refused: bool,
    /// The new setting as the kernel takes it over.
    pub used: Option<Itimerspec64>,
    /// The setting that was handed out, before it was cut.
    pub old: Option<Itimerspec64>,
    /// Timers of which a thread was told here.
    pub woken: Vec<usize>,
    /// Timers that the setting of the clock cancelled, and whether that was so already and nobody
    /// had been told.
    pub canceled: Vec<(usize, bool)>,
    /// Timers whose last descriptor was closed here.
    pub released: Vec<usize>,
    /// What was read.
    pub ticks: Option<u64>,
    /// Id of the POSIX timer.
    pub posix: Option<i32>,
}

/// A timer of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Lived {
    /// Number of its clock.
    pub clockid: i32,
    /// The operation of its creation.
    pub created: usize,
    /// The operation that released it; none when the process's end did.
    pub released: Option<usize>,
}

/// What became of a plan.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Of each operation.
    pub told: Vec<Told>,
    /// All timers, in the order in which they were created.
    pub timers: Vec<Lived>,
    /// All armings, in their order.
    pub armings: Vec<Arming>,
    /// Everything that only an expiry explains.
    pub needs: Vec<Need>,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Follows the plan.
pub fn follow(plan: &Plan, journal: &Journal) -> Story {
    walk::Walk::new(plan, journal).through()
}

#[cfg(test)]
mod tests;
