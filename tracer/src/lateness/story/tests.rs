use proptest::prelude::*;
use settime32_abi::lifecycle::By;
use settime32_abi::timespec::{Itimerspec64, Timespec64};

use super::super::clock::Cause;
use super::super::firing::Line;
use super::*;
use crate::words::ABSTIME;

/// What is told, in words.
fn words(story: &mut Story) -> Vec<&'static str> {
    let word = |(_, turn): Tale| match turn {
        Turn::Armed => "armed",
        Turn::Fired(_) => "fired",
        Turn::Overrun(_) => "overrun",
        Turn::Rearmed { .. } => "rearmed",
        Turn::Disarmed { .. } => "disarmed",
        Turn::Unknown => "unknown",
        Turn::Cancelled => "cancelled",
    };
    story.take_tales().into_iter().map(word).collect()
}

fn lines(story: &mut Story) -> Vec<Line> {
    let tales = story.take_tales().into_iter();
    tales
        .filter_map(|(_, turn)| {
            if let Turn::Fired(firing) = turn { Some(firing.line(Cause::None)) } else { None }
        })
        .collect()
}

fn owner(pid: u32, comm: &str) -> Rc<Owner> {
    Rc::new(Owner { pid, host_pid: None, comm: comm.into() })
}

/// A call in a test, by numbers of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy)]
struct Sets {
    entry_ns: u64,
    armed_ns: u64,
    value_ns: i64,
    interval_ns: i64,
    flags: i32,
    expires_ns: i64,
    offset_ns: i64,
}

impl Sets {
    fn tell(self, story: &mut Story) {
        let time = |ns| Timespec64 { tv_sec: 0, tv_nsec: ns };
        let times = Some(Itimerspec64 {
            it_interval: time(self.interval_ns),
            it_value: time(self.value_ns),
        });
        let setting = Setting { entry_ns: self.entry_ns, times, flags: self.flags };
        story.set(&setting, &self.armed(), &owner(7, "prog"));
    }

    fn armed(self) -> Armed {
        let Self { armed_ns: ns, expires_ns, offset_ns: clock_offset_ns, .. } = self;
        Armed { ns, timer: 1, clockid: 1, expires_ns, clock_offset_ns, suspended_ns: 0 }
    }
}

/// Sets for a time from now; the kernel took the time 3 ns after the call began, which returned 10
/// ns after it had.
fn sets(entry_ns: u64, value_ns: i64, interval_ns: i64) -> Sets {
    let expires_ns = entry_ns.cast_signed() + 3 + value_ns;
    Sets {
        entry_ns,
        armed_ns: entry_ns + 8,
        value_ns,
        interval_ns,
        flags: 0,
        expires_ns,
        offset_ns: 0,
    }
}

fn sets_for(entry_ns: u64, expires_ns: i64) -> Sets {
    Sets { flags: ABSTIME, expires_ns, ..sets(entry_ns, expires_ns, 0) }
}

fn expiry(expires_ns: i64, late_ns: i64) -> Expiry {
    Expiry {
        event: "expiry".into(),
        ns: (expires_ns + late_ns).unsigned_abs(),
        cpu: 0,
        timer: 1,
        clockid: 1,
        expires_ns,
        clock_offset_ns: 0,
        late_ns,
        suspended_ns: 0,
        inline: false,
    }
}

fn wakeup(ns: u64, by: By) -> Wakeup {
    Wakeup {
        event: "wakeup".into(),
        ns,
        pid: 9,
        tid: 8,
        comm: "waits".into(),
        cpu: 0,
        timer: 1,
        by,
        entry_ns: None,
        ret: None,
        errno: None,
        ticks: None,
        host_pid: None,
        host_tid: None,
    }
}

fn read(entry_ns: u64, ns: u64, ticks: u64) -> Wakeup {
    Wakeup {
        entry_ns: Some(Some(entry_ns)),
        ret: Some(8),
        ticks: Some(Some(ticks)),
        ..wakeup(ns, By::Read)
    }
}

fn wakes(story: &mut Story, wakeup: &Wakeup) {
    story.woke(wakeup, &owner(wakeup.pid, &wakeup.comm));
}

#[test]
fn a_firing_is_told_from_what_was_asked_for_to_who_was_told() {
    let mut story = Story::new(1);
    sets(100, 1000, 0).tell(&mut story);
    story.expired(&expiry(1103, 20));
    wakes(&mut story, &wakeup(1150, By::EpollWait));
    wakes(&mut story, &read(1170, 1180, 1));
    story.released(2000);
    let [line] = lines(&mut story).try_into().unwrap();
    assert_eq!((line.armed_ns, line.requested_ns, line.expires_ns), (Some(100), Some(1100), 1103));
    assert_eq!((line.handler_ns, line.handler_late_ns), (1123, 20));
    assert_eq!(
        (line.waiter_ns, line.waiter_late_ns, line.waiter_tid),
        (Some(1150), Some(47), Some(8))
    );
    assert_eq!((line.by, line.ticks, line.pid), (Some(By::EpollWait), Some(1), Some(7)));
    assert_eq!((line.was_past, line.is_early), (Some(false), false));
}

#[test]
fn only_what_the_kernel_fires_before_its_time_is_early() {
    let early = |late_ns| {
        let mut story = Story::new(1);
        sets(100, 1000, 0).tell(&mut story);
        story.expired(&expiry(1103, late_ns));
        story.ended();
        lines(&mut story)[0].is_early
    };
    assert!(!early(0) && early(-1));
}

/// The kernel holds in its own terms what was asked for in those of a time namespace.
#[test]
fn what_is_absolute_is_asked_for_when_the_kernel_holds_it() {
    for namespace_ns in [86_400_000_000_000, -900] {
        let mut story = Story::new(1);
        Sets { value_ns: 1500 + namespace_ns, ..sets_for(1000, 1500) }.tell(&mut story);
        story.expired(&expiry(1500, 20));
        story.ended();
        let [line] = lines(&mut story).try_into().unwrap();
        assert_eq!(
            (line.requested_ns, line.was_past, line.is_early),
            (Some(1500), Some(false), false),
            "{namespace_ns}"
        );
    }
}

#[test]
fn what_was_due_before_the_call_is_past_by_the_clock_as_it_was() {
    let was_past = |expires_ns, offset_ns: i64| {
        let mut story = Story::new(1);
        Sets { offset_ns, ..sets_for(100, expires_ns + offset_ns) }.tell(&mut story);
        // By now the clock is a day ahead.
        let day = 86_400_000_000_000;
        let expires_ns = expires_ns + offset_ns;
        story.expired(&Expiry {
            ns: 200,
            clock_offset_ns: offset_ns + day,
            late_ns: day,
            ..expiry(expires_ns, 0)
        });
        story.ended();
        lines(&mut story)[0].was_past
    };
    for offset_ns in [0, 1_000_000] {
        assert_eq!(
            [99, 100, 101, 5000].map(|due_ns| was_past(due_ns, offset_ns)),
            [true, true, false, false].map(Some)
        );
    }
}

#[test]
fn later_expiries_of_a_period_are_asked_for_at_its_multiples() {
    let mut story = Story::new(1);
    sets(100, 1000, 50).tell(&mut story);
    story.expired(&expiry(1103, 1));
    wakes(&mut story, &read(1290, 1300, 4));
    story.expired(&expiry(1303, 2));
    story.ended();
    let lines = lines(&mut story);
    assert_eq!(
        lines.iter().map(|line| line.requested_ns).collect::<Vec<_>>(),
        [Some(1100), Some(1300)]
    );
    assert_eq!(lines[0].ticks, Some(4));
}

#[test]
fn an_expiry_that_overtakes_its_call_belongs_to_it() {
    let mut story = Story::new(1);
    sets(100, 1_000_000, 0).tell(&mut story);
    story.expired(&expiry(504, 20));
    wakes(&mut story, &read(530, 540, 1));
    sets(500, 1, 0).tell(&mut story);
    assert_eq!(words(&mut story), ["armed", "armed", "rearmed"], "the first did not fire");
    story.released(900);
    let [line] = lines(&mut story).try_into().unwrap();
    assert_eq!(
        (line.armed_ns, line.requested_ns, line.waiter_ns),
        (Some(500), Some(501), Some(540))
    );
}

/// The kernel may have fired before the very first call returns, as of a timer of 1 ns.
#[test]
fn an_expiry_that_overtakes_the_first_call_belongs_to_it() {
    let mut story = Story::new(1);
    story.expired(&expiry(104, 1));
    sets(100, 1, 0).tell(&mut story);
    wakes(&mut story, &read(110, 120, 1));
    story.released(130);
    assert_eq!(words(&mut story), ["armed", "fired"]);
}

#[test]
fn settings_that_follow_each_other_within_nanoseconds_each_have_their_expiry() {
    let mut story = Story::new(1);
    let mut told = Vec::new();
    for nth in 0..1000 {
        story.expired(&expiry(nth * 20 + 4, 2));
        sets(nth.unsigned_abs() * 20, 1, 0).tell(&mut story);
        told.extend(story.take_tales());
    }
    story.released(20_000);
    told.extend(story.take_tales());
    let fired: Vec<_> = told
        .iter()
        .filter_map(|(_, turn)| if let Turn::Fired(firing) = turn { Some(firing) } else { None })
        .collect();
    assert!(
        fired.iter().enumerate().all(|(nth, firing)| firing.armed_ns() == Some(nth as u64 * 20))
    );
    assert_eq!((fired.len(), told.len()), (1000, 2000), "nothing else");
}

#[test]
fn an_expiry_that_overtakes_its_call_is_none_of_the_setting_before() {
    for interval_ns in [0, 1_000_000] {
        let mut story = Story::new(1);
        sets(100, 50, interval_ns).tell(&mut story);
        story.expired(&expiry(153, 3));
        wakes(&mut story, &read(155, 160, 1));
        story.expired(&expiry(504, 2));
        sets(500, 1, 0).tell(&mut story);
        story.ended();
        assert_eq!(words(&mut story), ["armed", "fired", "armed", "fired"], "{interval_ns}");
    }
}

/// For the same time, and both are past.
#[test]
fn settings_that_are_due_at_once_have_each_its_expiry() {
    for both in [true, false] {
        let mut story = Story::new(1);
        sets_for(100, 50).tell(&mut story);
        if both {
            story.expired(&expiry(50, 60));
        }
        story.expired(&expiry(50, 160));
        sets_for(200, 50).tell(&mut story);
        story.ended();
        let told = story.take_tales();
        let last = told.iter().rev().find_map(|(_, turn)| {
            if let Turn::Fired(firing) = turn { Some(firing.armed_ns()) } else { None }
        });
        assert_eq!((told.len(), last), (4, Some(Some(200))));
        assert_eq!(told.iter().any(|(_, turn)| matches!(turn, Turn::Rearmed { .. })), !both);
    }
}

#[test]
fn an_expiry_of_the_setting_before_stays_its() {
    let mut story = Story::new(1);
    sets(100, 400, 0).tell(&mut story);
    story.expired(&expiry(503, 4));
    sets(502, 1000, 0).tell(&mut story);
    story.ended();
    assert_eq!(lines(&mut story)[0].armed_ns, Some(100));
}

/// Two threads set it; the one whose call was first returns last.
#[test]
fn calls_may_return_in_another_order_than_they_set() {
    let mut story = Story::new(1);
    Sets { armed_ns: 150, ..sets(110, 500, 0) }.tell(&mut story);
    sets(100, 400, 0).tell(&mut story);
    story.expired(&expiry(613, 1));
    story.released(700);
    assert_eq!(words(&mut story), ["armed", "armed", "rearmed", "fired"]);
}

/// Another thread reads it, so that it goes on before the call that armed it has returned.
#[test]
fn a_period_may_go_on_before_its_call_returns() {
    let mut story = Story::new(1);
    story.expired(&expiry(113, 1));
    wakes(&mut story, &read(90, 116, 1));
    story.expired(&expiry(123, 1));
    wakes(&mut story, &read(118, 126, 1));
    Sets { armed_ns: 128, expires_ns: 133, ..sets(100, 10, 10) }.tell(&mut story);
    story.expired(&expiry(133, 1));
    story.ended();
    let lines = lines(&mut story);
    assert_eq!(
        lines.iter().map(|line| line.requested_ns).collect::<Vec<_>>(),
        [Some(110), Some(120), Some(130)]
    );
}

#[test]
fn what_does_not_fire_is_told_apart() {
    let mut story = Story::new(1);
    sets(100, 1000, 0).tell(&mut story);
    sets(200, 1000, 0).tell(&mut story);
    sets(300, 0, 50).tell(&mut story);
    sets(400, 1000, 0).tell(&mut story);
    story.cancelled();
    story.released(900);
    assert_eq!(
        words(&mut story),
        ["armed", "armed", "rearmed", "disarmed", "armed", "cancelled", "disarmed"]
    );
}

#[test]
fn overruns_are_what_a_read_told_beyond_one_and_ticks_that_were_set_are_none() {
    let overruns = |story: &mut Story| {
        let of = |(_, turn)| if let Turn::Overrun(more) = turn { Some(more) } else { None };
        story.take_tales().into_iter().filter_map(of).collect::<Vec<_>>()
    };
    let mut story = Story::new(1);
    sets(100, 1000, 10).tell(&mut story);
    story.expired(&expiry(1103, 1));
    wakes(&mut story, &read(1190, 1200, 1));
    wakes(&mut story, &Wakeup { ticks: Some(None), ..read(1210, 1220, 1) });
    assert_eq!(overruns(&mut story), [0_u64; 0]);
    wakes(&mut story, &read(1290, 1300, 5));
    assert_eq!(overruns(&mut story), [4]);
    story.ticks_set();
    wakes(&mut story, &read(1390, 1400, 5));
    assert_eq!(overruns(&mut story), [0_u64; 0]);
    wakes(&mut story, &read(1490, 1500, 3));
    assert_eq!(overruns(&mut story), [2]);
    story.ticks_set();
    story.released(1600);
    assert!(!words(&mut story).contains(&"unknown"));
}

#[test]
fn ticks_that_were_set_show_of_no_expiry_that_was_lost() {
    let mut story = Story::new(1);
    sets(100, 100_000, 0).tell(&mut story);
    story.ticks_set();
    wakes(&mut story, &wakeup(200, By::Poll));
    wakes(&mut story, &read(290, 300, 5));
    story.released(400);
    assert_eq!(words(&mut story), ["armed", "disarmed"]);
}

/// A periodic timer that was running, and a thread that was waiting.
#[test]
fn attaching_leaves_no_wait_a_period_late() {
    let mut story = Story::new(1);
    for nth in 1..10 {
        let due = nth * 1_000_000;
        story.expired(&expiry(due, 5));
        let now = due.unsigned_abs();
        // The read of the first one was not seen.
        if nth > 1 {
            wakes(&mut story, &read(now - 900_000, now + 30, 1));
        }
    }
    story.ended();
    let lines = lines(&mut story);
    assert_eq!(
        lines.iter().map(|line| line.waiter_late_ns).collect::<Vec<_>>(),
        [[None].as_slice(), &[Some(30); 8]].concat()
    );
    let owners: Vec<_> = lines.iter().map(|line| (line.pid, line.comm.as_deref())).collect();
    assert_eq!(owners, [(Some(9), Some("waits")); 9], "it is of who reads it");
    assert!(
        lines
            .iter()
            .all(|line| (line.armed_ns, line.requested_ns, line.was_past) == (None, None, None))
    );
}

/// The reads of a timer are seen later than its expiries, as the one is attached after the other.
#[test]
fn what_came_before_anybody_was_seen_to_read_is_of_who_reads_then() {
    let mut story = Story::new(1);
    (1..6).for_each(|nth| story.expired(&expiry(nth * 1_000_000_000, 5)));
    wakes(&mut story, &read(4_100_000_000, 5_000_000_030, 1));
    story.ended();
    let lines = lines(&mut story);
    assert!(lines.iter().all(|line| line.pid == Some(9)), "{lines:?}");
    assert_eq!(lines.iter().filter_map(|line| line.waiter_ns).collect::<Vec<_>>(), [5_000_000_030]);
}

#[test]
fn a_read_that_is_lost_leaves_no_wait_a_period_late() {
    let mut story = Story::new(1);
    sets(100, 1_000_000, 1_000_000).tell(&mut story);
    for nth in 1..10 {
        let now = nth * 1_000_000 + 103;
        story.expired(&expiry(now, 5));
        let now = now.unsigned_abs();
        if nth != 4 {
            wakes(&mut story, &read(now - 900_000, now + 30, 1));
        }
    }
    story.ended();
    let late: Vec<_> = lines(&mut story).iter().map(|line| line.waiter_late_ns).collect();
    assert!(late.iter().enumerate().all(|(at, late)| *late == (at != 3).then_some(30)), "{late:?}");
}

/// Read, it is started again, and is due before the read returns.
#[test]
fn a_read_that_tells_of_too_much_for_the_newest_is_of_the_one_before() {
    let mut story = Story::new(1);
    sets(100, 1000, 50).tell(&mut story);
    story.expired(&expiry(1103, 1));
    wakes(&mut story, &wakeup(1300, By::EpollWait));
    story.expired(&expiry(1353, 2));
    wakes(&mut story, &read(1340, 1360, 5));
    wakes(&mut story, &read(1400, 1410, 2));
    story.ended();
    assert_eq!(
        lines(&mut story).iter().map(|line| line.ticks).collect::<Vec<_>>(),
        [Some(5), Some(2)]
    );
}

#[test]
fn a_read_that_the_next_expiry_overtook_is_put_right_by_the_read_after_it() {
    let mut story = Story::new(1);
    sets(100, 1000, 50).tell(&mut story);
    story.expired(&expiry(1103, 1));
    story.expired(&expiry(1153, 1));
    wakes(&mut story, &read(1140, 1160, 1));
    wakes(&mut story, &read(1165, 1170, 1));
    story.ended();
    assert_eq!(
        lines(&mut story).iter().map(|line| line.waiter_ns).collect::<Vec<_>>(),
        [Some(1160), Some(1170)]
    );
}

#[test]
fn one_that_nobody_is_told_of_is_nobodys() {
    let mut story = Story::new(1);
    story.expired(&expiry(1000, 5));
    story.ended();
    let [line] = lines(&mut story).try_into().unwrap();
    assert_eq!(
        (line.pid, line.comm, line.requested_ns, line.handler_late_ns),
        (None, None, None, 5)
    );
}

/// An expiry that is due at no time that is known is of a call that was lost, and of nobody known.
#[test]
fn a_setting_that_was_lost_makes_what_it_replaced_unknown() {
    for released in [true, false] {
        let mut story = Story::new(1);
        sets(100, 50, 0).tell(&mut story);
        story.expired(&expiry(153, 3));
        sets(200, 1000, 0).tell(&mut story);
        story.expired(&expiry(510, 2));
        if released {
            story.released(5000);
        } else {
            sets(5000, 1000, 0).tell(&mut story);
            story.ended();
        }
        let tales = story.take_tales();
        let fired: Vec<_> = tales
            .iter()
            .filter_map(
                |(_, turn)| if let Turn::Fired(firing) = turn { Some(firing) } else { None },
            )
            .collect();
        assert_eq!(
            fired.iter().map(|firing| (firing.armed_ns(), firing.is_of_lost)).collect::<Vec<_>>(),
            [(Some(100), false), (None, true)]
        );
        assert!(tales.iter().any(|(_, turn)| matches!(turn, Turn::Unknown)), "{tales:?}");
        assert!(
            !tales
                .iter()
                .any(|(_, turn)| matches!(turn, Turn::Rearmed { .. } | Turn::Disarmed { .. })),
            "{tales:?}"
        );
    }
}

#[test]
fn an_expiry_that_was_lost_makes_its_setting_unknown() {
    let told = |wakeup: Option<&Wakeup>, released_ns| {
        let mut story = Story::new(1);
        sets(100, 50, 0).tell(&mut story);
        wakeup.into_iter().for_each(|wakeup| wakes(&mut story, wakeup));
        story.released(released_ns);
        story.take_tales().pop().unwrap().1
    };
    assert!(matches!(told(Some(&read(160, 170, 1)), 180), Turn::Unknown));
    assert!(matches!(told(Some(&wakeup(160, By::Poll)), 180), Turn::Unknown));
    assert!(
        matches!(told(Some(&read(90, 105, 1)), 120), Turn::Disarmed { was_due: false }),
        "it told of what was before"
    );
    assert!(matches!(told(None, 180), Turn::Disarmed { was_due: true }), "it should have fired");
}

#[test]
fn a_story_that_there_is_no_room_for_ends_unknown() {
    let mut story = Story::new(1);
    sets(100, 50, 0).tell(&mut story);
    story.forgotten();
    assert_eq!(words(&mut story), ["armed", "unknown"]);
}

#[test]
fn a_setting_that_was_not_seen_whole_makes_the_one_before_unknown() {
    let mut story = Story::new(1);
    sets(100, 5000, 0).tell(&mut story);
    let setting = Setting { entry_ns: 200, times: None, flags: 0 };
    story.set(&setting, &sets(200, 10, 0).armed(), &owner(7, "prog"));
    assert_eq!(words(&mut story), ["armed", "unknown"]);
}

proptest! {
    /// A timer's life with each record where it may come: nothing is told twice, and each firing is
    /// of its arming.
    #[test]
    fn each_setting_is_told_once(steps in proptest::collection::vec((0_u8..4, any::<bool>()), 1..60)) {
        let mut story = Story::new(1);
        let (mut now, mut settings, mut fires, mut told) = (1000_u64, 0, 0, Vec::new());
        for (kind, overtakes) in steps {
            now += 100;
            match kind {
                0 => {
                    let sets = sets(now, 10, 0);
                    settings += 1;
                    fires += 1;
                    if overtakes {
                        story.expired(&expiry(sets.expires_ns, 5));
                        Sets { armed_ns: now + 25, ..sets }.tell(&mut story);
                    } else {
                        sets.tell(&mut story);
                        story.expired(&expiry(sets.expires_ns, 5));
                    }
                }
                1 => {
                    settings += 1;
                    sets(now, 1_000_000_000, 0).tell(&mut story);
                }
                2 => sets(now, 0, 0).tell(&mut story),
                _ => wakes(&mut story, &read(now, now + 9, 1)),
            }
            told.extend(story.take_tales());
        }
        story.released(now + 50);
        told.extend(story.take_tales());
        let count = |is: fn(&Turn) -> bool| told.iter().filter(|(_, turn)| is(turn)).count();
        prop_assert_eq!(count(|turn| matches!(turn, Turn::Armed)), settings);
        prop_assert_eq!(count(|turn| matches!(turn, Turn::Fired(firing) if firing.armed_ns().is_some())), fires);
        prop_assert_eq!(count(|turn| matches!(turn, Turn::Fired(_))), fires);
        let others = count(|turn| matches!(turn, Turn::Rearmed { .. } | Turn::Disarmed { .. } | Turn::Unknown));
        prop_assert_eq!(fires + others, settings);
    }
}
