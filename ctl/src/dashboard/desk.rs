//! Questions that the page asks now and then: one service, one proxy, an explanation, a check.
//!
//! Requests are handed to one place that works on a few at a time, through the same functions as the commands of the same names.
//! What is wrong with a question is told apart from what cannot be found out.

use super::standing::seen_by;
use crate::connect::Discovery;
use crate::get::{certificates_of, document, fetch};
use crate::kind::Kind;
use crate::tap::live;
use crate::{check, explain, proxy, status};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use weft_model::{Service, SpiffeId};
use weft_proto::v1;

/// Questions that are worked on at a time, and that wait.
const OPEN: usize = 8;
const WAITING: usize = 32;
/// Clients of a service that are asked how its endpoints stand.
const CLIENTS: usize = 6;
/// Requests a second that one sidecar tells a page of, and for how long: more is more than people read.
const TAPPED: u32 = 20;
const TAPPED_FOR: Duration = Duration::from_secs(300);

pub enum Question {
    /// Namespace, name, and its clients' proxies as NAMESPACE/NAME.
    Service(String, String, Vec<String>),
    Proxy(String, String),
    Explain(Request),
    Check,
    /// What a service's sidecars let in from now on: namespace, name, and who wants it. Dropping it ends it.
    Tap(String, String, oneshot::Sender<live::Live>),
}

/// A request to be explained, as the form has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    from: String,
    to: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    grpc: String,
}

/// Why there is no answer, for people.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Wrong(String),
    #[error("{0}")]
    Missing(String),
    /// Discovery, or the proxy asked.
    #[error("{0}")]
    Away(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Away(format!("{error:#}"))
    }
}

pub type Answer = Result<Value, Failure>;
type Waiting = (Question, oneshot::Sender<Answer>);

/// Where questions are handed in.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::Sender<Waiting>);

/// The desk, and what comes in there for [`work`].
pub fn desk() -> (Desk, mpsc::Receiver<Waiting>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Desk(sender), receiver)
}

impl Desk {
    pub async fn ask(&self, question: Question) -> Answer {
        let (reply, answer) = oneshot::channel();
        let busy = || Failure::Away("too many questions are waiting already: try again".to_owned());
        self.0.try_send((question, reply)).map_err(|_| busy())?;
        answer.await.unwrap_or_else(|_| Err(Failure::Away("weftctl is ending".to_owned())))
    }
}

/// Answers for as long as it is polled.
pub async fn work(waiting: mpsc::Receiver<Waiting>, discovery: &Discovery) {
    let questions = futures::stream::unfold(waiting, async |mut waiting| Some((waiting.recv().await?, waiting)));
    let answered = questions.for_each_concurrent(OPEN, async |(question, reply): Waiting| {
        // Who asked may have left.
        let _ = reply.send(answer(question, discovery).await);
    });
    answered.await;
}

async fn answer(question: Question, discovery: &Discovery) -> Answer {
    match question {
        Question::Service(namespace, name, clients) => service(&namespace, &name, &clients, discovery).await,
        Question::Proxy(namespace, name) => about(&namespace, &name, discovery).await,
        Question::Explain(request) => explained(&request, discovery).await,
        Question::Tap(namespace, name, into) => tap(namespace, name, into, discovery).await,
        Question::Check => {
            let findings = check::all(discovery).await;
            Ok(json!(findings.iter().map(check::Finding::value).collect::<Vec<_>>()))
        }
    }
}

/// Its documents and those that are about it, and how its endpoints stand with its clients.
async fn service(namespace: &str, name: &str, clients: &[String], discovery: &Discovery) -> Answer {
    let found = fetch(Kind::Services, Some(namespace), Some(name), discovery).await?;
    let Some(object) = found.first() else { return Err(Failure::Missing(format!("no service {namespace}/{name}"))) };
    let service: Service = serde_json::from_str(&object.model_json).map_err(anyhow::Error::from)?;
    let mut documents = vec![described(object)?];
    for kind in [Kind::Routes, Kind::Policies, Kind::Authorizations, Kind::Namespaces] {
        for object in fetch(kind, None, None, discovery).await? {
            let described = described(&object)?;
            if concerns(&described["document"], &object.namespace, namespace, name) {
                documents.push(described);
            }
        }
    }
    let mut standings = Vec::new();
    for client in clients.iter().take(CLIENTS) {
        standings.push(match seen_by(client, &service, discovery).await {
            Ok(seen) => json!({ "client": client, "endpoints": seen }),
            Err(error) => json!({ "client": client, "error": format!("{error:#}") }),
        });
    }
    Ok(json!({ "documents": documents, "standings": standings, "unasked": clients.len().saturating_sub(CLIENTS) }))
}

fn described(object: &v1::Object) -> anyhow::Result<Value> {
    Ok(json!({ "kind": object.kind, "namespace": object.namespace, "name": object.name, "source": object.source,
        "document": document(object)? }))
}

/// Whether a document of `from` names the service as what it is attached to, targets or sends to; without any target it is about
/// its whole namespace.
fn concerns(document: &Value, from: &str, namespace: &str, name: &str) -> bool {
    let spec = &document["spec"];
    let named =
        |reference: &Value| reference["name"] == name && reference["namespace"].as_str().unwrap_or(from) == namespace;
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let rules = all(&spec["rules"]);
    let backends = rules.iter().flat_map(|rule| all(&rule["backendRefs"]));
    let mut targets = all(&spec["parentRefs"]);
    targets.extend(all(&spec["targetRefs"]));
    let whole = targets.is_empty() && spec["selector"].is_null() && from == namespace;
    whole || targets.iter().any(named) || backends.into_iter().any(|backend| named(&backend))
}

/// What a proxy knows, and its certificates.
async fn about(namespace: &str, name: &str, discovery: &Discovery) -> Answer {
    let connected = status::proxies(discovery).await;
    let known = |proxy: &&v1::Proxy| proxy.namespace == namespace && proxy.name == name;
    let dump = match proxy::dump(namespace, name, discovery).await {
        Ok(dump) => dump,
        Err(_) if !connected.iter().any(|proxy| known(&proxy)) => {
            return Err(Failure::Missing(format!("no proxy {namespace}/{name} is connected")));
        }
        Err(error) => return Err(error.into()),
    };
    // An identity may be of another namespace than its proxy says.
    let identity: Option<SpiffeId> = dump["identity"].as_str().and_then(|identity| identity.parse().ok());
    let of = identity.map_or_else(|| namespace.to_owned(), |identity| identity.namespace);
    let certificates = certificates_of(name, &of, discovery).await?;
    Ok(json!({ "dump": dump, "certificates": certificates }))
}

/// Begins a tap and hands it over; the answer says of how many sidecars.
async fn tap(namespace: String, service: String, into: oneshot::Sender<live::Live>, discovery: &Discovery) -> Answer {
    let tap = v1::Tap {
        direction: v1::TapDirection::Inbound.into(),
        per_second: TAPPED,
        seconds: TAPPED_FOR.as_secs(),
        ..Default::default()
    };
    let request = v1::TapRequest { namespace, service, tap: Some(tap), ..Default::default() };
    let live = live::start(discovery, request).await?;
    let begun = json!({ "proxies": live.proxies, "notes": live.notes });
    // Who asked may have left; then it ends here.
    let _ = into.send(live);
    Ok(begun)
}

async fn explained(request: &Request, discovery: &Discovery) -> Answer {
    let Request { from, to, method, headers, grpc } = request;
    let args = explain::Args::of(from, to, method, headers, grpc).map_err(Failure::Wrong)?;
    let (imagined, explanation) = match explain::ask(&args, discovery).await {
        Err(error) if error.is::<clap::Error>() => return Err(Failure::Wrong(error.to_string())),
        asked => asked?,
    };
    let text = explain::tell(&imagined, &explanation, false);
    Ok(json!({ "request": imagined, "explanation": explanation, "text": text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_concerns_what_it_is_attached_to_targets_or_sends_to() {
        let concerns = |spec: Value, from: &str| concerns(&json!({ "spec": spec }), from, "shop", "cart");
        let own = json!([{ "name": "cart" }]);
        let foreign = json!([{ "name": "cart", "namespace": "shop" }]);
        for (spec, from, expected) in [
            (json!({ "parentRefs": own }), "shop", true),
            (json!({ "parentRefs": own }), "other", false),
            (json!({ "parentRefs": foreign }), "other", true),
            (json!({ "targetRefs": [{ "name": "search" }, { "name": "cart" }] }), "shop", true),
            (json!({ "targetRefs": [{ "name": "search" }] }), "shop", false),
            (json!({ "parentRefs": [{ "name": "x" }], "rules": [{ "backendRefs": own }] }), "shop", true),
            (json!({}), "shop", true),
            (json!({}), "other", false),
            (json!({ "selector": { "app": "x" } }), "shop", false),
        ] {
            assert_eq!(concerns(spec.clone(), from), expected, "{spec} of {from}");
        }
    }

    #[tokio::test]
    async fn a_full_desk_refuses_and_an_abandoned_one_says_so() {
        let (desk, waiting) = desk();
        let mut asked = Vec::new();
        for _ in 0..WAITING {
            let desk = desk.clone();
            asked.push(tokio::spawn(async move { desk.ask(Question::Check).await }));
        }
        while desk.0.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(desk.ask(Question::Check).await.unwrap_err().to_string().contains("try again"));
        drop(waiting);
        for answer in asked {
            assert!(answer.await.unwrap().unwrap_err().to_string().contains("ending"));
        }
    }
}
