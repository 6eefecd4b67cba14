//! Mutants: the shipped one with one error each, which the oracle must find. A
//! mutant is a file in `tracers/` and a word in its list; this is what such a file says
//! ([`About`]) and may do ([`Wrong`]).
//!
//! The kernel's half is compiled for BPF only, around the modules of the shipped object, which know
//! nothing of it; the other half for the program `settime32-mutant`. The harness takes the
//! list.
#![cfg_attr(target_arch = "bpf", no_std, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
pub mod kernel;
mod mutants;

// The shipped tracer's modules, as they are.
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/comm.rs"]
mod comm;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/copies.rs"]
mod copies;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/entry.rs"]
mod entry;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/entry_path.rs"]
mod entry_path;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/exit.rs"]
mod exit;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/filter.rs"]
mod filter;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/follow.rs"]
mod follow;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/ids.rs"]
mod ids;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/in_flight.rs"]
mod in_flight;
#[cfg(target_arch = "bpf")]
mod losses;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/maps.rs"]
mod maps;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/registers.rs"]
mod registers;
#[cfg(target_arch = "bpf")]
#[path = "../../../tracer-ebpf/src/switch.rs"]
mod switch;

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::COMM_LEN;
#[cfg(target_arch = "bpf")]
use settime32_abi::event::Counter;
use settime32_abi::event::RawEvent;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{Cancel, Expiry, RelatedCall, Release, TimerId, Wakeup};
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::Summary;

pub use mutants::MUTANTS;
#[cfg(not(target_arch = "bpf"))]
pub use mutants::user_side;

/// The name that stands for no error at all.
pub const RIGHT: &str = "none";

/// What a mutant is, and what proves that it is caught.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Stable name: that of its file.
    pub name: &'static str,
    /// Its error, in a line.
    pub error: &'static str,
    /// What it is caught by.
    pub caught_by: Work,
    /// The finding that the error must lead to. Any other one does not count.
    pub shows: Shows,
    /// Where it hooks the entry and the return, when that is the error.
    pub wrapper: Option<&'static str>,
    /// The first kernel on which it can be seen.
    pub since: (u32, u32),
    /// kprobe programs of the object that it has besides, and their functions.
    pub also: &'static [(&'static str, &'static str)],
    /// Programs that it lacks.
    pub without: &'static [&'static str],
}

impl About {
    /// No error; what others leave out is taken from here.
    pub const RIGHT: Self = Self {
        name: RIGHT,
        error: "none",
        caught_by: Work::Bulk { calls: 0 },
        shows: Shows::Missing,
        wrapper: None,
        since: (0, 0),
        also: &[],
        without: &[],
    };
}

/// The calls that a mutant is caught by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A case of the catalogue that is a plan.
    Case(&'static str),
    /// A case that is a scenario, with tracers of its own. They make sure that they see.
    Scenario(&'static str),
    /// Generated calls, in plans as `verify --calls` makes them.
    Bulk {
        /// How many.
        calls: u64,
    },
    /// The same with a ring buffer that is too small on purpose.
    Starved {
        /// How many; no more than one plan has, since the next would wait for what never comes.
        calls: u64,
    },
    /// Lifecycles of timers, of which the tracer is asked for everything. The kernel's half is the
    /// shipped one.
    Lifecycle {
        /// How many; no more than one plan has, which is of a 32-bit program.
        timers: u64,
    },
}

/// A finding of the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// This field of an event is not what it must be.
    Field(&'static str),
    /// A call has no event, and it was not counted as lost.
    Missing,
    /// An event came twice.
    Doubled,
    /// An event of no call.
    Extra,
    /// An event is of another timer, or of none.
    Identity,
    /// An expiry before its time.
    Early,
    /// An event came before that of an earlier call.
    OutOfOrder,
    /// Timestamps that cannot be right.
    BadTimestamp,
    /// A line is no event, and what the oracle says of it has these words.
    Unparseable(&'static str),
    /// A line is not as documented, and what the oracle says of it has these words.
    Undocumented(&'static str),
    /// This count of the summary is wrong.
    Summary(&'static str),
    /// A scenario says that something is wrong, in these words among others.
    Said(&'static str),
}

/// What a mutant does otherwise; what it does not override, it does right.
pub trait Wrong {
    /// The entry's program has taken the call in. `pt_regs` is the kernel's address of the
    /// registers.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(_event: &mut RawEvent, _pt_regs: usize)
    where
        Self: Sized,
    {
    }

    /// `put_old_itimerspec32` was given `its`, by whatever call of this thread, and that was noted
    /// if it was a call in flight.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn old(_tid: u32, _its: usize)
    where
        Self: Sized,
    {
    }

    /// A call in flight returns `ret`, and was not reported yet; gives what is taken for its
    /// result.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(_event: &mut RawEvent, ret: i64) -> i64
    where
        Self: Sized,
    {
        ret
    }

    /// Whether a thread is followed that takes its leader's id over.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn follows_execs() -> bool
    where
        Self: Sized,
    {
        true
    }

    /// Whether a loss is counted.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn counts(_counter: Counter) -> bool
    where
        Self: Sized,
    {
        true
    }

    /// One of [`About::also`] is entered.
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn other(_pt_regs: usize)
    where
        Self: Sized,
    {
    }

    /// An event came out of the buffer.
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, _event: &mut RawEvent) {}

    /// Whether that event is reported.
    #[cfg(not(target_arch = "bpf"))]
    fn takes(&mut self, _event: &RawEvent) -> bool {
        true
    }

    /// It is asked for these processes and for threads with these names; whether [`Self::takes`]
    /// sees to that, and nothing else.
    #[cfg(not(target_arch = "bpf"))]
    fn filters_itself(&mut self, _pids: &[u32], _comms: &[[u8; COMM_LEN]]) -> bool {
        false
    }

    /// `line` is what is printed of an event.
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, _line: &mut Vec<u8>, _event: &RawEvent) {}

    /// A related call is about to be printed; whether it is.
    #[cfg(not(target_arch = "bpf"))]
    fn related(&mut self, _call: &mut RelatedCall) -> bool {
        true
    }

    /// The same of an expiry.
    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, _expiry: &mut Expiry) -> bool {
        true
    }

    /// The same of a cancellation.
    #[cfg(not(target_arch = "bpf"))]
    fn cancel(&mut self, _cancel: &mut Cancel) -> bool {
        true
    }

    /// The same of a wake-up.
    #[cfg(not(target_arch = "bpf"))]
    fn wakeup(&mut self, _wakeup: &mut Wakeup) -> bool {
        true
    }

    /// The same of a release.
    #[cfg(not(target_arch = "bpf"))]
    fn release(&mut self, _release: &mut Release) -> bool {
        true
    }

    /// A clock was set; whether `lateness` is told.
    #[cfg(not(target_arch = "bpf"))]
    fn clock_set(&mut self) -> bool {
        true
    }

    /// The same of ticks that were put into a timer.
    #[cfg(not(target_arch = "bpf"))]
    fn ticks_set(&mut self) -> bool {
        true
    }

    /// The call set this timer, which is due then by its clock.
    #[cfg(not(target_arch = "bpf"))]
    fn armed(&mut self, _event: &RawEvent, _timer: TimerId, _expires_ns: &mut i64) {}

    /// Whether it makes sure that its probes see.
    #[cfg(not(target_arch = "bpf"))]
    fn looks(&self) -> bool {
        true
    }

    /// The last line, before it is printed.
    #[cfg(not(target_arch = "bpf"))]
    fn summary(&mut self, _summary: &mut Summary) {}
}
