//! One timer's rules, each with what it allows and what it does not.

use settime32_abi::errno::ECANCELED;
use settime32_abi::plan::Clock;
use settime32_abi::timespec::{Itimerspec64, NSEC_PER_SEC, OldItimerspec32, Timespec64};

use super::timer::{Answer, Is, Now, Timer, to_timespec};
use crate::model::timer::Bounds;

const MS: i64 = 1_000_000;
const EAGAIN: i32 = 11;
const OFFSET: i64 = 1_795_000_000 * NSEC_PER_SEC;

/// A call at this time, which took 10 µs.
fn at(ns: i64) -> Now {
    let monotonic = Bounds::new(ns, ns + 10_000);
    Now { monotonic, realtime: Bounds::new(ns + OFFSET, ns + OFFSET + 10_000), realtime_peak: 0 }
}

fn setting(value: i64, interval: i64) -> Itimerspec64 {
    Itimerspec64 { it_interval: to_timespec(interval), it_value: to_timespec(value) }
}

fn armed(clock: Clock, flags: i32, value: i64, interval: i64, when: i64) -> Timer {
    let mut timer = Timer::new(clock);
    let set = timer.settime((flags, &setting(value, interval)), None, &at(when), &mut Vec::new());
    assert_eq!(set.ret, 0);
    timer
}

/// What is wrong with a read.
fn faults(timer: &Timer, blocking: bool, ret: i32, ticks: u64, when: i64) -> usize {
    let mut out = Vec::new();
    timer.clone().read(blocking, ret, ticks, &at(when), &mut out);
    out.len()
}

#[test]
fn nothing_is_read_before_its_time() {
    let timer = armed(Clock::Monotonic, 0, 10 * MS, 0, 100 * MS);
    assert_eq!(
        [faults(&timer, false, 8, 1, 109 * MS), faults(&timer, false, -EAGAIN, 0, 109 * MS)],
        [1, 0]
    );
    // Then only chance knows whether the handler ran; who waits gets something.
    assert_eq!(
        [faults(&timer, false, 8, 1, 111 * MS), faults(&timer, false, -EAGAIN, 0, 111 * MS)],
        [0, 0]
    );
    assert_eq!(
        [faults(&timer, true, 8, 1, 111 * MS), faults(&timer, true, -EAGAIN, 0, 111 * MS)],
        [0, 1]
    );
    assert_eq!(faults(&timer, true, 8, 2, 111 * MS), 1, "it fires once");
}

#[test]
fn what_a_wait_has_seen_is_there() {
    let mut timer = armed(Clock::Boottime, 0, 10 * MS, 0, 100 * MS);
    let mut out = Vec::new();
    assert_eq!(timer.waited(true, &at(109 * MS), &mut out), None);
    assert_eq!(out.len(), 1, "it is not due");
    assert_eq!(timer.waited(true, &at(112 * MS), &mut out), Some(Bounds::exactly(0)));
    assert_eq!((out.len(), timer.readable()), (1, Is::Yes));
    assert_eq!(
        [faults(&timer, false, 8, 1, 113 * MS), faults(&timer, false, -EAGAIN, 0, 113 * MS)],
        [0, 1]
    );
}

#[test]
fn ticks_are_the_periods_that_have_gone_by() {
    let mut timer = armed(Clock::Monotonic, 0, 10 * MS, 3 * MS, 100 * MS);
    // Due at 110, 113, 116 and 119.
    assert_eq!([3, 4, 5].map(|ticks| faults(&timer, true, 8, ticks, 119 * MS + MS / 2)), [1, 0, 1]);
    timer.read(true, 8, 4, &at(119 * MS + MS / 2), &mut Vec::new());
    // The next is at 122, whatever was late before.
    assert_eq!(
        [faults(&timer, false, 8, 1, 121 * MS), faults(&timer, false, 8, 1, 123 * MS)],
        [1, 0]
    );
    assert_eq!(faults(&timer, false, 8, 2, 123 * MS), 1);
}

#[test]
fn looks_count_periods_for_the_next_read() {
    let mut timer = armed(Clock::Monotonic, 0, 10 * MS, 3 * MS, 100 * MS);
    let mut out = Vec::new();
    // 2 ms are left of the period that ends at 119.
    let left = |left: i64| Answer::Whole(setting(left, 3 * MS));
    timer.gettime(left(2 * MS), &at(117 * MS), &mut out);
    assert!(out.is_empty() && timer.readable() == Is::Yes);
    assert_eq!([2, 3, 4].map(|ticks| faults(&timer, false, 8, ticks, 118 * MS)), [1, 0, 1]);
    timer.gettime(left(2 * MS + 20_000), &at(117 * MS), &mut out);
    timer.gettime(Answer::Whole(setting(MS, 4 * MS)), &at(118 * MS), &mut out);
    assert_eq!(out.len(), 2, "{out:?}");
}

#[test]
fn a_disarmed_timer_keeps_its_interval() {
    let mut timer = armed(Clock::Realtime, 0, 0, 5 * NSEC_PER_SEC, 100 * MS);
    let mut out = Vec::new();
    timer.gettime(Answer::Whole(setting(0, 5 * NSEC_PER_SEC)), &at(200 * MS), &mut out);
    assert!(out.is_empty(), "{out:?}");
    timer.gettime(Answer::Whole(setting(0, 0)), &at(200 * MS), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(faults(&timer, false, 8, 1, 60 * NSEC_PER_SEC), 1);
}

#[test]
fn a_setting_of_the_clock_is_told_once() {
    let far = OFFSET + 1000 * NSEC_PER_SEC;
    let mut timer = armed(Clock::Realtime, 3, far, 0, 100 * MS);
    timer.clock_was_set();
    assert_eq!(timer.readable(), Is::Yes);
    assert_eq!(
        [faults(&timer, true, -ECANCELED, 0, 101 * MS), faults(&timer, true, 8, 1, 101 * MS)],
        [0, 1]
    );
    timer.read(true, -ECANCELED, 0, &at(101 * MS), &mut Vec::new());
    assert_eq!(
        [
            faults(&timer, false, -ECANCELED, 0, 102 * MS),
            faults(&timer, false, -EAGAIN, 0, 102 * MS)
        ],
        [1, 0]
    );
    // A setting is told of it as well, and takes hold.
    timer.clock_was_set();
    let set = timer.settime((3, &setting(far, 0)), None, &at(103 * MS), &mut Vec::new());
    assert_eq!((set.ret, set.arming.is_some()), (-ECANCELED, true));
    let mut other = armed(Clock::Realtime, 1, far, 0, 100 * MS);
    other.clock_was_set();
    assert_eq!(other.readable(), Is::No, "nobody asked for it");
}

#[test]
fn what_was_cut_off_is_known() {
    let wide = Timespec64 { tv_sec: 1 << 33, tv_nsec: 5 };
    let mut timer = Timer::new(Clock::BoottimeAlarm);
    let new = Itimerspec64 {
        it_interval: Timespec64 { tv_sec: (1 << 32) + 7, tv_nsec: 0 },
        it_value: wide,
    };
    timer.settime((1, &new), None, &at(100 * MS), &mut Vec::new());
    let left = Timespec64 { tv_sec: (1 << 33) - 1, tv_nsec: 800_000_000 };
    let cut = OldItimerspec32 { it_interval: new.it_interval.cut(), it_value: left.cut() };
    let mut out = Vec::new();
    let told = timer.gettime(Answer::Cut(cut), &at(200 * MS), &mut out);
    assert_eq!(
        told,
        Some(Itimerspec64 { it_interval: new.it_interval, it_value: left }),
        "{out:?}"
    );
    let mut wrong = cut;
    wrong.it_value.tv_sec += 1;
    timer.gettime(Answer::Cut(wrong), &at(200 * MS), &mut out);
    assert_eq!(out.len(), 1);
}
