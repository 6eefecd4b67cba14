//! Does the calls of a plan and keeps a journal of them: [`interpret`] → [`call`] → [`journal`].
//!
//! Nothing here judges a result: that is the oracle's part, which gets the journal. All but [`i386`] builds and
//! is tested on any host, with a kernel made up by the tests.

pub mod call;
#[cfg(target_arch = "x86")]
pub mod i386;
pub mod interpret;
pub mod journal;
pub mod kernel;
mod memory;
pub mod stage;
