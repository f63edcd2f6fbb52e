//! What discovery says about whom to trust, and what this proxy has put in force: carried between the stream and the certificate's keeper.
//!
//! Neither waits for the other: each side leaves its latest word, the other takes it up when it can. Nothing here is checked; what is told
//! counts only once `certify` has found that it fits the certificate in use.

use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use tokio::sync::watch;
use weft_identity::certificate::{Credentials, fingerprint};

/// Discovery's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Every one is to be trusted, and no other.
    pub anchors: Vec<CertificateDer<'static>>,
    /// The one that new certificates lead to.
    pub issuing: CertificateDer<'static>,
}

/// The proxy's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Of the certificate.
    pub serial: String,
    /// Fingerprints of the anchors.
    pub anchors: Vec<String>,
}

/// Both; clones share them.
#[derive(Debug, Clone)]
pub struct Trust {
    told: watch::Sender<Option<Arc<Told>>>,
    in_force: watch::Sender<Option<InForce>>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { told: watch::Sender::new(None), in_force: watch::Sender::new(None) }
    }
}

impl Trust {
    /// Discovery said this.
    pub fn tell(&self, told: Told) {
        self.told.send_if_modified(|present| {
            let news = present.as_deref() != Some(&told);
            if news {
                *present = Some(Arc::new(told));
            }
            news
        });
    }

    /// What discovery says.
    pub fn told(&self) -> watch::Receiver<Option<Arc<Told>>> {
        self.told.subscribe()
    }

    /// New connections are made under these credentials.
    pub fn put_in_force(&self, credentials: &Credentials) {
        let anchors = credentials.anchors.iter().map(fingerprint).collect();
        self.in_force.send_replace(Some(InForce { serial: credentials.serial(), anchors }));
    }

    /// What new connections are made under.
    pub fn in_force(&self) -> watch::Receiver<Option<InForce>> {
        self.in_force.subscribe()
    }
}
