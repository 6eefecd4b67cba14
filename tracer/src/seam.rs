//! Where the harness's mutants depart from this one. Whatever a method does by default is
//! what the shipped program does; it overrides none, and the compiler leaves nothing of the seam in
//! it.

use settime32_abi::event::RawEvent;
use settime32_abi::output::Summary;

pub use crate::attach::Mode;
pub use crate::lifecycle::{Armed, Event};
pub use crate::preflight::{Refusal, SYMBOL};
use crate::probes;

/// What can be done otherwise.
pub trait Seam {
    /// The eBPF object. Fails when the build left it out.
    fn object(&self) -> Result<&'static [u8], Refusal> {
        probes::embedded_object()
    }

    /// Variables of the object that are set before it is loaded.
    fn globals(&self) -> &[(&'static str, u32)] {
        &[]
    }

    /// Programs of the object and the kernel's functions that they go to, in the order in which
    /// they are attached.
    fn programs(&self, mode: Mode) -> Vec<(&'static str, &'static str)> {
        let calls = mode.hooks().iter().map(|hook| (hook.program, hook.function));
        mode.switch_programs().iter().copied().chain(calls).collect()
    }

    /// Looks at a call before anything is made of it; whether it is reported.
    fn call(&mut self, _raw: &mut RawEvent) -> bool {
        true
    }

    /// What was appended from `begin` on is a call.
    fn wrote(&mut self, _line: &mut Vec<u8>, _begin: usize, _raw: &RawEvent) {}

    /// A call set a timer.
    fn armed(&mut self, _raw: &RawEvent, _armed: &mut Armed) {}

    /// Whether it makes sure that its probes see. What is wrong on purpose may not.
    fn watches(&self) -> bool {
        true
    }

    /// Looks at another event before its form is given it; whether it is.
    fn tells(&mut self, _event: &mut Event) -> bool {
        true
    }

    /// Looks at the last line before it is printed.
    fn summarise(&mut self, _summary: &mut Summary) {}
}

/// The shipped tracer.
#[derive(Clone, Copy, Debug)]
pub struct Shipped;

impl Seam for Shipped {}
