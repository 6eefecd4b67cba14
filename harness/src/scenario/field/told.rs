//! What programs said: the lines of the workload's situations, and those of the tracer's JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::programs::Ran;

/// One line of a situation: `WORD KEY=VALUE…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    word: String,
    values: BTreeMap<String, String>,
}

impl Said {
    /// The lines that begin with this word.
    pub(super) fn all(text: &str, word: &str) -> Vec<Self> {
        text.lines().map(Self::of).filter(|said| said.word == word).collect()
    }

    /// The last of them; one of nothing where there is none.
    pub(super) fn last(text: &str, word: &str) -> Self {
        Self::all(text, word).pop().unwrap_or_else(|| Self::of(""))
    }

    fn of(line: &str) -> Self {
        let mut words = line.split(' ');
        let word = words.next().unwrap_or_default().to_owned();
        let values = words
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { word, values: values.collect() }
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    /// A number; -1 where there is none, which no program says.
    pub(super) fn number(&self, key: &str) -> i64 {
        self.text(key).parse().unwrap_or(-1)
    }
}

/// The lines of a tracer's JSON.
#[derive(Clone, Debug)]
pub(super) struct Lines(Vec<Value>);

impl Lines {
    /// Those that are objects: what a program wrote to the same place is none.
    pub(super) fn of(ran: &Ran) -> Self {
        Self(
            ran.lines()
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok())
                .filter(Value::is_object)
                .collect(),
        )
    }

    pub(super) fn named<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |line| line["event"] == event)
    }

    /// Everything but the last words.
    pub(super) fn events(&self) -> usize {
        self.0.iter().filter(|line| line["event"] != "summary").count()
    }

    /// All losses that are counted.
    pub(super) fn lost(&self) -> u64 {
        self.named("summary")
            .filter_map(|summary| summary["lost"].as_object())
            .flat_map(|lost| lost.values())
            .filter_map(Value::as_u64)
            .sum()
    }

    /// When it was blind, from and to, nanoseconds.
    pub(super) fn blind(&self) -> Vec<(u64, u64)> {
        let spans =
            self.named("summary").filter_map(|summary| summary["blind"].as_array()).flatten();
        spans
            .filter_map(|span| Some((span["from_ns"].as_u64()?, span["to_ns"].as_u64()?)))
            .collect()
    }

    /// The numbers under a key of the events of a name.
    pub(super) fn numbers(&self, event: &str, key: &str) -> Vec<i64> {
        self.named(event).filter_map(|line| line[key].as_i64()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_and_values() {
        let text = "half pid=3 timers=5\nshort pid=4 tid=4 timers=7\nnothing\n";
        assert_eq!(Said::all(text, "half").len(), 1);
        let said = Said::last(text, "short");
        assert_eq!((said.number("timers"), said.text("tid"), said.number("gone")), (7, "4", -1));
        assert_eq!(Said::last(text, "other").text("pid"), "");
    }

    #[test]
    fn what_is_lost_and_blind_is_in_the_last_line() {
        let stdout = b"{\"event\":\"expiry\",\"timer\":4}\nbeside\n{\"event\":\"summary\",\"lost\":{\"buffer\":2,\"result\":1},\"blind\":[{\"from_ns\":5,\"to_ns\":9,\"reason\":\"x\"}]}\n";
        let lines = Lines::of(&Ran { stdout: stdout.to_vec(), ..Ran::default() });
        assert_eq!(
            (lines.lost(), lines.blind(), lines.events(), lines.numbers("expiry", "timer")),
            (3, vec![(5, 9)], 1, vec![4])
        );
    }
}
