//! The forms of output. Each is a module of its own; this one says which of them prints what.

use anyhow::{Context, Result};
use settime32_abi::event::RawEvent;
use settime32_abi::life::TimerId;
use settime32_abi::output::Summary;

use crate::call_event::Seen;
use crate::cli::{Cli, Format};
use crate::json;
use crate::life::Event;
use crate::palette::Palette;
use crate::pretty::Pretty;
use crate::seam::Seam;
use crate::tracee::Tracee;

/// A form, with what it needs to know beside an event.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// For people.
    Pretty(Pretty),
    /// This project's own, which has every fact.
    Json,
    /// Tracee's.
    Tracee(Tracee),
}

impl Form {
    /// The one that was asked for.
    pub fn chosen(cli: &Cli) -> Result<Self> {
        Ok(match cli.output {
            Format::Pretty => Self::Pretty(Pretty::new(Palette::chosen(cli.color))),
            Format::Json => Self::Json,
            Format::Tracee => Self::Tracee(Tracee::new().context("failed to read the clocks")?),
        })
    }

    /// Whether it has words for a call. What it has none for is not printed; the last line on standard error counts it.
    pub const fn tells(&self, raw: &RawEvent) -> bool {
        match self {
            Self::Pretty(_) | Self::Json => true,
            Self::Tracee(_) => Tracee::tells(raw),
        }
    }

    /// Appends the line of one call; the timer that it came to and its clock, where those are known.
    pub fn write_call(&self, seam: &mut impl Seam, line: &mut Vec<u8>, raw: &RawEvent, seen: Seen, timer: Option<(TimerId, i32)>) {
        match self {
            Self::Pretty(pretty) => pretty.write_line(line, raw, seen, timer),
            Self::Tracee(tracee) => tracee.write_line(line, raw),
            Self::Json => {
                seam.write_json(line, raw, seen);
                if let Some(timer) = timer {
                    json::add_timer(line, timer);
                }
            }
        }
    }

    /// Appends the line of another event.
    pub fn write_of_life(&self, line: &mut Vec<u8>, event: &Event) {
        match self {
            Self::Pretty(pretty) => pretty.write_of_life(line, event),
            Self::Json => json::write_of_life(line, event),
            // The command line refuses other events with it.
            Self::Tracee(_) => {}
        }
    }

    /// Appends the last line, in forms that have one; on standard error it is said in any.
    pub fn write_summary(&self, line: &mut Vec<u8>, summary: &Summary) {
        match self {
            Self::Pretty(_) | Self::Tracee(_) => {}
            Self::Json => json::write_summary(line, summary),
        }
    }
}
