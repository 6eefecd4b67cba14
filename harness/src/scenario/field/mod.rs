//! The tracer in the field: containers, clocks, privileges, switches, timers of every kind, outputs that fail.
//!
//! Programs of the workload (`settime32-workload field …`) do what real ones did where tracers were wrong, and say what truly
//! happened; `settime32-workload enter …` starts them, or the tracer, in containers. Calls of plans are compared by the oracle;
//! of the other events only as much is looked at here as the program's own account decides. Nothing is asserted about how long
//! anything takes, beyond what the program itself measured.

mod clocks;
mod containers;
mod ends;
mod guest;
mod lives;
mod privileges;
mod sight;
mod told;

use settime32_abi::plan::{Call, Clock, Plan, Pointer};

use super::Outcome;
use super::stand::Stand;
use crate::failure::Failure;
use crate::generate::catalogue::script::Script;
use crate::generate::catalogue::{self, Field};

/// Calls in one of the plans of [`some`].
const SOME: usize = 300;

/// Calls that differ from each other in all that they pass.
fn some(name: &str, seed: u64, calls: usize) -> Plan {
    let mut script = Script::new(name, seed);
    script.timer(0, Clock::Monotonic);
    for call in 0..calls {
        let new = if call % 4 == 0 { script.any() } else { script.valid() };
        let (utmr, otmr) = match call % 5 {
            0 => (Pointer::Null, Pointer::Valid),
            1 => (Pointer::Valid, Pointer::Null),
            _ => (Pointer::Valid, Pointer::Valid),
        };
        script.call(Call { utmr, otmr, ..Call::plain(0, new) });
    }
    script.into_plan()
}

/// So many plans of [`SOME`] calls.
fn several(name: &str, seed: u64, plans: usize) -> Vec<Plan> {
    (0..plans).map(|plan| some(&format!("{name}-{plan}"), seed, SOME)).collect()
}

/// The plan of a case of the catalogue.
fn of_case(name: &str, seed: u64) -> impl Iterator<Item = Plan> {
    catalogue::find(name).into_iter().flat_map(move |case| case.plans(seed, 0))
}

/// What the workloads of a situation do; those that have none run programs of their own.
pub(super) fn plans(field: Field, seed: u64) -> Vec<Plan> {
    match field {
        Field::PidNamespace => several("field/pid-namespace", seed, containers::PLANS),
        Field::IdsLarge => {
            let held = (0..2).flat_map(|more| of_case("pointers/held", seed.wrapping_add(more)));
            of_case("threads/several", seed).chain(held).collect()
        }
        Field::Container => (0..10).map(|plan| some(&format!("field/container-{plan}"), seed, 10_000)).collect(),
        Field::Privileges => several("field/privileges", seed, 2),
        Field::BlindFromBegin => several("field/blind-from-begin", seed, 2),
        Field::SwitchThrown => sight::load(seed),
        Field::ReaderGone => several("field/reader-gone", seed, 2),
        _ => Vec::new(),
    }
}

/// Does a situation.
pub(super) fn play(field: Field, stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    match field {
        Field::PidNamespace => containers::pid_namespace(stand, plans),
        Field::OwnCall => containers::own_call(stand),
        Field::IdsLarge => containers::ids_large(stand, plans),
        Field::Container => containers::container(stand, plans),
        Field::ProcessEnded => containers::process_ended(stand),
        Field::Exec => containers::exec(stand),
        Field::ForkWhileOff => sight::fork_while_off(stand),
        Field::InsideAtEnd => ends::inside_at_end(stand),
        Field::Suspended => clocks::suspended(stand),
        Field::Names => containers::names(stand),
        Field::TimeNamespace => clocks::time_namespace(stand),
        Field::ClockSet => clocks::clock_set(stand),
        Field::SetTicks => clocks::set_ticks(stand),
        Field::Privileges => privileges::privileges(stand, plans),
        Field::BlindFromBegin => sight::blind_from_begin(stand, plans),
        Field::SwitchThrown => sight::switch_thrown(stand, plans),
        Field::Churn => lives::churn(stand),
        Field::Short => lives::short(stand),
        Field::Readv => lives::readv(stand),
        Field::Uring => lives::uring(stand),
        Field::WaitsByName => lives::waits_by_name(stand),
        Field::ReaderGone => ends::reader_gone(stand, plans),
        Field::AttachMidst => ends::attach_midst(stand),
    }
}
