//! Tracers that lose events in any pattern and count them: what they counted explains what is
//! missing, whichever calls are alike, and one more explains no less.

use proptest::prelude::{Rng, RngExt};
use proptest::test_runner::{RngAlgorithm, TestRng};
use rstest::rstest;
use settime32_abi::plan::{Call, Clock, Ending, FdKind, Plan, Pointer, Step};
use settime32_abi::timespec::OldItimerspec32;
use settime32_check::generate;
use settime32_check::oracle::{Config, Findings, Kind, Oracle};

use super::simulate::summary_of;
use super::{COMM, CPUS, Event, Run, judge_all, simulated, words};

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

/// Judges a run of which the tracer saw a part.
fn partial(run: &Run) -> Findings {
    let config = Config { cpus: CPUS, comm: Some(COMM.to_owned()), ..Config::default() };
    let mut oracle = Oracle::new(Config { partial: true, ..config });
    oracle.plan_done(0, run.plan.clone(), run.journal.clone());
    run.events.iter().for_each(|event| oracle.event(event));
    oracle.summary(summary_of(&run.events, 0));
    oracle.finish()
}

/// A tracer that comes while calls are made and goes before they end, and loses nothing between.
#[test]
fn a_tracer_that_comes_and_goes_among_calls_that_are_alike_is_exact() {
    for seed in 0..SEEDS / 10 {
        let mut key = [0x3d; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = &mut TestRng::from_seed(RngAlgorithm::ChaCha, &key);
        let mut run = simulated(&alike(rng), seed);
        let (came, gone) = (rng.random_range(0..run.events.len()), rng.random_range(0..3));
        run.events.drain(..came);
        run.events.truncate(run.events.len().saturating_sub(gone).max(1));
        let findings = partial(&run);
        assert_eq!(
            (findings.mismatches(), findings.missing),
            (0, 0),
            "seed {seed}: {}",
            words(&findings)
        );
        // And one that lost the last but one of a thread's, uncounted.
        let last = run.events.last().unwrap().clone();
        let before = run.events.iter().rposition(|event| event.tid == last.tid && *event != last);
        let first = run.events.iter().position(|event| event.tid == last.tid);
        if let Some(at) = before.filter(|at| first != Some(*at)) {
            run.events.remove(at);
            assert!(partial(&run).count(Kind::Missing) > 0, "seed {seed} passed");
        }
    }
}

/// Only a thread's last call can be under way as the tracer goes, however many events are compared
/// at once.
#[test]
fn an_unfinished_call_before_others_is_seen_wherever_it_is() {
    let call = Step::Call(Call::plain(0, OldItimerspec32::default()));
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) }];
    steps.extend(vec![call; 200]);
    let good = simulated(&Plan { steps, ..Plan::default() }, 1);
    for at in 0..good.events.len() {
        let mut run = good.clone();
        let event = &mut run.events[at];
        event.unfinished = true;
        (event.exit_ns, event.ret, event.errno, event.otmr_written) = (None, None, None, None);
        let findings = partial(&run);
        let is_last = at + 1 == good.events.len();
        assert_eq!(findings.count(Kind::Field), u64::from(!is_last), "{at}: {}", words(&findings));
    }
}

/// An event that says that its return was lost, and tells of it all the same.
#[rstest]
#[case::errno(|event: &mut Event| event.errno = Some("EPERM".into()))]
#[case::exit(|event: &mut Event| event.exit_ns = Some(event.entry_ns + 1))]
fn a_lost_return_of_which_something_is_told_is_seen(#[case] tell: fn(&mut Event)) {
    let mut run = simulated(&generate::plan(3, 0, 50), 3);
    let event = &mut run.events[20];
    event.result_lost = true;
    (event.exit_ns, event.ret, event.errno, event.otmr_written) = (None, None, None, None);
    assert_eq!(judge_all(std::slice::from_ref(&run), 0).count(Kind::Field), 0);
    tell(&mut run.events[20]);
    assert_eq!(judge_all(&[run], 0).count(Kind::Field), 1);
}
