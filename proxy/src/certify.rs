//! How this workload comes by its identity and keeps it: a certificate from discovery's authority.
//!
//! First of all parts to run: without an identity there is no mTLS. The stored certificate serves as long as it is valid;
//! otherwise a token brings one. Renewed at half life, and when it leads to an anchor that is being replaced; while that fails, the
//! present one stays in use to its end. Anchors that would cut off the own certificate are refused.

mod stored;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::discovery::{Discovery, DiscoveryError};
use crate::state_dir::StateDir;
use crate::trust::{Told, Trust};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stored::Stored;
use weft_identity::certificate::{CertificateError, Credentials, Key, from_pem};
use weft_identity::rotate::Identity;
use weft_identity::tls::{Sessions, bootstrap_client_config};
use weft_model::SpiffeId;
use weft_proto::v1::authority_client::AuthorityClient;
use weft_proto::v1::certify_request::Proof;
use weft_proto::v1::{CertifyRequest, CertifyResponse};
use weft_telemetry::admin::{Condition, Readiness};
use weft_telemetry::metrics::Registry;

/// Clocks can be set: the time to renew is looked at again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// When all proxies are to have new certificates, they ask for them within this time, each at another moment.
const REISSUE_SPREAD: Duration = Duration::from_secs(5);

/// Why there is no (new) certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: io::Error },
    #[error("{}: {reason}", path.display())]
    Anchors { path: PathBuf, reason: Box<CertificateError> },
    #[error(
        "there is neither a valid certificate in the state directory nor a token: pass --token-file or --join-token-file"
    )]
    NoProof,
    #[error("{}: the file is empty", .0.display())]
    EmptyToken(PathBuf),
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error("discovery's answer is of no use: {0}")]
    Answer(#[from] CertificateError),
    #[error("the token stands for {got}, this proxy is {wanted}")]
    Identity { got: Box<SpiffeId>, wanted: Box<SpiffeId> },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What proves who the workload is. The file is read each time: tokens are replaced while we run.
#[derive(Debug, Clone)]
enum Token {
    Join(PathBuf),
    /// Kubernetes', replaced by the kubelet; an account that is gone has to lose its identity.
    ServiceAccount(PathBuf),
}

impl Token {
    fn of(config: &Config) -> Option<Self> {
        let account = config.token_file.clone().map(Self::ServiceAccount);
        account.or_else(|| config.join_token_file.clone().map(Self::Join))
    }

    fn proof(&self) -> Result<Proof, CertifyError> {
        let (Self::Join(path) | Self::ServiceAccount(path)) = self;
        let token = read(path)?.trim().to_owned();
        match self {
            _ if token.is_empty() => Err(CertifyError::EmptyToken(path.clone())),
            Self::Join(_) => Ok(Proof::JoinToken(token)),
            Self::ServiceAccount(_) => Ok(Proof::ServiceAccountToken(token)),
        }
    }
}

/// Obtains the identity, then keeps it fresh.
#[derive(Debug)]
pub struct Certifier {
    proxy: String,
    wanted: SpiffeId,
    discovery: Discovery,
    directory: StateDir,
    anchors: Vec<CertificateDer<'static>>,
    trust: Trust,
    token: Option<Token>,
    sessions: Sessions,
    condition: Condition,
    tries: Family<Outcome, Counter>,
    expiry: Gauge,
}

impl Certifier {
    /// Reads the trust anchors; fails when they cannot be read. The condition `identity` holds once there is one.
    pub fn new(
        config: &Config,
        discovery: Discovery,
        directory: StateDir,
        trust: Trust,
        readiness: &Readiness,
        registry: &mut Registry,
    ) -> Result<Self, CertifyError> {
        let path = &config.trust_anchors;
        let anchors = from_pem(&read(path)?);
        let anchors =
            anchors.map_err(|reason| CertifyError::Anchors { path: path.clone(), reason: Box::new(reason) })?;
        let tries = Family::default();
        registry.register("certify", "Requests for a certificate by outcome", tries.clone());
        let expiry = Gauge::default();
        let help = "When the workload's certificate ends, seconds since the epoch";
        registry.register("certificate_expiry_seconds", help, expiry.clone());
        Ok(Self {
            proxy: config.name.clone(),
            wanted: config.identity(),
            discovery,
            directory,
            anchors,
            trust,
            token: Token::of(config),
            sessions: config.sessions,
            condition: readiness.require("identity", "no certificate yet"),
            tries,
            expiry,
        })
    }

    /// The stored identity, or a new one as soon as discovery gives it. Fails only when waiting could not help.
    pub async fn obtain(&self) -> Result<Identity, CertifyError> {
        match stored::load(&self.directory, &self.wanted, &self.anchors, SystemTime::now()) {
            Ok(Some(credentials)) => return Ok(Identity::new(self.in_force(credentials), self.sessions)),
            Ok(None) => {}
            Err(reason) => tracing::warn!(%reason, "the stored certificate cannot be used"),
        }
        let token = self.token.as_ref().ok_or(CertifyError::NoProof)?;
        let mut backoff = Backoff::default();
        loop {
            match self.by_token(token, &self.anchors).await {
                Ok(credentials) => return Ok(Identity::new(self.in_force(credentials), self.sessions)),
                Err(error) => {
                    match backoff.is_fresh() {
                        true => tracing::warn!(%error, "no certificate yet"),
                        false => tracing::debug!(%error, "still no certificate"),
                    }
                    self.condition.unmet(&error.to_string());
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Renews the identity for as long as the process lives, and trusts whom discovery says.
    pub async fn keep(self, identity: Identity) {
        let mut backoff = Backoff::default();
        let mut earliest = SystemTime::now();
        let mut told = self.trust.told();
        // What was told before this began is taken up as well.
        told.mark_changed();
        let mut anew = None;
        loop {
            let due = anew.unwrap_or_else(|| identity.renew_at().max(earliest));
            let left = due.duration_since(SystemTime::now()).unwrap_or_default();
            if !left.is_zero() {
                tokio::select! {
                    Ok(()) = told.changed() => {
                        let said = told.borrow_and_update().clone();
                        if let Some(said) = said {
                            self.adopt(&said, &identity);
                            anew = anew.or_else(|| leads_elsewhere(&identity, &said));
                        }
                    }
                    () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
                }
                continue;
            }
            match self.renew(&identity).await {
                Ok(credentials) => {
                    earliest = half_spent(SystemTime::now(), credentials.not_after);
                    identity.install(self.in_force(credentials));
                    // A replica that has not heard of the new anchor yet signs under the old one.
                    anew = told.borrow().as_ref().and_then(|said| leads_elsewhere(&identity, said));
                    backoff.reset();
                }
                Err(error) => {
                    match backoff.is_fresh() {
                        true => tracing::warn!(%error, "the certificate could not be renewed"),
                        false => tracing::debug!(%error, "the certificate could still not be renewed"),
                    }
                    if identity.credentials().not_after <= SystemTime::now() {
                        self.condition.unmet(&format!("the certificate has expired: {error}"));
                    }
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Trusts whom discovery says, unless the certificate in use would lead to none of them.
    fn adopt(&self, told: &Told, identity: &Identity) {
        let present = identity.credentials();
        let same = present.anchors.len() == told.anchors.len()
            && told.anchors.iter().all(|anchor| present.anchors.contains(anchor));
        if same {
            return;
        }
        match present.trusting(told.anchors.clone()) {
            Ok(credentials) => {
                self.save(&credentials);
                tracing::info!(anchors = credentials.anchors.len(), "new trust anchors in force");
                self.trust.put_in_force(&credentials);
                identity.install(credentials);
            }
            Err(error) => tracing::warn!(%error, "the trust anchors stay what they were"),
        }
    }

    /// The present certificate is the proof; a join token serves where that is not accepted any more. A service account proves
    /// itself anew each time.
    async fn renew(&self, identity: &Identity) -> Result<Credentials, CertifyError> {
        let present = identity.credentials();
        if let Some(token @ Token::ServiceAccount(_)) = &self.token {
            return self.by_token(token, &present.anchors).await;
        }
        let tls = self.discovery.client(identity);
        match (self.certify(tls, Proof::Renewal(true), &present.anchors).await, &self.token) {
            (Err(error), Some(token)) => {
                tracing::debug!(%error, "renewal refused, trying the join token");
                // What the renewal said is the better reason, for tokens are short-lived.
                self.by_token(token, &self.anchors).await.map_err(|_| error)
            }
            (result, _) => result,
        }
    }

    async fn by_token(&self, token: &Token, anchors: &[CertificateDer<'static>]) -> Result<Credentials, CertifyError> {
        let proof = token.proof()?;
        let tls = bootstrap_client_config(anchors, self.discovery.expected())?;
        self.certify(tls, proof, anchors).await
    }

    async fn certify(
        &self,
        tls: Arc<ClientConfig>,
        proof: Proof,
        anchors: &[CertificateDer<'static>],
    ) -> Result<Credentials, CertifyError> {
        let key = Key::generate();
        let replaces = self.trust.in_force().borrow().as_ref().map(|present| present.serial.clone());
        let replaces = replaces.unwrap_or_default();
        let request = CertifyRequest { csr: key.csr(), proof: Some(proof), proxy: self.proxy.clone(), replaces };
        let asked = self.discovery.ask(&tls, |channel| {
            let request = request.clone();
            async move { AuthorityClient::new(channel).certify(request).await.map(tonic::Response::into_inner) }
        });
        let result = match asked.await {
            Ok(response) => self.accept(&key, response, anchors),
            Err(error) => Err(error.into()),
        };
        let outcome = if result.is_ok() { "issued" } else { "failed" };
        self.tries.get_or_create(&Outcome { outcome }).inc();
        result
    }

    /// Takes nothing on trust: the chain has to fit the key and the anchors, and to name this workload.
    fn accept(
        &self,
        key: &Key,
        response: CertifyResponse,
        present: &[CertificateDer<'static>],
    ) -> Result<Credentials, CertifyError> {
        let der = |list: Vec<Vec<u8>>| list.into_iter().map(CertificateDer::from).collect::<Vec<_>>();
        let told = der(response.trust_anchors);
        let anchors = if told.is_empty() { present.to_vec() } else { told };
        let credentials = Credentials::new(der(response.chain), key.private(), anchors)?;
        if credentials.id != self.wanted {
            let (got, wanted) = (Box::new(credentials.id), Box::new(self.wanted.clone()));
            return Err(CertifyError::Identity { got, wanted });
        }
        self.save(&credentials);
        Ok(credentials)
    }

    fn save(&self, credentials: &Credentials) {
        if let Err(error) = Stored::new(credentials, &self.anchors).save(&self.directory) {
            // It serves all the same; a restart will ask again.
            tracing::warn!(%error, "the certificate could not be stored");
        }
    }

    fn in_force(&self, credentials: Credentials) -> Credentials {
        let end = credentials.not_after.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.expiry.set(i64::try_from(end).unwrap_or(i64::MAX));
        self.condition.met();
        let valid_for = credentials.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        let valid_for = humantime::format_duration(Duration::from_secs(valid_for.as_secs()));
        tracing::info!(identity = %credentials.id, %valid_for, "identity in force");
        self.trust.put_in_force(&credentials);
        credentials
    }
}

/// When a certificate is to be asked for that leads to the anchor which signs now; `None`: the present one does.
fn leads_elsewhere(identity: &Identity, told: &Told) -> Option<SystemTime> {
    let elsewhere = !identity.credentials().rests_on(&told.issuing);
    elsewhere.then(|| SystemTime::now() + REISSUE_SPREAD.mul_f64(fastrand::f64()))
}

/// Certificates begin before they are signed, for the sake of late clocks: half of a short life may have passed before it
/// began. No new one is asked for before half of what was left has passed.
fn half_spent(now: SystemTime, not_after: SystemTime) -> SystemTime {
    now + not_after.duration_since(now).unwrap_or_default() / 2
}

fn read(path: &Path) -> Result<String, CertifyError> {
    std::fs::read_to_string(path).map_err(|reason| CertifyError::File { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests;
