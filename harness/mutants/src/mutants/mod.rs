//! The list: the word of each mutant is the name of its file. What is made of the list is
//! below.

/// Where the list is taken apart: the table, and for each step in the kernel the error of number
/// `which`, from 1.
macro_rules! mutants {
    ($($module:ident),+ $(,)?) => {
        $(mod $module;)+

        /// All of them.
        pub const MUTANTS: &[About] = &[$($module::ABOUT),+];

        /// The user-space half of the one at this place; of none, what does nothing.
        #[cfg(not(target_arch = "bpf"))]
        pub fn user_side(at: Option<usize>) -> Box<dyn Wrong> {
            const ALL: &[fn() -> Box<dyn Wrong>] = &[$(|| Box::new($module::Tracer::default())),+];
            at.map_or_else(|| Box::new(Right) as Box<dyn Wrong>, |at| ALL[at]())
        }

        #[cfg(test)]
        const MODULES: &[&str] = &[$(stringify!($module)),+];

        mutants!(@step entered [event: &mut RawEvent, pt_regs: usize] (event, pt_regs) -> () = (), $($module),+);
        mutants!(@step old [tid: u32, its: usize] (tid, its) -> () = (), $($module),+);
        mutants!(@step leaving [event: &mut RawEvent, ret: i64] (event, ret) -> i64 = ret, $($module),+);
        mutants!(@step follows_execs [] () -> bool = true, $($module),+);
        mutants!(@step counts [counter: Counter] (counter) -> bool = true, $($module),+);
        mutants!(@step other [pt_regs: usize] (pt_regs) -> () = (), $($module),+);
    };
    (@step $step:ident [$($parameters:tt)*] $arguments:tt -> $result:ty = $right:expr, $($module:ident),+) => {
        #[cfg(target_arch = "bpf")]
        #[inline(always)]
        pub(crate) fn $step(which: u32, $($parameters)*) -> $result {
            let mut number = 0;
            $(
                number += 1;
                if which == number {
                    return <$module::Tracer as Wrong>::$step $arguments;
                }
            )+
            $right
        }
    };
}

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{Counter, RawEvent};

use crate::{About, Wrong};

mutants![
    abi_always_i386,
    always_int80,
    blind_and_silent,
    blind_spans_untold,
    comm_by_prefix,
    comm_cut_short,
    comm_of_leader,
    comm_of_process,
    cpu_always_0,
    cpu_of_return,
    doubled,
    entry_as_used,
    errno_lost,
    execs_forgotten,
    first_thread_only,
    flags_unsigned,
    forks_missed,
    greatest_setting,
    halves_read_as_one,
    halves_swapped,
    ids_of_host,
    ids_swapped,
    in_flight_by_cpu,
    in_flight_by_low_bits,
    lateness_clock_set_missed,
    lateness_dead_timers_kept,
    lateness_due_as_asked,
    lateness_firing_before,
    lateness_offset_cached,
    lateness_short_dropped,
    lateness_ticks_set_missed,
    layout_of_64_bits,
    lifecycle_cancels_missed,
    lifecycle_descriptor_as_timer,
    lifecycle_due_when_handled,
    lifecycle_halves_swapped,
    lifecycle_i386_as_native,
    lifecycle_inline_never,
    lifecycle_numbers_reused,
    lifecycle_offset_forgotten,
    lifecycle_periods_missed,
    lifecycle_polls_as_epoll,
    lifecycle_releases_missed,
    lifecycle_suspended_always_0,
    lifecycle_ticks_always_one,
    losses_not_counted,
    losses_of_another_kind,
    losses_of_one_cpu,
    losses_shared,
    mlock2_too,
    native_calls_too,
    nsec_zero_extended,
    null_otmr_as_structure,
    nulls_left_out,
    old_of_other_calls,
    old_read_at_entry,
    old_read_back,
    one_in_10000_dropped,
    order_swapped,
    pid_of_host,
    pretty_swapped,
    registers_not_cut,
    result_of_previous_call,
    result_zero_extended,
    stale_for_null,
    stale_used,
    stamped_when_printed,
    summary_one_short,
    switch_elsewhere_unseen,
    toctou_never,
    tracee_swapped,
    unfinished_as_lost,
    unknown_key,
    uring_missed,
    used_read_at_return,
    wait_dropped,
    wait_misnamed,
    wrapper_never_called,
    written_in_spite_of_fault,
    zeros_for_unreadable,
];

/// No error.
#[cfg(not(target_arch = "bpf"))]
struct Right;

#[cfg(not(target_arch = "bpf"))]
impl Wrong for Right {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_name_of_its_file_and_says_what_is_wrong() {
        let names: Vec<String> = MODULES.iter().map(|module| module.replace('_', "-")).collect();
        assert_eq!(MUTANTS.iter().map(|about| about.name).collect::<Vec<_>>(), names);
        assert!(MUTANTS.iter().all(|about| !about.error.is_empty()));
    }

    #[test]
    fn the_list_is_in_order_and_no_tracer_is_in_it_twice() {
        assert!(MODULES.is_sorted_by(|one, next| one < next));
    }
}
