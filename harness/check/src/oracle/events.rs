//! Which events a tracer was asked for, and which such sets a run goes through.

use std::str::FromStr;

use settime32_abi::lifecycle::Kind;
use settime32_abi::output::CALL_EVENT;

/// Names of events, as `settime32-tracer --events` takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSet(Vec<&'static str>);

impl EventSet {
    /// Everything.
    pub fn all() -> Self {
        Self(std::iter::once(CALL_EVENT).chain(Kind::ALL.into_iter().map(Kind::as_str)).collect())
    }

    /// Whether events of this name were asked for.
    pub fn has(&self, event: &str) -> bool {
        self.0.contains(&event)
    }

    /// As the tracer's command line takes it.
    pub fn to_argument(&self) -> String {
        self.0.join(",")
    }
}

/// Sets of events, each for a tracer of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSets(pub Vec<EventSet>);

impl EventSets {
    /// Every two kinds.
    fn pairs() -> Self {
        let EventSet(all) = EventSet::all();
        let with_later = |(at, one): (usize, &&'static str)| {
            all[at + 1..].iter().map(|other| EventSet(vec![one, other])).collect::<Vec<_>>()
        };
        Self(all.iter().enumerate().flat_map(with_later).collect())
    }
}

impl FromStr for EventSets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pairs" => Ok(Self::pairs()),
            one => one.parse().map(|set| Self(vec![set])),
        }
    }
}

impl Default for EventSet {
    fn default() -> Self {
        Self::all()
    }
}

impl FromStr for EventSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Self(all) = Self::all();
        if text == "all" {
            return Ok(Self(all));
        }
        let known = |name: &str| all.iter().copied().find(|known| *known == name);
        text.split(',')
            .map(|name| {
                known(name).ok_or_else(|| {
                    format!("no event {name}; there are {}, and all", all.join(", "))
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_those_of_the_tracer() {
        assert_eq!("all".parse(), Ok(EventSet::all()));
        let two: EventSet = "expiry,timerfd_settime32".parse().unwrap();
        assert!(two.has("expiry") && two.has(CALL_EVENT) && !two.has("wakeup"));
        assert_eq!(two.to_argument(), "expiry,timerfd_settime32");
        let EventSets(pairs) = "pairs".parse().unwrap();
        assert!(
            pairs.len() == 45
                && pairs.iter().all(|pair| EventSet::all()
                    .0
                    .iter()
                    .filter(|name| pair.has(name))
                    .count()
                    == 2)
        );
        assert_eq!(
            pairs
                .iter()
                .map(EventSet::to_argument)
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            pairs.len()
        );
        assert!("expiry,life".parse::<EventSet>().unwrap_err().contains("no event life"));
    }
}
