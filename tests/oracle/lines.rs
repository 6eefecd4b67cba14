//! What a tracer writes besides events, and what a workload writes besides records: lines,
//! summaries, headers.

use super::*;

/// What a tracer can print besides good lines; each is one finding.
#[rstest]
#[case::garbage(b"garbage\n", Kind::Unparseable)]
#[case::nothing(b"\n", Kind::Unparseable)]
#[case::another_event(br#"{"event":"timerfd_settime","pid":1}"#, Kind::Unparseable)]
#[case::cut_short(br#"{"event":"timerfd_settime32","entry_ns":1"#, Kind::Unparseable)]
#[case::not_utf8(b"{\"event\":\"timerfd_settime32\",\"comm\":\"\xff\"}", Kind::Unparseable)]
#[case::a_second_summary(
    br#"{"event":"summary","reported":20,"lost":{"buffer":0,"in_flight":0,"result":0,"follow":0},"unknown":0,"unfinished":0,"blind":[]}"#,
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

/// A line of the run, altered; each alteration is one finding.
fn assert_undocumented(plan: &Plan, alter: impl Fn(&str) -> Option<String>, is_read: bool) {
    let run = simulated(plan, 1);
    let mut oracle = oracle();
    let lines = run.events.iter().map(|event| serde_json::to_string(event).unwrap());
    let lines = lines.chain([serde_json::to_string(&summary_of(&run.events, 0)).unwrap()]);
    let mut altered = 0;
    for line in lines {
        let other = alter(&line).filter(|_| altered == 0);
        altered += u64::from(other.is_some());
        oracle.line(other.unwrap_or(line).as_bytes());
    }
    assert_eq!(altered, 1, "the run has such a line");
    oracle.plan_done(0, run.plan, run.journal);
    let findings = oracle.finish();
    assert_eq!(findings.count(Kind::Undocumented), 1, "{}", words(&findings));
    assert_eq!(findings.mismatches() == 1, is_read, "{}", words(&findings));
}

/// What reads well all the same, and says nothing false.
#[rstest]
#[case::null_left_out(r#""otmr":null,"#, "")]
#[case::another_null_left_out(r#","otmr_written":null"#, "")]
#[case::key_nobody_knows(r#","ret":"#, r#","cookie":1,"ret":"#)]
#[case::null_instead_of_no_key(r#","ret":0}"#, r#","ret":0,"errno":null}"#)]
#[case::false_instead_of_no_key(r#","toctou":false"#, r#","toctou":false,"result_lost":false"#)]
#[case::within_a_structure(r#""it_interval":{"#, r#""it_interval":{"tv_usec":1,"#)]
#[case::in_the_summary(r#""unfinished":0,"#, r#""unfinished":0,"dropped":0,"#)]
#[case::list_left_out(r#","blind":[]"#, "")]
#[case::in_the_losses(r#""lost":{"#, r#""lost":{"other":0,"#)]
fn a_line_that_is_not_as_documented_is_seen(#[case] from: &str, #[case] to: &str) {
    let alter = |line: &str| line.contains(from).then(|| line.replacen(from, to, 1));
    assert_undocumented(&generate::plan(1, 0, 200), alter, true);
}

/// What cannot be read, so that its call has no event either.
#[rstest]
#[case::text_for_a_number(r#""ufd":"#, r#""ufd":"3","was":"#)]
#[case::number_for_a_text(r#""abi":"i386""#, r#""abi":386"#)]
#[case::number_that_does_not_fit(r#""cpu":"#, r#""cpu":99999999999,"was":"#)]
#[case::needed_key_left_out(r#""toctou":false,"#, "")]
#[case::key_that_is_there_twice(r#""toctou":false,"#, r#""toctou":false,"toctou":false,"#)]
fn a_value_of_another_type_is_seen(#[case] from: &str, #[case] to: &str) {
    let alter = |line: &str| line.contains(from).then(|| line.replacen(from, to, 1));
    assert_undocumented(&generate::plan(1, 0, 200), alter, false);
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
    run.journal.operations.pop();
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
