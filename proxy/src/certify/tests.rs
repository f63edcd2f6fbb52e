//! How a workload comes by its identity: by token, from disk after a restart, by renewal, and not at all.
//!
//! Against an authority that does what a test tells it, over real sockets and TLS.

use super::*;
use crate::config::tests::example;
use crate::discovery::fake::{Fake, authority, credentials, discovery_id};
use std::sync::Mutex;
use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use weft_identity::certificate::{Authority, to_pem};
use weft_proto::v1::authority_server;

const DEADLINE: Duration = Duration::from_secs(20);

/// Signs for whoever shows the token `good`, or asks for renewal; says how it was asked.
struct Signer {
    authority: Arc<Authority>,
    /// Whom certificates name, and how long they live.
    account: Mutex<(&'static str, Duration)>,
    asked: mpsc::Sender<&'static str>,
}

#[tonic::async_trait]
impl authority_server::Authority for Signer {
    async fn certify(&self, request: Request<CertifyRequest>) -> Result<Response<CertifyResponse>, Status> {
        let request = request.into_inner();
        let proof = match request.proof {
            Some(Proof::Renewal(true)) => "renewal",
            Some(Proof::JoinToken(token)) if token == "good" => "token",
            Some(Proof::ServiceAccountToken(token)) if token.starts_with("account") => "account",
            _ => "bad",
        };
        self.asked.send(proof).await.unwrap();
        if proof == "bad" {
            return Err(Status::unauthenticated("the join token is not known"));
        }
        let (account, lifetime) = *self.account.lock().unwrap();
        let id = SpiffeId::new("weft.local", "shop", account).unwrap();
        let signed = self.authority.sign(&request.csr, &id, SystemTime::now(), lifetime).unwrap();
        Ok(Response::new(CertifyResponse {
            chain: vec![signed.leaf.to_vec()],
            trust_anchors: vec![self.authority.certificate().to_vec()],
            identity: id.to_string(),
            not_after: 0,
        }))
    }
}

struct World {
    dir: tempfile::TempDir,
    replica: Fake,
    asked: mpsc::Receiver<&'static str>,
    readiness: Readiness,
}

impl World {
    async fn new(account: &'static str, lifetime: Duration, token: &str) -> Self {
        let authority = authority();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("anchors"), to_pem(&[authority.certificate().clone()])).unwrap();
        std::fs::write(dir.path().join("token"), token).unwrap();
        let shown = credentials(&authority, "weft", "weft-discovery");
        let (sender, asked) = mpsc::channel(64);
        let signer = Signer { authority, account: Mutex::new((account, lifetime)), asked: sender };
        let service = authority_server::AuthorityServer::new(signer);
        let replica = Fake::serving(&shown, None, Routes::new(service)).await;
        Self { dir, replica, asked, readiness: Readiness::default() }
    }

    fn certifier(&self, token: bool) -> Certifier {
        let join_token_file = token.then(|| self.dir.path().join("token"));
        self.certifier_of(Config { join_token_file, ..example() })
    }

    fn certifier_of(&self, config: Config) -> Certifier {
        let trust_anchors = self.dir.path().join("anchors");
        let config = Config { service_account: "cart".to_owned(), trust_anchors, ..config };
        let discovery = Discovery::at(vec![self.replica.url()], discovery_id());
        let directory = StateDir::open(&self.dir.path().join("state")).unwrap();
        let mut registry = Registry::new("weft-proxy", "1.2.3");
        Certifier::new(&config, discovery, directory, Trust::default(), &self.readiness, &mut registry).unwrap()
    }

    async fn asked(&mut self) -> &'static str {
        tokio::time::timeout(DEADLINE, self.asked.recv()).await.expect("nobody asked").unwrap()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_token_brings_an_identity_which_a_restart_finds_again() {
    let mut world = World::new("cart", HOUR, " good\n").await;
    let certifier = world.certifier(true);
    assert_eq!(world.readiness.unmet(), [("identity", "no certificate yet".to_owned())]);
    let identity = certifier.obtain().await.unwrap();
    assert_eq!(identity.credentials().id.to_string(), "spiffe://weft.local/ns/shop/sa/cart");
    assert_eq!(world.asked().await, "token");
    assert!(world.readiness.unmet().is_empty());
    let again = world.certifier(false).obtain().await.unwrap();
    assert_eq!(again.credentials().chain, identity.credentials().chain);
    assert!(world.asked.try_recv().is_err(), "the stored one serves");
}

#[tokio::test]
async fn a_refused_token_is_tried_again_until_it_is_replaced() {
    let mut world = World::new("cart", HOUR, "bad").await;
    let certifier = world.certifier(true);
    let token = world.dir.path().join("token");
    let waiting = tokio::spawn(async move { certifier.obtain().await });
    assert_eq!((world.asked().await, world.asked().await), ("bad", "bad"));
    let (_, reason) = world.readiness.unmet().remove(0);
    assert!(reason.contains("the join token is not known"), "{reason}");
    std::fs::write(token, "good").unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_identity_that_is_not_ours_is_not_taken() {
    let mut world = World::new("search", HOUR, "good").await;
    let certifier = world.certifier(true);
    let token = world.dir.path().join("token");
    let error = certifier.by_token(&Token::Join(token), &certifier.anchors).await.unwrap_err().to_string();
    assert_eq!(world.asked().await, "token");
    let both = ["spiffe://weft.local/ns/shop/sa/search", "spiffe://weft.local/ns/shop/sa/cart"];
    assert!(both.iter().all(|id| error.contains(id)), "{error}");
    assert!(world.certifier(false).obtain().await.is_err(), "nothing was stored");
}

#[tokio::test]
async fn renewal_needs_no_token_and_comes_at_half_of_what_is_left() {
    // So short that it is due at once: certificates begin 5 minutes before they are signed.
    let mut world = World::new("cart", Duration::from_secs(4), "good").await;
    let certifier = world.certifier(true);
    let identity = certifier.obtain().await.unwrap();
    let first = identity.credentials();
    std::fs::remove_file(world.dir.path().join("token")).unwrap();
    let keeping = tokio::spawn(certifier.keep(identity.clone()));
    assert_eq!((world.asked().await, world.asked().await), ("token", "renewal"));
    let renewed = std::time::Instant::now();
    assert_eq!(world.asked().await, "renewal");
    assert!(renewed.elapsed() > Duration::from_secs(1), "renewed again after {:?}", renewed.elapsed());
    assert!(identity.credentials().chain != first.chain);
    keeping.abort();
}

#[tokio::test]
async fn a_service_account_proves_itself_anew_by_what_the_file_holds_then() {
    let mut world = World::new("cart", Duration::from_secs(4), "account-1").await;
    let token = world.dir.path().join("token");
    let certifier = world.certifier_of(Config { token_file: Some(token.clone()), ..example() });
    let identity = certifier.obtain().await.unwrap();
    let first = identity.credentials();
    std::fs::write(&token, "gone").unwrap();
    let keeping = tokio::spawn(certifier.keep(identity.clone()));
    assert_eq!((world.asked().await, world.asked().await), ("account", "bad"), "never by the certificate");
    assert!(identity.credentials().chain == first.chain, "the present one stays in use");
    std::fs::write(&token, "account-2").unwrap();
    while world.asked().await == "bad" {}
    keeping.abort();
}

#[test]
fn without_any_proof_waiting_would_be_in_vain() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async {
        let world = World::new("cart", HOUR, "good").await;
        world.certifier(false).obtain().await.unwrap_err()
    });
    assert!(matches!(error, CertifyError::NoProof));
}
