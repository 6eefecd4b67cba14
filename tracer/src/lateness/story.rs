//! One timer's story: which arming an expiry belongs to, who was told of it, and what became of an
//! arming that did not fire.
//!
//! Events come in the order in which they ended, so that an expiry can come before the call that
//! armed the timer, and a read after an expiry that it does not tell of. What cannot be known since
//! events were lost is told as unknown.

use std::collections::VecDeque;
use std::rc::Rc;

use settime32_abi::lifecycle::{Expiry, TimerId, Wakeup};

use super::arming::{Arming, Setting};
use super::clock::Reading;
use super::firing::{Firing, Told};
use super::owner::Owner;
use crate::lifecycle::Armed;

/// The timer was cancelled, and what it told before that is gone (`timerfd_read`, `fs/timerfd.c`).
const ECANCELED: i64 = -125;
/// A call that armed a timer returns so soon after the timer fired.
const MOST_UNTIL_RETURN_NS: u64 = 100_000_000;
/// Expiries that wait for something to be known of them, at most.
const MOST_FIRINGS: usize = 16;

/// What a story tells, to be counted.
#[derive(Clone, Debug)]
pub enum Turn {
    /// A setting that arms.
    Armed,
    /// An expiry.
    Fired(Box<Firing>),
    /// A read told more expiries than one; so many more.
    Overrun(u64),
    /// A setting was replaced before it fired; whether it was due.
    Rearmed { was_due: bool },
    /// A setting was taken back before it fired, or the timer closed; whether it was due.
    Disarmed { was_due: bool },
    /// What became of a setting is not known.
    Unknown,
    /// The timer's clock was set.
    Cancelled,
}

/// Something told, and of whose timer.
pub type Tale = (Option<Rc<Owner>>, Turn);

/// What is going on with a timer.
#[derive(Debug)]
pub struct Story {
    timer: TimerId,
    arming: Option<Arming>,
    /// Whether any arming was seen.
    was_armed: bool,
    /// Expiries, until something shows that nothing more is to be known of them: those after the
    /// first only while it is not read.
    firings: VecDeque<Firing>,
    /// Who was told of it last, where its arming was not seen.
    told: Option<Rc<Owner>>,
    /// The timer's clock at its last expiry.
    clock: Option<Reading>,
    /// What is read next are not its expiries.
    ticks_are_set: bool,
    tales: Vec<Tale>,
}

impl Story {
    /// Of which nothing is known yet.
    pub const fn new(timer: TimerId) -> Self {
        Self {
            timer,
            arming: None,
            was_armed: false,
            firings: VecDeque::new(),
            told: None,
            clock: None,
            ticks_are_set: false,
            tales: Vec::new(),
        }
    }

    /// What there is to tell since this was asked last.
    pub fn take_tales(&mut self) -> Vec<Tale> {
        std::mem::take(&mut self.tales)
    }

    /// The timer that it is of.
    pub const fn timer(&self) -> TimerId {
        self.timer
    }

    /// Whose timer it is, as far as is known.
    pub fn owner(&self) -> Option<Rc<Owner>> {
        let by_arming = self.arming.as_ref().map(|arming| &arming.owner);
        let by_firing = || self.firings.back().and_then(|firing| firing.owner.as_ref());
        by_arming.or_else(by_firing).or(self.told.as_ref()).cloned()
    }

    /// A call set the timer, and has returned.
    pub fn set(&mut self, setting: &Setting, armed: &Armed, owner: &Rc<Owner>) {
        let mut arming = Arming::of(setting, armed, Rc::clone(owner));
        if arming.is_some() {
            self.tales.push((Some(Rc::clone(owner)), Turn::Armed));
        }
        let is_overtaken = self.arming.as_ref().is_some_and(|last| !last.is_before(armed));
        self.claim(arming.as_mut(), setting.entry_ns, is_overtaken);
        if is_overtaken {
            // A later call returned first.
            return self.end(arming, armed.ns, true);
        }
        let mut last = self.arming.take();
        last.iter_mut().for_each(|last| last.is_doubtful |= setting.times.is_none());
        self.end(last, setting.entry_ns, arming.is_some());
        self.arming = arming;
        self.was_armed = true;
        self.ticks_are_set = false;
    }

    /// Gives an arming the expiries that came before its call had returned.
    fn claim(&mut self, mut arming: Option<&mut Arming>, entry_ns: u64, is_overtaken: bool) {
        for firing in self.firings.iter_mut().filter(|firing| firing.may_be_armed) {
            match arming
                .as_deref_mut()
                .filter(|arming| arming.owns(firing.expires_ns, firing.clock.ns))
            {
                Some(arming) => firing.belongs_to(arming),
                // Its call was not seen, and replaced what was armed before.
                None if !is_overtaken && firing.clock.ns < entry_ns => {
                    firing.may_be_armed = false;
                    firing.is_of_lost = self.was_armed;
                    self.arming
                        .iter_mut()
                        .for_each(|before| before.is_doubtful |= before.entry_ns < firing.clock.ns);
                }
                None => {}
            }
        }
        // What is due at the same time as the setting before was taken for that one's.
        let taken = self.firings.back_mut().filter(|firing| {
            firing.armed_ns() == self.arming.as_ref().map(|before| before.entry_ns)
        });
        if let (Some(arming), Some(firing), Some(before)) = (arming, taken, &mut self.arming)
            && !is_overtaken
            && arming.fired == 0
            && firing.armed_ns().is_some()
            && arming.owns(firing.expires_ns, firing.clock.ns)
        {
            before.fired -= 1;
            firing.belongs_to(arming);
        }
    }

    /// The timer expired.
    pub fn expired(&mut self, expiry: &Expiry) {
        let mut firing = Firing::of(expiry);
        firing.before = self.clock.replace(firing.clock);
        if let Some(arming) =
            self.arming.as_mut().filter(|arming| arming.owns(expiry.expires_ns, expiry.ns))
        {
            firing.belongs_to(arming);
        }
        self.firings.push_back(firing);
        self.settle(expiry.ns);
    }

    /// Its clock was set.
    pub fn cancelled(&mut self) {
        self.tales.push((self.owner(), Turn::Cancelled));
        // What polls find from now on need be no expiry.
        self.ticks_are_set = true;
    }

    /// Somebody has set what is read next (`TFD_IOC_SET_TICKS`).
    pub const fn ticks_set(&mut self) {
        self.ticks_are_set = true;
    }

    /// A thread was told of it. Only the first one was woken by the expiry: who polls is told, and
    /// reads then.
    pub fn woke(&mut self, wakeup: &Wakeup, who: &Rc<Owner>) {
        self.told = Some(Rc::clone(who));
        let is_read = wakeup.entry_ns.is_some();
        let are_expiries = !self.ticks_are_set;
        self.ticks_are_set &= !is_read;
        if wakeup.ret == Some(ECANCELED) {
            return;
        }
        let ticks = wakeup.ticks.flatten().filter(|_| are_expiries);
        if let Some(more) = ticks.and_then(|ticks| ticks.checked_sub(1)).filter(|more| *more > 0) {
            self.tales.push((self.owner(), Turn::Overrun(more)));
        }
        let told = Told::of(wakeup, ticks);
        let newest = self.firings.iter().rposition(|firing| firing.clock.ns <= wakeup.ns);
        let fired_ns = newest.map(|at| self.firings[at].clock.ns);
        // It tells of an expiry of the setting, which was not seen: what was there before, the
        // setting took away.
        let began_ns = wakeup.entry_ns.map_or(wakeup.ns, Option::unwrap_or_default);
        let unseen = self.arming.as_mut().filter(|arming| {
            let since_ns = arming.clock.ns;
            are_expiries
                && arming.fired == 0
                && since_ns < began_ns
                && fired_ns.is_none_or(|fired_ns| fired_ns < since_ns)
        });
        match (unseen, newest) {
            (Some(arming), _) => arming.is_doubtful = true,
            (None, Some(at)) if is_read => self.read(at, told),
            (None, Some(at)) => self.firings[at].poll(told),
            (None, None) => {}
        }
        self.settle(wakeup.ns);
    }

    /// A read belongs to the newest expiry that it can be of. Where that is wrong since the next
    /// one came before the read returned, the read after it shows so: no expiry is read twice.
    fn read(&mut self, at: usize, told: Told) {
        let (before, after) = self.firings.make_contiguous().split_at_mut(at);
        let newest = &mut after[0];
        let unread = before.last_mut().filter(|firing| !firing.is_read());
        match (newest.told_by_read().copied(), unread) {
            (None, Some(unread))
                if newest.is_too_new_for(&told) && unread.may_be_told_by(&told, newest) =>
            {
                _ = unread.read(told)
            }
            (None, _) => _ = newest.read(told),
            (Some(first), Some(unread)) if unread.may_be_told_by(&first, newest) => {
                _ = unread.read(first);
                _ = newest.read(told);
            }
            (Some(_), _) => {}
        }
    }

    /// Its last descriptor was closed at this time, and its handler has ended.
    pub fn released(&mut self, ns: u64) {
        let mut arming = self.arming.take();
        for firing in self.firings.iter_mut().filter(|firing| firing.may_be_armed) {
            firing.is_of_lost = self.was_armed;
        }
        let is_replaced = self.firings.iter().any(|firing| firing.is_of_lost);
        arming.iter_mut().for_each(|arming| arming.is_doubtful |= is_replaced);
        self.end(arming, ns, false);
        self.ended();
    }

    /// There is no room for it any more.
    pub fn forgotten(&mut self) {
        if let Some(arming) = self.arming.take().filter(|arming| arming.fired == 0) {
            self.tales.push((Some(arming.owner), Turn::Unknown));
        }
        self.ended();
    }

    /// Tracing ended.
    pub fn ended(&mut self) {
        while let Some(firing) = self.firings.pop_front() {
            self.tell(firing);
        }
    }

    /// Tells expiries of which nothing more is to be known.
    fn settle(&mut self, now_ns: u64) {
        while let Some(first) = self.firings.front() {
            let is_full = self.firings.len() > MOST_FIRINGS;
            let may_be_armed =
                first.may_be_armed && now_ns <= first.clock.ns.saturating_add(MOST_UNTIL_RETURN_NS);
            // No read can be of it any more, unless it is the last, or the last before one that a
            // read overtook.
            let is_over = self.firings.len() > 2 || self.firings.len() == 2 && first.is_read();
            // Whoever reads it next is whose it is.
            let is_nobodys = first.owner.is_none() && self.told.is_none();
            if !is_full && (may_be_armed || is_nobodys || !is_over) {
                return;
            }
            self.firings.pop_front().into_iter().for_each(|firing| self.tell(firing));
        }
    }

    fn tell(&mut self, mut firing: Firing) {
        firing.is_of_lost |= firing.may_be_armed && self.was_armed;
        if firing.is_of_lost {
            self.arming
                .iter_mut()
                .for_each(|before| before.is_doubtful |= before.entry_ns < firing.clock.ns);
        }
        if firing.owner.is_none() {
            firing.owner = self.told.clone();
        }
        self.tales.push((firing.owner.clone(), Turn::Fired(Box::new(firing))));
    }

    /// A setting is replaced, or taken back, by then.
    fn end(&mut self, arming: Option<Arming>, ns: u64, is_replaced: bool) {
        let Some(arming) = arming.filter(|arming| arming.fired == 0) else { return };
        let was_due = arming.is_due(ns);
        let turn = match (arming.is_doubtful, is_replaced) {
            (true, _) => Turn::Unknown,
            (false, true) => Turn::Rearmed { was_due },
            (false, false) => Turn::Disarmed { was_due },
        };
        self.tales.push((Some(arming.owner), turn));
    }
}

#[cfg(test)]
mod tests;
