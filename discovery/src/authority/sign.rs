//! The authority of one replica: signs with the root that all replicas share, and keeps the ledger of what it signed.
//!
//! A certificate is handed out only after the store has it on record; the record ends with the certificate. Who may have
//! one is decided before, by `certify`.

use super::fault::AuthorityError;
use super::token::{self, JoinToken, TokenError};
use super::{root, sessions};
use crate::rpc::seconds;

use crate::store::{Op, Store, StoreError};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use weft_identity::certificate::{self, Credentials, Key, Signed};
use weft_model::SpiffeId;

/// Where the records of issued certificates stand, by serial number.
const CERTIFICATES: &str = "certificates/";

/// Discovery's own workload: no join token may stand for it.
pub const OWN_NAMESPACE: &str = "weft";
pub const OWN_ACCOUNT: &str = "weft-discovery";

/// A certificate and what goes with it to its owner.
#[derive(Debug, Clone)]
pub struct Issued {
    pub id: SpiffeId,
    /// Leaf first, without the anchor.
    pub chain: Vec<CertificateDer<'static>>,
    pub not_after: SystemTime,
}

/// How the owner of a certificate first proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proven {
    /// By a join token, which need not be there any more when the certificate is renewed.
    #[default]
    Joined,
    /// By a service account's token, which has to be shown each time.
    Account,
}

/// What is kept of an issued certificate, as long as it is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub identity: SpiffeId,
    /// The proxy that asked for it.
    pub proxy: String,
    pub serial: String,
    #[serde(default)]
    pub proof: Proven,
    /// Seconds since the epoch.
    pub not_before: i64,
    pub not_after: i64,
}

/// The authority of one replica.
pub struct Authority {
    store: Arc<dyn Store>,
    root: certificate::Authority,
    trust_domain: String,
    lifetime: Duration,
}

impl Authority {
    /// Reads the root from the store, or puts it there: the one in the directory `root`, or a new one. The first replica to do
    /// so decides.
    pub async fn open(
        store: Arc<dyn Store>,
        trust_domain: &str,
        lifetime: Duration,
        root: Option<&Path>,
    ) -> Result<Self, AuthorityError> {
        let root = root::agree(&*store, trust_domain, root).await?;
        sessions::agree(&*store, SystemTime::now()).await?;
        Ok(Self { store, root, trust_domain: trust_domain.to_owned(), lifetime })
    }

    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Every certificate that proxies are to trust.
    pub fn anchors(&self) -> Vec<CertificateDer<'static>> {
        vec![self.root.certificate().clone()]
    }

    /// Signs a certificate for `id` and the key in `csr` (DER, PKCS #10), and records it under `proxy`.
    pub async fn issue(&self, csr: &[u8], id: SpiffeId, proxy: &str, proof: Proven) -> Result<Issued, AuthorityError> {
        let signed = self.root.sign(csr, &id, SystemTime::now(), self.lifetime)?;
        self.record(&signed, &id, proxy, proof).await?;
        Ok(Issued { id, chain: vec![signed.leaf], not_after: signed.not_after })
    }

    /// Discovery's own key and certificate.
    pub async fn own_credentials(&self, replica: &str) -> Result<Credentials, AuthorityError> {
        let id = SpiffeId::new(&self.trust_domain, OWN_NAMESPACE, OWN_ACCOUNT).map_err(AuthorityError::Identity)?;
        let key = Key::generate();
        let issued = self.issue(&key.csr(), id, replica, Proven::Joined).await?;
        Ok(Credentials::new(issued.chain, key.private(), self.anchors())?)
    }

    /// The certificates that have not expired yet; those whose record is damaged are left out.
    pub async fn issued(&self) -> Result<Vec<Ledger>, StoreError> {
        let range = self.store.range(CERTIFICATES).await?;
        let now = seconds(SystemTime::now());
        let readable = range.entries.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok());
        Ok(readable.filter(|ledger: &Ledger| ledger.not_after > now).collect())
    }

    /// How the owner of the certificate with this serial number proved itself; one without a record counts as joined.
    pub async fn proof_of(&self, serial: &str) -> Result<Proven, StoreError> {
        let entry = self.store.get(&format!("{CERTIFICATES}{serial}")).await?;
        let ledger = entry.and_then(|entry| serde_json::from_slice::<Ledger>(&entry.value).ok());
        Ok(ledger.map(|ledger| ledger.proof).unwrap_or_default())
    }

    /// A new join token for a workload identity: see [`JoinToken`].
    pub async fn create_token(&self, id: SpiffeId, ttl: Duration) -> Result<JoinToken, TokenError> {
        token::create(&*self.store, id, ttl, SystemTime::now()).await
    }

    /// The identity that a join token stands for.
    pub async fn redeem(&self, token: &str) -> Result<SpiffeId, TokenError> {
        token::redeem(&*self.store, token, SystemTime::now()).await
    }

    /// The record's lease ends with the certificate, so that nobody has to clean up.
    async fn record(&self, signed: &Signed, id: &SpiffeId, proxy: &str, proof: Proven) -> Result<(), StoreError> {
        let ledger = Ledger {
            identity: id.clone(),
            proxy: proxy.to_owned(),
            serial: signed.serial.clone(),
            proof,
            not_before: seconds(signed.not_before),
            not_after: seconds(signed.not_after),
        };
        let value = serde_json::to_vec(&ledger).expect("text and numbers always have a JSON form");
        let left = signed.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        let lease = self.store.grant(left).await?;
        let key = format!("{CERTIFICATES}{}", signed.serial);
        self.store.commit(Vec::new(), vec![Op::Put { key, value: value.into(), lease: Some(lease) }]).await?;
        Ok(())
    }
}
