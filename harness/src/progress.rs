//! What a run shows while it works, on stderr: a bar on a terminal, a line a stage elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::verify::Watch;

/// Shows a run's progress.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// For a run of so many calls.
    pub fn new(calls: u64) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg:24} {wide_bar} {human_pos}/{human_len} calls {per_sec} {elapsed}");
        let bar = ProgressBar::new(calls).with_style(style.expect("the template is checked by every run"));
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
            eprintln!("settime32-harness: {text}");
        }
    }

    fn calls_made(&self, calls: u64) {
        let length = self.bar.length().unwrap_or_default().max(1);
        let tenth = |position: u64| position * 10 / length;
        if !self.terminal && tenth(calls) > tenth(self.bar.position()) && calls < length {
            eprintln!("settime32-harness: {calls} of {length} calls compared");
        }
        self.bar.set_position(calls);
    }
}
