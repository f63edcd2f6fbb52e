//! Tokens of Kubernetes service accounts: whom one stands for, as the API server says (TokenReview).
//!
//! Asked for every proof and never remembered: an account or pod that was deleted is refused from then on. Bounded in time
//! and number, since anybody who reaches discovery may send tokens. What the API server does not vouch for is refused.

use super::ledger::{OWN_ACCOUNT, OWN_NAMESPACE};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weft_model::SpiffeId;

/// How long one review may take, waiting for its turn included: less than proxies wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Reviews under way at the same time.
const AT_ONCE: usize = 16;
/// Tokens have one to two kilobytes; nobody is asked about longer ones.
const LONGEST: usize = 16 * 1024;
/// What the user name of a service account starts with; namespace and name follow.
const ACCOUNT: &str = "system:serviceaccount:";

/// Why a token proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("service_account_token: is no token")]
    Malformed,
    #[error("the API server does not accept the token for the audience {audience}: {reason}")]
    Refused { audience: String, reason: String },
    #[error("the token is not for the audience {0}")]
    Audience(String),
    #[error("the token stands for {0:?}, which is no service account that can have an identity")]
    NoAccount(String),
    #[error("the API server did not say within {PATIENCE:?} whom the token stands for")]
    Slow,
    #[error("the API server cannot be asked whom the token stands for: {0}")]
    Unanswered(Box<kube::Error>),
}

/// Asks one cluster about tokens for one trust domain.
pub struct Reviewer {
    api: Api<TokenReview>,
    trust_domain: String,
    asking: Semaphore,
}

impl Reviewer {
    /// The audience of tokens is the trust domain.
    pub fn new(client: Client, trust_domain: &str) -> Self {
        Self { api: Api::all(client), trust_domain: trust_domain.to_owned(), asking: Semaphore::new(AT_ONCE) }
    }

    /// The identity of the account that `token` was issued to.
    pub async fn identity(&self, token: &str) -> Result<SpiffeId, ReviewError> {
        let token = token.trim();
        if token.is_empty() || token.len() > LONGEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ReviewError::Malformed);
        }
        let spec = TokenReviewSpec { audiences: Some(vec![self.trust_domain.clone()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let asked = async {
            let _turn = self.asking.acquire().await;
            self.api.create(&PostParams::default(), &review).await
        };
        let answer = timeout(PATIENCE, asked).await.map_err(|_| ReviewError::Slow)?;
        let answer = answer.map_err(|error| ReviewError::Unanswered(Box::new(error)))?;
        verdict(answer.status.unwrap_or_default(), &self.trust_domain)
    }
}

/// What follows from the API server's answer.
fn verdict(status: TokenReviewStatus, trust_domain: &str) -> Result<SpiffeId, ReviewError> {
    let audience = trust_domain.to_owned();
    if status.authenticated != Some(true) {
        let reason = status.error.filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or_else(|| "it is unknown, has expired, or is another cluster's".to_owned());
        return Err(ReviewError::Refused { audience, reason });
    }
    // A server that knows no audiences says nothing about them: then the token may be for anybody.
    if !status.audiences.is_some_and(|audiences| audiences.contains(&audience)) {
        return Err(ReviewError::Audience(audience));
    }
    let user = status.user.and_then(|user| user.username).unwrap_or_default();
    let account = user.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
    match account {
        // Discovery signs for itself; whoever else may use that name could speak for it.
        Some(own) if own == (OWN_NAMESPACE, OWN_ACCOUNT) => Err(ReviewError::NoAccount(user)),
        Some((namespace, name)) => {
            SpiffeId::new(trust_domain, namespace, name).map_err(|_| ReviewError::NoAccount(user.clone()))
        }
        None => Err(ReviewError::NoAccount(user)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::authentication::v1::UserInfo;

    fn answer(authenticated: Option<bool>, audiences: &[&str], user: &str) -> TokenReviewStatus {
        let audiences = Some(audiences.iter().map(|audience| (*audience).to_owned()).collect());
        let user = Some(UserInfo { username: Some(user.to_owned()), ..UserInfo::default() });
        TokenReviewStatus { authenticated, audiences, user, ..TokenReviewStatus::default() }
    }

    #[test]
    fn an_account_that_the_server_vouches_for_has_exactly_its_identity() {
        let id = verdict(answer(Some(true), &["weft.local"], "system:serviceaccount:shop:cart"), "weft.local");
        assert_eq!(id.unwrap().to_string(), "spiffe://weft.local/ns/shop/sa/cart");
    }

    #[test]
    fn nothing_else_has_one() {
        let cart = "system:serviceaccount:shop:cart";
        for (status, said) in [
            (TokenReviewStatus::default(), "does not accept"),
            (answer(Some(false), &["weft.local"], cart), "does not accept"),
            (answer(None, &["weft.local"], cart), "does not accept"),
            (answer(Some(true), &[], cart), "not for the audience weft.local"),
            (answer(Some(true), &["api"], cart), "not for the audience weft.local"),
            (TokenReviewStatus { audiences: None, ..answer(Some(true), &[], cart) }, "not for the audience"),
            (answer(Some(true), &["weft.local"], "kubernetes-admin"), "no service account"),
            (answer(Some(true), &["weft.local"], "system:serviceaccount:shop"), "no service account"),
            (answer(Some(true), &["weft.local"], "system:serviceaccount:shop:"), "no service account"),
            (answer(Some(true), &["weft.local"], "system:serviceaccount::cart"), "no service account"),
            (answer(Some(true), &["weft.local"], "system:serviceaccount:weft:weft-discovery"), "no service account"),
            (answer(Some(true), &["weft.local"], "x:system:serviceaccount:shop:cart"), "no service account"),
        ] {
            let refused = verdict(status, "weft.local").unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
