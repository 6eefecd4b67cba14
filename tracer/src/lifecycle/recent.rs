//! A map of bounded size, that forgets what was not asked for for the longest time.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: what is asked for moves to the younger one, and when that is full, the older
/// one is forgotten.
#[derive(Debug)]
pub struct Recent<K, V> {
    most: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash + Copy, V: Copy> Recent<K, V> {
    /// Which keeps at least the last `most`, and twice as many at the most.
    pub fn new(most: usize) -> Self {
        Self { most, young: HashMap::new(), old: HashMap::new() }
    }

    /// What was inserted.
    pub fn get(&mut self, key: K) -> Option<V> {
        if let Some(value) = self.young.get(&key) {
            return Some(*value);
        }
        let value = self.old.remove(&key)?;
        self.insert(key, value);
        Some(value)
    }

    /// Inserts or replaces.
    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// Takes out.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let old = self.old.remove(&key);
        self.young.remove(&key).or(old)
    }

    /// How many it keeps.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_kept_and_the_rest_is_bounded() {
        let mut recent = Recent::new(4);
        for key in 0..100 {
            recent.insert(key, key * 2);
            assert_eq!((recent.get(0), recent.get(key)), (Some(0), Some(key * 2)), "{key}");
            assert!(recent.len() <= 8);
        }
        assert_eq!(recent.get(50), None);
        assert_eq!((recent.remove(99), recent.remove(99)), (Some(198), None));
    }

    #[test]
    fn what_was_replaced_does_not_come_back() {
        let mut recent = Recent::new(1);
        recent.insert(1, 1);
        recent.insert(2, 2);
        recent.insert(1, 3);
        assert_eq!((recent.remove(1), recent.get(1)), (Some(3), None));
    }
}
