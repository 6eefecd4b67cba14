//! Threads that change their names while they run.

use std::ffi::CString;
use std::thread;

use anyhow::{Context, Result};
use nix::sys::prctl::set_name;
use settime32_abi::plan::Clock;

use super::Told;
use super::timer::{Timer, me};

/// Each over the one before: the kernel keeps what is behind the NUL, before 5.17.
const NAMES: [&[u8]; 6] =
    [b"a-longest-name-", b"short", b"short-not", b"\x1b[2J", b"\xff\xfe", b"sho"];
/// Of a thread that is not the leader.
const OTHER: &[u8] = b"another-thread";

pub(super) fn names(told: &mut Told, _: &[String]) -> Result<()> {
    NAMES.into_iter().try_for_each(|name| call_as(told, name))?;
    let other = thread::scope(|scope| scope.spawn(|| named_call(OTHER)).join());
    told.say(&other.expect("the thread does not panic")?)?;
    call_as(told, b"short")
}

fn call_as(told: &mut Told, name: &[u8]) -> Result<()> {
    told.say(&named_call(name)?)
}

/// Takes a name and sets a timer.
fn named_call(name: &[u8]) -> Result<String> {
    set_name(&CString::new(name)?).context("failed to set a name")?;
    Timer::new(Clock::Monotonic)?.arm(1_000_000_000, 0)?;
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("named {} comm={hex}", me()))
}
