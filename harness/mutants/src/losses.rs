//! The shipped tracer's counts of losses, but for the error.

use settime32_abi::event::Counter;

use crate::kernel::WRONG;
use crate::mutants;

#[path = "../../../tracer-ebpf/src/losses.rs"]
mod shipped;

pub(crate) use shipped::add_at;

/// Adds one.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if mutants::counts(WRONG.load(), counter) {
        shipped::count(counter);
    }
}
