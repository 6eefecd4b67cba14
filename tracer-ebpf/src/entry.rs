//! A call enters: who calls with what, kept until the return. Where the registers come from is the
//! caller's duty.

use core::mem::MaybeUninit;

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_user,
};
use settime32_abi::event::{Counter, RawEvent, Slot, flag};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldTimespec32};

use crate::in_flight::{claim, drop_current, forget_stale};
use crate::losses::count;
use crate::registers::Registers;
use crate::{comm, entry_path, filter, ids};

/// 1 when every call is wanted, those ids are reported that the kernel's helper gives, and the
/// kernel has a helper for a task's registers. With one look at it, a program is spared a look at
/// each.
#[unsafe(no_mangle)]
static IS_PLAIN: Global<u32> = Global::new(0);

/// `__USER_CS` of `arch/x86/include/asm/segment.h`: the code segment of a 64-bit process.
const USER_CS: u16 = 0x33;

/// Takes the call in, when it is wanted or the tracer's own. `registers` reads those that the
/// wrapper was given at `pt_regs`; `None` when they cannot be read.
#[inline(always)]
pub(crate) fn enter(pt_regs: usize, registers: impl Fn() -> Option<Registers>) {
    if IS_PLAIN.load() == 0 {
        return enter_other(pt_regs, registers);
    }
    let thread = bpf_get_current_pid_tgid();
    match claim(thread) {
        Some(slot) => _ = take_in(slot, thread, registers),
        None => count(Counter::LostInFlight),
    }
}

/// Where not all is plain.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn enter_other(pt_regs: usize, registers: impl Fn() -> Option<Registers>) {
    let thread = bpf_get_current_pid_tgid();
    if !is_wanted(thread, pt_regs) {
        return;
    }
    let Some(slot) = claim(thread) else { return count(Counter::LostInFlight) };
    if take_in(slot, thread, registers) {
        slot.pt_regs = pt_regs as u64;
        take_ids(&mut slot.event, thread);
    }
}

/// False when the registers cannot be read.
#[inline(always)]
fn take_in(slot: &mut Slot, thread: u64, registers: impl Fn() -> Option<Registers>) -> bool {
    let event = &mut slot.event;
    // Into the slot directly: building it elsewhere first would be a copy more. What only the
    // return or the kernel's own copies tell stays what the last call left there, and counts only
    // with its flag. Helpers come first, so that registers need not be put by while they run.
    event.set_ids(thread);
    comm::read(event.comm_words());
    // SAFETY: the helper only reads the CPU's number.
    event.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    // SAFETY: the helper only reads the clock.
    event.entry_ns = unsafe { bpf_ktime_get_ns() };
    let Some(registers) = registers() else {
        drop_current();
        count(Counter::LostInFlight);
        return false;
    };
    event.ufd = registers.ufd;
    event.settime_flags = registers.settime_flags;
    event.utmr = registers.utmr;
    event.otmr = registers.otmr;
    let caller = if registers.cs == USER_CS { flag::CALLER_64BIT } else { 0 };
    event.flags =
        flag::RETURNED | registers.entry_path | caller | read_new_setting(event, registers.utmr);
    true
}

/// Before it is asked whether the call is wanted, what the thread has in flight is forgotten: it
/// must not take in what is told of one that is not.
#[inline(always)]
fn is_wanted(host: u64, pt_regs: usize) -> bool {
    forget_stale();
    !filter::any() || filter::wants(host) || entry_path::is_own(host, pt_regs)
}

#[inline(always)]
fn take_ids(event: &mut RawEvent, thread: u64) {
    if ids::differ() {
        event.set_ids(ids::own());
        event.set_host_ids(thread);
        event.flags |= flag::HOST_IDS;
    }
}

/// Reads `*utmr`, without faulting a page in: what is not resident gives an error, and the kernel's
/// own copy may still succeed. Returns the flags of the halves that were read.
#[inline(always)]
fn read_new_setting(event: &mut RawEvent, utmr: u32) -> u32 {
    if utmr == 0 {
        return 0;
    }
    let from = utmr as usize as *const u8;
    // On the stack first: the kernel looks at a destination before it copies
    // (`__check_object_size`, `mm/usercopy.c`), and is done sooner with one that lies there.
    let mut both = MaybeUninit::<[u64; ITIMERSPEC32_SIZE / 8]>::uninit();
    // SAFETY: the destination is as long as said, and the helper checks the source.
    if unsafe {
        bpf_probe_read_user(both.as_mut_ptr().cast(), ITIMERSPEC32_SIZE as u32, from.cast())
    } == 0
    {
        // SAFETY: the helper has written all of it. As words, which are fewer than fields.
        event.utmr_entry = bytemuck::cast(unsafe { both.assume_init() });
        return flag::INTERVAL_READ | flag::VALUE_READ;
    }
    read_halves(event, from)
}

/// As the kernel does it, one half after the other: one may be readable where the other is not. The
/// second may lie beyond 4 GiB, in memory that only a 64-bit process has.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn read_halves(event: &mut RawEvent, from: *const u8) -> u32 {
    let interval = read_half(&mut event.utmr_entry.it_interval, from);
    let value =
        read_half(&mut event.utmr_entry.it_value, from.wrapping_add(size_of::<OldTimespec32>()));
    event.utmr_entry_err = (if interval == 0 { value } else { interval }) as i16;
    (if interval == 0 { flag::INTERVAL_READ } else { 0 })
        | (if value == 0 { flag::VALUE_READ } else { 0 })
}

/// Returns 0 or the negative errno.
#[inline(always)]
fn read_half(to: &mut OldTimespec32, from: *const u8) -> i32 {
    // SAFETY: the destination is as long as said, and the helper checks the source.
    unsafe {
        bpf_probe_read_user((&raw mut *to).cast(), size_of::<OldTimespec32>() as u32, from.cast())
            as i32
    }
}
