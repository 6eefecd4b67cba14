//! The forms of output. Each is a module of its own; this one says which of them prints what.

use std::time::Duration;

use anyhow::Result;
use settime32_abi::event::RawEvent;
use settime32_abi::output::Summary;

use crate::call_event::Seen;
use crate::cli::{self, Cli, Format};
use crate::json;
use crate::lateness::Lateness;
use crate::lifecycle::{Armed, Event};
use crate::palette::Palette;
use crate::pretty::Pretty;
use crate::seam::Seam;
use crate::tracee::Tracee;

/// A form, with what it needs to know beside an event.
#[derive(Debug)]
pub enum Form {
    /// For people.
    Pretty(Pretty),
    /// This project's own, which has every fact.
    Json {
        /// The host's ids are there always.
        host_ids: bool,
    },
    /// Tracee's.
    Tracee(Tracee),
    /// No events, but what they say of timers.
    Lateness(Lateness),
}

impl Form {
    /// The one that was asked for.
    pub fn chosen(cli: &Cli) -> Result<Self> {
        Ok(match cli.output {
            Format::Pretty => Self::Pretty(Pretty::new(Palette::chosen(cli.color), cli.host_ids)),
            Format::Json => Self::Json { host_ids: cli.host_ids },
            Format::Tracee => Self::Tracee(Tracee::new()),
        })
    }

    /// The one that tells how late timers fire.
    pub fn lateness(job: &cli::Lateness) -> Self {
        Self::Lateness(Lateness::new(job.per, job.output))
    }

    /// Whether it has words for a call. What it has none for is not printed; the last line on
    /// standard error counts it.
    pub fn tells(&self, raw: &RawEvent) -> bool {
        match self {
            Self::Pretty(_) | Self::Json { .. } | Self::Lateness(_) => true,
            Self::Tracee(_) => Tracee::tells(raw),
        }
    }

    /// Whether ids of the initial pid namespace are told also where they are those that are
    /// reported.
    pub const fn always_tells_host_ids(&self) -> bool {
        matches!(self, Self::Json { host_ids: true })
    }

    /// Appends the line of one call, and what it set, where that is known.
    pub fn write_call(
        &mut self,
        seam: &mut impl Seam,
        line: &mut Vec<u8>,
        raw: &RawEvent,
        seen: Seen,
        armed: Option<Armed>,
    ) {
        let (timer, begin) = (armed.map(|armed| (armed.timer, armed.clockid)), line.len());
        match self {
            Self::Pretty(pretty) => pretty.write_line(line, raw, seen, timer),
            Self::Tracee(tracee) => tracee.write_line(line, raw),
            Self::Lateness(lateness) => {
                if let Some(armed) = armed {
                    lateness.call(line, raw, &armed);
                }
                return;
            }
            Self::Json { host_ids } => {
                json::write_line(line, raw, seen);
                if *host_ids {
                    json::add_host_ids(line, raw);
                }
                if let Some(timer) = timer {
                    json::add_timer(line, timer);
                }
            }
        }
        seam.wrote(line, begin, raw);
    }

    /// Appends the line of another event.
    pub fn write_of_life(&mut self, line: &mut Vec<u8>, event: &Event) {
        match self {
            Self::Pretty(pretty) if event.is_printed() => pretty.write_of_life(line, event),
            Self::Json { .. } if event.is_printed() => json::write_of_life(line, event),
            Self::Lateness(lateness) => lateness.of_life(line, event),
            // The command line refuses other events with Tracee's.
            Self::Pretty(_) | Self::Json { .. } | Self::Tracee(_) => {}
        }
    }

    /// Appends the last line, in forms that have one; on standard error it is said in any.
    pub fn write_summary(&mut self, line: &mut Vec<u8>, summary: &Summary) {
        match self {
            Self::Pretty(_) | Self::Tracee(_) => {}
            Self::Json { .. } => json::write_summary(line, summary),
            Self::Lateness(lateness) => lateness.finish(line, summary),
        }
    }

    /// How often it has something to say though nothing happens.
    pub fn ticks_every(&self) -> Option<Duration> {
        match self {
            Self::Lateness(lateness) => lateness.redraws_every(),
            _ => None,
        }
    }

    /// Appends what is due.
    pub fn tick(&mut self, line: &mut Vec<u8>) {
        if let Self::Lateness(lateness) = self {
            lateness.tick(line);
        }
    }
}
