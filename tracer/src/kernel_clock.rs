//! The kernel's own `CLOCK_MONOTONIC`, which records have: that of this process is another one in a
//! time namespace.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use nix::time::{ClockId, clock_gettime};

/// What this process's clock is ahead, nanoseconds. It stays the same once a process is in a
/// namespace.
static AHEAD_NS: LazyLock<i64> = LazyLock::new(|| ahead_ns(Path::new("/")));

/// Now, nanoseconds.
pub fn now_ns() -> u64 {
    let here = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    (here - *AHEAD_NS).cast_unsigned()
}

/// The file tells of the namespace of children; where that is another one, this process is where it
/// was from the start.
fn ahead_ns(root: &Path) -> i64 {
    let of = |name: &str| fs::read_link(root.join("proc/self/ns").join(name)).ok();
    if of("time") != of("time_for_children") {
        return 0;
    }
    let offsets = fs::read_to_string(root.join("proc/self/timens_offsets")).unwrap_or_default();
    let monotonic = offsets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&"monotonic"));
    let number = |at: usize| {
        monotonic.as_ref().and_then(|words| words.get(at)?.parse::<i64>().ok()).unwrap_or(0)
    };
    number(1) * 1_000_000_000 + number(2)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_offset_is_that_of_ones_own_namespace() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(ahead_ns(root.path()), 0);
        let ns = root.path().join("proc/self/ns");
        fs::create_dir_all(&ns).unwrap();
        fs::write(
            root.path().join("proc/self/timens_offsets"),
            "monotonic       86400         5\nboottime            0         0\n",
        )
        .unwrap();
        symlink("time:[2]", ns.join("time")).unwrap();
        symlink("time:[2]", ns.join("time_for_children")).unwrap();
        assert_eq!(ahead_ns(root.path()), 86_400_000_000_005);
        fs::remove_file(ns.join("time")).unwrap();
        symlink("time:[1]", ns.join("time")).unwrap();
        assert_eq!(ahead_ns(root.path()), 0);
    }
}
