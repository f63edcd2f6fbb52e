//! What a proxy is told of the trust anchors, and its word that it has put them in force.
//!
//! The word goes into the ledger, for that is what a rotation of the root waits for. Beside the stream, which never waits for the store; a
//! store that is away is tried again until a later word or the stream's end makes this one worthless.

use crate::authority::{Authority, Trust};
use crate::rpc::Caller;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use weft_model::SpiffeId;
use weft_proto::v1;
use weft_proto::v1::subscribe_response::Body;

const AGAIN: Duration = Duration::from_secs(1);

/// The message that says whom to trust.
pub fn told(trust: &Trust) -> Body {
    let anchors = trust.anchors().iter().map(|anchor| anchor.to_vec()).collect();
    Body::TrustAnchors(v1::TrustAnchors { anchors, issuing: trust.issuer.certificate().to_vec() })
}

/// Writes down what one proxy says. Ends with the stream.
pub struct Confirmations {
    authority: Arc<Authority>,
    identity: Option<SpiffeId>,
    writing: Option<AbortHandle>,
}

impl Confirmations {
    pub fn of(authority: Arc<Authority>, caller: &Caller) -> Self {
        Self { authority, identity: caller.identity.clone(), writing: None }
    }

    /// The latest word counts.
    pub fn heard(&mut self, said: v1::Trusting) {
        self.stop();
        let Some(identity) = self.identity.clone() else { return };
        let authority = self.authority.clone();
        let writing = tokio::spawn(async move {
            while let Err(error) = authority.confirm(&identity, &said.serial, said.anchors.clone()).await {
                tracing::debug!(%identity, %error, "cannot write down which certificate is used; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        });
        self.writing = Some(writing.abort_handle());
    }

    fn stop(&mut self) {
        if let Some(writing) = self.writing.take() {
            writing.abort();
        }
    }
}

impl Drop for Confirmations {
    fn drop(&mut self) {
        self.stop();
    }
}
