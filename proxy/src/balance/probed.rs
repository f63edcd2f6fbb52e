//! What an endpoint answers to a probe about its latency: the time that answers took of late which found as many requests in flight.
//!
//! After Prequal (section 4 of the paper): each request is written down with what was in flight when it came; the estimate is the
//! median of those at the present number, and at its nearest neighbours while they are too few. Bounded; nothing is kept of an
//! endpoint that is never probed, and one of which nothing is known is taken to answer at once, so that it is tried.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// Requests that are remembered.
const KEPT: usize = 128;
/// Until it has so many, an estimate looks further around the present number in flight.
const ENOUGH: usize = 16;
/// An older one says nothing.
const AGE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
struct Answered {
    /// In flight when it came.
    found: u32,
    took: Duration,
    at: Instant,
}

/// The latest requests of one endpoint.
#[derive(Debug, Default)]
pub struct Book {
    /// The endpoint is probed: from here on requests are written down.
    open: Cell<bool>,
    answered: RefCell<Vec<Answered>>,
    /// Where the next one goes.
    next: Cell<usize>,
}

impl Book {
    /// A request that found so many in flight was answered at `now`.
    pub fn write(&self, found: u32, took: Duration, now: Instant) {
        if !self.open.get() {
            return;
        }
        let mut answered = self.answered.borrow_mut();
        let next = self.next.get();
        let entry = Answered { found, took, at: now };
        match answered.len() < KEPT {
            true => answered.push(entry),
            false => answered[next] = entry,
        }
        self.next.set((next + 1) % KEPT);
    }

    /// What a request would take that came now and found so many in flight.
    pub fn estimate(&self, in_flight: u32, now: Instant) -> Duration {
        self.open.set(true);
        // (Distance to the present number in flight, time), the nearest first.
        let mut near = [(0, Duration::ZERO); KEPT];
        let mut count = 0;
        for entry in self.answered.borrow().iter().filter(|e| now.saturating_duration_since(e.at) < AGE) {
            near[count] = (entry.found.abs_diff(in_flight), entry.took);
            count += 1;
        }
        let near = &mut near[..count];
        near.sort_unstable();
        let Some((distance, _)) = near.get(ENOUGH - 1).or(near.last()).copied() else { return Duration::ZERO };
        // All that are as near as the last one that is needed.
        let taken = near.partition_point(|(other, _)| *other <= distance);
        let near = &mut near[..taken];
        near.select_nth_unstable_by_key(taken / 2, |(_, took)| *took).1.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn book(answered: impl IntoIterator<Item = (u32, u64)>, now: Instant) -> Book {
        let book = Book::default();
        assert_eq!(book.estimate(0, now), Duration::ZERO, "nothing is known");
        answered.into_iter().for_each(|(found, took)| book.write(found, ms(took), now));
        book
    }

    #[test]
    fn the_estimate_is_that_of_the_present_number_in_flight() {
        let now = Instant::now();
        let book = book((0..40).flat_map(|n| [(1, 10 + n % 3), (9, 90)]), now);
        assert_eq!(book.estimate(1, now), ms(11));
        assert_eq!(book.estimate(9, now), ms(90));
        assert_eq!(book.estimate(30, now), ms(90), "the nearest");
        assert_eq!(book.estimate(2, now), ms(11));
        assert_eq!(book.estimate(1, now + AGE), Duration::ZERO, "all too old");
    }

    #[test]
    fn neighbours_help_out_where_there_are_few() {
        let now = Instant::now();
        let book = book((0..ENOUGH as u64).map(|_| (4, 20)).chain([(5, 500)]), now);
        assert_eq!(book.estimate(5, now), ms(20), "one alone says little");
    }

    #[test]
    fn of_an_endpoint_that_is_not_probed_nothing_is_kept() {
        let (book, now) = (Book::default(), Instant::now());
        book.write(0, ms(1), now);
        assert!(book.answered.borrow().is_empty());
    }

    proptest! {
        #[test]
        fn bounded_and_no_further_than_what_was_seen(
            answered in prop::collection::vec((0u32..50, 1u64..1000), 1..400),
            in_flight in 0u32..60,
        ) {
            let now = Instant::now();
            let book = book(answered.iter().copied(), now);
            prop_assert!(book.answered.borrow().len() <= KEPT);
            let estimate = book.estimate(in_flight, now);
            let kept = &answered[answered.len().saturating_sub(KEPT)..];
            prop_assert!(kept.iter().any(|(_, took)| ms(*took) == estimate));
        }
    }
}
