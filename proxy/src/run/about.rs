//! What this process says of itself when discovery asks: whether all is well here (`check`), and what it runs with (`config`).
//!
//! On the control runtime, before the questions that need a worker. Two looks at a time and three seconds each at most, so that
//! nobody keeps a proxy dialling itself; the redirect is really tried each time, never answered from memory.

use crate::config::Config;
use crate::questions::{Answers, CHECK, CONFIG, Said};
use crate::redirect::Look;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use weft_identity::rotate::Identity;

/// Looks at a time.
const AT_ONCE: usize = 2;
/// How long the redirect may take to lead a connection here.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the answers are made of.
pub(super) struct About {
    config: Arc<Config>,
    identity: Identity,
    /// `None`: there is no redirect to look for.
    redirect: Option<Look>,
    places: Semaphore,
}

impl About {
    pub(super) fn new(config: &Arc<Config>, identity: &Identity, look: &Look) -> Arc<Self> {
        let redirect = (look.port != 0).then(|| look.clone());
        let (config, identity) = (Arc::clone(config), identity.clone());
        Arc::new(Self { config, identity, redirect, places: Semaphore::new(AT_ONCE) })
    }

    /// Answers what it knows itself, and leaves the rest to `others`.
    pub(super) fn before(self: Arc<Self>, others: Answers) -> Answers {
        Arc::new(move |topic, json| match topic.as_str() {
            CHECK => {
                let about = Arc::clone(&self);
                Box::pin(async move { about.check().await })
            }
            CONFIG => Box::pin(std::future::ready(Ok(json!({ "settings": self.config.settings }).to_string()))),
            _ => others(topic, json),
        })
    }

    async fn check(&self) -> Said {
        let busy = |_| "the proxy is being checked already: try again".to_owned();
        let _place = self.places.try_acquire().map_err(busy)?;
        let redirect = self.redirect().await;
        let credentials = self.identity.credentials();
        // Last, so that the answer is as fresh as it can be: whoever asks compares clocks by it.
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "redirect": redirect,
            "certificate": {
                "notBefore": seconds(credentials.not_before),
                "notAfter": seconds(credentials.not_after),
            },
            "nowUs": micros(SystemTime::now()),
        })
        .to_string())
    }

    async fn redirect(&self) -> Option<Value> {
        let look = self.redirect.as_ref()?;
        let fault = match tokio::time::timeout(PATIENCE, look.now()).await {
            Ok(looked) => looked.err().map(|absent| absent.to_string()),
            Err(_) => Some(format!("nothing arrives within {PATIENCE:?}")),
        };
        Some(json!({ "port": look.port, "fault": fault }))
    }
}

fn micros(at: SystemTime) -> u64 {
    u64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
