//! Does the calls of a plan and keeps a journal of them: [`interpret`] → [`call`] → [`journal`].
//!
//! Nothing here judges a result: that is the oracle's part, which gets the journal. Built for i686
//! and, as a twin that uses the same entry, for x86-64; all but the entry itself is tested on the
//! host, with a kernel made up by the tests.

#[cfg(target_arch = "x86_64")]
mod amd64;
pub mod call;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub mod enter;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub mod field;
#[cfg(target_arch = "x86")]
mod i386;
pub mod interpret;
pub mod journal;
mod keeper;
pub mod kernel;
pub mod lifecycle;
mod memory;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub mod process;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub mod program;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod ptracer;
#[cfg(target_arch = "x86")]
mod refused;
mod rival;
pub mod stage;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod waits;
