//! The harness, a module a stage: [`generate`] → [`boot`] → [`session`] (workload and tracer) →
//! [`oracle`] (with the [`model`] of the kernel) → [`verdict`] → [`report`]. [`verify`] is the
//! pipeline.
//!
//! What decides is the crate `settime32-check`, guests are `settime32-vm`, and what a program of this
//! machine needs in one is `settime32-rootfs`; none of them knows this one.

pub mod bench;
pub mod cli;
pub mod compare;
pub mod cost;
pub mod embedded;
pub mod failure;
pub mod fuzz;
pub mod matrix;
pub mod mutants;
pub mod output;
pub mod pristine;
pub mod progress;
pub mod regression;
pub mod report;
pub mod reproducer;
pub mod run;
pub mod scenario;
pub mod session;
pub mod setup;
pub mod shrink;
pub mod verify;
pub(crate) mod words;

pub use settime32_check::{generate, model, oracle, verdict, work};
use settime32_vm::cache;
pub use settime32_vm::{boot, kernels, programs};
