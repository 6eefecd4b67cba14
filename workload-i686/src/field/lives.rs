//! Timers that are made, set, read and closed, one after the other.

use anyhow::Result;
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

/// One periodic timer that is read so many times; says how late its latest reading was by its own clock.
pub(super) fn metronome(told: &mut Told, arguments: &[String]) -> Result<()> {
    let (readings, period_ns) = (number::<u64>(arguments, 0)?, number::<i64>(arguments, 1)?);
    let timer = Timer::new(Clock::Monotonic)?;
    let start_ns = monotonic_ns()?;
    timer.arm(period_ns, period_ns)?;
    told.say(&format!("started {}", me()))?;
    let (mut ticks, mut latest_ns) = (0, 0);
    for _ in 0..readings {
        ticks += timer.read()?;
        latest_ns = latest_ns.max(monotonic_ns()? - start_ns - ticks as i64 * period_ns);
    }
    told.say(&format!("metronome {} ticks={ticks} latest={latest_ns}", me()))
}
