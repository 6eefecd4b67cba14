//! A timer's whole life: what `--events` asks for beside `timerfd_settime32`. What is hooked for
//! it, where the kernel's structures have what, and how records become the documented events.

mod armed;
mod decode;
mod hooks;
mod layout;
mod recent;
mod rest;
mod timers;

use std::fs;
use std::path::Path;

use memchr::memmem;
use settime32_abi::lifecycle::Kind;

pub use self::armed::Armed;
pub use self::decode::{Decoder, Event};
pub use self::hooks::{EXIT_PROGRAM, is_of_others};
pub use self::layout::Offsets;
pub use self::rest::{Rest, Unseen, rest};
use crate::attach::Mode;
use crate::preflight::{self, Facts, Refusal};

/// Calls in flight at one time, at most; those beyond are counted as lost.
pub const MAX_CALLS: u32 = 8192;
/// Threads inside of the kernel's timerfd functions at one time, at most: most of them sleep in a
/// read.
pub const MAX_INSIDE: u32 = 16_384;
/// Timers at one time that can be told apart, at most; what becomes of those beyond is counted as
/// lost.
pub const MAX_TIMERS: u32 = 65_536;

/// What it takes to tell the asked-for kinds on this machine.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    /// What is asked for.
    pub kinds: Vec<Kind>,
    /// Where the kernel's structures have what.
    pub offsets: Offsets,
    /// In what the kernel differs from others.
    kernel: hooks::Ways,
}

impl Lifecycle {
    /// Looks the kernel's types up. `root` is `/` but in tests. `None` when nothing is asked for.
    pub fn prepare(root: &Path, kinds: Vec<Kind>, facts: &Facts) -> Result<Option<Self>, Refusal> {
        if kinds.is_empty() {
            return Ok(None);
        }
        let btf = fs::read(root.join("sys/kernel/btf/vmlinux"));
        let btf = btf.map_err(|_| Refusal::EventsNeedBtf { release: facts.release.clone() })?;
        let mut offsets = layout::offsets(&btf)?;
        // A name in the table of names, which the kernel's function has for itself.
        let has = |name: &str| memmem::find(&btf, format!("\0{name}\0").as_bytes()).is_some();
        let kernel = hooks::Ways {
            reads_by_iterator: has("timerfd_read_iter"),
            sets_ticks: has("timerfd_ioctl"),
            makes_files_by_mode: has("anon_inode_getfile_fmode"),
            interrupts_are_threads: facts.interrupts_are_threads,
            has_kprobes: preflight::check_kprobe(root).is_ok(),
        };
        offsets.push(("FIRES_INLINE", has("hrtimer_start_range_ns_user").into()));
        offsets.push(("WAKEUPS", kinds.contains(&Kind::Wakeup).into()));
        Ok(Some(Self { kinds, offsets, kernel }))
    }

    /// Programs and the functions that they go to, in the order in which they are attached.
    pub fn programs(&self, mode: Mode) -> Vec<(&'static str, &'static str)> {
        hooks::hooks(&self.kinds, mode, self.kernel)
    }
}
