//! A timer that is read or waited for by a request: of io_uring (`include/uapi/linux/io_uring.h`),
//! or of `io_submit` (`include/uapi/linux/aio_abi.h`).

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::libc;
use settime32_abi::plan::Clock;

use super::Told;
use super::timer::{Timer, me};

const SETUP_SQPOLL: u32 = 1 << 1;
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_SQ_WAKEUP: u32 = 1 << 1;
const REGISTER_FILES: u32 = 2;
const OP_POLL_ADD: u8 = 6;
const OP_READ: u8 = 22;
/// `fd` is the place of a registered file, which a polling thread needs before 5.11.
const FIXED_FILE: u8 = 1 << 0;
const OFF_CQ_RING: i64 = 0x0800_0000;
const OFF_SQES: i64 = 0x1000_0000;
const SQE_SIZE: usize = 64;

/// `struct io_uring_params` as words: the numbers of entries, flags, and where the parts of the
/// rings are.
type Params = [u32; 30];
const SQ_ENTRIES: usize = 0;
const CQ_ENTRIES: usize = 1;
const FLAGS: usize = 2;
const IDLE_MS: usize = 4;
const SQ_TAIL: usize = 11;
const SQ_ARRAY: usize = 16;
const CQES: usize = 25;

/// By `plain`, by the kernel's polling thread (`sqpoll`), or a request to be told (`poll`), which
/// is read then; so is that of `io_submit` (`aio`).
pub(super) fn uring(told: &mut Told, arguments: &[String]) -> Result<()> {
    let kind = arguments.first().map_or("", String::as_str);
    if kind == "aio" {
        return aio(told);
    }
    let (flags, op) = match kind {
        "plain" => (0, OP_READ),
        "sqpoll" => (SETUP_SQPOLL, OP_READ),
        "poll" => (0, OP_POLL_ADD),
        _ => bail!("failed to find the kind of request {kind}"),
    };
    let timer = Timer::new(Clock::Monotonic)?;
    let ring = match Ring::new(flags, timer.fd()) {
        Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => {
            return told.say(&format!("missing {} kind={kind} errno={errno}", me()));
        }
        ring => ring.context("failed to set io_uring up")?,
    };
    timer.arm(20_000_000, 0)?;
    let mut ticks = 0_u64;
    let got = ring.request(op, &raw mut ticks, flags)?;
    ensure!(got > 0, "failed to do the request: {}", Errno::from_raw(-got));
    if op == OP_POLL_ADD {
        ticks = timer.read()?;
    }
    told.say(&format!("uring {} kind={kind} ticks={ticks}", me()))
}

/// `struct iocb`, of a request to be told.
#[repr(C)]
#[derive(Default)]
struct AioPoll {
    data: u64,
    key: [u32; 2],
    op: u16,
    priority: i16,
    fd: u32,
    events: u64,
    rest: [u64; 4],
}

/// `IOCB_CMD_POLL`.
const AIO_POLL: u16 = 5;

fn aio(told: &mut Told) -> Result<()> {
    let (timer, mut context) = (Timer::new(Clock::Monotonic)?, 0_usize);
    // SAFETY: the call writes one word.
    if unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) } < 0 {
        return told.say(&format!("missing {} kind=aio errno={}", me(), Errno::last()));
    }
    timer.arm(20_000_000, 0)?;
    let request = AioPoll {
        op: AIO_POLL,
        fd: timer.fd().unsigned_abs(),
        events: libc::POLLIN as u64,
        ..AioPoll::default()
    };
    let (request, mut done) = (&raw const request, [0_u64; 4]);
    // SAFETY: the kernel reads the request, and writes one result.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_io_submit, context, 1, &raw const request))
            .context("failed to make a request")?;
        Errno::result(libc::syscall(
            libc::SYS_io_getevents,
            context,
            1,
            1,
            done.as_mut_ptr(),
            null_mut::<c_void>(),
        ))
        .context("failed to wait for it")?;
    }
    told.say(&format!("uring {} kind=aio ticks={}", me(), timer.read()?))
}

/// Both rings and the entries, mapped until the process ends.
struct Ring {
    fd: i32,
    params: Params,
    sq: *mut c_void,
    cq: *mut c_void,
    sqes: *mut c_void,
}

impl Ring {
    /// With one registered file.
    fn new(flags: u32, file: i32) -> Result<Self, Errno> {
        let mut params: Params = [0; 30];
        (params[FLAGS], params[IDLE_MS]) = (flags, 2000);
        // SAFETY: the call reads and writes the parameters.
        let fd = Errno::result(unsafe {
            libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr())
        })? as i32;
        // SAFETY: the call reads one number.
        Errno::result(unsafe {
            libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_FILES, &raw const file, 1)
        })?;
        let sq = map(fd, params[SQ_ARRAY] as usize + 4 * params[SQ_ENTRIES] as usize, 0)?;
        let cq = map(fd, params[CQES] as usize + 16 * params[CQ_ENTRIES] as usize, OFF_CQ_RING)?;
        let sqes = map(fd, SQE_SIZE * params[SQ_ENTRIES] as usize, OFF_SQES)?;
        Ok(Self { fd, params, sq, cq, sqes })
    }

    /// Makes one request of the file, waits for it, and gives its result.
    fn request(&self, op: u8, ticks: *mut u64, flags: u32) -> Result<i32> {
        // opcode, flags; fd; offset; address; length; what to poll for.
        let mut entry = [0_u8; SQE_SIZE];
        (entry[0], entry[1]) = (op, FIXED_FILE);
        if op == OP_READ {
            entry[16..24].copy_from_slice(&(ticks.addr() as u64).to_le_bytes());
            entry[24..28].copy_from_slice(&8_u32.to_le_bytes());
        } else {
            entry[28..32].copy_from_slice(&(libc::POLLIN as u32).to_le_bytes());
        }
        let enter = ENTER_GETEVENTS | if flags & SETUP_SQPOLL == 0 { 0 } else { ENTER_SQ_WAKEUP };
        // SAFETY: the kernel made room for an entry, and for the words at these places.
        unsafe {
            self.sqes.cast::<[u8; SQE_SIZE]>().write(entry);
            word(self.sq, self.params[SQ_ARRAY]).store(0, Ordering::Relaxed);
            word(self.sq, self.params[SQ_TAIL]).store(1, Ordering::Release);
            let entered = libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd,
                1,
                1,
                enter,
                null_mut::<c_void>(),
                0_usize,
            );
            Errno::result(entered).context("failed to enter io_uring")?;
            // user_data, result, flags.
            Ok(self.cq.byte_add((self.params[CQES] + 8) as usize).cast::<i32>().read_volatile())
        }
    }
}

fn map(fd: i32, len: usize, offset: i64) -> Result<*mut c_void, Errno> {
    let (access, how) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
    // SAFETY: a new mapping touches nobody's memory.
    let place = unsafe { libc::mmap(null_mut(), len, access, how, fd, offset as libc::off_t) };
    if place == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(place) }
}

/// A word of a ring.
///
/// # Safety
///
/// The ring must be mapped, and have a word there.
unsafe fn word<'a>(ring: *mut c_void, offset: u32) -> &'a AtomicU32 {
    // SAFETY: the caller's promise; the kernel aligns its words.
    unsafe { AtomicU32::from_ptr(ring.byte_add(offset as usize).cast()) }
}
