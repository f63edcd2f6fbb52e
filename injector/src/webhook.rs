//! The pages that the API server asks: `/inject/namespace` and `/inject/pod`, one for each entry of the webhook configuration.
//!
//! Which page is asked says what the namespace's label says, as the API server itself has matched it: no second opinion, and
//! no right to read namespaces, is needed. Bodies are bounded in size and time; whatever is not a review gets a status and a
//! reason.

use crate::metrics::Metrics;
use crate::review::{Malformed, Review};
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_inject::{Decision, Namespace, Settings};

/// Twice what the API server itself takes for one object, because a review may carry two.
const LARGEST: usize = 6 * 1024 * 1024;
/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all reviews need.
#[derive(Clone)]
pub struct Webhook {
    pub settings: Arc<ArcSwap<Settings>>,
    pub metrics: Metrics,
}

/// The pages.
pub fn pages(webhook: Webhook) -> Router {
    let in_namespace = |State(webhook): State<Webhook>, request: Request| webhook.answer(Some("enabled"), request);
    let by_pod = |State(webhook): State<Webhook>, request: Request| webhook.answer(None, request);
    Router::new().route("/inject/namespace", post(in_namespace)).route("/inject/pod", post(by_pod)).with_state(webhook)
}

impl Webhook {
    async fn answer(self, label: Option<&'static str>, request: Request) -> Response {
        let read = tokio::time::timeout(PATIENCE, body(request.into_body()));
        let body = read.await.unwrap_or(Err(Malformed::Unread));
        let begun = Instant::now();
        let review = match body.and_then(|body| Review::read(&body)) {
            Ok(review) => review,
            Err(malformed) => {
                tracing::warn!(reason = %malformed, "a review that is none");
                self.metrics.reviewed("malformed", "", begun.elapsed());
                return (malformed.status(), format!("{malformed}\n")).into_response();
            }
        };
        let namespace = Namespace { name: &review.namespace, label };
        let outcome = weft_inject::inject(&self.settings.load(), namespace, &review.pod);
        let (result, reason) = match &outcome {
            Ok(outcome) => match outcome.decision {
                Decision::Inject => ("injected", ""),
                Decision::Skip(why) => ("skipped", why.as_str()),
            },
            Err(refusal) => {
                tracing::info!(namespace = review.namespace, pod = review.name(), %refusal, "refused");
                ("refused", "")
            }
        };
        tracing::debug!(namespace = review.namespace, pod = review.name(), result, reason, "reviewed");
        let answer = review.answer(&outcome).to_string();
        self.metrics.reviewed(result, reason, begun.elapsed());
        ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
    }
}

async fn body(body: Body) -> Result<axum::body::Bytes, Malformed> {
    to_bytes(body, LARGEST).await.map_err(|error| {
        // The limit's error is the source of axum's own.
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        if source.contains("length limit") { Malformed::TooLarge(LARGEST) } else { Malformed::Unread }
    })
}
