//! What the injector reads and writes in the cluster: one Secret, and the `caBundle`s of one webhook configuration.
//!
//! Every write is guarded by what was read before, so that replicas that disagree never overwrite each other unseen: the
//! loser reads again. Nothing else of the cluster is touched, which is what its role allows.

use crate::keys::{Keys, KeysError};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Replicas that start together change the same object; each try after the first has seen another's change.
const TRIES: u32 = 3;

/// The Secret and the configuration, by name.
#[derive(Clone)]
pub struct Cluster {
    secrets: Api<Secret>,
    webhooks: Api<MutatingWebhookConfiguration>,
    secret: String,
    webhook: String,
}

/// What the Secret holds.
pub struct Kept {
    /// For the next write; `None`: there is no Secret.
    version: Option<String>,
    pub keys: Option<Result<Keys, KeysError>>,
}

impl Cluster {
    pub fn new(client: Client, namespace: &str, secret: &str, webhook: &str) -> Self {
        let secrets = Api::namespaced(client.clone(), namespace);
        Self { secrets, webhooks: Api::all(client), secret: secret.to_owned(), webhook: webhook.to_owned() }
    }

    /// What is kept now.
    pub async fn read(&self) -> kube::Result<Kept> {
        let Some(secret) = self.secrets.get_opt(&self.secret).await? else {
            return Ok(Kept { version: None, keys: None });
        };
        let data = secret.data.unwrap_or_default();
        let part = |name: &'static str| data.get(name).and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        // An empty Secret, as a chart may make it, holds nothing rather than something damaged.
        let keys = (!data.is_empty()).then(|| Keys::from_data(part));
        Ok(Kept { version: secret.metadata.resource_version, keys })
    }

    /// Writes `keys` in the place of `kept`; `false`: somebody else has written meanwhile.
    pub async fn write(&self, kept: Kept, keys: &Keys) -> kube::Result<bool> {
        let data = keys.to_data().into_iter().map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
        let written = match kept.version {
            None => {
                let metadata = ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() };
                let secret = Secret { metadata, data: Some(data.collect()), ..Secret::default() };
                self.secrets.create(&PostParams::default(), &secret).await
            }
            Some(version) => {
                let data: std::collections::BTreeMap<_, _> = data.collect();
                // A merge patch that names the version fails when that is not the present one, and keeps labels.
                let patch = json!({"metadata": {"resourceVersion": version}, "data": data});
                self.secrets.patch(&self.secret, &PatchParams::default(), &Patch::Merge(patch)).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that every webhook of the configuration trusts `bundle`; whether anything had to be changed.
    pub async fn publish(&self, bundle: &str) -> kube::Result<bool> {
        let mut tries = TRIES;
        loop {
            let configuration = self.webhooks.get(&self.webhook).await?;
            let Some(patch) = stale(&configuration, bundle).map_err(kube::Error::SerdeError)? else {
                return Ok(false);
            };
            tries -= 1;
            match self.webhooks.patch(&self.webhook, &PatchParams::default(), &Patch::Json::<()>(patch)).await {
                Ok(_) => return Ok(true),
                // Another replica was first: most likely with the same.
                Err(kube::Error::Api(status)) if tries > 0 && (status.is_invalid() || status.is_conflict()) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What brings the bundle of every webhook up to date, if any is not; it fails when somebody changes them meanwhile.
fn stale(configuration: &MutatingWebhookConfiguration, bundle: &str) -> serde_json::Result<Option<json_patch::Patch>> {
    let bundle = ByteString(bundle.as_bytes().to_vec());
    let webhooks = configuration.webhooks.iter().flatten().enumerate();
    let stale = webhooks.filter(|(_, webhook)| webhook.client_config.ca_bundle.as_ref() != Some(&bundle));
    let path = |index: usize| format!("/webhooks/{index}/clientConfig/caBundle");
    let mut operations: Vec<Value> =
        stale.map(|(index, _)| json!({"op": "add", "path": path(index), "value": bundle})).collect();
    if operations.is_empty() {
        return Ok(None);
    }
    let version = &configuration.metadata.resource_version;
    operations.insert(0, json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}));
    serde_json::from_value(operations.into()).map(Some)
}
