//! `frontend`: what customers see, over HTTP/1.1.
//!
//! Stands before search (gRPC) and cart (HTTP/1.1). It keeps no state and tries nothing twice: a failure behind it becomes
//! a 502 that names the service. Cookies pass through both ways, because they belong to the customer.

use super::ranking::connector;
use super::replica::{Replica, Version, carry_trace};
use super::wire::search_client::SearchClient;
use super::wire::{FindRequest, channel};
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// How long cart may take.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    replica: Replica,
    /// The search service, host:port
    #[arg(long, default_value = "search.shop.svc.cluster.local:8080")]
    search: String,
    /// The cart service, host:port
    #[arg(long, default_value = "cart.shop.svc.cluster.local:8080")]
    cart: String,
}

struct Frontend {
    name: String,
    search: SearchClient<Channel>,
    cart: String,
    client: Client<HttpConnector, Body>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    /// The items one by one, a line of JSON each.
    #[serde(default)]
    stream: bool,
}

pub async fn serve(flags: Flags) -> anyhow::Result<()> {
    let frontend = Frontend {
        name: flags.replica.name.clone(),
        search: SearchClient::new(channel(&flags.search)?),
        cart: flags.cart,
        client: Client::builder(TokioExecutor::new()).build(connector()),
    };
    let routes = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/search", get(search))
        .route("/cart", any(cart))
        .route("/cart/{*rest}", any(cart))
        .route("/whoami", get(whoami))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(Arc::new(frontend));
    flags.replica.serve(Version::Http1, routes).await
}

/// Whom the caller has proved to be, if somebody in between has checked that and says so.
async fn whoami(headers: HeaderMap) -> String {
    let vouched = headers.get("x-forwarded-client-cert").and_then(|value| value.to_str().ok());
    format!("{}\n", vouched.unwrap_or("nobody vouches for you"))
}

async fn search(State(frontend): State<Arc<Frontend>>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let mut request = tonic::Request::new(FindRequest { query: asked.q, limit: 0 });
    carry_trace(&headers, request.metadata_mut().as_mut());
    let mut search = frontend.search.clone();
    if asked.stream {
        let replies = match search.stream(request).await {
            Ok(replies) => replies.into_inner(),
            Err(status) => return frontend.refuse("search", &status),
        };
        let lines = replies.map(|reply| {
            let item = reply.map(|reply| reply.item.unwrap_or_default())?;
            Ok::<_, tonic::Status>(format!("{}\n", json!({ "id": item.id, "title": item.title, "score": item.score })))
        });
        return ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response();
    }
    match search.find(request).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            let items =
                reply.items.iter().map(|item| json!({ "id": item.id, "title": item.title, "score": item.score }));
            let body = json!({ "items": items.collect::<Vec<_>>() });
            frontend.reply(axum::Json(body).into_response(), reply.served_by.iter().map(String::as_str))
        }
        Err(status) => frontend.refuse("search", &status),
    }
}

/// Passes the request on as it came, but to cart.
async fn cart(State(frontend): State<Arc<Frontend>>, request: Request<Body>) -> Response {
    let path = request.uri().path_and_query().map_or("/cart", |path| path.as_str());
    let target: Uri = match format!("http://{}{path}", frontend.cart).parse() {
        Ok(target) => target,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let (head, body) = request.into_parts();
    let mut onward = Request::new(body);
    *onward.method_mut() = head.method;
    *onward.uri_mut() = target;
    carry_trace(&head.headers, onward.headers_mut());
    for name in [header::COOKIE, header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        for value in head.headers.get_all(&name) {
            onward.headers_mut().append(name.clone(), value.clone());
        }
    }
    match tokio::time::timeout(LIMIT, frontend.client.request(onward)).await {
        Ok(Ok(reply)) => {
            let served_by = reply.headers().get("x-served-by").and_then(|value| value.to_str().ok()).map(str::to_owned);
            frontend.reply(reply.map(Body::new), served_by.as_deref())
        }
        Ok(Err(error)) => frontend.refuse("cart", &error),
        Err(late) => frontend.refuse("cart", &late),
    }
}

impl Frontend {
    /// Puts this replica before those that took part.
    fn reply<'a>(&'a self, mut response: Response, served_by: impl IntoIterator<Item = &'a str>) -> Response {
        let names: Vec<_> = std::iter::once(self.name.as_str()).chain(served_by).collect();
        if let Ok(value) = HeaderValue::from_str(&names.join(", ")) {
            response.headers_mut().insert("x-served-by", value);
        }
        response
    }

    fn refuse(&self, service: &str, error: &dyn std::error::Error) -> Response {
        let mut text = format!("{service}: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text += &format!(": {cause}");
            source = cause.source();
        }
        tracing::warn!("{text}");
        self.reply((StatusCode::BAD_GATEWAY, text + "\n").into_response(), None)
    }
}
