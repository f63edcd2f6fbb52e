//! The power of a few choices: of some endpoints drawn at random, the one with the lowest cost.
//!
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing".) Drawing at random keeps many clients from all
//! choosing the same best endpoint; comparing two avoids the worst. `None` only when nobody is usable.

use super::draw::draw;
use fastrand::Rng;

/// The usable index below `n` that costs least among `choices` drawn by `share`; of equals, the one drawn first, so that
/// idle endpoints are used by their share.
pub fn choose(
    n: usize,
    choices: u32,
    usable: &impl Fn(usize) -> bool,
    share: &impl Fn(usize) -> f64,
    cost: &impl Fn(usize) -> f64,
    rng: &mut Rng,
) -> Option<usize> {
    let mut best = draw(n, usable, share, rng)?;
    let mut least = None;
    for _ in 1..choices {
        // Another one than the best so far: to compare it with itself would be a choice wasted.
        let Some(other) = draw(n, &|at| at != best && usable(at), share, rng) else { break };
        let (had, cost) = (*least.get_or_insert_with(|| cost(best)), cost(other));
        if cost < had {
            (best, least) = (other, Some(cost));
        }
    }
    Some(best)
}

#[cfg(test)]
#[path = "p2c_tests.rs"]
mod tests;
