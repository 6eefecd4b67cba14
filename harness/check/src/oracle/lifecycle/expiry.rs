//! Judges expiries: each is one of an arming, due when that says, and what only an expiry explains
//! has one.

use std::collections::{BTreeSet, HashSet};

use settime32_abi::lifecycle::{self, Expiry};

use super::Difference;
use super::compare::Compare;
use super::finding::Kind;
use super::judge::{Judge, SLACK_NS, nanos};
use crate::model::Bounds;
use crate::model::lifecycle::Arming;

/// Far more than a plan's settings of the clock put it back by, nanoseconds.
const CLOCK_SET_NS: i64 = 1_000_000_000;

/// An expiry of an arming.
#[derive(Clone, Copy)]
struct Fired {
    ns: i64,
    expires_ns: i64,
    /// How often the timer had been forwarded: the least number that may be.
    forwards: Bounds,
    /// Another arming of which it may be as well.
    or_of: Option<usize>,
}

pub(super) fn judge(judge: &mut Judge<'_>, expiries: &[&Expiry]) {
    let armings = judge.done.story.armings.clone();
    let mut fired = Placed {
        of: vec![Vec::new(); armings.len()],
        possibly_of: vec![Vec::new(); armings.len()],
    };
    let mut in_time: Vec<&&Expiry> = expiries.iter().collect();
    in_time.sort_by_key(|expiry| expiry.ns);
    for expiry in in_time {
        let Some(timer) = judge.timer_of(expiry.timer) else {
            unsure(judge, expiry, &armings, &mut fired);
            continue;
        };
        facts(judge, timer, expiry);
        place(judge, timer, expiry, &armings, &mut fired);
    }
    if judge.has(lifecycle::Kind::Expiry) {
        needs(judge, &armings, &fired.possibly_of);
    }
}

/// The timers that an expiry can be of, whatever its id says.
pub(super) fn fitting(judge: &Judge<'_>, expiry: &Expiry) -> BTreeSet<usize> {
    let fits = |arming: &&Arming| {
        is_during(judge, arming, nanos(expiry.ns)) && schedule(judge, arming, expiry, &[]).is_some()
    };
    judge.done.story.armings.iter().filter(fits).map(|arming| arming.timer).collect()
}

/// An expiry whose id may be of several timers is possibly of each.
fn unsure(judge: &mut Judge<'_>, expiry: &Expiry, armings: &[Arming], placed: &mut Placed) {
    let may_be = judge.may_be.get(&expiry.timer).cloned().unwrap_or_default();
    let mut fits = 0;
    for (index, arming) in
        armings.iter().enumerate().filter(|(_, arming)| may_be.contains(&arming.timer))
    {
        if let Some(forwards) = schedule(judge, arming, expiry, &[])
            .filter(|_| is_during(judge, arming, nanos(expiry.ns)))
        {
            placed.possibly_of[index].push(Fired {
                ns: nanos(expiry.ns),
                expires_ns: expiry.expires_ns,
                forwards,
                or_of: None,
            });
            fits += 1;
        }
    }
    if fits == 0 {
        judge.add(
            None,
            Kind::Identity,
            Vec::new(),
            format!("an expiry of no timer that is known: {expiry:?}"),
        );
    }
}

/// Whether the timer was set so at this time.
fn is_during(judge: &Judge<'_>, arming: &Arming, ns: i64) -> bool {
    let until = arming.until.map_or(i64::MAX, |at| judge.span(at).1);
    judge.span(arming.by).0 <= ns && ns <= until
}

/// Expiries by the armings that they are of.
struct Placed {
    of: Vec<Vec<Fired>>,
    /// Beside those the ones that may be of it: a timer that is armed anew as it is due may fire
    /// for either, which the two times do not tell.
    possibly_of: Vec<Vec<Fired>>,
}

/// What must be so whatever armed the timer.
fn facts(judge: &mut Judge<'_>, timer: usize, expiry: &Expiry) {
    let lived = judge.done.story.timers[timer];
    let mut compare = Compare::default();
    compare.equal("clockid", lived.clockid, expiry.clockid);
    compare.must(
        "cpu",
        expiry.cpu < judge.config.cpus,
        format!("below {}", judge.config.cpus),
        expiry.cpu,
    );
    let late =
        i128::from(expiry.ns) + i128::from(expiry.clock_offset_ns) - i128::from(expiry.expires_ns);
    compare.equal("late_ns", late, i128::from(expiry.late_ns));
    if !compare.0.is_empty() {
        judge.add(Some(lived.created), Kind::Field, compare.0, "expiry");
    }
    if late < 0 || expiry.late_ns < 0 {
        let found = expiry.late_ns.min(i64::try_from(late).unwrap_or(i64::MIN)).to_string();
        let difference = Difference { field: "late_ns", expected: "0 or more".into(), found };
        judge.add(Some(lived.created), Kind::Early, vec![difference], format!("{expiry:?}"));
    }
}

/// Finds the arming that it is of.
fn place(
    judge: &mut Judge<'_>,
    timer: usize,
    expiry: &Expiry,
    armings: &[Arming],
    placed: &mut Placed,
) {
    let Placed { of: fired, possibly_of } = placed;
    let ns = nanos(expiry.ns);
    // Two where the one is being replaced by the other.
    let candidates: Vec<usize> = (0..armings.len())
        .filter(|index| armings[*index].timer == timer && is_during(judge, &armings[*index], ns))
        .collect();
    let Some(last) = candidates.last().copied() else {
        let at = armings
            .iter()
            .rev()
            .find(|arming| arming.timer == timer && judge.span(arming.by).0 <= ns)
            .map(|arming| arming.by);
        return judge.add(at, Kind::Stale, Vec::new(), format!("{expiry:?}"));
    };
    let mut fits = fits_of(judge, &candidates, expiry, armings, fired);
    if fits.is_empty() {
        candidates.iter().for_each(|index| take_back(*index, fired));
        fits = fits_of(judge, &candidates, expiry, armings, fired);
    }
    for (index, forwards) in &fits {
        possibly_of[*index].push(Fired {
            ns,
            expires_ns: expiry.expires_ns,
            forwards: *forwards,
            or_of: None,
        });
    }
    fits.sort_by_key(|(index, _)| vagueness(judge, &armings[*index], &fired[*index]));
    // By chance it may fit both. Then it is of the one of which it is what must come next, and of
    // which that is known best.
    let is_next = |(index, forwards): &&(usize, Bounds)| match fired[*index].last() {
        None => forwards.low == 0,
        Some(before) => before.expires_ns < expiry.expires_ns && armings[*index].interval > 0,
    };
    let best = fits.iter().find(is_next).or(fits.first()).copied();
    let Some((index, forwards)) = best else {
        let arming = &armings[last];
        let (entry, exit) = judge.span(arming.by);
        let expected = match arming.absolute {
            true => format!("{}, and {} more each time", arming.value, arming.interval),
            false => format!(
                "{} after {entry} to {exit}, and {} more each time",
                arming.value, arming.interval
            ),
        };
        let difference =
            Difference { field: "expires_ns", expected, found: expiry.expires_ns.to_string() };
        return judge.add(Some(arming.by), Kind::Field, vec![difference], format!("{expiry:?}"));
    };
    let arming = &armings[index];
    if let Some(before) = fired[index].last() {
        // A timer whose clock was set back may be started again for the same time.
        let again =
            before.expires_ns == expiry.expires_ns && (before.ns == ns || !arming.clock_was_set);
        let backwards = before.expires_ns > expiry.expires_ns && !arming.clock_was_set;
        if again || backwards {
            let kind = if again { Kind::Doubled } else { Kind::OutOfOrder };
            return judge.add(Some(arming.by), kind, Vec::new(), format!("{expiry:?}"));
        }
    }
    // A read or a look starts a timer again, for a time that may have passed by then.
    let inside = |at: usize| judge.done.story.told[at].timer == Some(timer);
    if expiry.inline && !judge.operation_at(ns).is_some_and(inside) {
        let difference = Difference {
            field: "inline",
            expected: "false, outside of the calls that start the timer".into(),
            found: "true".into(),
        };
        judge.add(Some(arming.by), Kind::Field, vec![difference], "expiry");
    }
    if judge.config.fires_inline
        && !expiry.inline
        && fired[index].is_empty()
        && was_past(judge, arming, expiry)
    {
        let difference = Difference {
            field: "inline",
            expected: "true, since it was due before the call".into(),
            found: "false".into(),
        };
        judge.add(Some(arming.by), Kind::Field, vec![difference], "expiry");
    }
    let or_of = fits.iter().map(|(other, _)| *other).find(|other| *other != index);
    fired[index].push(Fired { ns, expires_ns: expiry.expires_ns, forwards, or_of });
}

/// Whether the first expiry of an arming was due before the call that armed it. Alarm timers are
/// started in another way (`alarm_start`, `kernel/time/alarmtimer.c`).
fn was_past(judge: &Judge<'_>, arming: &Arming, expiry: &Expiry) -> bool {
    const ALARMS: [i32; 2] = [8, 9];
    let began_ns = judge.operation(arming.by).before_ns + expiry.clock_offset_ns;
    arming.absolute
        && !arming.clock_was_set
        && !ALARMS.contains(&expiry.clockid)
        && expiry.expires_ns < began_ns
}

/// The armings that it fits, the latest first, and how often the timer had been forwarded then.
fn fits_of(
    judge: &Judge<'_>,
    candidates: &[usize],
    expiry: &Expiry,
    armings: &[Arming],
    fired: &[Vec<Fired>],
) -> Vec<(usize, Bounds)> {
    let fits =
        |index: &usize| Some((*index, schedule(judge, &armings[*index], expiry, &fired[*index])?));
    candidates.iter().rev().filter_map(fits).collect()
}

/// The last expiry of an arming is contradicted by the one that follows: where it may be of another
/// arming as well, it is.
fn take_back(index: usize, fired: &mut [Vec<Fired>]) {
    let Some(other) = fired[index].last().and_then(|last| last.or_of) else { return };
    let last = fired[index].pop().map(|last| Fired { or_of: None, ..last });
    fired[other].extend(last);
}

/// How closely it is known when the timer is due, nanoseconds.
fn vagueness(judge: &Judge<'_>, arming: &Arming, before: &[Fired]) -> i64 {
    let (entry, exit) = judge.span(arming.by);
    match arming {
        _ if arming.absolute || !before.is_empty() => 0,
        _ if arming.realtime && arming.clock_was_set => CLOCK_SET_NS,
        _ => exit.saturating_sub(entry),
    }
}

/// How often the timer had been forwarded if the expiry is of this arming; `None` when it cannot
/// be.
fn schedule(
    judge: &Judge<'_>,
    arming: &Arming,
    expiry: &Expiry,
    before: &[Fired],
) -> Option<Bounds> {
    // What runs on CLOCK_MONOTONIC has no offset; an alarm of CLOCK_REALTIME was armed with the one
    // that it had then.
    let drift = if arming.clock_was_set { CLOCK_SET_NS } else { SLACK_NS };
    let offset = if arming.realtime { expiry.clock_offset_ns } else { 0 };
    if !arming.realtime && expiry.clock_offset_ns != 0 {
        return None;
    }
    let (entry, exit) = judge.span(arming.by);
    let first = match arming.absolute {
        true => Bounds::exactly(arming.value),
        false => {
            let slack = if arming.realtime { drift } else { SLACK_NS };
            let from = |ns: i64| ns.saturating_add(offset).saturating_add(arming.value);
            Bounds::new(from(entry).saturating_sub(slack), from(exit).saturating_add(slack))
        }
    };
    if arming.interval == 0 {
        return (first.low <= expiry.expires_ns && expiry.expires_ns <= first.high)
            .then_some(Bounds::exactly(0));
    }
    if let Some(before) = before.last() {
        let away = expiry.expires_ns.checked_sub(before.expires_ns)?;
        let periods = away / arming.interval;
        return (away % arming.interval == 0).then(|| {
            Bounds::new(
                before.forwards.low.saturating_add(periods),
                before.forwards.high.saturating_add(periods),
            )
        });
    }
    let high = expiry.expires_ns.checked_sub(first.low)?.div_euclid(arming.interval);
    let low = expiry.expires_ns.checked_sub(first.high)?;
    let low = low.div_euclid(arming.interval) + i64::from(low.rem_euclid(arming.interval) != 0);
    (low.max(0) <= high).then(|| Bounds::new(low.max(0), high))
}

/// Each answer that only an expiry explains has one.
fn needs(judge: &mut Judge<'_>, armings: &[Arming], fired: &[Vec<Fired>]) {
    let mut told = HashSet::new();
    for need in judge.done.story.needs.clone() {
        let end = judge.operation(need.operation).after_ns + SLACK_NS;
        let is_it = |one: &Fired| {
            one.ns <= end
                && one.forwards.high >= need.forwards.low
                && one.forwards.low <= need.forwards.high
        };
        if !fired[need.arming].iter().any(is_it) && told.insert((need.arming, need.forwards.low)) {
            let arming = &armings[need.arming];
            let (step, others) = (judge.operation(arming.by).step, fired[need.arming].len());
            let what = format!(
                "the expiry behind this, of the timer that step {step} armed and of which {others} others were told"
            );
            let when = Bounds::new(
                judge.operation(arming.by).before_ns,
                judge.operation(need.operation).after_ns,
            );
            judge.missing(Some(need.operation), Some(arming.timer), what, when);
        }
    }
}
