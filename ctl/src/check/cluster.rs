//! What only Kubernetes knows: which pods should have a sidecar and have none; and, before the mesh is there, whether it could be.
//!
//! Whether a pod should have one is the injector's own decision, asked again. What the API server does not let us see is a
//! finding that says so, never an empty list.

use super::finding::Finding;
use crate::connect::cluster::{Flags, client_of_cluster, words};
use crate::release::{definitions, namespace, pods};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use std::collections::BTreeSet;
use std::time::Duration;
use weft_inject::decide::lacks_sidecar;
use weft_inject::names::INJECT;

/// The oldest minor version of 1 that the chart takes.
const OLDEST: u32 = 29;

/// The pods that slipped through injection: they were made before the namespace was labelled, or while the webhook was away.
pub async fn without_sidecar(client: &Client, mesh_namespace: &str) -> Result<Vec<String>, String> {
    let labelled = ListParams::default().labels(&format!("{INJECT}=enabled"));
    let failed = |error: kube::Error| words(&error);
    let mut missing = BTreeSet::new();
    for namespace in namespace::asking(client).await.map_err(failed)? {
        let pods =
            Api::<Pod>::namespaced(client.clone(), &namespace).list(&ListParams::default()).await.map_err(failed)?;
        missing.extend(pods.items.iter().filter_map(|pod| lacking(pod, mesh_namespace, Some("enabled"))));
    }
    let asking = Api::<Pod>::all(client.clone()).list(&labelled).await.map_err(failed)?;
    missing.extend(asking.items.iter().filter_map(|pod| lacking(pod, mesh_namespace, None)));
    Ok(missing.into_iter().collect())
}

/// `namespace/name` of a pod that lives and should have a sidecar. `label`: its namespace's.
fn lacking(pod: &Pod, mesh_namespace: &str, label: Option<&str>) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref()?;
    let lacks = pods::lives(pod)
        && lacks_sidecar(
            mesh_namespace,
            weft_inject::Namespace { name: namespace, label },
            &serde_json::to_value(pod).ok()?,
        );
    lacks.then(|| pods::name(pod))
}

/// What was found of them.
pub fn injection(found: &Result<Vec<String>, String>) -> Finding {
    const WHAT: &str = "every pod that is to have a sidecar has one";
    match found {
        Ok(missing) => Finding::of(
            "injection",
            WHAT,
            missing.iter().cloned(),
            "they were made before their namespace asked for it, or while the injector was away: make them anew \
             (kubectl rollout restart)",
        ),
        Err(reason) => {
            let advice = "weftctl needs the rights to list namespaces and pods everywhere to see this";
            Finding::of("injection", WHAT, [reason.clone()], advice).mildly()
        }
    }
}

/// Whether the mesh could be installed.
pub async fn before(flags: &Flags, timeout: Duration) -> Vec<Finding> {
    const ADVICE: &str = "see the kube config, --kubeconfig and --context, and whether the API server runs";
    let client = match client_of_cluster(flags, timeout).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::of("api", "the API server", [error.to_string()], ADVICE)],
    };
    let version = match client.apiserver_version().await {
        Ok(version) => version,
        Err(error) => return vec![Finding::of("api", "the API server answers", [words(&error)], ADVICE)],
    };
    let minor: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    let old = version.major == "1" && minor.parse().is_ok_and(|minor: u32| minor < OLDEST);
    let old = old.then(|| format!("it is {}", version.git_version));
    vec![
        Finding::of("api", format!("the API server answers ({})", version.git_version), [], ""),
        Finding::of(
            "version",
            format!("it is 1.{OLDEST} or newer"),
            old,
            "upgrade the cluster: sidecars need that version",
        ),
        rights(&client, &flags.mesh_namespace).await,
        definitions(&client).await,
        gateway(&client).await,
    ]
}

/// What `helm install` makes: group, resource, and whether it is in the mesh's namespace.
const MADE: [(&str, &str, bool); 14] = [
    ("", "namespaces", false),
    ("apiextensions.k8s.io", "customresourcedefinitions", false),
    ("rbac.authorization.k8s.io", "clusterroles", false),
    ("rbac.authorization.k8s.io", "clusterrolebindings", false),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", false),
    ("rbac.authorization.k8s.io", "roles", true),
    ("rbac.authorization.k8s.io", "rolebindings", true),
    ("", "serviceaccounts", true),
    ("", "secrets", true),
    ("", "services", true),
    ("apps", "deployments", true),
    ("apps", "statefulsets", true),
    ("policy", "poddisruptionbudgets", true),
    ("networking.k8s.io", "networkpolicies", true),
];

async fn rights(client: &Client, namespace: &str) -> Finding {
    const ADVICE: &str = "have somebody with these rights install the mesh, or ask for them";
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let mut missing = Vec::new();
    for (group, resource, inside) in MADE {
        let resource_attributes = Some(ResourceAttributes {
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            verb: Some("create".to_owned()),
            namespace: inside.then(|| namespace.to_owned()),
            ..ResourceAttributes::default()
        });
        let spec = SelfSubjectAccessReviewSpec { resource_attributes, ..SelfSubjectAccessReviewSpec::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        match reviews.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => {}
            Ok(_) => missing
                .push(format!("create {resource}{}", if inside { format!(" in {namespace}") } else { String::new() })),
            Err(error) => return Finding::of("rights", "you may install the mesh", [words(&error)], ADVICE),
        }
    }
    Finding::of("rights", format!("you may install the mesh ({} rights)", MADE.len()), missing, ADVICE)
}

async fn definitions(client: &Client) -> Finding {
    const ADVICE: &str = "some of them were deleted: an installation makes them anew";
    let ours = definitions::names();
    match absent(client, &ours).await {
        Err(reason) => {
            Finding::of("definitions", "Weft's definitions", [reason], "you need the right to get definitions")
        }
        Ok(absent) if absent.len() == ours.len() => {
            Finding::of("definitions", "Weft's definitions are not there yet: they come with the chart", [], "")
        }
        Ok(absent) => Finding::of(
            "definitions",
            "Weft's definitions are there: weftctl brings them up to date, helm leaves them as they are",
            absent,
            ADVICE,
        )
        .mildly(),
    }
}

async fn gateway(client: &Client) -> Finding {
    const THEIRS: [&str; 3] = [
        "httproutes.gateway.networking.k8s.io",
        "grpcroutes.gateway.networking.k8s.io",
        "referencegrants.gateway.networking.k8s.io",
    ];
    const ADVICE: &str =
        "without them there are no routes; the rest works. Install the standard channel of the Gateway API";
    let absent = absent(client, &THEIRS).await.unwrap_or_else(|reason| vec![reason]);
    Finding::of("gateway-api", "the Gateway API's definitions are there", absent, ADVICE).mildly()
}

async fn absent(client: &Client, names: &[impl AsRef<str>]) -> Result<Vec<String>, String> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let mut absent = Vec::new();
    for name in names {
        if definitions.get_opt(name.as_ref()).await.map_err(|error| words(&error))?.is_none() {
            absent.push(name.as_ref().to_owned());
        }
    }
    Ok(absent)
}
