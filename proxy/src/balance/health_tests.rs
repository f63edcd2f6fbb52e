//! Endpoints that active checks have something against: as if not ready for every balancer, but for the panic.
//!
//! One property over all balancers, because admission is the same for all.

use super::*;
use crate::balance::subset::Client;
use crate::balance::{Chooser, Load};
use fastrand::Rng;
use proptest::prelude::*;
use weft_model::EndpointState;
use weft_model::policy::{Balancer, HashKey};

struct Server {
    load: Load,
    healthy: bool,
}

impl Candidate for Server {
    fn load(&self) -> &Load {
        &self.load
    }

    fn is_healthy(&self) -> bool {
        self.healthy
    }
}

fn balancers() -> impl Strategy<Value = Balancer> {
    let on = HashKey::SourceAddress;
    proptest::sample::select(vec![
        Balancer::default(),
        Balancer::LeastRequest { choices: 3 },
        Balancer::RoundRobin,
        Balancer::Random,
        Balancer::RingHash { on: on.clone(), points: 1024 },
        Balancer::Maglev { on, size: 251 },
    ])
}

proptest! {
    /// Whoever fails checks is chosen only in a panic, and then like everybody else.
    #[test]
    fn the_unhealthy_are_passed_over(
        balancer in balancers(),
        healthy in proptest::collection::vec(any::<bool>(), 1..12),
        panic_percent in 0u32..=100,
        key: u64,
    ) {
        let now = Instant::now();
        let member = |at: usize| Member { hash: hash::mix(at as u64), weight: 1, state: EndpointState::Ready, near: false, distance: 0.0, level: 0, since: None };
        let members = (0..healthy.len()).map(member).collect();
        let spread = Spread { panic_percent, ..Spread::default() };
        let chooser = Chooser::new(&balancer, &spread, members, Client::named("web-0"), None, 5);
        let servers: Vec<Server> = healthy.iter().map(|healthy| Server { load: Load::new(now), healthy: *healthy }).collect();
        let well = healthy.iter().filter(|healthy| **healthy).count();
        let panic = well * 100 < healthy.len() * panic_percent as usize;
        let mut rng = Rng::with_seed(key);
        for pick in 0..50 {
            let chosen = chooser.choose(&servers, |_| false, Some(key.wrapping_add(pick)), now, &mut rng);
            prop_assert_eq!(chosen.is_some(), panic || well > 0);
            prop_assert!(chosen.is_none_or(|at| panic || healthy[at]));
        }
    }
}
