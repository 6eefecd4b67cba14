//! The contracts between the stages: what one writes and the next reads.
//!
//! [`timespec`], [`event`] and [`moment`] are shared by the eBPF program and the tracer and need
//! nothing but `core`; so does [`hook`]. The `wire` feature adds what user space exchanges:
//! [`output`], [`lifecycle`] and [`exit`] (tracer → anyone), [`plan`] and [`journal`] (harness ↔ workload) and
//! [`frame`] (harness ↔ guest agent).
#![no_std]

#[cfg(feature = "wire")]
extern crate alloc;

pub mod event;
pub mod hook;
pub mod moment;
pub mod timespec;

#[cfg(feature = "wire")]
pub mod errno;
#[cfg(feature = "wire")]
pub mod exit;
#[cfg(feature = "wire")]
pub mod frame;
#[cfg(feature = "wire")]
pub mod journal;
#[cfg(feature = "wire")]
pub mod lifecycle;
#[cfg(feature = "wire")]
pub mod number;
#[cfg(feature = "wire")]
pub mod output;
#[cfg(feature = "wire")]
pub mod plan;
#[cfg(feature = "wire")]
pub mod pointer;

/// i386 system call number of `timerfd_settime32` (`arch/x86/entry/syscalls/syscall_32.tbl`).
pub const NR_TIMERFD_SETTIME32: u32 = 325;
