//! From the records of a timer's life to the documented events.

use std::borrow::Cow;
use std::collections::HashMap;

use settime32_abi::event::{COMM_LEN, RawEvent};
use settime32_abi::life::{By, Cancel, Expiry, Kind, RelatedCall, Release, TimerId, Wakeup};
use settime32_abi::moment::{Call, RawArming, RawCall, RawCancel, RawExpiry, RawRelease, RawWakeup, call_flag, wakeup_flag};
use settime32_abi::output::Abi;

use super::timers::Timers;
use crate::call_event::{comm, errno_name, result_errno};

/// An event beside a call of `timerfd_settime32`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Event {
    /// A related call.
    Call(RelatedCall),
    /// A timer expired.
    Expiry(Expiry),
    /// A timer was cancelled.
    Cancel(Cancel),
    /// A thread was told of a timer.
    Wakeup(Wakeup),
    /// A timer is gone.
    Release(Release),
}

impl Event {
    /// What it must have been asked for as.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Call(call) => Kind::ALL.into_iter().find(|kind| kind.as_str() == call.event).unwrap_or(Kind::TimerfdCreate),
            Self::Expiry(_) | Self::Cancel(_) => Kind::Expiry,
            Self::Wakeup(_) => Kind::Wakeup,
            Self::Release(_) => Kind::Release,
        }
    }
}

impl Event {
    /// When it ended, by `CLOCK_MONOTONIC`; a call that was not seen to return may have at any time.
    pub fn ended_ns(&self) -> u64 {
        match self {
            Self::Call(call) => call.exit_ns.unwrap_or(u64::MAX - 1),
            Self::Expiry(expiry) => expiry.ns,
            Self::Cancel(cancel) => cancel.ns,
            Self::Wakeup(wakeup) => wakeup.ns,
            Self::Release(release) => release.ns,
        }
    }
}

/// The thread, by the kernel's id, whose doing a record tells of; `None` for what the kernel does by itself.
pub fn tid_of(record: &[u8]) -> Option<u32> {
    let ids = match record.len() {
        len if len == size_of::<RawCall>() => bytemuck::pod_read_unaligned::<RawCall>(record).ids,
        len if len == size_of::<RawArming>() => bytemuck::pod_read_unaligned::<RawArming>(record).ids,
        len if len == size_of::<RawWakeup>() => bytemuck::pod_read_unaligned::<RawWakeup>(record).ids,
        len if len == size_of::<RawRelease>() => bytemuck::pod_read_unaligned::<RawRelease>(record).ids,
        _ => return None,
    };
    Some(ids as u32)
}

/// A record that is of no known length: the two halves of the tracer are not of one build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {len} bytes from the eBPF program is of no kind that is known; build the tracer again")]
pub struct UnknownRecord {
    /// Its length.
    pub len: usize,
}

/// What is known from earlier records.
#[derive(Debug, Default)]
pub struct Decoder {
    timers: Timers,
    /// By thread: the timer that its `timerfd_settime32` came to, told before the call's own record.
    armed: HashMap<u32, RawArming>,
}

impl Decoder {
    /// The event that a record tells of; `None` when it is only to be kept in mind, or is none that counts.
    pub fn event(&mut self, record: &[u8]) -> Result<Option<Event>, UnknownRecord> {
        let read = |len: usize| record.len() == len;
        Ok(if read(size_of::<RawCall>()) {
            Some(Event::Call(self.call(&bytemuck::pod_read_unaligned(record), false)))
        } else if read(size_of::<RawExpiry>()) {
            Some(Event::Expiry(self.expiry(&bytemuck::pod_read_unaligned(record))))
        } else if read(size_of::<RawWakeup>()) {
            self.wakeup(&bytemuck::pod_read_unaligned(record)).map(Event::Wakeup)
        } else if read(size_of::<RawRelease>()) {
            Some(Event::Release(self.release(&bytemuck::pod_read_unaligned(record))))
        } else if read(size_of::<RawCancel>()) {
            Some(Event::Cancel(self.cancel(&bytemuck::pod_read_unaligned(record))))
        } else if read(size_of::<RawArming>()) {
            let arming: RawArming = bytemuck::pod_read_unaligned(record);
            // Its number is given in the order in which timers are seen.
            self.timers.by_descriptor(arming.moment.timer);
            self.armed.insert(arming.ids as u32, arming);
            None
        } else {
            return Err(UnknownRecord { len: record.len() });
        })
    }

    /// The timer that a call of `timerfd_settime32` came to, and its clock.
    pub fn timer_of(&mut self, raw: &RawEvent) -> Option<(TimerId, i32)> {
        let arming = self.armed.remove(&raw.tid)?;
        // One whose call was lost is not that of the thread's next call.
        let is_its_own = (raw.entry_ns..=raw.exit_ns).contains(&arming.moment.ns);
        is_its_own.then(|| (self.timers.by_descriptor(arming.moment.timer), arming.clockid))
    }

    /// A related call; `is_inside` when it had not returned when tracing ended.
    pub fn call(&mut self, raw: &RawCall, is_inside: bool) -> RelatedCall {
        let call = Call::ALL.get(raw.call as usize).copied().unwrap_or(Call::CreateX64);
        let has = |bit| raw.flags & bit != 0;
        let timer = (raw.timer != 0).then(|| self.timers.by_descriptor(raw.timer));
        let returned = has(call_flag::RETURNED);
        let arguments = Arguments::of(call, raw.args);
        RelatedCall {
            event: Cow::Borrowed(kind_of(call).as_str()),
            entry_ns: raw.entry_ns,
            exit_ns: returned.then_some(raw.exit_ns),
            pid: pid(raw.ids),
            tid: raw.ids as u32,
            comm: text(&raw.comm),
            cpu: raw.cpu,
            abi: if has(call_flag::CALLER_64BIT) { Abi::X86_64 } else { Abi::I386 },
            nr: call.nr(),
            timer,
            clockid: arguments.clockid.or(timer.map(|_| raw.clockid)),
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
        }
    }

    fn expiry(&mut self, raw: &RawExpiry) -> Expiry {
        let now_ns = raw.moment.ns.cast_signed().wrapping_add(raw.clock_offset_ns);
        Expiry {
            event: Cow::Borrowed("expiry"),
            ns: raw.moment.ns,
            cpu: raw.cpu,
            timer: self.timers.by_address(raw.moment.timer),
            clockid: raw.clockid,
            expires_ns: raw.expires_ns,
            clock_offset_ns: raw.clock_offset_ns,
            late_ns: now_ns.saturating_sub(raw.expires_ns),
            suspended_ns: raw.suspended_ns,
            inline: raw.is_inline != 0,
        }
    }

    fn cancel(&mut self, raw: &RawCancel) -> Cancel {
        let timer = self.timers.by_address(raw.moment.timer);
        Cancel { event: Cow::Borrowed("cancel"), ns: raw.moment.ns, cpu: raw.cpu as u32, timer }
    }

    fn wakeup(&mut self, raw: &RawWakeup) -> Option<Wakeup> {
        let has = |bit| raw.flags & bit != 0;
        let is_read = has(wakeup_flag::READ);
        let by = if is_read { By::Read } else { by(raw.nr, has(wakeup_flag::I386))? };
        Some(Wakeup {
            event: Cow::Borrowed("wakeup"),
            ns: raw.moment.ns,
            pid: pid(raw.ids),
            tid: raw.ids as u32,
            comm: text(&raw.comm),
            cpu: raw.cpu.into(),
            timer: self.timers.by_descriptor(raw.moment.timer),
            by,
            entry_ns: is_read.then_some(raw.entry_ns),
            ret: is_read.then_some(raw.ret),
            errno: if is_read { result_errno(raw.ret).map(errno_name) } else { None },
            ticks: has(wakeup_flag::TICKS).then_some(raw.ticks),
        })
    }

    fn release(&mut self, raw: &RawRelease) -> Release {
        Release {
            event: Cow::Borrowed("release"),
            ns: raw.moment.ns,
            pid: pid(raw.ids),
            tid: raw.ids as u32,
            comm: text(&raw.comm),
            cpu: raw.cpu as u32,
            timer: self.timers.released(raw.moment.timer),
        }
    }
}

fn pid(ids: u64) -> u32 {
    (ids >> 32) as u32
}

fn text(name: &[u8; COMM_LEN]) -> Cow<'static, str> {
    Cow::Owned(comm(name).into_owned())
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
            Kind::TimerfdSettime => Self { ufd: Some(one), flags: Some(two), utmr: Some(third), otmr: Some(fourth), ..Self::default() },
            Kind::TimerSettime32 => {
                Self { timer_id: Some(one), flags: Some(two), utmr: Some(third), otmr: Some(fourth), ..Self::default() }
            }
            Kind::TimerGettime32 => Self { timer_id: Some(one), otmr: Some(second), ..Self::default() },
            _ => Self { ufd: Some(one), otmr: Some(second), ..Self::default() },
        }
    }
}

/// Which family of waits a call belongs to; `None` when it is none: a poll in `epoll_ctl` wakes nobody
/// (`arch/x86/entry/syscalls/syscall_{32,64}.tbl`).
const fn by(nr: u32, is_i386: bool) -> Option<By> {
    /// Calls of the x32 ABI have this bit beside the number.
    const X32: u32 = 1 << 30;
    Some(match (is_i386, nr & !X32) {
        (true, 256 | 319 | 441) | (false, 232 | 281 | 441) => By::EpollWait,
        (true, 168 | 309 | 414) | (false, 7 | 271) => By::Poll,
        (true, 82 | 142 | 308 | 413) | (false, 23 | 270) => By::Select,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
