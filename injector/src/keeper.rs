//! Keeps keys, `caBundle` and trust anchors as they should be, again and again.
//!
//! Every few seconds: reads the Secret, replaces what is due, takes what is there into use, and puts the bundle back if
//! anybody took it out. All replicas do the same with the same Secret; whoever writes first wins. Failures are tried again
//! and shown by `/readyz` until the first success; later ones leave in force what there is.

use crate::cluster::Cluster;
use crate::config;
use crate::keys::{Keys, KeysError, Wanted};
use crate::metrics::Metrics;
use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_inject::Settings;
use weft_telemetry::admin::Condition;

/// How often everything is looked at.
const ROUND: Duration = Duration::from_secs(5);
/// How soon after a failure.
const AGAIN: Duration = Duration::from_secs(1);
/// For short-lived certificates: a fraction of their life.
const ROUNDS_IN_A_LIFE: u32 = 50;

/// The certificate in use.
#[derive(Debug, Default)]
pub struct Shown(ArcSwapOption<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the Secret: {0}")]
    Secret(kube::Error),
    #[error("the Secret was written by somebody else at the same moment")]
    Contended,
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("the webhook configuration: {0}")]
    Webhook(kube::Error),
}

/// Looks after everything that changes.
pub struct Keeper {
    pub cluster: Cluster,
    pub wanted: Wanted,
    pub shown: Arc<Shown>,
    pub pods: weft_inject::Flags,
    pub settings: Arc<ArcSwap<Settings>>,
    pub metrics: Metrics,
    pub certificate: Condition,
    pub webhook: Condition,
}

impl Keeper {
    /// For as long as the program runs.
    pub async fn run(self) {
        let (mut in_use, mut ready) = (None, false);
        let round = ROUND.min(self.wanted.lifetime / ROUNDS_IN_A_LIFE);
        loop {
            let mut pause = round;
            match self.round(&mut in_use).await {
                Ok(()) => {
                    self.webhook.met();
                    ready = true;
                }
                Err(error) => {
                    tracing::warn!(%error, "keys are not as they should be; trying again");
                    match &in_use {
                        None => self.certificate.unmet(&error.to_string()),
                        Some(_) if !ready => self.webhook.unmet(&error.to_string()),
                        Some(_) => {}
                    }
                    pause = round.min(AGAIN);
                }
            }
            self.reload_anchors();
            // Replicas that started together should not write together for ever.
            tokio::time::sleep(pause.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
        }
    }

    async fn round(&self, in_use: &mut Option<Keys>) -> Result<(), RoundError> {
        let keys = self.keys().await?;
        // The bundle first: no certificate is shown that the API server has not been told how to trust.
        let published = self.cluster.publish(&keys.bundle()).await.map_err(RoundError::Webhook);
        if in_use.as_ref() != Some(&keys) {
            self.shown.0.store(Some(Arc::new(keys.certified()?)));
            let ends = keys.ends().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.metrics.expires(i64::try_from(ends).unwrap_or(i64::MAX));
            tracing::info!(until = %humantime::format_rfc3339_seconds(keys.ends()), "certificate in use");
            self.certificate.met();
            *in_use = Some(keys);
        }
        if published? {
            tracing::info!("caBundle brought up to date");
        }
        Ok(())
    }

    /// The keys that hold now: those of the Secret, replaced if it is time.
    async fn keys(&self) -> Result<Keys, RoundError> {
        let mut kept = self.cluster.read().await.map_err(RoundError::Secret)?;
        let now = SystemTime::now();
        let next = match kept.keys.take() {
            None => self.wanted.make(now)?,
            Some(Err(error)) => {
                tracing::warn!(%error, "the Secret is damaged; new keys are made");
                self.wanted.make(now)?
            }
            Some(Ok(keys)) => match self.wanted.turn(&keys, now)? {
                None => return Ok(keys),
                Some(next) => next,
            },
        };
        match self.cluster.write(kept, &next).await.map_err(RoundError::Secret)? {
            true => Ok(next),
            false => Err(RoundError::Contended),
        }
    }

    fn reload_anchors(&self) {
        let read = config::read(&self.pods.trust_anchors).map_err(|fault| vec![fault]);
        match read.and_then(|anchors| Settings::check(&self.pods, &anchors)) {
            Ok(settings) if settings.trust_anchors != self.settings.load().trust_anchors => {
                tracing::info!("new trust anchors: pods get them from here on");
                self.settings.store(Arc::new(settings));
            }
            Ok(_) => {}
            Err(faults) => tracing::warn!(reason = faults.join("; "), "the trust anchors stay what they were"),
        }
    }
}
