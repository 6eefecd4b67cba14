//! The stories of the timers that there are: those of timers that are gone are over, and there is
//! room for so many.

use std::collections::{BTreeMap, VecDeque};

use settime32_abi::lifecycle::TimerId;

use super::story::Story;

/// Stories at one time, at most.
const MOST_STORIES: usize = 49_152;
/// A handler that runs while its timer is closed, and the call that armed it, come within so long.
const UNTIL_OVER_NS: u64 = 50_000_000;
/// Closed timers whose story is not over, at most.
const MOST_CLOSED: usize = 8192;

/// Stories by timer.
#[derive(Debug, Default)]
pub struct Stories {
    stories: BTreeMap<TimerId, Box<(u64, Story)>>,
    /// When timers were closed, in that order.
    closed: VecDeque<(u64, TimerId)>,
    /// Goes up with each change, so that the stories know which of them changed last.
    now: u64,
}

impl Stories {
    /// The story of a timer, which is about to change.
    pub fn of(&mut self, timer: TimerId) -> &mut Story {
        self.now += 1;
        let story = self.stories.entry(timer).or_insert_with(|| Box::new((0, Story::new(timer))));
        story.0 = self.now;
        &mut story.1
    }

    /// A timer was closed at this time.
    pub fn close(&mut self, timer: TimerId, ns: u64) {
        if self.stories.contains_key(&timer) {
            self.closed.push_back((ns, timer));
        }
    }

    /// Takes out those that are over by now.
    pub fn over(&mut self, now_ns: u64) -> Vec<Story> {
        let mut over = Vec::new();
        while let Some((ns, timer)) = self.closed.front().copied() {
            if self.closed.len() <= MOST_CLOSED && now_ns <= ns.saturating_add(UNTIL_OVER_NS) {
                break;
            }
            self.closed.pop_front();
            if let Some(story) = self.stories.remove(&timer) {
                let mut story = story.1;
                story.released(ns);
                over.push(story);
            }
        }
        if self.stories.len() > MOST_STORIES {
            over.extend(self.forget());
        }
        over
    }

    /// Takes out the quarter that has not changed for the longest time.
    fn forget(&mut self) -> Vec<Story> {
        let mut timers: Vec<(u64, TimerId)> =
            self.stories.iter().map(|(timer, story)| (story.0, *timer)).collect();
        timers.sort_unstable();
        timers.truncate(timers.len().div_ceil(4));
        let forgotten = timers.iter().filter_map(|(_, timer)| self.stories.remove(timer));
        forgotten
            .map(|story| {
                let mut story = story.1;
                story.forgotten();
                story
            })
            .collect()
    }

    /// Takes out all: tracing ended.
    pub fn end(&mut self) -> Vec<Story> {
        let mut ended = self.over(u64::MAX);
        for (_, story) in std::mem::take(&mut self.stories) {
            let mut story = story.1;
            story.ended();
            ended.push(story);
        }
        ended
    }

    /// Those that are not over.
    pub fn iter(&self) -> impl Iterator<Item = &Story> {
        self.stories.values().map(|story| &story.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_over_soon_and_what_is_open_is_bounded() {
        let mut stories = Stories::default();
        for timer in 0..100_000 {
            stories.of(timer);
            stories.close(timer, timer * 1000);
            stories.over(timer * 1000);
            assert!(stories.iter().count() <= 60_000, "{timer}");
            if timer > 100 {
                break;
            }
        }
        let mut over = stories.end().len();
        assert_eq!(stories.iter().count(), 0);
        for timer in 0..1_000_000 {
            stories.of(0);
            stories.of(timer);
            over += stories.over(timer).len();
        }
        assert!(
            stories.iter().count() <= MOST_STORIES
                && stories.iter().any(|story| story.timer() == 0)
        );
        assert_eq!(over + stories.iter().count(), 102 + 1_000_000);
    }
}
