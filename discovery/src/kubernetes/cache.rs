//! The objects of one kind, as its watch tells of them, and which of them are different than before.
//!
//! Pure. While a kind is listed again, what was known stays until the list is complete: nothing vanishes because a list is
//! on its way. Invariant: once listed, it is what the API server had at one time.

use super::facts::ObjectName;
use std::collections::BTreeMap;

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen<F> {
    /// A list of all begins.
    Begin,
    /// One of the list.
    Listed(ObjectName, F),
    /// The list is complete.
    Complete,
    Put(ObjectName, F),
    Gone(ObjectName),
}

/// All objects of one kind.
#[derive(Debug)]
pub struct Cache<F> {
    known: BTreeMap<ObjectName, F>,
    listing: BTreeMap<ObjectName, F>,
    complete: bool,
}

/// What is different now.
#[derive(Debug, Clone, PartialEq)]
pub struct Different<F> {
    pub name: ObjectName,
    /// What it was.
    pub before: Option<F>,
}

impl<F> Default for Cache<F> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), listing: BTreeMap::new(), complete: false }
    }
}

impl<F: PartialEq> Cache<F> {
    /// Takes in what was seen and says what is different.
    pub fn take(&mut self, seen: Seen<F>) -> Vec<Different<F>> {
        match seen {
            Seen::Begin => self.listing.clear(),
            Seen::Listed(name, facts) => drop(self.listing.insert(name, facts)),
            Seen::Complete => return self.replace(),
            Seen::Put(name, facts) => {
                if self.known.get(&name) != Some(&facts) {
                    let before = self.known.insert(name.clone(), facts);
                    return vec![Different { name, before }];
                }
            }
            Seen::Gone(name) => {
                let before = self.known.remove(&name);
                return before.map(|facts| Different { name, before: Some(facts) }).into_iter().collect();
            }
        }
        Vec::new()
    }

    fn replace(&mut self) -> Vec<Different<F>> {
        self.complete = true;
        let mut before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listing));
        let mut different = Vec::new();
        for (name, facts) in &self.known {
            let old = before.remove(name);
            if old.as_ref() != Some(facts) {
                different.push(Different { name: name.clone(), before: old });
            }
        }
        different.extend(before.into_iter().map(|(name, facts)| Different { name, before: Some(facts) }));
        different
    }

    /// Whether all objects have been seen once.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub fn get(&self, name: &ObjectName) -> Option<&F> {
        self.known.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &F)> {
        self.known.iter()
    }

    /// Those of one namespace.
    pub fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a str, &'a F)> {
        let from = (namespace.to_owned(), String::new());
        let of = self.known.range(from..).take_while(move |((other, _), _)| other == namespace);
        of.map(|((_, name), facts)| (name.as_str(), facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ObjectName {
        ("shop".to_owned(), name.to_owned())
    }

    fn names(different: Vec<Different<u8>>) -> Vec<String> {
        different.into_iter().map(|different| different.name.1).collect()
    }

    #[test]
    fn a_list_on_its_way_takes_nothing_away() {
        let mut cache = Cache::default();
        cache.take(Seen::Begin);
        cache.take(Seen::Listed(name("a"), 1));
        assert!(!cache.is_complete() && cache.get(&name("a")).is_none());
        cache.take(Seen::Listed(name("b"), 1));
        assert_eq!(names(cache.take(Seen::Complete)), ["a", "b"]);
        assert!(cache.is_complete());
        cache.take(Seen::Begin);
        cache.take(Seen::Listed(name("b"), 2));
        assert_eq!(cache.get(&name("a")), Some(&1));
        // The list broke off and begins again.
        cache.take(Seen::Begin);
        cache.take(Seen::Listed(name("c"), 1));
        cache.take(Seen::Listed(name("b"), 1));
        assert_eq!(names(cache.take(Seen::Complete)), ["c", "a"]);
        assert_eq!(cache.get(&name("a")), None);
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        let mut cache = Cache::default();
        assert_eq!(names(cache.take(Seen::Put(name("a"), 1))), ["a"]);
        assert_eq!(names(cache.take(Seen::Put(name("a"), 1))), [""; 0]);
        let before = cache.take(Seen::Put(name("a"), 2));
        assert_eq!(before, [Different { name: name("a"), before: Some(1) }]);
        assert_eq!(names(cache.take(Seen::Gone(name("a")))), ["a"]);
        assert_eq!(names(cache.take(Seen::Gone(name("a")))), [""; 0]);
    }

    #[test]
    fn a_namespace_has_its_own_objects_only() {
        let mut cache = Cache::default();
        for (namespace, name) in [("shop", "a"), ("shop", "b"), ("shop2", "a"), ("sho", "a")] {
            cache.take(Seen::Put((namespace.to_owned(), name.to_owned()), 1));
        }
        assert_eq!(cache.within("shop").map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
    }
}
