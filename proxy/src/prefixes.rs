//! Which of many texts a text begins with, found without looking at each of them: the index of routes and of rules by path.
//!
//! Pure, and no wider than that: whoever asks holds what is found against the rest of a request.

use std::collections::BTreeMap;
use std::iter::successors;

/// Values by text.
#[derive(Debug)]
pub struct Prefixes<T> {
    /// In the order of their texts.
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    text: Box<str>,
    /// The longest other text that this one begins with.
    within: Option<usize>,
    values: Vec<T>,
}

impl<T> Prefixes<T> {
    /// The same text may come more than once.
    pub fn new(all: impl IntoIterator<Item = (String, T)>) -> Self {
        let mut by_text: BTreeMap<String, Vec<T>> = BTreeMap::new();
        all.into_iter().for_each(|(text, value)| by_text.entry(text).or_default().push(value));
        let mut entries: Vec<Entry<T>> = Vec::with_capacity(by_text.len());
        for (text, values) in by_text {
            let within = chain(&entries, entries.len().checked_sub(1)).find(|n| text.starts_with(&*entries[*n].text));
            entries.push(Entry { text: text.into(), within, values });
        }
        Self { entries }
    }

    /// The values of all texts that `text` begins with: the longest text first, those of one text in the order in which they came.
    pub fn of<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a T> {
        // Whatever stands between a text and one that begins with it begins with it, too: the longest that is sought is the
        // last one up to `text`, or that one is within it.
        let last = self.entries.partition_point(|entry| *entry.text <= *text).checked_sub(1);
        let found = chain(&self.entries, last).map(|n| &self.entries[n]);
        found.filter(|entry| text.starts_with(&*entry.text)).flat_map(|entry| &entry.values)
    }
}

/// From the entry `first` to what it is within, and so on.
fn chain<T>(entries: &[Entry<T>], first: Option<usize>) -> impl Iterator<Item = usize> {
    successors(first, |n| entries[*n].within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The same as looking at each of them.
        #[test]
        fn what_is_found_is_what_it_begins_with(
            texts in prop::collection::vec("[ab/]{0,4}", 0..20),
            asked in prop::collection::vec("[ab/c]{0,6}", 1..20),
        ) {
            let prefixes = Prefixes::new(texts.iter().cloned().zip(0..));
            for asked in &asked {
                let mut expected: Vec<usize> = (0..texts.len()).filter(|n| asked.starts_with(&texts[*n])).collect();
                expected.sort_by_key(|n| (std::cmp::Reverse(texts[*n].len()), *n));
                prop_assert_eq!(prefixes.of(asked).copied().collect::<Vec<usize>>(), expected);
            }
        }
    }
}
