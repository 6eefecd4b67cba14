//! How late timers fire, told from events: each timer's story, what is counted of it, and the forms
//! in which it is told.

mod arming;
mod clock;
mod firing;
mod histogram;
mod owner;
mod page;
mod plot;
mod row;
mod rows;
mod stories;
mod story;
mod table;

use std::collections::{HashSet, VecDeque};
use std::io::{IsTerminal, stdout};
use std::rc::Rc;
use std::time::{Duration, Instant};

use settime32_abi::event::{RawEvent, flag};
use settime32_abi::lifecycle::{Kind, TimerId};
use settime32_abi::output::Summary;
use settime32_abi::timespec::Itimerspec64;

use self::arming::Setting;
use self::clock::Settings;
use self::firing::Firing;
use self::owner::{Owner, Owners};
use self::rows::Rows;
use self::stories::Stories;
use self::story::{Story, Turn};
use crate::call_event::{comm, has, host_ids};
use crate::cli::{Per, Report};
use crate::json;
use crate::lifecycle::{Armed, Event};

/// What it needs to see beside the call itself.
pub const KINDS: [Kind; 4] = [Kind::TimerfdSettime, Kind::Expiry, Kind::Wakeup, Kind::Release];

/// How often a table on a terminal is drawn anew.
const REDRAW: Duration = Duration::from_secs(1);
/// Firings that wait for whether their clock was set, at most.
const MOST_UNDECIDED: usize = 4096;

/// The stories of all timers, and what is told of them.
#[derive(Debug)]
pub struct Lateness {
    report: Report,
    stories: Stories,
    rows: Rows,
    owners: Owners,
    /// When clocks were set.
    settings: Settings,
    /// Firings of which it is not certain yet whether they came of that.
    undecided: VecDeque<Box<Firing>>,
    /// The latest time that any event had.
    now_ns: u64,
    live: Option<Live>,
}

/// A table that is drawn over the one before.
#[derive(Debug)]
struct Live {
    drawn: Instant,
    lines: usize,
}

impl Lateness {
    /// Tells in this way.
    pub fn new(per: Per, report: Report) -> Self {
        let is_live = report == Report::Table && stdout().is_terminal();
        let live = is_live.then(|| Live { drawn: Instant::now(), lines: 0 });
        Self {
            report,
            stories: Stories::default(),
            rows: Rows::new(per),
            owners: Owners::default(),
            settings: Settings::default(),
            undecided: VecDeque::new(),
            now_ns: 0,
            live,
        }
    }

    /// How long it may sleep before there is something to draw.
    pub fn redraws_every(&self) -> Option<Duration> {
        self.live.as_ref().map(|_| REDRAW)
    }

    /// A call of `timerfd_settime32` that set a timer, whatever became of it then.
    pub fn call(&mut self, line: &mut Vec<u8>, raw: &RawEvent, armed: &Armed) {
        let times = has(raw, flag::USED).then(|| Itimerspec64::from(raw.utmr_used));
        let setting = Setting { entry_ns: raw.entry_ns, times, flags: raw.settime_flags };
        let owner =
            self.owners.of(raw.pid, host_ids(raw, false).map(|(pid, _)| pid), &comm(&raw.comm));
        self.happens(line, armed.timer, armed.ns, |story| story.set(&setting, armed, &owner));
    }

    /// Another event.
    pub fn of_life(&mut self, line: &mut Vec<u8>, event: &Event) {
        match event {
            Event::Call(call, Some(armed)) => {
                let setting = Setting {
                    entry_ns: call.entry_ns,
                    times: call.utmr_used,
                    flags: call.flags.unwrap_or(0),
                };
                let owner = self.owners.of(call.pid, call.host_pid, &call.comm);
                self.happens(line, armed.timer, armed.ns, |story| {
                    story.set(&setting, armed, &owner)
                });
            }
            // It set none.
            Event::Call(_, None) => {}
            Event::Expiry(expiry) => {
                self.happens(line, expiry.timer, expiry.ns, |story| story.expired(expiry))
            }
            Event::Cancel(cancel) => self.happens(line, cancel.timer, cancel.ns, Story::cancelled),
            Event::Wakeup(wakeup) => {
                let owner = self.owners.of(wakeup.pid, wakeup.host_pid, &wakeup.comm);
                self.happens(line, wakeup.timer, wakeup.ns, |story| story.woke(wakeup, &owner));
            }
            Event::Release(release) => {
                self.stories.close(release.timer, release.ns);
                self.advance(line, release.ns);
            }
            Event::ClockSet { ns } => {
                self.settings.add(*ns);
                self.advance(line, *ns);
            }
            Event::TicksSet { ns, timer } => self.happens(line, *timer, *ns, Story::ticks_set),
        }
    }

    /// Appends what is to be drawn now.
    pub fn tick(&mut self, line: &mut Vec<u8>) {
        let Some(live) = &mut self.live else { return };
        if live.drawn.elapsed() < REDRAW {
            return;
        }
        let text = table::text(&self.rows);
        // Up to where the table before began, and what is below is cleared.
        if live.lines > 0 {
            line.extend_from_slice(format!("\x1b[{}F\x1b[J", live.lines).as_bytes());
        }
        live.lines = text.lines().count();
        live.drawn = Instant::now();
        line.extend_from_slice(text.as_bytes());
    }

    /// Appends the end: what was still pending, and the whole.
    pub fn finish(&mut self, line: &mut Vec<u8>, summary: &Summary) {
        for story in self.stories.end() {
            self.tell(line, story);
        }
        self.decide(line, None);
        let doubt = doubt(summary);
        if doubt.is_some() {
            self.rows.doubt();
        }
        match self.report {
            Report::Table => {
                if let Some(live) = self.live.as_ref().filter(|live| live.lines > 0) {
                    line.extend_from_slice(format!("\x1b[{}F\x1b[J", live.lines).as_bytes());
                }
                line.extend_from_slice(table::text(&self.rows).as_bytes());
                doubt
                    .iter()
                    .for_each(|doubt| line.extend_from_slice(format!("{doubt}\n").as_bytes()));
            }
            Report::Json => {
                self.rows.iter().for_each(|(key, row)| write_json(line, &row.summary(key)));
                json::write_summary(line, summary);
            }
            Report::Html => {
                line.extend_from_slice(page::text(&self.rows, doubt.as_deref()).as_bytes())
            }
        }
    }

    /// Something happens to a timer.
    fn happens(
        &mut self,
        line: &mut Vec<u8>,
        timer: TimerId,
        ns: u64,
        what: impl FnOnce(&mut Story),
    ) {
        let story = self.stories.of(timer);
        what(story);
        let tales = story.take_tales();
        self.count(line, timer, tales);
        self.advance(line, ns);
    }

    /// Time goes on: stories end, and what it was about clocks comes out.
    fn advance(&mut self, line: &mut Vec<u8>, ns: u64) {
        self.now_ns = self.now_ns.max(ns);
        for story in self.stories.over(self.now_ns) {
            self.tell(line, story);
        }
        self.decide(line, Some(self.now_ns));
        self.fold();
    }

    /// Makes room for rows.
    fn fold(&mut self) {
        if self.rows.are_too_many() {
            let alive: HashSet<_> = self
                .stories
                .iter()
                .map(|story| self.rows.key(story.timer(), story.owner().as_ref()))
                .collect();
            self.rows.fold(&alive);
        }
    }

    /// The rest of a story that has ended.
    fn tell(&mut self, line: &mut Vec<u8>, mut story: Story) {
        self.count(line, story.timer(), story.take_tales());
        self.fold();
    }

    fn count(&mut self, line: &mut Vec<u8>, timer: TimerId, tales: Vec<(Option<Rc<Owner>>, Turn)>) {
        for (owner, turn) in tales {
            match turn {
                Turn::Fired(firing) => {
                    if let Some(firing) = self.count_firing(line, firing, Some(self.now_ns)) {
                        self.undecided.push_back(firing);
                    }
                }
                turn => self.rows.change(timer, owner.as_ref(), |row| row.count(&turn)),
            }
        }
    }

    /// Looks again at those that were not certain; by now, or at the end.
    fn decide(&mut self, line: &mut Vec<u8>, now_ns: Option<u64>) {
        while let Some(firing) = self.undecided.pop_front() {
            let now_ns = now_ns.filter(|_| self.undecided.len() < MOST_UNDECIDED);
            if let Some(firing) = self.count_firing(line, firing, now_ns) {
                self.undecided.push_front(firing);
                return;
            }
        }
    }

    /// Counts a firing and tells of it; gives it back when it is not certain whether it came of
    /// setting its clock.
    fn count_firing(
        &mut self,
        line: &mut Vec<u8>,
        firing: Box<Firing>,
        now_ns: Option<u64>,
    ) -> Option<Box<Firing>> {
        let Some(cause) =
            self.settings.cause(firing.expires_ns, firing.clock, firing.before, now_ns)
        else {
            return Some(firing);
        };
        let told = firing.line(cause);
        if self.report == Report::Json {
            write_json(line, &told);
        }
        self.rows.change(firing.timer, firing.owner.as_ref(), |row| {
            row.count_firing(&told, cause, firing.is_of_lost)
        });
        None
    }
}

/// What is to be said where the whole is not whole.
fn doubt(summary: &Summary) -> Option<String> {
    let (lost, unknown) = (summary.lost.total(), summary.unknown);
    let doubts = [
        (lost > 0).then(|| format!("{lost} events were lost")),
        (unknown > 0).then(|| format!("{unknown} more may have been lost")),
        (!summary.blind.is_empty()).then(|| "the probes saw nothing for a while".to_owned()),
    ];
    let doubts = doubts.into_iter().flatten().collect::<Vec<_>>().join(", and ");
    (!doubts.is_empty()).then(|| {
        format!("{doubts}: timers may have fired, or been set, without being counted here.")
    })
}

fn write_json(line: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Plain data into memory: there is nothing that could fail.
    _ = serde_json::to_writer(&mut *line, value);
    line.push(b'\n');
}

#[cfg(test)]
mod tests;
