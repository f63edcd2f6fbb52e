//! The state of the mesh for the page, looked at again and again while somebody watches, and pushed to all who do.
//!
//! One loop for all browsers, on the same figures as `weftctl status`, `stat` and `edges`; it rests while no page is open. When
//! discovery does not answer, the last state is sent again with the error beside it: stale figures are told from fresh ones.

use super::memory::{Judged, Look, Memory};
use super::standing::seen_by;
use crate::connect::Discovery;
use crate::edges;
use crate::get::fetch;
use crate::kind::Kind;
use crate::measure::exposition::Series;
use crate::measure::tally::Tally;
use crate::measure::{Reading, readings, window};
use crate::progress::Progress;
use crate::stat::rows::{By, rows};
use crate::status;
use anyhow::bail;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use weft_model::explain::{Behind, Standing, Unfit};
use weft_model::{Endpoint, Service};
use weft_proto::v1;

/// Between two looks, unless looking takes long itself.
const PAUSE: Duration = Duration::from_secs(1);
/// Proxies are asked what they counted no more often than this.
const COUNTED: Duration = Duration::from_secs(2);
/// Figures are of about so long.
const WINDOW: Duration = Duration::from_secs(10);
/// Clients that are asked, at each look, whom they have ejected.
const ASKED: usize = 8;

const EJECTED: &str = "weft_endpoints_ejected";
const UNHEALTHY: &str = "weft_unhealthy_endpoints";
const FAMILIES: &[&str] =
    &["weft_requests", "weft_request_duration_seconds", "weft_upstream_connections", EJECTED, UNHEALTHY];

/// What pages are sent, as JSON. Empty until the first look.
#[derive(Debug)]
pub struct Live {
    state: watch::Sender<Arc<str>>,
    watched: Notify,
}

impl Live {
    pub fn new() -> Self {
        Self { state: watch::Sender::new(Arc::from("")), watched: Notify::new() }
    }

    /// The state from now on.
    pub fn subscribe(&self) -> watch::Receiver<Arc<str>> {
        let receiver = self.state.subscribe();
        self.watched.notify_one();
        receiver
    }

    /// Looks at the mesh for as long as it is polled.
    pub async fn keep(&self, discovery: &Discovery) {
        let mut watcher = Watcher::default();
        loop {
            while self.state.receiver_count() == 0 {
                self.watched.notified().await;
            }
            let began = Instant::now();
            let state = watcher.state(discovery).await;
            self.state.send_replace(state.to_string().into());
            // A mesh that takes long to look at is looked at less often.
            tokio::time::sleep(PAUSE.max(began.elapsed())).await;
        }
    }
}

/// What is kept from look to look.
#[derive(Debug, Default)]
struct Watcher {
    memory: Memory,
    /// What proxies had counted, the oldest first.
    counted: VecDeque<Vec<Reading>>,
    notes: Vec<String>,
    /// Who leaves out whom: by service and endpoint.
    left_out: BTreeMap<(String, String), Vec<Value>>,
    last: Value,
}

impl Watcher {
    async fn state(&mut self, discovery: &Discovery) -> Value {
        match self.look(discovery).await {
            Ok(state) => self.last = state,
            Err(error) => {
                if !self.last.is_object() {
                    self.last = empty();
                }
                self.last["error"] = json!(format!("{error:#}"));
            }
        }
        self.last["at"] = now();
        self.last.clone()
    }

    async fn look(&mut self, discovery: &Discovery) -> anyhow::Result<Value> {
        let replicas = status::replicas(discovery).await;
        if let Some((_, Err(error))) = replicas.first()
            && replicas.iter().all(|(_, answer)| answer.is_err())
        {
            // Whoever has gone meanwhile is not to blame.
            self.memory.patience(std::time::Instant::now());
            bail!("{error}");
        }
        let proxies = status::proxies(discovery).await;
        let services: Vec<Service> = parsed(&fetch(Kind::Services, None, None, discovery).await?);
        let endpoints: Vec<Endpoint> = parsed(&fetch(Kind::Endpoints, None, None, discovery).await?);
        let look = Look {
            endpoints,
            proxies: proxies.iter().map(|proxy| (proxy.namespace.clone(), proxy.name.clone())).collect(),
            complete: replicas.iter().all(|(_, answer)| answer.is_ok()),
        };
        let judged = self.memory.judge(&look, std::time::Instant::now());
        self.count(&services, discovery).await;
        let mut state = self.view(&services, &judged);
        let known = status::value(&replicas, &proxies);
        for field in ["discovery", "proxies"] {
            state[field] = known[field].clone();
        }
        Ok(state)
    }

    /// Asks the proxies what they have counted, if it is time to.
    async fn count(&mut self, services: &[Service], discovery: &Discovery) {
        let newest = self.counted.back().and_then(|readings| readings.first()).map(|reading| reading.at);
        if newest.is_some_and(|at| at.elapsed() < COUNTED) {
            return;
        }
        // Nobody watched for a while: figures begin anew.
        if newest.is_some_and(|at| at.elapsed() > 2 * WINDOW) {
            self.counted.clear();
        }
        self.notes.clear();
        match readings(discovery, FAMILIES, |_: &v1::Proxy| true, &Progress::silent()).await {
            Ok((readings, notes)) => {
                self.notes = notes;
                self.left_out = left_out(&readings, services, discovery).await;
                if !readings.is_empty() {
                    self.counted.push_back(readings);
                }
            }
            Err(error) => self.notes.push(error.to_string()),
        }
        // One is kept that is as old as the window.
        let old = |readings: &Vec<Reading>| readings.first().is_none_or(|reading| reading.at.elapsed() > WINDOW);
        while self.counted.len() > 2 && self.counted.get(1).is_some_and(old) {
            self.counted.pop_front();
        }
    }

    fn view(&self, services: &[Service], judged: &[Judged]) -> Value {
        let nothing = Vec::new();
        let (before, after) = match (self.counted.front(), self.counted.back()) {
            (Some(before), Some(after)) if self.counted.len() > 1 => (before, after),
            (_, Some(after)) => (&nothing, after),
            _ => (&nothing, &nothing),
        };
        let grown = window(before, after);
        let took: Duration = grown.iter().map(|(_, took)| *took).max().unwrap_or_default();
        let by = |by: By| rows(by, &grown).into_iter().map(move |row| row.json(by)).collect::<Vec<_>>();
        let loads = loads(&grown);
        let edges = edges::edges(before, after, None);
        let endpoint = |judged: &Judged| self.endpoint(judged, &loads, took);
        let service = |service: &Service| {
            let own = judged.iter().filter(|judged| judged.endpoint.service == service.name);
            json!({
                "namespace": service.name.namespace,
                "name": service.name.name,
                "addresses": service.virtual_addresses,
                "ports": service.ports,
                "endpoints": own.map(endpoint).collect::<Vec<_>>(),
            })
        };
        json!({
            "asOf": now(),
            "window": took.as_secs_f64(),
            "error": null,
            "notes": self.notes,
            "services": services.iter().map(service).collect::<Vec<_>>(),
            "figures": { "services": by(By::Services), "routes": by(By::Routes), "pods": by(By::Pods) },
            "edges": if took.is_zero() { edges::values(&edges, Duration::from_secs(1)) } else { edges::values(&edges, took) },
        })
    }

    fn endpoint(&self, judged: &Judged, loads: &BTreeMap<(String, String), Tally>, took: Duration) -> Value {
        let Judged { endpoint, state, since } = judged;
        // As metrics call them.
        let key = (endpoint.service.to_string(), endpoint.id.clone());
        let load = loads.get(&key).filter(|_| !took.is_zero()).map(|tally| tally.json(took));
        let mut value = serde_json::to_value(endpoint).unwrap_or_default();
        value["state"] = json!(state);
        value["sinceSeconds"] = json!(since.map(|since| since.as_secs()));
        value["figures"] = json!(load);
        value["leftOut"] = json!(self.left_out.get(&key));
        value
    }
}

/// What clients sent to each endpoint.
fn loads(grown: &[(Reading, Duration)]) -> BTreeMap<(String, String), Tally> {
    let mut loads: BTreeMap<_, Tally> = BTreeMap::new();
    for series in grown.iter().flat_map(|(reading, _)| &reading.series) {
        if series.label("direction") == "outbound" && !series.label("endpoint").is_empty() {
            let key = (series.label("service").to_owned(), series.label("endpoint").to_owned());
            loads.entry(key).or_default().add(series);
        }
    }
    loads
}

/// Asks proxies that leave somebody out, who it is and why.
async fn left_out(
    readings: &[Reading],
    services: &[Service],
    discovery: &Discovery,
) -> BTreeMap<(String, String), Vec<Value>> {
    let leaves = |series: &&Series| [EJECTED, UNHEALTHY].contains(&series.name.as_str()) && series.value > 0.0;
    let asks = |reading: &Reading| {
        let proxy = format!("{}/{}", reading.namespace, reading.proxy);
        let names: BTreeSet<_> = reading.series.iter().filter(leaves).map(|series| series.label("service")).collect();
        let known = services.iter().filter(|service| names.contains(service.name.to_string().as_str()));
        known.map(|service| (proxy.clone(), service)).collect::<Vec<_>>()
    };
    let mut found: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for (proxy, service) in readings.iter().flat_map(asks).take(ASKED) {
        for candidate in seen_by(&proxy, service, discovery).await.unwrap_or_default() {
            let why = match &candidate.standing {
                Standing::Later(Behind::Ejected { cause, left }) => {
                    json!({ "by": proxy, "why": cause, "leftSeconds": left.as_secs() })
                }
                Standing::Out(Unfit::Unhealthy) => json!({ "by": proxy, "why": "its health checks fail" }),
                _ => continue,
            };
            found.entry((service.name.to_string(), candidate.id)).or_default().push(why);
        }
    }
    found
}

/// The models of objects; one that this version cannot read is left out, as its own discovery said at its start.
fn parsed<M: DeserializeOwned>(objects: &[v1::Object]) -> Vec<M> {
    objects.iter().filter_map(|object| serde_json::from_str(&object.model_json).ok()).collect()
}

fn empty() -> Value {
    let none: [Value; 0] = [];
    let figures = json!({ "services": none, "routes": none, "pods": none });
    json!({ "asOf": null, "window": 0, "notes": none, "services": none, "figures": figures, "edges": none,
        "discovery": none, "proxies": none })
}

/// Milliseconds since the epoch, as scripts count time.
fn now() -> Value {
    json!(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64)
}
