//! Weft's CustomResourceDefinitions in the cluster: helm installs them once and never looks at them again, so weftctl does.
//!
//! Applied from the server's side, over whoever wrote them before, and without touching what others added to their metadata. Deleting them
//! deletes every policy there is, which is why policies can be listed first.

use super::changes::Objects;
use super::chart;
use crate::connect::cluster::{each, words};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Who applies them, for the API server's books.
const WHO: &str = "weftctl";
/// Deletion is asked about this often.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct DefinitionError {
    what: String,
    reason: String,
}

fn failed(what: impl Into<String>) -> impl FnOnce(kube::Error) -> DefinitionError {
    move |error| DefinitionError { what: what.into(), reason: words(&error) }
}

/// Brings them up to date.
pub async fn apply(client: &Client) -> Result<(), DefinitionError> {
    for (name, definition) in named() {
        patch(client, &name, &definition, false).await?;
    }
    Ok(())
}

/// As they are, and as they would be: what matters of them.
pub async fn compared(client: &Client) -> Result<(Objects, Objects), DefinitionError> {
    let known = Api::<CustomResourceDefinition>::all(client.clone());
    let (mut before, mut after) = (Objects::new(), Objects::new());
    for (name, definition) in named() {
        let there = known.get_opt(&name).await.map_err(failed(format!("get the definition {name}")))?;
        let then = patch(client, &name, &definition, true).await?;
        let key = format!("CustomResourceDefinition {name}");
        if let Some(there) = there {
            before.insert(key.clone(), told(&name, &there));
        }
        after.insert(key, told(&name, &then));
    }
    Ok((before, after))
}

fn told(name: &str, definition: &CustomResourceDefinition) -> Value {
    json!({ "kind": "CustomResourceDefinition", "metadata": { "name": name }, "spec": definition.spec })
}

async fn patch(
    client: &Client,
    name: &str,
    definition: &Value,
    dry_run: bool,
) -> Result<CustomResourceDefinition, DefinitionError> {
    let params = PatchParams { dry_run, ..PatchParams::apply(WHO).force() };
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let applied = api.patch(name, &params, &Patch::Apply(definition)).await;
    applied.map_err(failed(format!("apply the definition {name}")))
}

/// Those of Weft's definitions that are in the cluster.
pub async fn present(client: &Client) -> Result<Vec<String>, DefinitionError> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let mut present = Vec::new();
    for name in names() {
        let found = api.get_opt(&name).await.map_err(failed(format!("get the definition {name}")))?;
        present.extend(found.map(|_| name));
    }
    Ok(present)
}

/// `Kind namespace/name` of every object of these definitions.
pub async fn policies(client: &Client, present: &[String]) -> Result<Vec<String>, DefinitionError> {
    let mut found = Vec::new();
    for (name, definition) in named().into_iter().filter(|(name, _)| present.contains(name)) {
        let resource = resource(&definition);
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        let see = |object: &DynamicObject| {
            let metadata = &object.metadata;
            let [namespace, name] =
                [&metadata.namespace, &metadata.name].map(|text| text.as_deref().unwrap_or_default());
            found.push(format!("{} {namespace}/{name}", resource.kind));
        };
        each(&api, see).await.map_err(failed(format!("list {name}")))?;
    }
    Ok(found)
}

/// Removes them, and with them every policy, and waits until they are gone.
pub async fn delete(client: &Client, names: &[String], wait: Duration) -> Result<(), DefinitionError> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    for name in names {
        match api.delete(name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            answer => drop(answer.map_err(failed(format!("delete the definition {name}")))?),
        }
    }
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline && !present(client).await?.is_empty() {
        sleep(LOOK).await;
    }
    Ok(())
}

/// What the chart's are called.
pub fn names() -> Vec<String> {
    named().into_iter().map(|(name, _)| name).collect()
}

/// The chart's, by name.
fn named() -> Vec<(String, Value)> {
    let definitions = chart::definitions().into_iter();
    definitions.filter_map(|one| Some((one["metadata"]["name"].as_str()?.to_owned(), one))).collect()
}

fn resource(definition: &Value) -> ApiResource {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, version) = (text(&spec["group"]), text(&spec["versions"][0]["name"]));
    ApiResource {
        api_version: format!("{group}/{version}"),
        kind: text(&spec["names"]["kind"]),
        plural: text(&spec["names"]["plural"]),
        group,
        version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_says_how_its_objects_are_listed() {
        let all = named();
        let (_, policies) = all.iter().find(|(name, _)| name.starts_with("traffic")).unwrap();
        let resource = resource(policies);
        assert_eq!((resource.kind.as_str(), resource.plural.as_str()), ("TrafficPolicy", "trafficpolicies"));
        assert_eq!((resource.api_version.as_str(), resource.version.as_str()), ("weft.dev/v1alpha1", "v1alpha1"));
    }
}
