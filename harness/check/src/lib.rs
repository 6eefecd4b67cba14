//! What ought to be captured, and whether it was: [`generate`] makes plans of calls, the [`model`]
//! says what the kernel makes of them, the [`oracle`] compares that with what a tracer printed, and
//! a [`verdict`] comes of it. Nothing here reads a file, starts a program or knows a virtual
//! machine.

pub mod generate;
pub mod model;
pub mod oracle;
pub mod verdict;
pub mod work;
