//! From the ring buffer to standard output, until something ends the tracing.
//!
//! The kernel wakes a reader only for a record that finds the buffer empty. To keep a busy system
//! from doing so for every record, this side lets records collect for a moment before it takes them
//! all.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use settime32_abi::event::{RawEvent, flag};
use settime32_abi::lifecycle::Kind;
use settime32_abi::moment::call_flag;
use settime32_abi::output::{Blind, Lost};

use crate::call_event::{Seen, has};
use crate::choice::Choice;
use crate::cli::Cli;
use crate::command::GatedCommand;
use crate::form::Form;
use crate::kernel_clock::now_ns;
use crate::lateness;
use crate::lifecycle::{self, Armed, Decoder, Event};
use crate::look::is_empty;
use crate::outcome::Outcome;
use crate::probes::Ring;
use crate::processes::Processes;
use crate::seam::Seam;
use crate::signals::Signals;
use crate::sink::{Sink, SinkError};
use crate::watch::Watch;

/// The longest that records collect: not noticed by who watches, and long against a wake-up.
const MAX_COLLECT: Duration = Duration::from_millis(5);
/// A fast machine fills this much of the buffer in a millisecond (some five million calls a
/// second).
const FILL_BYTES_PER_MS: u32 = 600_000;

/// What ended the tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// SIGINT or SIGTERM.
    Signal,
    /// The traced command ended; this is its exit code.
    Command(u8),
    /// The processes that were asked for have.
    Processes,
    /// `--duration` is over.
    Duration,
    /// `--count` calls were printed.
    Count,
    /// Nobody reads standard output any more.
    ReaderGone,
}

impl Ended {
    /// Whether what is still in the buffer, or in flight, is to be printed.
    pub const fn wants_rest(self) -> bool {
        !matches!(self, Self::Count | Self::ReaderGone)
    }
}

/// Calls that were not seen to return before the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Still inside the kernel.
    pub unfinished: u64,
    /// Returned, but the kernel passed the program over that would have seen it.
    pub results_lost: u64,
    /// The same of what is not reported without its result.
    pub in_flight_lost: u64,
    /// Results that the programs counted as lost, of calls that began after the end.
    pub results_after: u64,
}

/// The time that is told of, by `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// What ended before is not told.
    since_ns: u64,
    /// What began then or later is not, either.
    until_ns: u64,
}

impl Span {
    /// How much is told of what began and ended then, if anything. What was not seen to end may
    /// have at any time.
    fn seen(self, began_ns: u64, ended_ns: Option<u64>) -> Option<Seen> {
        let is_told = ended_ns.unwrap_or(u64::MAX - 1) >= self.since_ns && began_ns < self.until_ns;
        let has_ended = ended_ns.is_none_or(|ended_ns| ended_ns < self.until_ns);
        is_told.then_some(if has_ended { Seen::Whole } else { Seen::Entry })
    }
}

/// Which of the events that come out of the kernel are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The call itself.
    pub calls: bool,
    /// Events beside it.
    pub kinds: Vec<Kind>,
    /// What else must be true of them.
    pub choice: Choice,
    /// So many at most.
    pub limit: u64,
}

impl Wanted {
    /// As the command line says.
    pub fn of(cli: &Cli) -> Self {
        Self {
            calls: cli.wants_calls(),
            kinds: cli.kinds(),
            choice: cli.choice(),
            limit: cli.count.unwrap_or(u64::MAX),
        }
    }

    /// What it takes to tell how late timers fire.
    pub fn for_lateness() -> Self {
        Self {
            calls: true,
            kinds: lateness::KINDS.to_vec(),
            choice: Choice::default(),
            limit: u64::MAX,
        }
    }
}

/// Calls that are looked at before signals, the command and the clock are looked at again.
const TURN: u64 = 10_000;

/// The way of events to standard output.
pub struct Drain<'a, S> {
    ring: Ring,
    watch: Watch,
    sink: Sink<'a, File>,
    form: Form,
    wanted: Wanted,
    decoder: Decoder,
    reported: u64,
    span: Span,
    rest: Rest,
    collect: Duration,
    /// Those that are asked for by their ids.
    processes: Processes,
    seam: S,
}

impl<'a, S: Seam> Drain<'a, S> {
    /// Prints what is wanted of that which ends from now on.
    pub fn new(
        ring: Ring,
        mut watch: Watch,
        sink: Sink<'a, File>,
        form: Form,
        wanted: Wanted,
        processes: Processes,
        seam: S,
    ) -> Self {
        let collect = collect_time(ring.size.bytes());
        let since_ns = if seam.watches() { now_ns() } else { 0 };
        watch.begins(now_ns());
        let mut decoder = Decoder::new(form.always_tells_host_ids());
        watch.tid().into_iter().for_each(|tid| decoder.ignore(tid));
        Self {
            ring,
            watch,
            sink,
            form,
            wanted,
            decoder,
            reported: 0,
            span: Span { since_ns, until_ns: u64::MAX },
            rest: Rest::default(),
            collect,
            processes,
            seam,
        }
    }

    /// Events printed so far.
    pub const fn reported(&self) -> u64 {
        self.reported
    }

    /// Prints calls as they come, until something ends that.
    pub fn run(
        &mut self,
        signals: &Signals,
        mut command: Option<&mut GatedCommand>,
        duration: Option<Duration>,
    ) -> Result<Ended> {
        // A duration past the end of the clock is no limit.
        let deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
        loop {
            // In turns, since calls may come as fast as they are printed, and a signal must not
            // wait for them to end.
            self.turn()?;
            self.sink.append(|line| self.form.tick(line))?;
            self.sink.flush()?;
            if let Some(ended) = self.ended(signals, command.as_deref_mut(), deadline)? {
                return Ok(ended);
            }
            if self.wait(signals, deadline, Wait::ForEvents)? {
                self.wait(signals, deadline, Wait::ToCollect)?;
            }
        }
    }

    /// Takes what there is for now, and looks whether all is seen.
    fn turn(&mut self) -> Result<()> {
        self.watch.before_records();
        self.take(TURN)?;
        self.watch.after_records(|| is_empty(&self.ring));
        Ok(())
    }

    /// Looks a last time whether the probes see. What comes meanwhile is printed, when it is
    /// wanted.
    pub fn look_back(&mut self, signals: &Signals, ended: Ended) -> Result<()> {
        if !ended.wants_rest() {
            self.span.since_ns = u64::MAX;
        }
        let now = now_ns();
        self.watch.hurry();
        while self.watch.can_look()
            && !self.watch.has_seen_since(now)
            && self.watch.blind().is_none()
        {
            self.turn()?;
            if self.wait(signals, None, Wait::ForEvents)? {
                self.wait(signals, None, Wait::ToCollect)?;
            }
        }
        Ok(())
    }

    /// Prints nothing of what happens from now on: a call that has not returned by now has not at
    /// the end.
    pub fn end(&mut self) {
        self.span.until_ns = now_ns();
    }

    /// Takes what is left when nothing can be written any more, and counts the events that ought to
    /// have been.
    pub fn not_written(&mut self) -> Result<u64> {
        let lines = self.sink.give_up();
        let reported = self.reported;
        self.take(u64::MAX)?;
        Ok(lines + self.reported - reported)
    }

    /// When it was blind; takes losses of its own calls off those of others, and off what is
    /// `unknown`.
    pub fn blind(&mut self, lost: &mut Lost, unknown: &mut u64) -> Vec<Blind> {
        self.watch.ended(lost, unknown)
    }

    /// Prints what is left once the probes are detached: the buffer, then the calls that were not
    /// seen to return.
    pub fn finish(&mut self, in_flight: &[RawEvent], lifecycle: &lifecycle::Rest) -> Result<Rest> {
        self.take(u64::MAX)?;
        let mut rest = Rest { in_flight_lost: lifecycle.returns_lost, ..self.rest };
        for raw in in_flight {
            if self.watch.takes_in_flight(raw) || raw.entry_ns >= self.span.until_ns {
                continue;
            }
            if self.reported >= self.wanted.limit {
                break;
            }
            let raw = &mut { *raw };
            let is_chosen = self.is_chosen(raw);
            if has(raw, flag::RESULT_LOST) && lacks_facts(raw) {
                rest.in_flight_lost += 1;
            } else if has(raw, flag::RESULT_LOST) {
                // A loss, whether or not anybody wants to see the call.
                rest.results_lost += 1;
                self.print(raw, None, is_chosen.then_some(Seen::Whole))?;
            } else {
                rest.unfinished += u64::from(is_chosen);
                self.print(raw, None, is_chosen.then_some(Seen::Entry))?;
            }
        }
        let until_ns = self.span.until_ns;
        for raw in lifecycle.calls.iter().filter(|raw| raw.entry_ns < until_ns) {
            let was_lost = raw.flags & call_flag::RESULT_LOST != 0;
            let Some(event) = self.decoder.call_inside(raw) else { continue };
            let is_printed = self.print_of_life(event)?;
            rest.results_lost += u64::from(was_lost);
            rest.unfinished += u64::from(!was_lost && is_printed);
        }
        self.sink.flush()?;
        Ok(rest)
    }

    /// Prints the summary, in forms that have one; the one for people goes elsewhere.
    pub fn summarise(&mut self, outcome: &mut Outcome) -> Result<(), SinkError> {
        self.seam.summarise(&mut outcome.summary);
        self.sink.append(|line| self.form.write_summary(line, &outcome.summary))?;
        self.sink.flush()?;
        outcome.is_read &= self.sink.is_read();
        Ok(())
    }

    /// Takes what is in the buffer, `most` calls at the most, and lets nothing of it wait.
    fn take(&mut self, most: u64) -> Result<()> {
        let mut left = most;
        while left > 0 {
            // What is beyond the limit stays there, but for the last look.
            if self.reported >= self.wanted.limit && self.span.since_ns != u64::MAX {
                break;
            }
            let Some(record) = self.ring.map.next() else { break };
            left -= 1;
            // A copy, so that the kernel can use the room while the line is made.
            let Some(mut raw) = RawEvent::from_record(&record) else {
                if self.watch.takes_switch(&record) {
                    continue;
                }
                let event = self.decoder.event(&record)?;
                drop(record);
                if let Some(event) = event {
                    self.take_of_life(event)?;
                }
                continue;
            };
            drop(record);
            if self.watch.takes(&raw) {
                continue;
            }
            self.take_call(&mut raw)?;
        }
        Ok(self.sink.flush()?)
    }

    fn take_call(&mut self, raw: &mut RawEvent) -> Result<(), SinkError> {
        let returned = has(raw, flag::RETURNED);
        let seen = self.span.seen(raw.entry_ns, returned.then_some(raw.exit_ns));
        let armed = self.decoder.armed_of(raw).filter(|armed| armed.ns < self.span.until_ns);
        if seen == Some(Seen::Entry) {
            raw.flags &= !flag::RETURNED;
        }
        self.rest.results_after += u64::from(raw.entry_ns >= self.span.until_ns && !returned);
        let chosen = seen.filter(|_| self.is_chosen(raw));
        self.rest.unfinished += u64::from(chosen == Some(Seen::Entry));
        self.print(raw, armed, chosen)
    }

    fn take_of_life(&mut self, event: Event) -> Result<(), SinkError> {
        let (began_ns, ended_ns) = (event.began_ns(), event.ended_ns());
        match self.span.seen(began_ns, ended_ns) {
            Some(Seen::Whole) => _ = self.print_of_life(event)?,
            Some(Seen::Entry) => {
                self.rest.unfinished += u64::from(self.print_of_life(event.at(self.span.until_ns))?)
            }
            None => {
                self.rest.results_after +=
                    u64::from(began_ns >= self.span.until_ns && ended_ns.is_none())
            }
        }
        Ok(())
    }

    fn is_chosen(&mut self, raw: &mut RawEvent) -> bool {
        let is_asked_for = !self.processes.is_another(raw.pid, raw.entry_ns);
        self.seam.call(raw) && is_asked_for && self.wanted.calls && self.wanted.choice.takes(raw)
    }

    /// Prints a call that is chosen, in forms that have words for it.
    fn print(
        &mut self,
        raw: &RawEvent,
        mut armed: Option<Armed>,
        chosen: Option<Seen>,
    ) -> Result<(), SinkError> {
        if let Some(armed) = &mut armed {
            self.seam.armed(raw, armed);
        }
        let Some(seen) = chosen.filter(|_| self.form.tells(raw)) else { return Ok(()) };
        self.reported += 1;
        self.sink.append(|line| self.form.write_call(&mut self.seam, line, raw, seen, armed))
    }

    /// Prints another event that is wanted; whether it was.
    fn print_of_life(&mut self, mut event: Event) -> Result<bool, SinkError> {
        if !event.is_printed() {
            if self.seam.tells(&mut event) {
                self.sink.append(|line| self.form.write_of_life(line, &event))?;
            }
            return Ok(false);
        }
        let is_another =
            event.process().is_some_and(|pid| self.processes.is_another(pid, event.began_ns()));
        let is_wanted = !is_another
            && self.wanted.kinds.contains(&event.kind())
            && self.wanted.choice.takes_of_life(&event);
        if is_wanted && self.seam.tells(&mut event) {
            self.reported += 1;
            self.sink.append(|line| self.form.write_of_life(line, &event))?;
        }
        Ok(is_wanted)
    }

    fn ended(
        &mut self,
        signals: &Signals,
        command: Option<&mut GatedCommand>,
        deadline: Option<Instant>,
    ) -> Result<Option<Ended>> {
        if self.reported >= self.wanted.limit {
            return Ok(Some(Ended::Count));
        }
        if !self.sink.is_read() {
            return Ok(Some(Ended::ReaderGone));
        }
        if signals.stop_requested() {
            return Ok(Some(Ended::Signal));
        }
        if let Some(code) = command.map(GatedCommand::ended).transpose()?.flatten() {
            return Ok(Some(Ended::Command(code)));
        }
        self.processes.look(now_ns());
        if self.processes.have_ended() {
            return Ok(Some(Ended::Processes));
        }
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        Ok(is_over.then_some(Ended::Duration))
    }

    /// Sleeps until there is something to do; true when that is only events.
    fn wait(&mut self, signals: &Signals, deadline: Option<Instant>, wait: Wait) -> Result<bool> {
        let until_end = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = until_end
            .into_iter()
            .chain(self.form.ticks_every())
            .chain([self.watch.next_in()])
            .min();
        let (interest, longest) = match wait {
            Wait::ForEvents => (PollFlags::POLLIN, left),
            Wait::ToCollect => {
                (PollFlags::empty(), Some(left.map_or(self.collect, |left| left.min(self.collect))))
            }
        };
        let mut sources = vec![
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.ring.map.as_fd(), interest),
        ];
        let processes = self.processes.sources();
        sources.extend(
            self.watch
                .sources()
                .chain(processes)
                .map(|source| PollFd::new(source, PollFlags::POLLIN)),
        );
        if self.sink.is_read() {
            // Without asking for anything, one is told of a reader that left.
            sources.push(PollFd::new(self.sink.as_fd(), PollFlags::empty()));
        }
        match poll(&mut sources, timeout(longest)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(anyhow!(errno)).context("failed to wait for events"),
        }
        let told: Vec<PollFlags> =
            sources.iter().map(|source| source.revents().unwrap_or(PollFlags::empty())).collect();
        if self.sink.is_read() {
            self.sink.polled(told[told.len() - 1]);
        }
        let is_there = |flags: &PollFlags| !flags.is_empty();
        if is_there(&told[0]) {
            signals.clear();
        }
        let others =
            told.iter().enumerate().filter(|(at, _)| *at != 1).any(|(_, flags)| is_there(flags));
        Ok(is_there(&told[1]) && !others)
    }
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    ForEvents,
    ToCollect,
}

/// How long records may collect: not so long that a small buffer could fill meanwhile.
fn collect_time(buffer_bytes: u32) -> Duration {
    let half_full = Duration::from_millis(u64::from(buffer_bytes / 2 / FILL_BYTES_PER_MS));
    half_full.min(MAX_COLLECT)
}

/// Rounded up, so that a deadline has passed when the sleep is over.
pub fn timeout(longest: Option<Duration>) -> PollTimeout {
    let Some(longest) = longest else { return PollTimeout::NONE };
    PollTimeout::try_from(longest.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
}

/// Whether the kernel read the new setting of a call, and was not seen to.
const fn lacks_facts(raw: &RawEvent) -> bool {
    const READ: u32 = flag::INTERVAL_READ | flag::VALUE_READ;
    raw.flags & READ == READ && !has(raw, flag::USED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_is_not_left_to_fill() {
        assert_eq!(collect_time(16 << 20), MAX_COLLECT);
        assert_eq!(collect_time(2 << 20), Duration::from_millis(1));
        assert_eq!(collect_time(4096), Duration::ZERO);
    }

    #[test]
    fn what_is_told_began_before_the_end_and_ended_after_the_beginning() {
        let span = Span { since_ns: 10, until_ns: 20 };
        let seen = |began_ns, ended_ns| span.seen(began_ns, ended_ns);
        assert_eq!(
            [seen(1, Some(9)), seen(20, Some(20)), seen(21, Some(22)), seen(20, None)],
            [None; 4]
        );
        assert_eq!([seen(1, Some(10)), seen(19, Some(19))], [Some(Seen::Whole); 2]);
        assert_eq!(
            [seen(1, Some(20)), seen(19, Some(30))],
            [Some(Seen::Entry); 2],
            "not yet over at the end"
        );
        assert_eq!(seen(1, None), Some(Seen::Whole), "its return was passed over");
        let nothing = Span { since_ns: u64::MAX, until_ns: u64::MAX };
        assert_eq!([nothing.seen(1, Some(2)), nothing.seen(1, None)], [None; 2]);
    }

    #[test]
    fn sleeps_are_rounded_up_and_may_have_no_end() {
        assert_eq!(timeout(None), PollTimeout::NONE);
        assert_eq!(timeout(Some(Duration::ZERO)), PollTimeout::ZERO);
        assert_eq!(timeout(Some(Duration::from_micros(1))), PollTimeout::from(1_u8));
        assert_eq!(timeout(Some(Duration::MAX)), PollTimeout::MAX);
    }
}
