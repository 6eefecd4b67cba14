//! A gene: the raw integers that one call of a plan is made from, with no meaning of its own.

use proptest::prelude::*;

use super::values::TimeGene;

/// Bytes that [`Gene::from_bytes`] takes.
pub(super) const GENE_LEN: usize = 34;

/// One call and what may be done before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gene {
    /// What is done before the call; low is nothing.
    pub side: u16,
    /// Which slot, how long.
    pub side_detail: u16,
    /// Slot of the call.
    pub slot: u16,
    /// Kind of the flags; low is 0.
    pub flags: u16,
    /// Which of that kind.
    pub flags_detail: u32,
    /// Which pointers are null.
    pub pointers: u16,
    /// The new value.
    pub value: TimeGene,
    /// The new interval.
    pub interval: TimeGene,
}

impl Gene {
    /// Reads a gene off a random stream, little endian on every machine.
    pub(super) fn from_bytes(bytes: &[u8; GENE_LEN]) -> Self {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let time =
            |at: usize| TimeGene { class: half(at), seconds: word(at + 2), nanos: word(at + 6) };
        Self {
            side: half(0),
            side_detail: half(2),
            slot: half(4),
            flags: half(6),
            flags_detail: word(8),
            pointers: half(12),
            value: time(14),
            interval: time(24),
        }
    }
}

/// The same integers from proptest, which shrinks each towards 0.
pub(super) fn strategy() -> impl Strategy<Value = Gene> + Clone {
    let half = any::<u16>;
    let time =
        || {
            (any::<u16>(), any::<u32>(), any::<u32>())
                .prop_map(|(class, seconds, nanos)| TimeGene { class, seconds, nanos })
        };
    (half(), half(), half(), half(), any::<u32>(), half(), time(), time()).prop_map(
        |(side, side_detail, slot, flags, flags_detail, pointers, value, interval)| Gene {
            side,
            side_detail,
            slot,
            flags,
            flags_detail,
            pointers,
            value,
            interval,
        },
    )
}

/// Scales a random word to `0..count`; monotone, so that shrinking the word shrinks the outcome.
pub(super) fn scale(word: u32, count: u32) -> u32 {
    ((u64::from(word) * u64::from(count)) >> 32) as u32
}

/// The same of 16 bits.
pub(super) fn scale16(half: u16, count: u32) -> u32 {
    scale(u32::from(half) << 16, count)
}

/// The entry of a table of (share out of 65,536, what) into which `half` falls; the last takes what
/// is left.
pub(super) fn pick<T: Copy>(half: u16, table: &[(u32, T)]) -> T {
    let mut left = u32::from(half);
    for &(share, what) in table {
        if left < share {
            return what;
        }
        left -= share;
    }
    table[table.len() - 1].1
}
