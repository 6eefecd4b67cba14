//! How a run of the tracer ended, in words and as an exit code.

use std::fmt;
use std::time::Duration;

use settime32_abi::exit;
use settime32_abi::output::{Blind, Lost, SUMMARY_EVENT, Summary};

use crate::command::ExecError;
use crate::drain::Ended;
use crate::own_call::NoCall;
use crate::preflight::Refusal;
use crate::sink::SinkError;

/// Everything is attached, and nothing comes of it.
#[derive(Debug, thiserror::Error)]
#[error("attached by {ways}, and blind: a call that the tracer made itself was not seen; {reason}")]
pub struct SeesNothing {
    /// How it was attached.
    pub ways: String,
    /// Why it sees nothing, as far as that was found.
    pub reason: String,
}

/// A run that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    ended: Ended,
    /// Somebody reads standard output.
    pub is_read: bool,
    /// What is printed last in JSON.
    pub summary: Summary,
}

impl Outcome {
    /// Puts the counts together.
    pub fn new(
        ended: Ended,
        reported: u64,
        lost: Lost,
        unknown: u64,
        unfinished: u64,
        blind: Vec<Blind>,
    ) -> Self {
        let summary =
            Summary { event: SUMMARY_EVENT.to_owned(), reported, lost, unknown, unfinished, blind };
        Self { ended, is_read: ended != Ended::ReaderGone, summary }
    }

    /// Losses come before the command's own code, unless that is asked for: a run that missed calls
    /// must not look complete.
    pub fn exit_code(&self, commands: bool) -> u8 {
        match self.ended {
            Ended::Command(code) if commands => code,
            _ if self.summary.lost.total() > 0
                || self.summary.unknown > 0
                || !self.summary.blind.is_empty() =>
            {
                exit::LOST
            }
            Ended::Command(code) => code,
            Ended::Signal
            | Ended::Processes
            | Ended::Duration
            | Ended::Count
            | Ended::ReaderGone => 0,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { reported, lost, unknown, unfinished, blind, .. } = &self.summary;
        if !self.is_read {
            write!(f, "standard output was closed by its reader; ")?;
        }
        write!(f, "{reported} events reported, {} lost, {unfinished} unfinished", lost.total())?;
        write_losses(f, lost)?;
        if *unknown > 0 {
            write!(
                f,
                "; {unknown} calls at most, or new processes, were passed over while a program was busy, of whomever"
            )?;
        }
        blind.iter().try_for_each(|blind| write_blind(f, blind))
    }
}

fn write_losses(f: &mut fmt::Formatter<'_>, lost: &Lost) -> fmt::Result {
    if lost.total() > 0 {
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
        write!(f, ")")?;
    }
    Ok(())
}

/// By `CLOCK_MONOTONIC`, as events have it.
fn write_blind(f: &mut fmt::Formatter<'_>, blind: &Blind) -> fmt::Result {
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
    let Blind { from_ns, to_ns, reason } = blind;
    write!(
        f,
        "; blind for {:.3} s, from {:.3} to {:.3}: {reason}",
        seconds(to_ns - from_ns),
        seconds(*from_ns),
        seconds(*to_ns)
    )
}

/// The exit code of a run that could not be carried out.
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        refusal.exit_code()
    } else if let Some(error) = error.downcast_ref::<ExecError>() {
        error.exit_code()
    } else if error.downcast_ref::<SinkError>().is_some() {
        exit::NOT_WRITTEN
    } else if matches!(error.downcast_ref(), Some(NoCall::NoEntry)) {
        exit::NO_ENTRY
    } else if error.downcast_ref::<SeesNothing>().is_some() {
        exit::BLIND
    } else {
        exit::FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blind() -> Blind {
        Blind {
            from_ns: 1_000_000_000,
            to_ns: 2_250_000_000,
            reason: "kprobes are switched off".to_owned(),
        }
    }

    #[test]
    fn losses_outrank_the_commands_own_code() {
        let outcome = |ended, lost| Outcome::new(ended, 7, lost, 0, 1, Vec::new());
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
        let blind = Outcome::new(Ended::Command(5), 7, Lost::default(), 0, 0, vec![blind()]);
        assert_eq!([blind.exit_code(false), blind.exit_code(true)], [3, 5]);
        assert_eq!(
            Outcome::new(Ended::Command(5), 7, Lost::default(), 1, 0, Vec::new()).exit_code(false),
            3
        );
    }

    #[test]
    fn the_last_line_counts_everything() {
        let text = |lost, unknown, unfinished, blind| {
            Outcome::new(Ended::Signal, 7, lost, unknown, unfinished, blind).to_string()
        };
        assert_eq!(
            text(Lost::default(), 0, 1, Vec::new()),
            "7 events reported, 0 lost, 1 unfinished"
        );
        let lost = Lost { buffer: 2, result: 3, ..Lost::default() };
        assert_eq!(
            text(lost, 0, 0, Vec::new()),
            "7 events reported, 5 lost, 0 unfinished (2 found the buffer full (give a larger --buffer), 3 without their result)"
        );
        assert_eq!(
            text(Lost::default(), 4, 0, Vec::new()),
            "7 events reported, 0 lost, 0 unfinished; 4 calls at most, or new processes, were passed over while a program was busy, of whomever"
        );
        assert_eq!(
            text(Lost::default(), 0, 0, vec![blind()]),
            "7 events reported, 0 lost, 0 unfinished; blind for 1.250 s, from 1.000 to 2.250: kprobes are switched off"
        );
    }

    #[test]
    fn each_failure_has_its_code_also_under_a_context() {
        let error = |inner: anyhow::Error| exit_code_of(&inner.context("outer"));
        assert_eq!(error(Refusal::LockedDown.into()), 13);
        assert_eq!(
            error(ExecError { program: "x".into(), errno: nix::errno::Errno::ENOENT }.into()),
            127
        );
        assert_eq!(error(SinkError::Closed.into()), 16);
        assert_eq!(error(NoCall::NoEntry.into()), 15);
        assert_eq!(
            error(SeesNothing { ways: "kprobe".into(), reason: "it is off".into() }.into()),
            20
        );
        assert_eq!(error(anyhow::anyhow!("other")), 1);
    }
}
