//! How a 64-bit process enters the kernel: by `int 0x80`, as an i386 process does, for the call
//! under test, and by its own system calls for everything else.

use std::arch::asm;

use nix::errno::Errno;
use nix::libc;
use settime32_abi::NR_TIMERFD_SETTIME32;
use settime32_abi::number::x86_64::TIMERFD_SETTIME;
use settime32_abi::plan::{Entry, Silent};

use crate::process::{KernelItimerspec, KernelTimespec, checked, on_own_timer};
use crate::ptracer::{DECOY, Registers};

/// Numbers of `arch/x86/entry/syscalls/syscall_64.tbl`.
pub(crate) mod number {
    pub(crate) use settime32_abi::number::x86_64::TIMERFD_CREATE;

    pub(crate) const CAPGET: u32 = 125;
    pub(crate) const CAPSET: u32 = 126;
    pub(crate) const CLOCK_SETTIME: u32 = 227;
    pub(crate) const CLOCK_GETTIME: u32 = 228;
}

/// The number that `timerfd_settime32` has for i386.
const NR_MLOCK2: u32 = 325;

/// What the upper halves of the registers hold, a word each: the kernel must not look at them.
const DIRT: [u32; 6] =
    [0xdead_beef, 0xcafe_0000, 0xffff_ffff, 0x8000_0000, 0x0000_0001, 0x7fff_fffe];

/// The ways into the kernel.
#[derive(Debug)]
pub(crate) struct Doors;

impl Doors {
    pub(crate) fn find() -> Self {
        Self
    }

    /// The call under test.
    ///
    /// # Safety
    ///
    /// As for [`syscall`].
    #[inline]
    pub(crate) unsafe fn settime32(&self, entry: Entry, arguments: [u32; 4]) -> i32 {
        match entry {
            // SAFETY: the caller's promise.
            Entry::Int80 => unsafe { int80(NR_TIMERFD_SETTIME32, arguments) },
            Entry::Vdso => {
                unreachable!("Plan::validate knows that a 64-bit process has no __kernel_vsyscall")
            }
            Entry::Rewritten => unreachable!("a ptracer has this done by int 0x80"),
        }
    }
}

/// Whether a thread stops here at the entry of the call under test with the arguments that are to
/// be replaced.
pub(crate) fn enters_settime32(registers: &Registers) -> bool {
    registers.orig_rax as u32 == NR_TIMERFD_SETTIME32 && registers.rbx as u32 == DECOY[0]
}

/// Puts the arguments into the lower halves of the registers, and [`DIRT`] into the upper ones.
pub(crate) fn replace_arguments(registers: &mut Registers, arguments: [u32; 4]) {
    let dirty = |at: usize| u64::from(DIRT[at]) << 32 | u64::from(arguments[at]);
    [registers.rbx, registers.rcx, registers.rdx, registers.rsi] = [0, 1, 2, 3].map(dirty);
}

/// Any other system call: 0 or more, or a negative errno.
///
/// # Safety
///
/// The kernel must not be made to write where Rust does not expect it.
pub(crate) unsafe fn syscall(number: u32, [a, b, c, d]: [usize; 4]) -> i32 {
    // SAFETY: the caller's promise.
    let ret = unsafe { libc::syscall(libc::c_long::from(number), a, b, c, d) };
    if ret == -1 { -Errno::last_raw() } else { ret as i32 }
}

/// A call by the i386 entry, with a number of its table; the upper halves of the registers are
/// [`DIRT`].
///
/// # Safety
///
/// As for [`syscall`].
pub(crate) unsafe fn of_i386(number: u32, arguments: [usize; 4]) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { int80(number, arguments.map(|argument| argument as u32)) }
}

/// Makes a call that must go unreported.
pub(crate) fn silent(call: Silent) -> Result<(), Errno> {
    match call {
        Silent::NativeTimerfdSettime => on_own_timer(|fd| {
            let later = KernelTimespec { tv_sec: 900, tv_nsec: 7 };
            let (new, mut old) = (
                KernelItimerspec { it_value: later, ..Default::default() },
                KernelItimerspec::default(),
            );
            // SAFETY: the call reads the one and writes the other structure.
            unsafe {
                checked(TIMERFD_SETTIME, [fd, 0, &raw const new as usize, &raw mut old as usize])
            }
        }),
        Silent::Mlock2 => {
            let here = 0_u64;
            // SAFETY: the call keeps the page of `here` in memory, which it is in anyway.
            unsafe { checked(NR_MLOCK2, [&raw const here as usize, size_of_val(&here), 0, 0]) }
                .map(drop)
        }
        Silent::TimerfdSettime64
        | Silent::TimerSettime32
        | Silent::TimerfdGettime32
        | Silent::RefusedBySeccomp
        | Silent::FastEntryWithoutStack => Err(Errno::ENOSYS),
    }
}

/// A system call by the i386 entry; the low halves of the registers are exactly these, the upper
/// ones [`DIRT`].
///
/// # Safety
///
/// As for [`syscall`].
#[inline]
unsafe fn int80(number: u32, [bx, cx, dx, si]: [u32; 4]) -> i32 {
    let low = [number, bx, cx, dx, si, 0];
    let mut registers = [0_u64; 6];
    for ((register, low), dirt) in registers.iter_mut().zip(low).zip(DIRT) {
        *register = u64::from(dirt) << 32 | u64::from(low);
    }
    let ret: u64;
    // LLVM keeps rbx for itself, so that it is saved here and loaded from memory. SAFETY: the
    // registers and the stack are as before at the end; the rest is the caller's promise.
    unsafe {
        asm!(
            "push rbx",
            "mov rbx, [rax + 8]",
            "mov rcx, [rax + 16]",
            "mov rdx, [rax + 24]",
            "mov rsi, [rax + 32]",
            "mov rdi, [rax + 40]",
            "mov rax, [rax]",
            "int 0x80",
            "pop rbx",
            inlateout("rax") registers.as_ptr() => ret,
            out("rcx") _,
            out("rdx") _,
            out("rsi") _,
            out("rdi") _,
            // Older kernels clear these on the way out.
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    ret as i32
}
