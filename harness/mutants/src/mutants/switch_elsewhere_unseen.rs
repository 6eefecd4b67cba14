//! Watches the switch of ftrace in its own procfs only.

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "switch-elsewhere-unseen",
    error: "a write to the switch of ftrace through another procfs is not noticed",
    caught_by: Work::Scenario("field/switch-thrown"),
    shows: Shows::Missing,
    without: &["settime32_switch", "settime32_switched", "settime32_switch_f", "settime32_switched_f"],
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {}
