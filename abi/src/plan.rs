//! A plan: what the workload is to do, as a list of steps over a table of file descriptors.
//!
//! A plan is closed in itself: it opens every descriptor that it uses, in a process of its own. Its
//! bytes ([`Plan::encode`]) are a header that a damaged file does not pass, then postcard.

mod lifecycle;
mod validate;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use crate::pointer::{Page, Pointer};
use crate::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32};
pub use lifecycle::{Act, Api, Means, POSIX_TIMERS, PosixAct, TFD_CLOEXEC, TFD_NONBLOCK};

/// Slots in the descriptor table.
pub const SLOTS: usize = 32;

/// The most steps that a plan may have, so that the journal is bounded.
pub const MAX_STEPS: usize = 1 << 20;

/// A list of steps, done in order by one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What kind of process does them.
    pub process: Process,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A kind of process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Process {
    /// An i386 process.
    #[default]
    I386,
    /// A 64-bit process that makes the call by `int 0x80`, with something in the upper half of
    /// every register.
    Amd64,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Put a descriptor into a slot; what was there is closed.
    Open {
        /// Index below [`SLOTS`].
        slot: u8,
        /// What to open.
        kind: FdKind,
    },
    /// `timerfd_settime32`, the call under test.
    Call(Call),
    /// Set `CLOCK_REALTIME` to the time that it shows, which cancels the timers that asked for it
    /// (`timerfd_clock_was_set`, `fs/timerfd.c`).
    SetClock,
    /// Wait until the timer in the slot is readable, or until the time is over.
    Wait {
        /// Index below [`SLOTS`].
        slot: u8,
        /// The longest wait, milliseconds.
        timeout_ms: u16,
    },
    /// Fork; the child does the next `steps` steps and ends, the parent waits and goes on after
    /// them.
    Fork {
        /// Steps that the child does; no further `Fork` among them, and no `Threads`.
        steps: u16,
        /// How it ends.
        ending: Ending,
    },
    /// Start threads that do the next steps side by side, each as many, and wait for all of them.
    /// Those steps are calls, with pointers that are null or valid, or all with a held page at
    /// `utmr`: then no call goes on before each thread waits in one.
    Threads {
        /// Number of threads, at least 2.
        threads: u16,
        /// Calls of each thread, at least 1.
        calls: u16,
    },
    /// Take `CAP_WAKE_ALARM` out of the calling thread's effective capabilities, or put it back in;
    /// the arming of alarm clocks asks for it.
    WakeAlarm {
        /// Whether it is there afterwards.
        allowed: bool,
    },
    /// Make another call, which must succeed and is none of those under test: no event may come of
    /// it.
    Silent(Silent),
    /// Something else in a timer's life. A plan with any of these has no threads, no silent calls
    /// and no odd pointers.
    Lifecycle(Act),
    /// Keep the calling thread, and whoever it starts from now on, on one CPU. While such a thread
    /// waits for a held page it is moved to another CPU, so that its call returns there; the next
    /// one enters on its own again.
    Pin {
        /// Which of those that the workload may use, counted round; `None` lets it go anywhere
        /// again.
        cpu: Option<u8>,
    },
}

/// How a forked child ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ending {
    /// It exits when its steps are done.
    #[default]
    Exit,
    /// `SIGKILL`, right after its last step, or in it when that is a call with a
    /// [`Page::Withheld`].
    Kill,
    /// It executes another program right after its last step.
    Exec,
}

/// Calls that share code or a number with the one under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Silent {
    /// `timerfd_settime64`, i386 411, on a timer of its own.
    TimerfdSettime64,
    /// `timer_settime32`, i386 260, on a POSIX timer of its own, with an old setting asked for: it
    /// uses the same two functions that copy the structures.
    TimerSettime32,
    /// `timerfd_gettime32`, i386 326, on a timer of its own: it uses the function that copies the
    /// old setting out.
    TimerfdGettime32,
    /// Only in a 64-bit process: `timerfd_settime`, x86-64 286, on a timer of its own.
    NativeTimerfdSettime,
    /// Only in a 64-bit process: `mlock2`, x86-64 325, the number that the call under test has for
    /// i386.
    Mlock2,
    /// The call under test in a child whose seccomp filter answers it with an errno
    /// (`SECCOMP_RET_ERRNO`), so that the kernel never makes it.
    RefusedBySeccomp,
    /// The call under test in a child that enters by `sysenter` or `syscall` with a stack that
    /// cannot be read: the kernel gives up before it looks at the number (`__do_fast_syscall_32`,
    /// `arch/x86/entry/common.c`), and the child dies of its missing stack.
    FastEntryWithoutStack,
}

impl Silent {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TimerfdSettime64,
        Self::TimerSettime32,
        Self::TimerfdGettime32,
        Self::NativeTimerfdSettime,
        Self::Mlock2,
        Self::RefusedBySeccomp,
        Self::FastEntryWithoutStack,
    ];

    /// The kind of process that can make it.
    pub const fn process(self) -> Process {
        match self {
            Self::TimerfdSettime64
            | Self::TimerSettime32
            | Self::TimerfdGettime32
            | Self::RefusedBySeccomp
            | Self::FastEntryWithoutStack => Process::I386,
            Self::NativeTimerfdSettime | Self::Mlock2 => Process::Amd64,
        }
    }
}

/// What a slot of the descriptor table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FdKind {
    /// A new timerfd.
    Timer(Clock),
    /// A duplicate of another slot's descriptor; closed when that slot holds none.
    Dup(u8),
    /// Another slot's descriptor, sent through a socket to ourselves (`SCM_RIGHTS`).
    Passed(u8),
    /// A number that was open and is closed.
    Closed,
    /// A number that is used as it is, such as -1; never open.
    Number(i32),
    /// `open("/", O_PATH)`.
    Path,
    /// An open descriptor that is no timerfd.
    NotATimer(Other),
}

/// Clocks of `timerfd_create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// `CLOCK_REALTIME`.
    Realtime,
    /// `CLOCK_MONOTONIC`.
    Monotonic,
    /// `CLOCK_BOOTTIME`.
    Boottime,
    /// `CLOCK_REALTIME_ALARM`.
    RealtimeAlarm,
    /// `CLOCK_BOOTTIME_ALARM`.
    BoottimeAlarm,
}

impl Clock {
    /// The clock's number in `include/uapi/linux/time.h`.
    pub const fn id(self) -> i32 {
        match self {
            Self::Realtime => 0,
            Self::Monotonic => 1,
            Self::Boottime => 7,
            Self::RealtimeAlarm => 8,
            Self::BoottimeAlarm => 9,
        }
    }

    /// Whether setting a timer of it takes `CAP_WAKE_ALARM` (`isalarm`, `fs/timerfd.c`).
    pub const fn is_alarm(self) -> bool {
        matches!(self, Self::RealtimeAlarm | Self::BoottimeAlarm)
    }
}

/// Descriptors that are no timerfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Other {
    /// `eventfd`.
    Eventfd,
    /// The reading end of a pipe.
    Pipe,
    /// A Unix socket.
    Socket,
    /// The root directory.
    Directory,
}

/// How a call enters the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entry {
    /// `int 0x80`.
    #[default]
    Int80,
    /// `__kernel_vsyscall` of the vDSO, whose address is in `AT_SYSINFO`: `sysenter` or `syscall`,
    /// as the CPU allows.
    Vdso,
    /// `int 0x80` with other arguments, which a ptracer replaces by those of the call when it is
    /// told of the entry (`PTRACE_SYSCALL`).
    Rewritten,
}

/// The arguments of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Slot of the descriptor.
    pub slot: u8,
    /// The flags argument.
    pub flags: i32,
    /// The `utmr` argument.
    pub utmr: Pointer,
    /// The `otmr` argument.
    pub otmr: Pointer,
    /// What is put at `utmr` before the call, as far as there are pages that keep it.
    pub new: OldItimerspec32,
    /// What another thread writes at `utmr` during the call, if anything. With a held page there,
    /// it is written once the kernel waits for that page, and the page is then given with these
    /// bytes. Without one, `new` and this are written in turns, 8 bytes at once, for as long as
    /// calls with the same two follow each other.
    pub meanwhile: Option<OldItimerspec32>,
    /// The way into the kernel.
    pub entry: Entry,
}

impl Call {
    /// A call with nothing odd about it: no flags, memory of its own for both pointers, by `int
    /// 0x80`.
    pub const fn plain(slot: u8, new: OldItimerspec32) -> Self {
        Self {
            slot,
            flags: 0,
            utmr: Pointer::Valid,
            otmr: Pointer::Valid,
            new,
            meanwhile: None,
            entry: Entry::Int80,
        }
    }

    /// Whether any page of one of the pointers is of this kind.
    pub fn touches(&self, page: Page) -> bool {
        let bytes = || 0..ITIMERSPEC32_SIZE;
        bytes().any(|byte| self.utmr_page(byte) == page)
            || bytes().any(|byte| self.otmr_page(byte) == page)
    }

    /// Whether another thread writes at `utmr` all the time, so that chance decides what is read
    /// there.
    pub fn is_raced(&self) -> bool {
        self.meanwhile.is_some() && !self.touches(Page::Held)
    }

    /// The page of the n-th byte at `utmr`.
    pub const fn utmr_page(&self, byte: usize) -> Page {
        self.utmr.page_at(byte as i32)
    }

    /// The page of the n-th byte at `otmr`.
    pub const fn otmr_page(&self, byte: usize) -> Page {
        match self.otmr {
            Pointer::OverUtmr(by) => self.utmr.page_at(by as i32 + byte as i32),
            other => other.page_at(byte as i32),
        }
    }
}

/// Why bytes are not a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// They do not begin with the magic number.
    NotAPlan,
    /// They are of another version of this format.
    Version(u32),
    /// They end early, or more follow.
    Length {
        /// Bytes that the header promises.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The checksum does not match: they were altered.
    Checksum,
    /// postcard could not decode the steps.
    Decode(String),
    /// A step cannot be done.
    Step {
        /// Index of the step.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl core::fmt::Display for PlanError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotAPlan => write!(f, "not a plan: the magic number is missing"),
            Self::Version(found) => write!(
                f,
                "plan of format version {found}, but this program reads version {VERSION}"
            ),
            Self::Length { expected, found } => {
                write!(
                    f,
                    "plan is truncated or too long: {found} bytes after the header, expected {expected}"
                )
            }
            Self::Checksum => write!(f, "plan is damaged: the checksum does not match"),
            Self::Decode(reason) => write!(f, "plan is damaged: {reason}"),
            Self::Step { index, reason } => {
                write!(f, "step {index} of the plan cannot be done: {reason}")
            }
        }
    }
}

impl core::error::Error for PlanError {}

const MAGIC: [u8; 4] = *b"S32P";
const VERSION: u32 = 4;
const HEADER_LEN: usize = 20;

impl Plan {
    /// The plan's bytes: magic, version, length and FNV-1a checksum (little endian), then the
    /// steps.
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(&(self.process, &self.steps))
            .expect("steps are plain data, which postcard always encodes");
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(
            &(u32::try_from(body.len()).expect("a plan is far below 4 GiB")).to_le_bytes(),
        );
        bytes.extend_from_slice(&fnv1a(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// The plan that the bytes hold, checked by [`Plan::validate`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() < HEADER_LEN || bytes[..4] != MAGIC {
            return Err(PlanError::NotAPlan);
        }
        let word =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if word(4) != VERSION {
            return Err(PlanError::Version(word(4)));
        }
        let (expected, body) = (word(8) as usize, &bytes[HEADER_LEN..]);
        if body.len() != expected {
            return Err(PlanError::Length { expected, found: body.len() });
        }
        if fnv1a(body).to_le_bytes() != bytes[12..HEADER_LEN] {
            return Err(PlanError::Checksum);
        }
        let (process, steps) = postcard::from_bytes(body)
            .map_err(|error| PlanError::Decode(alloc::format!("{error}")))?;
        let plan = Self { process, steps };
        plan.validate()?;
        Ok(plan)
    }

    /// Checks what the types cannot say: slots in range, descriptors opened before they are used,
    /// pointers as their types document, forks and threads whole and not nested, no more than
    /// [`MAX_STEPS`].
    pub fn validate(&self) -> Result<(), PlanError> {
        validate::check(self)
    }

    /// Whether it is of lifecycles of timers, of which everything is journalled.
    pub fn is_of_lifecycles(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Lifecycle(_)))
    }

    /// Number of calls under test.
    pub fn calls(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Call(_))).count()
    }
}

impl Step {
    /// How many of the steps behind it belong to it: those of a forked child or of threads.
    pub const fn inner(&self) -> usize {
        match *self {
            Self::Fork { steps, .. } => steps as usize,
            Self::Threads { threads, calls } => threads as usize * calls as usize,
            _ => 0,
        }
    }
}

/// The calls of each thread that the first of these steps starts; no threads when it starts none.
pub fn threads_of(steps: &[Step]) -> impl Iterator<Item = impl Iterator<Item = &Call>> {
    let (inner, calls) = match steps {
        [Step::Threads { threads, calls }, inner @ ..] => {
            (&inner[..usize::from(*threads) * usize::from(*calls)], usize::from(*calls))
        }
        _ => (&[][..], 1),
    };
    inner.chunks_exact(calls).map(|steps| {
        steps.iter().filter_map(|step| match step {
            Step::Call(call) => Some(call),
            _ => None,
        })
    })
}

/// FNV-1a, 64 bits: a checksum against accidents, not against intent.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
