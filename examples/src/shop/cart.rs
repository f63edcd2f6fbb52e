//! `cart`: what customers want to buy, in the memory of this replica only.
//!
//! The end of the line for `/cart`. A session cookie names the cart; a session this replica has never seen is an empty
//! cart, which is why the service needs affinity. Adding is a PUT: doing it twice changes nothing.

use super::replica::{Replica, Version};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The cookie that names a cart.
pub const SESSION: &str = "session";
/// So that nobody fills the memory: the most items in a cart, and the most carts.
const ITEMS: usize = 100;
const CARTS: usize = 100_000;

#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    replica: Replica,
}

#[derive(Debug)]
struct Cart {
    name: HeaderValue,
    carts: Mutex<HashMap<String, BTreeSet<String>>>,
}

pub async fn serve(flags: Flags) -> anyhow::Result<()> {
    let cart = Arc::new(Cart { name: HeaderValue::from_str(&flags.replica.name)?, carts: Mutex::default() });
    let routes = Router::new()
        .route("/cart", get(read))
        .route("/cart/items/{id}", put(add).delete(remove))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(cart);
    flags.replica.serve(Version::Http1, routes).await
}

async fn read(State(cart): State<Arc<Cart>>, headers: HeaderMap) -> Response {
    let session = session(&headers);
    let items = session.and_then(|session| cart.lock().get(session).cloned());
    cart.reply(StatusCode::OK, items.unwrap_or_default(), None)
}

async fn add(State(cart): State<Arc<Cart>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let known = session(&headers);
    let session = known.map_or_else(new_session, str::to_owned);
    let mut carts = cart.lock();
    if carts.len() >= CARTS && !carts.contains_key(&session) {
        return StatusCode::INSUFFICIENT_STORAGE.into_response();
    }
    let items = carts.entry(session.clone()).or_default();
    if items.len() >= ITEMS && !items.contains(&id) {
        return (StatusCode::CONFLICT, "the cart is full\n").into_response();
    }
    items.insert(id);
    let items = items.clone();
    drop(carts);
    cart.reply(StatusCode::OK, items, known.is_none().then_some(session))
}

async fn remove(State(cart): State<Arc<Cart>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut carts = cart.lock();
    let items = session(&headers).and_then(|session| carts.get_mut(session)).map(|items| {
        items.remove(&id);
        items.clone()
    });
    drop(carts);
    cart.reply(StatusCode::OK, items.unwrap_or_default(), None)
}

impl Cart {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.carts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply(&self, status: StatusCode, items: BTreeSet<String>, new_session: Option<String>) -> Response {
        let mut response = (status, Json(serde_json::json!({ "items": items }))).into_response();
        response.headers_mut().insert("x-served-by", self.name.clone());
        let cookie =
            new_session.map(|session| HeaderValue::from_str(&format!("{SESSION}={session}; Path=/; HttpOnly")));
        if let Some(Ok(cookie)) = cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

fn new_session() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// The value of the session cookie (RFC 6265 section 5.4).
fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == SESSION && !value.is_empty() && value.len() <= 64).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        assert_eq!(session(&headers), None);
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; session=xyz"));
        assert_eq!(session(&headers), Some("xyz"));
        headers.insert(header::COOKIE, HeaderValue::from_static("session="));
        assert_eq!(session(&headers), None);
    }
}
