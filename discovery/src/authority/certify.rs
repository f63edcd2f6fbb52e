//! The `Authority` gRPC service: a proof of identity and a signing request in, a certificate out.
//!
//! Reached over TLS that only the server has to authenticate, for a first certificate is what the caller lacks. The
//! identity is the proof's and never the request's; every refusal is counted by its reason.

use super::fault::AuthorityError;
use super::ledger::Proven;
use super::review::{ReviewError, Reviewer};
use super::sign::{Asked, Authority};
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
    /// `None`: there is no Kubernetes whose accounts could prove anything.
    reviewer: Option<Reviewer>,
    metrics: Metrics,
}

impl Certify {
    pub fn new(authority: Arc<Authority>, reviewer: Option<Reviewer>, metrics: Metrics) -> Self {
        Self { authority, reviewer, metrics }
    }

    async fn certify(&self, request: Request<CertifyRequest>) -> Result<CertifyResponse, (&'static str, Status)> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let proxy = match request.proxy.as_str() {
            "" => String::new(),
            name => {
                names::subdomain(name).map_err(|e| ("malformed", Status::invalid_argument(format!("proxy: {e}"))))?
            }
        };
        let (id, proof) = self.identity(request.proof, caller).await?;
        let asked = Asked { proxy, proof, replaces: request.replaces };
        let issued = self.authority.issue(&request.csr, id, &asked).await.map_err(refused)?;
        let proxy = asked.proxy;
        tracing::info!(identity = %issued.id, proxy, "issued a certificate");
        Ok(CertifyResponse {
            chain: issued.chain.iter().map(|der| der.to_vec()).collect(),
            trust_anchors: issued.anchors.iter().map(|der| der.to_vec()).collect(),
            identity: issued.id.to_string(),
            not_after: seconds(issued.not_after),
        })
    }

    /// The identity that the proof stands for, and what kind of proof it rests on.
    async fn identity(
        &self,
        proof: Option<Proof>,
        caller: Caller,
    ) -> Result<(SpiffeId, Proven), (&'static str, Status)> {
        match proof {
            Some(Proof::JoinToken(token)) => match self.authority.redeem(&token).await {
                Ok(id) => Ok((id, Proven::Joined)),
                Err(TokenError::Store(e)) => Err(("store", store_status(e))),
                Err(e) => Err(("token", Status::unauthenticated(e.to_string()))),
            },
            Some(Proof::ServiceAccountToken(token)) => {
                let without = "service_account_token: this discovery runs without --kubernetes; give a join token";
                let reviewer = self.reviewer.as_ref().ok_or_else(|| ("token", Status::unauthenticated(without)))?;
                Ok((reviewer.identity(&token).await.map_err(unproven)?, Proven::Account))
            }
            Some(Proof::Renewal(true)) => self.renewed(caller).await,
            Some(Proof::Renewal(false)) | None => {
                let reason = "proof: missing; give a token, or renewal over a connection with a certificate";
                Err(("malformed", Status::invalid_argument(reason)))
            }
        }
    }
}

impl Certify {
    /// A certificate is renewed by itself, unless its owner has something that says it may still have one.
    async fn renewed(&self, caller: Caller) -> Result<(SpiffeId, Proven), (&'static str, Status)> {
        let none = "renewal: the connection shows no client certificate";
        let id = caller.identity.ok_or_else(|| ("no-certificate", Status::unauthenticated(none)))?;
        let serial = caller.serial.unwrap_or_default();
        match self.authority.proof_of(&serial).await {
            Ok(Proven::Joined) => Ok((id, Proven::Joined)),
            Ok(Proven::Account) => {
                let reason = "renewal: the identity has to be proven again by a service account's token";
                Err(("token", Status::unauthenticated(reason)))
            }
            Err(e) => Err(("store", store_status(e))),
        }
    }
}

fn unproven(error: ReviewError) -> (&'static str, Status) {
    match error {
        ReviewError::Slow | ReviewError::Unanswered(_) => ("kubernetes", Status::unavailable(error.to_string())),
        error => ("token", Status::unauthenticated(error.to_string())),
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
