//! What people read: a plan in words, a line a step, for who has to understand a failure; and
//! numbers.

use indicatif::HumanCount;
use settime32_abi::plan::{Call, Clock, Ending, Entry, FdKind, Page, Plan, Pointer, Process, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

/// The lines.
pub fn of(plan: &Plan) -> Vec<String> {
    let process = match plan.process {
        Process::I386 => "in an i386 process:",
        Process::Amd64 => {
            "in a 64-bit process, with something in the upper half of every register:"
        }
    };
    let mut inside = 0_usize;
    let mut lines = vec![process.to_owned()];
    for (index, step) in plan.steps.iter().enumerate() {
        let indent = if inside > 0 { "    " } else { "" };
        lines.push(format!("step {index}: {indent}{}", of_step(step)));
        inside = inside.saturating_sub(1).max(step.inner());
    }
    lines
}

/// A step in words.
pub fn of_step(step: &Step) -> String {
    match step {
        Step::Open { slot, kind } => format!("slot {slot} becomes {}", of_kind(*kind)),
        Step::Call(call) => of_call(call),
        Step::SetClock => "CLOCK_REALTIME is set to the time that it shows".into(),
        Step::Wait { slot, timeout_ms } => {
            format!("wait until the timer in slot {slot} has expired, {timeout_ms} ms at most")
        }
        Step::Fork { steps, ending } => {
            let then = match ending {
                Ending::Exit => "exits",
                Ending::Kill => "is killed",
                Ending::Exec => "executes another program",
            };
            format!("a forked child does the next {steps} steps, and {then}")
        }
        Step::Threads { threads, calls } => {
            format!("{threads} threads do the next {calls} calls each, side by side")
        }
        Step::WakeAlarm { allowed: true } => "CAP_WAKE_ALARM is put back".into(),
        Step::WakeAlarm { allowed: false } => "CAP_WAKE_ALARM is taken away".into(),
        Step::Pin { cpu: Some(cpu) } => {
            format!("from here on on CPU {cpu} only, of those that there are, counted round")
        }
        Step::Pin { cpu: None } => "from here on on any CPU".into(),
        Step::Silent(call) => format!("{call:?}, of which no event may come"),
        Step::Lifecycle(act) => format!("{act:?}"),
    }
}

fn of_kind(kind: FdKind) -> String {
    match kind {
        FdKind::Timer(clock) => format!("a timerfd of {}", of_clock(clock)),
        FdKind::Dup(of) => format!("a duplicate of slot {of}"),
        FdKind::Passed(of) => format!("slot {of}, passed through a socket"),
        FdKind::Closed => "a number that was open and is closed".into(),
        FdKind::Number(number) => format!("the number {number}"),
        FdKind::Path => "open(\"/\", O_PATH)".into(),
        FdKind::NotATimer(other) => format!("{other:?}, which is no timerfd").to_lowercase(),
    }
}

fn of_clock(clock: Clock) -> &'static str {
    match clock {
        Clock::Realtime => "CLOCK_REALTIME",
        Clock::Monotonic => "CLOCK_MONOTONIC",
        Clock::Boottime => "CLOCK_BOOTTIME",
        Clock::RealtimeAlarm => "CLOCK_REALTIME_ALARM",
        Clock::BoottimeAlarm => "CLOCK_BOOTTIME_ALARM",
    }
}

fn of_call(call: &Call) -> String {
    let new = match call.utmr {
        Pointer::Null => "NULL".into(),
        Pointer::Valid => of_times(call.new),
        other => format!("{} at {}", of_times(call.new), of_pointer(other)),
    };
    let mut text = format!(
        "timerfd_settime32(slot {}, {}, {new}, {})",
        call.slot,
        of_flags(call.flags),
        of_pointer(call.otmr)
    );
    if let Some(meanwhile) = call.meanwhile {
        text += &format!(", while another thread writes {}", of_times(meanwhile));
    }
    match call.entry {
        Entry::Int80 => {}
        Entry::Vdso => text += ", through the vDSO",
        Entry::Rewritten => text += ", with arguments that a ptracer puts there",
    }
    text
}

fn of_flags(flags: i32) -> String {
    match flags {
        0 => "0".into(),
        1 => "TFD_TIMER_ABSTIME".into(),
        2 => "TFD_TIMER_CANCEL_ON_SET".into(),
        3 => "TFD_TIMER_ABSTIME|TFD_TIMER_CANCEL_ON_SET".into(),
        other => format!("{other:#x}"),
    }
}

fn of_times(times: OldItimerspec32) -> String {
    let of = |time: OldTimespec32| format!("{{{}, {}}}", time.tv_sec, time.tv_nsec);
    format!("{{it_interval={}, it_value={}}}", of(times.it_interval), of(times.it_value))
}

fn of_pointer(pointer: Pointer) -> String {
    match pointer {
        Pointer::Null => "NULL".into(),
        Pointer::Valid => "memory of its own".into(),
        Pointer::Literal(address) => format!("{address:#x}"),
        Pointer::LastUserBytes => "the last 16 bytes of the address space".into(),
        Pointer::Across4Gib => "the 16 bytes across 4 GiB".into(),
        Pointer::StackLowHalf => "the low half of an address on the stack".into(),
        Pointer::Unaligned(by) => format!("memory {by} bytes off a multiple of 16"),
        Pointer::On(page) => format!("a page that is {}", of_page(page)),
        Pointer::Edge { before, first, next } => {
            format!(
                "a page edge: {before} bytes on a page that is {}, the others on one that is {}",
                of_page(first),
                of_page(next)
            )
        }
        Pointer::OverUtmr(by) => format!("utmr{by:+}"),
    }
}

fn of_page(page: Page) -> &'static str {
    match page {
        Page::Resident => "resident",
        Page::Unmapped => "not mapped",
        Page::NoAccess => "PROT_NONE",
        Page::ReadOnly => "read-only",
        Page::WriteOnly => "write-only",
        Page::Untouched => "anonymous and never touched",
        Page::FileBacked => "of a file and never touched",
        Page::GivenUp => "given up with MADV_DONTNEED",
        Page::Held => "held back by userfaultfd",
        Page::Withheld => "never given by userfaultfd",
    }
}

/// 1234567 → `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}
