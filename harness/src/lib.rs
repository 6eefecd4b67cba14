//! The harness, a module a stage: [`generate`] → [`boot`] → [`session`] (workload and tracer) →
//! [`oracle`] (with the [`model`] of the kernel) → [`verdict`] → [`report`]. [`verify`] is the
//! pipeline.

pub mod bench;
pub mod boot;
mod cache;
pub mod cli;
pub mod compare;
mod connection;
pub mod cost;
mod deadline;
pub mod embedded;
pub mod failure;
pub mod fuzz;
pub mod kernels;
pub mod matrix;
pub mod mutants;
pub mod output;
pub mod pristine;
pub mod programs;
pub mod progress;
pub mod regression;
pub mod report;
pub mod reproducer;
pub mod run;
mod say;
pub mod scenario;
pub mod session;
pub mod shrink;
pub mod verify;
mod warm;

pub use settime32_check::{generate, model, oracle, verdict, work};
