//! Lifecycles: what an exact tracer tells of them passes, and each single fault is seen as what it
//! is.

use proptest::prelude::*;
use rstest::rstest;
use settime32_abi::lifecycle::{By, RelatedCall, TimerId, Wakeup};
use settime32_abi::output::{Blind, Lost, SUMMARY_EVENT, Summary};
use settime32_abi::plan::{Act, Step};
use settime32_check::generate::lifecycle;
use settime32_check::oracle::{Config, EventSet, EventSets, Findings, Kind, Oracle};
use settime32_check::verdict::{Provoked, Verdict};

use super::simulate_lifecycle::{Event, Lived, id_of, live, live_from};
use super::{COMM, CPUS, words};

fn judge_with(lived: &[Lived], lost: u64, reported: impl Fn(u64) -> u64) -> Findings {
    judge_of(&EventSet::all(), lived, lost, reported)
}

/// Of a tracer that was asked for these events and tells those.
fn judge_of(
    asked: &EventSet,
    lived: &[Lived],
    lost: u64,
    reported: impl Fn(u64) -> u64,
) -> Findings {
    let config = Config {
        cpus: CPUS,
        comm: Some(COMM.to_owned()),
        lifecycle: true,
        events: asked.clone(),
        ..Config::default()
    };
    let mut oracle = Oracle::new(config);
    let mut lines = 0;
    for (index, one) in lived.iter().enumerate() {
        oracle.plan_done(index as u64, one.plan.clone(), one.journal.clone());
        for event in one.events.iter().filter(|event| asked.has(name_of(event))) {
            oracle.line(event.line().as_bytes());
            lines += 1;
        }
    }
    let lost = Lost { buffer: lost, ..Lost::default() };
    oracle.summary(Summary {
        event: SUMMARY_EVENT.to_owned(),
        reported: reported(lines),
        lost,
        unknown: 0,
        unfinished: 0,
        blind: Vec::new(),
    });
    oracle.finish()
}

/// What it must have been asked for as.
fn name_of(event: &Event) -> &str {
    match event {
        Event::Main(call) => &call.event,
        Event::Call(call) => &call.event,
        Event::Expiry(_) | Event::Cancel(_) => "expiry",
        Event::Wakeup(_) => "wakeup",
        Event::Release(_) => "release",
    }
}

/// Any two names of events.
fn any_two() -> impl Strategy<Value = EventSet> {
    let names: Vec<String> = EventSet::all().to_argument().split(',').map(str::to_owned).collect();
    prop::sample::subsequence(names, 2).prop_map(|two| two.join(",").parse().unwrap())
}

fn judge(lived: &Lived) -> Findings {
    judge_with(std::slice::from_ref(lived), 0, |lines| lines)
}

fn any_lifecycles() -> impl Strategy<Value = Lived> {
    (lifecycle::strategy(1..40), any::<u64>()).prop_map(|(plan, seed)| live(&plan, seed))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_exact_tracer_of_lifecycles_passes(lived in any_lifecycles()) {
        let findings = judge(&lived);
        prop_assert_eq!(findings.mismatches(), 0, "{}", words(&findings));
        prop_assert_eq!(findings.missing, 0);
        prop_assert_eq!(findings.checked, findings.calls);
    }

    /// Whatever two kinds of events are asked for: those alone pass, one that must come is missing
    /// without it, and one of another kind is too many.
    #[test]
    fn any_two_kinds_of_events_are_judged_alone(mut lived in any_lifecycles(), asked in any_two(), at: prop::sample::Index) {
        let findings = judge_of(&asked, std::slice::from_ref(&lived), 0, |lines| lines);
        prop_assert_eq!((findings.mismatches(), findings.missing), (0, 0), "{:?}: {}", asked, words(&findings));
        let sure = |event: &Event| asked.has(name_of(event)) && !matches!(event, Event::Expiry(_) | Event::Cancel(_));
        let sure: Vec<usize> = (0..lived.events.len()).filter(|at| sure(&lived.events[*at])).collect();
        prop_assume!(!sure.is_empty());
        lived.events.remove(sure[at.index(sure.len())]);
        let findings = judge_of(&asked, std::slice::from_ref(&lived), 0, |lines| lines);
        prop_assert_eq!((findings.mismatches(), findings.count(Kind::Missing)), (1, 1), "{:?}: {}", asked, words(&findings));
    }

    /// Whatever event is lost that must come: it is missing, or a loss that was counted.
    #[test]
    fn an_event_that_never_came_is_missing(mut lived in any_lifecycles(), at: prop::sample::Index) {
        let sure = |event: &Event| !matches!(event, Event::Expiry(_) | Event::Cancel(_));
        let sure: Vec<usize> = (0..lived.events.len()).filter(|at| sure(&lived.events[*at])).collect();
        prop_assume!(!sure.is_empty());
        lived.events.remove(sure[at.index(sure.len())]);
        let findings = judge(&lived);
        prop_assert_eq!((findings.mismatches(), findings.count(Kind::Missing)), (1, 1), "{}", words(&findings));
        let findings = judge_with(std::slice::from_ref(&lived), 1, |lines| lines);
        prop_assert_eq!(findings.mismatches(), 0, "{}", words(&findings));
        prop_assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Inconclusive);
    }

    #[test]
    fn an_event_that_came_twice_is_seen(mut lived in any_lifecycles(), at: prop::sample::Index) {
        prop_assume!(!lived.events.is_empty());
        let at = at.index(lived.events.len());
        let copy = lived.events[at].clone();
        lived.events.insert(at + 1, copy);
        let findings = judge(&lived);
        prop_assert_eq!((findings.mismatches(), findings.count(Kind::Doubled)), (1, 1), "{}", words(&findings));
    }
}

/// Which timer an id is of may come out late: of every two kinds, in plans with many timers side by
/// side.
#[test]
fn every_two_kinds_of_events_of_long_plans_pass() {
    let EventSets(pairs) = "pairs".parse().unwrap();
    for index in [0, 1, 52] {
        let lived = live(&lifecycle::plan(21, index, 300), index);
        for asked in &pairs {
            let findings = judge_of(asked, std::slice::from_ref(&lived), 0, |lines| lines);
            assert_eq!(
                (findings.mismatches(), findings.missing),
                (0, 0),
                "{asked:?}: {}",
                words(&findings)
            );
        }
    }
}

/// An event may say that it does not know the timer, as a loss that is counted.
#[test]
fn a_call_without_its_timer_is_a_loss_that_must_be_counted() {
    let mut lived = good();
    let call = related(&mut lived, |call| {
        &*call.event == "timerfd_settime" && call.ret == Some(0) && call.old.is_some()
    });
    (call.timer, call.clockid, call.old, call.utmr_used) = (None, None, None, None);
    let findings = judge(&lived);
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Missing)),
        (1, 1),
        "{}",
        words(&findings)
    );
    let findings = judge_with(std::slice::from_ref(&lived), 1, |lines| lines);
    assert_eq!((findings.mismatches(), findings.missing), (0, 1), "{}", words(&findings));
    assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Inconclusive);
}

/// An expiry that no answer shows may have been lost, and nothing else may that is not missing.
#[test]
fn more_may_be_lost_than_is_missing_where_expiries_are_told() {
    let lived = good();
    let findings = judge_with(std::slice::from_ref(&lived), 1, |lines| lines);
    assert_eq!(findings.mismatches(), 0, "{}", words(&findings));
    assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Inconclusive);
    let findings =
        judge_of(&"wakeup,release".parse().unwrap(), std::slice::from_ref(&lived), 1, |lines| {
            lines
        });
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Summary)),
        (1, 1),
        "{}",
        words(&findings)
    );
}

/// When an event was, and when what it tells of began.
fn times_of(event: &Event) -> (i64, i64) {
    let ns = |ns: u64| i64::try_from(ns).unwrap();
    match event {
        Event::Main(call) => (ns(call.exit_ns.unwrap()), ns(call.entry_ns)),
        Event::Call(call) => (ns(call.exit_ns.unwrap()), ns(call.entry_ns)),
        Event::Expiry(expiry) => (ns(expiry.ns), ns(expiry.ns)),
        Event::Cancel(cancel) => (ns(cancel.ns), ns(cancel.ns)),
        Event::Wakeup(wakeup) => {
            (ns(wakeup.ns), ns(wakeup.entry_ns.flatten().unwrap_or(wakeup.ns)))
        }
        Event::Release(release) => (ns(release.ns), ns(release.ns)),
    }
}

/// The findings of a tracer that was ready at this time.
fn judge_since(since_ns: i64, filtered: bool, lived: &Lived) -> Findings {
    let comm = Some(COMM.to_owned());
    let mut oracle = Oracle::new(Config {
        cpus: CPUS,
        comm,
        lifecycle: true,
        since_ns,
        filtered,
        ..Config::default()
    });
    oracle.plan_done(0, lived.plan.clone(), lived.journal.clone());
    lived.events.iter().for_each(|event| oracle.line(event.line().as_bytes()));
    let (event, reported) = (SUMMARY_EVENT.to_owned(), lived.events.len() as u64);
    oracle.summary(Summary {
        event,
        reported,
        lost: Lost::default(),
        unknown: 0,
        unfinished: 0,
        blind: Vec::new(),
    });
    oracle.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Of what began before the tracer was ready anything may be absent; of what began afterwards
    /// nothing.
    #[test]
    fn a_tracer_that_comes_midway_must_tell_what_begins_then(
        lived in any_lifecycles(), when: prop::sample::Index, told: u64, at: prop::sample::Index
    ) {
        prop_assume!(!lived.journal.operations.is_empty());
        let since = lived.journal.operations[when.index(lived.journal.operations.len())].before_ns;
        let mut seen = lived.clone();
        let mut number = 0;
        seen.events.retain(|event| {
            number += 1;
            times_of(event).0 >= since || (told >> (number % 64)) & 1 == 1
        });
        let findings = judge_since(since, false, &seen);
        prop_assert_eq!((findings.mismatches(), findings.missing), (0, 0), "{}", words(&findings));
        prop_assert_eq!(findings.checked + findings.outside, findings.calls);
        let sure = |event: &Event| times_of(event).1 > since + 5_000 && !matches!(event, Event::Expiry(_) | Event::Cancel(_));
        let sure: Vec<usize> = (0..seen.events.len()).filter(|at| sure(&seen.events[*at])).collect();
        prop_assume!(!sure.is_empty());
        seen.events.remove(sure[at.index(sure.len())]);
        let findings = judge_since(since, false, &seen);
        prop_assert_eq!((findings.mismatches(), findings.count(Kind::Missing)), (1, 1), "{}", words(&findings));
    }
}

/// Before it was ready it may be silent, and not wrong.
#[test]
fn what_a_tracer_tells_of_before_it_was_ready_must_be_right() {
    let mut lived = good();
    let end = lived.journal.header.end.monotonic_before_ns;
    assert_eq!(judge_since(end, false, &lived).mismatches(), 0);
    related(&mut lived, |call| call.nr == 326).nr = 325;
    let findings = judge_since(end, false, &lived);
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Field)),
        (1, 1),
        "{}",
        words(&findings)
    );
    // With no timer across, it did not come midway.
    let findings =
        judge_since(lived.journal.header.end.monotonic_after_ns + 1_000_000_000, false, &good());
    assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Inconclusive);
}

/// With a filter, a timer that was armed before is not known until somebody comes to it.
#[test]
fn a_filter_keeps_a_cancel_from_being_told_of_a_timer_that_nobody_came_to() {
    let lived = good();
    let canceled = lived.events.iter().find_map(|event| {
        if let Event::Cancel(cancel) = event { Some(cancel.clone()) } else { None }
    });
    let canceled = canceled.unwrap();
    let since = lived
        .journal
        .operations
        .iter()
        .map(|operation| operation.before_ns)
        .filter(|ns| *ns < canceled.ns as i64)
        .max()
        .unwrap();
    let mut seen = lived.clone();
    seen.events.retain(|event| !matches!(event, Event::Cancel(other) if other == &canceled));
    assert_eq!(
        judge_since(since, true, &seen).mismatches(),
        0,
        "{}",
        words(&judge_since(since, true, &seen))
    );
    assert_eq!(judge_since(since, false, &seen).count(Kind::Missing), 1);
}

/// The kernel cancels the timer first that asked for it last.
#[test]
fn timers_that_no_call_names_may_be_cancelled_in_any_order() {
    for index in [0, 1, 4, 5] {
        let mut lived = live(&lifecycle::plan(21, index, 300), index);
        let is_cancel = |event: &Event| matches!(event, Event::Cancel(_));
        lived
            .events
            .chunk_by_mut(|one, other| is_cancel(one) && is_cancel(other))
            .for_each(<[Event]>::reverse);
        let findings = judge_of(
            &"timer_settime32,expiry".parse().unwrap(),
            std::slice::from_ref(&lived),
            0,
            |lines| lines,
        );
        assert_eq!((findings.mismatches(), findings.missing), (0, 0), "{}", words(&findings));
    }
}

/// Plans one after the other, as in a run.
#[test]
fn several_plans_are_told_apart() {
    let mut all: Vec<Lived> =
        (0..4).map(|index| live(&lifecycle::plan(3, index, 60), index)).collect();
    shift(&mut all);
    let findings = judge_with(&all, 0, |lines| lines);
    assert_eq!(findings.mismatches(), 0, "{}", words(&findings));
    assert!(findings.checked >= 240 && findings.checked == findings.calls);
    assert_eq!(Verdict::of(&findings, 240, Provoked::default()), Verdict::Pass);
    // An id of an earlier plan is given to a timer once more.
    let first = all[0].events.iter().find_map(id_of).unwrap();
    let again = all[3].events.iter().rev().find_map(id_of).unwrap();
    rename(&mut all[3], again, first);
    let findings = judge_with(&all, 0, |lines| lines);
    assert!(findings.count(Kind::Identity) > 0, "{}", words(&findings));
    assert_eq!(Verdict::of(&findings, 240, Provoked::default()), Verdict::Violation);
}

/// Nothing checked is no pass.
#[test]
fn without_lives_there_is_no_pass() {
    let findings = judge_with(&[], 0, |lines| lines);
    assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Inconclusive);
}

#[test]
fn a_summary_that_counts_other_events_is_seen() {
    let lived = good();
    let findings = judge_with(std::slice::from_ref(&lived), 0, |lines| lines - 1);
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Summary)),
        (1, 1),
        "{}",
        words(&findings)
    );
}

/// Simulated plans have each a machine of their own: moves them behind each other, with ids of
/// their own.
fn shift(all: &mut [Lived]) {
    let (mut end, mut ids) = (0, 0);
    for lived in all {
        // What is absolute is long past or far away, so that the plan can be done again on a
        // machine that is up for longer.
        *lived = live_from(&lived.plan, 77, end);
        let most = lived.events.iter().filter_map(id_of).max().unwrap_or(0);
        for id in (1..=most).rev() {
            rename(lived, id, id + ids);
        }
        ids += most;
        end = lived.journal.header.end.monotonic_after_ns + 1_000_000_000;
    }
}

fn rename(lived: &mut Lived, from: TimerId, to: TimerId) {
    for event in &mut lived.events {
        let id = match event {
            Event::Main(call) => call.timer.as_mut(),
            Event::Call(call) => call.timer.as_mut(),
            Event::Expiry(expiry) => Some(&mut expiry.timer),
            Event::Cancel(cancel) => Some(&mut cancel.timer),
            Event::Wakeup(wakeup) => Some(&mut wakeup.timer),
            Event::Release(release) => Some(&mut release.timer),
        };
        if let Some(id) = id.filter(|id| **id == from) {
            *id = to;
        }
    }
}

/// A run with everything in it.
fn good() -> Lived {
    let plan = lifecycle::plan(11, 1, 200);
    live(&plan, 4)
}

fn main_call(
    lived: &mut Lived,
    wanted: impl Fn(&settime32_abi::output::CallEvent<'_>) -> bool,
) -> &mut settime32_abi::output::CallEvent<'static> {
    lived
        .events
        .iter_mut()
        .find_map(
            |event| if let Event::Main(call) = event { wanted(call).then_some(call) } else { None },
        )
        .unwrap()
}

fn related(lived: &mut Lived, wanted: impl Fn(&RelatedCall) -> bool) -> &mut RelatedCall {
    lived
        .events
        .iter_mut()
        .find_map(
            |event| if let Event::Call(call) = event { wanted(call).then_some(call) } else { None },
        )
        .unwrap()
}

fn wakeup(lived: &mut Lived, wanted: impl Fn(&Wakeup) -> bool) -> &mut Wakeup {
    lived
        .events
        .iter_mut()
        .find_map(|event| {
            if let Event::Wakeup(wakeup) = event { wanted(wakeup).then_some(wakeup) } else { None }
        })
        .unwrap()
}

fn expiry_at(
    lived: &Lived,
    wanted: impl Fn(usize, &settime32_abi::lifecycle::Expiry) -> bool,
) -> usize {
    let is_it = |(at, event): &(usize, &Event)| {
        if let Event::Expiry(expiry) = event { wanted(*at, expiry) } else { false }
    };
    lived.events.iter().enumerate().find(is_it).unwrap().0
}

/// An expiry whose timer is read right after it.
fn read_expiry(lived: &Lived) -> usize {
    expiry_at(lived, |at, expiry| {
        let next = lived.events[at + 1..].iter().find(|event| id_of(event) == Some(expiry.timer));
        matches!(next, Some(Event::Wakeup(wakeup)) if wakeup.by == By::Read && wakeup.ticks == Some(Some(1)))
            && lived.events[..at]
                .iter()
                .filter(
                    |event| matches!(event, Event::Expiry(other) if other.timer == expiry.timer),
                )
                .count()
                == 0
    })
}

fn remove(lived: &mut Lived, wanted: impl Fn(&Event) -> bool) {
    let at = lived.events.iter().position(wanted).unwrap();
    lived.events.remove(at);
}

/// A timer's events after a dup have another id.
fn id_mixed_after_dup(lived: &mut Lived) {
    // The last call of some timer with several gets the id of its neighbour.
    let other = related(lived, |call| call.timer.is_some()).timer;
    let call = lived.events.iter_mut().rev().find_map(|event| match event {
        Event::Call(call)
            if call.timer.is_some() && call.timer != other && &*call.event != "timerfd_create" =>
        {
            Some(call)
        }
        _ => None,
    });
    call.unwrap().timer = other;
}

/// Each descriptor number has its own id.
fn id_per_descriptor(lived: &mut Lived) {
    for event in &mut lived.events {
        match event {
            Event::Main(call) if call.timer.is_some() => call.timer = Some(call.ufd as TimerId),
            Event::Call(call) if call.timer.is_some() => {
                call.timer = Some(call.ufd.unwrap_or(call.ret.unwrap_or(0) as i32) as TimerId)
            }
            _ => {}
        }
    }
}

fn swapped(lived: &mut Lived) {
    let of_calls = |event: &Event| matches!(event, Event::Call(_) | Event::Main(_));
    let at = (0..lived.events.len() - 1)
        .find(|at| of_calls(&lived.events[*at]) && of_calls(&lived.events[at + 1]))
        .unwrap();
    lived.events.swap(at, at + 1);
}

/// The expiry comes a second time, when the timer was closed.
fn fires_after_its_end(lived: &mut Lived) {
    let at = read_expiry(lived);
    let Event::Expiry(mut late) = lived.events[at].clone() else { unreachable!() };
    let released =
        |event: &Event| matches!(event, Event::Release(release) if release.timer == late.timer);
    let place = lived.events.iter().position(released).unwrap();
    let Event::Release(release) = lived.events[place].clone() else { unreachable!() };
    late.late_ns += release.ns as i64 + 90_000 - late.ns as i64;
    late.ns = release.ns + 90_000;
    lived.events.insert(place + 1, Event::Expiry(late));
}

fn early(lived: &mut Lived) {
    let at = read_expiry(lived);
    let Event::Expiry(expiry) = &mut lived.events[at] else { unreachable!() };
    let by = expiry.late_ns + 1;
    expiry.ns -= by as u64;
    expiry.late_ns -= by;
}

fn shifted_due(lived: &mut Lived) {
    let at = read_expiry(lived);
    let Event::Expiry(expiry) = &mut lived.events[at] else { unreachable!() };
    expiry.expires_ns -= 50_000;
    expiry.late_ns += 50_000;
}

/// The first expiry of a periodic timer is told as due a period later, as if the one before had
/// been lost.
fn due_a_period_later(lived: &mut Lived) {
    let read_once = |expiry: &settime32_abi::lifecycle::Expiry, lived: &Lived| {
        lived
            .events
            .iter()
            .any(|event| matches!(event, Event::Wakeup(wakeup) if wakeup.timer == expiry.timer && wakeup.ticks == Some(Some(1))))
    };
    let periodic = |timer: TimerId, lived: &Lived| {
        lived.events.iter().find_map(|event| match event {
            Event::Main(call) if call.timer == Some(timer) && call.ret == Some(0) => {
                Some(call.utmr_used?.it_interval.as_nanos())
                    .filter(|interval| call.flags == 0 && *interval > 0)
            }
            _ => None,
        })
    };
    let calls = |timer: TimerId, lived: &Lived| {
        lived.events.iter().filter(|event| id_of(event) == Some(timer) && is_setting(event)).count()
    };
    let at = expiry_at(lived, |_, expiry| {
        read_once(expiry, lived)
            && periodic(expiry.timer, lived).is_some()
            && calls(expiry.timer, lived) == 1
    });
    let Event::Expiry(expiry) = &lived.events[at] else { unreachable!() };
    let interval = periodic(expiry.timer, lived).unwrap();
    let Event::Expiry(expiry) = &mut lived.events[at] else { unreachable!() };
    expiry.expires_ns += interval;
    expiry.late_ns -= interval;
}

fn is_setting(event: &Event) -> bool {
    matches!(event, Event::Main(_))
        || matches!(event, Event::Call(call) if &*call.event == "timerfd_settime")
}

fn lost_expiry(lived: &mut Lived) {
    let at = read_expiry(lived);
    lived.events.remove(at);
}

fn is_wide(call: &RelatedCall) -> bool {
    call.old.is_some_and(|old| old.it_value.tv_sec > i64::from(i32::MAX))
}

fn cut(call: &mut RelatedCall) {
    let old = call.old.as_mut().unwrap();
    (old.it_value, old.it_interval) = (old.it_value.cut().into(), old.it_interval.cut().into());
}

#[rstest]
#[case::id_mixed_after_dup(Kind::Identity, id_mixed_after_dup)]
#[case::id_per_descriptor(Kind::Identity, id_per_descriptor)]
#[case::early_expiry(Kind::Early, early)]
#[case::expiry_due_at_another_time(Kind::Field, shifted_due)]
#[case::expiry_due_a_period_later(Kind::Missing, due_a_period_later)]
#[case::expiry_lost(Kind::Missing, lost_expiry)]
#[case::expiry_after_the_end(Kind::Stale, fires_after_its_end)]
#[case::wrong_ticks(Kind::Field, |lived: &mut Lived| {
    let found = wakeup(lived, |wakeup| wakeup.ticks.flatten().is_some_and(|ticks| ticks > 1));
    found.ticks = Some(Some(1));
})]
#[case::wakeup_missing(Kind::Missing, |lived: &mut Lived| remove(lived, |event| matches!(event, Event::Wakeup(wakeup) if wakeup.by == By::EpollWait)))]
#[case::wakeup_of_another_thread(Kind::Field, |lived: &mut Lived| wakeup(lived, |wakeup| wakeup.by == By::Select).tid += 1)]
#[case::wakeup_by_another_call(Kind::Field, |lived: &mut Lived| wakeup(lived, |wakeup| wakeup.by == By::Select).by = By::Poll)]
#[case::wakeup_of_another_timer(Kind::Identity, |lived: &mut Lived| wakeup(lived, |wakeup| wakeup.by == By::Poll).timer = 1 << 40)]
#[case::release_missing(Kind::Missing, |lived: &mut Lived| remove(lived, |event| matches!(event, Event::Release(_))))]
#[case::gettime_old_cut(Kind::Field, |lived: &mut Lived| cut(related(lived, |call| is_wide(call) && call.event.starts_with("timerfd_gettime"))))]
#[case::setting_cut_to_32_bits(Kind::Field, |lived: &mut Lived| {
    let call = related(lived, |call| call.utmr_used.is_some_and(|used| used.it_value.tv_sec > i64::from(i32::MAX)));
    let used = call.utmr_used.as_mut().unwrap();
    used.it_value = used.it_value.cut().into();
})]
#[case::number_of_the_wrong_table(Kind::Field, |lived: &mut Lived| related(lived, |call| call.nr == 287).nr = 410)]
#[case::abi_of_the_wrong_kind(Kind::Field, |lived: &mut Lived| related(lived, |call| call.nr == 326).abi = settime32_abi::output::Abi::I386)]
#[case::cancel_missing(Kind::Missing, |lived: &mut Lived| remove(lived, |event| matches!(event, Event::Cancel(_))))]
#[case::canceled_without_errno(Kind::Field, |lived: &mut Lived| wakeup(lived, |wakeup| wakeup.ret == Some(-125)).errno = None)]
#[case::out_of_order(Kind::OutOfOrder, swapped)]
#[case::create_without_its_clock(Kind::Field, |lived: &mut Lived| related(lived, |call| &*call.event == "timerfd_create").clockid = None)]
#[case::clock_of_another_timer(Kind::Field, |lived: &mut Lived| {
    let call = main_call(lived, |call| call.clockid == Some(0));
    call.clockid = Some(1);
})]
#[case::timer_of_a_failed_call(Kind::Identity, |lived: &mut Lived| related(lived, |call| call.ret == Some(-9)).timer = Some(1))]
#[case::expiry_of_another_clock(Kind::Field, |lived: &mut Lived| {
    let at = expiry_at(lived, |_, expiry| expiry.clockid == 1);
    let Event::Expiry(expiry) = &mut lived.events[at] else { unreachable!() };
    expiry.clockid = 7;
})]
#[case::lateness_made_up(Kind::Field, |lived: &mut Lived| {
    let at = expiry_at(lived, |_, expiry| expiry.late_ns > 0);
    let Event::Expiry(expiry) = &mut lived.events[at] else { unreachable!() };
    expiry.late_ns = 0;
})]
#[case::posix_timer_of_another_id(Kind::Field, |lived: &mut Lived| *related(lived, |call| call.timer_id.is_some()).timer_id.as_mut().unwrap() += 1)]
#[case::times_of_another_call(Kind::BadTimestamp, |lived: &mut Lived| {
    let call = related(lived, |call| call.nr == 326);
    call.exit_ns = call.exit_ns.map(|exit| exit + 40_000_000_000);
})]
#[case::released_by_another(Kind::Field, |lived: &mut Lived| {
    let release = lived.events.iter_mut().find_map(|event| if let Event::Release(release) = event { Some(release) } else { None });
    release.unwrap().pid += 1;
})]
fn a_single_fault_is_seen(#[case] kind: Kind, #[case] fault: impl Fn(&mut Lived)) {
    let mut lived = good();
    assert_eq!(judge(&lived).mismatches(), 0);
    fault(&mut lived);
    let findings = judge(&lived);
    assert!(findings.count(kind) > 0, "{kind:?} wanted, found {}", words(&findings));
    assert_eq!(Verdict::of(&findings, 0, Provoked::default()), Verdict::Violation);
}

/// A kernel, or a workload, that is not as it must be: by the journal alone.
#[rstest]
#[case::ticks(Kind::Model, settime32_abi::journal::what::READ, |operation: &mut settime32_abi::journal::Operation| {
    if operation.ret == 8 { operation.out_after[0] = operation.out_after[0].wrapping_add(7); }
})]
#[case::never_readable(Kind::Model, settime32_abi::journal::what::READ, |operation: &mut settime32_abi::journal::Operation| {
    if operation.ret == 8 { operation.ret = -5; }
})]
#[case::left(Kind::Model, settime32_abi::journal::what::GETTIME, |operation: &mut settime32_abi::journal::Operation| operation.out_after[4] ^= 0x40)]
#[case::number(Kind::WorkloadLied, settime32_abi::journal::what::GETTIME, |operation: &mut settime32_abi::journal::Operation| operation.nr += 1)]
#[case::descriptor(Kind::WorkloadLied, settime32_abi::journal::what::SETTIME64, |operation: &mut settime32_abi::journal::Operation| operation.args[0] += 1)]
#[case::process(Kind::WorkloadLied, settime32_abi::journal::what::CLOSE, |operation: &mut settime32_abi::journal::Operation| operation.pid += 1)]
#[case::ready(Kind::WorkloadLied, settime32_abi::journal::what::WAIT, |operation: &mut settime32_abi::journal::Operation| operation.ret += 1)]
fn a_wrong_journal_is_seen(
    #[case] kind: Kind,
    #[case] of: u32,
    #[case] fault: impl Fn(&mut settime32_abi::journal::Operation),
) {
    let mut lived = good();
    lived.journal.operations.iter_mut().filter(|operation| operation.what == of).for_each(fault);
    let findings = judge(&lived);
    assert!(findings.count(kind) > 0, "{kind:?} wanted, found {}", words(&findings));
}

/// The same of lifecycles.
#[test]
fn only_events_of_a_blind_time_may_be_missing() {
    let whole = good();
    let is_call = |event: &Event| matches!(event, Event::Call(_) | Event::Main(_));
    let at: Vec<usize> = (0..whole.events.len()).filter(|at| is_call(&whole.events[*at])).collect();
    let ns = |at: usize| match &whole.events[at] {
        Event::Call(call) => call.entry_ns,
        Event::Main(call) => call.entry_ns,
        _ => unreachable!("they are calls"),
    };
    let missing = at[at.len() / 2];
    let judge_with_blind = |from_ns: u64, to_ns: u64| {
        let mut lived = whole.clone();
        lived.events.remove(missing);
        let mut oracle = Oracle::new(Config {
            cpus: CPUS,
            comm: Some(COMM.to_owned()),
            lifecycle: true,
            ..Config::default()
        });
        oracle.plan_done(0, lived.plan.clone(), lived.journal.clone());
        lived.events.iter().for_each(|event| oracle.line(event.line().as_bytes()));
        let blind = vec![Blind { from_ns, to_ns, reason: "kprobes are switched off".into() }];
        let reported = lived.events.len() as u64;
        oracle.summary(Summary {
            event: SUMMARY_EVENT.to_owned(),
            reported,
            lost: Lost::default(),
            unknown: 0,
            unfinished: 0,
            blind,
        });
        oracle.finish()
    };
    let findings = judge_with_blind(ns(missing) - 5_000, ns(missing) + 5_000);
    assert_eq!((findings.mismatches(), findings.missing), (0, 1), "{}", words(&findings));
    let findings = judge_with_blind(1, 2);
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Missing)),
        (1, 1),
        "{}",
        words(&findings)
    );
}

/// A line of each kind with a key too many, or without one of its nulls.
#[rstest]
#[case::call(r#"{"event":"timerfd_settime","#, r#"{"event":"timerfd_settime","cookie":1,"#)]
#[case::call_under_test(
    r#"{"event":"timerfd_settime32","#,
    r#"{"event":"timerfd_settime32","cookie":1,"#
)]
#[case::expiry(r#"{"event":"expiry","#, r#"{"event":"expiry","inline":false,"#)]
#[case::cancel(r#"{"event":"cancel","#, r#"{"event":"cancel","clockid":0,"#)]
#[case::wakeup(r#"{"event":"wakeup","#, r#"{"event":"wakeup","late_ns":5,"#)]
#[case::release(r#"{"event":"release","#, r#"{"event":"release","ret":0,"#)]
#[case::null_left_out(r#""timer":null,"#, "")]
fn a_line_of_a_life_that_is_not_as_documented_is_seen(#[case] from: &str, #[case] to: &str) {
    let lived = good();
    let config =
        Config { cpus: CPUS, comm: Some(COMM.to_owned()), lifecycle: true, ..Config::default() };
    let mut oracle = Oracle::new(config);
    oracle.plan_done(0, lived.plan.clone(), lived.journal.clone());
    let mut altered = 0;
    for event in &lived.events {
        let mut line = event.line();
        if altered == 0 && line.contains(from) {
            (line, altered) = (line.replacen(from, to, 1), 1);
        }
        oracle.line(line.as_bytes());
    }
    assert_eq!(altered, 1, "there is such a line");
    let reported = lived.events.len() as u64;
    oracle.summary(Summary {
        event: SUMMARY_EVENT.to_owned(),
        reported,
        lost: Lost::default(),
        unknown: 0,
        unfinished: 0,
        blind: Vec::new(),
    });
    let findings = oracle.finish();
    assert_eq!(
        (findings.mismatches(), findings.count(Kind::Undocumented)),
        (1, 1),
        "{}",
        words(&findings)
    );
}

/// Of a process that is kept on one CPU, whatever happens in its own calls is there.
#[rstest]
#[case::call(|event: &mut Event| if let Event::Call(call) = event { call.cpu ^= 1 })]
#[case::call_under_test(|event: &mut Event| if let Event::Main(call) = event { call.cpu ^= 1 })]
#[case::wakeup(|event: &mut Event| if let Event::Wakeup(wakeup) = event { wakeup.cpu ^= 1 })]
#[case::release(|event: &mut Event| if let Event::Release(release) = event { release.cpu ^= 1 })]
fn another_cpu_than_a_thread_is_kept_on_is_seen(#[case] alter: fn(&mut Event)) {
    let mut lived = live(&lifecycle::plan(5, 2, 60), 3);
    assert_eq!(judge(&lived).mismatches(), 0, "{}", words(&judge(&lived)));
    lived.events.iter_mut().for_each(alter);
    let findings = judge(&lived);
    let named = findings
        .first
        .iter()
        .flat_map(|finding| &finding.differences)
        .all(|difference| difference.field == "cpu");
    assert!(findings.count(Kind::Field) > 0 && named, "{}", words(&findings));
}

/// The plans of the generator have what the faults above need, and more.
#[test]
fn lives_have_everything_in_them() {
    let lived = good();
    let count =
        |wanted: fn(&Event) -> bool| lived.events.iter().filter(|event| wanted(event)).count();
    assert!(count(|event| matches!(event, Event::Cancel(_))) > 3);
    assert!(count(|event| matches!(event, Event::Wakeup(wakeup) if wakeup.ret == Some(-125))) > 0);
    assert!(
        count(|event| matches!(event, Event::Wakeup(wakeup) if wakeup.ticks.flatten() > Some(1)))
            > 10
    );
    assert!(count(|event| matches!(event, Event::Expiry(_))) > 100);
    let waits = lived.plan.steps.iter().filter(
        |step| matches!(step, Step::Lifecycle(Act::Wait { slots, .. }) if slots.count_ones() > 2),
    );
    assert!(waits.count() > 5);
}

/// Several plans, of which nothing says when all events of one have come.
#[test]
fn plans_are_told_apart_without_releases() {
    let mut all: Vec<Lived> =
        (0..4).map(|index| live(&lifecycle::plan(3, index, 60), index)).collect();
    shift(&mut all);
    for asked in ["expiry,wakeup", "timerfd_settime32", "timer_settime32,expiry", "release,expiry"]
    {
        let asked: EventSet = asked.parse().unwrap();
        let findings = judge_of(&asked, &all, 0, |lines| lines);
        assert_eq!(
            (findings.mismatches(), findings.missing),
            (0, 0),
            "{asked:?}: {}",
            words(&findings)
        );
        assert_eq!(findings.checked, findings.calls);
    }
}
