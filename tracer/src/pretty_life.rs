//! The other events for people, in the columns that calls have.

use settime32_abi::lifecycle::{Cancel, Expiry, RelatedCall, Release, Wakeup};
use settime32_abi::output::Abi;

use crate::call_event::result_errno;
use crate::json::number;
use crate::lifecycle::Event;
use crate::pretty::{Pretty, paint, put, write_flags};
use crate::words::{self, Asks};

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

impl Pretty {
    /// Appends the line of another event.
    pub fn write_of_life(&self, line: &mut Vec<u8>, event: &Event) {
        match event {
            Event::Call(call, _) => self.write_related(line, call),
            Event::Expiry(expiry) => self.write_expiry(line, expiry),
            Event::Cancel(cancel) => self.write_cancel(line, cancel),
            Event::Wakeup(wakeup) => self.write_wakeup(line, wakeup),
            Event::Release(release) => self.write_release(line, release),
            Event::ClockSet { .. } | Event::TicksSet { .. } => return,
        }
        line.push(b'\n');
    }

    fn write_related(&self, line: &mut Vec<u8>, call: &RelatedCall) {
        let abi = if call.abi == Abi::X86_64 { "x86_64" } else { "i386" };
        let over = self.write_who(line, call.pid, call.tid, abi, &call.comm);
        let quiet = self.palette().quiet;
        match (&call.utmr_used, &call.old) {
            (Some(used), _) => {
                let style = self.palette().of(Asks::of_wide(used), call.errno.is_some());
                self.write_told(line, over, style, |line| {
                    words::write_new_wide(line, used, call.flags.unwrap_or(0), call.clockid)
                });
            }
            (None, Some(left)) => {
                self.write_told(line, over, quiet, |line| words::write_old(line, left))
            }
            (None, None) => self.write_told(line, over, quiet, |_| {}),
        }
        put(line, format_args!("{}(", call.event));
        write_arguments(line, call);
        self.write_outcome(line, call);
        if let Some(timer) = call.timer {
            self.write_timer(line, timer);
        }
        self.write_host_ids(line, call.host_pid.zip(call.host_tid));
    }

    fn write_outcome(&self, line: &mut Vec<u8>, call: &RelatedCall) {
        let odd = self.palette().odd;
        if call.unfinished {
            line.push(b' ');
            return paint(line, odd, |line| line.extend_from_slice(b"<unfinished ...>"));
        }
        line.extend_from_slice(b") = ");
        match call.ret.map(|ret| (ret, result_errno(ret))) {
            None => paint(line, odd, |line| line.extend_from_slice(b"? <result lost>")),
            Some((_, Some(errno))) => self.write_failure(line, errno),
            Some((ret, None)) => number(line, b"", ret),
        }
    }

    fn write_expiry(&self, line: &mut Vec<u8>, expiry: &Expiry) {
        self.write_nobody(line);
        let (style, words) = if expiry.late_ns < 0 {
            (self.palette().failed, " EARLY")
        } else {
            (self.palette().arms, " late")
        };
        self.write_told(line, 0, style, |line| {
            words::write_ns(line, expiry.late_ns.unsigned_abs());
            line.extend_from_slice(words.as_bytes());
        });
        put(
            line,
            format_args!(
                "expired ({}{})",
                clock(expiry.clockid),
                if expiry.inline { ", as it was armed" } else { "" }
            ),
        );
        self.write_timer(line, expiry.timer);
    }

    fn write_cancel(&self, line: &mut Vec<u8>, cancel: &Cancel) {
        self.write_nobody(line);
        self.write_told(line, 0, self.palette().odd, |line| line.extend_from_slice(b"cancelled"));
        line.extend_from_slice(b"its clock was set");
        self.write_timer(line, cancel.timer);
    }

    fn write_wakeup(&self, line: &mut Vec<u8>, wakeup: &Wakeup) {
        let over = self.write_who(line, wakeup.pid, wakeup.tid, "", &wakeup.comm);
        let (style, words) = match (wakeup.ticks.flatten(), &wakeup.errno) {
            (_, Some(errno)) => (self.palette().failed, errno.to_string()),
            (Some(1), None) => (self.palette().quiet, "1 expiry".to_owned()),
            (Some(ticks), None) => (self.palette().odd, format!("{ticks} expiries, overrun")),
            (None, None) => (self.palette().quiet, String::new()),
        };
        self.write_told(line, over, style, |line| line.extend_from_slice(words.as_bytes()));
        put(line, format_args!("woken, in {}", wakeup.by.as_str()));
        self.write_timer(line, wakeup.timer);
        self.write_host_ids(line, wakeup.host_pid.zip(wakeup.host_tid));
    }

    fn write_release(&self, line: &mut Vec<u8>, release: &Release) {
        let over = self.write_who(line, release.pid, release.tid, "", &release.comm);
        self.write_told(line, over, self.palette().quiet, |_| {});
        line.extend_from_slice(b"closed");
        self.write_timer(line, release.timer);
        self.write_host_ids(line, release.host_pid.zip(release.host_tid));
    }
}

/// In the order in which the call takes them.
fn write_arguments(line: &mut Vec<u8>, call: &RelatedCall) {
    if call.event == "timerfd_create" {
        return put(
            line,
            format_args!("{}, {:#o}", clock(call.clockid.unwrap_or(-1)), call.flags.unwrap_or(0)),
        );
    }
    number(line, b"", call.ufd.or(call.timer_id).unwrap_or(-1));
    if let Some(flags) = call.flags {
        line.extend_from_slice(b", ");
        write_flags(line, flags);
        write_address(line, call.utmr);
    }
    write_address(line, call.otmr);
}

fn write_address(line: &mut Vec<u8>, address: Option<u64>) {
    match address {
        Some(address) => put(line, format_args!(", {address:#x}")),
        None => line.extend_from_slice(b", NULL"),
    }
}
