//! What has become of each endpoint since the page is open: who went silent, who is gone, and since when.
//!
//! Pure: one look at discovery after the other goes in, with its time. An endpoint whose sidecar was connected and is not any more
//! has been killed or cut off, long before its lease runs out. When most sidecars vanish at once, or a replica of discovery does
//! not answer, it is discovery that has gone, and nobody is accused.

use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use weft_model::{Endpoint, EndpointState};

/// A sidecar that moves to another replica is away for a moment.
const MOVING: Duration = Duration::from_secs(1);
/// How long sidecars get to come back to discovery that has been away.
const RETURNING: Duration = Duration::from_secs(15);
/// How long an endpoint that did not leave of its own accord is still shown.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What there was at one time.
#[derive(Debug, Clone, Default)]
pub struct Look {
    pub endpoints: Vec<Endpoint>,
    /// Connected proxies: namespace and name.
    pub proxies: Vec<(String, String)>,
    /// Whether every replica answered.
    pub complete: bool,
}

/// How an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ready,
    NotReady,
    Terminating,
    /// Its sidecar has lost its way to discovery.
    Disconnected,
    /// Out of the mesh, without having said goodbye.
    Gone,
}

/// An endpoint, and how it is.
#[derive(Debug, Clone)]
pub struct Judged {
    pub endpoint: Endpoint,
    pub state: State,
    /// For how long it has been so; `None`: since before the page was opened.
    pub since: Option<Duration>,
}

/// Namespace and name of the service, and the endpoint's id.
type Key = (String, String, String);

#[derive(Debug)]
struct Past {
    endpoint: Endpoint,
    state: State,
    since: Option<Instant>,
}

/// What earlier looks left.
#[derive(Debug, Default)]
pub struct Memory {
    past: BTreeMap<Key, Past>,
    /// Proxies that were connected; since when they are not.
    proxies: HashMap<(String, String), Option<Instant>>,
    /// Until when nobody is called disconnected who was not before.
    patient_until: Option<Instant>,
    begun: bool,
}

impl Memory {
    /// Every endpoint there is, and those that went away badly, by service and id.
    pub fn judge(&mut self, look: &Look, now: Instant) -> Vec<Judged> {
        self.note_proxies(look, now);
        let patient = self.patient_until.is_some_and(|until| now < until);
        let mut present = BTreeMap::new();
        for endpoint in &look.endpoints {
            let key = (endpoint.service.namespace.clone(), endpoint.service.name.clone(), endpoint.id.clone());
            let before = self.past.get(&key);
            let accused = before.is_some_and(|past| past.state == State::Disconnected) || !patient;
            let state = match endpoint.state {
                EndpointState::NotReady => State::NotReady,
                EndpointState::Terminating => State::Terminating,
                EndpointState::Ready if accused && self.silent(endpoint, now) => State::Disconnected,
                EndpointState::Ready => State::Ready,
            };
            let since = match before {
                Some(past) if past.state == state => past.since,
                None if !self.begun => None,
                _ => Some(now),
            };
            present.insert(key, Past { endpoint: endpoint.clone(), state, since });
        }
        for (key, past) in std::mem::take(&mut self.past) {
            if !present.contains_key(&key)
                && let Some(gone) = departed(past, now)
            {
                present.insert(key, gone);
            }
        }
        self.past = present;
        self.begun = true;
        let judged = |past: &Past| Judged {
            endpoint: past.endpoint.clone(),
            state: past.state,
            since: past.since.map(|since| now.saturating_duration_since(since)),
        };
        self.past.values().map(judged).collect()
    }

    /// Discovery was away at this time: sidecars get a while to return to it before they are called disconnected.
    pub fn patience(&mut self, now: Instant) {
        self.patient_until = Some(now + RETURNING);
    }

    fn note_proxies(&mut self, look: &Look, now: Instant) {
        let connected: std::collections::HashSet<_> = look.proxies.iter().collect();
        let mut lost = 0;
        for (proxy, away) in &mut self.proxies {
            if connected.contains(proxy) {
                *away = None;
            } else if away.is_none() {
                *away = Some(now);
                lost += 1;
            }
        }
        if !look.complete || lost * 2 > self.proxies.len() {
            self.patience(now);
        }
        self.proxies.retain(|_, away| away.is_none_or(|since| now.saturating_duration_since(since) < REMEMBERED * 10));
        for proxy in connected {
            self.proxies.insert(proxy.clone(), None);
        }
    }

    /// Whether its sidecar was connected and is not any more.
    fn silent(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let Some(identity) = &endpoint.identity else { return false };
        let proxy = (identity.namespace.clone(), endpoint.id.clone());
        let away = self.proxies.get(&proxy).copied().flatten();
        away.is_some_and(|since| now.saturating_duration_since(since) >= MOVING)
    }
}

/// Who was well and is not listed any more has left of its own accord, and is forgotten.
fn departed(past: Past, now: Instant) -> Option<Past> {
    match past.state {
        State::Disconnected | State::NotReady => Some(Past { state: State::Gone, since: Some(now), ..past }),
        State::Gone if past.since.is_some_and(|since| now.saturating_duration_since(since) < REMEMBERED) => Some(past),
        State::Gone | State::Ready | State::Terminating => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn endpoint(id: &str, state: EndpointState) -> Endpoint {
        serde_json::from_value(json!({"id": id, "service": {"namespace": "shop", "name": "cart"}, "state": state,
            "addresses": ["10.0.0.1"], "identity": "spiffe://d/ns/shop/sa/cart"}))
        .unwrap()
    }

    fn look(endpoints: &[&str], proxies: &[&str]) -> Look {
        Look {
            endpoints: endpoints.iter().map(|id| endpoint(id, EndpointState::Ready)).collect(),
            proxies: proxies.iter().map(|name| ("shop".to_owned(), (*name).to_owned())).collect(),
            complete: true,
        }
    }

    /// States after looks at these seconds.
    fn states(looks: &[(u64, Look)]) -> Vec<Vec<State>> {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let judge = |(at, look): &(u64, Look)| memory.judge(look, start + Duration::from_secs(*at));
        looks.iter().map(judge).map(|all| all.iter().map(|judged| judged.state).collect()).collect()
    }

    const ALL: &[&str] = &["cart-0", "cart-1", "web-0"];

    #[test]
    fn who_is_killed_goes_silent_then_goes_and_is_remembered_for_a_minute() {
        let killed = || look(&["cart-0", "cart-1"], &["cart-0", "web-0"]);
        let gone = || look(&["cart-0"], &["cart-0", "web-0"]);
        let seen = states(&[
            (0, look(&["cart-0", "cart-1"], ALL)),
            (1, killed()),
            (3, killed()),
            (15, gone()),
            (70, gone()),
            (80, gone()),
        ]);
        use State::*;
        assert_eq!(
            seen,
            [
                vec![Ready, Ready],
                vec![Ready, Ready],
                vec![Ready, Disconnected],
                vec![Ready, Gone],
                vec![Ready, Gone],
                vec![Ready]
            ]
        );
    }

    #[test]
    fn who_leaves_is_forgotten_and_who_comes_back_is_well() {
        let (both, one) = (|| look(&["cart-0", "cart-1"], ALL), || look(&["cart-0"], &["cart-0", "web-0"]));
        use State::*;
        assert_eq!(states(&[(0, both()), (1, one()), (2, one())])[1..], [vec![Ready], vec![Ready]]);
        let silent = || look(&["cart-0", "cart-1"], &["cart-0", "web-0"]);
        assert_eq!(states(&[(0, both()), (1, silent()), (9, silent()), (10, both())])[3], [Ready, Ready]);
    }

    #[test]
    fn when_discovery_was_away_nobody_is_accused_until_they_had_time_to_return() {
        let both = || look(&["cart-0", "cart-1"], ALL);
        let nobody = || look(&["cart-0", "cart-1"], &[]);
        let one = || look(&["cart-0", "cart-1"], &["cart-0", "web-0"]);
        let seen = states(&[(0, both()), (1, nobody()), (5, nobody()), (10, one()), (17, one())]);
        assert!(seen[..4].iter().flatten().all(|state| *state == State::Ready), "{seen:?}");
        assert_eq!(seen[4], [State::Ready, State::Disconnected]);
        let half = || Look { complete: false, ..one() };
        let seen = states(&[(0, both()), (1, half()), (5, half())]);
        assert!(seen.iter().flatten().all(|state| *state == State::Ready), "{seen:?}");
    }

    #[test]
    fn since_when_is_known_of_what_was_seen_to_happen() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        let mut at = |seconds: u64, look: Look| memory.judge(&look, start + Duration::from_secs(seconds));
        assert_eq!(at(0, look(&["cart-0"], ALL))[0].since, None);
        let mut ill = look(&["cart-0"], ALL);
        ill.endpoints[0].state = EndpointState::NotReady;
        assert_eq!(at(5, ill.clone())[0].since, Some(Duration::ZERO));
        assert_eq!(at(9, ill)[0].since, Some(Duration::from_secs(4)));
        let two = at(10, look(&["cart-0", "cart-1"], ALL));
        assert_eq!(two[1].since, Some(Duration::ZERO), "it has just come");
    }
}
