//! The watches on the API server: one for each kind, each listed in pages and then followed, with bookmarks.
//!
//! Objects are cut down to facts as they come in. A watch that breaks goes on where it was, after a pause that grows and has a
//! random part; a kind that the cluster does not know (yet) counts as empty, and is asked for again now and then.

use super::cache::Seen;
use super::cluster::{DOCUMENTS, News};
use super::document::{self, Document};
use super::facts::{Node, ObjectName, Pod, SERVICE_NAME, Service, Slice, name_of};
use futures::StreamExt;
use k8s_openapi::api::core::v1;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// News that wait to be taken in; the watches wait then.
const QUEUE: usize = 1024;
/// A watch is asked for again this often, so that one whose server is gone without a word is found. In seconds.
const ROUND: u32 = 60;
/// Pauses after failures, each with a random part so that replicas do not come all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a kind is looked for that the cluster does not know.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(10);

/// The watches; dropping them ends them.
pub struct Watches {
    pub news: Receiver<News>,
    _tasks: JoinSet<()>,
}

/// Starts all watches.
pub fn start(client: &Client) -> Watches {
    let (to, news) = channel(QUEUE);
    let mut tasks = JoinSet::new();
    let all = Config::default().timeout(ROUND);
    let services = all.clone().fields("spec.type!=ExternalName");
    let read = |service: v1::Service| Service::read(&service);
    tasks.spawn(follow(Api::all(client.clone()), services, read, News::Service, to.clone()));
    let read = |slice: EndpointSlice| Slice::read(&slice);
    tasks.spawn(follow(Api::all(client.clone()), all.clone().labels(SERVICE_NAME), read, News::Slice, to.clone()));
    let alive = all.clone().fields("status.phase!=Succeeded,status.phase!=Failed");
    let read = |pod: v1::Pod| Pod::read(&pod);
    tasks.spawn(follow(Api::all(client.clone()), alive, read, News::Pod, to.clone()));
    let read = |node: PartialObjectMeta<v1::Node>| Some(Node::read(&node));
    tasks.spawn(follow(Api::all(client.clone()), all.clone(), read, News::Node, to.clone()));
    for kind in DOCUMENTS {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &document::resource(kind));
        let read = move |object| Document::read(kind, object);
        tasks.spawn(follow(api, all.clone(), read, move |seen| News::Document(kind, seen), to.clone()));
    }
    Watches { news, _tasks: tasks }
}

/// Follows one kind until nobody listens.
async fn follow<K, F>(
    api: Api<K>,
    config: Config,
    read: impl Fn(K) -> Option<F> + Send + Sync,
    news: impl Fn(Seen<F>) -> News + Send + Sync,
    to: Sender<News>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    F: Send,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()));
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) if is_unknown(&error) => break,
                Err(error) => {
                    tracing::warn!(%error, url = api.resource_url(), "a watch on Kubernetes failed; trying again");
                    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            };
            // Said before the server was asked: it means nothing yet.
            if !matches!(event, Event::Init) {
                pause = FIRST_PAUSE;
            }
            if let Some(seen) = seen(event, &read)
                && to.send(news(seen)).await.is_err()
            {
                return;
            }
        }
        tracing::debug!(url = api.resource_url(), "the cluster does not know this kind");
        for nothing in [Seen::Begin, Seen::Complete] {
            if to.send(news(nothing)).await.is_err() {
                return;
            }
        }
        sleep(UNKNOWN_PAUSE.mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// Its definition is not there, or not any more.
fn is_unknown(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

fn seen<K: Resource, F>(event: Event<K>, read: impl Fn(K) -> Option<F>) -> Option<Seen<F>> {
    let name = |object: &K| -> ObjectName { name_of(object.meta()) };
    Some(match event {
        Event::Init => Seen::Begin,
        Event::InitDone => Seen::Complete,
        Event::InitApply(object) => {
            let name = name(&object);
            Seen::Listed(name, read(object)?)
        }
        Event::Apply(object) => {
            let name = name(&object);
            match read(object) {
                Some(facts) => Seen::Put(name, facts),
                // It has become something that is none of ours.
                None => Seen::Gone(name),
            }
        }
        Event::Delete(object) => Seen::Gone(name(&object)),
    })
}
