//! The oracle on simulated runs: an exact tracer passes, and every altered event, journal and
//! summary is caught, as one finding of the right kind. What real kernels do is for the tests in a
//! virtual machine.

mod cases;
mod coming;
mod fields;
mod lifecycle;
mod lines;
mod losses;
mod races;
#[path = "../simulate/mod.rs"]
mod simulate;
#[path = "../simulate/lifecycle/mod.rs"]
mod simulate_lifecycle;
mod workload;

use proptest::prelude::*;
use rstest::rstest;
use settime32_abi::journal::{ENTRY_VDSO, Operation};
use settime32_abi::output::{Abi, Blind, CallEvent, EntryPath, Halves, Summary};
use settime32_abi::plan::{Call, Ending, FdKind, Plan, Pointer, Step};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32, OldTimespec32};
use settime32_check::generate::{self, catalogue};
use settime32_check::oracle::{Config, Findings, Kind, Oracle};
use settime32_check::verdict::{Provoked, Verdict};
use simulate::{Bug, COMM, CPUS, Machine, Run, event_with, summary_of};

type Event = CallEvent<'static>;

fn oracle() -> Oracle {
    Oracle::new(Config { cpus: CPUS, comm: Some(COMM.to_owned()), ..Config::default() })
}

fn simulated(plan: &Plan, seed: u64) -> Run {
    Machine::new(seed, None).run(plan)
}

/// A run of generated calls; dense, so that each kind of step is in it.
fn any_run() -> impl Strategy<Value = Run> {
    (generate::plan_strategy(1..60), any::<u64>()).prop_map(|(plan, seed)| simulated(&plan, seed))
}

/// Runs whose plans are compared with their events, of which the tracer lost `lost`.
fn judge_all(runs: &[Run], lost: u64) -> Findings {
    let mut oracle = oracle();
    for (index, run) in runs.iter().enumerate() {
        oracle.plan_done(index as u64, run.plan.clone(), run.journal.clone());
        run.events.iter().for_each(|event| oracle.event(event));
    }
    oracle.summary(summary_of(runs.iter().flat_map(|run| &run.events), lost));
    oracle.finish()
}

fn judge(run: &Run) -> Findings {
    judge_all(std::slice::from_ref(run), 0)
}

fn calls(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.plan.calls() as u64).sum()
}

/// Nothing but `kind`, once.
fn assert_one(findings: &Findings, kind: Kind) -> Result<(), TestCaseError> {
    prop_assert_eq!(findings.mismatches(), 1, "{:?} wanted, found {}", kind, words(findings));
    prop_assert_eq!(findings.count(kind), 1, "{:?} wanted, found {}", kind, words(findings));
    prop_assert_eq!(Verdict::of(findings, 0, Provoked::default()), Verdict::Violation);
    Ok(())
}

fn words(findings: &Findings) -> String {
    findings.first.iter().map(|finding| format!("\n{finding}")).collect()
}

fn assert_clean(findings: &Findings, calls: u64) {
    assert_eq!(findings.mismatches(), 0, "{}", words(findings));
    assert_eq!((findings.checked, findings.calls, findings.missing), (calls, calls, 0));
    assert_eq!(
        Verdict::of(findings, calls, Provoked::default()),
        if calls == 0 { Verdict::Inconclusive } else { Verdict::Pass }
    );
}

proptest! {
    #[test]
    fn an_exact_tracer_passes(run in any_run()) {
        assert_clean(&judge(&run), run.plan.calls() as u64);
    }

    /// Journals before, after and in the middle of their events, over the text that the tracer
    /// prints.
    #[test]
    fn events_and_journals_may_come_in_any_order(seed in any::<u64>(), late in prop::collection::vec(0usize..90, 4)) {
        let mut machine = Machine::new(seed, None);
        let runs: Vec<Run> = (0..4).map(|index| machine.run(&generate::plan(seed, index, 40))).collect();
        let lines: Vec<Vec<u8>> = runs.iter().flat_map(|run| &run.events).map(|event| serde_json::to_vec(event).unwrap()).collect();
        let mut oracle = oracle();
        let mut journals = runs.iter().enumerate().zip(&late).peekable();
        for (at, line) in lines.iter().enumerate() {
            while let Some(((index, run), _)) = journals.next_if(|((index, _), late)| index * 40 + **late <= at) {
                oracle.plan_done(index as u64, run.plan.clone(), run.journal.clone());
            }
            oracle.line(line);
            prop_assert_eq!(oracle.received(), at as u64 + 1);
        }
        journals.for_each(|((index, run), _)| oracle.plan_done(index as u64, run.plan.clone(), run.journal.clone()));
        prop_assert_eq!(oracle.outstanding(), 0, "all that is needed has come");
        oracle.line(serde_json::to_string(&summary_of(runs.iter().flat_map(|run| &run.events), 0)).unwrap().as_bytes());
        assert_clean(&oracle.finish(), 160);
    }

    #[test]
    fn an_altered_field_is_seen(mut run in any_run(), at: prop::sample::Index, field in 0..fields::FIELDS.len(), bit in 0u32..128) {
        let at = at.index(run.events.len());
        fields::FIELDS[field].1(&mut run.events[at], bit);
        let findings = judge(&run);
        assert_one(&findings, Kind::Field)?;
        let found = &findings.first[0];
        prop_assert_eq!((found.place.plan, found.place.call), (Some(0), Some(at)), "{}", found);
        let named: Vec<&str> = found.differences.iter().map(|difference| difference.field).collect();
        prop_assert_eq!(named, vec![fields::FIELDS[field].0]);
    }

    #[test]
    fn a_missing_event_is_seen(mut run in any_run(), at: prop::sample::Index) {
        let at = at.index(run.events.len());
        let gone = run.events.remove(at);
        let findings = judge(&run);
        assert_one(&findings, Kind::Missing)?;
        let blamed = findings.first[0].place.call.unwrap();
        prop_assert!(alike(&gone, &run, blamed), "call {} blamed for event {}", blamed, at);
        // The same, but the tracer said so.
        let findings = judge_all(&[run], 1);
        prop_assert_eq!((findings.mismatches(), findings.missing), (0, 1), "{}", words(&findings));
        prop_assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Inconclusive);
    }

    /// More is missing than was counted.
    #[test]
    fn a_loss_that_was_not_counted_is_seen(seed in any::<u64>(), first in 0usize..80, second in 0usize..80) {
        prop_assume!(first != second);
        let mut run = simulated(&generate::plan(seed, 0, 80), seed);
        run.events.remove(first.max(second));
        run.events.remove(first.min(second));
        let findings = judge_all(&[run], 1);
        prop_assert_eq!(findings.count(Kind::Missing), 2, "{}", words(&findings));
        prop_assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Violation);
    }

    #[test]
    fn a_doubled_event_is_seen(mut run in any_run(), at: prop::sample::Index, later in 1usize..8) {
        let at = at.index(run.events.len());
        let copy = run.events[at].clone();
        run.events.insert((at + later).min(run.events.len()), copy);
        assert_one(&judge(&run), Kind::Doubled)?;
    }

    #[test]
    fn swapped_events_are_seen(mut run in any_run(), at: prop::sample::Index) {
        let of_one_thread = |at: &usize| run.events[*at].tid == run.events[*at + 1].tid;
        let pairs: Vec<usize> = (0..run.events.len() - 1).filter(of_one_thread).collect();
        prop_assume!(!pairs.is_empty());
        let at = pairs[at.index(pairs.len())];
        run.events.swap(at, at + 1);
        assert_one(&judge(&run), Kind::OutOfOrder)?;
    }

    /// Of another process, or of the right one but of no call: a call of another run at a time in
    /// between.
    #[test]
    fn an_event_of_no_call_is_seen(mut run in any_run(), other in any_run(), at: prop::sample::Index, ours: bool) {
        let at = at.index(run.events.len());
        let mut extra = other.events[0].clone();
        let neighbour = &run.events[at];
        (extra.entry_ns, extra.exit_ns) = (neighbour.exit_ns.unwrap() + 1, Some(neighbour.exit_ns.unwrap() + 2));
        // So that it is not by chance what some call's event would be.
        extra.utmr = Some(0x1234_5678);
        extra.otmr = Some(0x1234_5698);
        let tid = if ours { neighbour.tid } else { 7 };
        (extra.pid, extra.tid) = (tid, tid);
        run.events.insert(at + 1, extra);
        assert_one(&judge(&run), Kind::Extra)?;
    }

    #[test]
    fn timestamps_that_cannot_be_are_seen(mut run in any_run(), at: prop::sample::Index, how in 0..5) {
        let at = at.index(run.events.len());
        let header = run.journal.header;
        let before = at.checked_sub(1).map(|before| run.events[before].clone());
        let event = &mut run.events[at];
        let exit = event.exit_ns.unwrap();
        match (how, before) {
            (0, _) => event.entry_ns = exit + 1,
            (1, _) => event.entry_ns = header.start.monotonic_before_ns as u64 - 5_000,
            (2, _) => event.exit_ns = Some(header.end.monotonic_after_ns as u64 + 5_000),
            (3, Some(before)) if before.tid == event.tid => event.entry_ns = before.exit_ns.unwrap() - 1,
            (4, _) => event.exit_ns = Some(u64::MAX),
            _ => event.exit_ns = Some(0),
        }
        assert_one(&judge(&run), Kind::BadTimestamp)?;
    }

    /// What tracers get wrong as a whole, on the one call.
    #[test]
    fn wrong_structures_are_seen(mut run in any_run(), at: prop::sample::Index, how in 0..10) {
        let at = at.index(run.events.len());
        let before = run.events[at.saturating_sub(1)].clone();
        let event = &mut run.events[at];
        let good = event.clone();
        let swap = |times: OldItimerspec32| OldItimerspec32 { it_interval: times.it_value, it_value: times.it_interval };
        let wide_swap = |times: Itimerspec64| Itimerspec64 { it_interval: times.it_value, it_value: times.it_interval };
        match how {
            0 => event.utmr_entry = event.utmr_entry.map(|Halves { it_interval, it_value }| Halves { it_interval: it_value, it_value: it_interval }),
            1 => event.otmr_written = event.otmr_written.map(swap),
            2 => event.utmr_entry = Some(OldItimerspec32::default().into()),
            3 => event.otmr_written = event.utmr_used,
            4 => event.utmr_used = event.utmr_used.map(swap),
            5 => event.old = event.old.map(wide_swap),
            6 => event.old = event.utmr_used.map(Itimerspec64::from),
            7 => event.utmr_used = before.utmr_used,
            8 => event.old = before.old,
            _ => event.otmr_written = before.otmr_written,
        }
        prop_assume!(*event != good);
        assert_one(&judge(&run), Kind::Field)?;
    }

    /// Identities of a parent and its child: an event under the other's name, with everything else
    /// right.
    #[test]
    fn a_siblings_identity_is_seen(mut run in any_run(), at: prop::sample::Index) {
        let main = run.journal.header.pid;
        let child = run.events.iter().position(|event| event.pid != main);
        prop_assume!(child.is_some() && run.events.iter().any(|event| event.pid == main));
        let child = run.events[child.unwrap()].pid;
        let at = at.index(run.events.len());
        let other = if run.events[at].pid == main { child } else { main };
        (run.events[at].pid, run.events[at].tid) = (other, other);
        assert_one(&judge(&run), Kind::Field)?;
    }

    /// Every bit of every record; the bytes at `otmr` before a call that wrote there are nobody's
    /// business, and a time that is off contradicts others only where it has neighbours.
    #[test]
    fn an_altered_record_is_seen(mut run in any_run(), at: prop::sample::Index, bit in 0usize..184 * 8) {
        let at = at.index(run.journal.operations.len());
        let record = &mut run.journal.operations[at];
        let time = (0..16 * 8).contains(&bit);
        let unseen = time || record.ret == 0 && record.otmr() != 0 && (120 * 8..136 * 8).contains(&bit);
        bytemuck::bytes_of_mut(record)[bit / 8] ^= 1 << (bit % 8);
        let findings = judge(&run);
        prop_assert!(unseen || findings.mismatches() > 0);
        let kinds = [Kind::WorkloadLied, Kind::Model, Kind::Field, Kind::BadTimestamp];
        prop_assert!(findings.counts.keys().all(|kind| kinds[..if time { 4 } else { 3 }].contains(kind)), "{}", words(&findings));
    }
}

/// Not every tracer can tell; one that can must.
#[rstest]
#[case::may_be_missing(false)]
#[case::must_be_there(true)]
fn an_entry_path_that_is_needed_is_missed(#[case] entry_path_needed: bool) {
    let mut run = simulated(&dense_plan(3), 3);
    let path = |entry| if entry == ENTRY_VDSO { EntryPath::Fast } else { EntryPath::Int80 };
    for (event, record) in run.events.iter_mut().zip(&run.journal.operations) {
        event.entry_path = Some(path(record.entry));
    }
    let judge = |run: &Run| {
        let mut oracle = Oracle::new(Config {
            entry_path_needed,
            cpus: CPUS,
            comm: Some(COMM.to_owned()),
            ..Config::default()
        });
        oracle.plan_done(0, run.plan.clone(), run.journal.clone());
        run.events.iter().for_each(|event| oracle.event(event));
        oracle.summary(summary_of(&run.events, 0));
        oracle.finish()
    };
    assert_eq!(judge(&run).mismatches(), 0);
    run.events[50].entry_path = None;
    assert_eq!(judge(&run).count(Kind::Field), u64::from(entry_path_needed));
}

/// Whether the event of call `blamed` would be the one that is gone, but for its time.
fn alike(gone: &Event, run: &Run, blamed: usize) -> bool {
    let record = &run.journal.operations[blamed];
    gone.tid == record.tid
        && gone.ufd == record.ufd()
        && gone.flags == record.flags()
        && gone.ret == Some(i64::from(record.ret))
}

/// A plan in which the wrong kernel shows: dense in every situation.
fn dense_plan(seed: u64) -> Plan {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed as u8; 32]);
    generate::plan_strategy(800)
        .new_tree(&mut TestRunner::new_with_rng(Config::default(), rng))
        .unwrap()
        .current()
}

#[test]
fn thousands_of_calls_of_several_plans_pass() {
    let mut machine = Machine::new(5, None);
    let mut runs: Vec<Run> =
        (0..3).map(|index| machine.run(&generate::plan(5, index, 4000))).collect();
    runs.extend((0..6).map(|seed| machine.run(&dense_plan(seed))));
    assert_clean(&judge_all(&runs, 0), calls(&runs));
}

#[rstest]
#[case(Bug::DisarmDropsInterval)]
#[case(Bug::CanceledIsNotArmed)]
#[case(Bug::CanceledWritesOld)]
#[case(Bug::DescriptorFirst)]
#[case(Bug::DisarmIgnoresInterval)]
#[case(Bug::WholeIntervalLeft)]
#[case(Bug::StartedEarly)]
#[case(Bug::OldIsSwapped)]
#[case(Bug::ClockSetUnnoticed)]
fn a_kernel_that_is_wrong_is_seen(#[case] bug: Bug) {
    let mut machine = Machine::new(5, Some(bug));
    let runs: Vec<Run> = (0..6).map(|seed| machine.run(&dense_plan(seed))).collect();
    let findings = judge_all(&runs, 0);
    assert!(findings.count(Kind::Model) > 0, "{bug:?} passed");
    assert_eq!(findings.mismatches(), findings.count(Kind::Model), "{}", words(&findings));
}

/// A ring buffer that was full for long, several times.
#[rstest]
#[case(&[(500, 2300)])]
#[case(&[(3, 12), (40, 900), (1000, 1001), (1400, 2990)])]
#[case(&[(0, 2999)])]
#[case(&[(1, 3000)])]
fn long_gaps_that_were_counted_are_no_mismatch(#[case] gaps: &[(usize, usize)]) {
    let mut run = simulated(&generate::plan(3, 0, 3000), 3);
    for &(from, to) in gaps.iter().rev() {
        run.events.drain(from..to);
    }
    let lost = gaps.iter().map(|(from, to)| (to - from) as u64).sum();
    let findings = judge_all(&[run], lost);
    assert_eq!(findings.mismatches(), 0, "{}", words(&findings));
    assert_eq!((findings.missing, findings.checked), (lost, 3000 - lost));
    assert_eq!(Verdict::of(&findings, 3000, Provoked::default()), Verdict::Inconclusive);
}

/// As bpftrace prints it: every structure is zeros.
#[test]
fn a_tracer_that_is_always_wrong_is_wrong_once_a_call() {
    let mut run = simulated(&generate::plan(4, 0, 3000), 4);
    let mut altered = 0;
    for event in &mut run.events {
        let zeros = event.utmr_entry.map(|_| OldItimerspec32::default().into());
        altered += u64::from(zeros != event.utmr_entry);
        event.utmr_entry = zeros;
    }
    let findings = judge(&run);
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Field)),
        (altered, altered),
        "{}",
        words(&findings)
    );
    assert_eq!(findings.first.len(), 100);
}

#[test]
fn a_result_that_was_lost_and_counted_is_no_mismatch() {
    let mut run = simulated(&generate::plan(4, 0, 300), 4);
    let lose = |event: &mut Event| {
        (event.exit_ns, event.ret, event.errno, event.otmr_written, event.result_lost) =
            (None, None, None, None, true);
    };
    [0, 5, 150, 299].into_iter().for_each(|at| lose(&mut run.events[at]));
    let findings = judge(&run);
    assert_eq!(
        (findings.mismatches(), findings.checked, findings.lost),
        (0, 296, 4),
        "{}",
        words(&findings)
    );
    assert_eq!(Verdict::of(&findings, 300, Provoked::default()), Verdict::Inconclusive);
}

/// Of a process that was not followed, or while the tracer was blind.
#[rstest]
#[case::not_followed(|summary: &mut Summary| summary.lost.follow = 1)]
#[case::blind(|summary: &mut Summary| summary.blind.push(Blind { from_ns: 1, to_ns: u64::MAX, reason: "kprobes are switched off".into() }))]
fn calls_that_nobody_can_count_are_inconclusive(#[case] alter: fn(&mut Summary)) {
    let mut run = simulated(&dense_plan(1), 4);
    let main = run.journal.header.pid;
    run.events.retain(|event| event.pid == main);
    let mut oracle = oracle();
    run.events.iter().for_each(|event| oracle.event(event));
    oracle.plan_done(0, run.plan, run.journal);
    let mut summary = summary_of(&run.events, 0);
    alter(&mut summary);
    oracle.summary(summary);
    let findings = oracle.finish();
    assert!(findings.missing > 0 && findings.mismatches() == 0, "{}", words(&findings));
    assert_eq!(Verdict::of(&findings, 1, Provoked::default()), Verdict::Inconclusive);
}

/// So many calls at most: the kernel passed over what may have been another process's.
#[test]
fn what_is_unknown_excuses_calls_and_demands_none() {
    let judged = |missing: usize, unknown| {
        let mut run = simulated(&generate::plan(4, 0, 300), 4);
        run.events.drain(..missing);
        let mut oracle = oracle();
        run.events.iter().for_each(|event| oracle.event(event));
        oracle.plan_done(0, run.plan, run.journal);
        oracle.summary(Summary { unknown, ..summary_of(&run.events, 0) });
        let findings = oracle.finish();
        Verdict::of(&findings, 300, Provoked::default())
    };
    assert_eq!(
        [judged(0, 5), judged(3, 5), judged(5, 5)],
        [Verdict::Pass, Verdict::Inconclusive, Verdict::Inconclusive]
    );
    assert_eq!(judged(6, 5), Verdict::Violation);
}

/// Plans whose events never come are given up before the end, so that memory stays bounded.
#[test]
fn a_plan_without_events_is_given_up() {
    let mut machine = Machine::new(9, None);
    let runs: Vec<Run> = (0..30).map(|index| machine.run(&generate::plan(9, index, 50))).collect();
    let mut oracle = Oracle::new(Config { cpus: CPUS, patience_events: 200, ..Config::default() });
    for (index, run) in runs.iter().enumerate() {
        oracle.plan_done(index as u64, run.plan.clone(), run.journal.clone());
        if index != 0 {
            run.events.iter().for_each(|event| oracle.event(event));
        }
        assert_eq!(oracle.outstanding(), if index < 6 { 50 } else { 0 }, "after plan {index}");
    }
    oracle.summary(summary_of(runs[1..].iter().flat_map(|run| &run.events), 50));
    let findings = oracle.finish();
    assert_eq!((findings.mismatches(), findings.missing), (0, 50), "{}", words(&findings));
}

#[test]
fn a_run_of_nothing_is_no_pass() {
    let mut oracle = oracle();
    oracle.summary(summary_of(&[], 0));
    let findings = oracle.finish();
    assert_eq!(
        (findings.mismatches(), Verdict::of(&findings, 0, Provoked::default())),
        (0, Verdict::Inconclusive)
    );
}

#[test]
fn a_finding_reads_field_by_field() {
    let mut run = simulated(&generate::plan(1, 0, 20), 1);
    run.events[3].flags ^= 4;
    let text = words(&judge(&run));
    assert!(text.contains("call 3: event differs from the call\n  flags must be 0x"), "{text}");
    let wrong = OldTimespec32 { tv_sec: -7, tv_nsec: 3 };
    run.events[3].flags ^= 4;
    run.events[3].utmr_entry = Some(Halves { it_interval: Some(wrong), it_value: None });
    let text = words(&judge(&run));
    assert!(text.contains("is interval -7s 3ns, value unread"), "{text}");
}

/// Calls that differ in nothing but their time.
fn calls_that_are_alike() -> Run {
    let call = Call { otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) };
    let open = Step::Open { slot: 0, kind: FdKind::Number(-1) };
    simulated(
        &Plan {
            steps: [open].into_iter().chain(std::iter::repeat_n(Step::Call(call), 20)).collect(),
            ..Plan::default()
        },
        1,
    )
}

#[rstest]
#[case(0)]
#[case(9)]
#[case(18)]
fn swapped_events_that_are_alike_are_seen(#[case] at: usize) {
    let mut run = calls_that_are_alike();
    run.events.swap(at, at + 1);
    assert_one(&judge(&run), Kind::OutOfOrder).unwrap();
}

/// Several wrong fields in the right place are one altered event, not one missing and one too many.
#[test]
fn an_event_with_all_of_its_result_wrong_is_one_finding() {
    let mut run = calls_that_are_alike();
    let last = run.events.last_mut().unwrap();
    (last.ret, last.errno, last.otmr_written) = (Some(0), None, Some(OldItimerspec32::default()));
    assert_one(&judge(&run), Kind::Field).unwrap();
}

/// A return that is said to be later than the next calls is one fault, not one a call.
#[test]
fn a_late_exit_is_one_finding() {
    let mut run = calls_that_are_alike();
    run.events[4].exit_ns = run.events[12].exit_ns;
    assert_one(&judge(&run), Kind::BadTimestamp).unwrap();
}

/// Calls of a time when the tracer says that it was blind may be missing, others not; and whoever
/// says so does not pass.
#[test]
fn only_the_calls_of_a_blind_time_may_be_missing() {
    let plan = pins_and_forks_left_out(&generate::plan(2, 0, 300));
    let whole = simulated(&plan, 3);
    let blind_from = |event: &Event| event.entry_ns - 1;
    let (from_ns, to_ns) = (blind_from(&whole.events[100]), blind_from(&whole.events[200]));
    let judge_without = |missing: std::ops::Range<usize>| {
        let mut run = whole.clone();
        run.events.drain(missing);
        let mut oracle = oracle();
        run.events.iter().for_each(|event| oracle.event(event));
        oracle.plan_done(0, run.plan, run.journal);
        let blind = vec![Blind { from_ns, to_ns, reason: "kprobes are switched off".into() }];
        oracle.summary(Summary { blind, ..summary_of(&run.events, 0) });
        oracle.finish()
    };
    for (missing, silent) in [(100..200, 0), (0..0, 0), (120..150, 0), (20..30, 10), (250..300, 50)]
    {
        let findings = judge_without(missing.clone());
        assert_eq!(findings.missing, missing.len() as u64, "{missing:?}: {}", words(&findings));
        assert_eq!(
            (findings.mismatches(), findings.count(Kind::Missing)),
            (silent, silent),
            "{missing:?}: {}",
            words(&findings)
        );
        let verdict = if silent == 0 { Verdict::Inconclusive } else { Verdict::Violation };
        assert_eq!(Verdict::of(&findings, 300, Provoked::default()), verdict, "{missing:?}");
    }
}

/// One process throughout.
fn pins_and_forks_left_out(plan: &Plan) -> Plan {
    let steps = plan
        .steps
        .iter()
        .filter(|step| !matches!(step, Step::Pin { .. } | Step::Fork { .. }))
        .cloned();
    Plan { steps: steps.collect(), ..plan.clone() }
}
