//! Questions to a proxy on behalf of weftctl: which proxy is meant, whether it can answer, and how long it may take.
//!
//! A proxy is found by its name, or through a service that it stands for, among the streams of this replica. Fails naming
//! the replica, so that weftctl can try the next; the question itself is the proxy's to judge.

use crate::registry::World;
use crate::serve::{Proxies, Said, Session, Subject};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use weft_model::ServiceName;

/// How long a proxy may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// The longest question.
const MAX_QUESTION: usize = 64 * 1024;

/// The newest stream of the proxy that `text` names: "name" or "namespace/name", of a proxy or of a service.
pub fn find(proxies: &Proxies, world: &World, text: &str, replica: &str) -> Result<Arc<Session>, Status> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    let within = |other: &str| namespace.is_none_or(|namespace| namespace == other);
    let all = proxies.list();
    let named = all.iter().filter(|session| session.hello.proxy == name && within(&session.hello.namespace));
    let services = world.services().map(|service| &service.view).filter(|view| {
        let ServiceName { namespace, name: service } = &view.service.name;
        service == name && within(namespace)
    });
    let of_services = services.flat_map(|view| {
        let here = |id: &String| proxies.find(&view.service.name.namespace, id);
        view.endpoints.keys().find_map(here)
    });
    let by_name: Vec<_> = named.cloned().collect();
    let found = if by_name.is_empty() { of_services.collect() } else { by_name };
    let namespaces: BTreeSet<&str> = found.iter().map(|session| &*session.hello.namespace).collect();
    if namespaces.len() > 1 {
        let each: Vec<String> = namespaces.iter().map(|namespace| format!("{namespace}/{name}")).collect();
        return Err(Status::invalid_argument(format!("{text} can be any of {}: say which", each.join(", "))));
    }
    let missing = || format!("no proxy {text}, and none of a service {text}, has a stream to this replica ({replica})");
    found.last().cloned().ok_or_else(|| Status::not_found(missing()))
}

/// The proxy's answer in JSON.
pub async fn ask(session: &Session, topic: String, json: String) -> Result<String, Status> {
    if json.len() > MAX_QUESTION {
        return Err(Status::invalid_argument(format!("json: longer than {MAX_QUESTION} bytes")));
    }
    let (name, version) = (session.name(), &session.hello.version);
    if !session.hello.answers.contains(&topic) {
        let reason = format!("proxy {name} (version {version}) does not know questions about {topic:?}: upgrade it");
        return Err(Status::failed_precondition(reason));
    }
    answer(session, Subject::Topic { topic, json })
        .await?
        .map_err(|why| Status::failed_precondition(format!("{name}: {why}")))
}

/// What the proxy says about `subject`.
pub async fn answer(session: &Session, subject: Subject) -> Result<Said, Status> {
    let name = session.name();
    let busy = || Status::unavailable(format!("proxy {name} does not take the request now: try again"));
    match tokio::time::timeout(ANSWER_TIME, session.ask(subject).ok_or_else(busy)?).await {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(_)) => Err(Status::unavailable(format!("the stream of proxy {name} has ended"))),
        Err(_) => Err(Status::deadline_exceeded(format!("proxy {name} does not answer"))),
    }
}
