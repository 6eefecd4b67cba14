//! What the fields of a [`RawEvent`] mean, for every form of output; in tests also the documented
//! `CallEvent` that the JSON text must equal.

use std::borrow::Cow;

use nix::errno::Errno;
use settime32_abi::event::{COMM_LEN, RawEvent, flag};
use settime32_abi::output::{EntryPath, Halves};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32};

/// How much of a call was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It came out of the ring buffer: it returned, or a later call of its thread shows that it
    /// must have.
    Whole,
    /// It was still in flight when tracing ended.
    Entry,
}

/// Whether a bit of [`RawEvent::flags`] is set.
pub const fn has(raw: &RawEvent, bit: u32) -> bool {
    raw.flags & bit != 0
}

/// How the call came in, where that was seen.
pub const fn entry_path(raw: &RawEvent) -> Option<EntryPath> {
    match (has(raw, flag::INT80), has(raw, flag::FAST)) {
        (true, _) => Some(EntryPath::Int80),
        (false, true) => Some(EntryPath::Fast),
        (false, false) => None,
    }
}

/// What could be read of `*utmr` at entry, if anything.
pub fn utmr_entry(raw: &RawEvent) -> Option<Halves> {
    let halves = Halves {
        it_interval: has(raw, flag::INTERVAL_READ).then_some(raw.utmr_entry.it_interval),
        it_value: has(raw, flag::VALUE_READ).then_some(raw.utmr_entry.it_value),
    };
    (halves != Halves::default()).then_some(halves)
}

/// The negative errno of a half that could not be read at entry; 0 where there is none.
pub const fn utmr_entry_err(raw: &RawEvent) -> i32 {
    let failed = raw.utmr != 0 && !(has(raw, flag::INTERVAL_READ) && has(raw, flag::VALUE_READ));
    if failed { raw.utmr_entry_err as i32 } else { 0 }
}

/// What the kernel copied from `*utmr`.
pub fn utmr_used(raw: &RawEvent) -> Option<OldItimerspec32> {
    has(raw, flag::USED).then_some(raw.utmr_used)
}

/// Whether `*utmr` changed between the entry and the kernel's copy, as far as both are known.
pub fn toctou(raw: &RawEvent) -> bool {
    let (Some(entry), Some(used)) = (utmr_entry(raw), utmr_used(raw)) else { return false };
    entry.differs_from(&used)
}

/// What the kernel was about to write to `*otmr`.
pub fn old(raw: &RawEvent) -> Option<&Itimerspec64> {
    (has(raw, flag::OLD) && raw.otmr != 0).then_some(&raw.old)
}

/// Whether `*otmr` has no room for it.
pub fn old_truncated(raw: &RawEvent) -> bool {
    old(raw).is_some_and(|old| Itimerspec64::from(old.cut()) != *old)
}

/// What was written to `*otmr`: a successful call wrote all of it (`put_old_itimerspec32`,
/// `kernel/time/time.c`).
pub fn otmr_written(raw: &RawEvent) -> Option<OldItimerspec32> {
    old(raw).filter(|_| has(raw, flag::RETURNED) && raw.ret == 0).map(|old| old.cut())
}

/// An id that is there.
pub fn id(id: u32) -> Option<u32> {
    (id != 0).then_some(id)
}

/// Process and thread id in the initial pid namespace, where they are to be told: when they are
/// `asked` for or not the ones that are reported.
pub fn host_ids(raw: &RawEvent, asked: bool) -> Option<(u32, u32)> {
    let host = (raw.host_pid, raw.host_tid);
    (asked || host != (raw.pid, raw.tid)).then_some(host)
}

/// A thread's name without its padding.
pub fn comm(comm: &[u8; COMM_LEN]) -> Cow<'_, str> {
    let len = comm.iter().position(|byte| *byte == 0).unwrap_or(COMM_LEN);
    String::from_utf8_lossy(&comm[..len])
}

/// The errno that a result stands for: negative and no further from zero than `MAX_ERRNO`
/// (`include/linux/err.h`).
pub fn result_errno(ret: i64) -> Option<i32> {
    (-4095..0).contains(&ret).then(|| -(ret as i32))
}

/// The name of a positive errno, or its number where it has none.
pub fn errno_name(errno: i32) -> Cow<'static, str> {
    if let Some(name) = settime32_abi::errno::name(errno) {
        return Cow::Borrowed(name);
    }
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => Cow::Owned(errno.to_string()),
        known => Cow::Owned(format!("{known:?}")),
    }
}

#[cfg(test)]
pub mod examples {
    //! Events to format in tests.

    use bytemuck::Zeroable;
    use settime32_abi::timespec::OldTimespec32;

    use super::*;

    pub const NEW: OldItimerspec32 = OldItimerspec32 {
        it_interval: OldTimespec32 { tv_sec: 0, tv_nsec: 0 },
        it_value: OldTimespec32 { tv_sec: 5, tv_nsec: -1 },
    };
    pub const OLD: OldItimerspec32 = OldItimerspec32 {
        it_interval: OldTimespec32 { tv_sec: i32::MIN, tv_nsec: 2 },
        it_value: OldTimespec32 { tv_sec: 3, tv_nsec: 999_999_999 },
    };

    /// Both halves of `*utmr` were read at entry.
    pub const UTMR_READ: u32 = flag::INTERVAL_READ | flag::VALUE_READ;

    /// A successful call with both structures.
    pub fn success() -> RawEvent {
        RawEvent {
            entry_ns: 1000,
            exit_ns: 1500,
            pid: 123,
            tid: 124,
            host_pid: 123,
            host_tid: 124,
            cpu: 1,
            flags: flag::RETURNED | UTMR_READ | flag::USED | flag::OLD,
            ufd: 3,
            settime_flags: 1,
            utmr: 0xffd0_0010,
            otmr: 0xffd0_0020,
            utmr_entry: NEW,
            utmr_used: NEW,
            old: OLD.into(),
            comm: *b"prog\0\0\0\0\0\0\0\0\0\0\0\0",
            ..RawEvent::zeroed()
        }
    }
}

#[cfg(test)]
pub mod reference {
    //! The documented event of a call, field by field.

    use settime32_abi::output::{Abi, CALL_EVENT, CallEvent};

    use super::*;

    /// The event. Borrows the name from `raw`.
    pub fn call_event(raw: &RawEvent, seen: Seen) -> CallEvent<'_> {
        let host_ids = host_ids(raw, false);
        let returned = has(raw, flag::RETURNED);
        CallEvent {
            event: Cow::Borrowed(CALL_EVENT),
            entry_ns: raw.entry_ns,
            exit_ns: returned.then_some(raw.exit_ns),
            pid: raw.pid,
            tid: raw.tid,
            comm: comm(&raw.comm),
            cpu: raw.cpu.into(),
            abi: if has(raw, flag::CALLER_64BIT) { Abi::X86_64 } else { Abi::I386 },
            entry_path: entry_path(raw),
            ufd: raw.ufd,
            flags: raw.settime_flags,
            utmr: pointer(raw.utmr),
            utmr_entry: utmr_entry(raw),
            utmr_entry_errno: failure(utmr_entry_err(raw)),
            utmr_used: utmr_used(raw),
            toctou: toctou(raw),
            otmr: pointer(raw.otmr),
            old: old(raw).copied(),
            old_truncated: old_truncated(raw),
            otmr_written: otmr_written(raw),
            host_pid: host_ids.map(|(pid, _)| pid),
            host_tid: host_ids.map(|(_, tid)| tid),
            timer: None,
            clockid: None,
            ret: returned.then_some(raw.ret),
            errno: if returned { result_errno(raw.ret).map(errno_name) } else { None },
            unfinished: seen == Seen::Entry,
            result_lost: has(raw, flag::RESULT_LOST),
        }
    }

    fn pointer(address: u32) -> Option<u32> {
        (address != 0).then_some(address)
    }

    fn failure(error: i32) -> Option<Cow<'static, str>> {
        (error != 0).then(|| errno_name(-error))
    }
}

#[cfg(test)]
mod tests {
    use settime32_abi::event::SHORT_LEN;
    use settime32_abi::output::Abi;
    use settime32_abi::timespec::{OldTimespec32, Timespec64};

    use super::examples::UTMR_READ;
    use super::reference::call_event;
    use super::*;

    fn json(raw: &RawEvent, seen: Seen) -> String {
        serde_json::to_string(&call_event(raw, seen)).unwrap()
    }

    #[test]
    fn a_successful_call_has_every_fact() {
        assert_eq!(
            json(&examples::success(), Seen::Whole),
            concat!(
                r#"{"event":"timerfd_settime32","entry_ns":1000,"exit_ns":1500,"pid":123,"tid":124,"comm":"prog","cpu":1,"#,
                r#""abi":"i386","entry_path":null,"ufd":3,"flags":1,"utmr":4291821584,"#,
                r#""utmr_entry":{"it_interval":{"tv_sec":0,"tv_nsec":0},"it_value":{"tv_sec":5,"tv_nsec":-1}},"#,
                r#""utmr_used":{"it_interval":{"tv_sec":0,"tv_nsec":0},"it_value":{"tv_sec":5,"tv_nsec":-1}},"#,
                r#""toctou":false,"otmr":4291821600,"#,
                r#""old":{"it_interval":{"tv_sec":-2147483648,"tv_nsec":2},"it_value":{"tv_sec":3,"tv_nsec":999999999}},"#,
                r#""otmr_written":{"it_interval":{"tv_sec":-2147483648,"tv_nsec":2},"it_value":{"tv_sec":3,"tv_nsec":999999999}},"#,
                r#""ret":0}"#
            )
        );
    }

    #[test]
    fn failed_reads_and_results_are_named() {
        let raw = RawEvent {
            flags: flag::RETURNED | flag::CALLER_64BIT,
            ret: -125,
            utmr_entry_err: -14,
            otmr: 0,
            ..examples::success()
        };
        let event = call_event(&raw, Seen::Whole);
        assert_eq!((event.utmr_entry, event.utmr_entry_errno.as_deref()), (None, Some("EFAULT")));
        assert_eq!((event.otmr, event.old, event.otmr_written), (None, None, None));
        assert_eq!(
            (event.ret, event.errno.as_deref(), event.abi),
            (Some(-125), Some("ECANCELED"), Abi::X86_64)
        );
    }

    #[test]
    fn halves_are_read_and_compared_one_by_one() {
        let with =
            |flags, utmr_entry_err| RawEvent { flags, utmr_entry_err, ..examples::success() };
        let event = |raw: &RawEvent| {
            let event = call_event(raw, Seen::Whole);
            (event.utmr_entry, event.utmr_used, event.toctou)
        };
        let half = Halves { it_interval: None, it_value: Some(examples::NEW.it_value) };
        assert_eq!(
            event(&with(flag::VALUE_READ | flag::USED, -14)),
            (Some(half), Some(examples::NEW), false)
        );
        let half = Halves { it_interval: Some(examples::NEW.it_interval), it_value: None };
        assert_eq!(event(&with(flag::INTERVAL_READ, -14)), (Some(half), None, false));
        assert_eq!(event(&with(flag::USED, -14)), (None, Some(examples::NEW), false));
        let mut changed = with(flag::VALUE_READ | flag::USED, -14);
        changed.utmr_used.it_interval.tv_sec += 1;
        assert!(!event(&changed).2, "the half that differs was not read at entry");
        changed.utmr_used.it_value.tv_nsec += 1;
        assert!(event(&changed).2);
    }

    /// What a slot keeps from an earlier call of its thread.
    #[test]
    fn what_has_no_meaning_is_not_shown() {
        let event = |raw: &RawEvent| {
            let event = call_event(raw, Seen::Whole);
            (event.utmr_entry_errno.is_some(), event.old.is_some(), event.otmr_written.is_some())
        };
        let stale = RawEvent { utmr_entry_err: -14, ..examples::success() };
        assert_eq!(event(&stale), (false, true, true));
        assert_eq!(event(&RawEvent { otmr: 0, ..stale }), (false, false, false));
        let unread = RawEvent { flags: stale.flags & !flag::VALUE_READ, ..stale };
        assert_eq!(event(&unread), (true, true, true));
        assert_eq!(event(&RawEvent { utmr: 0, ..unread }), (false, true, true));
    }

    #[test]
    fn an_old_value_that_does_not_fit_is_marked() {
        let mut raw = examples::success();
        assert!(!call_event(&raw, Seen::Whole).old_truncated);
        raw.old.it_interval = Timespec64 { tv_sec: 1 << 31, tv_nsec: 0 };
        let event = call_event(&raw, Seen::Whole);
        assert!(event.old_truncated);
        assert_eq!(
            event.old.unwrap().it_interval.cut(),
            OldTimespec32 { tv_sec: i32::MIN, tv_nsec: 0 }
        );
        raw.flags &= !flag::OLD;
        let event = call_event(&raw, Seen::Whole);
        assert_eq!((event.old, event.old_truncated), (None, false));
    }

    /// The kernel had it, and a fault kept it from being written.
    #[test]
    fn an_old_value_that_was_not_written_is_told_apart() {
        let raw = RawEvent { ret: -14, ..examples::success() };
        let event = call_event(&raw, Seen::Whole);
        assert_eq!((event.old, event.otmr_written), (Some(examples::OLD.into()), None));
        let raw = RawEvent { flags: raw.flags & !flag::RETURNED, ret: 0, ..raw };
        assert_eq!(call_event(&raw, Seen::Entry).otmr_written, None);
    }

    #[test]
    fn ids_of_the_host_are_told_where_they_are_others() {
        let ids = |raw: &RawEvent| {
            let text = json(raw, Seen::Whole);
            text[text.find(r#""pid""#).unwrap()..text.find(r#","comm""#).unwrap()].to_owned()
                + &text[text.find(r#""ret""#).unwrap()..]
        };
        let there = RawEvent { host_pid: 500, host_tid: 501, ..examples::success() };
        assert_eq!(ids(&there), r#""pid":123,"tid":124"ret":0,"host_pid":500,"host_tid":501}"#);
        assert_eq!(
            ids(&RawEvent { pid: 0, tid: 0, ..there }),
            r#""pid":null,"tid":null"ret":0,"host_pid":500,"host_tid":501}"#
        );
        assert_eq!(ids(&examples::success()), r#""pid":123,"tid":124"ret":0}"#);
        assert_eq!(
            (host_ids(&examples::success(), false), host_ids(&examples::success(), true)),
            (None, Some((123, 124)))
        );
    }

    /// Where the ids that are reported are the host's, records end before these.
    #[test]
    fn a_short_record_has_one_pair_of_ids() {
        let raw = examples::success();
        let whole = bytemuck::bytes_of(&raw);
        assert_eq!(RawEvent::from_record(&whole[..SHORT_LEN]), Some(raw));
        let there = RawEvent { pid: 0, tid: 0, ..raw };
        assert_eq!(RawEvent::from_record(bytemuck::bytes_of(&there)), Some(there));
        assert_eq!(RawEvent::from_record(&whole[..SHORT_LEN - 8]), None);
    }

    #[test]
    fn entry_paths_have_names() {
        let path = |bit| {
            call_event(&RawEvent { flags: bit, ..examples::success() }, Seen::Whole).entry_path
        };
        assert_eq!(
            (path(0), path(flag::INT80), path(flag::FAST)),
            (None, Some(EntryPath::Int80), Some(EntryPath::Fast))
        );
    }

    #[test]
    fn what_was_not_seen_is_null() {
        let raw = RawEvent { flags: UTMR_READ, exit_ns: 0, ..examples::success() };
        let event = call_event(&raw, Seen::Entry);
        assert_eq!(
            (event.ret, event.exit_ns, event.otmr_written, event.unfinished, event.result_lost),
            (None, None, None, true, false)
        );
        let lost = RawEvent { flags: raw.flags | flag::RESULT_LOST, ..raw };
        let event = call_event(&lost, Seen::Whole);
        assert_eq!((event.ret, event.unfinished, event.result_lost), (None, false, true));
    }

    #[test]
    fn names_need_not_be_text_nor_end() {
        assert_eq!(comm(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!(comm(b"a\xffb\0cdefghijklmn"), "a\u{fffd}b");
        let raw = RawEvent { comm: *b"q\"\n\x1b\0\0\0\0\0\0\0\0\0\0\0\0", ..examples::success() };
        assert!(json(&raw, Seen::Whole).contains(r#""comm":"q\"\n\u001b""#));
    }

    #[test]
    fn every_errno_has_a_name() {
        assert_eq!(errno_name(22), "EINVAL");
        assert_eq!(errno_name(99), "EADDRNOTAVAIL");
        assert_eq!(errno_name(4000), "4000");
        assert_eq!(
            (result_errno(0), result_errno(-1), result_errno(-4095), result_errno(-4096)),
            (None, Some(1), Some(4095), None)
        );
    }
}
