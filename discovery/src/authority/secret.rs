//! Keeps the Secret that a cluster's operators see equal to the trust record: `ca.crt`, and after a rotation `tls.crt` and `tls.key`.
//!
//! What the injector gives to new pods, and what the next discovery brings, stands there. The store decides, the Secret follows; writes are
//! guarded by the version that was read. While it cannot be written, everything else goes on, and it is tried again.

use super::sign::Authority;
use super::trust::Trust;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use weft_identity::certificate::{from_pem, to_pem};
use weft_model::names::{label, subdomain};

/// It is looked at this often, whoever may have changed it.
const LOOK: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// `NAMESPACE/NAME` of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName {
    namespace: String,
    name: String,
}

impl FromStr for SecretName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| format!("{text:?} is not NAMESPACE/NAME"))?;
        let namespace = label(namespace).map_err(|error| format!("namespace: {error}"))?;
        Ok(Self { namespace, name: subdomain(name).map_err(|error| format!("name: {error}"))? })
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Looks after the Secret until told to end.
pub async fn keep(authority: Arc<Authority>, client: Client, name: SecretName, shutdown: CancellationToken) {
    let api: Api<Secret> = Api::namespaced(client, &name.namespace);
    let mut trust = authority.watch();
    let mut warned = false;
    loop {
        let present = trust.borrow_and_update().clone();
        let kept = tokio::time::timeout(PATIENCE, once(&api, &name.name, &present)).await;
        let pause = match kept.map_err(|_| "the API server does not answer in time".to_owned()) {
            Ok(Ok(written)) => {
                if written {
                    tracing::info!(secret = %name, "the Secret has the present trust anchors");
                }
                warned = false;
                LOOK
            }
            // Another replica was faster.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => AGAIN,
            Ok(Err(error)) => {
                said(&mut warned, &name, &error.to_string());
                AGAIN
            }
            Err(error) => {
                said(&mut warned, &name, &error);
                AGAIN
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            changed = trust.changed() => if changed.is_err() { return },
        }
    }
}

/// Once for each trouble, however often it is met.
fn said(warned: &mut bool, name: &SecretName, error: &str) {
    if !std::mem::replace(warned, true) {
        tracing::warn!(secret = %name, error, "cannot bring the Secret up to date; trying again");
    }
}

/// Whether it had to be written.
async fn once(api: &Api<Secret>, name: &str, trust: &Trust) -> Result<bool, kube::Error> {
    let secret = api.get(name).await?;
    let missing = missing(&secret.data.unwrap_or_default(), trust);
    if missing.is_empty() {
        return Ok(false);
    }
    let patch = json!({ "metadata": { "resourceVersion": secret.metadata.resource_version }, "stringData": missing });
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(true)
}

/// What is to be written. Certificates are compared, not texts: one that was brought stays as it was written.
fn missing(data: &BTreeMap<String, ByteString>, trust: &Trust) -> BTreeMap<&'static str, String> {
    let has = |key: &str| data.get(key).and_then(|bytes| from_pem(std::str::from_utf8(&bytes.0).ok()?).ok());
    let mut missing = BTreeMap::new();
    let anchors = trust.anchors();
    let same =
        has("ca.crt").is_some_and(|all| all.len() == anchors.len() && anchors.iter().all(|one| all.contains(one)));
    if !same {
        missing.insert("ca.crt", to_pem(&anchors));
    }
    let signing = trust.issuer.intermediates().first().unwrap_or(trust.issuer.certificate());
    if has("tls.crt").is_none_or(|chain| chain.first() != Some(signing)) {
        let (certificate, key) = trust.issuer.to_pem();
        missing.insert("tls.crt", certificate);
        missing.insert("tls.key", key);
    }
    missing
}
