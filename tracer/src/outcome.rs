//! How a run of the tracer ended, in words and as an exit code.

use std::fmt;

use settime32_abi::output::{Lost, SUMMARY_EVENT, Summary};

use crate::command::ExecError;
use crate::drain::Ended;
use crate::preflight::Refusal;
use crate::sink::SinkError;

/// Tracing failed in a way that has no code of its own.
const FAILED: u8 = 1;
/// Calls were lost.
const LOST: u8 = 3;
/// Events could not be written.
pub const NOT_WRITTEN: u8 = 16;

/// A run that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    ended: Ended,
    /// What is printed last in JSON.
    pub summary: Summary,
}

impl Outcome {
    /// Puts the counts together.
    pub fn new(ended: Ended, reported: u64, lost: Lost, unknown: u64, unfinished: u64) -> Self {
        Self { ended, summary: Summary { event: SUMMARY_EVENT.to_owned(), reported, lost, unknown, unfinished } }
    }

    /// Losses come before the command's own code, unless that is asked for: a run that missed calls must not look
    /// complete.
    pub const fn exit_code(&self, commands: bool) -> u8 {
        match self.ended {
            Ended::Command(code) if commands => code,
            _ if self.summary.lost.total() > 0 || self.summary.unknown > 0 => LOST,
            Ended::Command(code) => code,
            Ended::Signal | Ended::Duration | Ended::Count | Ended::ReaderGone => 0,
        }
    }

    /// Whether anybody is there to read on.
    pub fn has_reader(&self) -> bool {
        self.ended != Ended::ReaderGone
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { reported, lost, unknown, unfinished, .. } = &self.summary;
        if self.ended == Ended::ReaderGone {
            write!(f, "standard output was closed by its reader; ")?;
        }
        write!(f, "{reported} events reported, {} lost, {unfinished} unfinished", lost.total())?;
        let kinds = [
            (lost.buffer, "found the buffer full (give a larger --buffer)"),
            (lost.in_flight, "found too many calls in flight, or a program busy"),
            (lost.result, "without their result"),
            (lost.follow, "new threads of COMMAND not followed"),
        ];
        let mut separator = " (";
        for (count, words) in kinds.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {words}")?;
            separator = ", ";
        }
        if lost.total() > 0 {
            write!(f, ")")?;
        }
        if *unknown > 0 {
            write!(f, "; {unknown} calls at most, or new processes, were passed over while a program was busy, of whomever")?;
        }
        Ok(())
    }
}

/// The exit code of a run that could not be carried out.
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        refusal.exit_code()
    } else if let Some(error) = error.downcast_ref::<ExecError>() {
        error.exit_code()
    } else if error.downcast_ref::<SinkError>().is_some() {
        NOT_WRITTEN
    } else {
        FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_outrank_the_commands_own_code() {
        let outcome = |ended, lost| Outcome::new(ended, 7, lost, 0, 1);
        assert_eq!(outcome(Ended::Command(5), Lost::default()).exit_code(false), 5);
        assert_eq!(outcome(Ended::Signal, Lost::default()).exit_code(false), 0);
        for lost in [
            Lost { buffer: 1, ..Lost::default() },
            Lost { in_flight: 1, ..Lost::default() },
            Lost { result: 1, ..Lost::default() },
            Lost { follow: 1, ..Lost::default() },
        ] {
            assert_eq!(outcome(Ended::Command(5), lost).exit_code(false), 3, "{lost:?}");
            assert_eq!(outcome(Ended::Command(5), lost).exit_code(true), 5, "{lost:?}");
            assert_eq!(outcome(Ended::Signal, lost).exit_code(true), 3, "{lost:?}");
        }
        assert_eq!(Outcome::new(Ended::Command(5), 7, Lost::default(), 1, 0).exit_code(false), 3);
    }

    #[test]
    fn the_last_line_counts_everything() {
        assert_eq!(Outcome::new(Ended::Signal, 7, Lost::default(), 0, 1).to_string(), "7 events reported, 0 lost, 1 unfinished");
        let lost = Lost { buffer: 2, result: 3, ..Lost::default() };
        assert_eq!(
            Outcome::new(Ended::Signal, 7, lost, 0, 0).to_string(),
            "7 events reported, 5 lost, 0 unfinished (2 found the buffer full (give a larger --buffer), 3 without their result)"
        );
        assert_eq!(
            Outcome::new(Ended::Signal, 7, Lost::default(), 4, 0).to_string(),
            "7 events reported, 0 lost, 0 unfinished; 4 calls at most, or new processes, were passed over while a program was busy, of whomever"
        );
    }

    #[test]
    fn each_failure_has_its_code_also_under_a_context() {
        let error = |inner: anyhow::Error| exit_code_of(&inner.context("outer"));
        assert_eq!(error(Refusal::LockedDown.into()), 13);
        assert_eq!(error(ExecError { program: "x".into(), errno: nix::errno::Errno::ENOENT }.into()), 127);
        assert_eq!(error(SinkError::ReaderGone.into()), 16);
        assert_eq!(error(anyhow::anyhow!("other")), 1);
    }
}
