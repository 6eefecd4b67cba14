//! Times and flags: what the integers of a gene mean as arguments of a call.

use settime32_abi::timespec::OldTimespec32;

use super::gene::{pick, scale};

/// The integers that one `old_timespec32` is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeGene {
    /// Kind of the time; low is zero.
    pub class: u16,
    /// Which seconds.
    pub seconds: u32,
    /// Which nanoseconds.
    pub nanos: u32,
}

#[derive(Clone, Copy)]
enum Class {
    Zero,
    /// Over before the next call is made.
    Nanos,
    /// Over a few to hundreds of calls later.
    Micros,
    SubSecond,
    /// As absolute time around the uptime of the guest.
    Seconds,
    AnySeconds,
    /// As absolute time of `CLOCK_REALTIME` in the future.
    Far,
    ValidEdge,
    InvalidEdge,
    AnyWords,
}

/// Shares out of 65,536 of the kinds of `it_value`. A timer that expires costs an emulated guest
/// more than the call that armed it, so most are armed for longer than the plan takes, by either
/// kind of time.
const VALUE: [(u32, Class); 10] = [
    (9000, Class::Zero),
    (700, Class::Nanos),
    (700, Class::Micros),
    (1500, Class::SubSecond),
    (2500, Class::Seconds),
    (3500, Class::AnySeconds),
    (40200, Class::Far),
    (3000, Class::ValidEdge),
    (2600, Class::InvalidEdge),
    (1836, Class::AnyWords),
];

/// Shares out of 65,536 of the kinds of `it_interval`.
const INTERVAL: [(u32, Class); 10] = [
    (26000, Class::Zero),
    (7800, Class::Nanos),
    (6600, Class::Micros),
    (5000, Class::SubSecond),
    (7000, Class::Seconds),
    (6000, Class::AnySeconds),
    (1500, Class::Far),
    (3000, Class::ValidEdge),
    (1500, Class::InvalidEdge),
    (1136, Class::AnyWords),
];

const VALID_EDGES: [(i32, i32); 7] = [
    (0, 1),
    (0, 2),
    (1, 0),
    (0, 999_999_999),
    (i32::MAX, 0),
    (i32::MAX, 999_999_999),
    (i32::MAX, 1),
];

const INVALID_EDGES: [(i32, i32); 10] = [
    (0, 1_000_000_000),
    (0, -1),
    (-1, 0),
    (0, 1_000_000_001),
    (-1, -1),
    (-1, 999_999_999),
    (0, i32::MAX),
    (0, i32::MIN),
    (i32::MIN, 0),
    (i32::MIN, i32::MIN),
];

pub(super) fn value(gene: TimeGene) -> OldTimespec32 {
    time(pick(gene.class, &VALUE), gene)
}

pub(super) fn interval(gene: TimeGene) -> OldTimespec32 {
    time(pick(gene.class, &INTERVAL), gene)
}

fn time(class: Class, gene: TimeGene) -> OldTimespec32 {
    const FAR: u32 = 1_900_000_000;
    let of = |tv_sec: u32, tv_nsec: u32| OldTimespec32 {
        tv_sec: tv_sec as i32,
        tv_nsec: tv_nsec as i32,
    };
    let any_nanos = scale(gene.nanos, 1_000_000_000);
    match class {
        Class::Zero => OldTimespec32::default(),
        Class::Nanos => of(0, 1 + scale(gene.nanos, 1000)),
        Class::Micros => of(0, 1 + scale(gene.nanos, 1_000_000)),
        Class::SubSecond => of(0, any_nanos),
        Class::Seconds => of(scale(gene.seconds, 100), any_nanos),
        Class::AnySeconds => of(scale(gene.seconds, 1 << 31), any_nanos),
        Class::Far => of(FAR + scale(gene.seconds, (1 << 31) - FAR), any_nanos),
        Class::ValidEdge => edge(&VALID_EDGES, gene.seconds),
        Class::InvalidEdge => edge(&INVALID_EDGES, gene.seconds),
        Class::AnyWords => of(gene.seconds, gene.nanos),
    }
}

fn edge(edges: &[(i32, i32)], which: u32) -> OldTimespec32 {
    let (tv_sec, tv_nsec) = edges[scale(which, edges.len() as u32) as usize];
    OldTimespec32 { tv_sec, tv_nsec }
}

#[derive(Clone, Copy)]
enum Flags {
    Known(i32),
    /// One bit, over all 32.
    Bit,
    /// One unknown bit together with known ones.
    BitAndKnown,
    AllBits,
    AnyWord,
}

const FLAGS: [(u32, Flags); 8] = [
    (26000, Flags::Known(0)),
    (13000, Flags::Known(1)),
    (2600, Flags::Known(2)),
    (16400, Flags::Known(3)),
    (3300, Flags::Bit),
    (1800, Flags::BitAndKnown),
    (600, Flags::AllBits),
    (1836, Flags::AnyWord),
];

pub(super) fn flags(class: u16, detail: u32) -> i32 {
    match pick(class, &FLAGS) {
        Flags::Known(flags) => flags,
        Flags::Bit => 1i32 << scale(detail, 32),
        Flags::BitAndKnown => (1i32 << (2 + scale(detail, 30))) | (detail & 3) as i32,
        Flags::AllBits => -1,
        Flags::AnyWord => detail as i32,
    }
}
