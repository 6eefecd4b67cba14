//! How late timers fire, told from events: each timer's story, what is counted of it, and the forms in which it is told.

mod page;
mod plot;
mod row;
mod story;
mod table;

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use settime32_abi::event::{RawEvent, flag};
use settime32_abi::life::{Kind, TimerId};
use settime32_abi::timespec::{Itimerspec64, Timespec64};

use self::row::Row;
use self::story::{Arming, Story, Told};
use crate::call_event::{comm, has};
use crate::cli::{Per, Report};
use crate::life::Event;
use crate::suspended::suspended_ns;
use crate::words::ABSTIME;

/// What it needs to see beside the call itself.
pub const KINDS: [Kind; 4] = [Kind::TimerfdSettime, Kind::Expiry, Kind::Wakeup, Kind::Release];

/// The kernel armed the timer all the same (`timerfd_setup`, `fs/timerfd.c`).
const ECANCELED: i64 = -125;
/// How often a table on a terminal is drawn anew.
const REDRAW: Duration = Duration::from_secs(1);

/// The stories of all timers, and what is told of them.
#[derive(Debug)]
pub struct Lateness {
    per: Per,
    report: Report,
    stories: BTreeMap<TimerId, Story>,
    rows: BTreeMap<Key, Row>,
    live: Option<Live>,
}

/// What a row is for. A process is known by its id and the name of the thread that armed.
type Key = (u64, String);

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
        Self { per, report, stories: BTreeMap::new(), rows: BTreeMap::new(), live }
    }

    /// How long it may sleep before there is something to draw.
    pub fn redraws_every(&self) -> Option<Duration> {
        self.live.as_ref().map(|_| REDRAW)
    }

    /// A call of `timerfd_settime32` that came to a timer.
    pub fn call(&mut self, line: &mut Vec<u8>, raw: &RawEvent, timer: TimerId) {
        if !has(raw, flag::RETURNED) || !has(raw, flag::USED) || !(raw.ret == 0 || raw.ret == ECANCELED) {
            return;
        }
        let setting = Itimerspec64::from(raw.utmr_used);
        let name = comm(&raw.comm);
        let arming = arming((raw.entry_ns, raw.exit_ns), setting, raw.settime_flags, (raw.pid, &name));
        self.tell(line, timer, |story| story.armed(arming));
    }

    /// Another event.
    pub fn of_life(&mut self, line: &mut Vec<u8>, event: &Event) {
        match event {
            Event::Call(call, _) => {
                let (Some(timer), Some(setting), Some(exit_ns)) = (call.timer, call.utmr_used, call.exit_ns) else {
                    return;
                };
                let times = (call.entry_ns, exit_ns);
                let arming = arming(times, setting, call.flags.unwrap_or(0), (call.pid, &call.comm));
                self.tell(line, timer, |story| story.armed(arming));
            }
            Event::Expiry(expiry) => self.tell(line, expiry.timer, |story| story.expired(expiry)),
            Event::Cancel(cancel) => self.tell(line, cancel.timer, Story::cancelled),
            Event::Wakeup(wakeup) => self.tell(line, wakeup.timer, |story| story.woke(wakeup)),
            Event::Release(release) => {
                self.tell(line, release.timer, Story::released);
            }
            Event::ClockSet { .. } | Event::TicksSet { .. } => {}
        }
    }

    /// Appends what is to be drawn now.
    pub fn tick(&mut self, line: &mut Vec<u8>) {
        let Some(live) = &mut self.live else { return };
        if live.drawn.elapsed() < REDRAW {
            return;
        }
        let text = table::text(self.per, &self.rows);
        // Up to where the table before began, and what is below is cleared.
        if live.lines > 0 {
            line.extend_from_slice(format!("\x1b[{}F\x1b[J", live.lines).as_bytes());
        }
        live.lines = text.lines().count();
        live.drawn = Instant::now();
        line.extend_from_slice(text.as_bytes());
    }

    /// Appends the end: what was still pending, and the whole.
    pub fn finish(&mut self, line: &mut Vec<u8>) {
        let timers: Vec<TimerId> = self.stories.keys().copied().collect();
        for timer in timers {
            self.tell(line, timer, Story::ended);
        }
        match self.report {
            Report::Table => {
                if let Some(live) = self.live.as_ref().filter(|live| live.lines > 0) {
                    line.extend_from_slice(format!("\x1b[{}F\x1b[J", live.lines).as_bytes());
                }
                line.extend_from_slice(table::text(self.per, &self.rows).as_bytes());
            }
            Report::Json => {
                for (key, row) in &self.rows {
                    json(line, &row.summary(self.per, key));
                }
            }
            Report::Html => line.extend_from_slice(page::text(self.per, &self.rows).as_bytes()),
        }
    }

    fn tell(&mut self, line: &mut Vec<u8>, timer: TimerId, happens: impl FnOnce(&mut Story)) {
        let story = self.stories.entry(timer).or_insert_with(|| Story::new(timer));
        happens(story);
        for told in story.take_told() {
            if let (Report::Json, Told::Firing(firing)) = (self.report, &told) {
                json(line, firing);
            }
            let (pid, name) = told.owner();
            let key = match self.per {
                Per::Timer => (timer, name.to_owned()),
                Per::Process => (pid.into(), name.to_owned()),
                Per::All => (0, String::new()),
            };
            self.rows.entry(key).or_default().count(&told);
        }
    }
}

fn arming((entry_ns, exit_ns): (u64, u64), setting: Itimerspec64, flags: i32, (pid, comm): (u32, &str)) -> Arming {
    Arming {
        entry_ns,
        exit_ns,
        pid,
        comm: comm.to_owned(),
        is_absolute: flags & ABSTIME != 0,
        value_ns: nanos(setting.it_value),
        interval_ns: nanos(setting.it_interval),
        suspended_ns: suspended_ns(),
        fired: 0,
        first: None,
    }
}

/// As the kernel does it: what is beyond its range is the end of it (`timespec64_to_ktime`, `include/linux/ktime.h`).
fn nanos(time: Timespec64) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

fn json(line: &mut Vec<u8>, value: &impl serde::Serialize) {
    // Plain data into memory: there is nothing that could fail.
    _ = serde_json::to_writer(&mut *line, value);
    line.push(b'\n');
}
