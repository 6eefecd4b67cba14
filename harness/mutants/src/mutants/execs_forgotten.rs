//! Follows a command, but not through an exec by which a thread takes its leader's id over.

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "execs-forgotten",
    error: "a thread that is not the leader is not followed when it executes a program",
    caught_by: Work::Scenario("field/exec"),
    shows: Shows::Said("after a thread executed it"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn follows_execs() -> bool {
        false
    }
}
