//! A call as one line of JSON: the text that serde makes of a [`CallEvent`], made in a sixth of the
//! time. Printing must keep up with processes that make calls as fast as they can; the tests hold
//! the two against each other.
//!
//! [`CallEvent`]: settime32_abi::output::CallEvent

use itoa::Integer;
use settime32_abi::event::{RawEvent, flag};
use settime32_abi::lifecycle::TimerId;
use settime32_abi::output::{EntryPath, Halves, Summary};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32, OldTimespec32, Timespec64};

use crate::call_event::{
    Seen, comm, entry_path, errno_name, has, host_ids, id, old, old_truncated, otmr_written,
    result_errno, toctou, utmr_entry, utmr_entry_err, utmr_used,
};
use crate::lifecycle::Event;

/// Appends the line of one call.
pub fn write_line(line: &mut Vec<u8>, raw: &RawEvent, seen: Seen) {
    let returned = has(raw, flag::RETURNED);
    number(line, br#"{"event":"timerfd_settime32","entry_ns":"#, raw.entry_ns);
    number_or_null(line, br#","exit_ns":"#, returned.then_some(raw.exit_ns));
    number_or_null(line, br#","pid":"#, id(raw.pid));
    number_or_null(line, br#","tid":"#, id(raw.tid));
    line.extend_from_slice(br#","comm":"#);
    string(line, &comm(&raw.comm));
    number(line, br#","cpu":"#, raw.cpu);
    line.extend_from_slice(if has(raw, flag::CALLER_64BIT) {
        br#","abi":"x86_64""#
    } else {
        br#","abi":"i386""#
    });
    line.extend_from_slice(match entry_path(raw) {
        Some(EntryPath::Int80) => br#","entry_path":"int80""#,
        Some(EntryPath::Fast) => br#","entry_path":"fast""#,
        None => br#","entry_path":null"#,
    });
    number(line, br#","ufd":"#, raw.ufd);
    number(line, br#","flags":"#, raw.settime_flags);
    new_setting(line, raw);
    number_or_null(line, br#","otmr":"#, (raw.otmr != 0).then_some(raw.otmr));
    wide_setting(line, br#","old":"#, old(raw));
    line.extend_from_slice(if old_truncated(raw) { br#","old_truncated":true"# } else { b"" });
    setting(line, br#","otmr_written":"#, otmr_written(raw));
    number_or_null(line, br#","ret":"#, returned.then_some(raw.ret));
    if returned {
        errno(line, br#","errno":"#, result_errno(raw.ret).unwrap_or(0));
    }
    line.extend_from_slice(if seen == Seen::Entry { br#","unfinished":true"# } else { b"" });
    line.extend_from_slice(if has(raw, flag::RESULT_LOST) {
        br#","result_lost":true"#
    } else {
        b""
    });
    if let Some(ids) = host_ids(raw, false) {
        write_host_ids(line, ids);
    }
    line.extend_from_slice(b"}\n");
}

/// Puts the ids of the initial pid namespace behind all that is on the line of a call, where they
/// are not there anyway.
pub fn add_host_ids(line: &mut Vec<u8>, raw: &RawEvent) {
    if host_ids(raw, false).is_none() {
        add(line, |line| write_host_ids(line, (raw.host_pid, raw.host_tid)));
    }
}

fn write_host_ids(line: &mut Vec<u8>, (pid, tid): (u32, u32)) {
    number(line, br#","host_pid":"#, pid);
    number(line, br#","host_tid":"#, tid);
}

/// Appends the last line.
pub fn write_summary(line: &mut Vec<u8>, summary: &Summary) {
    // Numbers into memory: there is nothing that could fail.
    _ = serde_json::to_writer(&mut *line, summary);
    line.push(b'\n');
}

/// Puts the timer and its clock behind all that is on the line of a call.
pub fn add_timer(line: &mut Vec<u8>, (timer, clockid): (TimerId, i32)) {
    add(line, |line| {
        number(line, br#","timer":"#, timer);
        number(line, br#","clockid":"#, clockid);
    });
}

fn add(line: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    line.truncate(line.len() - b"}\n".len());
    write(line);
    line.extend_from_slice(b"}\n");
}

/// Appends the line of another event. They are not so many that it were worth it to write their
/// text by hand.
pub fn write_of_life(line: &mut Vec<u8>, event: &Event) {
    // Plain data into memory: there is nothing that could fail.
    _ = serde_json::to_writer(&mut *line, event);
    line.push(b'\n');
}

/// What is known of `*utmr`.
fn new_setting(line: &mut Vec<u8>, raw: &RawEvent) {
    number_or_null(line, br#","utmr":"#, (raw.utmr != 0).then_some(raw.utmr));
    halves(line, br#","utmr_entry":"#, utmr_entry(raw));
    errno(line, br#","utmr_entry_errno":"#, -utmr_entry_err(raw));
    setting(line, br#","utmr_used":"#, utmr_used(raw));
    line.extend_from_slice(if toctou(raw) { br#","toctou":true"# } else { br#","toctou":false"# });
}

/// A key, and its number.
pub fn number(line: &mut Vec<u8>, key: &[u8], value: impl Integer) {
    line.extend_from_slice(key);
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn number_or_null(line: &mut Vec<u8>, key: &[u8], value: Option<impl Integer>) {
    match value {
        Some(value) => number(line, key, value),
        None => null(line, key),
    }
}

fn null(line: &mut Vec<u8>, key: &[u8]) {
    line.extend_from_slice(key);
    line.extend_from_slice(b"null");
}

fn setting(line: &mut Vec<u8>, key: &[u8], value: Option<OldItimerspec32>) {
    halves(line, key, value.map(Halves::from));
}

fn halves(line: &mut Vec<u8>, key: &[u8], value: Option<Halves>) {
    let Some(value) = value else { return null(line, key) };
    line.extend_from_slice(key);
    time_or_null(line, br#"{"it_interval":"#, value.it_interval);
    time_or_null(line, br#","it_value":"#, value.it_value);
    line.push(b'}');
}

fn time_or_null(line: &mut Vec<u8>, key: &[u8], time: Option<OldTimespec32>) {
    let Some(time) = time else { return null(line, key) };
    line.extend_from_slice(key);
    number(line, br#"{"tv_sec":"#, time.tv_sec);
    number(line, br#","tv_nsec":"#, time.tv_nsec);
    line.push(b'}');
}

fn wide_setting(line: &mut Vec<u8>, key: &[u8], value: Option<&Itimerspec64>) {
    let Some(value) = value else { return null(line, key) };
    line.extend_from_slice(key);
    wide_time(line, br#"{"it_interval":{"tv_sec":"#, value.it_interval);
    wide_time(line, br#"},"it_value":{"tv_sec":"#, value.it_value);
    line.extend_from_slice(b"}}");
}

fn wide_time(line: &mut Vec<u8>, key: &[u8], time: Timespec64) {
    number(line, key, time.tv_sec);
    number(line, br#","tv_nsec":"#, time.tv_nsec);
}

/// Only there when it is one.
fn errno(line: &mut Vec<u8>, key: &[u8], errno: i32) {
    if errno != 0 {
        line.extend_from_slice(key);
        string(line, &errno_name(errno));
    }
}

/// A text in quotes, with escapes where it needs them.
pub fn string(line: &mut Vec<u8>, text: &str) {
    let is_plain =
        text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
    if !is_plain {
        // Writing a string into memory cannot fail.
        _ = serde_json::to_writer(line, text);
        return;
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use settime32_abi::event::COMM_LEN;
    use settime32_abi::output::CallEvent;

    use super::*;
    use crate::call_event::examples;
    use crate::call_event::reference::call_event;
    use crate::describe::schema;

    fn line(raw: &RawEvent, seen: Seen) -> String {
        let mut line = Vec::new();
        write_line(&mut line, raw, seen);
        String::from_utf8(line).unwrap()
    }

    /// Names that are mostly text, some of it awkward.
    fn names() -> impl Strategy<Value = [u8; COMM_LEN]> {
        let letter = prop_oneof![6 => 0x20_u8..0x7f, 1 => Just(0), 1 => any::<u8>(), 1 => prop::sample::select(&b"\"\\\n\x1b\x7f"[..])];
        prop::collection::vec(letter, COMM_LEN).prop_map(|letters| letters.try_into().unwrap())
    }

    /// Those that are reported, and the host's: often the same, or none but the host's.
    fn ids() -> impl Strategy<Value = ((u32, u32), (u32, u32))> {
        prop_oneof![
            any::<(u32, u32)>().prop_map(|ids| (ids, ids)),
            (Just((0, 0)), any::<(u32, u32)>()),
            any::<((u32, u32), (u32, u32))>(),
        ]
    }

    fn errors() -> impl Strategy<Value = i16> {
        prop_oneof![Just(0), -200..0_i16]
    }

    /// What the kernel used: often what was there at entry, or a half of it.
    fn used() -> impl Strategy<Value = (u8, [i32; 4])> {
        (0..4_u8, any::<[i32; 4]>())
    }

    /// Numbers that fit 32 bits, and some that do not.
    fn wide() -> impl Strategy<Value = i64> {
        prop_oneof![
            any::<i32>().prop_map(i64::from),
            any::<i64>(),
            Just(1 << 31),
            Just(i64::from(i32::MIN) - 1)
        ]
    }

    prop_compose! {
        fn events()(
            (entry_ns, exit_ns, cpu) in any::<(u64, u64, u16)>(),
            ((pid, tid), (host_pid, host_tid)) in ids(),
            ret in prop_oneof![Just(0), -5000..10_i64, any::<i64>()],
            flags in 0..flag::END,
            (ufd, settime_flags) in any::<(i32, i32)>(),
            utmr in prop_oneof![Just(0), any::<u32>()],
            otmr in prop_oneof![Just(0), any::<u32>()],
            times in any::<[i32; 4]>(),
            (same, used) in used(),
            old in prop::array::uniform4(wide()),
            utmr_entry_err in errors(),
            comm in names(),
        ) -> RawEvent {
            let utmr_entry: OldItimerspec32 = bytemuck::cast(times);
            let mut used: OldItimerspec32 = bytemuck::cast(used);
            used.it_interval = if same & 1 == 0 { utmr_entry.it_interval } else { used.it_interval };
            used.it_value = if same & 2 == 0 { utmr_entry.it_value } else { used.it_value };
            RawEvent {
                entry_ns, exit_ns, ret, pid, tid, host_pid, host_tid, cpu, flags, ufd, settime_flags, utmr, otmr, utmr_entry,
                utmr_used: used, old: bytemuck::cast(old), utmr_entry_err, comm,
            }
        }
    }

    proptest! {
        #[test]
        fn the_text_is_the_one_of_the_contract(raw in events(), whole in any::<bool>()) {
            let seen = if whole { Seen::Whole } else { Seen::Entry };
            let expected = serde_json::to_string(&call_event(&raw, seen)).unwrap();
            prop_assert_eq!(line(&raw, seen), expected + "\n");
        }

        #[test]
        fn every_line_is_of_the_schema(raw in events(), whole in any::<bool>()) {
            let line = line(&raw, if whole { Seen::Whole } else { Seen::Entry });
            let complaints = schema::complaints(&serde_json::from_str(&line).unwrap());
            prop_assert!(complaints.is_empty(), "{complaints:?} about {line}");
        }
    }

    #[test]
    fn ids_of_the_host_are_added_once() {
        let raw = examples::success();
        for raw in [raw, RawEvent { host_pid: 500, ..raw }] {
            let mut line = line(&raw, Seen::Whole).into_bytes();
            add_host_ids(&mut line, &raw);
            add_timer(&mut line, (7, 1));
            let event = CallEvent {
                host_pid: Some(raw.host_pid),
                host_tid: Some(raw.host_tid),
                timer: Some(7),
                clockid: Some(1),
                ..call_event(&raw, Seen::Whole)
            };
            assert_eq!(
                String::from_utf8(line).unwrap(),
                serde_json::to_string(&event).unwrap() + "\n"
            );
            assert!(schema::complaints(&serde_json::to_value(&event).unwrap()).is_empty());
        }
    }

    #[test]
    fn a_usual_call_is_the_one_of_the_contract() {
        let raw = examples::success();
        assert_eq!(
            line(&raw, Seen::Whole),
            serde_json::to_string(&call_event(&raw, Seen::Whole)).unwrap() + "\n"
        );
    }
}
