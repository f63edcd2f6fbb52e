//! The `Authority` gRPC service: a proof of identity and a signing request in, a certificate out.
//!
//! Reached over TLS that only the server has to authenticate, for a first certificate is what the caller lacks. The
//! identity is the proof's and never the request's; every refusal is counted by its reason.

use super::fault::AuthorityError;
use super::sign::Authority;
use super::token::TokenError;
use crate::metrics::{Metrics, Outcome};
use crate::rpc::{Caller, seconds, store_status};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use weft_model::{SpiffeId, names};
use weft_proto::v1::authority_server;
use weft_proto::v1::certify_request::Proof;
use weft_proto::v1::{CertifyRequest, CertifyResponse};

/// The service of one replica.
pub struct Certify {
    authority: Arc<Authority>,
    metrics: Metrics,
}

impl Certify {
    pub fn new(authority: Arc<Authority>, metrics: Metrics) -> Self {
        Self { authority, metrics }
    }

    async fn certify(&self, request: Request<CertifyRequest>) -> Result<CertifyResponse, (&'static str, Status)> {
        let renewing = Caller::of(&request).identity.clone();
        let request = request.into_inner();
        let proxy = match request.proxy.as_str() {
            "" => String::new(),
            name => {
                names::subdomain(name).map_err(|e| ("malformed", Status::invalid_argument(format!("proxy: {e}"))))?
            }
        };
        let id = self.identity(request.proof, renewing).await?;
        let issued = self.authority.issue(&request.csr, id, &proxy).await.map_err(refused)?;
        tracing::info!(identity = %issued.id, proxy, "issued a certificate");
        Ok(CertifyResponse {
            chain: issued.chain.iter().map(|der| der.to_vec()).collect(),
            trust_anchors: self.authority.anchors().iter().map(|der| der.to_vec()).collect(),
            identity: issued.id.to_string(),
            not_after: seconds(issued.not_after),
        })
    }

    /// The identity that the proof stands for.
    async fn identity(
        &self,
        proof: Option<Proof>,
        caller: Option<SpiffeId>,
    ) -> Result<SpiffeId, (&'static str, Status)> {
        match proof {
            Some(Proof::JoinToken(token)) => self.authority.redeem(&token).await.map_err(|e| match e {
                TokenError::Store(e) => ("store", store_status(e)),
                e => ("token", Status::unauthenticated(e.to_string())),
            }),
            Some(Proof::Renewal(true)) => caller.ok_or_else(|| {
                ("no-certificate", Status::unauthenticated("renewal: the connection shows no client certificate"))
            }),
            Some(Proof::Renewal(false)) | None => {
                let reason = "proof: missing; give a join token, or renewal over a connection with a certificate";
                Err(("malformed", Status::invalid_argument(reason)))
            }
        }
    }
}

fn refused(error: AuthorityError) -> (&'static str, Status) {
    match error {
        AuthorityError::Store(e) => ("store", store_status(e)),
        AuthorityError::Certificate(e) => ("malformed", Status::invalid_argument(format!("csr: {e}"))),
        e => ("internal", Status::internal(e.to_string())),
    }
}

#[tonic::async_trait]
impl authority_server::Authority for Certify {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        match Certify::certify(self, request).await {
            Ok(response) => {
                self.metrics.certify.get_or_create(&Outcome::of("issued")).inc();
                Ok(Response::new(response))
            }
            Err((outcome, status)) => {
                self.metrics.certify.get_or_create(&Outcome::of(outcome)).inc();
                tracing::warn!(outcome, reason = status.message(), "refused a certificate");
                Err(status)
            }
        }
    }
}
