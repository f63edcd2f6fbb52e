//! The kubelet's probes and hooks of the application, made on its behalf: `/application-probes/<container>/<page>` on the admin port.
//!
//! The kubelet has no certificate of the mesh; a server that insists on mTLS would refuse it. It asks here instead, and the
//! proxy asks what the pod's author wrote, from within the pod. Only what the configuration lists can be asked for; the answer
//! is the application's own status, or why there is none.

mod perform;

use crate::config::{Action, ApplicationProbe, Config};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use perform::perform;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Probes at once; a pod has three for each container.
const AT_ONCE: usize = 64;

#[derive(Clone)]
struct Pages {
    config: Arc<Config>,
    room: Arc<Semaphore>,
}

/// The pages; none when there are no probes.
pub fn pages(config: &Arc<Config>) -> Router {
    if config.application_probes.is_empty() {
        return Router::new();
    }
    let pages = Pages { config: Arc::clone(config), room: Arc::new(Semaphore::new(AT_ONCE)) };
    Router::new().route("/application-probes/{container}/{page}", get(answer)).with_state(pages)
}

async fn answer(
    State(pages): State<Pages>,
    Path((container, page)): Path<(String, String)>,
    asked: HeaderMap,
) -> Response {
    let Some(probe) = pages.config.application_probes.get(&format!("{container}/{page}")) else {
        return (StatusCode::NOT_FOUND, "no such probe\n").into_response();
    };
    let Ok(_place) = pages.room.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many probes at once\n").into_response();
    };
    // What the kubelet itself would have dialled.
    let own = pages.config.address.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let made = perform(probe, own, asked.get(header::USER_AGENT));
    let (status, why) = match tokio::time::timeout(probe.timeout, made).await {
        Ok(Ok(())) => (StatusCode::OK, "ok\n".to_owned()),
        Ok(Err(perform::Trouble::Status(status))) => {
            return (status, format!("the application answers {status}\n")).into_response();
        }
        Ok(Err(trouble)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "the application does not answer in time\n".to_owned()),
    };
    match unanswered(probe, &asked).filter(|_| probe.hook && status != StatusCode::OK) {
        // For a hook the kubelet takes any answer for success, ours too, and any that it would get from the sidecar on the
        // application's port. It follows redirects within the pod, and fails at one that no HTTP client can follow.
        Some(location) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)], why).into_response(),
        None => (status, why).into_response(),
    }
}

/// The scheme of no protocol; the kubelet's log shows it.
const UNANSWERED: &str = "application-does-not-answer";

/// What was asked of the application, under the host that this page was asked of, by [`UNANSWERED`].
fn unanswered(probe: &ApplicationProbe, asked: &HeaderMap) -> Option<String> {
    let Action::Http { path, .. } = &probe.action else { return None };
    let host: http::uri::Authority = asked.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    Some(format!("{UNANSWERED}://{}:{}{path}", host.host(), probe.port))
}

#[cfg(test)]
mod tests;
