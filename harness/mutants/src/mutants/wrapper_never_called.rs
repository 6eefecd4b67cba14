//! Hooks the wrapper that looks right, is there, and is in no system call table.

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "wrapper-never-called",
    error: "probes sit on a function that is never called",
    caught_by: Work::Case("values/edges"),
    shows: Shows::Missing,
    wrapper: Some("__x64_sys_timerfd_settime32"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {}
