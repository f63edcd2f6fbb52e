//! A workload's private key and the signing request that proves its possession.
//!
//! Made once per certificate; the key never leaves the process but for its own disk. The request names nobody.

use super::fault::{CertificateError, malformed};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;

/// A workload's private key: ECDSA P-256.
pub struct Key(KeyPair);

impl Key {
    pub fn generate() -> Self {
        Self(new_key_pair())
    }

    /// A PKCS #10 signing request, DER. It names nobody: the authority decides the name.
    pub fn csr(&self) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request =
            params.serialize_request(&self.0).expect("a request without names has nothing that could be refused");
        request.der().to_vec()
    }

    /// The key for a TLS configuration.
    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }

    /// PKCS #8 PEM. A file that holds it is for its owner's eyes only (mode 0600).
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        KeyPair::from_pem(pem).map(Self).map_err(|error| malformed("private key", error))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

pub(super) fn new_key_pair() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .expect("generating a P-256 key fails only without a random source, and then the provider aborts")
}
