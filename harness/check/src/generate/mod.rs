//! Generates plans: the one source of the calls under test, for bulk runs ([`plan`]) and for
//! property tests ([`plan_strategy`]). It decides what is called, never what ought to happen; that
//! is the model's.
//!
//! A plan is drawn as a list of [`gene::Gene`]s, each a handful of plain integers, and [`assemble`]
//! turns genes into steps. Bulk runs draw the integers straight from a ChaCha stream, property
//! tests draw them through proptest's own integer strategies; both then take the same path. Every
//! meaning of an integer is laid out so that a smaller one is simpler (null, 0, `CLOCK_MONOTONIC`,
//! slot 0), so shrinking integers shrinks the plan, and any list of genes makes a valid plan, so
//! shrinking cannot leave the valid ones.

mod assemble;
pub mod catalogue;
mod gene;
pub mod lifecycle;
mod table;
mod values;

use proptest::collection::SizeRange;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use settime32_abi::plan::{MAX_STEPS, Plan, SLOTS};

use gene::{GENE_LEN, Gene};

/// The most calls that [`plan`] takes: a call comes with at most one other step, and the table is
/// opened first.
pub const MAX_CALLS: usize = (MAX_STEPS - SLOTS) / 2;

/// How often something else than a call is done, each out of 65,536 calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// `CLOCK_REALTIME` is set.
    pub set_clock: u16,
    /// A slot is opened anew.
    pub reopen: u16,
    /// A timer is waited for.
    pub wait: u16,
    /// The next calls are made by a forked child.
    pub fork: u16,
    /// The thread is kept on one CPU, or no longer.
    pub pin: u16,
}

impl Mix {
    /// For plans of thousands of calls: waits and forks take as long as hundreds of calls, so they
    /// are rare.
    pub const BULK: Self = Self { set_clock: 110, reopen: 1638, wait: 16, fork: 33, pin: 33 };
    /// For plans of a few calls, in which each of them should still come up.
    pub const DENSE: Self =
        Self { set_clock: 6000, reopen: 6000, wait: 1000, fork: 3500, pin: 3500 };
}

/// The most calls in one plan, which is one process of the workload.
pub const CALLS_PER_PLAN: u64 = 10_000;

/// The plan number `index` of the run with this seed: exactly `calls` calls, the same on every
/// machine.
///
/// # Panics
///
/// When `calls` is above [`MAX_CALLS`], which a plan cannot hold.
pub fn plan(seed: u64, index: u64, calls: usize) -> Plan {
    assert!(calls <= MAX_CALLS, "a plan of {calls} calls is over the limit of {MAX_CALLS}");
    let mut rng = rng(seed, index);
    let genes = (0..calls).map(|_| {
        let mut bytes = [0; GENE_LEN];
        rng.fill_bytes(&mut bytes);
        Gene::from_bytes(&bytes)
    });
    assemble::assemble(genes, calls, &Mix::BULK)
}

/// ChaCha, since its stream is specified and so cannot change under a recorded seed.
fn rng(seed: u64, index: u64) -> TestRng {
    let mut key = *b"settime32 plan, seed and index: ";
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&index.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &key)
}

/// Plans with a number of calls in this range, for `proptest!`. Give a range that begins at 1, not
/// an exact number, so that shrinking can drop calls; steps that no call needs go with them.
pub fn plan_strategy(calls: impl Into<SizeRange>) -> impl Strategy<Value = Plan> + Clone {
    proptest::collection::vec(gene::strategy(), calls).prop_map(|genes| {
        let calls = genes.len();
        assemble::assemble(genes.into_iter(), calls, &Mix::DENSE)
    })
}

#[cfg(test)]
mod tests;
