//! What a tracer writes besides events, and what a workload writes besides records: lines, summaries, headers.

use super::*;

/// What a tracer can print besides good lines; each is one finding.
#[rstest]
#[case::garbage(b"garbage\n", Kind::Unparseable)]
#[case::nothing(b"\n", Kind::Unparseable)]
#[case::another_event(br#"{"event":"timerfd_settime","pid":1}"#, Kind::Unparseable)]
#[case::cut_short(br#"{"event":"timerfd_settime32","entry_ns":1"#, Kind::Unparseable)]
#[case::not_utf8(b"{\"event\":\"timerfd_settime32\",\"comm\":\"\xff\"}", Kind::Unparseable)]
#[case::a_second_summary(
    br#"{"event":"summary","reported":20,"lost":{"buffer":0,"in_flight":0,"result":0,"follow":0},"unfinished":0}"#,
    Kind::Summary
)]
fn a_line_of_another_kind_is_seen(#[case] line: &[u8], #[case] kind: Kind) {
    let run = simulated(&generate::plan(1, 0, 20), 1);
    let mut oracle = oracle();
    run.events.iter().for_each(|event| oracle.event(event));
    oracle.summary(summary_of(&run.events, 0));
    oracle.line(line);
    oracle.plan_done(0, run.plan, run.journal);
    assert_one(&oracle.finish(), kind).unwrap();
}

#[rstest]
#[case::reported(|summary: &mut Summary| summary.reported += 1)]
#[case::unfinished(|summary: &mut Summary| summary.unfinished += 1)]
#[case::result(|summary: &mut Summary| summary.lost.result += 1)]
fn a_summary_that_contradicts_the_events_is_seen(#[case] alter: fn(&mut Summary)) {
    let run = simulated(&generate::plan(1, 0, 20), 1);
    let mut oracle = oracle();
    run.events.iter().for_each(|event| oracle.event(event));
    oracle.plan_done(0, run.plan, run.journal);
    let mut summary = summary_of(&run.events, 0);
    alter(&mut summary);
    oracle.summary(summary);
    assert_one(&oracle.finish(), Kind::Summary).unwrap();
}

#[test]
fn a_summary_that_is_missing_or_not_last_is_seen() {
    let run = simulated(&generate::plan(1, 0, 20), 1);
    let mut silent = oracle();
    run.events.iter().for_each(|event| silent.event(event));
    silent.plan_done(0, run.plan.clone(), run.journal.clone());
    assert_one(&silent.finish(), Kind::Summary).unwrap();

    let mut early = oracle();
    early.summary(summary_of(&run.events, 0));
    run.events.iter().for_each(|event| early.event(event));
    early.plan_done(0, run.plan, run.journal);
    let findings = early.finish();
    assert_eq!((findings.mismatches(), findings.count(Kind::Summary)), (20, 20));
}

#[test]
fn a_journal_of_another_length_is_one_finding() {
    let mut run = simulated(&generate::plan(1, 0, 20), 1);
    run.journal.records.pop();
    let findings = judge(&run);
    assert_one(&findings, Kind::WorkloadLied).unwrap();
    assert_eq!((findings.checked, findings.calls), (0, 20));
}

#[rstest]
#[case::pid(|run: &mut Run| run.journal.header.pid += 1)]
#[case::comm(|run: &mut Run| run.journal.header.comm[0] = b'x')]
#[case::clock_order(|run: &mut Run| run.journal.header.end.monotonic_after_ns = 0)]
#[case::clock_runs_backwards(|run: &mut Run| run.journal.header.end.monotonic_before_ns += 1_000_000_000)]
#[case::clock_set_forward(|run: &mut Run| run.journal.header.end.realtime_ns += 1_000_000_000)]
fn a_header_that_cannot_be_is_one_finding(#[case] alter: fn(&mut Run)) {
    let mut run = simulated(&dense_plan(2), 1);
    alter(&mut run);
    assert_one(&judge(&run), Kind::WorkloadLied).unwrap();
}
