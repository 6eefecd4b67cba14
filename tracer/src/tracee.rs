//! A call as Tracee prints it (`tracee --output json`), for pipelines that take Tracee's events:
//! the keys of its `trace.Event` (`types/trace/trace.go`), in their order, and the event of its
//! documentation. What it has no key for is not here, the contents of both structures above all:
//! Tracee's event has the four arguments of the call and says so in `argsNum`; more of them, or
//! `metadata`, by which consumers know a finding of a signature, would be another event.
//!
//! Facts that Tracee knows and this tracer does not have the value that Go gives them when nobody
//! sets them: 0, `""`, `{}` or `null`. Two would be misread that way. `userId`, since 0 is root: it
//! is the kernel's own "no user", 4294967295. And `returnValue`, since 0 is success: a call whose
//! return was not seen is not printed, as Tracee prints none, and is counted where every form
//! counts it, on standard error.
//!
//! `processId` and `threadId` are those of the pid namespace that the thread is in, wherever the
//! tracer is.

use std::time::{SystemTime, UNIX_EPOCH};

use settime32_abi::event::{RawEvent, flag};

use crate::call_event::{comm, has};
use crate::json::{number, string};
use crate::kernel_clock;

/// The form for Tracee's consumers.
#[derive(Clone, Copy, Debug)]
pub struct Tracee {
    /// What makes a date of a time of the kernel's monotonic clock, in nanoseconds.
    epoch: i64,
}

/// By less than this, what is read of two clocks one after the other says nothing new: dates of
/// calls keep their distance.
const NOTHING_NEW_NS: u64 = 10_000_000;

impl Tracee {
    /// With the date as it is now.
    pub fn new() -> Self {
        Self { epoch: epoch() }
    }

    /// Follows a clock that was set, and a machine that slept, through which the monotonic clock
    /// stands still.
    fn follow(&mut self, epoch: i64) {
        if epoch.abs_diff(self.epoch) > NOTHING_NEW_NS {
            self.epoch = epoch;
        }
    }

    /// Whether it can tell of a call.
    pub const fn tells(raw: &RawEvent) -> bool {
        has(raw, flag::RETURNED)
    }

    /// Appends the line of one call that returned.
    pub fn write_line(&mut self, line: &mut Vec<u8>, raw: &RawEvent) {
        self.follow(epoch());
        self.write_dated(line, raw);
    }

    fn write_dated(self, line: &mut Vec<u8>, raw: &RawEvent) {
        // Tracee's is the time of entry, too.
        number(line, br#"{"timestamp":"#, self.epoch.wrapping_add_unsigned(raw.entry_ns));
        number(line, br#","threadStartTime":0,"processorId":"#, raw.cpu);
        number(line, br#","processId":"#, raw.pid);
        number(line, br#","cgroupId":0,"threadId":"#, raw.tid);
        number(line, br#","parentProcessId":0,"hostProcessId":"#, raw.host_pid);
        number(line, br#","hostThreadId":"#, raw.host_tid);
        line.extend_from_slice(br#","hostParentProcessId":0,"userId":4294967295,"mountNamespace":0,"pidNamespace":0,"processName":"#);
        string(line, &comm(&raw.comm));
        line.extend_from_slice(br#","executable":{"path":""},"hostName":"","containerId":"","container":{},"kubernetes":{},"#);
        line.extend_from_slice(br#""eventId":"436","eventName":"timerfd_settime32","argsNum":4"#);
        number(line, br#","returnValue":"#, raw.ret);
        // A 64-bit process is in a compat call as well while it uses the i386 entry.
        line.extend_from_slice(br#","syscall":"timerfd_settime32","stackAddresses":null,"#);
        line.extend_from_slice(br#""contextFlags":{"containerStarted":false,"isCompat":true},"#);
        line.extend_from_slice(br#""threadEntityId":0,"processEntityId":0,"parentEntityId":0"#);
        number(line, br#","args":[{"name":"ufd","type":"int","value":"#, raw.ufd);
        number(line, br#"},{"name":"flags","type":"int","value":"#, raw.settime_flags);
        number(line, br#"},{"name":"utmr","type":"struct old_itimerspec32*","value":"#, raw.utmr);
        number(line, br#"},{"name":"otmr","type":"struct old_itimerspec32*","value":"#, raw.otmr);
        line.extend_from_slice(b"}]}\n");
    }
}

/// The date at which the kernel's monotonic clock began, as it is now.
fn epoch() -> i64 {
    let before = kernel_clock::now_ns();
    let date =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |date| date.as_nanos() as i64);
    date.wrapping_sub_unsigned(before.midpoint(kernel_clock::now_ns()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use crate::call_event::examples::success;

    #[test]
    fn dates_follow_a_clock_that_jumps_and_nothing_less() {
        let mut tracee = Tracee { epoch: 1_000 };
        tracee.follow(1_000 + NOTHING_NEW_NS as i64);
        assert_eq!(tracee.epoch, 1_000);
        tracee.follow(5_000_000_000);
        assert_eq!(tracee.epoch, 5_000_000_000);
        tracee.follow(-5_000_000_000);
        assert_eq!(tracee.epoch, -5_000_000_000);
    }

    /// Written when this output changes, and read by the harness's reader of Tracee's events.
    const SAMPLE: &str = include_str!("../../harness/tracers/samples/settime32-tracee.txt");

    /// `trace.Event` of Tracee, and nothing beside.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "that they are there, and of what type, is what is tested")]
    struct Event {
        timestamp: i64,
        thread_start_time: i64,
        processor_id: i64,
        process_id: i64,
        cgroup_id: u64,
        thread_id: i64,
        parent_process_id: i64,
        host_process_id: i64,
        host_thread_id: i64,
        host_parent_process_id: i64,
        user_id: i64,
        mount_namespace: i64,
        pid_namespace: i64,
        process_name: String,
        executable: File,
        host_name: String,
        container_id: String,
        container: Nothing,
        kubernetes: Nothing,
        event_id: String,
        event_name: String,
        args_num: usize,
        return_value: i64,
        syscall: String,
        stack_addresses: Option<Vec<u64>>,
        context_flags: ContextFlags,
        thread_entity_id: u32,
        process_entity_id: u32,
        parent_entity_id: u32,
        args: Vec<Argument>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "as above")]
    struct File {
        path: String,
    }

    /// `container` and `kubernetes` of a process that is in neither.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct ContextFlags {
        container_started: bool,
        is_compat: bool,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Argument {
        name: String,
        r#type: String,
        value: Value,
    }

    impl Argument {
        /// As Tracee's own `UnmarshalJSON` has it: types that end in `*` are unsigned, `int` has 32
        /// bits.
        fn number(&self) -> i64 {
            if self.r#type.ends_with('*') {
                return self.value.as_u64().unwrap().try_into().unwrap();
            }
            assert_eq!(self.r#type, "int");
            i32::try_from(self.value.as_i64().unwrap()).unwrap().into()
        }
    }

    fn line(raw: &RawEvent) -> String {
        let mut line = Vec::new();
        Tracee { epoch: 1_700_000_000_000_000_000 }.write_dated(&mut line, raw);
        String::from_utf8(line).unwrap()
    }

    /// Values at the edges of their types.
    fn edges() -> RawEvent {
        RawEvent {
            pid: 7,
            tid: 8,
            host_pid: 4_194_302,
            host_tid: 4_194_303,
            cpu: 8191,
            flags: flag::RETURNED | flag::CALLER_64BIT,
            ufd: i32::MIN,
            settime_flags: -1,
            utmr: u32::MAX,
            otmr: 0,
            ret: -22,
            comm: *b"a\"\x1b\xff\xe2\x82\xac\0\0\0\0\0\0\0\0\0",
            ..success()
        }
    }

    #[test]
    fn it_is_an_event_of_tracee() {
        let event: Event = serde_json::from_str(&line(&success())).unwrap();
        assert_eq!((event.timestamp, event.processor_id), (1_700_000_000_000_001_000, 1));
        assert_eq!(
            (event.process_id, event.thread_id, event.host_process_id, event.host_thread_id),
            (123, 124, 123, 124)
        );
        assert_eq!(
            (event.event_id.as_str(), event.event_name.as_str(), event.syscall.as_str()),
            ("436", "timerfd_settime32", "timerfd_settime32")
        );
        assert_eq!(
            (event.process_name.as_str(), event.return_value, event.args_num),
            ("prog", 0, event.args.len())
        );
        assert!(
            event.context_flags.is_compat
                && !event.context_flags.container_started
                && event.stack_addresses.is_none()
        );
        let arguments: Vec<_> =
            event.args.iter().map(|argument| (argument.name.as_str(), argument.number())).collect();
        assert_eq!(
            arguments,
            [("ufd", 3), ("flags", 1), ("utmr", 0xffd0_0010), ("otmr", 0xffd0_0020)]
        );
    }

    #[test]
    fn it_stays_one_at_the_edges() {
        let event: Event = serde_json::from_str(&line(&edges())).unwrap();
        let numbers: Vec<_> = event.args.iter().map(Argument::number).collect();
        assert_eq!(numbers, [i32::MIN.into(), -1, u32::MAX.into(), 0]);
        assert_eq!(
            (event.process_id, event.thread_id, event.host_process_id, event.host_thread_id),
            (7, 8, 4_194_302, 4_194_303)
        );
        assert_eq!(
            (event.process_name.as_str(), event.return_value, event.user_id),
            ("a\"\u{1b}\u{fffd}€", -22, 4_294_967_295)
        );
        assert!(event.context_flags.is_compat);
    }

    #[test]
    fn the_sample_is_what_is_printed() {
        assert_eq!(
            line(&success()) + &line(&edges()),
            SAMPLE,
            "left is new; the harness's test reads the right one"
        );
    }

    #[test]
    fn a_call_that_was_not_seen_to_return_is_none_of_its_events() {
        assert!(
            Tracee::tells(&success())
                && !Tracee::tells(&RawEvent {
                    flags: success().flags & !flag::RETURNED,
                    ..success()
                })
        );
    }

    #[test]
    fn times_are_dates() {
        let entry_ns = kernel_clock::now_ns();
        let before = SystemTime::now();
        let mut printed = Vec::new();
        Tracee::new().write_line(&mut printed, &RawEvent { entry_ns, ..success() });
        let event: Event = serde_json::from_slice(&printed).unwrap();
        let date = SystemTime::UNIX_EPOCH + Duration::from_nanos(event.timestamp as u64);
        let apart = date.duration_since(before).unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_secs(3600), "{date:?} is not about {before:?}");
    }
}
