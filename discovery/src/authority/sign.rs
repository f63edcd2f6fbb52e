//! The authority of one replica: signs with the key that all replicas share, and keeps the ledger of what it signed.
//!
//! A certificate is handed out only after the store has it on record; the record ends with the certificate. Who may have
//! one is decided before, by `certify`.

use super::fault::AuthorityError;
use super::ledger::{Ledger, OWN_ACCOUNT, OWN_NAMESPACE, Proven, in_use};
use super::pods::{LATELY, PodLists};
use super::token::{self, JoinToken, TokenError};
use super::trust::Trust;
use super::{sessions, trust};
use crate::rpc::seconds;
use crate::store::{Compare, Entry, Op, Store, StoreError};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use weft_identity::certificate::{Credentials, Key, Signed, fingerprint};
use weft_model::SpiffeId;

/// Where the records of issued certificates stand, by serial number.
const CERTIFICATES: &str = "certificates/";

/// As many anchors are kept of what an owner trusts.
const MOST_ANCHORS: usize = 16;

/// A certificate and what goes with it to its owner.
#[derive(Debug, Clone)]
pub struct Issued {
    pub id: SpiffeId,
    /// Leaf first, without the anchor.
    pub chain: Vec<CertificateDer<'static>>,
    pub anchors: Vec<CertificateDer<'static>>,
    pub not_after: SystemTime,
}

/// What a certificate is signed for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The proxy that asks.
    pub proxy: String,
    pub proof: Proven,
    /// The serial number of the certificate that this one is to replace; empty: there is none.
    pub replaces: String,
}

/// The authority of one replica.
pub struct Authority {
    store: Arc<dyn Store>,
    trust: watch::Sender<Arc<Trust>>,
    trust_domain: String,
    lifetime: Duration,
    /// Knows which pods there are.
    cluster: Option<PodLists>,
}

impl Authority {
    /// Reads the trust record from the store, or puts it there: with the authority in the directory `root`, or a new one. The first
    /// replica to do so decides.
    pub async fn open(
        store: Arc<dyn Store>,
        trust_domain: &str,
        lifetime: Duration,
        root: Option<&Path>,
    ) -> Result<Self, AuthorityError> {
        let trust = trust::agree(&*store, trust_domain, root).await?;
        sessions::agree(&*store, SystemTime::now()).await?;
        let trust = watch::Sender::new(Arc::new(trust));
        Ok(Self { store, trust, trust_domain: trust_domain.to_owned(), lifetime, cluster: None })
    }

    /// In a cluster, whose pods come and go.
    pub fn within(mut self, cluster: Option<kube::Client>) -> Self {
        self.cluster = cluster.map(PodLists::new);
        self
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Who signs and whom the mesh trusts, as far as this replica knows.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.borrow().clone()
    }

    /// The same, and whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<Trust>> {
        self.trust.subscribe()
    }

    /// Puts a newer record into force; an older one is left.
    pub(super) fn take(&self, newer: Trust) {
        self.trust.send_if_modified(|present| {
            let newer_one = newer.revision > present.revision;
            if newer_one {
                tracing::info!(anchors = newer.anchors().len(), stage = newer.rotation.word(), "new trust anchors");
                *present = Arc::new(newer);
            }
            newer_one
        });
    }

    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Every certificate that proxies are to trust.
    pub fn anchors(&self) -> Vec<CertificateDer<'static>> {
        self.trust.borrow().anchors()
    }

    /// Signs a certificate for `id` and the key in `csr` (DER, PKCS #10), and records it.
    pub async fn issue(&self, csr: &[u8], id: SpiffeId, asked: &Asked) -> Result<Issued, AuthorityError> {
        self.sign(csr, id, asked, None).await
    }

    async fn sign(
        &self,
        csr: &[u8],
        id: SpiffeId,
        asked: &Asked,
        trusts: Option<Vec<String>>,
    ) -> Result<Issued, AuthorityError> {
        let trust = self.trust();
        let signed = trust.issuer.sign(csr, &id, SystemTime::now(), self.lifetime)?;
        let before = match asked.replaces.as_str() {
            "" => None,
            serial => self.record_of(serial).await?.map(|(_, ledger)| ledger),
        };
        let ledger = Ledger {
            identity: id.clone(),
            proxy: asked.proxy.clone(),
            serial: signed.serial.clone(),
            proof: asked.proof,
            not_before: seconds(signed.not_before),
            not_after: seconds(signed.not_after),
            anchor: fingerprint(trust.issuer.certificate()),
            renewals: before.filter(|before| before.identity == id).map_or(0, |before| before.renewals + 1),
            trusts,
            forgotten: false,
            made: 0,
        };
        self.record(&signed, &ledger).await?;
        let chain = std::iter::once(signed.leaf).chain(trust.issuer.intermediates().iter().cloned()).collect();
        Ok(Issued { id, chain, anchors: trust.anchors(), not_after: signed.not_after })
    }

    /// Discovery's own key and certificate. The replica uses it as soon as it has it.
    pub async fn own_credentials(&self, replica: &str) -> Result<Credentials, AuthorityError> {
        let id = SpiffeId::new(&self.trust_domain, OWN_NAMESPACE, OWN_ACCOUNT).map_err(AuthorityError::Identity)?;
        let key = Key::generate();
        let asked = Asked { proxy: replica.to_owned(), ..Asked::default() };
        let trusts = self.anchors().iter().map(fingerprint).collect();
        let issued = self.sign(&key.csr(), id, &asked, Some(trusts)).await?;
        Ok(Credentials::new(issued.chain, key.private(), issued.anchors)?)
    }

    /// The certificates that have not expired yet; those whose record is damaged are left out.
    pub async fn issued(&self) -> Result<Vec<Ledger>, StoreError> {
        let range = self.store.range(CERTIFICATES).await?;
        let now = seconds(SystemTime::now());
        Ok(range.entries.iter().filter_map(parse).filter(|ledger| ledger.not_after > now).collect())
    }

    /// Of those, the ones that somebody may still use: for steps that cannot be taken back.
    pub async fn in_use(&self) -> Result<Vec<Ledger>, StoreError> {
        self.in_use_within(Duration::ZERO).await
    }

    /// The same by the pods of a moment ago: for whoever only looks, and looks often.
    pub async fn in_use_lately(&self) -> Result<Vec<Ledger>, StoreError> {
        self.in_use_within(LATELY).await
    }

    async fn in_use_within(&self, age: Duration) -> Result<Vec<Ledger>, StoreError> {
        let mut in_use = in_use(self.issued().await?);
        if let Some(cluster) = &self.cluster
            && let Some(pods) = cluster.within(age).await
        {
            in_use.retain(|ledger| pods.may_have(ledger));
        }
        Ok(in_use)
    }

    /// The owner says that it has put this certificate in force and trusts these anchors (fingerprints). What somebody says of
    /// another's certificate is left.
    pub async fn confirm(&self, id: &SpiffeId, serial: &str, mut anchors: Vec<String>) -> Result<(), StoreError> {
        anchors.sort();
        anchors.truncate(MOST_ANCHORS);
        let Some((entry, mut ledger)) = self.record_of(serial).await? else { return Ok(()) };
        if ledger.identity != *id || (ledger.trusts.as_ref() == Some(&anchors) && !ledger.forgotten) {
            return Ok(());
        }
        ledger.trusts = Some(anchors);
        // It is back.
        ledger.forgotten = false;
        match self.amend(entry, &ledger).await? {
            true => Ok(()),
            false => Err(StoreError::Unavailable("the record changed at the same time".to_owned())),
        }
    }

    /// Whether the record still was what it is said to have been.
    pub(super) async fn amend(&self, entry: Entry, ledger: &Ledger) -> Result<bool, StoreError> {
        let compares = vec![Compare::Modified(entry.key.clone(), entry.modified)];
        let put = Op::Put { key: entry.key, value: encode(ledger).into(), lease: entry.lease };
        match self.store.commit(compares, vec![put]).await {
            // It has just expired.
            Err(StoreError::LeaseGone(_)) => Ok(true),
            done => done.map(|done| done.is_some()),
        }
    }

    pub(super) async fn record_of(&self, serial: &str) -> Result<Option<(Entry, Ledger)>, StoreError> {
        if serial.is_empty() || serial.len() > 64 || !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let entry = self.store.get(&format!("{CERTIFICATES}{serial}")).await?;
        Ok(entry.and_then(|entry| parse(&entry).map(|ledger| (entry, ledger))))
    }

    /// How the owner of the certificate with this serial number proved itself; one without a record counts as joined.
    pub async fn proof_of(&self, serial: &str) -> Result<Proven, StoreError> {
        Ok(self.record_of(serial).await?.map(|(_, ledger)| ledger.proof).unwrap_or_default())
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
    async fn record(&self, signed: &Signed, ledger: &Ledger) -> Result<(), StoreError> {
        let left = signed.not_after.duration_since(SystemTime::now()).unwrap_or_default();
        let lease = self.store.grant(left).await?;
        let key = format!("{CERTIFICATES}{}", signed.serial);
        self.store.commit(Vec::new(), vec![Op::Put { key, value: encode(ledger).into(), lease: Some(lease) }]).await?;
        Ok(())
    }
}

fn encode(ledger: &Ledger) -> Vec<u8> {
    serde_json::to_vec(ledger).expect("text and numbers always have a JSON form")
}

fn parse(entry: &Entry) -> Option<Ledger> {
    let ledger: Ledger = serde_json::from_slice(&entry.value).ok()?;
    Some(Ledger { made: entry.created, ..ledger })
}
