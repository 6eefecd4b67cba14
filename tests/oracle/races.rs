//! Where chance decides: threads, and memory that another thread writes. An exact tracer passes
//! whatever chance did, and what cannot be is seen.

use super::cases::case_plan;
use super::*;

/// A run of a case in which the dice fell so.
fn run_of(case: &str, dice: u64) -> Run {
    simulated(&case_plan(case, 3), dice)
}

fn raced(event: &&mut Event) -> bool {
    event.toctou
}

#[test]
fn whatever_chance_does_an_exact_tracer_passes() {
    for case in
        ["threads/many", "threads/one-fd", "threads/toctou-race", "threads/toctou-on-purpose"]
    {
        for dice in 0..6 {
            let run = run_of(case, dice);
            assert_clean(&judge(&run), run.plan.calls() as u64);
        }
    }
}

#[test]
fn memory_that_changed_is_counted() {
    let tally = |case| judge(&run_of(case, 1)).plans[&0].toctou;
    assert!(tally("threads/toctou-on-purpose") >= 1000);
    assert!(tally("threads/toctou-race") > 1000);
    assert_eq!(tally("threads/many"), 0);
}

#[rstest]
#[case::not_flagged(|event: &mut Event| event.toctou = false, "toctou")]
#[case::entry_as_used(|event: &mut Event| {
    let Some(Halves { it_interval: Some(it_interval), it_value: Some(it_value) }) = event.utmr_entry else { return };
    (event.utmr_used, event.toctou) = (Some(OldItimerspec32 { it_interval, it_value }), false);
}, "utmr_used")]
#[case::used_as_entry(|event: &mut Event| {
    event.utmr_entry = event.utmr_used.map(Into::into);
    event.toctou = true;
}, "toctou")]
#[case::neither_setting(|event: &mut Event| event.utmr_used.as_mut().unwrap().it_value.tv_nsec ^= 1, "utmr_used")]
fn what_a_raced_call_cannot_have_is_seen(#[case] alter: fn(&mut Event), #[case] field: &str) {
    let good = run_of("threads/toctou-race", 2);
    // The interval is what the next call reads back, so that those show which differ in it.
    let whole = |event: &Event| {
        event.utmr_entry.and_then(|entry| entry.it_interval)
            != event.utmr_used.map(|used| used.it_interval)
    };
    let differ: Vec<usize> = (0..good.events.len() - 1)
        .filter(|at| whole(&good.events[*at]) && good.events[*at].toctou)
        .collect();
    assert!(differ.len() > 100, "hardly any: {}", differ.len());
    for at in differ.into_iter().step_by(500) {
        let mut run = good.clone();
        alter(&mut run.events[at]);
        let findings = judge(&run);
        assert!(findings.mismatches() >= 1, "event {at} is wrong");
        let first = &findings.first[0];
        assert_eq!((first.kind, first.place.call), (Kind::Field, Some(at)), "{first}");
        assert!(first.differences.iter().any(|difference| difference.field == field), "{first}");
    }
}

#[test]
fn a_flag_without_a_reason_is_seen() {
    let mut run = run_of("threads/toctou-on-purpose", 2);
    run.events.iter_mut().filter(raced).take(1).for_each(|event| event.toctou = false);
    let calm = run
        .events
        .iter()
        .position(|event| !event.toctou && event.ret == Some(0) && event.utmr_entry.is_none())
        .unwrap();
    run.events[calm].toctou = true;
    let findings = judge(&run);
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Field)),
        (2, 2),
        "{}",
        words(&findings)
    );
}

#[test]
fn a_raced_call_that_was_lost_is_no_mismatch() {
    let good = run_of("threads/toctou-race", 4);
    // Several, since one may have used what nobody doubts.
    for at in [700, 703, 706, 709, 712, 715] {
        let mut run = good.clone();
        run.events.remove(at);
        let findings = judge_all(&[run], 1);
        assert_eq!((findings.mismatches(), findings.missing), (0, 1), "{at}: {}", words(&findings));
    }
}

#[test]
fn a_setting_of_threads_that_was_replaced_twice_is_seen() {
    let good = run_of("threads/one-fd", 3);
    let shared: Vec<usize> = (1..good.journal.operations.len())
        .filter(|at| good.journal.operations[*at].tid != good.journal.header.pid)
        .collect();
    let mut run = good.clone();
    // Both the kernel and an exact tracer tell the same story, which cannot be.
    let (one, other) = (shared[10], shared[300]);
    let interval = run.journal.operations[other].out_after[..8].to_vec();
    run.journal.operations[one].out_after[..8].copy_from_slice(&interval);
    let record = run.journal.operations[one];
    let told: OldItimerspec32 = bytemuck::pod_read_unaligned(&record.otmr_after());
    let event = run
        .events
        .iter_mut()
        .find(|event| event.tid == record.tid && event.utmr_used == Some(new_of(&record)))
        .unwrap();
    (event.old, event.otmr_written) = (Some(told.into()), Some(told));
    let findings = judge(&run);
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Model)),
        (1, 1),
        "{}",
        words(&findings)
    );
}

fn new_of(record: &Operation) -> OldItimerspec32 {
    bytemuck::pod_read_unaligned(&record.utmr_before())
}

#[rstest]
#[case::of_another_thread(|run: &mut Run, at: usize| run.events[at].tid = run.events[at].pid)]
#[case::the_thread_as_process(|run: &mut Run, at: usize| run.events[at].pid = run.events[at].tid)]
fn an_event_of_another_thread_is_seen(#[case] alter: fn(&mut Run, usize)) {
    let mut run = run_of("threads/many", 5);
    let at = run.events.iter().position(|event| event.tid != event.pid).unwrap();
    alter(&mut run, at + 30);
    assert!(judge(&run).mismatches() >= 1);
}

#[test]
fn a_thread_that_the_workload_did_not_start_is_seen() {
    let mut run = run_of("threads/many", 6);
    let pid = run.journal.header.pid;
    // A whole thread's calls, made by the first one instead.
    let tid = run.journal.operations.iter().find(|record| record.tid != pid).unwrap().tid;
    run.journal
        .operations
        .iter_mut()
        .filter(|record| record.tid == tid)
        .for_each(|record| record.tid = pid);
    run.events.iter_mut().filter(|event| event.tid == tid).for_each(|event| event.tid = pid);
    assert!(judge(&run).count(Kind::WorkloadLied) >= 1);
}
