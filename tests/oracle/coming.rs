//! A tracer that came or went while calls were made: it sees one stretch of them, whole and exact.

use super::cases::case_plan;
use super::*;

fn good() -> Run {
    simulated(&case_plan("threads/ends-after-call", 4), 4)
}

fn judge_partly(run: &Run, lost: u64, partial: bool) -> Findings {
    let mut oracle = Oracle::new(Config {
        cpus: CPUS,
        comm: Some(COMM.to_owned()),
        partial,
        ..Config::default()
    });
    oracle.plan_done(0, run.plan.clone(), run.journal.clone());
    run.events.iter().for_each(|event| oracle.event(event));
    oracle.summary(summary_of(&run.events, lost));
    oracle.finish()
}

/// The events of the process's own calls, which are a stretch of their thread.
fn cut(run: &mut Run, keep: std::ops::Range<usize>) {
    let pid = run.journal.header.pid;
    let mut own = 0;
    run.events.retain(|event| {
        own += usize::from(event.pid == pid);
        event.pid == pid && keep.contains(&(own - 1))
    });
}

#[test]
fn calls_before_and_behind_are_not_missing_when_it_came_and_went() {
    let mut run = good();
    cut(&mut run, 10..40);
    let findings = judge_partly(&run, 0, true);
    assert_eq!(
        (findings.mismatches(), findings.missing, findings.checked),
        (0, 0, 30),
        "{}",
        words(&findings)
    );
    assert_eq!(findings.outside, run.plan.calls() as u64 - 30);
    assert!(
        judge_partly(&run, 0, false).count(Kind::Missing) > 0,
        "of one that was there all the time they are"
    );
}

#[test]
fn a_gap_in_the_stretch_is_missing() {
    let mut run = good();
    cut(&mut run, 10..40);
    run.events.remove(15);
    assert_eq!(judge_partly(&run, 0, true).count(Kind::Missing), 1);
    let findings = judge_partly(&run, 1, true);
    assert_eq!(
        (findings.mismatches(), findings.missing),
        (0, 1),
        "counted, it is a loss: {}",
        words(&findings)
    );
}

#[test]
fn only_the_last_call_of_a_stretch_may_be_unfinished() {
    let unfinished = |event: &mut Event| {
        (event.unfinished, event.exit_ns, event.ret, event.otmr_written, event.old) =
            (true, None, None, None, None);
    };
    let mut run = good();
    cut(&mut run, 10..40);
    let mut last = run.clone();
    unfinished(last.events.last_mut().unwrap());
    assert_eq!(
        judge_partly(&last, 0, true).mismatches(),
        0,
        "{}",
        words(&judge_partly(&last, 0, true))
    );
    assert!(judge_partly(&last, 0, false).mismatches() > 0);
    // What it says all the same must be right.
    last.events.last_mut().unwrap().utmr_used.as_mut().unwrap().it_interval.tv_nsec ^= 1;
    assert_eq!(judge_partly(&last, 0, true).count(Kind::Field), 1);
    unfinished(&mut run.events[12]);
    assert!(judge_partly(&run, 0, true).mismatches() > 0);
}

#[test]
fn more_losses_than_calls_without_an_event_are_a_wrong_count() {
    let mut run = good();
    run.events.remove(20);
    assert_eq!(judge_partly(&run, 1, false).mismatches(), 0);
    assert_eq!(judge_partly(&run, 2, false).count(Kind::Summary), 1);
}
