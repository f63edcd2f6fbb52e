//! The pages that the API server asks: `/inject/namespace` and `/inject/pod`, one for each entry of the webhook configuration.
//!
//! Which page is asked says what the namespace's label says, as the API server itself has matched it: no second opinion, and
//! no right to read namespaces, is needed. Bodies are bounded in size and time; whatever is not a review gets a status and a
//! reason.

use crate::metrics::Metrics;
use crate::review::{Malformed, Review};
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_inject::{Decision, Namespace, Settings};

/// Twice what the API server itself takes for one object, because a review may carry two.
const LARGEST: usize = 6 * 1024 * 1024;
/// How much is read of what is longer.
const MOST_READ: usize = 8 * LARGEST;
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
    Router::new()
        .route("/inject/namespace", post(in_namespace))
        .route("/inject/pod", post(by_pod))
        .fallback(elsewhere)
        .with_state(webhook)
}

/// Nothing is here. What was sent is read all the same: over HTTP/2 an answer to half a request can end in a reset.
async fn elsewhere(request: Request) -> Response {
    let _ = tokio::time::timeout(PATIENCE, body(request.into_body())).await;
    (StatusCode::NOT_FOUND, "reviews go to /inject/namespace or /inject/pod\n").into_response()
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

/// The whole body, if it is not too long. What is too long is read on for a while and thrown away: a sender that is cut
/// off in the middle would see a reset instead of the reason.
async fn body(mut body: Body) -> Result<Vec<u8>, Malformed> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Malformed::Unread)?.into_data() else { continue };
        length += data.len();
        if length <= LARGEST {
            bytes.extend_from_slice(&data);
        } else if length <= MOST_READ {
            bytes = Vec::new();
        } else {
            break;
        }
    }
    if length > LARGEST { Err(Malformed::TooLarge(LARGEST)) } else { Ok(bytes) }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
