//! The guest programs that this build holds: `build.rs` builds and embeds them. Where one could not
//! be built, there is the reason in its place.

use crate::boot::GuestPrograms;
use crate::failure::InfraError;

/// A guest program of this build, or why the build left it out.
struct Program {
    name: &'static str,
    content: &'static [u8],
    stub_reason: Option<&'static str>,
}

macro_rules! program {
    ($name:literal, $reason:literal) => {
        Program {
            name: $name,
            content: include_bytes!(concat!(env!("OUT_DIR"), "/", $name)),
            stub_reason: option_env!($reason),
        }
    };
}

static AGENT: Program = program!("settime32-agent", "SETTIME32_STUB_REASON_SETTIME32_AGENT");
static BARE_INIT: Program =
    program!("settime32-bare-init", "SETTIME32_STUB_REASON_SETTIME32_BARE_INIT");
static TRACER: Program = program!("settime32-tracer", "SETTIME32_STUB_REASON_SETTIME32_TRACER");
static MUTANT: Program = program!("settime32-mutant", "SETTIME32_STUB_REASON_SETTIME32_MUTANT");
static WORKLOAD: Program =
    program!("settime32-workload", "SETTIME32_STUB_REASON_SETTIME32_WORKLOAD");
static WORKLOAD64: Program =
    program!("settime32-workload64", "SETTIME32_STUB_REASON_SETTIME32_WORKLOAD64");
static EMPTY_PROBES: Program =
    program!("settime32-empty-probes", "SETTIME32_STUB_REASON_SETTIME32_EMPTY_PROBES");

/// Where the tracer is in the guest.
pub const TRACER_PATH: &str = "/bin/settime32-tracer";
/// Where the workload is in the guest.
pub const WORKLOAD_PATH: &str = "/bin/settime32-workload";
/// Where its 64-bit twin is in the guest.
pub const WORKLOAD64_PATH: &str = "/bin/settime32-workload64";
/// The name that the kernel gives the process of either: the file's, cut to `TASK_COMM_LEN - 1`
/// bytes.
pub const WORKLOAD_COMM: &str = "settime32-workl";

impl Program {
    fn content(&self) -> Result<&'static [u8], InfraError> {
        match self.stub_reason {
            Some(reason) => Err(InfraError::Stub { program: self.name, reason }),
            None => Ok(self.content),
        }
    }
}

/// What every guest of this harness has.
pub fn guest_programs() -> Result<GuestPrograms, InfraError> {
    let others = vec![
        (TRACER_PATH, TRACER.content()?.into()),
        (WORKLOAD_PATH, WORKLOAD.content()?.into()),
        (WORKLOAD64_PATH, WORKLOAD64.content()?.into()),
    ];
    Ok(GuestPrograms { agent: AGENT.content()?.into(), others })
}

/// An init that prints one line, for the boot that others are compared with.
pub(crate) fn bare_init() -> Result<&'static [u8], InfraError> {
    BARE_INIT.content()
}

/// The mutants' program, which only few runs want in the guest.
pub(crate) fn mutant() -> Result<&'static [u8], InfraError> {
    MUTANT.content()
}

/// The program that attaches empty probes, which goes only into the guests that measure.
pub(crate) fn empty_probes() -> Result<&'static [u8], InfraError> {
    EMPTY_PROBES.content()
}
