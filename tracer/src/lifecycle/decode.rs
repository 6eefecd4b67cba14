//! From the records of a timer's life to the documented events.

use std::borrow::Cow;
use std::collections::HashSet;

use bytemuck::Pod;
use serde::Serialize as _;
use settime32_abi::event::RawEvent;
use settime32_abi::lifecycle::{By, Cancel, Expiry, Kind, RelatedCall, Release, TimerId, Wakeup};
use settime32_abi::moment::{
    Call, Due, Moment, RawArming, RawCall, RawCancel, RawClockSet, RawExpiry, RawRelease,
    RawTicksSet, RawWakeup, Record, Who, call_flag, wakeup_flag,
};
use settime32_abi::output::Abi;

use super::Armed;
use super::recent::Recent;
use super::timers::Timers;
use crate::call_event::{comm, errno_name, result_errno};

/// Calls whose record follows that of what they set, at one time.
const MAX_ARMED: usize = 8192;

/// An event beside a call of `timerfd_settime32`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A related call, and what the kernel made of it where it set a timer.
    #[serde(serialize_with = "call_alone")]
    Call(RelatedCall, Option<Armed>),
    /// A timer expired.
    Expiry(Expiry),
    /// A timer was cancelled.
    Cancel(Cancel),
    /// A thread was told of a timer.
    Wakeup(Wakeup),
    /// A timer is gone.
    Release(Release),
    /// A clock was set, and all timers were told: for who tells how late timers fire, and not
    /// printed.
    ClockSet {
        /// `CLOCK_MONOTONIC` when they had been, nanoseconds.
        ns: u64,
    },
    /// Expiries that were none were put there by `TFD_IOC_SET_TICKS`: likewise.
    TicksSet {
        /// `CLOCK_MONOTONIC` when they had been, nanoseconds.
        ns: u64,
        /// The timer.
        timer: TimerId,
    },
}

fn call_alone<S: serde::Serializer>(
    call: &RelatedCall,
    _armed: &Option<Armed>,
    to: S,
) -> Result<S::Ok, S::Error> {
    call.serialize(to)
}

impl Event {
    /// What it must have been asked for as.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Call(call, _) => Kind::ALL
                .into_iter()
                .find(|kind| kind.as_str() == call.event)
                .unwrap_or(Kind::TimerfdCreate),
            Self::Expiry(_) | Self::Cancel(_) | Self::ClockSet { .. } | Self::TicksSet { .. } => {
                Kind::Expiry
            }
            Self::Wakeup(_) => Kind::Wakeup,
            Self::Release(_) => Kind::Release,
        }
    }

    /// When it ended, by `CLOCK_MONOTONIC`; `None` of a call that was not seen to return.
    pub fn ended_ns(&self) -> Option<u64> {
        match self {
            Self::Call(call, _) => call.exit_ns,
            Self::Expiry(expiry) => Some(expiry.ns),
            Self::Cancel(cancel) => Some(cancel.ns),
            Self::Wakeup(wakeup) => Some(wakeup.ns),
            Self::Release(release) => Some(release.ns),
            Self::ClockSet { ns } | Self::TicksSet { ns, .. } => Some(*ns),
        }
    }

    /// The process that did it, by the id that is reported.
    pub fn process(&self) -> Option<u32> {
        match self {
            Self::Call(call, _) => Some(call.pid),
            Self::Wakeup(wakeup) => Some(wakeup.pid),
            Self::Release(release) => Some(release.pid),
            Self::Expiry(_) | Self::Cancel(_) | Self::ClockSet { .. } | Self::TicksSet { .. } => {
                None
            }
        }
    }

    /// When it began, by the same clock.
    pub fn began_ns(&self) -> u64 {
        if let Self::Call(call, _) = self { call.entry_ns } else { self.ended_ns().unwrap_or(0) }
    }

    /// As it was at this time: a call had not returned, and what it set may not be set yet.
    pub fn at(self, ns: u64) -> Self {
        let Self::Call(call, armed) = self else { return self };
        let call = RelatedCall { exit_ns: None, ret: None, errno: None, unfinished: true, ..call };
        Self::Call(call, armed.filter(|armed| armed.ns < ns))
    }

    /// Whether it is one of those that are documented.
    pub const fn is_printed(&self) -> bool {
        !matches!(self, Self::ClockSet { .. } | Self::TicksSet { .. })
    }
}

/// A record that is none: the two halves of the tracer are not of one build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a record of {len} bytes from the eBPF program is of no kind that is known; build the tracer again"
)]
pub struct UnknownRecord {
    /// Its length.
    pub len: usize,
}

/// What is known from earlier records.
#[derive(Debug)]
pub struct Decoder {
    timers: Timers,
    /// By thread: what its `timerfd_settime32` set, told before the call's own record.
    armed: Recent<u32, RawArming>,
    ignored: HashSet<u32>,
    always_tells_host_ids: bool,
}

impl Decoder {
    /// Of nothing yet. Ids of the initial pid namespace are told where they differ from those that
    /// are reported, or always.
    pub fn new(always_tells_host_ids: bool) -> Self {
        Self {
            timers: Timers::default(),
            armed: Recent::new(MAX_ARMED),
            ignored: HashSet::new(),
            always_tells_host_ids,
        }
    }

    /// Tells nothing more of what this thread does (its id in the initial pid namespace).
    pub fn ignore(&mut self, tid: u32) {
        self.ignored.insert(tid);
    }

    /// The event that a record tells of; `None` when it is only to be kept in mind, or is none that
    /// counts.
    pub fn event(&mut self, record: &[u8]) -> Result<Option<Event>, UnknownRecord> {
        let unknown = UnknownRecord { len: record.len() };
        let kind = record.first_chunk().map(|word| u32::from_ne_bytes(*word));
        Ok(match kind {
            Some(CALL) => self
                .heard(&read::<RawCall>(record)?, |raw| raw.who.ids)
                .map(|raw| self.call_of(&raw)),
            Some(EXPIRY) => Some(Event::Expiry(self.expiry(&read(record)?))),
            Some(WAKEUP) => match self.heard(&read::<RawWakeup>(record)?, |raw| raw.who.ids) {
                Some(raw) => Some(Event::Wakeup(self.wakeup(&raw).ok_or(unknown)?)),
                None => None,
            },
            Some(RELEASE) => self.released(&read(record)?),
            Some(CANCEL) => Some(Event::Cancel(self.cancel(&read(record)?))),
            Some(CLOCK_SET) => Some(Event::ClockSet { ns: read::<RawClockSet>(record)?.ns }),
            Some(TICKS_SET) => {
                let raw = self.heard(&read::<RawTicksSet>(record)?, |raw| raw.ids);
                raw.map(|raw| Event::TicksSet {
                    ns: raw.moment.ns,
                    timer: self.timers.number(raw.moment.timer),
                })
            }
            Some(ARMING) => {
                if let Some(arming) = self.heard(&read::<RawArming>(record)?, |raw| raw.ids) {
                    self.armed.insert(arming.ids as u32, arming);
                }
                None
            }
            _ => return Err(unknown),
        })
    }

    /// What a call of `timerfd_settime32` set, and what the kernel made of it.
    pub fn armed_of(&mut self, raw: &RawEvent) -> Option<Armed> {
        let arming = self.armed.remove(raw.host_tid)?;
        // One whose call was lost is not that of the thread's next call.
        let is_its_own = (raw.entry_ns..=raw.exit_ns).contains(&arming.moment.ns);
        is_its_own.then(|| self.armed(arming.moment, &arming.due))
    }

    /// A related call that had not returned when tracing ended, as far as was seen.
    pub fn call_inside(&mut self, raw: &RawCall) -> Option<Event> {
        let is_inside = raw.flags & call_flag::RESULT_LOST == 0;
        self.heard(raw, |raw| raw.who.ids).map(|raw| Event::Call(self.call(&raw, is_inside), None))
    }

    /// A record, unless it is of a thread of which nothing is to be told.
    fn heard<R: Copy>(&self, raw: &R, ids: impl Fn(&R) -> u64) -> Option<R> {
        (self.ignored.is_empty() || !self.ignored.contains(&(ids(raw) as u32))).then_some(*raw)
    }

    fn call_of(&mut self, raw: &RawCall) -> Event {
        let call = self.call(raw, false);
        let armed = (raw.armed_ns != 0)
            .then(|| self.armed(Moment { ns: raw.armed_ns, timer: raw.timer }, &raw.due));
        Event::Call(call, armed)
    }

    /// Process and thread id of the initial pid namespace, where they are told.
    const fn host_ids(&self, who: &Who) -> (Option<u32>, Option<u32>) {
        if who.ids == who.own_ids && !self.always_tells_host_ids {
            return (None, None);
        }
        (Some((who.ids >> 32) as u32), Some(who.ids as u32))
    }

    fn armed(&mut self, moment: Moment, due: &Due) -> Armed {
        Armed {
            ns: moment.ns,
            timer: self.timers.number(moment.timer),
            clockid: due.clockid,
            expires_ns: due.expires_ns,
            clock_offset_ns: due.clock_offset_ns,
            suspended_ns: due.suspended_ns,
        }
    }

    fn call(&mut self, raw: &RawCall, is_inside: bool) -> RelatedCall {
        let call = Call::ALL.get(raw.call as usize).copied().unwrap_or(Call::CreateX64);
        let has = |bit| raw.flags & bit != 0;
        let timer = (!raw.timer.is_none()).then(|| self.timers.number(raw.timer));
        let returned = has(call_flag::RETURNED);
        let arguments = Arguments::of(call, raw.args);
        let (host_pid, host_tid) = self.host_ids(&raw.who);
        RelatedCall {
            event: Cow::Borrowed(kind_of(call).as_str()),
            entry_ns: raw.entry_ns,
            exit_ns: returned.then_some(raw.exit_ns),
            pid: pid(&raw.who),
            tid: tid(&raw.who),
            comm: text(&raw.who),
            cpu: raw.head.cpu,
            abi: if has(call_flag::CALLER_64BIT) { Abi::X86_64 } else { Abi::I386 },
            nr: call.nr(),
            timer,
            clockid: arguments.clockid.or(timer.map(|_| raw.due.clockid)),
            ufd: arguments.ufd,
            timer_id: arguments.timer_id,
            flags: arguments.flags,
            utmr: arguments.utmr.filter(|address| *address != 0),
            utmr_used: has(call_flag::USED).then_some(raw.used),
            otmr: arguments.otmr.filter(|address| *address != 0),
            old: has(call_flag::OLD).then_some(raw.old),
            ret: returned.then_some(raw.ret),
            errno: if returned { result_errno(raw.ret).map(errno_name) } else { None },
            unfinished: is_inside,
            result_lost: has(call_flag::RESULT_LOST),
            host_pid,
            host_tid,
        }
    }

    fn expiry(&mut self, raw: &RawExpiry) -> Expiry {
        let now_ns = raw.moment.ns.cast_signed().wrapping_add(raw.due.clock_offset_ns);
        Expiry {
            event: Cow::Borrowed("expiry"),
            ns: raw.moment.ns,
            cpu: raw.head.cpu,
            timer: self.timers.number(raw.moment.timer),
            clockid: raw.due.clockid,
            expires_ns: raw.due.expires_ns,
            clock_offset_ns: raw.due.clock_offset_ns,
            late_ns: now_ns.saturating_sub(raw.due.expires_ns),
            suspended_ns: raw.due.suspended_ns,
            inline: raw.is_inline != 0,
        }
    }

    fn cancel(&mut self, raw: &RawCancel) -> Cancel {
        let timer = self.timers.number(raw.moment.timer);
        Cancel { event: Cow::Borrowed("cancel"), ns: raw.moment.ns, cpu: raw.head.cpu, timer }
    }

    fn wakeup(&mut self, raw: &RawWakeup) -> Option<Wakeup> {
        let has = |bit| raw.flags & bit != 0;
        let is_read = has(wakeup_flag::READ);
        let (host_pid, host_tid) = self.host_ids(&raw.who);
        Some(Wakeup {
            event: Cow::Borrowed("wakeup"),
            ns: raw.moment.ns,
            pid: pid(&raw.who),
            tid: tid(&raw.who),
            comm: text(&raw.who),
            cpu: raw.head.cpu,
            timer: self.timers.number(raw.moment.timer),
            by: *By::ALL.get(raw.by as usize)?,
            entry_ns: is_read.then(|| (raw.entry_ns != 0).then_some(raw.entry_ns)),
            ret: is_read.then_some(raw.ret),
            errno: if is_read { result_errno(raw.ret).map(errno_name) } else { None },
            ticks: (is_read && raw.ret >= 0).then(|| has(wakeup_flag::TICKS).then_some(raw.ticks)),
            host_pid,
            host_tid,
        })
    }

    fn released(&mut self, raw: &RawRelease) -> Option<Event> {
        let timer = self.timers.released(raw.moment.timer);
        let raw = self.heard(raw, |raw| raw.who.ids)?;
        let (host_pid, host_tid) = self.host_ids(&raw.who);
        Some(Event::Release(Release {
            event: Cow::Borrowed("release"),
            ns: raw.moment.ns,
            pid: pid(&raw.who),
            tid: tid(&raw.who),
            comm: text(&raw.who),
            cpu: raw.head.cpu,
            timer,
            host_pid,
            host_tid,
        }))
    }
}

const CALL: u32 = Record::Call as u32;
const ARMING: u32 = Record::Arming as u32;
const EXPIRY: u32 = Record::Expiry as u32;
const CANCEL: u32 = Record::Cancel as u32;
const WAKEUP: u32 = Record::Wakeup as u32;
const RELEASE: u32 = Record::Release as u32;
const CLOCK_SET: u32 = Record::ClockSet as u32;
const TICKS_SET: u32 = Record::TicksSet as u32;

fn read<R: Pod>(record: &[u8]) -> Result<R, UnknownRecord> {
    bytemuck::try_pod_read_unaligned(record).map_err(|_| UnknownRecord { len: record.len() })
}

/// 0 for none, which is printed as null.
const fn pid(who: &Who) -> u32 {
    (who.own_ids >> 32) as u32
}

const fn tid(who: &Who) -> u32 {
    who.own_ids as u32
}

fn text(who: &Who) -> Cow<'static, str> {
    Cow::Owned(comm(&who.comm).into_owned())
}

const fn kind_of(call: Call) -> Kind {
    match call {
        Call::CreateX64 | Call::CreateI386 => Kind::TimerfdCreate,
        Call::SettimeX64 | Call::SettimeI386 => Kind::TimerfdSettime,
        Call::GettimeX64 | Call::GettimeI386 => Kind::TimerfdGettime,
        Call::Gettime32 => Kind::TimerfdGettime32,
        Call::PosixSettime32 => Kind::TimerSettime32,
        Call::PosixGettime32 => Kind::TimerGettime32,
    }
}

/// What the arguments of a call are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Arguments {
    clockid: Option<i32>,
    ufd: Option<i32>,
    timer_id: Option<i32>,
    flags: Option<i32>,
    utmr: Option<u64>,
    otmr: Option<u64>,
}

impl Arguments {
    fn of(call: Call, [first, second, third, fourth]: [u64; 4]) -> Self {
        let [one, two] = [first as i32, second as i32];
        match kind_of(call) {
            Kind::TimerfdCreate => Self { clockid: Some(one), flags: Some(two), ..Self::default() },
            Kind::TimerfdSettime => Self {
                ufd: Some(one),
                flags: Some(two),
                utmr: Some(third),
                otmr: Some(fourth),
                ..Self::default()
            },
            Kind::TimerSettime32 => Self {
                timer_id: Some(one),
                flags: Some(two),
                utmr: Some(third),
                otmr: Some(fourth),
                ..Self::default()
            },
            Kind::TimerGettime32 => {
                Self { timer_id: Some(one), otmr: Some(second), ..Self::default() }
            }
            _ => Self { ufd: Some(one), otmr: Some(second), ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests;
