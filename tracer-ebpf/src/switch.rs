//! The switches of kprobes and of ftrace, by which all programs but those on raw tracepoints are
//! called: seen when they are written to, through whichever mount, so that user space learns of a
//! time without effect however short it is.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use settime32_abi::moment::{RawSwitch, Record};

use crate::maps::{current_tid, head, output};

/// What it is called, with its end.
const NAME: [u8; 15] = *b"ftrace_enabled\0";

/// Threads that write to it.
#[map]
static SWITCHING: HashMap<u32, u8> = HashMap::with_max_entries(64, 0);

/// A number below `/proc/sys` is about to be read, or written to. `ftrace_enable_sysctl` of
/// `kernel/trace/ftrace.c` calls this before it does anything; of its own file's functions none can
/// be hooked.
#[inline(always)]
pub(crate) fn number(table: usize, write: i32) {
    if write != 0
        && is_ftraces(table).unwrap_or(false)
        && SWITCHING.insert(current_tid(), 1, BPF_ANY.into()).is_err()
    {
        tell();
    }
}

/// Something below `/proc/sys` was written to (`proc_sys_write`, `fs/proc/proc_sysctl.c`). The
/// kernel refuses to switch ftrace off while some of what needs it is permanent.
#[inline(always)]
pub(crate) fn written(ret: i64) {
    if SWITCHING.remove(current_tid()).is_ok() && ret > 0 {
        tell();
    }
}

/// Kprobes were switched (`write_enabled_file_bool`, `kernel/kprobes.c`). Told before it is done,
/// what is seen until then would look as if it were over.
#[inline(always)]
pub(crate) fn kprobes() {
    tell();
}

#[inline(always)]
fn tell() {
    output(&RawSwitch { head: head(Record::Switch) });
}

/// Whether it is, by its name, which comes first in a `struct ctl_table`
/// (`include/linux/sysctl.h`).
#[inline(always)]
fn is_ftraces(table: usize) -> Option<bool> {
    // SAFETY: the helper reads whatever address it is given, or fails.
    let name = unsafe { bpf_probe_read_kernel(table as *const usize) }.ok()?;
    // SAFETY: likewise.
    let name = unsafe { bpf_probe_read_kernel(name as *const [u8; NAME.len()]) }.ok()?;
    Some(name == NAME)
}
