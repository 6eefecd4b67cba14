//! What a run shows while it works, on stderr: a bar on a terminal, a line a stage elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::verify::Watch;
use crate::words::grouped;

/// Shows a run's progress.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// For a run of so many calls.
    pub fn new(calls: u64) -> Self {
        let style = ProgressStyle::with_template(
            "{spinner} {msg:24} {wide_bar} {human_pos}/{human_len} calls {per_sec} {elapsed}",
        );
        let bar = ProgressBar::new(calls)
            .with_style(style.expect("the template is checked by every run"));
        let terminal = std::io::stderr().is_terminal();
        if terminal {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, terminal }
    }

    /// Leaves the terminal to the report.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Progress {
    fn say(&self, text: &str) {
        if self.terminal {
            self.bar.set_message(text.to_string());
        } else {
            output::say(text);
        }
    }

    fn calls_made(&self, calls: u64) {
        let length = self.bar.length().unwrap_or_default().max(1);
        let tenth = |position: u64| position * 10 / length;
        if !self.terminal && tenth(calls) > tenth(self.bar.position()) && calls < length {
            output::say(&format!("{calls} of {length} calls compared"));
        }
        self.bar.set_position(calls);
    }
}

/// How often a run that is not on a terminal says what it is at.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows what a fuzzing run is at: calls, calls a second, seeds, faults.
#[derive(Debug)]
pub struct FuzzProgress {
    bar: ProgressBar,
    terminal: bool,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    started: Instant,
    told: Instant,
    ran: u64,
    verified: u64,
    seeds: u64,
    faults: usize,
}

impl FuzzProgress {
    /// For a run that begins now.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .expect("the template is checked by every run");
        let bar = ProgressBar::new_spinner().with_style(style);
        let terminal = std::io::stderr().is_terminal();
        if terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let now = Instant::now();
        let counts = Counts { started: now, told: now, ran: 0, verified: 0, seeds: 0, faults: 0 };
        Self { bar, terminal, counts: Mutex::new(counts) }
    }

    /// Something is worth a line.
    pub fn say(&self, text: &str) {
        if self.terminal {
            self.bar.println(format!("settime32-harness: {text}"))
        } else {
            output::say(text)
        }
    }

    /// So many more calls were made.
    pub fn ran(&self, calls: u64) {
        self.count(|counts| counts.ran += calls);
    }

    /// So many more calls of so many seeds were compared to the tracer's last word.
    pub fn verified(&self, calls: u64, seeds: u64) {
        self.count(|counts| {
            (counts.verified, counts.seeds) = (counts.verified + calls, counts.seeds + seeds)
        });
    }

    /// So many faults are known.
    pub fn faults(&self, faults: usize) {
        self.count(|counts| counts.faults = faults);
    }

    /// Leaves the terminal to the report.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().expect("no holder panics");
        change(&mut counts);
        let rate = counts.ran as f64 / counts.started.elapsed().as_secs_f64().max(0.001);
        let [ran, rate, verified, seeds] =
            [counts.ran, rate.round() as u64, counts.verified, counts.seeds].map(grouped);
        let text = format!(
            "{ran} calls, {rate} a second; {verified} verified in {seeds} seeds; faults: {}",
            counts.faults
        );
        self.bar.set_message(text.clone());
        if !self.terminal && counts.told.elapsed() > LINE_EVERY {
            counts.told = Instant::now();
            output::say(&text);
        }
    }
}

impl Default for FuzzProgress {
    fn default() -> Self {
        Self::new()
    }
}
