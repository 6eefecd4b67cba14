//! The table of descriptors that a plan opens first, and how often each slot is called.

use settime32_abi::plan::{Clock, FdKind, Other, SLOTS};

use super::gene::{pick, scale16};

/// Slots that hold timers of their own; always filled with one, so that copies of them can always
/// be made.
pub(super) const OWN_TIMERS: u8 = 8;
/// Slots below this hold timers, their own or copies.
pub(super) const TIMERS: u8 = 16;

const MONOTONIC: FdKind = FdKind::Timer(Clock::Monotonic);
const REALTIME: FdKind = FdKind::Timer(Clock::Realtime);
const BOOTTIME: FdKind = FdKind::Timer(Clock::Boottime);

/// What the slots hold at first. A copy stands behind what it is a copy of.
pub(super) const TABLE: [FdKind; SLOTS] = [
    MONOTONIC,
    REALTIME,
    BOOTTIME,
    MONOTONIC,
    REALTIME,
    BOOTTIME,
    REALTIME,
    MONOTONIC,
    FdKind::Dup(0),
    FdKind::Dup(1),
    FdKind::Dup(2),
    FdKind::Dup(6),
    FdKind::Passed(0),
    FdKind::Passed(1),
    FdKind::Passed(5),
    FdKind::Passed(4),
    FdKind::Closed,
    FdKind::Number(-1),
    FdKind::Number(i32::MAX),
    FdKind::Number(i32::MIN),
    FdKind::Number(-100),
    FdKind::Path,
    FdKind::NotATimer(Other::Eventfd),
    FdKind::NotATimer(Other::Pipe),
    FdKind::NotATimer(Other::Socket),
    FdKind::NotATimer(Other::Directory),
    FdKind::Dup(21),
    FdKind::Dup(22),
    FdKind::Passed(23),
    FdKind::Dup(16),
    FdKind::Passed(21),
    FdKind::Dup(12),
];

/// Shares out of 65,536: most calls go to timers, since only those get past the checks of the
/// descriptor.
const SHARES: [(u32, (u8, u32)); 3] = [(34_400, (0, 8)), (20_640, (8, 8)), (10_496, (16, 16))];

/// The slot that a call uses.
pub(super) fn called(half: u16) -> u8 {
    let (first, count) = pick(half, &SHARES);
    let before = SHARES
        .iter()
        .take_while(|(_, (start, _))| *start < first)
        .map(|(share, _)| *share)
        .sum::<u32>();
    let share =
        SHARES.iter().find(|(_, (start, _))| *start == first).map_or(1, |(share, _)| *share);
    first + ((u32::from(half) - before) * count / share) as u8
}

/// A slot to be opened anew and with what: timers again, copies again, and a slot of no timer now
/// and then.
pub(super) fn reopened(detail: u16) -> (u8, FdKind) {
    let low = u32::from(detail) % 64;
    let slot = scale16(detail, 18) as u8;
    let kind = match slot {
        0..OWN_TIMERS => FdKind::Timer(
            [Clock::Monotonic, Clock::Realtime, Clock::Boottime, Clock::Realtime]
                [(low % 4) as usize],
        ),
        OWN_TIMERS..TIMERS if low < 48 => copy(low),
        OWN_TIMERS..TIMERS => {
            [FdKind::Closed, FdKind::Path, FdKind::NotATimer(Other::Pipe), REALTIME]
                [(low % 4) as usize]
        }
        _ => [FdKind::NotATimer(Other::Eventfd), FdKind::Closed, FdKind::Number(-2), FdKind::Path]
            [(low % 4) as usize],
    };
    (if slot < TIMERS { slot } else { 14 + slot }, kind)
}

fn copy(low: u32) -> FdKind {
    let of = (low % 8) as u8;
    if low < 24 { FdKind::Dup(of) } else { FdKind::Passed(of) }
}
