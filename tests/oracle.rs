//! The oracle on simulated runs: an exact tracer passes, and every altered event, journal and summary is caught, as
//! one finding of the right kind. What real kernels do is for the tests in a virtual machine.

mod simulate;

use proptest::prelude::*;
use rstest::rstest;
use settime32_abi::journal::{ENTRY_VDSO, Record};
use settime32_abi::output::{Abi, CallEvent, EntryPath, Halves, Lost, Summary};
use settime32_abi::plan::{Call, Entry, FdKind, Plan, Pointer, Step};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32, OldTimespec32};
use settime32_harness::generate::{self, catalogue};
use settime32_harness::oracle::{Config, Findings, Kind, Oracle};
use settime32_harness::verdict::Verdict;
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
    prop_assert_eq!(Verdict::of(findings, 0), Verdict::Violation);
    Ok(())
}

fn words(findings: &Findings) -> String {
    findings.first.iter().map(|finding| format!("\n{finding}")).collect()
}

fn assert_clean(findings: &Findings, calls: u64) {
    assert_eq!(findings.mismatches(), 0, "{}", words(findings));
    assert_eq!((findings.checked, findings.calls, findings.missing), (calls, calls, 0));
    assert_eq!(Verdict::of(findings, calls), if calls == 0 { Verdict::Inconclusive } else { Verdict::Pass });
}

proptest! {
    #[test]
    fn an_exact_tracer_passes(run in any_run()) {
        assert_clean(&judge(&run), run.plan.calls() as u64);
    }

    /// Journals before, after and in the middle of their events, over the text that the tracer prints.
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
    fn an_altered_field_is_seen(mut run in any_run(), at: prop::sample::Index, field in 0..FIELDS.len(), bit in 0u32..128) {
        let at = at.index(run.events.len());
        FIELDS[field].1(&mut run.events[at], bit);
        let findings = judge(&run);
        assert_one(&findings, Kind::Field)?;
        let found = &findings.first[0];
        prop_assert_eq!((found.place.plan, found.place.call), (Some(0), Some(at)), "{}", found);
        let named: Vec<&str> = found.differences.iter().map(|difference| difference.field).collect();
        prop_assert_eq!(named, vec![FIELDS[field].0]);
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
        prop_assert_eq!(Verdict::of(&findings, 0), Verdict::Inconclusive);
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
        prop_assert_eq!(Verdict::of(&findings, 0), Verdict::Violation);
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

    /// Of another process, or of the right one but of no call: a call of another run at a time in between.
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

    /// Identities of a parent and its child: an event under the other's name, with everything else right.
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

    /// Every bit of every record; the bytes at `otmr` before a call that wrote there are nobody's business.
    #[test]
    fn an_altered_record_is_seen(mut run in any_run(), at: prop::sample::Index, bit in 0usize..88 * 8) {
        let at = at.index(run.journal.records.len());
        let record = &mut run.journal.records[at];
        let unseen = record.ret == 0 && record.otmr != 0 && (48 * 8..64 * 8).contains(&bit);
        bytemuck::bytes_of_mut(record)[bit / 8] ^= 1 << (bit % 8);
        let findings = judge(&run);
        prop_assert!(unseen || findings.mismatches() > 0);
        let kinds = [Kind::WorkloadLied, Kind::Model, Kind::Field];
        prop_assert!(findings.counts.keys().all(|kind| kinds.contains(kind)), "{}", words(&findings));
    }
}

/// An alteration of one field: its name and what does it, given a number of a bit.
type Alteration = (&'static str, fn(&mut Event, u32));

const FIELDS: [Alteration; 24] = [
    ("event", |event, _| event.event = "timerfd_settime".into()),
    ("exit_ns", |event, _| event.exit_ns = None),
    ("pid", |event, bit| event.pid ^= 1 << (bit % 32)),
    ("tid", |event, bit| event.tid ^= 1 << (bit % 32)),
    ("comm", |event, bit| event.comm = flip_text(&event.comm, bit).into()),
    // Bit 0 makes it the other CPU that the machine has.
    ("cpu", |event, bit| event.cpu |= 2 << (bit % 31)),
    ("abi", |event, _| event.abi = Abi::X86_64),
    // Null is no alteration: not every kernel lets a tracer tell.
    ("entry_path", |event, _| event.entry_path = Some(EntryPath::Fast)),
    ("ufd", |event, bit| event.ufd ^= 1 << (bit % 32)),
    ("flags", |event, bit| event.flags ^= 1 << (bit % 32)),
    ("utmr", |event, bit| event.utmr = flip_pointer(event.utmr, bit)),
    ("utmr_entry", |event, bit| event.utmr_entry = flip_halves(event.utmr_entry, bit)),
    ("utmr_entry_errno", |event, _| event.utmr_entry_errno = Some("EFAULT".into())),
    ("utmr_used", |event, bit| event.utmr_used = flip_setting(event.utmr_used, bit)),
    ("toctou", |event, _| event.toctou = true),
    ("otmr", |event, bit| event.otmr = flip_pointer(event.otmr, bit)),
    ("old", |event, bit| event.old = flip_wide_setting(event.old, bit)),
    ("old_truncated", |event, _| event.old_truncated = true),
    ("otmr_written", |event, bit| event.otmr_written = flip_setting(event.otmr_written, bit)),
    ("otmr_written_errno", |event, _| event.otmr_written_errno = Some("EFAULT".into())),
    ("ret", |event, bit| event.ret = (bit != 127).then(|| event.ret.unwrap() ^ 1 << (bit % 64))),
    ("errno", |event, bit| event.errno = flip_errno(event, bit)),
    ("unfinished", |event, _| event.unfinished = true),
    // With a result all the same.
    ("result_lost", |event, _| event.result_lost = true),
];

/// Not every tracer can tell; one that can must.
#[rstest]
#[case::may_be_missing(false)]
#[case::must_be_there(true)]
fn an_entry_path_that_is_needed_is_missed(#[case] entry_path_needed: bool) {
    let mut run = simulated(&generate::plan(3, 0, 100), 3);
    let path = |entry| if entry == ENTRY_VDSO { EntryPath::Fast } else { EntryPath::Int80 };
    for (event, record) in run.events.iter_mut().zip(&run.journal.records) {
        event.entry_path = Some(path(record.entry));
    }
    let judge = |run: &Run| {
        let mut oracle = Oracle::new(Config { entry_path_needed, cpus: CPUS, comm: Some(COMM.to_owned()), ..Config::default() });
        oracle.plan_done(0, run.plan.clone(), run.journal.clone());
        run.events.iter().for_each(|event| oracle.event(event));
        oracle.summary(summary_of(&run.events, 0));
        oracle.finish()
    };
    assert_eq!(judge(&run).mismatches(), 0);
    run.events[50].entry_path = None;
    assert_eq!(judge(&run).count(Kind::Field), u64::from(entry_path_needed));
}

fn flip_text(text: &str, bit: u32) -> String {
    let at = bit as usize % text.len();
    text.chars().enumerate().map(|(index, letter)| if index == at { (letter as u8 ^ 1 << (bit % 7)) as char } else { letter }).collect()
}

/// One bit of an address, null made an address, or an address made null.
fn flip_pointer(pointer: Option<u32>, bit: u32) -> Option<u32> {
    match pointer {
        None => Some(if bit < 32 { 1 << bit } else { 0 }),
        Some(address) if bit < 100 => Some(address ^ 1 << (bit % 32)),
        Some(_) => None,
    }
}

/// One bit of a structure; where there is none, one of zeros with one bit or none set.
fn flip_setting(setting: Option<OldItimerspec32>, bit: u32) -> Option<OldItimerspec32> {
    if setting.is_some() && bit == 127 {
        return None;
    }
    let mut words: [i32; 4] = bytemuck::cast(setting.unwrap_or_default());
    if setting.is_some() || bit < 120 {
        words[bit as usize / 32] ^= 1 << (bit % 32);
    }
    Some(bytemuck::cast(words))
}

/// As [`flip_setting`], and now and then a half that is not there.
fn flip_halves(halves: Option<Halves>, bit: u32) -> Option<Halves> {
    match (halves, bit) {
        (Some(halves), 120..124) => Some(Halves { it_interval: None, ..halves }),
        (Some(halves), 124..127) => Some(Halves { it_value: None, ..halves }),
        (Some(Halves { it_interval, it_value }), _) => {
            let whole = OldItimerspec32 { it_interval: it_interval.unwrap(), it_value: it_value.unwrap() };
            flip_setting(Some(whole), bit).map(Halves::from)
        }
        (None, _) => flip_setting(None, bit).map(Halves::from),
    }
}

/// As [`flip_setting`], in the upper halves as well.
fn flip_wide_setting(setting: Option<Itimerspec64>, bit: u32) -> Option<Itimerspec64> {
    if setting.is_some() && bit == 127 {
        return None;
    }
    let mut words: [i64; 4] = bytemuck::cast(setting.unwrap_or_default());
    words[bit as usize / 32] ^= 1 << (bit * 2 % 64 + bit / 16 % 2);
    Some(bytemuck::cast(words))
}

fn flip_errno(event: &Event, bit: u32) -> Option<std::borrow::Cow<'static, str>> {
    match (&event.errno, bit % 2) {
        (None, _) => Some("EINVAL".into()),
        (Some(_), 0) => None,
        (Some(errno), _) => Some(if errno == "EINVAL" { "EBADF" } else { "EINVAL" }.into()),
    }
}

/// Whether the event of call `blamed` would be the one that is gone, but for its time.
fn alike(gone: &Event, run: &Run, blamed: usize) -> bool {
    let record = &run.journal.records[blamed];
    gone.tid == record.tid && gone.ufd == record.ufd && gone.flags == record.flags && gone.ret == Some(i64::from(record.ret))
}

/// A plan in which the wrong kernel shows: dense in every situation.
fn dense_plan(seed: u64) -> Plan {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed as u8; 32]);
    generate::plan_strategy(800).new_tree(&mut TestRunner::new_with_rng(Config::default(), rng)).unwrap().current()
}

#[test]
fn thousands_of_calls_of_several_plans_pass() {
    let mut machine = Machine::new(5, None);
    let mut runs: Vec<Run> = (0..3).map(|index| machine.run(&generate::plan(5, index, 4000))).collect();
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
    assert_eq!(Verdict::of(&findings, 3000), Verdict::Inconclusive);
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
    assert_eq!((findings.mismatches(), findings.count(Kind::Field)), (altered, altered), "{}", words(&findings));
    assert_eq!(findings.first.len(), 100);
}

#[test]
fn a_result_that_was_lost_and_counted_is_no_mismatch() {
    let mut run = simulated(&generate::plan(4, 0, 300), 4);
    let lose = |event: &mut Event| {
        (event.exit_ns, event.ret, event.errno, event.otmr_written, event.result_lost) = (None, None, None, None, true);
    };
    [0, 5, 150, 299].into_iter().for_each(|at| lose(&mut run.events[at]));
    let findings = judge(&run);
    assert_eq!((findings.mismatches(), findings.checked, findings.lost), (0, 296, 4), "{}", words(&findings));
    assert_eq!(Verdict::of(&findings, 300), Verdict::Inconclusive);
}

#[test]
fn a_process_that_was_not_followed_is_inconclusive() {
    let mut run = simulated(&dense_plan(1), 4);
    let main = run.journal.header.pid;
    run.events.retain(|event| event.pid == main);
    let mut oracle = oracle();
    run.events.iter().for_each(|event| oracle.event(event));
    oracle.plan_done(0, run.plan, run.journal);
    let summary = summary_of(&run.events, 0);
    oracle.summary(Summary { lost: Lost { follow: 1, ..summary.lost }, ..summary });
    let findings = oracle.finish();
    assert!(findings.missing > 0 && findings.mismatches() == 0, "{}", words(&findings));
    assert_eq!(Verdict::of(&findings, 1), Verdict::Inconclusive);
}

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
    assert_eq!((findings.mismatches(), Verdict::of(&findings, 0)), (0, Verdict::Inconclusive));
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
    let call = Call { slot: 0, flags: 0, utmr: Pointer::Valid, otmr: Pointer::Null, new: OldItimerspec32::default(), entry: Entry::Int80 };
    let open = Step::Open { slot: 0, kind: FdKind::Number(-1) };
    simulated(&Plan { steps: [open].into_iter().chain(std::iter::repeat_n(Step::Call(call), 20)).collect(), ..Plan::default() }, 1)
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

/// What an exact tracer prints about a call on plain memory.
fn event_of(record: &Record, entry_ns: u64, exit_ns: u64, cpu: u32) -> Event {
    let old = (record.ret == 0 && record.otmr != 0).then(|| bytemuck::pod_read_unaligned(&record.otmr_after));
    event_with(record, [true; 2], old, entry_ns, exit_ns, cpu)
}

/// The workload does something else than the plan asks for, and an exact tracer reports that.
#[rstest]
#[case::flags(|run: &mut Run| run.journal.records[7].flags ^= 1)]
#[case::no_utmr(|run: &mut Run| run.journal.records[7].utmr = 0)]
#[case::no_otmr(|run: &mut Run| run.journal.records[7].otmr = 0x100)]
#[case::overlap(|run: &mut Run| run.journal.records[8].otmr = run.journal.records[8].utmr - 12)]
#[case::other_bytes(|run: &mut Run| run.journal.records[7].utmr_before[15] ^= 1)]
#[case::another_number(|run: &mut Run| run.journal.records[7].ufd = -3)]
#[case::another_descriptor(|run: &mut Run| run.journal.records[8].ufd += 1)]
#[case::not_open(|run: &mut Run| run.journal.records[8].ufd = -1)]
#[case::the_other_timer(|run: &mut Run| run.journal.records[9].ufd = run.journal.records[8].ufd)]
#[case::no_fork(|run: &mut Run| run.journal.records.iter_mut().for_each(|record| {
    (record.pid, record.tid) = (run.journal.header.pid, run.journal.header.pid);
}))]
fn a_workload_that_lies_is_seen(#[case] lie: fn(&mut Run)) {
    let number =
        Call { slot: 0, flags: 0, utmr: Pointer::Valid, otmr: Pointer::Null, new: OldItimerspec32::default(), entry: Entry::Int80 };
    let timer = Call { slot: 1, otmr: Pointer::Valid, ..number };
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Number(-1) }];
    steps.extend((1..3).map(|slot| Step::Open { slot, kind: FdKind::Timer(settime32_abi::plan::Clock::Monotonic) }));
    steps.extend(std::iter::repeat_n(Step::Call(number), 8));
    steps.extend([Step::Call(timer), Step::Call(Call { slot: 2, ..timer }), Step::Call(timer), Step::Call(number)]);
    steps.extend([Step::Fork { steps: 1 }, Step::Call(timer)]);
    let mut run = simulated(&Plan { steps, ..Plan::default() }, 1);
    lie(&mut run);
    for (record, event) in run.journal.records.iter().zip(&mut run.events) {
        *event = event_of(record, event.entry_ns, event.exit_ns.unwrap(), event.cpu);
    }
    let findings = judge(&run);
    let lies = findings.count(Kind::WorkloadLied);
    assert!((1..=2).contains(&lies) && findings.mismatches() == lies, "{}", words(&findings));
}

/// The calls on both sides of a fork are alike; those before it have no event, and the tracer said so.
#[rstest]
#[case(1)]
#[case(3)]
fn calls_missing_before_a_fork_are_not_confused_with_those_after(#[case] missing: usize) {
    let call = Call { slot: 0, flags: 0, utmr: Pointer::Valid, otmr: Pointer::Null, new: OldItimerspec32::default(), entry: Entry::Int80 };
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Number(-1) }];
    steps.extend(std::iter::repeat_n(Step::Call(call), 6));
    steps.extend([Step::Fork { steps: 2 }, Step::Call(call), Step::Call(call), Step::Call(call), Step::Call(call), Step::Call(call)]);
    let mut run = simulated(&Plan { steps, ..Plan::default() }, 1);
    run.events.drain(6 - missing..6);
    let findings = judge_all(&[run], missing as u64);
    assert_eq!((findings.mismatches(), findings.missing), (0, missing as u64), "{}", words(&findings));
}

/// Every case of the catalogue, judged on a simulated kernel with and without a fault.
fn judge_case(name: &str, bug: Option<Bug>) -> (Findings, u64) {
    let plan = catalogue::find(name).unwrap().plan(5);
    let calls = plan.calls() as u64;
    (judge(&Machine::new(5, bug).run(&plan)), calls)
}

#[test]
fn an_exact_tracer_passes_every_case_of_the_catalogue() {
    for case in catalogue::CASES {
        let (findings, calls) = judge_case(case.name, None);
        assert_eq!(findings.mismatches(), 0, "{}: {}", case.name, words(&findings));
        assert_clean(&findings, calls);
    }
}

#[rstest]
#[case("clocks/alarm-not-allowed", Bug::AlarmsForAll)]
#[case("values/disarm-with-interval", Bug::AlarmForgetsExpiry)]
#[case("pointers/otmr-partly-mapped", Bug::FaultDisarms)]
#[case("values/disarm-with-interval", Bug::DisarmDropsInterval)]
#[case("clocks/set", Bug::CanceledIsNotArmed)]
#[case("clocks/set", Bug::CanceledWritesOld)]
#[case("clocks/set", Bug::ClockSetUnnoticed)]
#[case("fds/order-of-errors", Bug::DescriptorFirst)]
#[case("values/bad-interval-of-a-disarm", Bug::DisarmIgnoresInterval)]
#[case("pointers/otmr-partly-mapped", Bug::OldIsSwapped)]
fn a_case_sees_the_kernel_that_it_is_there_for(#[case] name: &str, #[case] bug: Bug) {
    let (findings, _) = judge_case(name, Some(bug));
    assert!(findings.count(Kind::Model) > 0, "{name} does not see {bug:?}");
}

/// Of a write that was cut short the journal has only a part; the event's account of the rest must still be possible.
#[test]
fn an_old_setting_that_was_not_written_is_compared_all_the_same() {
    let good = simulated(&catalogue::find("pointers/otmr-partly-mapped").unwrap().plan(5), 5);
    let cut_short = |event: &&Event| event.ret == Some(-14) && event.old.is_some();
    assert!(good.events.iter().filter(cut_short).count() > 100);
    let places = good.events.iter().enumerate().filter(|(_, event)| cut_short(event)).map(|(at, _)| at);
    for at in places.step_by(5) {
        for alter in [
            (|old| Itimerspec64 { it_interval: old.it_value, ..old }) as fn(Itimerspec64) -> Itimerspec64,
            |old| Itimerspec64 { it_value: old.it_interval, ..old },
            |_| Itimerspec64::default(),
        ] {
            let mut run = good.clone();
            run.events[at].old = run.events[at].old.map(alter);
            assert_one(&judge(&run), Kind::Field).unwrap();
        }
    }
    // One nanosecond is within what the model allows, but not what was written before the fault.
    let mut told = 0;
    for (at, record) in good.journal.records.iter().enumerate() {
        if cut_short(&&good.events[at]) && record.otmr_there >> 12 & 1 == 1 && record.otmr_after[12] != record.otmr_before[12] {
            let mut run = good.clone();
            run.events[at].old.as_mut().unwrap().it_value.tv_nsec ^= 1;
            assert_one(&judge(&run), Kind::Field).unwrap();
            told += 1;
        }
    }
    assert!(told >= 9, "{told} calls wrote that byte and not all");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// As `an_altered_field_is_seen`, where memory is odd.
    #[test]
    fn an_altered_field_is_seen_in_every_case(case in 0..catalogue::CASES.len(), at: prop::sample::Index, how in 0..7) {
        let mut run = simulated(&catalogue::CASES[case].plan(5), 5);
        let at = at.index(run.events.len());
        let event = &mut run.events[at];
        let good = event.clone();
        let other = OldItimerspec32 { it_interval: OldTimespec32 { tv_sec: -9, tv_nsec: -9 }, it_value: OldTimespec32 { tv_sec: -9, tv_nsec: -9 } };
        match how {
            // What a tracer says that takes what it could not read for zeros.
            0 => event.utmr_entry = Some(event.utmr_entry.map_or(OldItimerspec32::default(), |halves| OldItimerspec32 {
                it_interval: halves.it_interval.unwrap_or_default(),
                it_value: halves.it_value.unwrap_or_default(),
            }).into()),
            1 => event.utmr_entry = None,
            2 => event.utmr_used = if event.utmr_used.is_some() { None } else { Some(OldItimerspec32::default()) },
            3 => event.old = if event.old.is_some() { None } else { Some(Itimerspec64::default()) },
            4 => event.old = event.old.map(|_| other.into()),
            5 => event.otmr_written = if event.otmr_written.is_some() { None } else { Some(OldItimerspec32::default()) },
            _ => event.utmr_entry_errno = if event.utmr_entry_errno.is_some() { None } else { Some("EFAULT".into()) },
        }
        prop_assume!(*event != good);
        assert_one(&judge(&run), Kind::Field)?;
    }
}
