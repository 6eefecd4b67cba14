//! The switch of ftrace, by which all programs but those on raw tracepoints are called: seen as it is about to be written to, so that
//! user space learns of a time without effect however short it is, and through whichever mount of procfs it was written to.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use settime32_abi::moment::{RawSwitch, Record};

use crate::life::output::{head, output};

/// What it is called, with its end.
const NAME: [u8; 15] = *b"ftrace_enabled\0";

/// A number below `/proc/sys` is about to be read, or written to. `ftrace_enable_sysctl` of `kernel/trace/ftrace.c` calls this before
/// it does anything; of its own file's functions none can be hooked.
#[inline(always)]
pub(crate) fn number(table: usize, write: i32) {
    if write != 0 && is_ftraces(table).unwrap_or(false) {
        output(&RawSwitch { head: head(Record::Switch) });
    }
}

/// Whether it is, by its name, which comes first in a `struct ctl_table` (`include/linux/sysctl.h`).
#[inline(always)]
fn is_ftraces(table: usize) -> Option<bool> {
    // SAFETY: the helper reads whatever address it is given, or fails.
    let name = unsafe { bpf_probe_read_kernel(table as *const usize) }.ok()?;
    // SAFETY: likewise.
    let name = unsafe { bpf_probe_read_kernel(name as *const [u8; NAME.len()]) }.ok()?;
    Some(name == NAME)
}
