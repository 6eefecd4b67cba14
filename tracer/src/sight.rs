//! Whether the probes see, judged by what was seen: when the tracer was blind, from when to when,
//! and which of its own calls were lost as others' are. It looks at nothing itself and knows no
//! clock but the times that it is told.

use settime32_abi::output::{Blind, Lost};

/// So many of our own calls in a row are not lost by chance. A program in a trampoline is passed
/// over while it is busy.
const MANY: u32 = 5;

/// Why, where no switch is off.
pub const NO_CAUSE: &str =
    "a call that the tracer made itself was not seen, for no cause that is known";
/// A switch that is on may have been off since it was looked at last.
pub const WRITTEN: &str = "kprobes or ftrace were switched, or may have been";

/// A time in which it may have been blind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Doubt {
    from_ns: u64,
    /// Only what entered after this shows that it sees again.
    since_ns: u64,
    /// Why, if that is known.
    reason: Option<String>,
    /// Our own calls that were not seen in it.
    missed: u32,
}

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The last entry that was seen before the switches were last found untouched.
    sure_ns: u64,
    /// The last entry that was seen.
    last_ns: u64,
    doubt: Option<Doubt>,
    spans: Vec<(Blind, u32, bool)>,
    /// Our own calls that were missed while others were seen.
    lost: u32,
    /// Of ours that were seen without their result.
    pub results_lost: u64,
    /// Of ours that entered, and were missed since they were not seen to return.
    pub without_result: u64,
}

impl Sight {
    /// A call of ours was seen, whole.
    pub fn saw_own(&mut self, entry_ns: u64) {
        self.last_ns = self.last_ns.max(entry_ns);
        let Some(doubt) = self.doubt.take_if(|doubt| entry_ns >= doubt.since_ns) else { return };
        self.close(doubt, entry_ns);
        self.sure_ns = entry_ns;
    }

    /// From now on it is asked for what happens.
    pub const fn begins(&mut self, now_ns: u64) {
        if let Some(doubt) = &mut self.doubt {
            doubt.from_ns = now_ns;
        } else if self.sure_ns == 0 {
            self.sure_ns = now_ns;
        }
    }

    /// A call of others was seen, whole.
    pub fn saw(&mut self, entry_ns: u64) {
        self.last_ns = self.last_ns.max(entry_ns);
    }

    /// A call of ours was made after `asked_ns`, and was not seen.
    pub fn missed(&mut self, asked_ns: u64, reason: Option<String>) {
        if self.doubt.is_none() && reason.is_none() && self.last_ns >= asked_ns {
            self.lost += 1;
            return;
        }
        let doubt = self.doubted();
        doubt.missed += 1;
        if reason.is_some() {
            doubt.reason = reason;
        }
    }

    /// It may have been blind up to now.
    pub fn may_be_blind(&mut self, now_ns: u64, reason: String) {
        let doubt = self.doubted();
        doubt.since_ns = now_ns;
        // What is off says more than that something was switched.
        if doubt.reason.is_none() || reason != WRITTEN {
            doubt.reason = Some(reason);
        }
    }

    /// No switch was touched up to now.
    pub fn is_untouched(&mut self) {
        if self.doubt.is_none() {
            self.sure_ns = self.last_ns;
        }
    }

    /// Whether there is no doubt, and something was seen that entered at this time or later.
    pub const fn sees_since(&self, ns: u64) -> bool {
        self.doubt.is_none() && self.last_ns >= ns
    }

    /// Whether it is not known to see.
    #[cfg(test)]
    pub const fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether it is known not to see.
    pub fn is_blind(&self) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.missed >= MANY)
    }

    /// The whole, at the end. Calls of ours that were lost as others' may be come off the counts of
    /// what was `lost`; one that is in no count was not lost, but not seen.
    pub fn ended(mut self, now_ns: u64, lost: &mut Lost, unknown: &mut u64) -> Vec<Blind> {
        if let Some(doubt) = self.doubt.take() {
            self.close(doubt, now_ns);
        }
        lost.result = lost.result.saturating_sub(self.results_lost);
        let mut without_result = self.without_result;
        // What entered was passed over nowhere else than as it returned, which is counted by
        // itself.
        let mut passed_over = |missed: u32| {
            let entered = without_result.min(missed.into());
            without_result -= entered;
            u64::from(missed) - entered
        };
        take_off(lost, unknown, passed_over(self.lost));
        let spans = std::mem::take(&mut self.spans).into_iter();
        let is_told = |(blind, missed, is_sure): &(Blind, u32, bool)| {
            // What a switch keeps from being seen the kernel does not count.
            let is_counted =
                blind.reason == NO_CAUSE && take_off(lost, unknown, passed_over(*missed));
            *is_sure || !is_counted
        };
        merged(spans.filter(is_told).map(|(blind, ..)| blind))
    }

    fn doubted(&mut self) -> &mut Doubt {
        let from_ns = self.sure_ns;
        self.doubt.get_or_insert(Doubt { from_ns, since_ns: from_ns, reason: None, missed: 0 })
    }

    fn close(&mut self, doubt: Doubt, to_ns: u64) {
        // What was before the first sight is not asked for.
        if doubt.from_ns == 0 {
            self.lost += doubt.missed;
            return;
        }
        let is_sure = doubt.reason.is_some() || doubt.missed >= MANY;
        let reason = doubt.reason.unwrap_or_else(|| NO_CAUSE.to_owned());
        self.spans.push((
            Blind { from_ns: doubt.from_ns, to_ns: to_ns.max(doubt.from_ns), reason },
            doubt.missed,
            is_sure,
        ));
    }
}

/// Takes calls off what was lost, and off what may have been; false when there were not so many.
fn take_off(lost: &mut Lost, unknown: &mut u64, calls: u64) -> bool {
    let mut left = calls;
    for count in [&mut lost.buffer, &mut lost.in_flight, unknown] {
        let taken = left.min(*count);
        *count -= taken;
        left -= taken;
    }
    left == 0
}

/// Spans that touch are one.
fn merged(spans: impl Iterator<Item = Blind>) -> Vec<Blind> {
    let mut all: Vec<Blind> = Vec::new();
    for span in spans {
        match all.last_mut().filter(|last| last.to_ns >= span.from_ns) {
            Some(last) => {
                last.to_ns = last.to_ns.max(span.to_ns);
                if last.reason == WRITTEN {
                    last.reason = span.reason;
                }
            }
            None => all.push(span),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: &str = "kprobes are switched off";

    fn blind(from_ns: u64, to_ns: u64, reason: &str) -> Blind {
        Blind { from_ns, to_ns, reason: reason.to_owned() }
    }

    fn seeing() -> Sight {
        let mut sight = Sight::default();
        sight.saw_own(100);
        sight.is_untouched();
        sight
    }

    #[test]
    fn what_is_seen_is_no_blindness() {
        let mut sight = seeing();
        sight.saw(150);
        sight.saw_own(200);
        assert!(!sight.is_in_doubt());
        assert!(sight.ended(300, &mut Lost::default(), &mut 0).is_empty());
    }

    #[test]
    fn calls_of_others_show_that_it_sees_as_long_as_nothing_is_in_doubt() {
        let mut sight = seeing();
        sight.saw(150);
        assert!(sight.sees_since(150) && !sight.sees_since(151));
        sight.may_be_blind(200, WRITTEN.to_owned());
        sight.saw(210);
        assert!(!sight.sees_since(150));
    }

    #[test]
    fn a_switch_that_is_off_makes_blind_until_a_call_is_seen() {
        let mut sight = seeing();
        sight.saw(150);
        sight.is_untouched();
        sight.may_be_blind(200, WRITTEN.to_owned());
        sight.missed(201, Some(OFF.to_owned()));
        sight.may_be_blind(300, WRITTEN.to_owned());
        // One that was made before the switch was thrown shows nothing.
        sight.saw_own(299);
        assert!(sight.is_in_doubt());
        sight.saw_own(310);
        assert!(!sight.is_in_doubt());
        assert_eq!(sight.ended(400, &mut Lost::default(), &mut 0), [blind(150, 310, OFF)]);
    }

    /// While it was kept from looking, what it sees now may have been seen after the switch was off
    /// and on again.
    #[test]
    fn off_and_on_between_two_looks_is_a_span() {
        let mut sight = seeing();
        sight.saw(900);
        sight.may_be_blind(1000, WRITTEN.to_owned());
        sight.saw_own(1010);
        assert_eq!(sight.ended(2000, &mut Lost::default(), &mut 0), [blind(100, 1010, WRITTEN)]);
    }

    #[test]
    fn a_switch_that_stays_off_makes_blind_to_the_end() {
        let mut sight = seeing();
        sight.missed(200, Some(OFF.to_owned()));
        assert_eq!(sight.ended(300, &mut Lost::default(), &mut 0), [blind(100, 300, OFF)]);
    }

    #[test]
    fn spans_that_touch_are_one() {
        let mut sight = seeing();
        for now in [200, 210] {
            sight.may_be_blind(now, WRITTEN.to_owned());
            sight.saw_own(now + 5);
        }
        sight.saw_own(300);
        sight.is_untouched();
        sight.may_be_blind(400, OFF.to_owned());
        sight.saw_own(500);
        assert_eq!(
            sight.ended(600, &mut Lost::default(), &mut 0),
            [blind(100, 215, WRITTEN), blind(300, 500, OFF)]
        );
    }

    /// Where the buffer is full or a program is busy, ours are lost as others' are; the counts are
    /// of others'.
    #[test]
    fn what_is_lost_by_chance_is_no_blindness_and_no_loss_of_others() {
        let mut sight = seeing();
        sight.saw(250);
        sight.missed(200, None);
        assert!(!sight.is_in_doubt());
        sight.missed(300, None);
        sight.saw_own(310);
        sight.results_lost += 1;
        let mut lost = Lost { buffer: 1, in_flight: 4, result: 3, follow: 0 };
        assert!(sight.clone().ended(400, &mut lost, &mut 0).is_empty());
        assert_eq!(lost, Lost { buffer: 0, in_flight: 3, result: 2, follow: 0 });
        // One of them entered, and is not among those in flight that were lost.
        let mut lost = Lost { buffer: 1, in_flight: 4, result: 3, follow: 0 };
        assert!(
            Sight { without_result: 1, ..sight.clone() }.ended(400, &mut lost, &mut 0).is_empty()
        );
        assert_eq!(lost, Lost { buffer: 0, in_flight: 4, result: 2, follow: 0 });
        // One that nothing counts was not seen.
        assert_eq!(
            sight.ended(400, &mut Lost { buffer: 1, ..Lost::default() }, &mut 0),
            [blind(100, 310, NO_CAUSE)]
        );
    }

    #[test]
    fn what_was_before_the_first_sight_is_not_told() {
        let mut sight = Sight::default();
        sight.missed(50, None);
        sight.saw_own(100);
        let mut lost = Lost { in_flight: 1, ..Lost::default() };
        assert!(sight.ended(200, &mut lost, &mut 0).is_empty());
        assert_eq!(lost.total(), 0);
    }

    #[test]
    fn what_was_off_from_the_begin_is_a_span_from_there() {
        let mut sight = Sight::default();
        sight.may_be_blind(50, OFF.to_owned());
        sight.begins(100);
        sight.may_be_blind(200, OFF.to_owned());
        assert_eq!(sight.ended(300, &mut Lost::default(), &mut 0), [blind(100, 300, OFF)]);
    }

    #[test]
    fn many_in_a_row_are_not_lost_by_chance() {
        let mut sight = seeing();
        for now in 0..u64::from(MANY) {
            assert!(!sight.is_blind());
            sight.missed(200 + now, None);
        }
        assert!(sight.is_blind());
        let mut lost = Lost { buffer: 100, ..Lost::default() };
        assert_eq!(sight.ended(300, &mut lost, &mut 0), [blind(100, 300, NO_CAUSE)]);
        assert_eq!(
            lost.buffer,
            100 - u64::from(MANY),
            "what is counted of others has none of ours"
        );
    }
}
