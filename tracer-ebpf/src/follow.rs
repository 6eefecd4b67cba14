//! The threads of a followed command: who belongs to it as it forks, executes and exits.
//!
//! Threads, not processes, because a process lives on after its first thread exited.

use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel};
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use settime32_abi::event::Counter;

use crate::ids;
use crate::losses::count;

/// 1 when a command is followed.
#[unsafe(no_mangle)]
static FOLLOW: Global<u32> = Global::new(0);

/// Where a task has its thread's id.
#[unsafe(no_mangle)]
static TASK_PID_AT: Global<u32> = Global::new(0);

/// The command's first process, where user space knows its id only in the tracer's pid namespace; 0
/// where it is in [`FOLLOWED`].
#[unsafe(no_mangle)]
static COMMAND_PID: Global<u32> = Global::new(0);

/// What is kept of a thread in [`FOLLOWED`] once it exits; before that, 0.
const EXITS: u8 = 1;

/// Thread ids of the command; user space puts the first one in and sets the size.
#[map]
static FOLLOWED: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

#[inline(always)]
pub(crate) fn enabled() -> bool {
    FOLLOW.load() != 0
}

/// Whether the current thread, whose id this is, belongs to the command.
#[inline(always)]
pub(crate) fn is_followed(tid: u32) -> bool {
    FOLLOWED.get_ptr(tid).is_some() || (COMMAND_PID.load() != 0 && is_first(tid))
}

/// The command's first process is met by its id in the tracer's namespace.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn is_first(tid: u32) -> bool {
    if (ids::of_tracer(bpf_get_current_pid_tgid()) >> 32) as u32 != COMMAND_PID.load() {
        return false;
    }
    if FOLLOWED.insert(tid, 0, 0).is_err() {
        count(Counter::LostFollow);
    }
    true
}

/// A followed thread made another. The kernel tells before it lets the new one run (`kernel_clone`,
/// `kernel/fork.c`), so no call of it is missed.
#[inline(always)]
pub(crate) fn fork(child: *const u8) {
    if !is_followed(current_tid()) {
        return;
    }
    let tid_at = child.wrapping_add(TASK_PID_AT.load() as usize).cast::<u32>();
    // SAFETY: the helper reads whatever address it is given, or fails.
    let tid = unsafe { bpf_probe_read_kernel(tid_at) };
    if tid.is_ok_and(|tid| FOLLOWED.insert(tid, 0, 0).is_ok()) {
        return;
    }
    count(Counter::LostFollow);
}

/// A thread that is not its group's first takes over that one's id when it executes (`de_thread`,
/// `fs/exec.c`); once that is done, the kernel tells which id it had.
#[inline(always)]
pub(crate) fn exec(old_tid: u32) {
    move_on(old_tid, current_tid());
}

/// The same right before it is done.
#[inline(always)]
pub(crate) fn take_over() {
    move_on(current_tid(), (bpf_get_current_pid_tgid() >> 32) as u32);
}

#[inline(always)]
fn move_on(from: u32, to: u32) {
    if from == to || FOLLOWED.remove(from).is_err() {
        return;
    }
    if FOLLOWED.insert(to, 0, 0).is_err() {
        count(Counter::LostFollow);
    }
}

/// A thread exits. Its files are closed after this (`do_exit`, `kernel/exit.c`), which is still the
/// command's doing.
#[inline(always)]
pub(crate) fn exit() {
    if let Some(state) = FOLLOWED.get_ptr_mut(current_tid()).filter(|_| enabled()) {
        // SAFETY: the entry is this thread's own, and nobody else's before it is gone.
        unsafe { *state = EXITS };
    }
}

/// A thread is gone, and leaves the set. Its id may have been given to another thread of the
/// command by now, which stays.
#[inline(always)]
pub(crate) fn gone(task: *const u8) {
    if !enabled() {
        return;
    }
    let tid_at = task.wrapping_add(TASK_PID_AT.load() as usize).cast::<u32>();
    // SAFETY: the helper reads whatever address it is given, or fails.
    let Ok(tid) = (unsafe { bpf_probe_read_kernel(tid_at) }) else { return };
    // SAFETY: a byte is read as one.
    if FOLLOWED.get_ptr(tid).is_some_and(|state| unsafe { *state } == EXITS) {
        _ = FOLLOWED.remove(tid);
    }
}

#[inline(always)]
fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}
