//! Journals that are not what the plan asks for, and processes that must not be taken for each other.

use super::*;

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
    let number = Call { otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) };
    let timer = Call { slot: 1, otmr: Pointer::Valid, ..number };
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Number(-1) }];
    steps.extend((1..3).map(|slot| Step::Open { slot, kind: FdKind::Timer(settime32_abi::plan::Clock::Monotonic) }));
    steps.extend(std::iter::repeat_n(Step::Call(number), 8));
    steps.extend([Step::Call(timer), Step::Call(Call { slot: 2, ..timer }), Step::Call(timer), Step::Call(number)]);
    steps.extend([Step::Fork { steps: 1, ending: Ending::Exit }, Step::Call(timer)]);
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
    let call = Call { otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) };
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Number(-1) }];
    steps.extend(std::iter::repeat_n(Step::Call(call), 6));
    steps.extend([
        Step::Fork { steps: 2, ending: Ending::Exit },
        Step::Call(call),
        Step::Call(call),
        Step::Call(call),
        Step::Call(call),
        Step::Call(call),
    ]);
    let mut run = simulated(&Plan { steps, ..Plan::default() }, 1);
    run.events.drain(6 - missing..6);
    let findings = judge_all(&[run], missing as u64);
    assert_eq!((findings.mismatches(), findings.missing), (0, missing as u64), "{}", words(&findings));
}
