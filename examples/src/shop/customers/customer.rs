//! One customer: a connection, a cookie jar, and a memory of what should be in the cart.
//!
//! Searches mostly, puts something into the cart now and then, looks whether it is all still there. What is missing is a
//! failure, whatever status the reply had.

use crate::goods;
use crate::ranking::connector;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// With so many items the customer pays, and comes back with a new cart.
const FULL: usize = 8;

pub struct Customer {
    client: Client<HttpConnector, Empty<Bytes>>,
    frontend: String,
    cookies: BTreeMap<String, String>,
    bought: BTreeSet<String>,
    /// The replica that has the cart.
    keeper: Option<String>,
}

/// What one request came to.
#[derive(Debug)]
pub struct Visit {
    /// Method and path.
    pub asked: String,
    /// `None`: all was well.
    pub failure: Option<String>,
    pub latency: Duration,
    /// The replicas that took part.
    pub served_by: Vec<String>,
    pub cart: Option<Trip>,
}

/// What became of a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    Opened,
    Stayed,
    Moved,
}

#[derive(Deserialize)]
struct CartPage {
    items: BTreeSet<String>,
}

impl Customer {
    pub fn new(frontend: &str) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector()),
            frontend: frontend.to_owned(),
            cookies: BTreeMap::new(),
            bought: BTreeSet::new(),
            keeper: None,
        }
    }

    /// Makes the request that was due at `due`.
    pub async fn visit(&mut self, due: Instant, patience: Duration) -> Visit {
        let mut visit =
            Visit { asked: String::new(), failure: None, latency: Duration::ZERO, served_by: Vec::new(), cart: None };
        match timeout(patience, self.step(&mut visit)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => visit.failure = Some(format!("{}: {error:#}", visit.asked)),
            Err(_) => visit.failure = Some(format!("{}: no reply within {patience:?}", visit.asked)),
        }
        if visit.failure.is_some() {
            // Whatever is in the cart now, it is not what this customer thought: start afresh, so that one loss counts once.
            self.pay();
        }
        visit.latency = due.elapsed();
        visit
    }

    async fn step(&mut self, visit: &mut Visit) -> anyhow::Result<()> {
        match fastrand::u32(0..100) {
            0..60 => {
                let path = format!("/search?q={}", goods::any_query(fastrand::usize(..)));
                self.request(Method::GET, &path, visit).await.map(drop)
            }
            60..85 => {
                let goods = goods::matching("");
                let id = goods[fastrand::usize(..goods.len())].id.clone();
                let page = self.request(Method::PUT, &format!("/cart/items/{id}"), visit).await?;
                self.bought.insert(id);
                self.check(&page, visit)?;
                if self.bought.len() >= FULL {
                    self.pay();
                }
                Ok(())
            }
            _ => {
                let page = self.request(Method::GET, "/cart", visit).await?;
                self.check(&page, visit)
            }
        }
    }

    async fn request(&mut self, method: Method, path: &str, visit: &mut Visit) -> anyhow::Result<Bytes> {
        visit.asked = format!("{method} {path}");
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.frontend));
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            request = request.header(header::COOKIE, pairs.collect::<Vec<_>>().join("; "));
        }
        let response = self.client.request(request.body(Empty::new())?).await?;
        let (head, body) = response.into_parts();
        self.keep_cookies(&head.headers);
        let names = head.headers.get("x-served-by").and_then(|value| value.to_str().ok()).unwrap_or_default();
        visit.served_by = names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let body = body.collect().await?.to_bytes();
        let reason = head.headers.get("weft-reason").map(|reason| format!(" ({reason:?})")).unwrap_or_default();
        let text = || String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        anyhow::ensure!(head.status.is_success(), "{}{reason} {}", head.status, text());
        Ok(body)
    }

    /// Is everything in the cart that was put there?
    fn check(&mut self, page: &Bytes, visit: &mut Visit) -> anyhow::Result<()> {
        let CartPage { items } = serde_json::from_slice(page)?;
        let keeper = visit.served_by.last().cloned();
        let lost: Vec<_> = self.bought.difference(&items).cloned().collect();
        let was = self.keeper.as_deref().unwrap_or("nobody");
        anyhow::ensure!(lost.is_empty(), "the cart lost {}: was with {was}, now with {keeper:?}", lost.join(", "));
        // An empty cart is nowhere yet.
        if !self.bought.is_empty() {
            visit.cart = Some(match &self.keeper {
                None => Trip::Opened,
                same if *same == keeper => Trip::Stayed,
                _ => Trip::Moved,
            });
            self.keeper = keeper;
        }
        Ok(())
    }

    fn pay(&mut self) {
        self.cookies.clear();
        self.bought.clear();
        self.keeper = None;
    }

    /// Keeps what Set-Cookie says, as far as a customer of one site needs it (RFC 6265 section 5.2).
    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let Some((name, value)) = pair.trim().split_once('=') else { continue };
            let expired = attributes.split(';').any(|attribute| attribute.trim().eq_ignore_ascii_case("max-age=0"));
            if expired {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
