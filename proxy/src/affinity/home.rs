//! What session tokens call an endpoint.
//!
//! Hashes, so that a token has the same length whatever names there are. The same in every proxy and every version.

use sha2::{Digest, Sha256};
use weft_model::ServiceName;

/// What tokens call an endpoint: a hash of its service and one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Home {
    pub service: [u8; 8],
    pub endpoint: [u8; 8],
}

impl Home {
    pub(super) const BYTES: usize = 16;

    /// Of endpoint `id` of `service`.
    pub fn of(service: &ServiceName, id: &str) -> Self {
        Self { service: hash(&[&service.namespace, &service.name]), endpoint: hash(&[id]) }
    }

    pub(super) fn read(bytes: [u8; Self::BYTES]) -> Self {
        let half = |from: usize| std::array::from_fn(|n| bytes[from + n]);
        Self { service: half(0), endpoint: half(8) }
    }

    pub(super) fn bytes(self) -> [u8; Self::BYTES] {
        std::array::from_fn(|n| if n < 8 { self.service[n] } else { self.endpoint[n - 8] })
    }
}

/// 64 bits, the same in every version of the proxy.
fn hash(parts: &[&str]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        // A separator that no name contains, so that no two lists read the same.
        hash.update([0]);
    }
    let hash = hash.finalize();
    std::array::from_fn(|n| hash[n])
}
