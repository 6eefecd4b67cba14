//! The tracer in the field: containers, clocks, privileges, switches, timers of every kind, outputs
//! that fail.
//!
//! Programs of the workload (`settime32-workload field …`) do what real ones did where tracers were
//! wrong, and say what truly happened; `settime32-workload enter …` starts them, or the tracer, in
//! containers. Calls of plans are compared by the oracle; of the other events only as much is
//! looked at here as the program's own account decides. Nothing is asserted about how long anything
//! takes, beyond what the program itself measured.

mod clocks;
mod containers;
mod ends;
mod guest;
mod lifecycle;
mod privileges;
mod sight;
mod told;

use settime32_abi::plan::Plan;

use super::Outcome;
use super::stand::Stand;
use crate::failure::Failure;
use crate::generate::catalogue::Field;

/// Does a situation.
pub(super) fn play(field: Field, stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    match field {
        Field::PidNamespace => containers::pid_namespace(stand, plans),
        Field::OwnCall => containers::own_call(stand),
        Field::IdsLarge => containers::ids_large(stand, plans),
        Field::Container => containers::container(stand, plans),
        Field::ProcessEnded => containers::process_ended(stand),
        Field::Exec => containers::exec(stand),
        Field::Taken => lifecycle::taken(stand),
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
        Field::Churn => lifecycle::churn(stand),
        Field::Short => lifecycle::short(stand),
        Field::Readv => lifecycle::readv(stand),
        Field::Uring => lifecycle::uring(stand),
        Field::WaitsByName => lifecycle::waits_by_name(stand),
        Field::ReaderGone => ends::reader_gone(stand, plans),
        Field::AttachMidst => ends::attach_midst(stand),
    }
}
