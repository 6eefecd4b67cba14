//! Threads that are told of a timer: by its own read, or by a poll of it within a call that waits.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_user};
use aya_ebpf::{Global, helpers};
use bytemuck::Zeroable;
use settime32_abi::event::Counter;
use settime32_abi::moment::{By, Function, Inside, RawWakeup, Record, Timer, pieces, wakeup_flag};

use super::calls::is_wanted;
use super::layout::{Member, at, member};
use super::output::{moment, who};
use super::{inside, timer};
use crate::losses::count;
use crate::maps::{head, output};

/// What a read gives that had something to give: the 8 bytes of a count, or as many as the reader's
/// memory took.
const COUNT_LEN: i64 = 8;
/// `-ECANCELED`, and `-EFAULT` of a reader whose memory took nothing: both have been told of the
/// timer.
const ECANCELED: i64 = -125;
const EFAULT: i64 = -14;
/// `EPOLLIN` of `include/uapi/linux/eventpoll.h`.
const EPOLLIN: u64 = 1;
/// `EPOLLHUP` of the same, which every call that waits asks for beside what it is asked for.
const EPOLLHUP: u64 = 0x10;
/// What a request of a ring to read is polled for until it can be done, in whatever call the thread
/// is in by then: `EPOLLIN`, `EPOLLPRI`, `EPOLLERR`, `EPOLLRDNORM` (`io_arm_poll_handler`,
/// `io_uring/poll.c`).
const TO_READ: u64 = 0x1 | 0x2 | 0x8 | 0x40;
/// `ITER_UBUF` and `ITER_IOVEC` of `include/linux/uio.h`, since 6.4 and so on all kernels that read
/// timers by iterator (6.10).
const ITER_UBUF: u8 = 0;
const ITER_IOVEC: u8 = 1;
/// `io_submit` of the x32 ABI.
const SUBMIT_X32: u32 = 1 << 30 | 544;

/// 1 when wake-ups are asked for; otherwise reads and polls are only looked at for the timers that
/// they come to.
#[unsafe(no_mangle)]
static WAKEUPS: Global<u32> = Global::new(0);

/// `timerfd_read(file, buf, …)` is entered.
#[inline(always)]
pub(crate) fn read_enters(file: u64, buffer: u64) {
    enter(Inside {
        file,
        value: buffer,
        pieces: pieces::ONE,
        is_request: is_of_ring(file).into(),
        ..Inside::zeroed()
    });
}

/// `timerfd_read_iter(iocb, to)` is entered.
#[inline(always)]
pub(crate) fn read_iter_enters(iocb: usize, to: usize) {
    let Some(file) = file_of(iocb) else { return count(Counter::LostInFlight) };
    let (value, skipped, pieces) = memory(to).unwrap_or((0, 0, pieces::UNKNOWN));
    enter(Inside {
        file,
        value,
        skipped,
        pieces,
        is_request: is_request(iocb).into(),
        ..Inside::zeroed()
    });
}

#[inline(always)]
fn enter(inside: Inside) {
    let timer = of_reader(inside.file);
    if !timer.is_none() {
        inside::enter(Function::Read, Inside { timer, ..inside });
    }
}

/// `ki_filp` is the first member of `struct kiocb`.
#[inline(always)]
fn file_of(iocb: usize) -> Option<u64> {
    at(iocb)
}

/// Whether a read says later that it is done (`is_sync_kiocb`, `include/linux/fs.h`).
#[inline(always)]
fn is_request(iocb: usize) -> bool {
    member::<u64>(iocb, Member::KI_COMPLETE_AT).unwrap_or(0) != 0
}

/// The reader's memory: where it is told, how much of it is filled already, and how it is told.
#[inline(always)]
fn memory(iter: usize) -> Option<(u64, u64, u32)> {
    let pieces = match member::<u8>(iter, Member::ITER_TYPE_AT)? {
        ITER_UBUF => pieces::ONE,
        ITER_IOVEC => pieces::SEVERAL,
        _ => return None,
    };
    Some((member(iter, Member::UBUF_AT)?, member(iter, Member::IOV_OFFSET_AT)?, pieces))
}

/// The timer of a file that somebody reads or polls who is wanted, or whom the kernel has do it for
/// somebody.
#[inline(always)]
fn of_reader(file: u64) -> Timer {
    let address = timer::of_file(file);
    if is_wanted() {
        timer::meet(address)
    } else if worker().is_some() {
        timer::known(address)
    } else {
        Timer::NONE
    }
}

/// Either of them returns, by a return probe, that knows nothing of a read whose begin was not
/// seen.
#[inline(always)]
pub(crate) fn read_returns(ret: i64) {
    if let Some(inside) = inside::leave(Function::Read) {
        read(&inside, ret);
    }
}

/// `timerfd_read(file, buf, …)` returns.
#[inline(always)]
pub(crate) fn read_returns_of(file: u64, buffer: u64, ret: i64) {
    let unseen = Inside {
        file,
        value: buffer,
        pieces: pieces::ONE,
        is_request: is_of_ring(file).into(),
        ..Inside::zeroed()
    };
    returns(unseen, ret);
}

/// `timerfd_read_iter(iocb, to)` returns.
#[inline(always)]
pub(crate) fn read_iter_returns_of(iocb: usize, ret: i64) {
    let unseen = Inside {
        file: file_of(iocb).unwrap_or(0),
        is_request: is_request(iocb).into(),
        ..Inside::zeroed()
    };
    returns(unseen, ret);
}

#[inline(always)]
fn returns(unseen: Inside, ret: i64) {
    match inside::leave(Function::Read) {
        Some(inside) => read(&inside, ret),
        None => {
            let timer = of_reader(unseen.file);
            if !timer.is_none() {
                read(&Inside { timer, ..unseen }, ret);
            }
        }
    }
}

#[inline(always)]
fn read(inside: &Inside, ret: i64) {
    let is_told = (1..=COUNT_LEN).contains(&ret) || ret == ECANCELED || ret == EFAULT;
    if WAKEUPS.load() == 0 || !is_told {
        return;
    }
    let Some(by) = read_by(inside.is_request != 0) else { return count(Counter::LostInFlight) };
    let mut told = told(inside.timer, by);
    told.entry_ns = inside.entry_ns;
    told.ret = ret;
    told.flags = wakeup_flag::READ;
    if ret == COUNT_LEN
        && let Some(ticks) = ticks(inside)
    {
        told.ticks = ticks;
        told.flags |= wakeup_flag::TICKS;
    }
    output(&told);
}

/// In which call a thread reads. What is asked of a ring may be done in any call that the thread is
/// in by then; `io_submit` asks in a way of its own, that has no name here.
#[inline(always)]
fn read_by(is_request: bool) -> Option<By> {
    match by() {
        _ if is_request && submits() => None,
        _ if is_request => Some(By::IoUring),
        Some(by @ (By::Read | By::Readv | By::Preadv | By::Preadv2 | By::IoUring)) => Some(by),
        _ => None,
    }
}

/// Whether the thread asks by `io_submit`.
#[inline(always)]
fn submits() -> bool {
    matches!(
        system_call(),
        Some(
            SystemCall { nr: 209 | SUBMIT_X32, is_i386: false, .. }
                | SystemCall { nr: 248, is_i386: true, .. }
        )
    )
}

/// Whether a read without a `kiocb`, as kernels before 6.10 do it, is done for a ring: these do it
/// in whatever call the thread is in, which then reads something else.
#[inline(always)]
fn is_of_ring(file: u64) -> bool {
    // SAFETY: the helper gives the current task's address.
    let task = unsafe { bpf_get_current_task() } as usize;
    // Kernels that are built without rings have no such member.
    if Member::IO_URING_AT.at() == 0 || member::<u64>(task, Member::IO_URING_AT).unwrap_or(0) == 0 {
        return false;
    }
    let Some(call) = system_call() else { return true };
    let reads = By::of(call.nr, call.is_i386).is_some_and(|by| (by as u32) < By::Poll as u32);
    !reads || call.first_argument().is_none_or(|fd| timer::file_at(fd as i32) != file)
}

/// What the kernel has just written to the reader's memory.
#[inline(always)]
fn ticks(inside: &Inside) -> Option<u64> {
    match inside.pieces {
        // SAFETY: a source that cannot be read gives an error.
        pieces::ONE => unsafe {
            helpers::bpf_probe_read_user(inside.value.wrapping_add(inside.skipped) as *const u64)
        }
        .ok(),
        pieces::SEVERAL => gather(inside.value, inside.skipped),
        _ => None,
    }
}

/// The same out of several pieces.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn gather_into(iovec: u64, mut skipped: u64, ticks: &mut u64) -> u32 {
    /// Pieces that are looked at: a reader with more of next to nothing is not told its ticks.
    const PIECES: u64 = 16;
    const WHOLE: u64 = size_of::<u64>() as u64;
    let mut taken = 0;
    for piece in 0..PIECES {
        // `iov_base` and `iov_len` of `struct iovec`.
        let Some([base, len]) = at::<[u64; 2]>(iovec.wrapping_add(piece * 16) as usize) else {
            return 0;
        };
        let (from, size) = (base.wrapping_add(skipped), len.wrapping_sub(skipped).min(WHOLE));
        skipped = 0;
        let mut word = 0_u64;
        // SAFETY: it writes the length that it is given, which is at most that of the word.
        if unsafe {
            bpf_probe_read_user((&raw mut word).cast(), size as u32, from as *const c_void)
        } != 0
        {
            return 0;
        }
        // What is beyond the eighth byte is shifted out.
        *ticks |= word << (taken * 8);
        taken += size;
        if taken >= WHOLE {
            return 1;
        }
    }
    0
}

#[inline(always)]
fn gather(iovec: u64, skipped: u64) -> Option<u64> {
    let mut ticks = 0;
    (gather_into(iovec, skipped, &mut ticks) != 0).then_some(ticks)
}

/// `timerfd_poll(file, wait)` is entered.
#[inline(always)]
pub(crate) fn poll_enters(file: u64, wait: usize) {
    let timer = of_reader(file);
    if !timer.is_none() && WAKEUPS.load() != 0 {
        let (asked, poller) = (asked(wait), poller(file, wait));
        inside::enter(
            Function::Poll,
            Inside { file, timer, value: asked, skipped: poller as u64, ..Inside::zeroed() },
        );
    }
}

/// Which events a poll asks for, as callers set it before each poll.
#[inline(always)]
fn asked(wait: usize) -> u64 {
    let asked = if wait == 0 { None } else { member::<u32>(wait, Member::POLL_KEY_AT) };
    asked.map_or(EPOLLIN, u64::from)
}

/// Who polls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Poller {
    /// A call that polls again when it is woken.
    Call = 0,
    /// A request to a ring, or of `io_submit`, in whatever call the thread is by then. When the
    /// timer fires the kernel tells so without another poll.
    Request = 1,
    /// An epoll that is given the timer, which tells nobody.
    Epoll = 2,
}

impl Poller {
    #[inline(always)]
    fn from(number: u64) -> Self {
        match number {
            0 => Self::Call,
            1 => Self::Request,
            _ => Self::Epoll,
        }
    }
}

/// By what is behind the `poll_table` of a poll that is to be told later: it points to a request,
/// that begins with its file (`struct io_poll_table` with `struct io_kiocb`, `struct
/// aio_poll_table` with `struct aio_kiocb`), or to an item of an epoll, that has it, too (`struct
/// ep_pqueue` with `struct epitem`).
#[inline(always)]
fn poller(file: u64, wait: usize) -> Poller {
    if wait == 0 || member::<u64>(wait, Member::POLL_QPROC_AT).unwrap_or(0) == 0 {
        return Poller::Call;
    }
    let behind: usize = member(wait, Member::POLL_TABLE_SIZE).unwrap_or(0);
    if behind == 0 {
        Poller::Call
    } else if at(behind) == Some(file) {
        Poller::Request
    } else if member(behind, Member::EPITEM_FILE_AT) == Some(file) {
        Poller::Epoll
    } else {
        Poller::Call
    }
}

/// It returns the events that there are, by a return probe.
#[inline(always)]
pub(crate) fn poll_returns(events: u32) {
    if let Some(inside) = inside::leave(Function::Poll) {
        polled(inside.timer, inside.value, Poller::from(inside.skipped), events);
    }
}

/// `timerfd_poll(file, wait)` returns.
#[inline(always)]
pub(crate) fn poll_returns_of(file: u64, wait: usize, events: u32) {
    let timer = of_reader(file);
    if !timer.is_none() && WAKEUPS.load() != 0 {
        polled(timer, asked(wait), poller(file, wait), events);
    }
}

#[inline(always)]
fn polled(timer: Timer, asked: u64, poller: Poller, events: u32) {
    let is_ready = u64::from(events) & asked & EPOLLIN != 0;
    let by = match poller {
        // Of a ring's read it is the read that is told.
        Poller::Epoll => return,
        _ if asked & (TO_READ | EPOLLHUP) == TO_READ => return,
        Poller::Request if is_ready && !submits() => Some(By::IoUring),
        Poller::Request => None,
        Poller::Call if !is_ready => return,
        Poller::Call => by().filter(|by| *by as u32 >= By::Poll as u32),
    };
    match by {
        Some(by) => _ = output(&told(timer, by)),
        None if poller == Poller::Call && wakes_nobody() => {}
        None => count(Counter::LostInFlight),
    }
}

/// In `epoll_ctl`, a poll wakes nobody.
#[inline(always)]
fn wakes_nobody() -> bool {
    matches!(
        system_call(),
        Some(
            SystemCall { nr: 233, is_i386: false, .. } | SystemCall { nr: 255, is_i386: true, .. }
        )
    )
}

#[inline(always)]
fn told(timer: Timer, by: By) -> RawWakeup {
    let mut told = RawWakeup::zeroed();
    told.head = head(Record::Wakeup);
    told.moment = moment(timer);
    told.who = who();
    told.by = by as u32;
    told
}

/// By what the current thread is told.
#[inline(always)]
fn by() -> Option<By> {
    match worker() {
        Some(Worker::OfRing) => Some(By::IoUring),
        Some(Worker::Other) => None,
        None => {
            let call = system_call()?;
            By::of(call.nr, call.is_i386)
        }
    }
}

/// A thread of the kernel's own, that does what others ask for.
enum Worker {
    OfRing,
    Other,
}

/// What the current thread is, if it is one.
#[inline(always)]
fn worker() -> Option<Worker> {
    /// `PF_IO_WORKER`, and `PF_KTHREAD` of `include/linux/sched.h`.
    const IO_WORKER: u32 = 0x10;
    const KTHREAD: u32 = 0x20_0000;
    // SAFETY: the helper gives the current task's address.
    let flags: u32 =
        member(unsafe { bpf_get_current_task() } as usize, Member::FLAGS_AT).unwrap_or(0);
    if flags & IO_WORKER != 0 {
        Some(Worker::OfRing)
    } else if flags & KTHREAD != 0 {
        // Before 5.12, the thread that looks at a ring is an ordinary one of the kernel's.
        Some(if who().comm.starts_with(b"io_uring-sq") { Worker::OfRing } else { Worker::Other })
    } else {
        None
    }
}

/// A call that a thread is in.
struct SystemCall {
    nr: u32,
    /// It came by the i386 table (`TS_COMPAT`).
    is_i386: bool,
    /// Where its number lies in `struct pt_regs`.
    orig_ax_at: usize,
}

impl SystemCall {
    /// From `di` or `bx`, as `struct pt_regs` has them before `orig_ax`.
    #[inline(always)]
    fn first_argument(&self) -> Option<u64> {
        at(self.orig_ax_at - if self.is_i386 { 10 * size_of::<u64>() } else { size_of::<u64>() })
    }
}

/// The call that the current thread is in.
///
/// Its registers lie at the top of the thread's stack: right there, or on kernels that are built
/// for FRED 16 bytes below (`TOP_OF_KERNEL_STACK_PADDING`, `arch/x86/include/asm/thread_info.h`).
/// The two segments say which: no other word there looks like them.
#[inline(always)]
fn system_call() -> Option<SystemCall> {
    const TS_COMPAT: u32 = 2;
    // SAFETY: the helper gives the current task's address.
    let task = unsafe { bpf_get_current_task() } as usize;
    let stack: usize = member(task, Member::STACK_AT)?;
    let status: u32 = member(task, Member::STATUS_AT)?;
    let (orig_ax_at, nr) = number(stack, 0).or_else(|| number(stack, 16))?;
    Some(SystemCall { nr, is_i386: status & TS_COMPAT != 0, orig_ax_at })
}

/// Where `orig_ax` is and what, when the registers are there.
#[inline(always)]
fn number(stack: usize, padding: usize) -> Option<(usize, u32)> {
    /// `THREAD_SIZE` without KASAN.
    const STACK_LEN: usize = 16_384;
    /// `orig_ax`, `ip`, `cs`, `flags`, `sp`, `ss`: the last six words of `struct pt_regs`.
    type Last = [u64; 6];
    const USER_DS: u16 = 0x2b;
    const USER_CODE: [u16; 2] = [0x23, 0x33];
    let orig_ax_at = stack.wrapping_add(STACK_LEN - padding - size_of::<Last>());
    let [orig_ax, _ip, cs, _flags, _sp, ss] = at::<Last>(orig_ax_at)?;
    (ss as u16 == USER_DS && USER_CODE.contains(&(cs as u16)))
        .then_some((orig_ax_at, orig_ax as u32))
}
