//! `features`: what is known of items, over HTTP/2 with prior knowledge.
//!
//! Called by ranking. Working something out takes a moment, so answers are kept in Redis. A cache that does not answer is a
//! miss, never a failure.

use super::goods;
use super::replica::{Replica, Version};
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use redis::AsyncCommands;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A cache that takes longer is of no use.
const CACHE_LIMIT: Duration = Duration::from_millis(250);
/// How long an answer is kept, in seconds, as Redis wants it.
const KEEP: u64 = 60;

#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    replica: Replica,
    /// The Redis server, host:port
    #[arg(long, default_value = "cache.shop.svc.cluster.local:6379")]
    cache: String,
    /// How long working out one item takes
    #[arg(long, default_value = "1ms", value_parser = humantime::parse_duration)]
    effort: Duration,
}

struct Features {
    name: String,
    cache: ConnectionManager,
    effort: Duration,
}

#[derive(Debug, Deserialize)]
struct Asked {
    /// Item ids, joined by commas.
    items: String,
}

/// What is known of the items that were asked for.
#[derive(Debug, Serialize, Deserialize)]
pub struct Known {
    /// By item, between 0 and 1.
    pub popularity: BTreeMap<String, f64>,
    /// How many of them came from the cache.
    pub cached: usize,
    pub served_by: String,
}

pub async fn serve(flags: Flags) -> anyhow::Result<()> {
    let client = redis::Client::open(format!("redis://{}", flags.cache))?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CACHE_LIMIT))
        .set_response_timeout(Some(CACHE_LIMIT))
        .set_number_of_retries(0);
    let cache = ConnectionManager::new_lazy_with_config(client, config)?;
    let features = Arc::new(Features { name: flags.replica.name.clone(), cache, effort: flags.effort });
    let routes =
        Router::new().route("/features", get(look_up)).route("/healthz", get(|| async { "ok\n" })).with_state(features);
    flags.replica.serve(Version::Http2, routes).await
}

async fn look_up(State(features): State<Arc<Features>>, Query(asked): Query<Asked>) -> Json<Known> {
    let ids: Vec<_> = asked.items.split(',').filter(|id| !id.is_empty()).take(100).collect();
    let mut cache = features.cache.clone();
    let keys: Vec<_> = ids.iter().map(|id| format!("features:{id}")).collect();
    let found: redis::RedisResult<Vec<Option<f64>>> =
        if keys.is_empty() { Ok(Vec::new()) } else { cache.mget(&keys).await };
    if let Err(error) = &found {
        tracing::debug!("cache: {error}");
    }
    let found = found.unwrap_or_else(|_| vec![None; ids.len()]);
    let mut known = Known { popularity: BTreeMap::new(), cached: 0, served_by: features.name.clone() };
    let mut fresh = redis::pipe();
    for ((id, key), value) in ids.iter().zip(&keys).zip(found) {
        known.cached += usize::from(value.is_some());
        let popularity = value.unwrap_or_else(|| goods::popularity(id));
        if value.is_none() {
            fresh.set_ex(key, popularity, KEEP).ignore();
        }
        known.popularity.insert((*id).to_owned(), popularity);
    }
    let missed = ids.len() - known.cached;
    if missed > 0 {
        tokio::time::sleep(features.effort).await;
        // Whether it was kept shows next time.
        let _: redis::RedisResult<()> = fresh.query_async(&mut cache).await;
    }
    Json(known)
}
