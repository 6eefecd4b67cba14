//! Timers whose clock is another's, or is set while they run.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::libc;
use settime32_abi::plan::Clock;

use super::timer::{Timer, me, now_ns};
use super::{Told, number};
use crate::process::{KernelTimespec, checked, machine};

const SECOND_NS: i64 = 1_000_000_000;
const DAY_NS: i64 = 86_400 * SECOND_NS;

/// `TFD_IOC_SET_TICKS` of `include/uapi/linux/timerfd.h`; i386 has no entry for it.
const SET_TICKS: u32 = 0x4008_5400;

/// A timer of CLOCK_MONOTONIC for a time that is so many milliseconds ahead, and one for as long
/// from now on.
pub(super) fn absolute(told: &mut Told, arguments: &[String]) -> Result<()> {
    let ahead_ns = number::<i64>(arguments, 0)? * 1_000_000;
    for is_absolute in [true, false] {
        let timer = Timer::new(Clock::Monotonic)?;
        let due = now_ns(Clock::Monotonic)? + ahead_ns;
        if is_absolute { timer.arm_at(due, 0) } else { timer.arm(ahead_ns, 0) }?;
        let ticks = timer.read()?;
        let after = now_ns(Clock::Monotonic)?;
        told.say(&format!(
            "fired {} absolute={is_absolute} ticks={ticks} late={}",
            me(),
            after - due
        ))?;
    }
    Ok(())
}

/// A timer for a time of CLOCK_REALTIME, which is set meanwhile and set right again at the end.
pub(super) fn step(told: &mut Told, arguments: &[String]) -> Result<()> {
    let kind = arguments.first().context("failed to find the kind of step")?;
    // How far ahead it is due, its interval, by how much the clock is set forward, and how long
    // after the arming.
    let (ahead_ns, interval_ns, by_ns, rest_ns): (_, _, _, i64) = match kind.as_str() {
        "past" => (600 * SECOND_NS, 0, DAY_NS, 0),
        // By the clock as it is set, the time had not come when the timer was armed, and has when
        // the clock is set.
        "just-past" => (600 * SECOND_NS, 0, 600 * SECOND_NS - SECOND_NS / 10, 3 * SECOND_NS / 10),
        "not-past" => (600 * SECOND_NS, 0, 599 * SECOND_NS + SECOND_NS / 2, 0),
        "back" => (SECOND_NS / 10, 0, -SECOND_NS / 2, 0),
        "periodic" => (600 * SECOND_NS, 10 * SECOND_NS, DAY_NS, 0),
        _ => bail!("failed to find the kind of step {kind}"),
    };
    let timer = Timer::new(Clock::Realtime)?;
    // First it goes off by the clock as it is.
    let due = now_ns(Clock::Realtime)? + SECOND_NS / 100;
    timer.arm_at(due, 0)?;
    timer.read()?;
    let first_late = now_ns(Clock::Realtime)? - due;
    let due = now_ns(Clock::Realtime)? + ahead_ns;
    timer.arm_at(due, interval_ns)?;
    thread::sleep(Duration::from_nanos(rest_ns.unsigned_abs()));
    set_by(by_ns)?;
    let set = now_ns(Clock::Monotonic)?;
    let ticks = timer.read()?;
    let (after, read) = (now_ns(Clock::Realtime)?, now_ns(Clock::Monotonic)?);
    drop(timer);
    set_by(-by_ns)?;
    let (late, waited) = (after - due, read - set);
    told.say(&format!(
        "stepped {} kind={kind} ticks={ticks} first={first_late} late={late} waited={waited}",
        me()
    ))
}

/// Sets CLOCK_REALTIME forward by so much.
fn set_by(by_ns: i64) -> Result<()> {
    let to = now_ns(Clock::Realtime)? + by_ns;
    let to = KernelTimespec { tv_sec: to.div_euclid(SECOND_NS), tv_nsec: to.rem_euclid(SECOND_NS) };
    // SAFETY: the call reads one `__kernel_timespec`.
    let set = unsafe {
        checked(
            machine::number::CLOCK_SETTIME,
            [Clock::Realtime.id() as usize, &raw const to as usize, 0, 0],
        )
    };
    set.map(drop).context("failed to set CLOCK_REALTIME")
}

/// A timer that never goes off is given so many ticks, which are read.
pub(super) fn set_ticks(told: &mut Told, arguments: &[String]) -> Result<()> {
    let ticks = number::<u64>(arguments, 0)?;
    let timer = Timer::new(Clock::Monotonic)?;
    timer.arm(3600 * SECOND_NS, 0)?;
    // SAFETY: the call reads eight bytes.
    unsafe {
        checked(
            libc::SYS_ioctl as u32,
            [timer.fd() as usize, SET_TICKS as usize, &raw const ticks as usize, 0],
        )
    }
    .context("failed to set a timer's ticks")?;
    told.say(&format!("set-ticks {} ticks={}", me(), timer.read()?))
}

/// One timer goes off before the machine sleeps and after it; two others run meanwhile, one of
/// which counts the sleep in.
pub(super) fn suspend(told: &mut Told, _: &[String]) -> Result<()> {
    const SHORT_NS: i64 = 50_000_000;
    // Longer than it takes to fall asleep.
    const LONG_NS: i64 = 1_500_000_000;
    const WAKE_ALARM: &str = "/sys/class/rtc/rtc0/wakealarm";
    let first = Timer::new(Clock::Monotonic)?;
    first.arm(SHORT_NS, 0)?;
    first.read()?;
    told.say(&clocks_apart()?)?;
    let others = [Timer::new(Clock::Monotonic)?, Timer::new(Clock::Boottime)?];
    others.iter().try_for_each(|timer| timer.arm(LONG_NS, 0))?;
    for (file, word) in [(WAKE_ALARM, "0"), (WAKE_ALARM, "+3"), ("/sys/power/state", "mem")] {
        fs::write(file, word).with_context(|| format!("failed to write {word} to {file}"))?;
    }
    others.iter().try_for_each(|timer| timer.read().map(drop))?;
    first.arm(SHORT_NS, 0)?;
    first.read()?;
    told.say(&clocks_apart()?)
}

/// How far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, at least and at most, nanoseconds.
fn clocks_apart() -> Result<String> {
    let before = now_ns(Clock::Monotonic)?;
    let boottime = now_ns(Clock::Boottime)?;
    let after = now_ns(Clock::Monotonic)?;
    Ok(format!("clocks {} least={} most={}", me(), boottime - after, boottime - before))
}
