//! The catalogue on a simulated kernel: an exact tracer passes every case, and each sees the fault
//! that it is there for.

use super::*;

/// The cases that consist of a plan.
pub fn scripts() -> Vec<&'static str> {
    catalogue::CASES
        .iter()
        .filter(|case| matches!(case.does, catalogue::Does::Script(_)))
        .map(|case| case.name)
        .collect()
}

/// The only plan of a case.
pub fn case_plan(name: &str, seed: u64) -> Plan {
    catalogue::find(name).unwrap().plans(seed, 0).next().unwrap()
}

/// Every case of the catalogue, judged on a simulated kernel with and without a fault.
fn judge_case(name: &str, bug: Option<Bug>) -> (Findings, u64) {
    let plan = case_plan(name, 5);
    let calls = plan.calls() as u64;
    (judge(&Machine::new(5, bug).run(&plan)), calls)
}

#[test]
fn an_exact_tracer_passes_every_case_of_the_catalogue() {
    for case in scripts() {
        let (findings, calls) = judge_case(case, None);
        assert_eq!(findings.mismatches(), 0, "{case}: {}", words(&findings));
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

/// Of a write that was cut short the journal has only a part; the event's account of the rest must
/// still be possible.
#[test]
fn an_old_setting_that_was_not_written_is_compared_all_the_same() {
    let good = simulated(&case_plan("pointers/otmr-partly-mapped", 5), 5);
    let cut_short = |event: &&Event| event.ret == Some(-14) && event.old.is_some();
    assert!(good.events.iter().filter(cut_short).count() > 100);
    let places =
        good.events.iter().enumerate().filter(|(_, event)| cut_short(event)).map(|(at, _)| at);
    for at in places.step_by(5) {
        for alter in [
            (|old| Itimerspec64 { it_interval: old.it_value, ..old })
                as fn(Itimerspec64) -> Itimerspec64,
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
    for (at, record) in good.journal.operations.iter().enumerate() {
        if cut_short(&&good.events[at])
            && record.out_there >> 12 & 1 == 1
            && record.otmr_after()[12] != record.otmr_before()[12]
        {
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
    fn an_altered_field_is_seen_in_every_case(case in prop::sample::select(scripts()), at: prop::sample::Index, how in 0..7) {
        let mut run = simulated(&case_plan(case, 5), 5);
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
