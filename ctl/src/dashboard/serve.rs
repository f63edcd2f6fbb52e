//! What is served: the page, its events and its questions, to whoever passes the gate and to nobody else.
//!
//! Every answer forbids caching, framing and anything from elsewhere. Errors are JSON with an `error` for the page, and a line of
//! text for whoever is turned away.

use super::desk::{Answer, Desk, Failure, Question, Request};
use super::gate::{Gate, Refusal};
use super::live::Live;
use super::page::Page;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use weft_model::names::subdomain;

/// Nothing from elsewhere, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What handlers share.
#[derive(Debug)]
pub struct Site {
    pub gate: Gate,
    pub page: Page,
    pub live: Arc<Live>,
    pub desk: Desk,
}

/// Everything, behind the gate.
pub fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(html))
        .route("/app.js", get(async |State(site): Shared| file("text/javascript; charset=utf-8", site.page.script)))
        .route("/app.css", get(async |State(site): Shared| file("text/css; charset=utf-8", site.page.style)))
        .route("/icon.svg", get(async |State(site): Shared| file("image/svg+xml", site.page.icon)))
        .route("/licenses.txt", get(async |State(site): Shared| file("text/plain; charset=utf-8", site.page.notice)))
        .route("/api/events", get(events))
        .route("/api/services/{namespace}/{name}", get(service))
        .route("/api/proxies/{namespace}/{name}", get(proxy))
        .route("/api/check", get(async |State(site): Shared| said(site.desk.ask(Question::Check).await)))
        .route("/api/explain", post(explain))
        .route("/api/tap/{namespace}/{name}", get(tap))
        .layer(from_fn_with_state(Arc::clone(&site), guard))
        .with_state(site)
}

type Shared = State<Arc<Site>>;

#[derive(Debug, Deserialize)]
struct Opened {
    token: Option<String>,
}

/// Before all else: is it meant for us, from our own page, by somebody we know?
async fn guard(State(site): Shared, opened: Query<Opened>, request: HttpRequest, next: Next) -> Response {
    let headers = request.headers();
    let mut response = match site.gate.ours(headers) {
        Err(refusal) => refused(&refusal),
        Ok(()) => match (site.gate.knows(headers), &opened.token) {
            // Whoever is known already may open the link again.
            (Ok(()), Some(_)) => to_the_page(None),
            (Ok(()), None) => next.run(request).await,
            (Err(_), Some(token)) if request.uri().path() == "/" => match site.gate.exchange(token) {
                Ok(cookie) => to_the_page(Some(&cookie)),
                Err(refusal) => refused(&refusal),
            },
            (Err(refusal), _) => refused(&refusal),
        },
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Away from the address that has the token in it.
fn to_the_page(cookie: Option<&str>) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, HeaderValue::from_static("/"));
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::FORBIDDEN, plain, format!("{refusal}\n")).into_response()
}

fn file(kind: &'static str, bytes: &'static [u8]) -> Response {
    ([(header::CONTENT_TYPE, kind)], bytes).into_response()
}

async fn html(State(site): Shared) -> Response {
    file("text/html; charset=utf-8", site.page.html)
}

/// The state now, and again whenever it has been looked at.
async fn events(State(site): Shared) -> Response {
    Sse::new(states(site.live.subscribe())).keep_alive(KeepAlive::default()).into_response()
}

fn states(states: watch::Receiver<Arc<str>>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((states, true), |(mut states, first)| async move {
        let mut state = states.borrow_and_update().clone();
        // The last state first, however old: it says so itself, and the next is on its way.
        if !first || state.is_empty() {
            states.changed().await.ok()?;
            state = states.borrow_and_update().clone();
        }
        Some((Ok(Event::default().event("mesh").data(&*state)), (states, false)))
    })
}

#[derive(Debug, Deserialize)]
struct Clients {
    /// NAMESPACE/NAME, divided by commas.
    #[serde(default)]
    clients: String,
}

async fn service(
    State(site): Shared,
    Path((namespace, name)): Path<(String, String)>,
    Query(Clients { clients }): Query<Clients>,
) -> Response {
    let clients: Vec<String> = clients.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let parts = clients.iter().flat_map(|client| client.split('/')).chain([namespace.as_str(), name.as_str()]);
    match names(parts) {
        Ok(()) => said(site.desk.ask(Question::Service(namespace, name, clients)).await),
        Err(wrong) => said(Err(wrong)),
    }
}

async fn proxy(State(site): Shared, Path((namespace, name)): Path<(String, String)>) -> Response {
    match names([namespace.as_str(), name.as_str()]) {
        Ok(()) => said(site.desk.ask(Question::Proxy(namespace, name)).await),
        Err(wrong) => said(Err(wrong)),
    }
}

fn names<'a>(parts: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
    match parts.into_iter().find(|part| subdomain(part).is_err()) {
        Some(part) => Err(Failure::Wrong(format!("{part:?} is not a name"))),
        None => Ok(()),
    }
}

/// Live requests. Whoever listens to events cannot read an answer that is an error, so that a refusal is an event as well.
async fn tap(State(site): Shared, Path((namespace, name)): Path<(String, String)>) -> Response {
    let (into, live) = oneshot::channel();
    let asked = match names([namespace.as_str(), name.as_str()]) {
        Ok(()) => site.desk.ask(Question::Tap(namespace, name, into)).await,
        Err(wrong) => Err(wrong),
    };
    let events = match (asked, live.await) {
        (Ok(begun), Ok(live)) => {
            let told = live.told.map(|told| event("told", &serde_json::to_value(told).unwrap_or_default()));
            stream::iter([event("begun", &begun)]).chain(told).chain(stream::iter([event("over", &json!({}))])).boxed()
        }
        (Err(failure), _) => stream::iter([event("refused", &json!({ "error": failure.to_string() }))]).boxed(),
        (Ok(_), Err(_)) => stream::iter([event("over", &json!({}))]).boxed(),
    };
    Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default()).into_response()
}

fn event(kind: &str, value: &Value) -> Event {
    Event::default().event(kind).data(value.to_string())
}

async fn explain(State(site): Shared, request: Result<Json<Request>, JsonRejection>) -> Response {
    match request {
        Ok(Json(request)) => said(site.desk.ask(Question::Explain(request)).await),
        Err(rejection) => said(Err(Failure::Wrong(rejection.body_text()))),
    }
}

fn said(answer: Answer) -> Response {
    let failure = match answer {
        Ok(value) => return Json(value).into_response(),
        Err(failure) => failure,
    };
    let status = match failure {
        Failure::Wrong(_) => StatusCode::BAD_REQUEST,
        Failure::Missing(_) => StatusCode::NOT_FOUND,
        Failure::Away(_) => StatusCode::BAD_GATEWAY,
    };
    (status, Json(json!({ "error": failure.to_string() }))).into_response()
}
