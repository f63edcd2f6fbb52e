//! Every balancer under every circumstance: whoever is out is passed over, zones and subsets hold, new endpoints ramp up.
//!
//! The properties run over all balancers, because tiers are the same for all. Chance is seeded and time handed in.

use super::*;
use crate::balance::hash;
use fastrand::Rng;
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;
use weft_model::EndpointState;
use weft_model::explain::Standing;
use weft_model::policy::{HashKey, ZonePreference};

const NEAR: fn(usize) -> bool = |at| at.is_multiple_of(2);

struct Server(Load);

impl Candidate for Server {
    fn load(&self) -> &Load {
        &self.0
    }
}

fn balancers() -> [Balancer; 8] {
    let on = HashKey::SourceAddress;
    [
        Balancer::default(),
        Balancer::LeastRequest { choices: 3 },
        Balancer::RoundRobin,
        Balancer::Random,
        Balancer::RingHash { on: on.clone(), points: 1024 },
        Balancer::Maglev { on, size: 251 },
        Balancer::Nearest { max_in_flight: NonZeroU32::MIN },
        Balancer::Prequal { probes: 3 },
    ]
}

fn servers(n: usize, now: Instant) -> Vec<Server> {
    (0..n).map(|_| Server(Load::new(now))).collect()
}

fn members(n: usize) -> Vec<Member> {
    let member = |at: usize| Member {
        hash: hash::of(format!("cart-{at}").as_bytes()),
        weight: 1,
        state: EndpointState::Ready,
        near: NEAR(at),
        distance: 0.0,
        level: 0,
        since: None,
    };
    (0..n).map(member).collect()
}

fn chooser(balancer: &Balancer, spread: &Spread, members: Vec<Member>) -> Chooser {
    Chooser::new(balancer, spread, members, Client::named("web-0"), None, 5)
}

/// Who is chosen how often by `picks` requests, each with a key of its own, none of which ends.
fn spread_of(chooser: &Chooser, servers: &[Server], picks: u64, now: Instant) -> Vec<usize> {
    let mut rng = Rng::with_seed(1);
    let mut counts = vec![0; servers.len()];
    for key in 0..picks {
        let at = chooser.choose(servers, |_| false, Some(hash::mix(key)), now, &mut rng).unwrap();
        counts[at] += 1;
    }
    counts
}

#[test]
fn a_zone_keeps_its_traffic_while_it_has_headroom() {
    let now = Instant::now();
    let zone = Some(ZonePreference { max_in_flight: NonZeroU32::new(4).unwrap() });
    let spread = Spread { zone, ..Spread::default() };
    for balancer in balancers() {
        let (chooser, servers) = (chooser(&balancer, &spread, members(6)), servers(6, now));
        let counts = spread_of(&chooser, &servers, 300, now);
        assert_eq!(counts.iter().skip(1).step_by(2).sum::<usize>(), 0, "{balancer:?} left the zone: {counts:?}");
        let held: Vec<_> = (0..6).filter(|at| NEAR(*at)).flat_map(|at| (0..4).map(move |_| at)).collect();
        let held: Vec<_> = held.into_iter().map(|at| servers[at].0.serving()).collect();
        let counts = spread_of(&chooser, &servers, 300, now);
        assert!(counts.iter().skip(1).step_by(2).all(|count| *count > 0), "{balancer:?} did not spill: {counts:?}");
        drop(held);
        // Nobody at home: everything goes elsewhere.
        (0..6).filter(|at| NEAR(*at)).for_each(|at| servers[at].0.begin(now).unreached(now));
        let counts = spread_of(&chooser, &servers, 300, now);
        assert_eq!(counts.iter().step_by(2).sum::<usize>(), 0, "{balancer:?} went to the dead: {counts:?}");
    }
}

#[test]
fn the_next_level_takes_over_what_the_first_cannot_carry() {
    let now = Instant::now();
    for balancer in balancers() {
        let mut members = members(8);
        members.iter_mut().skip(4).for_each(|member| member.level = 7);
        let (chooser, servers) = (chooser(&balancer, &Spread::default(), members), servers(8, now));
        let second = || spread_of(&chooser, &servers, 2000, now).iter().skip(4).sum::<usize>();
        assert_eq!(second(), 0, "{balancer:?}");
        // One of four is out: 1.4 * 3/4 is still all.
        servers[0].0.begin(now).unreached(now);
        assert_eq!(second(), 0, "{balancer:?}");
        servers[1].0.begin(now).unreached(now);
        assert!((500..700).contains(&second()), "{balancer:?}: {}", second());
        (2..4).for_each(|at| servers[at].0.begin(now).unreached(now));
        assert_eq!(second(), 2000, "{balancer:?}");
        // What has been tried on one level is tried on the next before it is tried again.
        let tried = |at: usize| at < 4 || at == 5;
        let chosen = chooser.choose(&servers, tried, Some(3), now, &mut Rng::with_seed(3)).unwrap();
        assert!(chosen > 3 && chosen != 5, "{balancer:?}: {chosen}");
    }
}

#[test]
fn the_nearest_serves_while_it_has_headroom() {
    let now = Instant::now();
    let mut members = members(4);
    for (member, distance) in members.iter_mut().zip([900.0, 20.0, 0.0, f64::INFINITY]) {
        member.distance = distance;
    }
    let balancer = Balancer::Nearest { max_in_flight: NonZeroU32::new(2).unwrap() };
    let (chooser, servers) = (chooser(&balancer, &Spread::default(), members), servers(4, now));
    let mut rng = Rng::with_seed(1);
    let mut held = Vec::new();
    for _ in 0..6 {
        let at = chooser.choose(&servers, |_| false, None, now, &mut rng).unwrap();
        held.push((at, servers[at].0.serving()));
    }
    let mut chosen: Vec<usize> = held.iter().map(|(at, _)| *at).collect();
    chosen[..4].sort_unstable();
    assert_eq!(chosen, [1, 1, 2, 2, 0, 0], "the two that are equally near, then the next");
    servers[3].0.begin(now).unreached(now);
    let at = chooser.choose(&servers, |_| false, None, now, &mut rng).unwrap();
    assert!(at < 3, "nobody has headroom, yet somebody who is reachable serves: {at}");
}

#[test]
fn new_endpoints_ramp_up() {
    let start = Instant::now();
    let window = Duration::from_secs(30);
    let spread = Spread { slow_start: Some(window), ..Spread::default() };
    for balancer in balancers() {
        let mut members = members(4);
        members[3].since = Some(start);
        let (chooser, servers) = (chooser(&balancer, &spread, members), servers(4, start));
        let share = |age| spread_of(&chooser, &servers, 4000, start + age)[3] as f64 / 1000.0;
        assert!((0.02..0.25).contains(&share(Duration::ZERO)), "{balancer:?}: {}", share(Duration::ZERO));
        assert!((0.3..0.75).contains(&share(window / 2)), "{balancer:?}: {}", share(window / 2));
        assert!((0.7..1.4).contains(&share(window)), "{balancer:?}: {}", share(window));
    }
}

#[test]
fn below_the_panic_threshold_all_are_used_but_those_that_leave() {
    let now = Instant::now();
    let spread = Spread { panic_percent: 50, ..Spread::default() };
    for balancer in balancers() {
        let mut members = members(6);
        (0..3).for_each(|at| members[at].state = EndpointState::NotReady);
        members[5].state = EndpointState::Terminating;
        let (chooser, servers) = (chooser(&balancer, &spread, members), servers(6, now));
        assert_eq!(spread_of(&chooser, &servers, 500, now)[5], 0);
        assert!(spread_of(&chooser, &servers, 500, now)[..5].iter().all(|count| *count > 0), "{balancer:?}");
        // At the end of the panic only the ready are used.
        let mut members = chooser.members.to_vec();
        members[0].state = EndpointState::Ready;
        let calm = Chooser::new(&balancer, &spread, members, Client::named("web-0"), Some(&chooser), 5);
        assert_eq!(spread_of(&calm, &servers, 500, now)[1..3], [0, 0], "{balancer:?}");
    }
}

#[test]
fn a_subset_is_kept_to_unless_none_of_it_is_left() {
    let now = Instant::now();
    let spread = Spread { subset: NonZeroU32::new(3), ..Spread::default() };
    for balancer in balancers() {
        let (chooser, servers) = (chooser(&balancer, &spread, members(12)), servers(12, now));
        let counts = spread_of(&chooser, &servers, 500, now);
        assert_eq!(counts.iter().filter(|count| **count > 0).count(), 3, "{balancer:?}: {counts:?}");
        let own = |at: &usize| counts[*at] > 0;
        (0..12).filter(own).for_each(|at| servers[at].0.begin(now).unreached(now));
        let after = spread_of(&chooser, &servers, 500, now);
        assert!((0..12).filter(own).all(|at| after[at] == 0), "{balancer:?}: {after:?}");
    }
}

#[test]
fn every_balancer_heeds_weights() {
    let now = Instant::now();
    for balancer in balancers() {
        let mut members = members(3);
        members[2].weight = 4;
        let counts = spread_of(&chooser(&balancer, &Spread::default(), members), &servers(3, now), 6000, now);
        let share = counts[2] as f64 / 6000.0;
        assert!((0.6..0.73).contains(&share), "{balancer:?}: {share}");
    }
}

#[test]
fn a_request_without_a_key_is_balanced_all_the_same() {
    let now = Instant::now();
    for balancer in balancers() {
        let (chooser, servers) = (chooser(&balancer, &Spread::default(), members(3)), servers(3, now));
        let mut rng = Rng::with_seed(2);
        let chosen: std::collections::BTreeSet<_> =
            (0..60).filter_map(|_| chooser.choose(&servers, |_| false, None, now, &mut rng)).collect();
        assert_eq!(chosen.len(), 3, "{balancer:?}");
    }
}

#[test]
fn what_has_been_built_is_kept_until_endpoints_change() {
    let before = chooser(&Balancer::RoundRobin, &Spread::default(), members(3));
    let with = |members: Vec<Member>, balancer: &Balancer| {
        let next = Chooser::new(balancer, &Spread::default(), members, Client::named("web-0"), Some(&before), 5);
        Rc::ptr_eq(&next.own.strategy, &before.own.strategy)
    };
    let mut out = members(3);
    out[1].state = EndpointState::NotReady;
    assert!(with(out, &Balancer::RoundRobin));
    assert!(!with(members(4), &Balancer::RoundRobin) && !with(members(3), &Balancer::Random));
}

proptest! {
    /// Mirrokni et al.: with a bound of c nobody has more than the c-fold of the mean, rounded up, however keys are spread.
    #[test]
    fn loads_of_a_hash_are_bounded_and_keys_stay_while_there_is_room(
        weights in prop::collection::vec(1u32..4, 1..10),
        percent in 101u32..300,
        keys in prop::collection::vec(0u64..5, 1..150),
        table: bool,
    ) {
        let now = Instant::now();
        let on = HashKey::SourceAddress;
        let balancer = match table {
            true => Balancer::Maglev { on, size: 251 },
            false => Balancer::RingHash { on, points: 1024 },
        };
        let mut members = members(weights.len());
        members.iter_mut().zip(&weights).for_each(|(member, weight)| member.weight = *weight);
        let free = chooser(&balancer, &Spread::default(), members.clone());
        let spread = Spread { max_load_percent: NonZeroU32::new(percent), ..Spread::default() };
        let (bounded, servers) = (chooser(&balancer, &spread, members), servers(weights.len(), now));
        let mut rng = Rng::with_seed(1);
        let total: u32 = weights.iter().sum();
        let mut held = Vec::new();
        for (number, key) in keys.into_iter().enumerate() {
            let key = Some(hash::mix(key));
            let room = |at: usize| (percent * (number as u32 + 1) * weights[at]).div_ceil(100 * total);
            let home = free.choose(&servers, |_| false, key, now, &mut rng).unwrap();
            let at = bounded.choose(&servers, |_| false, key, now, &mut rng).unwrap();
            prop_assert!(at == home || servers[home].0.pending() >= room(home));
            held.push(servers[at].0.serving());
            prop_assert!(servers[at].0.pending() <= room(at), "{} of {}", servers[at].0.pending(), room(at));
        }
    }

    #[test]
    fn somebody_who_takes_work_is_chosen_and_the_untried_and_reachable_first(
        kinds in prop::collection::vec((0u32..3, prop::sample::select(vec![0usize, 0, 1, 2]), any::<bool>(), any::<bool>()), 0..9),
        which in 0usize..8,
        subset in 0u32..4,
        zoned: bool,
        seed: u64,
    ) {
        use EndpointState::{NotReady, Ready, Terminating};
        let now = Instant::now();
        let (mut members, servers) = (members(kinds.len()), servers(kinds.len(), now));
        for (at, (weight, state, shunned, _)) in kinds.iter().enumerate() {
            members[at].weight = *weight;
            members[at].state = [Ready, NotReady, Terminating][*state];
            if *shunned {
                servers[at].0.begin(now).unreached(now);
            }
        }
        let zone = zoned.then_some(ZonePreference { max_in_flight: NonZeroU32::MIN });
        let spread = Spread { subset: NonZeroU32::new(subset), zone, ..Spread::default() };
        let takes = |at: usize| kinds[at].0 > 0 && kinds[at].1 == 0;
        let tried = |at: usize| kinds[at].3;
        let chooser = chooser(&balancers()[which], &spread, members);
        let chosen = chooser.choose(&servers, tried, Some(seed), now, &mut Rng::with_seed(seed));
        let all = 0..kinds.len();
        prop_assert_eq!(chosen.is_some(), all.clone().any(takes));
        if let Some(at) = chosen {
            prop_assert!(takes(at));
            let good = |at: usize| takes(at) && !tried(at) && !kinds[at].2;
            prop_assert!(good(at) || !all.clone().any(good));
            prop_assert!(!tried(at) || !all.clone().any(|at| takes(at) && !tried(at)));
        }
    }

    /// Who is said to be chosen among is who is chosen among.
    #[test]
    fn the_standings_agree_with_the_choice(
        kinds in prop::collection::vec((0u32..3, prop::sample::select(vec![0usize, 0, 0, 1, 2]), any::<bool>(), 0u64..4), 0..9),
        levels in prop::sample::select(vec![1u64, 1, 2, 3]),
        which in 0usize..6,
        (subset, panic) in (0u32..4, prop::sample::select(vec![0u32, 50])),
        (zoned, slow) in any::<(bool, bool)>(),
        key in any::<Option<u64>>(),
        seed: u64,
    ) {
        use EndpointState::{NotReady, Ready, Terminating};
        let now = Instant::now() + Duration::from_secs(60);
        let (mut members, servers) = (members(kinds.len()), servers(kinds.len(), now));
        for (at, (weight, state, shunned, age)) in kinds.iter().enumerate() {
            members[at].weight = *weight;
            members[at].state = [Ready, NotReady, Terminating][*state];
            members[at].level = at as u64 % levels;
            members[at].since = Some(now - Duration::from_secs(*age));
            if *shunned {
                servers[at].0.begin(now).unreached(now);
            }
        }
        let zone = zoned.then_some(ZonePreference { max_in_flight: NonZeroU32::MIN });
        let slow_start = slow.then_some(Duration::from_secs(3));
        let spread = Spread { panic_percent: panic, slow_start, subset: NonZeroU32::new(subset), zone, ..Spread::default() };
        let chooser = chooser(&balancers()[which], &spread, members);
        let standings = chooser.standings(&servers, key, now);
        match chooser.choose(&servers, |_| false, key, now, &mut Rng::with_seed(seed)) {
            None => prop_assert!(standings.iter().all(|standing| matches!(standing, Standing::Out(_)))),
            Some(at) => prop_assert_eq!(&standings[at], &Standing::Candidate),
        }
    }
}
