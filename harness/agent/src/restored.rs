//! Makes a guest that goes on from a saved state a guest of its own: its clock is right, and its
//! kernel draws random numbers that no other guest of the same state draws. What was drawn before
//! it was saved stays as it was.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::time::{ClockId, clock_settime};

/// Where the kernel's generator takes what is mixed in.
const GENERATOR: &str = "/dev/urandom";

// include/uapi/linux/random.h
nix::ioctl_write_ptr!(rnd_add_entropy, b'R', 0x03, [libc::c_int; 2]);
nix::ioctl_none!(rnd_reseed_crng, b'R', 0x07);

/// Does a `Restored`.
pub(crate) fn go_on(realtime_ns: u64, entropy: &[u8]) -> Result<()> {
    ensure!(std::process::id() == 1, "failed to set the clock: this machine is no guest");
    clock_settime(ClockId::CLOCK_REALTIME, Duration::from_nanos(realtime_ns).into())
        .context("failed to set the clock")?;
    reseed(entropy)
        .with_context(|| format!("failed to mix {} bytes into {GENERATOR}", entropy.len()))
}

fn reseed(entropy: &[u8]) -> Result<()> {
    let generator = OpenOptions::new().write(true).open(GENERATOR)?;
    let pool = pool(entropy)?;
    // SAFETY: the kernel reads the two numbers and as many bytes behind them as the second says,
    // which are all of `pool`.
    unsafe { rnd_add_entropy(generator.as_raw_fd(), pool.as_ptr().cast()) }
        .context("RNDADDENTROPY")?;
    // Without this the generator would go on from the seed that it has for up to five minutes.
    // SAFETY: it takes no argument.
    unsafe { rnd_reseed_crng(generator.as_raw_fd()) }.context("RNDRESEEDCRNG")?;
    Ok(())
}

/// A `struct rand_pool_info`: bits to count, bytes that follow, the bytes.
fn pool(entropy: &[u8]) -> Result<Vec<i32>> {
    let (words, rest) = entropy.as_chunks::<4>();
    ensure!(rest.is_empty(), "they are not a multiple of four");
    let bytes = i32::try_from(entropy.len())?;
    Ok([bytes * 8, bytes]
        .into_iter()
        .chain(words.iter().map(|word| i32::from_ne_bytes(*word)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_told_bits_and_bytes() {
        let bytes: Vec<u8> = (0..8).collect();
        assert_eq!(
            pool(&bytes).unwrap(),
            [64, 8, i32::from_ne_bytes([0, 1, 2, 3]), i32::from_ne_bytes([4, 5, 6, 7])]
        );
        assert!(pool(&bytes[..7]).is_err(), "half a word would be left out");
    }
}
