//! A call enters: who calls with what, kept until the return.

use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_user};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel};
use aya_ebpf::programs::ProbeContext;
use bytemuck::Zeroable;
use settime32_abi::event::{COMM_LEN, Counter, RawEvent, flag};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, Itimerspec64, OldItimerspec32};

use crate::filter;
use crate::maps::{OVERFLOW, THREADS, count, is_in_flight, submit};

/// `BPF_ANY` of `include/uapi/linux/bpf.h`: insert or replace.
const ANY: u64 = 0;

/// `__USER_CS` of `arch/x86/include/asm/segment.h`: the code segment of a 64-bit process.
const USER_CS: u16 = 0x33;

/// The part of `struct pt_regs` (`arch/x86/include/asm/ptrace.h`) from `bx` to `cs`, as the wrapper's argument
/// points to it. Reading it whole costs one helper call; the part between costs a few instructions.
#[repr(C)]
struct Registers {
    bx: u64,
    r11_to_ax: [u64; 5],
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    orig_ax: u64,
    ip: u64,
    cs: u64,
}

/// Where [`Registers`] begins in `struct pt_regs`.
const REGISTERS_AT: u64 = 40;
const _: () = assert!(REGISTERS_AT as usize + offset_of!(Registers, cx) == 88);
const _: () = assert!(REGISTERS_AT as usize + offset_of!(Registers, si) == 104);
const _: () = assert!(REGISTERS_AT as usize + offset_of!(Registers, cs) == 136);

/// A thread's name, aligned.
type CommWords = [u64; COMM_LEN / 8];

#[inline(always)]
pub(crate) fn enter(ctx: &ProbeContext) {
    let ids = bpf_get_current_pid_tgid();
    let (pid, tid) = ((ids >> 32) as u32, ids as u32);
    if !filter::wants_thread(pid, tid) {
        return;
    }
    let comm = current_comm();
    if !filter::wants_comm(bytemuck::cast_ref(&comm)) {
        return;
    }
    let Some(registers) = read_registers(ctx) else { return count(Counter::LostInFlight) };
    // Field by field: zeroing the whole first would be a loop over its bytes.
    let mut event = RawEvent {
        // SAFETY: the helper only reads the clock.
        entry_ns: unsafe { bpf_ktime_get_ns() },
        exit_ns: 0,
        ret: 0,
        pid,
        tid,
        // SAFETY: the helper only reads the CPU's number.
        cpu: unsafe { bpf_get_smp_processor_id() },
        flags: if registers.cs as u16 == USER_CS { flag::CALLER_64BIT } else { 0 },
        // As the wrapper does it (`SC_IA32_REGS_TO_ARGS`, `arch/x86/include/asm/syscall_wrapper.h`): the upper
        // halves stay what a 64-bit caller left there, and do not count.
        ufd: registers.bx as i32,
        settime_flags: registers.cx as i32,
        utmr: registers.dx as u32,
        otmr: registers.si as u32,
        utmr_entry: OldItimerspec32::zeroed(),
        otmr_written: OldItimerspec32::zeroed(),
        utmr_used: Itimerspec64::zeroed(),
        old: Itimerspec64::zeroed(),
        utmr_entry_err: 0,
        otmr_err: 0,
        comm: bytemuck::cast(comm),
    };
    read_new_setting(&mut event);
    keep(&event);
}

/// In words, since the compiler copies bytes that are not aligned one by one.
#[inline(always)]
fn current_comm() -> CommWords {
    let mut comm = MaybeUninit::<CommWords>::uninit();
    // SAFETY: the helper writes the length that it is given, which is that of the array, also when it fails.
    unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LEN as u32);
        comm.assume_init()
    }
}

/// The registers that the wrapper was given; `None` when they cannot be read.
#[inline(always)]
fn read_registers(ctx: &ProbeContext) -> Option<Registers> {
    let pt_regs = ctx.arg::<u64>(0)?;
    // SAFETY: a source that cannot be read gives an error.
    unsafe { bpf_probe_read_kernel((pt_regs + REGISTERS_AT) as *const Registers) }.ok()
}

/// Reads `*utmr`, without faulting a page in: what is not resident gives an error, and the kernel's own copy
/// may still succeed.
#[inline(always)]
fn read_new_setting(event: &mut RawEvent) {
    if event.utmr == 0 {
        return;
    }
    let to = (&raw mut event.utmr_entry).cast();
    // SAFETY: the destination is as long as said, and the helper checks the source.
    match unsafe { bpf_probe_read_user(to, ITIMERSPEC32_SIZE as u32, event.utmr as usize as *const _) } {
        0 => event.flags |= flag::INTERVAL_READ | flag::VALUE_READ,
        error => event.utmr_entry_err = error as i32,
    }
}

/// Keeps the call until it returns.
#[inline(always)]
fn keep(event: &RawEvent) {
    if let Some(slot) = THREADS.get_ptr_mut(event.tid) {
        // SAFETY: the entry is this thread's own: no other one writes it, and nothing removes it.
        let slot = unsafe { &mut *slot };
        report_lost_result(slot);
        *slot = *event;
        return;
    }
    if THREADS.insert(event.tid, event, ANY).is_err() {
        keep_in_overflow(event);
    }
}

/// As [`keep`], for a thread that finds no room among the others.
#[inline(always)]
fn keep_in_overflow(event: &RawEvent) {
    if let Some(slot) = OVERFLOW.get_ptr_mut(event.tid) {
        // SAFETY: the entry is this thread's own, and nothing else removes it while the thread is here.
        report_lost_result(unsafe { &mut *slot });
    }
    if OVERFLOW.insert(event.tid, event, ANY).is_err() {
        count(Counter::LostInFlight);
    }
}

/// A thread is in one call at a time, so an earlier one that is still in flight returned unseen: it is reported as
/// far as it is known.
#[inline(always)]
fn report_lost_result(earlier: &mut RawEvent) {
    if !is_in_flight(earlier) {
        return;
    }
    earlier.flags |= flag::RESULT_LOST;
    if submit(earlier) {
        count(Counter::LostResult);
    }
}
