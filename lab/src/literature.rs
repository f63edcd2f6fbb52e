//! What the literature promises, measured with the proxy's own code: each promise a bound, a figure, and whether it holds.
//!
//! Mitzenmacher on two choices; Karger et al. on rings; Eisenbud et al. on Maglev; Mirrokni et al. on bounded loads; the Google SRE book
//! on subsets; Wydrowski et al. on Prequal, by what came out of the scenarios.

use crate::report::{Check, Outcome};
use crate::scenario::SEED;
use fastrand::Rng;
use std::num::NonZeroU32;
use std::time::Instant;
use weft_model::EndpointState;
use weft_model::policy::{Balancer, HashKey, Spread};
use weft_proxy::balance::subset::Client;
use weft_proxy::balance::{Candidate, Chooser, Load, Member, draw, hash, maglev, p2c, ring};

const BALLS: usize = 1_000_000;
const KEYS: u64 = 100_000;
const ENDPOINTS: usize = 50;
const TABLE: u32 = 65_537;
const RING: u32 = 65_536;

pub fn checks() -> Vec<Check> {
    let mut checks = choices().to_vec();
    checks.extend(moved());
    checks.extend(even());
    checks.push(subsets());
    checks.extend(bounded());
    checks
}

fn at_most(claim: String, measured: f64, bound: f64) -> Check {
    Check { claim, measured, bound: format!("<= {bound:.4}"), holds: measured <= bound }
}

/// As many requests as endpoints, none of which ends: the greatest load of one choice and of two.
fn choices() -> [Check; 3] {
    let n = BALLS as f64;
    let everybody = |_: usize| true;
    let equal = |_: usize| 1.0;
    let mut rng = Rng::with_seed(SEED);
    let (mut one, mut two) = (vec![0u32; BALLS], vec![0u32; BALLS]);
    for _ in 0..BALLS {
        if let Some(at) = draw::draw(BALLS, &everybody, &equal, &mut rng) {
            one[at] += 1;
        }
        if let Some(at) = p2c::choose(BALLS, 2, &everybody, &equal, &equal, &|at| f64::from(two[at]), &mut rng) {
            two[at] += 1;
        }
    }
    let most = |loads: &[u32]| f64::from(loads.iter().copied().max().unwrap_or(0));
    let (one, two) = (most(&one), most(&two));
    let least = n.ln() / n.ln().ln();
    [
        Check {
            claim: "greatest load, one choice, n = 10^6: at least ln n / ln ln n".to_owned(),
            measured: one,
            bound: format!(">= {least:.4}"),
            holds: one >= least,
        },
        at_most(
            "greatest load, two choices, n = 10^6: ln ln n / ln 2 + 1".to_owned(),
            two,
            n.ln().ln() / 2f64.ln() + 1.0,
        ),
        at_most("two choices against one: at most two thirds".to_owned(), two / one, 2.0 / 3.0),
    ]
}

fn names(count: usize) -> Vec<u64> {
    (0..count).map(|n| hash::of(format!("cart-{n}").as_bytes())).collect()
}

/// Where every key is, by the endpoint's hash.
fn homes(hashes: &[u64], find: impl Fn(u64) -> Option<usize>) -> Vec<u64> {
    (0..KEYS).filter_map(|key| find(hash::mix(key))).map(|at| hashes[at]).collect()
}

/// The share of keys that have another home when one endpoint leaves: mean over whoever leaves, and the worst.
fn disruption(build: impl Fn(&[u64]) -> Vec<u64>) -> (f64, f64) {
    let all = names(ENDPOINTS);
    let before = build(&all);
    let shares = (0..ENDPOINTS).map(|gone| {
        let rest: Vec<u64> = all.iter().copied().filter(|hash| *hash != all[gone]).collect();
        let moved = before.iter().zip(build(&rest)).filter(|(before, after)| **before != *after).count();
        moved as f64 / KEYS as f64
    });
    shares.fold((0.0, 0.0), |(mean, worst), share| (mean + share / ENDPOINTS as f64, share.max(worst)))
}

fn moved() -> Vec<Check> {
    let due = 1.0 / ENDPOINTS as f64;
    let ring = disruption(|hashes| {
        let ring = ring::Ring::new(hashes, &vec![1; hashes.len()], RING);
        homes(hashes, |key| ring.find(key, hashes, &|_| true))
    });
    let table = disruption(|hashes| {
        let table = maglev::Table::new(hashes, &vec![1; hashes.len()], TABLE);
        homes(hashes, |key| table.find(key, hashes, &|_| true))
    });
    // Without any promise: what a plain remainder would do.
    let modulo = disruption(|hashes| homes(hashes, |key| Some((key % hashes.len() as u64) as usize)));
    vec![
        at_most(format!("keys moved when one of {ENDPOINTS} leaves a ring, mean: 1/N"), ring.0, due * 1.001),
        at_most(format!("the same, worst of the {ENDPOINTS}"), ring.1, due * 1.5),
        at_most(
            format!("keys moved when one of {ENDPOINTS} leaves Maglev's table, mean: 1/N and 2 % more"),
            table.0,
            due + 0.02,
        ),
        at_most(format!("the same, worst of the {ENDPOINTS}"), table.1, due + 0.025),
        Check {
            claim: format!("for comparison, hash modulo {ENDPOINTS}"),
            measured: modulo.0,
            bound: "> 0.9".to_owned(),
            holds: modulo.0 > 0.9,
        },
    ]
}

fn even() -> Vec<Check> {
    let over_mean = |count: usize| {
        let hashes = names(count);
        let table = maglev::Table::new(&hashes, &vec![1; count], TABLE);
        let mut entries = vec![0u32; count];
        table.entries().iter().for_each(|at| entries[*at as usize] += 1);
        f64::from(entries.iter().copied().max().unwrap_or(0)) * count as f64 / f64::from(TABLE)
    };
    [10, 100, 500]
        .map(|count| at_most(format!("Maglev, {count} endpoints: largest share over the mean"), over_mean(count), 1.01))
        .to_vec()
}

fn subsets() -> Check {
    let mut used = vec![0u32; 1000];
    for number in 0..137 {
        let subset = Client::named(&format!("client-{number}")).subset(used.len(), 20);
        subset.into_iter().for_each(|at| used[at] += 1);
    }
    let (least, most) = (used.iter().min().copied().unwrap_or(0), used.iter().max().copied().unwrap_or(0));
    at_most(
        "137 clients with 20 of 1,000 endpoints each: most minus fewest clients of one".to_owned(),
        f64::from(most - least),
        1.0,
    )
}

struct Server(Load);

impl Candidate for Server {
    fn load(&self) -> &Load {
        &self.0
    }
}

/// 5,000 requests in flight, half of them with one key: the greatest load over the mean, without and with a bound.
fn bounded() -> [Check; 2] {
    let [free, bound] = [None, NonZeroU32::new(125)].map(|max_load_percent| {
        let now = Instant::now();
        let member = |hash| Member {
            hash,
            weight: 1,
            state: EndpointState::Ready,
            near: false,
            distance: 0.0,
            level: 0,
            since: None,
        };
        let members: Vec<Member> = names(ENDPOINTS).into_iter().map(member).collect();
        let servers: Vec<Server> = members.iter().map(|_| Server(Load::new(now))).collect();
        let balancer = Balancer::RingHash { on: HashKey::SourceAddress, points: RING };
        let spread = Spread { max_load_percent, ..Spread::default() };
        let chooser = Chooser::new(&balancer, &spread, members, Client::named("client-0"), None, SEED);
        let mut rng = Rng::with_seed(SEED);
        let mut held = Vec::new();
        for number in 0..5000u64 {
            let key = hash::mix(if number % 2 == 0 { 0 } else { number });
            if let Some(at) = chooser.choose(&servers, |_| false, Some(key), now, &mut rng) {
                held.push(servers[at].0.serving());
            }
        }
        let most = servers.iter().map(|server| server.0.pending()).max().unwrap_or(0);
        f64::from(most) * ENDPOINTS as f64 / held.len() as f64
    });
    [
        at_most("one key is half of 5,000 requests, 125 % bound: greatest load over the mean".to_owned(), bound, 1.25),
        Check {
            claim: "for comparison, without the bound".to_owned(),
            measured: free,
            bound: "> 10".to_owned(),
            holds: free > 10.0,
        },
    ]
}

/// Prequal's tail over that of two choices by what clients see themselves, while neighbours take the CPU away.
pub fn prequal(results: &[Outcome]) -> Vec<Check> {
    let of = |balancer| results.iter().find(|o| o.scenario == "antagonist" && o.balancer == balancer);
    let Some((prequal, p2c)) = of("prequal").zip(of("p2c-ewma")) else { return Vec::new() };
    let ratio = |what: &str, measured: f64| {
        at_most(format!("Prequal under antagonist load, {what} over that of p2c-ewma"), measured, 1.0)
    };
    vec![ratio("p99", prequal.p99_ms / p2c.p99_ms), ratio("p99.9", prequal.p999_ms / p2c.p999_ms)]
}
