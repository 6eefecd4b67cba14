//! Until when something may take.

use std::time::{Duration, Instant};

/// A wall-clock limit, of a whole run say.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    /// The limit, seconds, for messages.
    pub seconds: u64,
}

impl Deadline {
    /// A deadline that is `limit` from now.
    pub fn after(limit: Duration) -> Self {
        let now = Instant::now();
        // A limit past the end of the clock is as good as one in ten years.
        let at = now
            .checked_add(limit)
            .unwrap_or_else(|| now + Duration::from_secs(10 * 365 * 24 * 3600));
        Self { at, seconds: limit.as_secs() }
    }

    /// What is left; zero when it has passed.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}
