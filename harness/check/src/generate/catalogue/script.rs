//! Writes the plan of a case: steps one after the other, and times drawn from the seed.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use settime32_abi::plan::{Call, Clock, FdKind, Plan, Process, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};
use sha2::{Digest, Sha256};

use crate::generate::gene::scale;
use crate::generate::values::{self, TimeGene};

/// A plan being written.
pub struct Script {
    process: Process,
    steps: Vec<Step>,
    rng: TestRng,
}

impl Script {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        let key = Sha256::new()
            .chain_update(b"settime32 case")
            .chain_update(seed.to_le_bytes())
            .chain_update(name)
            .finalize();
        Self {
            process: Process::I386,
            steps: Vec::new(),
            rng: TestRng::from_seed(RngAlgorithm::ChaCha, &key),
        }
    }

    pub(crate) fn into_plan(self) -> Plan {
        Plan { process: self.process, steps: self.steps }
    }

    /// Has the plan done by a 64-bit process.
    pub(super) fn in_64_bits(&mut self) {
        self.process = Process::Amd64;
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(super) fn open(&mut self, slot: u8, kind: FdKind) {
        self.step(Step::Open { slot, kind });
    }

    pub(crate) fn timer(&mut self, slot: u8, clock: Clock) {
        self.open(slot, FdKind::Timer(clock));
    }

    pub(crate) fn call(&mut self, call: Call) {
        self.step(Step::Call(call));
    }

    /// Sets the timer of a slot, so that the next call on it has something to give back.
    pub(crate) fn arm(&mut self, slot: u8) {
        let call = Call::plain(slot, self.valid());
        self.call(call);
    }

    /// A call that is odd in some way, and one that shows what it did to the timer.
    pub(super) fn call_and_look(&mut self, call: Call) {
        self.call(call);
        self.arm(call.slot);
    }

    pub(super) fn word(&mut self) -> u32 {
        self.rng.next_u32()
    }

    pub(super) fn below(&mut self, count: u32) -> u32 {
        scale(self.rng.next_u32(), count)
    }

    pub(crate) fn any_flags(&mut self) -> i32 {
        let (class, detail) = (self.word() as u16, self.word());
        values::flags(class, detail)
    }

    /// Times of all kinds, a good part of them invalid.
    pub(crate) fn any(&mut self) -> OldItimerspec32 {
        let mut gene = || TimeGene {
            class: self.rng.next_u32() as u16,
            seconds: self.rng.next_u32(),
            nanos: self.rng.next_u32(),
        };
        OldItimerspec32 { it_interval: values::interval(gene()), it_value: values::value(gene()) }
    }

    /// Valid times that arm a timer for a while, with all four numbers apart from zero.
    pub(crate) fn valid(&mut self) -> OldItimerspec32 {
        let mut time = || OldTimespec32 {
            tv_sec: 1000 + self.below(1 << 30) as i32,
            tv_nsec: 1 + self.below(999_999_999) as i32,
        };
        OldItimerspec32 { it_interval: time(), it_value: time() }
    }
}
