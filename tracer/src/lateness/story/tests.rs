use super::*;

fn arming(entry_ns: u64, value_ns: i64, interval_ns: i64) -> Arming {
    let comm = "prog".to_owned();
    let exit_ns = entry_ns + 10;
    Arming { entry_ns, exit_ns, pid: 7, comm, is_absolute: false, value_ns, interval_ns, suspended_ns: 0, fired: 0, first: None }
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

fn wakeup(ns: u64, by: By, ticks: Option<u64>) -> Wakeup {
    let ret = ticks.map(|_| 8);
    Wakeup {
        event: "wakeup".into(),
        ns,
        pid: 7,
        tid: 8,
        comm: "prog".into(),
        cpu: 0,
        timer: 1,
        by,
        entry_ns: None,
        ret,
        errno: None,
        ticks: ticks.map(Some),
        host_pid: None,
        host_tid: None,
    }
}

fn firings(story: &mut Story) -> Vec<Firing> {
    let told = story.take_told().into_iter();
    told.filter_map(|told| if let Told::Firing(firing) = told { Some(*firing) } else { None }).collect()
}

fn words(story: &mut Story) -> Vec<&'static str> {
    let told = story.take_told().into_iter();
    told.map(|told| match told {
        Told::Armed(..) => "armed",
        Told::Firing(_) => "fired",
        Told::Overrun(..) => "overrun",
        Told::Rearmed(..) => "rearmed",
        Told::Disarmed(..) => "disarmed",
        Told::Cancelled(..) => "cancelled",
    })
    .collect()
}

#[test]
fn a_firing_is_told_from_what_was_asked_for_to_who_was_told() {
    let mut story = Story::new(1);
    story.armed(arming(100, 1000, 0));
    story.expired(&expiry(1105, 20));
    story.woke(&wakeup(1150, By::EpollWait, None));
    story.woke(&wakeup(1180, By::Read, Some(1)));
    story.released();
    let [firing] = firings(&mut story).try_into().unwrap();
    assert_eq!((firing.armed_ns, firing.requested_ns, firing.expires_ns), (Some(100), Some(1100), 1105));
    assert_eq!((firing.handler_ns, firing.handler_late_ns), (1125, 20));
    assert_eq!((firing.waiter_ns, firing.waiter_late_ns, firing.waiter_tid), (Some(1150), Some(45), Some(8)));
    assert_eq!((firing.by, firing.ticks), (Some(By::EpollWait), Some(1)));
    assert!(!firing.was_past && !firing.is_early);
}

#[test]
fn what_is_before_its_time_is_an_anomaly() {
    let early = |expires_ns, late_ns| {
        let mut story = Story::new(1);
        story.armed(arming(100, 1000, 0));
        story.expired(&expiry(expires_ns, late_ns));
        story.ended();
        firings(&mut story)[0].is_early
    };
    assert!(!early(1100, 0));
    assert!(early(1100, -1), "the handler ran before the timer was due");
    assert!(early(1099, 5), "it was due before it was asked for");
}

#[test]
fn later_expiries_of_a_period_are_asked_for_at_its_multiples() {
    let mut story = Story::new(1);
    story.armed(arming(100, 1000, 50));
    story.expired(&expiry(1103, 1));
    story.woke(&wakeup(1300, By::Read, Some(4)));
    story.expired(&expiry(1303, 2));
    story.ended();
    let told = firings(&mut story);
    assert_eq!(told.iter().map(|firing| firing.requested_ns).collect::<Vec<_>>(), [Some(1100), Some(1300)]);
    assert_eq!(told[0].ticks, Some(4));
}

#[test]
fn an_expiry_that_overtakes_its_call_belongs_to_it() {
    let mut story = Story::new(1);
    story.armed(arming(100, 1_000_000, 0));
    let mut second = arming(500, 5, 0);
    second.exit_ns = 600;
    story.expired(&expiry(510, 20));
    story.woke(&wakeup(540, By::Read, Some(1)));
    story.armed(second);
    assert_eq!(words(&mut story), ["armed", "rearmed", "armed"], "the first did not fire");
    story.released();
    let [firing] = firings(&mut story).try_into().unwrap();
    assert_eq!((firing.armed_ns, firing.requested_ns, firing.waiter_ns), (Some(500), Some(505), Some(540)));
}

#[test]
fn an_expiry_that_overtakes_its_call_is_none_of_the_setting_before() {
    let told = |interval_ns| {
        let mut story = Story::new(1);
        story.armed(arming(100, 50, interval_ns));
        story.expired(&expiry(155, 3));
        story.woke(&wakeup(160, By::Read, Some(1)));
        story.expired(&expiry(510, 2));
        story.armed(Arming { exit_ns: 600, ..arming(500, 5, 0) });
        story.ended();
        words(&mut story)
    };
    assert_eq!(told(0), ["armed", "fired", "armed", "fired"]);
    assert_eq!(told(1_000_000), ["armed", "fired", "armed", "fired"]);
}

#[test]
fn an_expiry_of_the_setting_before_stays_its() {
    let mut story = Story::new(1);
    story.armed(arming(100, 400, 0));
    story.expired(&expiry(505, 2));
    let mut second = arming(502, 1000, 0);
    second.exit_ns = 600;
    story.armed(second);
    let [firing] = firings(&mut story).try_into().unwrap();
    assert_eq!(firing.armed_ns, Some(100));
}

#[test]
fn what_does_not_fire_is_told_apart() {
    let mut story = Story::new(1);
    story.armed(arming(100, 1000, 0));
    story.armed(arming(200, 1000, 0));
    story.armed(arming(300, 0, 50));
    story.armed(arming(400, 1000, 0));
    story.cancelled();
    story.released();
    assert_eq!(words(&mut story), ["armed", "rearmed", "armed", "disarmed", "armed", "cancelled", "disarmed"]);
}

#[test]
fn overruns_are_what_a_read_told_beyond_one() {
    let mut story = Story::new(1);
    story.armed(arming(100, 1000, 10));
    story.expired(&expiry(1103, 1));
    story.take_told();
    story.woke(&wakeup(1200, By::Read, Some(1)));
    assert!(story.take_told().is_empty());
    story.woke(&wakeup(1300, By::Read, Some(5)));
    assert!(matches!(story.take_told()[..], [Told::Overrun(7, _, 4)]));
}

#[test]
fn what_was_due_already_and_what_was_slept_through_is_marked() {
    let mut story = Story::new(1);
    story.armed(Arming { is_absolute: true, value_ns: 50, ..arming(100, 50, 0) });
    story.expired(&expiry(50, 70));
    story.armed(Arming { suspended_ns: 5, ..arming(200, 1000, 0) });
    story.expired(&Expiry { suspended_ns: 2_000_000_005, ..expiry(1205, 3_000_000_000) });
    story.ended();
    let told = firings(&mut story);
    assert_eq!(told.iter().map(|firing| (firing.was_past, firing.slept_ns)).collect::<Vec<_>>(), [(true, 0), (false, 2_000_000_000)]);
}

#[test]
fn one_that_was_armed_before_tracing_has_no_request() {
    let mut story = Story::new(1);
    story.expired(&expiry(1000, 5));
    story.ended();
    let [firing] = firings(&mut story).try_into().unwrap();
    assert_eq!((firing.pid, firing.requested_ns, firing.handler_late_ns), (None, None, 5));
}

#[test]
fn a_setting_without_a_period_fires_once() {
    let mut story = Story::new(1);
    story.armed(arming(100, 50, 0));
    story.expired(&expiry(155, 3));
    story.expired(&expiry(510, 2));
    story.ended();
    let pids: Vec<Option<u32>> = firings(&mut story).iter().map(|firing| firing.pid).collect();
    assert_eq!(pids, [Some(7), None], "the call that armed it again was lost");
}

/// Read, it is started again, and is due before the read returns.
#[test]
fn a_read_tells_of_the_expiry_that_it_began_with() {
    let mut story = Story::new(1);
    story.armed(arming(100, 1000, 50));
    story.expired(&expiry(1103, 1));
    story.woke(&wakeup(1300, By::EpollWait, None));
    story.expired(&expiry(1353, 2));
    story.woke(&Wakeup { entry_ns: Some(Some(1340)), ..wakeup(1360, By::Read, Some(5)) });
    story.woke(&Wakeup { entry_ns: Some(Some(1400)), ..wakeup(1410, By::Read, Some(2)) });
    story.ended();
    assert_eq!(firings(&mut story).iter().map(|firing| firing.ticks).collect::<Vec<_>>(), [Some(5), Some(2)]);
}
