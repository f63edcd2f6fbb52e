//! A tap for one watcher: which proxies of this replica it is of, and all that they tell, in one stream.
//!
//! Proxies that connect later are tapped as well. A watcher that reads slowly loses requests, which are counted; one that has left,
//! however it left, ends all of it. What is asked wrongly is refused naming the field.

use crate::metrics::Metrics;
use crate::registry::{Registry, World};
use crate::serve::{Order, Proxies, Session, Told};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use weft_model::ServiceName;
use weft_proto::v1;

/// The topic that proxies name which can be tapped.
const TOPIC: &str = "tap";
/// How often new proxies are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Messages that may wait for a watcher, and before that for their turn.
const WAITING: usize = 16;
/// The longest text in a question.
const MOST_TEXT: usize = 1024;
/// How long a tap goes on that does not say.
const TIME: Duration = Duration::from_secs(3600);
/// And at most.
const MOST_TIME: Duration = Duration::from_secs(24 * 3600);
/// What proxies have for their last words after that.
const GRACE: Duration = Duration::from_secs(1);

type Said = Result<v1::TapResponse, Status>;

/// What a tap needs of the replica.
pub struct Source {
    pub proxies: Proxies,
    pub registry: Registry,
    pub metrics: Metrics,
    pub shutdown: CancellationToken,
}

/// One watcher.
struct Watcher {
    source: Source,
    request: v1::TapRequest,
    to: Sender<Said>,
    told: (Sender<Told>, Receiver<Told>),
    /// Those that have been asked, tapped or not, by where they are in memory, which is theirs for as long as they are here.
    asked: HashMap<usize, Arc<Session>>,
    /// How many of them go on telling.
    open: usize,
    end: Instant,
}

/// Begins, and goes on by itself until the watcher leaves or the time is over.
pub fn start(source: Source, request: v1::TapRequest) -> Result<ReceiverStream<Said>, Status> {
    let tap = request.tap.as_ref().ok_or_else(|| Status::invalid_argument("tap: missing"))?;
    check(&request, tap)?;
    let time = if tap.seconds == 0 { TIME } else { Duration::from_secs(tap.seconds).min(MOST_TIME) };
    let (to, said) = channel(WAITING);
    let (told, end) = (channel(WAITING), Instant::now() + time);
    let watcher = Watcher { source, request, to, told, asked: HashMap::new(), open: 0, end };
    tokio::spawn(watcher.run());
    Ok(ReceiverStream::new(said))
}

fn check(request: &v1::TapRequest, tap: &v1::Tap) -> Result<(), Status> {
    let texts = [
        ("namespace", &request.namespace),
        ("proxy", &request.proxy),
        ("service", &request.service),
        ("tap.from", &tap.from),
        ("tap.to", &tap.to),
        ("tap.method", &tap.method),
        ("tap.path", &tap.path),
        ("tap.reason", &tap.reason),
    ];
    if let Some((field, _)) = texts.into_iter().find(|(_, text)| text.len() > MOST_TEXT) {
        return Err(Status::invalid_argument(format!("{field}: longer than {MOST_TEXT} bytes")));
    }
    if !request.service.is_empty() && request.namespace.is_empty() {
        return Err(Status::invalid_argument("namespace: missing; a service is one of a namespace"));
    }
    Ok(())
}

/// The newest streams of the proxies that `request` means.
fn selected(proxies: &Proxies, world: &World, request: &v1::TapRequest) -> Vec<Arc<Session>> {
    let v1::TapRequest { namespace, proxy, service, .. } = request;
    let name = ServiceName { namespace: namespace.clone(), name: service.clone() };
    let endpoints = (!service.is_empty()).then(|| world.service(&name).map(|service| &service.view.endpoints));
    let is_of = |session: &Session| {
        let own = &session.hello;
        let behind = endpoints.is_none_or(|known| known.is_some_and(|known| known.contains_key(&own.proxy)));
        (namespace.is_empty() || *namespace == own.namespace) && (proxy.is_empty() || *proxy == own.proxy) && behind
    };
    let mut all = proxies.list();
    all.retain(|session| is_of(session));
    // Of one proxy the newest stream is the last.
    all.reverse();
    let same = |a: &mut Arc<Session>, b: &mut Arc<Session>| {
        (&a.hello.namespace, &a.hello.proxy) == (&b.hello.namespace, &b.hello.proxy)
    };
    all.dedup_by(same);
    all.reverse();
    all
}

impl Watcher {
    async fn run(mut self) {
        self.source.metrics.taps.inc();
        self.watch().await;
        self.source.metrics.taps.dec();
    }

    async fn watch(&mut self) {
        let left = self.look();
        let begun = Some(u32::try_from(self.asked.len()).unwrap_or(u32::MAX));
        let begun = v1::TapResponse { begun, ..Default::default() };
        let mut due = vec![begun];
        due.extend(left);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for said in due.drain(..) {
                // A watcher that does not read is waited for as long as the tap lasts.
                if !matches!(timeout_at(self.end + GRACE, self.to.send(Ok(said))).await, Ok(Ok(()))) {
                    return;
                }
            }
            let over = Instant::now() >= self.end;
            if over && self.open == 0 {
                return;
            }
            tokio::select! {
                () = self.to.closed() => return,
                () = self.source.shutdown.cancelled() => {
                    let _ = self.to.try_send(Err(Status::unavailable("this replica is shutting down")));
                    return;
                }
                () = sleep_until(self.end + GRACE) => return,
                Some((proxy, tapped)) = self.told.1.recv() => due.push(self.said(&proxy, tapped, over)),
                _ = looks.tick(), if !over => due.extend(self.look()),
            }
        }
    }

    fn said(&mut self, proxy: &str, tapped: v1::Tapped, over: bool) -> v1::TapResponse {
        self.open -= usize::from(!tapped.ended.is_empty());
        let left = if over { String::new() } else { tapped.ended };
        v1::TapResponse { begun: None, proxy: proxy.to_owned(), events: tapped.events, dropped: tapped.dropped, left }
    }

    /// Taps the proxies that are new; what is to be said of those that cannot be.
    fn look(&mut self) -> Vec<v1::TapResponse> {
        self.asked.retain(|_, session| session.is_open());
        let world = self.source.registry.world();
        let mut left = Vec::new();
        for session in selected(&self.source.proxies, &world, &self.request) {
            let at = Arc::as_ptr(&session).addr();
            if self.asked.contains_key(&at) {
                continue;
            }
            if let Err(why) = self.tap(&session) {
                left.push(v1::TapResponse { proxy: session.name(), left: why, ..Default::default() });
            }
            self.asked.insert(at, session);
        }
        left
    }

    fn tap(&mut self, session: &Session) -> Result<(), String> {
        if !session.hello.answers.iter().any(|topic| topic == TOPIC) {
            return Err(format!("its version ({}) cannot be tapped: upgrade it", session.hello.version));
        }
        let time = self.end.saturating_duration_since(Instant::now());
        // Rounded up: it is the watcher's clock that ends all of it.
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let tap = v1::Tap { seconds: seconds.max(1), ..self.request.tap.clone().unwrap_or_default() };
        if !session.tap(Order { tap, to: self.told.0.clone() }) {
            return Err("it takes no more taps now".to_owned());
        }
        self.open += 1;
        Ok(())
    }
}
