//! The size of the ring buffer, as given on the command line.

use std::str::FromStr;

use thiserror::Error;

/// A size that the kernel takes for a BPF ring buffer: a power of two that fills whole pages
/// (`ringbuf_map_alloc`, `kernel/bpf/ringbuf.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSize(u32);

/// The smallest page.
const MIN_BYTES: u64 = 4096;
/// The kernel holds it in memory that is never swapped; more than this is surely a mistake.
const MAX_BYTES: u64 = 1 << 30;

/// Why a text is no [`BufferSize`].
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BufferSizeError {
    /// Not a number with an optional suffix.
    #[error("not a size; write bytes, or a number with K, M or G, such as 16M")]
    NotASize,
    /// Outside the limits.
    #[error("{bytes} bytes is out of range; give 4K to 1G")]
    OutOfRange {
        /// What was asked for.
        bytes: u64,
    },
    /// The kernel wants a power of two.
    #[error("{bytes} bytes is not a power of two; the next one is {next}")]
    NotAPowerOfTwo {
        /// What was asked for.
        bytes: u64,
        /// The next larger power of two.
        next: u64,
    },
}

impl BufferSize {
    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl FromStr for BufferSize {
    type Err = BufferSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
        let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KIB" => 10,
            "M" | "MIB" => 20,
            "G" | "GIB" => 30,
            _ => return Err(BufferSizeError::NotASize),
        };
        let number: u64 = digits.parse().map_err(|_| BufferSizeError::NotASize)?;
        let bytes = number.saturating_mul(1 << shift);
        if !(MIN_BYTES..=MAX_BYTES).contains(&bytes) {
            return Err(BufferSizeError::OutOfRange { bytes });
        }
        if !bytes.is_power_of_two() {
            return Err(BufferSizeError::NotAPowerOfTwo { bytes, next: bytes.next_power_of_two() });
        }
        Ok(Self(u32::try_from(bytes).map_err(|_| BufferSizeError::OutOfRange { bytes })?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_suffix() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4K", 4096),
            ("64k", 65536),
            ("16M", 16 << 20),
            ("16MiB", 16 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(text.parse(), Ok(BufferSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused() {
        assert_eq!(
            "5K".parse::<BufferSize>(),
            Err(BufferSizeError::NotAPowerOfTwo { bytes: 5120, next: 8192 })
        );
        // The last is 2^64 + 4096 bytes.
        for text in ["2K", "2G", "0", "18014398509481988K"] {
            assert!(
                matches!(text.parse::<BufferSize>(), Err(BufferSizeError::OutOfRange { .. })),
                "{text}"
            );
        }
        for text in ["", "M", "16X", "-4K", "4 K", "0x1000", "4K4"] {
            assert_eq!(text.parse::<BufferSize>(), Err(BufferSizeError::NotASize), "{text}");
        }
    }
}
