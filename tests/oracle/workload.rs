//! Journals that are not what the plan asks for, and processes that must not be taken for each
//! other.

use super::*;

/// What an exact tracer prints about a call on plain memory.
fn event_of(record: &Operation, entry_ns: u64, exit_ns: u64, cpu: u32) -> Event {
    let old = (record.ret == 0 && record.otmr() != 0)
        .then(|| bytemuck::pod_read_unaligned(&record.otmr_after()));
    event_with(record, [true; 2], old, entry_ns, exit_ns, cpu)
}

/// The workload does something else than the plan asks for, and an exact tracer reports that.
#[rstest]
#[case::flags(|run: &mut Run| run.journal.operations[7].args[1] ^= 1)]
#[case::no_utmr(|run: &mut Run| run.journal.operations[7].args[2] = 0)]
#[case::no_otmr(|run: &mut Run| run.journal.operations[7].args[3] = 0x100)]
#[case::overlap(|run: &mut Run| run.journal.operations[8].args[3] = run.journal.operations[8].args[2] - 12)]
#[case::other_bytes(|run: &mut Run| run.journal.operations[7].new[15] ^= 1)]
#[case::another_number(|run: &mut Run| run.journal.operations[7].args[0] = 0xffff_fffd)]
#[case::another_descriptor(|run: &mut Run| run.journal.operations[8].args[0] += 1)]
#[case::not_open(|run: &mut Run| run.journal.operations[8].args[0] = 0xffff_ffff)]
#[case::the_other_timer(|run: &mut Run| run.journal.operations[9].args[0] = run.journal.operations[8].args[0])]
#[case::no_fork(|run: &mut Run| run.journal.operations.iter_mut().for_each(|record| {
    (record.pid, record.tid) = (run.journal.header.pid, run.journal.header.pid);
}))]
fn a_workload_that_lies_is_seen(#[case] lie: fn(&mut Run)) {
    let number = Call { otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) };
    let timer = Call { slot: 1, otmr: Pointer::Valid, ..number };
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Number(-1) }];
    steps.extend((1..3).map(|slot| Step::Open {
        slot,
        kind: FdKind::Timer(settime32_abi::plan::Clock::Monotonic),
    }));
    steps.extend(std::iter::repeat_n(Step::Call(number), 8));
    steps.extend([
        Step::Call(timer),
        Step::Call(Call { slot: 2, ..timer }),
        Step::Call(timer),
        Step::Call(number),
    ]);
    steps.extend([Step::Fork { steps: 1, ending: Ending::Exit }, Step::Call(timer)]);
    let mut run = simulated(&Plan { steps, ..Plan::default() }, 1);
    lie(&mut run);
    for (record, event) in run.journal.operations.iter().zip(&mut run.events) {
        *event = event_of(record, event.entry_ns, event.exit_ns.unwrap(), event.cpu);
    }
    let findings = judge(&run);
    let lies = findings.count(Kind::WorkloadLied);
    assert!((1..=2).contains(&lies) && findings.mismatches() == lies, "{}", words(&findings));
}

/// The calls on both sides of a fork are alike; those before it have no event, and the tracer said
/// so.
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
    assert_eq!(
        (findings.mismatches(), findings.missing),
        (0, missing as u64),
        "{}",
        words(&findings)
    );
}

/// A plan of calls of a thread that is kept on one CPU after the other, and then on none.
fn pinned_plan() -> Plan {
    let pin = |cpu| Step::Pin { cpu };
    let steps =
        generate::plan(1, 0, 8).steps.into_iter().filter(|step| !matches!(step, Step::Pin { .. }));
    let calls = [Some(0), Some(1), Some(2), None]
        .map(|cpu| [pin(cpu)].into_iter().chain(plain_calls()).collect::<Vec<_>>());
    Plan { steps: steps.chain(calls.concat()).collect(), ..Plan::default() }
}

fn plain_calls() -> impl Iterator<Item = Step> {
    let open = Step::Open { slot: 0, kind: FdKind::Timer(settime32_abi::plan::Clock::Monotonic) };
    [open].into_iter().chain((0..5).map(|_| Step::Call(Call::plain(0, OldItimerspec32::default()))))
}

/// Where a thread may be anywhere any CPU that exists is right, and elsewhere only one is.
#[test]
fn the_cpu_of_a_thread_that_is_kept_on_one_is_compared() {
    let run = simulated(&pinned_plan(), 1);
    assert_clean(&judge(&run), 28);
    let wrong = |alter: fn(u32) -> u32| {
        let mut run = run.clone();
        run.events.iter_mut().for_each(|event| event.cpu = alter(event.cpu));
        let findings = judge(&run);
        let only_cpu = |finding: &settime32_check::oracle::Finding| {
            finding.differences.iter().all(|found| found.field == "cpu")
        };
        assert!(findings.first.iter().all(only_cpu), "{}", words(&findings));
        findings.count(Kind::Field)
    };
    assert_eq!((wrong(|_| 0), wrong(|_| 1), wrong(|cpu| cpu ^ 1)), (5, 10, 15));
}

/// A workload that does not say where it was, or says it though nobody knows.
#[rstest]
#[case::unknown(|record: &mut Operation| record.cpu = settime32_abi::journal::CPU_UNKNOWN, 15)]
#[case::made_up(|record: &mut Operation| record.cpu = 0, 13)]
fn a_record_of_another_cpu_is_seen(#[case] alter: fn(&mut Operation), #[case] lies: u64) {
    let mut run = simulated(&pinned_plan(), 1);
    run.journal.operations.iter_mut().for_each(alter);
    assert_eq!(judge(&run).count(Kind::WorkloadLied), lies, "{}", words(&judge(&run)));
}
