//! How an i386 process enters the kernel, and what it can do there that must go unreported.

use std::arch::asm;

use nix::errno::Errno;
use nix::libc;
use settime32_abi::NR_TIMERFD_SETTIME32;
use settime32_abi::number::i386::{
    TIMER_CREATE, TIMER_DELETE, TIMER_SETTIME32, TIMERFD_GETTIME32, TIMERFD_SETTIME64,
};
use settime32_abi::plan::{Clock, Entry, Silent};
use settime32_abi::timespec::OldItimerspec32;

use crate::process::{KernelItimerspec, KernelTimespec, checked, on_own_timer};
use crate::ptracer::{DECOY, Registers};
use crate::refused;

/// Numbers of `arch/x86/entry/syscalls/syscall_32.tbl`; those of the clocks take 64-bit times.
pub(crate) mod number {
    pub(crate) use settime32_abi::number::i386::TIMERFD_CREATE;

    pub(crate) const CAPGET: u32 = 184;
    pub(crate) const CAPSET: u32 = 185;
    pub(crate) const CLOCK_GETTIME: u32 = 403;
    pub(crate) const CLOCK_SETTIME: u32 = 404;
}

/// `AT_SYSINFO` of `arch/x86/include/uapi/asm/auxvec.h`: the address of the vDSO's
/// `__kernel_vsyscall`.
const AT_SYSINFO: libc::c_ulong = 32;

/// `SIGEV_NONE` of `include/uapi/asm-generic/siginfo.h`.
const SIGEV_NONE: u32 = 1;

/// The ways into the kernel.
#[derive(Debug)]
pub(crate) struct Doors {
    /// `__kernel_vsyscall`; 0 where the kernel gives no vDSO.
    vsyscall: u32,
}

impl Doors {
    pub(crate) fn find() -> Self {
        // SAFETY: the call only looks at what the kernel gave this process.
        Self { vsyscall: unsafe { libc::getauxval(AT_SYSINFO) } as u32 }
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
            // SAFETY: as above, and the address is what the kernel gave for this.
            Entry::Vdso => unsafe { vsyscall(self.vsyscall, NR_TIMERFD_SETTIME32, arguments) },
            Entry::Rewritten => unreachable!("a ptracer has this done by int 0x80"),
        }
    }
}

/// Whether a thread stops here at the entry of the call under test with the arguments that are to
/// be replaced.
pub(crate) fn enters_settime32(registers: &Registers) -> bool {
    registers.orig_eax.cast_unsigned() == NR_TIMERFD_SETTIME32
        && registers.ebx.cast_unsigned() == DECOY[0]
}

/// Puts the arguments into the registers.
pub(crate) fn replace_arguments(registers: &mut Registers, arguments: [u32; 4]) {
    [registers.ebx, registers.ecx, registers.edx, registers.esi] = arguments.map(u32::cast_signed);
}

/// Enters the kernel for the call under test by the fast way of this CPU's maker, with a stack of
/// which nothing is mapped. Whoever does it is killed by it.
///
/// # Safety
///
/// The caller's process must be one that may die.
pub(crate) unsafe fn enter_without_stack() -> ! {
    const INTEL: u32 = u32::from_le_bytes(*b"Genu");
    if std::arch::x86::__cpuid(0).ebx == INTEL {
        // The kernel takes the stack pointer from ebp there (`entry_SYSENTER_compat`).
        // SAFETY: it does not come back.
        unsafe {
            asm!("mov ebp, 16", "mov esp, ebp", "sysenter", "ud2", in("eax") NR_TIMERFD_SETTIME32, options(noreturn))
        }
    }
    // SAFETY: as above.
    unsafe {
        asm!("mov esp, 16", "syscall", "ud2", in("eax") NR_TIMERFD_SETTIME32, options(noreturn))
    }
}

/// Any other system call: 0 or more, or a negative errno.
///
/// # Safety
///
/// The kernel must not be made to write where Rust does not expect it.
pub(crate) unsafe fn syscall(number: u32, arguments: [usize; 4]) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { int80(number, arguments.map(|argument| argument as u32)) }
}

/// A call with a number of the i386 table.
///
/// # Safety
///
/// As for [`syscall`].
pub(crate) unsafe fn of_i386(number: u32, arguments: [usize; 4]) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { syscall(number, arguments) }
}

/// Makes a call that must go unreported.
pub(crate) fn silent(call: Silent) -> Result<(), Errno> {
    match call {
        Silent::TimerfdSettime64 => on_own_timer(|fd| {
            let later = KernelTimespec { tv_sec: 900, tv_nsec: 7 };
            let (new, mut old) = (
                KernelItimerspec { it_value: later, ..Default::default() },
                KernelItimerspec::default(),
            );
            // SAFETY: the call reads the one and writes the other structure.
            unsafe {
                checked(TIMERFD_SETTIME64, [fd, 0, &raw const new as usize, &raw mut old as usize])
            }
        }),
        Silent::TimerfdGettime32 => on_own_timer(|fd| {
            let mut old = OldItimerspec32::default();
            // SAFETY: the call writes the structure.
            unsafe { checked(TIMERFD_GETTIME32, [fd, &raw mut old as usize, 0, 0]) }
        }),
        Silent::TimerSettime32 => set_posix_timer(),
        Silent::RefusedBySeccomp => refused::by_seccomp(),
        Silent::FastEntryWithoutStack => refused::for_its_stack(),
        Silent::NativeTimerfdSettime | Silent::Mlock2 => Err(Errno::ENOSYS),
    }
}

/// Makes a POSIX timer, sets it, asks for the old setting too, and deletes it.
fn set_posix_timer() -> Result<(), Errno> {
    // `struct sigevent`: value, signal, how to notify, and what is of no use here.
    let mut event = [0_u32; 16];
    event[2] = SIGEV_NONE;
    let mut timer = 0_u32;
    let (new, mut old) = ([7_i32, 8, 900, 9], [0_i32; 4]);
    // SAFETY: the calls read and write what is given here, for as long as they say.
    unsafe {
        let (clock, of) = (Clock::Monotonic.id() as usize, |timer: u32| timer as usize);
        checked(TIMER_CREATE, [clock, event.as_ptr() as usize, &raw mut timer as usize, 0])?;
        let set = checked(
            TIMER_SETTIME32,
            [of(timer), 0, new.as_ptr() as usize, old.as_mut_ptr() as usize],
        );
        checked(TIMER_DELETE, [of(timer), 0, 0, 0])?;
        set.map(drop)
    }
}

/// A system call by the i386 entry, with exactly these register values.
///
/// # Safety
///
/// The kernel must not be made to write where Rust does not expect it.
#[inline]
unsafe fn int80(number: u32, [bx, cx, dx, si]: [u32; 4]) -> i32 {
    let registers = [number, bx, cx, dx, si];
    let ret;
    // LLVM keeps ebx and esi for itself, so that they are saved here and loaded from memory.
    // SAFETY: the registers and the stack are as before at the end; the rest is the caller's
    // promise.
    unsafe {
        asm!(
            "push ebx",
            "push esi",
            "mov ebx, [eax + 4]",
            "mov ecx, [eax + 8]",
            "mov edx, [eax + 12]",
            "mov esi, [eax + 16]",
            "mov eax, [eax]",
            "int 0x80",
            "pop esi",
            "pop ebx",
            inlateout("eax") registers.as_ptr() => ret,
            out("ecx") _,
            out("edx") _,
        );
    }
    ret
}

/// A system call by the vDSO's entry at `vsyscall`, with exactly these register values but for
/// `ebp`, which the vDSO keeps on the stack.
///
/// # Safety
///
/// As for [`int80`], and the address must be that of `__kernel_vsyscall`.
#[inline]
unsafe fn vsyscall(vsyscall: u32, number: u32, [bx, cx, dx, si]: [u32; 4]) -> i32 {
    let registers = [number, bx, cx, dx, si, vsyscall];
    let ret;
    // SAFETY: as in `int80`; the vDSO's entry gives back all registers but eax.
    unsafe {
        asm!(
            "push ebx",
            "push esi",
            "push dword ptr [eax + 20]",
            "mov ebx, [eax + 4]",
            "mov ecx, [eax + 8]",
            "mov edx, [eax + 12]",
            "mov esi, [eax + 16]",
            "mov eax, [eax]",
            "call dword ptr [esp]",
            "add esp, 4",
            "pop esi",
            "pop ebx",
            inlateout("eax") registers.as_ptr() => ret,
            out("ecx") _,
            out("edx") _,
        );
    }
    ret
}
