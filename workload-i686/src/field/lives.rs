//! Timers that are made, set, read and closed, one after the other.

use std::path::Path;

use anyhow::{Context, Result};
use settime32_abi::plan::Clock;

use super::timer::{Timer, me, monotonic_ns};
use super::{Told, number};

const HOUR_NS: i64 = 3_600_000_000_000;

/// Sets one timer, once.
pub(super) fn arm(told: &mut Told, _: &[String]) -> Result<()> {
    Timer::new(Clock::Monotonic)?.arm(1_000_000_000, 0)?;
    told.say(&format!("arm {}", me()))
}

/// So many timers of so many nanoseconds, each of which is read once.
pub(super) fn short(told: &mut Told, arguments: &[String]) -> Result<()> {
    let (timers, value_ns) = (number::<u64>(arguments, 0)?, number(arguments, 1)?);
    let mut ticks = 0;
    for _ in 0..timers {
        let timer = Timer::new(Clock::Monotonic)?;
        timer.arm(value_ns, 0)?;
        ticks += timer.read()?;
    }
    told.say(&format!("short {} timers={timers} ticks={ticks}", me()))
}

/// So many timers that never go off. Says when it is half done, and waits then for the file that is named.
pub(super) fn churn(told: &mut Told, arguments: &[String]) -> Result<()> {
    let timers = number::<u64>(arguments, 0)?;
    for made in 0..timers {
        if made == timers / 2 {
            told.say(&format!("half {} timers={made}", me()))?;
            arguments.get(1).into_iter().for_each(|path| super::wait_for(path));
        }
        Timer::new(Clock::Monotonic)?.arm(HOUR_NS, 0)?;
    }
    told.say(&format!("churn {} timers={timers}", me()))?;
    arguments.get(2).into_iter().for_each(|path| super::wait_for(path));
    Ok(())
}

/// One periodic timer of so many nanoseconds that is read until the file that is named is there; says how late its latest
/// reading was by its own clock, from when the first expiry that it told of was due.
pub(super) fn metronome(told: &mut Told, arguments: &[String]) -> Result<()> {
    let period_ns = number::<i64>(arguments, 0)?;
    let end = Path::new(arguments.get(1).context("failed to find the file that ends it")?);
    let timer = Timer::new(Clock::Monotonic)?;
    let start_ns = monotonic_ns()?;
    timer.arm(period_ns, period_ns)?;
    told.say(&format!("started {}", me()))?;
    let (mut ticks, mut latest_ns) = (0, 0);
    while !end.exists() {
        let due_ns = start_ns + (ticks + 1) * period_ns;
        ticks += timer.read()? as i64;
        latest_ns = latest_ns.max(monotonic_ns()? - due_ns);
    }
    told.say(&format!("metronome {} ticks={ticks} latest={latest_ns}", me()))
}
