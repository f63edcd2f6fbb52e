//! One proxy of a fleet: its stream from Hello to the end.
//!
//! Knows of its services only that they have come, and of endpoints only their weights. Its future ends with the reason why the
//! stream did.

use super::arrivals::Arrivals;
use super::membership::{Membership, Wire};
use super::names::NAMESPACE;
use anyhow::{Context, anyhow};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use weft_proto::v1;
use weft_proto::v1::discovery_client::DiscoveryClient;
use weft_proto::v1::subscribe_request::Body as Said;
use weft_proto::v1::subscribe_response::Body as Heard;

/// As a sidecar's.
const BEAT: Duration = Duration::from_secs(5);
/// Acknowledgements and beats that may wait to be sent.
const WAITING: usize = 16;

pub(super) struct Proxy {
    pub(super) name: String,
    pub(super) membership: Membership,
    pub(super) services: Vec<String>,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) wire: Arc<Wire>,
}

impl Proxy {
    /// Tells `ready` how long it took until every service was there, and goes on until the stream ends.
    pub(super) async fn live(self, ready: mpsc::UnboundedSender<Duration>) -> anyhow::Error {
        let name = self.name.clone();
        match self.talk(ready).await {
            Ok(()) => anyhow!("discovery ended the stream of {name}"),
            Err(error) => error.context(format!("the stream of {name}")),
        }
    }

    async fn talk(self, ready: mpsc::UnboundedSender<Duration>) -> anyhow::Result<()> {
        let begin = Instant::now();
        let channel = self.membership.connect(&self.wire).await?;
        let (say, said) = mpsc::channel(WAITING + self.services.len());
        let hello = v1::Hello { proxy: self.name.clone(), namespace: NAMESPACE.to_owned(), ..v1::Hello::default() };
        say.send(request(Said::Hello(hello))).await?;
        for service in &self.services {
            let by = Some(v1::target::By::Service(format!("{NAMESPACE}/{service}")));
            say.send(request(Said::Subscribe(v1::Target { by, doubted: false }))).await?;
        }
        let mut stream = DiscoveryClient::new(channel).subscribe(ReceiverStream::new(said)).await?.into_inner();
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missing: HashSet<String> = self.services.iter().cloned().collect();
        let mut ready = Some(ready);
        loop {
            tokio::select! {
                _ = beats.tick() => say.send(request(Said::Beat(v1::Beat {}))).await?,
                message = stream.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    if self.hear(message.body.context("a message without a body")?, &mut missing)? {
                        say.send(request(Said::Ack(v1::Ack { revision: message.revision }))).await?;
                    }
                    if missing.is_empty() && let Some(ready) = ready.take() {
                        // Whoever started it may have given up.
                        let _ = ready.send(begin.elapsed());
                    }
                }
            }
        }
    }

    /// Whether it is to be acknowledged.
    fn hear(&self, body: Heard, missing: &mut HashSet<String>) -> anyhow::Result<bool> {
        match body {
            Heard::Snapshot(snapshot) => {
                let view = snapshot.view.context("a snapshot without a view")?;
                let name = view.service.map(|service| service.name).unwrap_or_default();
                let (_, name) = name.split_once('/').with_context(|| format!("a service called {name:?}"))?;
                missing.remove(name);
                view.endpoints.iter().for_each(|endpoint| self.arrivals.heard(endpoint.weight));
                Ok(true)
            }
            Heard::Delta(delta) => {
                delta.upserted.iter().for_each(|endpoint| self.arrivals.heard(endpoint.weight));
                delta.removed.iter().for_each(|id| self.arrivals.gone(id));
                Ok(true)
            }
            Heard::Gone(gone) => Err(anyhow!("there is no service {}", gone.service)),
            _ => Ok(false),
        }
    }
}

fn request(body: Said) -> v1::SubscribeRequest {
    v1::SubscribeRequest { body: Some(body) }
}
