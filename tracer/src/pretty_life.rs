//! The other events for people, in the columns that calls have.

use settime32_abi::life::{By, Cancel, Expiry, RelatedCall, Release, Wakeup};
use settime32_abi::output::Abi;

use crate::life::Event;
use crate::palette::Painted;
use crate::pretty::{Pretty, failure, put, write_flags};
use crate::words;

/// Clocks of `include/uapi/linux/time.h` that a timer can have.
fn clock(clockid: i32) -> String {
    match clockid {
        0 => "CLOCK_REALTIME".to_owned(),
        1 => "CLOCK_MONOTONIC".to_owned(),
        7 => "CLOCK_BOOTTIME".to_owned(),
        8 => "CLOCK_REALTIME_ALARM".to_owned(),
        9 => "CLOCK_BOOTTIME_ALARM".to_owned(),
        other => other.to_string(),
    }
}

/// What the columns of who it was take: ids, kind of process, name, and a blank behind each.
const WHO_WIDTH: usize = 25 + 1 + 6 + 1 + 15 + 1;

impl Pretty {
    /// Appends the line of another event.
    pub fn write_of_life(&self, line: &mut Vec<u8>, event: &Event) {
        match event {
            Event::Call(call) => self.write_related(line, call),
            Event::Expiry(expiry) => self.write_expiry(line, expiry),
            Event::Cancel(cancel) => self.write_cancel(line, cancel),
            Event::Wakeup(wakeup) => self.write_wakeup(line, wakeup),
            Event::Release(release) => self.write_release(line, release),
        }
        line.push(b'\n');
    }

    /// The columns of an event that is of no thread.
    fn write_nobody(&self, line: &mut Vec<u8>) {
        line.resize(line.len() + WHO_WIDTH, b' ');
    }

    fn write_related(&self, line: &mut Vec<u8>, call: &RelatedCall<'_>) {
        let abi = if call.abi == Abi::X86_64 { "x86_64" } else { "i386" };
        self.write_who(line, call.pid, call.tid, abi, &call.comm);
        let has_failed = call.errno.is_some();
        match (call.utmr_used, call.old) {
            (None, Some(left)) => {
                let words = words::of_old(&left).unwrap_or_else(|| "?".to_owned());
                self.write_told(line, self.palette().quiet, &words);
            }
            (None, None) => self.write_told(line, self.palette().quiet, ""),
            (used, _) => {
                let (asks, words) = words::of_wide(used, call.flags.unwrap_or(0), call.clockid);
                self.write_asked(line, asks, &words, has_failed);
            }
        }
        put(line, format_args!("{}(", call.event));
        write_arguments(line, call);
        self.write_outcome(line, call);
        if let Some(timer) = call.timer {
            self.write_timer(line, timer);
        }
    }

    fn write_outcome(&self, line: &mut Vec<u8>, call: &RelatedCall<'_>) {
        match call.ret {
            None if call.unfinished => put(line, format_args!(" {}", Painted(self.palette().odd, "<unfinished ...>"))),
            None => put(line, format_args!(") = {}", Painted(self.palette().odd, "? <result lost>"))),
            Some(ret) => match crate::call_event::result_errno(ret) {
                Some(errno) => put(line, format_args!(") = {}", Painted(self.palette().failed, failure(errno)))),
                None => put(line, format_args!(") = {ret}")),
            },
        }
    }

    fn write_expiry(&self, line: &mut Vec<u8>, expiry: &Expiry<'_>) {
        self.write_nobody(line);
        let is_early = expiry.late_ns < 0;
        let (style, words) = if is_early {
            (self.palette().failed, format!("{} EARLY", words::of_ns(expiry.late_ns.saturating_neg())))
        } else {
            (self.palette().arms, format!("{} late", words::of_ns(expiry.late_ns)))
        };
        self.write_told(line, style, &words);
        put(line, format_args!("expired ({}{})", clock(expiry.clockid), if expiry.inline { ", as it was armed" } else { "" }));
        self.write_timer(line, expiry.timer);
    }

    fn write_cancel(&self, line: &mut Vec<u8>, cancel: &Cancel<'_>) {
        self.write_nobody(line);
        self.write_told(line, self.palette().odd, "cancelled");
        put(line, format_args!("its clock was set"));
        self.write_timer(line, cancel.timer);
    }

    fn write_wakeup(&self, line: &mut Vec<u8>, wakeup: &Wakeup<'_>) {
        self.write_who(line, wakeup.pid, wakeup.tid, "", &wakeup.comm);
        let by = match wakeup.by {
            By::Read => "read",
            By::EpollWait => "epoll_wait",
            By::Poll => "poll",
            By::Select => "select",
        };
        match (wakeup.ticks, &wakeup.errno) {
            (_, Some(errno)) => self.write_told(line, self.palette().failed, errno),
            (Some(1), None) => self.write_told(line, self.palette().quiet, "1 expiry"),
            (Some(ticks), None) => self.write_told(line, self.palette().odd, &format!("{ticks} expiries, overrun")),
            (None, None) => self.write_told(line, self.palette().quiet, ""),
        }
        put(line, format_args!("woken, in {by}"));
        self.write_timer(line, wakeup.timer);
    }

    fn write_release(&self, line: &mut Vec<u8>, release: &Release<'_>) {
        self.write_who(line, release.pid, release.tid, "", &release.comm);
        self.write_told(line, self.palette().quiet, "");
        put(line, format_args!("closed"));
        self.write_timer(line, release.timer);
    }
}

/// In the order in which the call takes them.
fn write_arguments(line: &mut Vec<u8>, call: &RelatedCall<'_>) {
    let mut separator = "";
    let mut number = |line: &mut Vec<u8>, text: String| {
        put(line, format_args!("{separator}{text}"));
        separator = ", ";
    };
    if call.event == "timerfd_create" {
        number(line, clock(call.clockid.unwrap_or(-1)));
        return number(line, format!("{:#o}", call.flags.unwrap_or(0)));
    }
    if let Some(id) = call.ufd.or(call.timer_id) {
        number(line, id.to_string());
    }
    if let Some(flags) = call.flags {
        let mut text = Vec::new();
        write_flags(&mut text, flags);
        number(line, String::from_utf8_lossy(&text).into_owned());
        number(line, address(call.utmr));
    }
    number(line, address(call.otmr));
}

fn address(address: Option<u64>) -> String {
    address.map_or_else(|| "NULL".to_owned(), |address| format!("{address:#x}"))
}
