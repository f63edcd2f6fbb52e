//! What the balancers are put through: servers, clients, load, and what goes wrong meanwhile.
//!
//! Data for `simulation`, the same for every balancer. Times are simulated.

use std::num::NonZeroU32;
use std::time::Duration;
use weft_model::policy::{Balancer, HashKey, Spread, ZonePreference};

pub const SEED: u64 = 2026;

/// One balancer under its name in the table.
pub struct Contender {
    pub name: &'static str,
    pub balancer: Balancer,
    pub max_load_percent: Option<NonZeroU32>,
}

/// What a server is like.
#[derive(Clone)]
pub struct Server {
    /// Requests it works on at once; more wait in a queue.
    pub slots: u32,
    /// Mean time of work on one, exponentially distributed.
    pub work: Duration,
    pub weight: u32,
    pub zone: u32,
    pub trouble: Option<Trouble>,
}

/// What is wrong with a server, and when.
#[derive(Clone)]
pub struct Trouble {
    pub from: Duration,
    pub until: Duration,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Work takes so many times as long.
    Slow(f64),
    /// Answers 503 at once.
    Fails,
    /// Cannot be reached; discovery says so after [`NOTICED`].
    Gone,
}

/// How long discovery needs to see that an endpoint is gone: its lease.
pub const NOTICED: Duration = Duration::from_secs(3);

pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub servers: Vec<Server>,
    pub clients: u32,
    /// Client `n` is in zone `n % zones`.
    pub zones: u32,
    /// Of all slots, while nothing is wrong.
    pub utilisation: f64,
    pub length: Duration,
    pub spread: Spread,
}

pub fn contenders() -> Vec<Contender> {
    let user = || HashKey::Header("x-user".to_owned());
    let contender = |name, balancer| Contender { name, balancer, max_load_percent: None };
    let bounded = |name, balancer| Contender { max_load_percent: NonZeroU32::new(125), ..contender(name, balancer) };
    let ring = || Balancer::RingHash { on: user(), points: 65_536 };
    let table = || Balancer::Maglev { on: user(), size: 65_537 };
    let nearest = NonZeroU32::new(16).map(|max_in_flight| Balancer::Nearest { max_in_flight });
    vec![
        contender("p2c-ewma", Balancer::default()),
        contender("prequal", Balancer::Prequal { probes: 3 }),
        contender("least-request", Balancer::LeastRequest { choices: 2 }),
        contender("round-robin", Balancer::RoundRobin),
        contender("random", Balancer::Random),
        contender("nearest", nearest.unwrap_or_default()),
        contender("ring-hash", ring()),
        bounded("ring-hash, 125 %", ring()),
        contender("maglev", table()),
        bounded("maglev, 125 %", table()),
        contender("source-ip-hash", Balancer::Maglev { on: HashKey::SourceAddress, size: 65_537 }),
    ]
}

pub fn all() -> Vec<Scenario> {
    vec![equal(), slow(), mixed(), antagonist(), failing(), many(), zone_loss()]
}

const MINUTE: Duration = Duration::from_secs(60);

fn server() -> Server {
    Server { slots: 4, work: Duration::from_millis(10), weight: 1, zone: 0, trouble: None }
}

fn always(kind: Kind) -> Option<Trouble> {
    Some(Trouble { from: Duration::ZERO, until: Duration::MAX, kind })
}

fn scenario(name: &'static str, about: &'static str, servers: Vec<Server>) -> Scenario {
    Scenario {
        name,
        about,
        servers,
        clients: 10,
        zones: 1,
        utilisation: 0.7,
        length: MINUTE,
        spread: Spread::default(),
    }
}

fn equal() -> Scenario {
    scenario("equal", "10 equal servers, 70 % busy", vec![server(); 10])
}

fn slow() -> Scenario {
    let mut servers = vec![server(); 10];
    servers[9].trouble = always(Kind::Slow(10.0));
    let about = "10 servers, one of them 10 times slower; 60 % of the ten's capacity asked for";
    Scenario { utilisation: 0.6, ..scenario("one slow", about, servers) }
}

fn mixed() -> Scenario {
    let sized = |slots: u32| Server { slots, weight: slots, ..server() };
    let servers = [1, 1, 2, 2, 4, 4, 8, 8, 16, 16].map(sized).to_vec();
    scenario("mixed sizes", "10 servers of 1 to 16 slots, weights to match, 70 % busy", servers)
}

fn antagonist() -> Scenario {
    let mut servers = vec![server(); 20];
    for (number, server) in servers.iter_mut().take(4).enumerate() {
        let from = Duration::from_secs(10 + 10 * number as u64);
        server.trouble = Some(Trouble { from, until: from + Duration::from_secs(10), kind: Kind::Slow(5.0) });
    }
    let about = "20 servers, 75 % busy; a neighbour slows one after the other down 5 times for 10 s";
    Scenario { clients: 20, utilisation: 0.75, ..scenario("antagonist", about, servers) }
}

fn failing() -> Scenario {
    let mut servers = vec![server(); 10];
    servers[9].trouble = always(Kind::Fails);
    let about = "10 servers, one answers 503 at once, and nothing is retried";
    Scenario { utilisation: 0.6, ..scenario("failing fast", about, servers) }
}

fn many() -> Scenario {
    let servers = vec![Server { slots: 1, ..server() }; 1000];
    let about = "1,000 servers, 100 clients, each with a subset of 20; 50 % busy";
    let spread = Spread { subset: NonZeroU32::new(20), ..Spread::default() };
    let length = Duration::from_secs(8);
    Scenario { clients: 100, utilisation: 0.5, length, spread, ..scenario("subsets", about, servers) }
}

fn zone_loss() -> Scenario {
    let mut servers: Vec<Server> = (0..12).map(|n| Server { zone: n % 3, ..server() }).collect();
    for server in servers.iter_mut().filter(|server| server.zone == 0) {
        let from = Duration::from_secs(20);
        server.trouble = Some(Trouble { from, until: Duration::from_secs(40), kind: Kind::Gone });
    }
    let about = "12 servers in 3 zones, zone-aware, 50 % busy; one zone cannot be reached for 20 s";
    let spread =
        Spread { zone: NonZeroU32::new(16).map(|max_in_flight| ZonePreference { max_in_flight }), ..Spread::default() };
    Scenario { clients: 12, zones: 3, utilisation: 0.5, spread, ..scenario("zone loss", about, servers) }
}
