//! A call for people: who, what it does to the timer in words, and the call as strace prints it. In
//! columns, of which only the last has no fixed width.

use std::io::{self, Write};

use anstyle::Style;
use itoa::Integer;
use settime32_abi::event::{RawEvent, flag};
use settime32_abi::lifecycle::TimerId;
use settime32_abi::output::Halves;
use settime32_abi::timespec::{Itimerspec64, OldTimespec32};
use unicode_width::UnicodeWidthStr;

use crate::call_event::{
    Seen, comm, errno_name, has, host_ids, old, old_truncated, otmr_written, result_errno, toctou,
    utmr_entry, utmr_used,
};
use crate::json::number;
use crate::palette::Palette;
use crate::words::{self, ABSTIME, Asks};

/// Bits of the flags argument, of `include/linux/timerfd.h`.
const FLAG_NAMES: [(i32, &str); 2] =
    [(ABSTIME, "TFD_TIMER_ABSTIME"), (2, "TFD_TIMER_CANCEL_ON_SET")];
/// Of 4,194,303.
const ID_WIDTH: usize = 7;
/// Of `x86_64`.
const ABI_WIDTH: usize = 6;
/// A name that needs no escapes has 15 letters at most.
const NAME_WIDTH: usize = 15;
/// Holds `+999.999999 ms every 20 ms`; what is longer takes more.
const WORDS_WIDTH: usize = 26;

/// The form for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pretty {
    palette: Palette,
    /// The host's ids are there always.
    host_ids: bool,
}

impl Pretty {
    /// In these colours.
    pub const fn new(palette: Palette, host_ids: bool) -> Self {
        Self { palette, host_ids }
    }

    /// Appends the line of one call; the timer that it came to and its clock, where those are
    /// known.
    pub fn write_line(
        &self,
        line: &mut Vec<u8>,
        raw: &RawEvent,
        seen: Seen,
        timer: Option<(TimerId, i32)>,
    ) {
        let abi = if has(raw, flag::CALLER_64BIT) { "x86_64" } else { "i386" };
        let over = self.write_who(line, raw.pid, raw.tid, abi, &comm(&raw.comm));
        self.write_words(line, over, raw, timer.map(|(_, clock)| clock));
        number(line, b"timerfd_settime32(", raw.ufd);
        line.extend_from_slice(b", ");
        write_flags(line, raw.settime_flags);
        line.extend_from_slice(b", ");
        self.write_new(line, raw);
        line.extend_from_slice(b", ");
        self.write_old(line, raw);
        self.write_result(line, raw, seen);
        if let Some((timer, _)) = timer {
            self.write_timer(line, timer);
        }
        self.write_host_ids(line, host_ids(raw, self.host_ids));
        line.push(b'\n');
    }

    /// Process and thread id in the initial pid namespace, where they are told.
    pub fn write_host_ids(&self, line: &mut Vec<u8>, ids: Option<(u32, u32)>) {
        let Some((pid, tid)) = ids else { return };
        line.extend_from_slice(b"  ");
        paint(line, self.palette.quiet, |line| {
            number(line, b"host pid ", pid);
            number(line, b" tid ", tid);
        });
    }

    /// The columns that any event of a thread begins with; gives by how much the name is too long
    /// for its own.
    pub fn write_who(
        &self,
        line: &mut Vec<u8>,
        pid: u32,
        tid: u32,
        abi: &str,
        name: &str,
    ) -> usize {
        paint(line, self.palette.quiet, |line| {
            line.extend_from_slice(b"[pid ");
            to_the_right(line, pid);
            line.extend_from_slice(b" tid ");
            to_the_right(line, tid);
            line.extend_from_slice(b"] ");
            line.extend_from_slice(abi.as_bytes());
            line.resize(line.len() + ABI_WIDTH.saturating_sub(abi.len()), b' ');
        });
        line.push(b' ');
        let width = paint(line, self.palette.name, |line| write_name(line, name));
        pad(line, width, NAME_WIDTH);
        width.saturating_sub(NAME_WIDTH)
    }

    /// What the call asks for, in words.
    fn write_words(&self, line: &mut Vec<u8>, over: usize, raw: &RawEvent, clock: Option<i32>) {
        let setting = new_setting(raw);
        let has_failed = has(raw, flag::RETURNED) && raw.ret < 0;
        let style = self.palette.of(Asks::of(setting), has_failed);
        self.write_told(line, over, style, |line| {
            words::write_new(line, setting, raw.settime_flags, clock)
        });
    }

    /// The column of words, in a style, in what the name leaves of it.
    pub fn write_told(
        &self,
        line: &mut Vec<u8>,
        over: usize,
        style: Style,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let width = paint(line, style, |line| {
            let begin = line.len();
            write(line);
            // Every letter of them takes one column, and begins with a byte that continues none.
            line[begin..].iter().filter(|byte| **byte & 0xc0 != 0x80).count()
        });
        pad(line, over + width, WORDS_WIDTH);
    }

    /// The columns of an event that is of no thread.
    pub fn write_nobody(&self, line: &mut Vec<u8>) {
        /// What stands in them beside ids, kind of process, and name.
        const REST: usize = "[pid  tid ]   ".len();
        line.resize(line.len() + 2 * ID_WIDTH + ABI_WIDTH + NAME_WIDTH + REST, b' ');
    }

    /// The timer that an event is about.
    pub fn write_timer(&self, line: &mut Vec<u8>, timer: TimerId) {
        line.extend_from_slice(b"  ");
        paint(line, self.palette.quiet, |line| number(line, b"timer ", timer));
    }

    /// The colours.
    pub const fn palette(&self) -> &Palette {
        &self.palette
    }

    /// An error as strace prints it.
    pub fn write_failure(&self, line: &mut Vec<u8>, errno: i32) {
        paint(line, self.palette.failed, |line| {
            put(line, format_args!("-1 {} ({})", errno_name(errno), description(errno)))
        });
    }

    /// What the kernel used, or where it used nothing, what could be read at entry. Both where they
    /// differ.
    fn write_new(&self, line: &mut Vec<u8>, raw: &RawEvent) {
        write_argument(line, raw.utmr, new_setting(raw));
        if let Some(entry) = utmr_entry(raw).filter(|_| toctou(raw)) {
            self.remark(line, |line| {
                line.extend_from_slice(b"changed, at entry ");
                write_setting(line, &entry);
            });
        }
    }

    /// What was written to `*otmr`, and what was left of it in words, where that is known.
    fn write_old(&self, line: &mut Vec<u8>, raw: &RawEvent) {
        write_argument(line, raw.otmr, otmr_written(raw).map(Halves::from));
        let Some(whole) = old(raw) else { return };
        let begin = line.len();
        line.push(b' ');
        let width = paint(line, self.palette.quiet, |line| {
            line.extend_from_slice(b"/* ");
            let begin = line.len();
            words::write_old(line, whole);
            let width = line.len() - begin;
            line.extend_from_slice(b" */");
            width
        });
        if width == 0 {
            line.truncate(begin);
        }
        if old_truncated(raw) {
            self.remark(line, |line| write_uncut(line, whole));
        }
    }

    /// A comment as strace puts it, that nobody should overlook.
    fn remark(&self, line: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        line.push(b' ');
        paint(line, self.palette.odd, |line| {
            line.extend_from_slice(b"/* ");
            write(line);
            line.extend_from_slice(b" */");
        });
    }

    fn write_result(&self, line: &mut Vec<u8>, raw: &RawEvent, seen: Seen) {
        let odd = self.palette.odd;
        if seen == Seen::Entry {
            line.push(b' ');
            return paint(line, odd, |line| line.extend_from_slice(b"<unfinished ...>"));
        }
        line.extend_from_slice(b") = ");
        if !has(raw, flag::RETURNED) {
            return paint(line, odd, |line| line.extend_from_slice(b"? <result lost>"));
        }
        match result_errno(raw.ret) {
            Some(errno) => self.write_failure(line, errno),
            None => number(line, b"", raw.ret),
        }
    }
}

/// Writes in a style; gives what `write` gives. A style that does nothing costs nothing.
pub fn paint<T>(line: &mut Vec<u8>, style: Style, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    if style.is_plain() {
        return write(line);
    }
    put(line, format_args!("{style}"));
    let given = write(line);
    put(line, format_args!("{style:#}"));
    given
}

/// Writing to a vector cannot fail. Formatting takes its time: it is for what is rare.
pub fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    _ = line.write_fmt(text);
}

/// Blanks up to the next column: one at least.
fn pad(line: &mut Vec<u8>, width: usize, column: usize) {
    let blanks = column.saturating_sub(width) + 1;
    line.resize(line.len() + blanks, b' ');
}

/// An id at the end of its column, which holds the greatest that Linux gives (`PID_MAX_LIMIT`); a
/// dash for none.
fn to_the_right(line: &mut Vec<u8>, id: u32) {
    let mut digits = itoa::Buffer::new();
    let digits = if id == 0 { "-" } else { digits.format(id) };
    line.resize(line.len() + ID_WIDTH.saturating_sub(digits.len()), b' ');
    line.extend_from_slice(digits.as_bytes());
}

/// A process chooses its name, and must not reach the terminal's controls with it, nor turn the
/// line around or hide in it: what is not printable by itself is escaped. Gives how many columns it
/// takes.
pub fn write_name(line: &mut Vec<u8>, name: &str) -> usize {
    if name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') {
        line.extend_from_slice(name.as_bytes());
        return name.len();
    }
    let mut text = String::new();
    for letter in name.chars() {
        match letter {
            '\'' | '"' => text.push(letter),
            _ => text.extend(letter.escape_debug()),
        }
    }
    line.extend_from_slice(text.as_bytes());
    text.width()
}

/// Names joined by `|`, what has no name in hexadecimal; strace adds a comment when nothing has a
/// name.
pub fn write_flags(line: &mut Vec<u8>, flags: i32) {
    let mut rest = flags;
    let mut has_name = false;
    for (bit, name) in FLAG_NAMES {
        if flags & bit != 0 {
            line.extend_from_slice(if has_name { b"|" } else { b"" });
            line.extend_from_slice(name.as_bytes());
            has_name = true;
            rest &= !bit;
        }
    }
    match (rest, has_name) {
        (0, false) => line.push(b'0'),
        (0, true) => {}
        (_, false) => put(line, format_args!("{rest:#x} /* TFD_??? */")),
        (_, true) => put(line, format_args!("|{rest:#x}")),
    }
}

/// What the kernel used, or where it used nothing, what could be read at entry.
fn new_setting(raw: &RawEvent) -> Option<Halves> {
    utmr_used(raw).map(Halves::from).or_else(|| utmr_entry(raw))
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
    write_half(line, b"{it_interval=", content.it_interval);
    write_half(line, b", it_value=", content.it_value);
    line.push(b'}');
}

/// A half that could not be read is marked as strace marks what it does not know.
fn write_half(line: &mut Vec<u8>, key: &[u8], time: Option<OldTimespec32>) {
    line.extend_from_slice(key);
    match time {
        Some(time) => write_time(line, time.tv_sec, time.tv_nsec),
        None => line.extend_from_slice(b"???"),
    }
}

/// The setting before it was cut to 32 bits.
fn write_uncut(line: &mut Vec<u8>, whole: &Itimerspec64) {
    let Itimerspec64 { it_interval, it_value } = whole;
    line.extend_from_slice(b"cut from {it_interval=");
    write_time(line, it_interval.tv_sec, it_interval.tv_nsec);
    line.extend_from_slice(b", it_value=");
    write_time(line, it_value.tv_sec, it_value.tv_nsec);
    line.push(b'}');
}

fn write_time(line: &mut Vec<u8>, tv_sec: impl Integer, tv_nsec: impl Integer) {
    number(line, b"{tv_sec=", tv_sec);
    number(line, b", tv_nsec=", tv_nsec);
    line.push(b'}');
}

/// The C library's words for an errno, as strace prints them.
fn description(errno: i32) -> String {
    let words = io::Error::from_raw_os_error(errno).to_string();
    // Rust adds the number, which strace does not.
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use settime32_abi::timespec::Timespec64;

    use super::*;
    use crate::call_event::examples::{UTMR_READ, success};

    fn line(raw: &RawEvent, seen: Seen) -> String {
        let mut line = Vec::new();
        Pretty::default().write_line(&mut line, raw, seen, None);
        String::from_utf8(line).unwrap()
    }

    fn coloured(raw: &RawEvent, seen: Seen) -> String {
        let mut line = Vec::new();
        Pretty::new(Palette::coloured(), false).write_line(&mut line, raw, seen, None);
        String::from_utf8(line).unwrap()
    }

    /// As [`success`], with times that the kernel takes.
    fn sound() -> RawEvent {
        let mut raw = success();
        raw.utmr_used.it_value = OldTimespec32 { tv_sec: 1, tv_nsec: 500_000_000 };
        raw.utmr_used.it_interval = OldTimespec32 { tv_sec: 0, tv_nsec: 20_000_000 };
        raw.old.it_interval = Timespec64::default();
        RawEvent { utmr_entry: raw.utmr_used, settime_flags: 0, ..raw }
    }

    const HEAD: &str = "[pid     123 tid     124] i386   prog            invalid                    timerfd_settime32(3, TFD_TIMER_ABSTIME, ";
    const UNREAD: &str = "[pid     123 tid     124] i386   prog            ?                          timerfd_settime32(3, TFD_TIMER_ABSTIME, ";
    const NEW: &str = "{it_interval={tv_sec=0, tv_nsec=0}, it_value={tv_sec=5, tv_nsec=-1}}";
    const OLD: &str =
        "{it_interval={tv_sec=-2147483648, tv_nsec=2}, it_value={tv_sec=3, tv_nsec=999999999}}";

    #[test]
    fn words_stand_beside_the_call() {
        let new =
            "{it_interval={tv_sec=0, tv_nsec=20000000}, it_value={tv_sec=1, tv_nsec=500000000}}";
        let old = "{it_interval={tv_sec=0, tv_nsec=0}, it_value={tv_sec=3, tv_nsec=999999999}} /* 3.999999999 s left */";
        assert_eq!(
            line(&sound(), Seen::Whole),
            format!(
                "[pid     123 tid     124] i386   prog            +1.5 s every 20 ms         timerfd_settime32(3, 0, {new}, {old}) = 0\n"
            )
        );
    }

    #[test]
    fn ids_of_the_host_stand_at_the_end() {
        let end = |pretty: Pretty, raw: &RawEvent| {
            let mut line = Vec::new();
            pretty.write_line(&mut line, raw, Seen::Whole, Some((7, 1)));
            let line = String::from_utf8(line).unwrap();
            (line[..25].to_owned(), line[line.rfind(") = ").unwrap()..].to_owned())
        };
        let here = "[pid     123 tid     124]".to_owned();
        assert_eq!(end(Pretty::default(), &sound()), (here.clone(), ") = 0  timer 7\n".to_owned()));
        let told = ") = 0  timer 7  host pid 123 tid 124\n".to_owned();
        assert_eq!(
            end(Pretty { host_ids: true, ..Pretty::default() }, &sound()),
            (here, told.clone())
        );
        let nowhere = RawEvent { pid: 0, tid: 0, ..sound() };
        assert_eq!(
            end(Pretty::default(), &nowhere),
            ("[pid       - tid       -]".to_owned(), told)
        );
    }

    #[test]
    fn columns_begin_where_they_did_whatever_stands_before() {
        let at = |raw: &RawEvent| {
            let line = line(raw, Seen::Whole);
            line[..line.find("timerfd_settime32").unwrap()].width()
        };
        let wide = RawEvent {
            pid: 4_194_303,
            tid: 1,
            comm: *b"\xe8\xa8\x88\xe6\x99\x82\xe5\x99\xa8\0\0\0\0\0\0\0",
            ..sound()
        };
        assert_eq!(comm(&wide.comm), "計時器");
        assert_eq!(at(&wide), at(&sound()));
        let other = RawEvent {
            flags: sound().flags | flag::CALLER_64BIT,
            comm: *b"fifteen-letters\0",
            ..success()
        };
        assert_eq!(at(&other), at(&sound()));
        let long = RawEvent { comm: *b"escaped\n\x1b\0\0\0\0\0\0\0", ..success() };
        assert_eq!(write_name(&mut Vec::new(), &comm(&long.comm)), NAME_WIDTH);
        let longer = RawEvent { comm: *b"escaped\n\x1b\n\0\0\0\0\0\0", ..success() };
        assert_eq!((at(&long), at(&longer)), (at(&sound()), at(&sound())));
    }

    #[test]
    fn a_successful_call_shows_both_structures() {
        assert_eq!(line(&success(), Seen::Whole), format!("{HEAD}{NEW}, {OLD}) = 0\n"));
    }

    #[test]
    fn a_failed_call_shows_the_address_and_the_errno() {
        let raw = RawEvent { ret: -22, flags: flag::RETURNED | UTMR_READ, ..success() };
        assert_eq!(
            line(&raw, Seen::Whole),
            format!("{HEAD}{NEW}, 0xffd00020) = -1 EINVAL (Invalid argument)\n")
        );
    }

    #[test]
    fn errnos_are_described_as_the_c_library_does() {
        assert_eq!(description(9), "Bad file descriptor");
        assert_eq!(description(125), "Operation canceled");
    }

    #[test]
    fn null_and_unreadable_pointers_differ() {
        let raw =
            RawEvent { ret: -14, flags: flag::RETURNED, utmr_entry_err: -14, otmr: 0, ..success() };
        assert_eq!(
            line(&raw, Seen::Whole),
            format!("{UNREAD}0xffd00010, NULL) = -1 EFAULT (Bad address)\n")
        );
    }

    #[test]
    fn what_the_kernel_used_goes_before_what_was_read() {
        let mut raw =
            RawEvent { utmr_entry_err: -14, flags: success().flags & !UTMR_READ, ..success() };
        assert_eq!(line(&raw, Seen::Whole), format!("{HEAD}{NEW}, {OLD}) = 0\n"));
        raw.flags |= flag::INTERVAL_READ;
        raw.utmr_entry.it_interval.tv_sec = 9;
        let entry = "{it_interval={tv_sec=9, tv_nsec=0}, it_value=???}";
        assert_eq!(
            line(&raw, Seen::Whole),
            format!("{HEAD}{NEW} /* changed, at entry {entry} */, {OLD}) = 0\n")
        );
        raw.flags &= !flag::USED;
        assert_eq!(line(&raw, Seen::Whole), format!("{UNREAD}{entry}, {OLD}) = 0\n"));
    }

    #[test]
    fn an_old_setting_that_was_cut_is_shown_whole() {
        let mut raw = success();
        raw.old.it_interval.tv_sec += 1 << 32;
        let whole =
            "{it_interval={tv_sec=2147483648, tv_nsec=2}, it_value={tv_sec=3, tv_nsec=999999999}}";
        let left = "3.999999999 s left every 24855 d 3 h 14 min 8.000000002 s";
        assert_eq!(
            line(&raw, Seen::Whole),
            format!("{HEAD}{NEW}, {OLD} /* {left} */ /* cut from {whole} */) = 0\n")
        );
    }

    #[test]
    fn calls_without_a_result_say_so() {
        let raw = RawEvent { flags: UTMR_READ, ..success() };
        assert_eq!(line(&raw, Seen::Entry), format!("{HEAD}{NEW}, 0xffd00020 <unfinished ...>\n"));
        let lost = RawEvent { flags: raw.flags | flag::RESULT_LOST, ..raw };
        assert_eq!(
            line(&lost, Seen::Whole),
            format!("{HEAD}{NEW}, 0xffd00020) = ? <result lost>\n")
        );
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
        let raw = RawEvent {
            flags: success().flags | flag::CALLER_64BIT,
            comm: *b"a\x1b[2J\nb\0\0\0\0\0\0\0\0\0",
            ..success()
        };
        assert!(
            line(&raw, Seen::Whole)
                .starts_with("[pid     123 tid     124] x86_64 a\\u{1b}[2J\\nb   "),
            "{}",
            line(&raw, Seen::Whole)
        );
        for (name, shown) in [
            ("\u{202e}cba", "\\u{202e}cba"),
            ("a\\nb", "a\\\\nb"),
            ("it's", "it's"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{200b}", "\\u{200b}"),
        ] {
            let mut line = Vec::new();
            assert_eq!(write_name(&mut line, name), shown.len());
            assert_eq!(String::from_utf8(line).unwrap(), shown);
        }
    }

    #[test]
    fn what_failed_or_is_odd_stands_out() {
        let (red, magenta, end) = ("\x1b[1m\x1b[31m", "\x1b[1m\x1b[35m", "\x1b[0m");
        let good = coloured(&sound(), Seen::Whole);
        assert!(
            good.contains("\x1b[32m+1.5 s every 20 ms\x1b[0m")
                && !good.contains(red)
                && !good.contains(magenta),
            "{good:?}"
        );
        let failed = coloured(&RawEvent { ret: -9, ..sound() }, Seen::Whole);
        assert!(
            failed.contains(&format!("{red}-1 EBADF (Bad file descriptor){end}\n"))
                && !failed.contains("\x1b[32m"),
            "{failed:?}"
        );
        let mut changed = sound();
        changed.utmr_entry.it_value.tv_sec = 8;
        assert!(
            coloured(&changed, Seen::Whole)
                .contains(&format!("{magenta}/* changed, at entry {{it_interval="))
        );
        let mut cut = sound();
        cut.old.it_value.tv_sec += 1 << 32;
        assert!(
            coloured(&cut, Seen::Whole).contains(&format!("{magenta}/* cut from {{it_interval="))
        );
        let unseen = RawEvent { flags: UTMR_READ, ..sound() };
        assert!(
            coloured(&unseen, Seen::Entry).contains(&format!("{magenta}<unfinished ...>{end}"))
        );
        assert!(coloured(&unseen, Seen::Whole).contains(&format!("{magenta}? <result lost>{end}")));
        assert!(coloured(&success(), Seen::Whole).contains(&format!("{red}invalid{end}")));
    }

    /// Colours are added, and nothing else is.
    #[test]
    fn without_its_colours_a_line_is_the_plain_one() {
        for raw in [success(), sound(), RawEvent { ret: -22, otmr: 0, ..sound() }] {
            let stripped = anstream::adapter::strip_str(&coloured(&raw, Seen::Whole)).to_string();
            assert_eq!(stripped, line(&raw, Seen::Whole));
        }
    }
}
