//! The power of two choices: of two endpoints drawn at random, the one with the lower score.
//!
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing".) Drawing at random keeps many clients from all
//! choosing the same best endpoint; comparing two avoids the worst. `None` only when no candidate is usable.

use std::time::Instant;

/// What the choice needs to know of an endpoint.
pub trait Candidate {
    /// Cost of one more request, over the endpoint's weight: lower is better.
    fn score(&self, now: Instant) -> f64;
    /// Could not be reached just now: chosen only when nobody else is left.
    fn shunned(&self, now: Instant) -> bool;
}

/// Draws before the usable ones are counted instead.
const DRAWS: usize = 8;

/// The index of the endpoint to use, among those that `usable` admits. `random(n)` gives a number below n.
pub fn choose<C: Candidate>(
    candidates: &[C],
    usable: impl Fn(usize) -> bool,
    now: Instant,
    mut random: impl FnMut(usize) -> usize,
) -> Option<usize> {
    let healthy = |at: usize| usable(at) && !candidates[at].shunned(now);
    pick(candidates, &healthy, now, &mut random).or_else(|| pick(candidates, &usable, now, &mut random))
}

fn pick<C: Candidate>(
    candidates: &[C],
    usable: &impl Fn(usize) -> bool,
    now: Instant,
    random: &mut impl FnMut(usize) -> usize,
) -> Option<usize> {
    let (first, second) = two(candidates.len(), usable, random)?;
    let (a, b) = (candidates[first].score(now), candidates[second].score(now));
    Some(if b < a { second } else { first })
}

/// Two usable indices, the same twice when there is only one.
fn two(n: usize, usable: &impl Fn(usize) -> bool, random: &mut impl FnMut(usize) -> usize) -> Option<(usize, usize)> {
    let mut first = None;
    for _ in 0..if n > 2 { DRAWS } else { 0 } {
        let drawn = random(n);
        match first {
            _ if !usable(drawn) => {}
            None => first = Some(drawn),
            Some(first) if first != drawn => return Some((first, drawn)),
            Some(_) => {}
        }
    }
    // Few are usable: draw among exactly those.
    let count = (0..n).filter(|at| usable(*at)).count();
    let nth = |k: usize| (0..n).filter(|at| usable(*at)).nth(k);
    match count {
        0 => None,
        1 => nth(0).map(|only| (only, only)),
        _ => {
            let a = random(count);
            let b = (a + 1 + random(count - 1)) % count;
            nth(a).zip(nth(b))
        }
    }
}

#[cfg(test)]
#[path = "p2c_tests.rs"]
mod tests;
