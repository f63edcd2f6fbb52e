//! Keys, certificates and the authority that signs them.
//!
//! Stands at the start of every TLS configuration: a [`Key`] makes a signing request, the [`Authority`] in discovery signs
//! it, and key, chain and trust anchors together are [`Credentials`].

mod fault;
mod encoding;
mod key;
mod credentials;
mod issuer;
mod authority;

pub use authority::{Authority, Signed};
pub use credentials::Credentials;
pub(crate) use credentials::roots;
pub use encoding::{fingerprint, from_pem, serial, subject, to_pem, validity};
pub use fault::CertificateError;
pub use key::Key;

#[cfg(test)]
mod tests;
