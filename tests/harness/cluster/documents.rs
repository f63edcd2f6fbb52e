//! YAML documents to the API server, as `kubectl apply --server-side` would bring them.
//!
//! Strict: the server refuses a field it does not know. A document that is refused is an error with the server's own
//! words, which name the field. Definitions are in use when this returns.

use super::{Api, Channel, binaries};
use anyhow::{Context, bail, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::discovery::Scope;
use serde::Deserialize;
use std::path::Path;
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until_async;

/// How long the server may take until it serves a new definition.
const ESTABLISHED: Duration = Duration::from_secs(20);

/// What becomes of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They are kept.
    Kept,
    /// They are judged like those that are kept, admission included, and forgotten.
    Tried,
}

/// The documents of `yaml`, without those that are empty.
pub fn parse(yaml: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let mut documents = vec![];
    for (number, document) in serde_yaml_ng::Deserializer::from_str(yaml).enumerate() {
        let value = serde_json::Value::deserialize(document).with_context(|| format!("document {number}"))?;
        if !value.is_null() {
            let object = serde_json::from_value(value).with_context(|| format!("document {number}"))?;
            documents.push(object);
        }
    }
    Ok(documents)
}

impl Api {
    /// Applies every document of `yaml`, in order; those of namespaced kinds that name none go into `default`.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<Vec<DynamicObject>> {
        self.bring(yaml, Fate::Kept).await
    }

    /// Whether the server would take every document of `yaml`.
    pub async fn dry_run(&self, yaml: &str) -> anyhow::Result<Vec<DynamicObject>> {
        self.bring(yaml, Fate::Tried).await
    }

    async fn bring(&self, yaml: &str, fate: Fate) -> anyhow::Result<Vec<DynamicObject>> {
        let client = self.client().await?;
        let mut kept = vec![];
        for object in parse(yaml)? {
            let what = format!("{} {}", kind(&object), object.metadata.name.as_deref().unwrap_or("without a name"));
            kept.push(bring(&client, object, fate).await.with_context(|| what)?);
        }
        Ok(kept)
    }

    /// Applies the definitions in the `.yaml` files of a directory and waits until they are served.
    pub async fn install(&self, directory: &Path) -> anyhow::Result<()> {
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .with_context(|| directory.display().to_string())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        files.sort();
        ensure!(!files.is_empty(), "{} holds no definitions", directory.display());
        let mut names = vec![];
        for file in files {
            let text = std::fs::read_to_string(&file)?;
            let applied = self.apply(&text).await.with_context(|| file.display().to_string())?;
            let definitions = applied.into_iter().filter(|object| kind(object) == "CustomResourceDefinition");
            names.extend(definitions.filter_map(|object| object.metadata.name));
        }
        self.established(&names).await
    }

    /// Applies the Gateway API's definitions.
    pub async fn install_gateway_api(&self, channel: Channel) -> anyhow::Result<()> {
        let channel = match channel {
            Channel::Standard => "standard",
            Channel::Experimental => "experimental",
        };
        self.install(&binaries::gateway_api()?.join(channel)).await
    }

    async fn established(&self, names: &[String]) -> anyhow::Result<()> {
        let definitions = kube::Api::<CustomResourceDefinition>::all(self.client().await?);
        for name in names {
            let look = || async {
                let status = definitions.get(name).await.ok()?.status?;
                let mut conditions = status.conditions.into_iter().flatten();
                conditions.any(|c| c.type_ == "Established" && c.status == "True").then_some(())
            };
            poll_until_async(Instant::now() + ESTABLISHED, &format!("{name} to be served"), look).await?;
        }
        Ok(())
    }
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("a document without a kind", |types| &types.kind)
}

async fn bring(client: &kube::Client, object: DynamicObject, fate: Fate) -> anyhow::Result<DynamicObject> {
    let Some(types) = &object.types else { bail!("apiVersion and kind are missing") };
    let name = object.metadata.name.clone().context("metadata.name is missing")?;
    let kind = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = kube::discovery::pinned_kind(client, &kind).await?;
    let api = match (capabilities.scope, &object.metadata.namespace) {
        (Scope::Cluster, _) => kube::Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => kube::Api::namespaced_with(client.clone(), namespace, &resource),
        (Scope::Namespaced, None) => kube::Api::namespaced_with(client.clone(), "default", &resource),
    };
    let params = PatchParams {
        dry_run: fate == Fate::Tried,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("weft-tests").force()
    };
    Ok(api.patch(&name, &params, &Patch::Apply(&object)).await?)
}
