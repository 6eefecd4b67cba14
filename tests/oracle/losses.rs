//! Tracers that lose events in any pattern and count them: what they counted explains what is
//! missing, whichever calls are alike, and one more explains no less.

use proptest::prelude::{Rng, RngExt};
use proptest::test_runner::{RngAlgorithm, TestRng};
use settime32_abi::plan::{Call, Clock, Ending, FdKind, Plan, Pointer, Step};
use settime32_abi::timespec::OldItimerspec32;
use settime32_check::generate;
use settime32_check::oracle::Kind;

use super::{judge_all, simulated, words};

const SEEDS: u64 = 10_000;

/// Calls that differ in nothing but their time, by a process, its child and threads.
fn alike(rng: &mut TestRng) -> Plan {
    let call =
        Step::Call(Call { otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) });
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) }];
    for _ in 0..3 {
        let (threads, calls) = (rng.random_range(2..5), rng.random_range(1..6));
        steps.extend(vec![call.clone(); rng.random_range(0..5)]);
        match rng.random_range(0..3) {
            0 => steps.push(Step::Threads { threads, calls }),
            1 => steps.push(Step::Fork { steps: threads * calls, ending: Ending::Exit }),
            _ => {}
        }
        steps.extend(vec![call.clone(); usize::from(threads * calls)]);
    }
    Plan { steps, ..Plan::default() }
}

/// Which of so many events are lost.
fn losses(rng: &mut TestRng, events: usize) -> Vec<bool> {
    match rng.random_range(0..3) {
        // As a kernel that preempts was seen to lose them.
        0 => (0..events).map(|event| event % 4 == 3).collect(),
        1 => (0..events).map(|_| rng.random_range(0..3) == 0).collect(),
        _ => {
            let (from, to) = (rng.random_range(0..events), rng.random_range(0..events));
            (0..events).map(|event| (from..to).contains(&event)).collect()
        }
    }
}

#[test]
fn any_losses_that_were_counted_are_explained_and_no_others() {
    for seed in 0..SEEDS {
        let mut key = [0x3c; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = &mut TestRng::from_seed(RngAlgorithm::ChaCha, &key);
        let plan = match seed % 2 {
            0 => alike(rng),
            _ => generate::plan(rng.next_u64(), 0, 30),
        };
        let mut run = simulated(&plan, seed);
        let is_lost = losses(rng, run.events.len());
        let mut lost = is_lost.iter();
        run.events.retain(|_| lost.next() == Some(&false));
        let lost = is_lost.into_iter().filter(|is_lost| *is_lost).count() as u64;
        let findings = judge_all(std::slice::from_ref(&run), lost);
        assert_eq!(findings.mismatches(), 0, "seed {seed}: {}", words(&findings));
        let calls = plan.calls() as u64;
        assert_eq!((findings.missing, findings.checked), (lost, calls - lost), "seed {seed}");
        if lost > 0 {
            let findings = judge_all(&[run], lost - 1);
            assert!(findings.count(Kind::Missing) > 0, "seed {seed} passed");
            assert_eq!(findings.mismatches(), findings.count(Kind::Missing), "seed {seed}");
        }
    }
}
