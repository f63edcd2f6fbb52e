//! Requests from clients to servers in simulated time: a queue of events, and the proxy's own balancer at each client.
//!
//! Each client has a [`Chooser`] and loads of its own, as each worker of a proxy has. A server that cannot be reached is
//! tried again elsewhere, at most twice, as the proxy does by default; other failures, and clients that lose patience in a
//! queue, count as errors.

use crate::report::Outcome;
use crate::scenario::{Contender, Kind, NOTICED, SEED, Scenario, Trouble};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};
use weft_model::EndpointState;
use weft_model::policy::{HashKey, Spread};
use weft_proxy::balance::load::Begun;
use weft_proxy::balance::subset::Client;
use weft_proxy::balance::{Candidate, Chooser, Load, Member, hash};

/// What an error costs in time: the connection that is refused, the 503.
const REFUSAL: Duration = Duration::from_millis(1);
const RETRIES: usize = 2;
/// How long a client has the patience to wait in a queue.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a probe is on its way.
const PROBE: Duration = Duration::from_micros(500);
/// Sessions, for balancers that hash.
const USERS: u64 = 20_000;
/// The beginning is not counted: queues and averages start empty.
const WARM_UP: Duration = Duration::from_secs(1);

struct Seen(Load);

impl Candidate for Seen {
    fn load(&self) -> &Load {
        &self.0
    }
}

struct Caller {
    chooser: Chooser,
    seen: Vec<Seen>,
    rng: Rng,
    address: u64,
}

struct Flight {
    caller: usize,
    server: usize,
    asked: Duration,
    key: u64,
    begun: Option<Begun>,
    /// The same at the server.
    served: Option<Begun>,
    working: bool,
    tried: Vec<usize>,
}

struct Line {
    /// What its sidecar sees.
    load: Load,
    busy: u32,
    waiting: VecDeque<usize>,
    served: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    Done(usize),
    Refused(usize),
    GaveUp(usize),
    /// A probe of a client, at a server.
    Probe(usize, usize),
    /// Discovery has news of the servers.
    News,
}

impl Line {
    fn new(epoch: Instant) -> Self {
        Self { load: Load::new(epoch), busy: 0, waiting: VecDeque::new(), served: 0 }
    }
}

struct World<'a> {
    scenario: &'a Scenario,
    contender: &'a Contender,
    epoch: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    numbered: u64,
    callers: Vec<Caller>,
    lines: Vec<Line>,
    flights: Vec<Flight>,
    rng: Rng,
    latencies: Vec<Duration>,
    errors: u64,
    left_zone: u64,
}

/// Plays `scenario` with `contender` at every client.
pub fn run(scenario: &Scenario, contender: &Contender) -> Outcome {
    let mut world = World::new(scenario, contender);
    while let Some(Reverse((at, _, event))) = world.events.pop() {
        world.now = at;
        match event {
            Event::Arrival(caller) => world.arrival(caller),
            Event::Done(flight) => world.done(flight),
            Event::Refused(flight) => world.refused(flight),
            Event::GaveUp(flight) => world.gave_up(flight),
            Event::Probe(caller, server) => world.probe(caller, server),
            Event::News => world.news(),
        }
    }
    world.outcome()
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, contender: &'a Contender) -> Self {
        let epoch = Instant::now();
        let mut world = Self {
            scenario,
            contender,
            epoch,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            numbered: 0,
            callers: Vec::new(),
            lines: scenario.servers.iter().map(|_| Line::new(epoch)).collect(),
            flights: Vec::new(),
            rng: Rng::with_seed(SEED),
            latencies: Vec::new(),
            errors: 0,
            left_zone: 0,
        };
        for number in 0..scenario.clients as usize {
            world.callers.push(Caller {
                chooser: world.chooser(number, None),
                seen: scenario.servers.iter().map(|_| Seen(Load::new(world.epoch))).collect(),
                rng: Rng::with_seed(hash::mix(SEED ^ number as u64)),
                address: hash::of(format!("10.0.0.{number}").as_bytes()),
            });
            world.arrive_next(number);
        }
        let gone = scenario.servers.iter().filter_map(|server| server.trouble.as_ref());
        for trouble in gone.filter(|trouble| trouble.kind == Kind::Gone) {
            world.at(trouble.from + NOTICED, Event::News);
            world.at(trouble.until, Event::News);
        }
        world
    }

    fn chooser(&self, number: usize, before: Option<&Chooser>) -> Chooser {
        let zone = number as u32 % self.scenario.zones;
        let member = |(at, server): (usize, &crate::scenario::Server)| {
            let noticed = |t: &Trouble| t.kind == Kind::Gone && self.now >= t.from + NOTICED && self.now < t.until;
            Member {
                hash: hash::of(format!("server-{at}").as_bytes()),
                weight: server.weight,
                state: match server.trouble.as_ref().is_some_and(noticed) {
                    true => EndpointState::NotReady,
                    false => EndpointState::Ready,
                },
                near: server.zone == zone,
                distance: f64::from(server.zone.abs_diff(zone)) * 1000.0,
                level: 0,
                since: None,
            }
        };
        let members = self.scenario.servers.iter().enumerate().map(member).collect();
        let client = Client::named(&format!("client-{number}"));
        let max_load_percent = self.contender.max_load_percent;
        let spread = Spread { max_load_percent, ..self.scenario.spread.clone() };
        Chooser::new(&self.contender.balancer, &spread, members, client, before, hash::mix(number as u64))
    }

    fn news(&mut self) {
        let choosers: Vec<Chooser> =
            (0..self.callers.len()).map(|n| self.chooser(n, Some(&self.callers[n].chooser))).collect();
        self.callers.iter_mut().zip(choosers).for_each(|(caller, chooser)| caller.chooser = chooser);
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((when, self.numbered, event)));
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.rng.f64()).ln())
    }

    fn arrive_next(&mut self, caller: usize) {
        let capacity: f64 = self.scenario.servers.iter().map(|s| f64::from(s.slots) / s.work.as_secs_f64()).sum();
        let rate = capacity * self.scenario.utilisation / f64::from(self.scenario.clients);
        let next = self.now + self.exponential(Duration::from_secs_f64(1.0 / rate));
        if next < self.scenario.length {
            self.at(next, Event::Arrival(caller));
        }
    }

    fn arrival(&mut self, caller: usize) {
        self.arrive_next(caller);
        let key = match self.contender.balancer.hash_key() {
            Some(HashKey::SourceAddress) => self.callers[caller].address,
            _ => hash::mix(self.rng.u64(..USERS)),
        };
        self.flights.push(Flight {
            caller,
            server: 0,
            asked: self.now,
            key,
            begun: None,
            served: None,
            working: false,
            tried: Vec::new(),
        });
        self.send(self.flights.len() - 1);
    }

    fn send(&mut self, number: usize) {
        let now = self.epoch + self.now;
        let flight = &mut self.flights[number];
        let caller = &mut self.callers[flight.caller];
        let tried = |at: usize| flight.tried.contains(&at);
        let Some(at) = caller.chooser.choose(&caller.seen, tried, Some(flight.key), now, &mut caller.rng) else {
            return self.errors += 1;
        };
        flight.server = at;
        flight.begun = Some(caller.seen[at].0.begin(now));
        flight.served = Some(self.lines[at].load.begin(now));
        let mut probed = Vec::new();
        caller.chooser.to_probe(&mut caller.rng, |at| probed.push(at));
        let caller = flight.caller;
        probed.into_iter().for_each(|at| self.at(self.now + PROBE, Event::Probe(caller, at)));
        let flight = &self.flights[number];
        let server = &self.scenario.servers[at];
        self.left_zone += u64::from(server.zone != flight.caller as u32 % self.scenario.zones);
        self.lines[at].served += 1;
        match self.trouble(at) {
            Some(Kind::Fails | Kind::Gone) => self.at(self.now + REFUSAL, Event::Refused(number)),
            _ if self.lines[at].busy < server.slots => self.work(number),
            _ => {
                self.lines[at].waiting.push_back(number);
                self.at(self.flights[number].asked + PATIENCE, Event::GaveUp(number));
            }
        }
    }

    fn probe(&mut self, caller: usize, server: usize) {
        let now = self.epoch + self.now;
        if self.trouble(server) != Some(Kind::Gone) {
            let probe = self.lines[server].load.probe(now);
            let caller = &self.callers[caller];
            caller.chooser.probed(server, &caller.seen[server].0, probe, now);
        }
    }

    fn trouble(&self, server: usize) -> Option<Kind> {
        let trouble = self.scenario.servers[server].trouble.as_ref()?;
        (trouble.from..trouble.until).contains(&self.now).then_some(trouble.kind)
    }

    fn work(&mut self, number: usize) {
        self.flights[number].working = true;
        let at = self.flights[number].server;
        let slower = match self.trouble(at) {
            Some(Kind::Slow(times)) => times,
            _ => 1.0,
        };
        let takes = self.exponential(self.scenario.servers[at].work).mul_f64(slower);
        self.lines[at].busy += 1;
        self.at(self.now + takes, Event::Done(number));
    }

    fn done(&mut self, number: usize) {
        let (now, decay) = (self.epoch + self.now, self.contender.balancer.decay());
        let flight = &mut self.flights[number];
        if let Some(begun) = flight.begun.take() {
            begun.end(now, true, decay);
        }
        if flight.asked >= WARM_UP {
            self.latencies.push(self.now - flight.asked);
        }
        if let Some(served) = flight.served.take() {
            served.end(now, true, decay);
        }
        let at = flight.server;
        self.lines[at].busy -= 1;
        while let Some(next) = self.lines[at].waiting.pop_front() {
            if self.flights[next].begun.is_some() {
                return self.work(next);
            }
        }
    }

    fn gave_up(&mut self, number: usize) {
        let flight = &mut self.flights[number];
        if !flight.working
            && let Some(begun) = flight.begun.take()
        {
            begun.abandon(self.epoch + self.now);
            if let Some(served) = flight.served.take() {
                served.abandon(self.epoch + self.now);
            }
            self.errors += 1;
        }
    }

    fn refused(&mut self, number: usize) {
        let (now, decay) = (self.epoch + self.now, self.contender.balancer.decay());
        let gone = self.trouble(self.flights[number].server) == Some(Kind::Gone);
        let flight = &mut self.flights[number];
        match flight.begun.take() {
            Some(begun) if gone => begun.unreached(now),
            Some(begun) => begun.end(now, false, decay),
            None => {}
        }
        if let Some(served) = flight.served.take() {
            served.end(now, true, decay);
        }
        flight.tried.push(flight.server);
        match gone && flight.tried.len() <= RETRIES {
            true => self.send(number),
            false => self.errors += 1,
        }
    }

    fn outcome(mut self) -> Outcome {
        self.latencies.sort_unstable();
        let quantile = |of: f64| {
            let place = (self.latencies.len() as f64 * of) as usize;
            self.latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        let per_slot = self.lines.iter().zip(&self.scenario.servers).map(|(l, s)| l.served as f64 / f64::from(s.slots));
        let slots: u32 = self.scenario.servers.iter().map(|server| server.slots).sum();
        let sent: u64 = self.lines.iter().map(|line| line.served).sum();
        Outcome {
            scenario: self.scenario.name,
            about: self.scenario.about,
            balancer: self.contender.name,
            requests: self.flights.len() as u64,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            error_share: self.errors as f64 / self.flights.len() as f64,
            max_over_mean_load: per_slot.fold(0.0, f64::max) / (sent as f64 / f64::from(slots)),
            left_zone_share: (self.scenario.zones > 1).then_some(self.left_zone as f64 / sent as f64),
        }
    }
}
