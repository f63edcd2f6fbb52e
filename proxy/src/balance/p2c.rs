//! The power of a few choices: of some endpoints drawn at random, the one with the lowest cost.
//!
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing".) Drawing at random keeps many clients from all
//! choosing the same best endpoint; comparing two avoids the worst. `None` only when nobody is usable.

use super::draw::draw;
use fastrand::Rng;

/// Draws before another endpoint is insisted on.
const DRAWS: usize = 8;

/// The usable index below `n` that costs least among `choices` drawn by `share`; of equals, the one drawn first, so that
/// idle endpoints are used by their share. `size` is an endpoint's size over that of the smallest: it is drawn as if it were
/// so many small ones, which can be drawn one after the other. All of size 1: every choice is between different ones.
pub fn choose(
    n: usize,
    choices: u32,
    usable: &impl Fn(usize) -> bool,
    share: &impl Fn(usize) -> f64,
    size: &impl Fn(usize) -> f64,
    cost: &impl Fn(usize) -> f64,
    rng: &mut Rng,
) -> Option<usize> {
    let mut best = draw(n, usable, share, rng)?;
    let mut least = None;
    for _ in 1..choices {
        let size = size(best);
        let again = (size > 1.0).then(|| {
            (0..DRAWS).find_map(|_| {
                let at = draw(n, usable, share, rng)?;
                // Of a big one's parts only the one that has been drawn is not there any more.
                (at != best || rng.f64() * size >= 1.0).then_some(at)
            })
        });
        let other = match again.flatten() {
            Some(same) if same == best => continue,
            Some(other) => Some(other),
            // To compare an endpoint with itself would be a choice wasted.
            None => draw(n, &|at| at != best && usable(at), share, rng),
        };
        let Some(other) = other else { break };
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
