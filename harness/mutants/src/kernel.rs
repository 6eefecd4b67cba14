//! The kernel's half: each step of the shipped tracer, then the error of the wrong one that was
//! asked for. User space says which before loading, in a map that is then frozen, so the verifier
//! removes all others.

use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::FExitContext;
use settime32_abi::event::{RawEvent, flag};
use settime32_abi::timespec::Itimerspec64;

use crate::registers::Registers;
use crate::{copies, entry, entry_path, exit, follow, in_flight, mutants, switch};

/// A flag of a call that is not to be reported.
pub(crate) const DROPPED: u32 = flag::END;

/// Which mutant, from 1 in the order of the list; 0 is none.
#[unsafe(no_mangle)]
pub(crate) static WRONG: Global<u32> = Global::new(0);

/// What a mutant remembers of a thread.
#[map]
static KEPT: HashMap<u32, Itimerspec64> = HashMap::with_max_entries(8192, 0);

/// Offsets in `struct pt_regs` (`arch/x86/include/asm/ptrace.h`).
pub(crate) mod at {
    pub const R10: usize = 56;
    pub const DX: usize = 96;
    pub const SI: usize = 104;
    pub const DI: usize = 112;
    pub const CS: usize = 136;
}

fn tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The current thread's call, if it is in one that is wanted.
#[inline(always)]
fn in_flight() -> Option<&'static mut RawEvent> {
    in_flight::current().map(|slot| &mut slot.event)
}

/// The entry, by kprobe.
#[inline(always)]
pub fn entered(pt_regs: Option<usize>) {
    let Some(pt_regs) = pt_regs else { return };
    entry_path::learn(pt_regs);
    entry::enter(pt_regs, || Registers::copied(pt_regs));
    spoil_entry(pt_regs);
}

/// The entry, by fentry.
///
/// # Safety
///
/// `pt_regs` is an argument that the verifier knows to point to a `struct pt_regs`.
#[inline(always)]
pub unsafe fn entered_by_fentry(pt_regs: usize) {
    // SAFETY: said by the caller.
    entry::enter(pt_regs, || Some(unsafe { Registers::followed(pt_regs) }));
    spoil_entry(pt_regs);
}

/// As the shipped tracer has it.
#[inline(always)]
pub fn thread_exits() {
    exit::thread_exits();
    follow::exit();
}

/// As the shipped tracer has it.
#[inline(always)]
pub fn gone(task: *const u8) {
    follow::gone(task);
}

/// As the shipped tracer has it.
#[inline(always)]
pub fn switches(table: usize, write: i32) {
    switch::number(table, write);
}

/// As the shipped tracer has it.
#[inline(always)]
pub fn kprobes_switch() {
    switch::kprobes();
}

/// As the shipped tracer has it.
#[inline(always)]
pub fn switched(ret: i64) {
    switch::written(ret);
}

/// As the shipped tracer has it.
#[inline(always)]
pub fn forks(child: *const u8) {
    follow::fork(child);
}

/// As above; by tracepoint.
#[inline(always)]
pub fn executes(task: *const u8, old_tid: u32) {
    if mutants::follows_execs(WRONG.load()) {
        follow::exec(old_tid);
    } else {
        // The leader, whose id this is now, was followed and exited.
        follow::exit();
        follow::gone(task);
    }
}

/// The same, by kprobe.
#[inline(always)]
pub fn takes_over() {
    if mutants::follows_execs(WRONG.load()) {
        follow::take_over();
    }
}

#[inline(always)]
fn spoil_entry(pt_regs: usize) {
    if let Some(event) = in_flight() {
        mutants::entered(WRONG.load(), event, pt_regs);
        if event.flags & DROPPED != 0 {
            in_flight::drop_current();
        }
    }
}

/// The new setting, by kprobe.
#[inline(always)]
pub fn used(new: usize) {
    copies::used(new);
}

/// The old setting, by kprobe.
#[inline(always)]
pub fn old(its: usize) {
    copies::old(its);
    mutants::old(WRONG.load(), tid(), its);
}

/// Both, by fexit.
///
/// # Safety
///
/// As of the shipped tracer's.
#[inline(always)]
pub unsafe fn used_and_old(ctx: &FExitContext) {
    // SAFETY: said by the caller.
    unsafe { copies::used_and_old(ctx) };
    if ctx.arg::<i32>(4) == 0 {
        mutants::old(WRONG.load(), tid(), ctx.arg(3));
    }
}

/// The return.
#[inline(always)]
pub fn leave(ret: i64) {
    let Some(event) = in_flight() else { return };
    let ret = mutants::leaving(WRONG.load(), event, ret);
    if event.flags & DROPPED != 0 { in_flight::drop_current() } else { exit::leave(ret) }
}

/// The entry of another system call.
#[inline(always)]
pub fn other_entered(pt_regs: Option<usize>) {
    if let Some(pt_regs) = pt_regs {
        mutants::other(WRONG.load(), pt_regs);
    }
}

/// Its return. What is seen of a call on its way is not seen of it, and must not keep it from being
/// reported.
#[inline(always)]
pub fn other_left(ret: i64) {
    if let Some(event) = in_flight() {
        event.flags |= flag::USED | flag::OLD;
    }
    exit::leave(ret);
}

/// A register of the caller, all of its 64 bits.
#[inline(always)]
pub(crate) fn register(pt_regs: usize, at: usize) -> Option<u64> {
    // SAFETY: a source that cannot be read gives an error.
    unsafe { bpf_probe_read_kernel((pt_regs + at) as *const u64) }.ok()
}

/// Something in the caller's memory; the errno when it cannot be read.
#[inline(always)]
pub(crate) fn read_user<T>(address: u64) -> Result<T, i32> {
    // SAFETY: a source that cannot be read gives an error.
    unsafe { bpf_probe_read_user(address as *const T) }
}

/// Keeps something for [`recall`].
#[inline(always)]
pub(crate) fn keep(tid: u32, what: &Itimerspec64) {
    // A thread more than there is room for is a thread about which a mutant is right.
    _ = KEPT.insert(tid, what, 0);
}

/// What was kept for a thread.
#[inline(always)]
pub(crate) fn recall(tid: u32) -> Option<Itimerspec64> {
    // SAFETY: only the thread itself writes its entry.
    unsafe { KEPT.get(tid) }.copied()
}

/// Forgets it.
#[inline(always)]
pub(crate) fn forget(tid: u32) {
    // It may not be there.
    _ = KEPT.remove(tid);
}
