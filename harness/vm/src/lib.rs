//! A Linux kernel and a guest in QEMU that is ready in a fraction of a second.
//!
//! [`kernels`] finds or fetches a kernel, [`boot`] makes a guest of it whose agent answers, [`warm`]
//! lets further guests go on from the saved state of one that was booted before, [`programs`] runs
//! programs in it. What is kept between runs is in the [`cache`]; why there is no guest is in
//! [`failure`].
//!
//! The guest's programs are given by whoever wants the guest ([`boot::GuestPrograms`]); nothing here
//! knows what they do, but for the agent, which speaks [`settime32_abi::frame`]. Each module imports
//! only from those above it in this list: say, deadline, failure, cache, kernels, connection, boot,
//! programs, warm.

pub mod boot;
pub mod cache;
pub mod connection;
pub mod deadline;
pub mod failure;
pub mod kernels;
pub mod programs;
mod say;
pub mod warm;

pub use say::Say;
