//! Which timer an id is of, where no call names it: what all of the id's events together can be of.
//!
//! An id that may be of several timers to the end is held to no single one of them. Then it is
//! known of how many timers something is told, and not of which.

use std::collections::{BTreeMap, BTreeSet};

use settime32_abi::lifecycle::TimerId;

use super::expiry;
use super::judge::{Judge, nanos};
use super::line::Event;

/// Timers that an id may be of, for ids of which that is not certain.
pub(super) type MayBe = BTreeMap<TimerId, BTreeSet<usize>>;

/// Names the timers that calls have not named, as far as their events say which is which.
pub(super) fn learn(judge: &mut Judge<'_>, events: &[Event]) {
    let mut may_be = MayBe::new();
    for event in events {
        let Some((id, mut fits)) = fitting(judge, event) else { continue };
        fits.retain(|timer| judge.ids[*timer].is_none());
        // An event that contradicts those before it is wrong as what it is, and says nothing of the
        // id.
        let both = may_be.get(&id).map_or(fits.clone(), |before| before & &fits);
        if !both.is_empty() {
            may_be.insert(id, both);
        }
    }
    let certain = |may_be: &MayBe| {
        may_be
            .iter()
            .find(|(_, timers)| timers.len() == 1)
            .map(|(id, timers)| (*id, timers.first().copied()))
    };
    while let Some((id, timer)) = certain(&may_be) {
        may_be.remove(&id);
        judge.identity(
            judge.done.story.timers[timer.unwrap_or_default()].created,
            timer,
            Some(id),
            "of the timer's life",
        );
        may_be.values_mut().for_each(|timers| timers.retain(|other| Some(*other) != timer));
    }
    judge.may_be = may_be;
}

/// The id that an event of no call has, if no call has named it, and the timers that the event can
/// be of.
fn fitting(judge: &Judge<'_>, event: &Event) -> Option<(TimerId, BTreeSet<usize>)> {
    let at = judge.operation_at(event.time());
    let told = at.map(|at| &judge.done.story.told[at]);
    let (id, fits) = match event {
        Event::Main(_) | Event::Call(_) => return None,
        Event::Wakeup(wakeup) => {
            (wakeup.timer, told.into_iter().flat_map(|told| told.woken.iter().copied()).collect())
        }
        Event::Cancel(cancel) => (
            cancel.timer,
            told.into_iter()
                .flat_map(|told| told.canceled.iter().map(|(timer, _)| *timer))
                .collect(),
        ),
        Event::Release(release) => {
            let is_it = |timer: &usize| judge.release_window(*timer).contains(&nanos(release.ns));
            (release.timer, (0..judge.ids.len()).filter(is_it).collect())
        }
        Event::Expiry(expiry) => (expiry.timer, expiry::fitting(judge, expiry)),
    };
    judge.timer_of(id).is_none().then_some((id, fits))
}
