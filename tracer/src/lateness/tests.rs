use serde_json::Value;
use settime32_abi::lifecycle::{By, Expiry, Release, Wakeup};
use settime32_abi::output::{Lost, SUMMARY_EVENT};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::*;
use crate::call_event::examples;
use crate::describe::schema::complaints;

/// What CLOCK_REALTIME is ahead of CLOCK_MONOTONIC by at first.
const AHEAD: i64 = 1_700_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Events of timers of CLOCK_REALTIME, and what is told of them.
struct Machine {
    lateness: Lateness,
    text: Vec<u8>,
}

impl Machine {
    fn new(per: Per, report: Report) -> Self {
        Self { lateness: Lateness::new(per, report), text: Vec::new() }
    }

    /// Arms for so many seconds since the epoch of CLOCK_MONOTONIC.
    fn arm(&mut self, timer: TimerId, ns: u64, due_ns: i64, name: &[u8]) {
        let mut comm = [0; 16];
        comm[..name.len()].copy_from_slice(name);
        let second = OldTimespec32 { tv_sec: 1, tv_nsec: 0 };
        let utmr_used = OldItimerspec32 { it_interval: OldTimespec32::default(), it_value: second };
        let raw = RawEvent {
            entry_ns: ns - 5,
            exit_ns: ns + 5,
            pid: 7,
            comm,
            utmr_used,
            settime_flags: 1,
            ..examples::success()
        }
        .with_host_ids();
        let expires_ns = AHEAD + due_ns;
        self.lateness.call(
            &mut self.text,
            &raw,
            &Armed { ns, timer, clockid: 0, expires_ns, clock_offset_ns: AHEAD, suspended_ns: 0 },
        );
    }

    fn happens(&mut self, event: &Event) {
        self.lateness.of_life(&mut self.text, event);
    }

    fn fire(&mut self, timer: TimerId, ns: u64, due_ns: i64, step_ns: i64) {
        let (expires_ns, clock_offset_ns) = (AHEAD + due_ns, AHEAD + step_ns);
        let late_ns = ns.cast_signed() + clock_offset_ns - expires_ns;
        let event = "expiry".into();
        self.happens(&Event::Expiry(Expiry {
            event,
            ns,
            cpu: 0,
            timer,
            clockid: 0,
            expires_ns,
            clock_offset_ns,
            late_ns,
            suspended_ns: 0,
            inline: false,
        }));
    }

    fn close(&mut self, timer: TimerId, ns: u64) {
        let (event, comm) = ("release".into(), "prog".into());
        self.happens(&Event::Release(Release {
            event,
            ns,
            pid: 7,
            tid: 7,
            comm,
            cpu: 0,
            timer,
            host_pid: None,
            host_tid: None,
        }));
    }

    fn end(mut self, lost: u64) -> String {
        let lost = Lost { buffer: lost, ..Lost::default() };
        let summary = Summary {
            event: SUMMARY_EVENT.into(),
            reported: 7,
            lost,
            unknown: 0,
            unfinished: 0,
            blind: Vec::new(),
        };
        self.lateness.finish(&mut self.text, &summary);
        String::from_utf8(self.text).unwrap()
    }

    fn lines(self, lost: u64) -> Vec<Value> {
        let lines: Vec<Value> =
            self.end(lost).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            assert_eq!(complaints(line), [""; 0], "{line}");
        }
        lines
    }
}

/// A firing before the kernel has told timers that their clock was set, and others as late as their
/// clock says.
#[test]
fn what_came_of_setting_the_clock_is_told_apart() {
    let mut machine = Machine::new(Per::Timer, Report::Json);
    let day = 86_400 * SECOND;
    machine.arm(1, 1000, 600 * SECOND, b"prog");
    machine.arm(2, 2000, 90_000 * SECOND, b"prog");
    machine.fire(1, 5_000_000, 600 * SECOND, day);
    assert!(machine.text.is_empty(), "it is not certain yet");
    machine.happens(&Event::ClockSet { ns: 5_000_900 });
    machine.fire(2, 3_600_000_000_070, 90_000 * SECOND, day);
    let lines = machine.lines(0);
    let of = |event: &str, timer: u64| {
        lines.iter().find(|line| line["event"] == event && line["timer"] == timer).unwrap()
    };
    assert_eq!(
        (&of("firing", 1)["clock_set_ns"], &of("firing", 1)["was_past"]),
        (&day.into(), &false.into())
    );
    assert_eq!(
        (&of("firing", 2)["clock_set_ns"], &of("firing", 2)["handler_late_ns"]),
        (&0.into(), &70.into())
    );
    let [first, second] = [1, 2].map(|timer| of("lateness", timer));
    assert_eq!(
        (&first["clock_set"], &first["past"], &first["handler"]),
        (&1.into(), &0.into(), &Value::Null)
    );
    assert_eq!((&second["clock_set"], &second["handler"]["max_ns"]), (&0.into(), &70.into()));
    assert_eq!(lines.last().unwrap()["event"], "summary");
}

#[test]
fn a_timer_that_was_armed_before_is_of_who_is_told_of_it() {
    let mut machine = Machine::new(Per::Process, Report::Json);
    machine.fire(1, 1000, 900, 0);
    let (event, comm) = ("wakeup".into(), "waits".into());
    let wakeup = Wakeup {
        event,
        ns: 1100,
        pid: 42,
        tid: 43,
        comm,
        cpu: 0,
        timer: 1,
        by: By::Read,
        entry_ns: Some(None),
        ret: Some(8),
        errno: None,
        ticks: Some(Some(3)),
        host_pid: None,
        host_tid: None,
    };
    machine.happens(&Event::Wakeup(wakeup));
    machine.fire(2, 2000, 1900, 0);
    let lines = machine.lines(0);
    let rows: Vec<_> = lines.iter().filter(|line| line["event"] == "lateness").collect();
    assert_eq!(
        (&rows[0]["pid"], &rows[0]["comm"], &rows[0]["firings"]),
        (&Value::Null, &Value::Null, &1.into())
    );
    assert_eq!(
        (&rows[1]["pid"], &rows[1]["comm"], &rows[1]["firings"]),
        (&42.into(), &"waits".into(), &1.into())
    );
    assert_eq!((&rows[1]["overruns"], rows.len()), (&2.into(), 2));
}

#[test]
fn losses_are_said_and_make_what_should_have_fired_unknown() {
    let told = |report, lost| {
        let mut machine = Machine::new(Per::All, report);
        machine.arm(1, 1000, 2000, b"prog");
        machine.close(1, 9000);
        machine.arm(2, 10_000, 20_000, b"prog");
        machine.close(2, 11_000);
        machine.end(lost)
    };
    for (lost, disarmed, unknown) in [(0, 2, 0), (3, 1, 1)] {
        let text = told(Report::Json, lost);
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let (row, last) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!((&row["disarmed"], &row["unknown"]), (&disarmed.into(), &unknown.into()));
        assert_eq!(last["lost"]["buffer"], lost);
    }
    for report in [Report::Table, Report::Html] {
        assert!(told(report, 3).contains("3 events were lost"));
        assert!(!told(report, 0).contains("lost"));
    }
}

#[test]
fn many_timers_and_names_leave_little() {
    for per in [Per::Timer, Per::Process, Per::All] {
        let mut machine = Machine::new(per, Report::Json);
        for timer in 1..=200_000_u64 {
            let name = [
                b'n',
                0xff,
                b'\x1b',
                (timer >> 16) as u8 | 1,
                (timer >> 8) as u8 | 1,
                timer as u8 | 1,
            ];
            machine.arm(timer, timer * 10_000, 3_600_000 * SECOND, &name);
            machine.close(timer, timer * 10_000 + 5000);
            assert!(timer % 65_536 > 0 || machine.lateness.stories.iter().count() < 10_000);
        }
        let lines = machine.lines(0);
        assert!(lines.len() <= 4098, "{}", lines.len());
        let sum = |key: &str| lines.iter().filter_map(|line| line[key].as_u64()).sum::<u64>();
        assert_eq!((sum("armings"), sum("disarmed")), (200_000, 200_000));
        assert_eq!(
            lines.iter().filter(|line| line["others"] == true).count(),
            usize::from(per != Per::All)
        );
    }
}
