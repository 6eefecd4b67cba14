//! The rows of the table: as many as one can look through, and what is beyond them in one.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use settime32_abi::lifecycle::TimerId;

use super::owner::Owner;
use super::row::Row;
use crate::cli::Per;

/// Rows at one time, at most.
const MOST_ROWS: usize = 4096;
/// Values that differ in all their histograms, at most.
const MOST_VALUES: usize = 1 << 18;

/// What a row is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A timer.
    Timer(TimerId),
    /// A process; `None` where it is not known.
    Process(Option<Rc<Owner>>),
    /// Everything.
    All,
}

/// Rows by what they are for.
#[derive(Debug)]
pub struct Rows {
    per: Per,
    rows: BTreeMap<Key, (u64, Row)>,
    others: Option<Box<Row>>,
    size: usize,
    /// Goes up with each change, so that the rows know which of them changed last.
    now: u64,
}

impl Rows {
    /// None yet.
    pub const fn new(per: Per) -> Self {
        Self { per, rows: BTreeMap::new(), others: None, size: 0, now: 0 }
    }

    /// What they are for.
    pub const fn per(&self) -> Per {
        self.per
    }

    /// The row for a timer of someone's.
    pub fn key(&self, timer: TimerId, owner: Option<&Rc<Owner>>) -> Key {
        match self.per {
            Per::Timer => Key::Timer(timer),
            Per::Process => Key::Process(owner.cloned()),
            Per::All => Key::All,
        }
    }

    /// Changes that row.
    pub fn change(
        &mut self,
        timer: TimerId,
        owner: Option<&Rc<Owner>>,
        change: impl FnOnce(&mut Row),
    ) {
        self.now += 1;
        let (changed, row) = self.rows.entry(self.key(timer, owner)).or_default();
        *changed = self.now;
        if row.owner.is_none() {
            row.owner = owner.cloned();
        }
        let before = row.size();
        change(row);
        self.size += row.size() - before;
    }

    /// Whether there are more than there is room for.
    pub fn are_too_many(&self) -> bool {
        self.rows.len() > MOST_ROWS || self.size > MOST_VALUES && self.rows.len() > 1
    }

    /// Folds the least interesting quarter into one: first those of which nothing is alive, and
    /// first those that changed long ago.
    pub fn fold(&mut self, alive: &HashSet<Key>) {
        let mut keys: Vec<(bool, u64, Key)> = self
            .rows
            .iter()
            .map(|(key, (changed, _))| (alive.contains(key), *changed, key.clone()))
            .collect();
        keys.sort_unstable();
        for (_, _, key) in &keys[..keys.len().div_ceil(4)] {
            let Some((_, row)) = self.rows.remove(key) else { continue };
            self.size -= row.size();
            self.others.get_or_insert_default().add(&row);
        }
    }

    /// Events were lost.
    pub fn doubt(&mut self) {
        self.rows
            .values_mut()
            .map(|(_, row)| row)
            .chain(self.others.as_deref_mut())
            .for_each(Row::doubt);
    }

    /// Each row; what was folded into one is last, and is for nothing in particular.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&Key>, &Row)> {
        let known = self.rows.iter().map(|(key, (_, row))| (Some(key), row));
        known.chain(self.others.as_deref().map(|others| (None, others)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lateness::story::Turn;

    fn owner(pid: u32) -> Option<Rc<Owner>> {
        Some(Rc::new(Owner { pid, host_pid: None, comm: "prog".into() }))
    }

    fn count(rows: &Rows) -> u64 {
        rows.iter().map(|(_, row)| row.armings).sum()
    }

    #[test]
    fn what_ended_long_ago_is_folded_first_and_nothing_is_lost() {
        let mut rows = Rows::new(Per::Process);
        let alive = HashSet::from([Key::Process(owner(1)), Key::Process(owner(3))]);
        for pid in 1..=1_000_000 {
            rows.change(u64::from(pid), owner(pid).as_ref(), |row| row.count(&Turn::Armed));
            if rows.are_too_many() {
                rows.fold(&alive);
            }
        }
        let known: Vec<u32> = rows
            .iter()
            .filter_map(|(key, _)| {
                if let Some(Key::Process(Some(owner))) = key { Some(owner.pid) } else { None }
            })
            .collect();
        assert_eq!((known[0], known[1], known.last()), (1, 3, Some(&1_000_000)));
        assert!(known.len() <= MOST_ROWS && known.len() >= MOST_ROWS / 2, "{}", known.len());
        assert_eq!((count(&rows), rows.iter().last().unwrap().0), (1_000_000, None));
    }

    #[test]
    fn histograms_are_folded_when_they_grow_large() {
        let mut rows = Rows::new(Per::Timer);
        for value in 0..MOST_VALUES as u64 * 4 {
            rows.change(value / 2000, None, |row| {
                row.handler.record(value % 2000 + (1 << (value / 2000 % 20)))
            });
            if rows.are_too_many() {
                rows.fold(&HashSet::new());
            }
        }
        assert!(rows.size <= MOST_VALUES, "{}", rows.size);
        assert_eq!(
            rows.iter().map(|(_, row)| row.handler.count()).sum::<u64>(),
            MOST_VALUES as u64 * 4
        );
    }
}
