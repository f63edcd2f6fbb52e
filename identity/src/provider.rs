//! The one cryptography provider of the process: aws-lc-rs, named explicitly.
//!
//! Under everything else in this crate. It cannot fail: without randomness from the system the provider aborts.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::{Arc, LazyLock};

/// The provider that every configuration and every verification uses.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    &PROVIDER
}

/// Fills `bytes` from the provider's random source.
pub(crate) fn random(bytes: &mut [u8]) {
    provider().secure_random.fill(bytes).expect("the provider aborts the process when the system has no randomness");
}
