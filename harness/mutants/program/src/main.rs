//! A mutant: the shipped one's library with the eBPF object and the hooks of
//! `settime32-mutants`. It runs in the harness's guest and nowhere else.

use std::env;
use std::process::ExitCode;

use clap::Parser;
use settime32_abi::event::RawEvent;
use settime32_abi::output::Summary;
use settime32_mutants::{About, MUTANTS, RIGHT, Work, Wrong, user_side};
use settime32_tracer::cli::{Cli, Tracing};
use settime32_tracer::seam::{Armed, Event, Mode, Refusal, SYMBOL, Seam, Shipped};

static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/settime32-mutants-ebpf"));

/// `settime32-mutant NAME ARGUMENT…`: the name of the error, and the shipped tracer's
/// arguments.
fn main() -> ExitCode {
    let mut words = env::args_os();
    let program = words.next().unwrap_or_default();
    let name = words.next().unwrap_or_default();
    let at = MUTANTS.iter().position(|about| name == about.name);
    if at.is_none() && name != RIGHT {
        eprintln!(
            "settime32-mutant: {name:?} is the name of no mutant; {RIGHT} is the word for no error"
        );
        return ExitCode::from(2);
    }
    let mut arguments = Cli::parse_from([program].into_iter().chain(words));
    let mut user_side = user_side(at);
    let Tracing { pids, comms, .. } = &mut arguments.tracing;
    let names: Vec<_> = comms.iter().map(|comm| comm.0).collect();
    if user_side.filters_itself(pids, &names) {
        pids.clear();
        comms.clear();
    }
    let spoiled = Spoiled {
        about: at.map_or(About::RIGHT, |at| MUTANTS[at]),
        // In the kernel 0 is none.
        globals: [("WRONG", at.map_or(0, |at| at as u32 + 1))],
        of_life: arguments.job.is_some() || !arguments.kinds().is_empty(),
        user_side,
    };
    settime32_tracer::trace(&arguments, spoiled)
}

struct Spoiled {
    about: About,
    globals: [(&'static str, u32); 1],
    /// The kernel's half is the shipped one, and all errors are in the other.
    of_life: bool,
    user_side: Box<dyn Wrong>,
}

impl Seam for Spoiled {
    fn object(&self) -> Result<&'static [u8], Refusal> {
        if self.of_life {
            return Shipped.object();
        }
        if OBJECT.is_empty() {
            let reason = option_env!("SETTIME32_STUB_REASON_SETTIME32_WRONG_EBPF")
                .unwrap_or("the build script did not say why");
            return Err(Refusal::Stub { reason });
        }
        Ok(OBJECT)
    }

    fn globals(&self) -> &[(&'static str, u32)] {
        if self.of_life { &[] } else { &self.globals }
    }

    fn programs(&self, mode: Mode) -> Vec<(&'static str, &'static str)> {
        let wrapper = self.about.wrapper.unwrap_or(SYMBOL);
        let usual = Shipped
            .programs(mode)
            .into_iter()
            .map(|(name, function)| (name, if function == SYMBOL { wrapper } else { function }));
        self.about
            .also
            .iter()
            .copied()
            .chain(usual)
            .filter(|(name, _)| !self.about.without.contains(name))
            .collect()
    }

    fn call(&mut self, raw: &mut RawEvent) -> bool {
        self.user_side.event(raw);
        self.user_side.takes(raw)
    }

    fn wrote(&mut self, line: &mut Vec<u8>, begin: usize, raw: &RawEvent) {
        let mut written = line.split_off(begin);
        self.user_side.line(&mut written, raw);
        line.extend_from_slice(&written);
    }

    fn armed(&mut self, raw: &RawEvent, armed: &mut Armed) {
        self.user_side.armed(raw, armed.timer, &mut armed.expires_ns);
    }

    fn watches(&self) -> bool {
        // Of other calls than those of scenarios a mutant may not see its own.
        let may_see = self.about.name == RIGHT || matches!(self.about.caught_by, Work::Scenario(_));
        may_see && self.user_side.looks()
    }

    fn tells(&mut self, event: &mut Event) -> bool {
        match event {
            Event::Call(call, _) => self.user_side.related(call),
            Event::Expiry(expiry) => self.user_side.expiry(expiry),
            Event::Cancel(cancel) => self.user_side.cancel(cancel),
            Event::Wakeup(wakeup) => self.user_side.wakeup(wakeup),
            Event::Release(release) => self.user_side.release(release),
            Event::ClockSet { .. } => self.user_side.clock_set(),
            Event::TicksSet { .. } => self.user_side.ticks_set(),
        }
    }

    fn summarise(&mut self, summary: &mut Summary) {
        self.user_side.summary(summary);
    }
}
