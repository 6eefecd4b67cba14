//! A call as strace prints it, with the ids in front that strace gives with `-f`.

use std::io::{self, Write};

use settime32_abi::event::{RawEvent, flag};
use settime32_abi::output::Halves;
use settime32_abi::timespec::{Itimerspec64, OldTimespec32};

use crate::call_event::{Seen, comm, errno_name, has, old, old_truncated, otmr_written, result_errno, toctou, utmr_entry, utmr_used};

/// Bits of the flags argument, of `include/linux/timerfd.h`.
const FLAG_NAMES: [(i32, &str); 2] = [(1, "TFD_TIMER_ABSTIME"), (2, "TFD_TIMER_CANCEL_ON_SET")];

/// Appends the line of one call.
pub fn write_line(line: &mut Vec<u8>, raw: &RawEvent, seen: Seen) {
    let bits = if has(raw, flag::CALLER_64BIT) { " 64-bit" } else { "" };
    put(line, format_args!("[pid {} tid {}{bits}] ", raw.pid, raw.tid));
    write_comm(line, &comm(&raw.comm));
    put(line, format_args!(" timerfd_settime32({}, ", raw.ufd));
    write_flags(line, raw.settime_flags);
    line.extend_from_slice(b", ");
    write_new(line, raw);
    line.extend_from_slice(b", ");
    write_argument(line, raw.otmr, otmr_written(raw).map(Halves::from));
    if let Some(whole) = old(raw).filter(|_| old_truncated(raw)) {
        write_uncut(line, whole);
    }
    write_result(line, raw, seen);
    line.push(b'\n');
}

/// Writing to a vector cannot fail.
fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    _ = line.write_fmt(text);
}

/// A process chooses its name, and must not reach the terminal's controls with it.
fn write_comm(line: &mut Vec<u8>, comm: &str) {
    for letter in comm.chars() {
        if letter.is_control() {
            put(line, format_args!("{}", letter.escape_default()));
        } else {
            put(line, format_args!("{letter}"));
        }
    }
}

/// Names joined by `|`, what has no name in hexadecimal; strace adds a comment when nothing has a name.
fn write_flags(line: &mut Vec<u8>, flags: i32) {
    let mut rest = flags;
    let mut separator = "";
    for (bit, name) in FLAG_NAMES {
        if flags & bit != 0 {
            put(line, format_args!("{separator}{name}"));
            separator = "|";
            rest &= !bit;
        }
    }
    match (rest, separator.is_empty()) {
        (0, true) => line.push(b'0'),
        (0, false) => {}
        (_, true) => put(line, format_args!("{rest:#x} /* TFD_??? */")),
        (_, false) => put(line, format_args!("|{rest:#x}")),
    }
}

/// What the kernel used, or where it used nothing, what could be read at entry. Both where they differ.
fn write_new(line: &mut Vec<u8>, raw: &RawEvent) {
    let entry = utmr_entry(raw);
    write_argument(line, raw.utmr, utmr_used(raw).map(Halves::from).or(entry));
    if let Some(entry) = entry.filter(|_| toctou(raw)) {
        line.extend_from_slice(b" /* at entry ");
        write_setting(line, &entry);
        line.extend_from_slice(b" */");
    }
}

/// The structure where it is known, else the address.
fn write_argument(line: &mut Vec<u8>, address: u32, content: Option<Halves>) {
    match (address, content) {
        (0, _) => line.extend_from_slice(b"NULL"),
        (_, Some(content)) => write_setting(line, &content),
        (_, None) => put(line, format_args!("{address:#x}")),
    }
}

fn write_setting(line: &mut Vec<u8>, content: &Halves) {
    line.extend_from_slice(b"{it_interval=");
    write_time(line, content.it_interval);
    line.extend_from_slice(b", it_value=");
    write_time(line, content.it_value);
    line.push(b'}');
}

/// A half that could not be read is marked as strace marks what it does not know.
fn write_time(line: &mut Vec<u8>, time: Option<OldTimespec32>) {
    match time {
        Some(time) => put(line, format_args!("{{tv_sec={}, tv_nsec={}}}", time.tv_sec, time.tv_nsec)),
        None => line.extend_from_slice(b"???"),
    }
}

/// The setting before it was cut to 32 bits.
fn write_uncut(line: &mut Vec<u8>, whole: &Itimerspec64) {
    let Itimerspec64 { it_interval, it_value } = whole;
    put(line, format_args!(" /* cut from {{it_interval={{tv_sec={}, tv_nsec={}}}, ", it_interval.tv_sec, it_interval.tv_nsec));
    put(line, format_args!("it_value={{tv_sec={}, tv_nsec={}}}}} */", it_value.tv_sec, it_value.tv_nsec));
}

fn write_result(line: &mut Vec<u8>, raw: &RawEvent, seen: Seen) {
    if seen == Seen::Entry {
        return line.extend_from_slice(b" <unfinished ...>");
    }
    if !has(raw, flag::RETURNED) {
        return line.extend_from_slice(b") = ? <result lost>");
    }
    match result_errno(raw.ret) {
        Some(errno) => put(line, format_args!(") = -1 {} ({})", errno_name(errno), description(errno))),
        None => put(line, format_args!(") = {}", raw.ret)),
    }
}

/// The C library's words for an errno, as strace prints them.
fn description(errno: i32) -> String {
    let words = io::Error::from_raw_os_error(errno).to_string();
    // Rust adds the number, which strace does not.
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call_event::examples::{UTMR_READ, success};

    fn line(raw: &RawEvent, seen: Seen) -> String {
        let mut line = Vec::new();
        write_line(&mut line, raw, seen);
        String::from_utf8(line).unwrap()
    }

    const HEAD: &str = "[pid 123 tid 124] prog timerfd_settime32(3, TFD_TIMER_ABSTIME, ";
    const NEW: &str = "{it_interval={tv_sec=0, tv_nsec=0}, it_value={tv_sec=5, tv_nsec=-1}}";
    const OLD: &str = "{it_interval={tv_sec=-2147483648, tv_nsec=2}, it_value={tv_sec=3, tv_nsec=999999999}}";

    #[test]
    fn a_successful_call_shows_both_structures() {
        assert_eq!(line(&success(), Seen::Whole), format!("{HEAD}{NEW}, {OLD}) = 0\n"));
    }

    #[test]
    fn a_failed_call_shows_the_address_and_the_errno() {
        let raw = RawEvent { ret: -22, flags: flag::RETURNED | UTMR_READ, ..success() };
        assert_eq!(line(&raw, Seen::Whole), format!("{HEAD}{NEW}, 0xffd00020) = -1 EINVAL (Invalid argument)\n"));
    }

    #[test]
    fn errnos_are_described_as_the_c_library_does() {
        assert_eq!(description(9), "Bad file descriptor");
        assert_eq!(description(125), "Operation canceled");
    }

    #[test]
    fn null_and_unreadable_pointers_differ() {
        let raw = RawEvent { ret: -14, flags: flag::RETURNED, utmr_entry_err: -14, otmr: 0, ..success() };
        assert_eq!(line(&raw, Seen::Whole), format!("{HEAD}0xffd00010, NULL) = -1 EFAULT (Bad address)\n"));
    }

    #[test]
    fn what_the_kernel_used_goes_before_what_was_read() {
        let mut raw = RawEvent { utmr_entry_err: -14, flags: success().flags & !UTMR_READ, ..success() };
        assert_eq!(line(&raw, Seen::Whole), format!("{HEAD}{NEW}, {OLD}) = 0\n"));
        raw.flags |= flag::INTERVAL_READ;
        raw.utmr_entry.it_interval.tv_sec = 9;
        let entry = "{it_interval={tv_sec=9, tv_nsec=0}, it_value=???}";
        assert_eq!(line(&raw, Seen::Whole), format!("{HEAD}{NEW} /* at entry {entry} */, {OLD}) = 0\n"));
        raw.flags &= !flag::USED;
        assert_eq!(line(&raw, Seen::Whole), format!("{HEAD}{entry}, {OLD}) = 0\n"));
    }

    #[test]
    fn an_old_setting_that_was_cut_is_shown_whole() {
        let mut raw = success();
        raw.old.it_interval.tv_sec += 1 << 32;
        let whole = "{it_interval={tv_sec=2147483648, tv_nsec=2}, it_value={tv_sec=3, tv_nsec=999999999}}";
        assert_eq!(line(&raw, Seen::Whole), format!("{HEAD}{NEW}, {OLD} /* cut from {whole} */) = 0\n"));
    }

    #[test]
    fn calls_without_a_result_say_so() {
        let raw = RawEvent { flags: UTMR_READ, ..success() };
        assert_eq!(line(&raw, Seen::Entry), format!("{HEAD}{NEW}, 0xffd00020 <unfinished ...>\n"));
        let lost = RawEvent { flags: raw.flags | flag::RESULT_LOST, ..raw };
        assert_eq!(line(&lost, Seen::Whole), format!("{HEAD}{NEW}, 0xffd00020) = ? <result lost>\n"));
    }

    #[test]
    fn flags_are_named_as_strace_names_them() {
        let flags = |flags| {
            let mut line = Vec::new();
            write_flags(&mut line, flags);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(flags(0), "0");
        assert_eq!(flags(1), "TFD_TIMER_ABSTIME");
        assert_eq!(flags(3), "TFD_TIMER_ABSTIME|TFD_TIMER_CANCEL_ON_SET");
        assert_eq!(flags(0x82), "TFD_TIMER_CANCEL_ON_SET|0x80");
        assert_eq!(flags(i32::MIN), "0x80000000 /* TFD_??? */");
        assert_eq!(flags(-1), "TFD_TIMER_ABSTIME|TFD_TIMER_CANCEL_ON_SET|0xfffffffc");
    }

    #[test]
    fn a_64_bit_caller_is_marked_and_a_name_cannot_control_the_terminal() {
        let raw = RawEvent { flags: success().flags | flag::CALLER_64BIT, comm: *b"a\x1b[2J\nb\0\0\0\0\0\0\0\0\0", ..success() };
        assert!(line(&raw, Seen::Whole).starts_with("[pid 123 tid 124 64-bit] a\\u{1b}[2J\\nb timerfd_settime32("));
    }
}
