//! What tests write again and again: namespaces, accounts, their tokens, pods as a kubelet would report them, EndpointSlices.
//!
//! Without a kubelet and controllers nobody else does. Everything goes through the API server, which refuses what a cluster
//! would refuse. Without a kubelet a pod also goes at once or never: [`Api::delete_pod`] gives it no time.

use super::Api;
use anyhow::Context;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A pod that runs, as far as the API server knows.
#[derive(Debug, Clone)]
pub struct TestPod {
    pub namespace: String,
    pub name: String,
    /// Its service account.
    pub account: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// The first is the pod's own, the others of other families.
    pub addresses: Vec<IpAddr>,
    pub ready: bool,
    pub node: String,
    /// Names; each has an image that is never pulled.
    pub containers: Vec<String>,
}

impl TestPod {
    /// A ready pod with one container `app`, on the node `node-0`, for the account `default`.
    pub fn new(namespace: &str, name: &str, address: impl Into<IpAddr>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            account: "default".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            addresses: vec![address.into()],
            ready: true,
            node: "node-0".to_owned(),
            containers: vec!["app".to_owned()],
        }
    }

    pub fn account(mut self, account: &str) -> Self {
        self.account = account.to_owned();
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// What the injector leaves on a pod that it put the sidecar into.
    pub fn meshed(mut self) -> Self {
        self.annotations.insert("weft.dev/injected".to_owned(), "test".to_owned());
        self.containers.push("weft-proxy".to_owned());
        self
    }

    pub fn unready(mut self) -> Self {
        self.ready = false;
        self
    }

    /// The pod as whoever creates it writes it.
    pub fn document(&self) -> Value {
        let container = |name: &String| json!({ "name": name, "image": "test.invalid/none:v1" });
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": self.labels, "annotations": self.annotations,
            },
            "spec": {
                "serviceAccountName": self.account,
                "nodeName": self.node,
                "containers": self.containers.iter().map(container).collect::<Vec<_>>(),
            },
        })
    }

    /// What the kubelet would report.
    pub fn status(&self) -> Value {
        let word = if self.ready { "True" } else { "False" };
        let addresses: Vec<Value> = self.addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status });
        json!({
            "phase": "Running",
            "hostIP": "10.77.0.1",
            "podIP": self.addresses.first(),
            "podIPs": addresses,
            "conditions": [
                condition("PodScheduled", "True"), condition("Initialized", "True"),
                condition("ContainersReady", word), condition("Ready", word),
            ],
        })
    }
}

impl Api {
    /// Makes a namespace with these labels and the account `default`, as the controllers would.
    pub async fn namespace(&self, name: &str, labels: &[(&str, &str)]) -> anyhow::Result<()> {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let namespace = json!({ "metadata": { "name": name, "labels": labels } });
        let api = kube::Api::<Namespace>::all(self.client().await?);
        let namespace = serde_json::from_value(namespace)?;
        api.create(&PostParams::default(), &namespace).await.with_context(|| format!("namespace {name}"))?;
        self.account(name, "default").await
    }

    /// Makes a service account; one that is there, as a controller made it, is left as it is.
    pub async fn account(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let api = kube::Api::<ServiceAccount>::namespaced(self.client().await?, namespace);
        let account: ServiceAccount = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name },
        }))?;
        let made = api.patch(name, &PatchParams::apply("weft-tests"), &Patch::Apply(&account)).await;
        made.with_context(|| format!("service account {namespace}/{name}")).map(drop)
    }

    /// An hour's token of a service account for these audiences; none: the API server's own.
    pub async fn token(&self, namespace: &str, account: &str, audiences: &[&str]) -> anyhow::Result<String> {
        self.issue(namespace, account, audiences, None).await
    }

    /// The token that the kubelet would give a pod: it ends with the pod.
    pub async fn token_of(&self, pod: &TestPod, audiences: &[&str]) -> anyhow::Result<String> {
        let api = kube::Api::<Pod>::namespaced(self.client().await?, &pod.namespace);
        let uid = api.get(&pod.name).await?.metadata.uid;
        let (api_version, kind, name) = (Some("v1".to_owned()), Some("Pod".to_owned()), Some(pod.name.clone()));
        let bound = BoundObjectReference { api_version, kind, name, uid };
        self.issue(&pod.namespace, &pod.account, audiences, Some(bound)).await
    }

    async fn issue(
        &self,
        namespace: &str,
        account: &str,
        audiences: &[&str],
        bound_object_ref: Option<BoundObjectReference>,
    ) -> anyhow::Result<String> {
        let api = kube::Api::<ServiceAccount>::namespaced(self.client().await?, namespace);
        let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let spec = TokenRequestSpec { audiences, expiration_seconds: Some(3600), bound_object_ref };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = api.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("a token of {namespace}/{account}"))?;
        Ok(answer.status.context("a token request without a status")?.token)
    }

    /// Creates a pod and reports its status.
    pub async fn pod(&self, pod: &TestPod) -> anyhow::Result<()> {
        let api = kube::Api::<Pod>::namespaced(self.client().await?, &pod.namespace);
        let made = api.create(&PostParams::default(), &serde_json::from_value(pod.document())?).await;
        made.with_context(|| format!("pod {}/{}", pod.namespace, pod.name))?;
        self.pod_status(pod).await
    }

    /// Reports the status of a pod that exists.
    pub async fn pod_status(&self, pod: &TestPod) -> anyhow::Result<()> {
        let api = kube::Api::<Pod>::namespaced(self.client().await?, &pod.namespace);
        let patch = Patch::Merge(json!({ "status": pod.status() }));
        let reported = api.patch_status(&pod.name, &PatchParams::default(), &patch).await;
        reported.with_context(|| format!("status of pod {}/{}", pod.namespace, pod.name)).map(drop)
    }

    /// Deletes a pod at once: there is no kubelet to end it in its own time.
    pub async fn delete_pod(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let api = kube::Api::<Pod>::namespaced(self.client().await?, namespace);
        let deleted = api.delete(name, &DeleteParams::default().grace_period(0)).await;
        deleted.with_context(|| format!("delete pod {namespace}/{name}")).map(drop)
    }

    /// Creates or replaces an EndpointSlice.
    pub async fn slice(&self, slice: &EndpointSlice) -> anyhow::Result<()> {
        let namespace = slice.metadata.namespace.as_deref().unwrap_or("default");
        let name = slice.metadata.name.as_deref().context("a slice without a name")?;
        let api = kube::Api::<EndpointSlice>::namespaced(self.client().await?, namespace);
        let params = PatchParams::apply("weft-tests").force();
        let written = api.patch(name, &params, &Patch::Apply(slice)).await;
        written.with_context(|| format!("endpoint slice {namespace}/{name}")).map(drop)
    }
}

/// The slice of a service's endpoints in the family of the first pod, as its controller would write it: with the name and
/// number of each target port.
pub fn slice(service: &str, ports: &[(&str, u16)], pods: &[TestPod]) -> anyhow::Result<EndpointSlice> {
    let first = pods.first().context("a slice of no pods")?;
    let family = |pod: &TestPod| pod.addresses.first().is_some_and(IpAddr::is_ipv4);
    let endpoint = |pod: &TestPod| {
        let address = pod.addresses.iter().find(|ip| ip.is_ipv4() == family(first));
        json!({
            "addresses": [address],
            "conditions": { "ready": pod.ready, "serving": pod.ready, "terminating": false },
            "nodeName": pod.node,
            "targetRef": { "kind": "Pod", "name": pod.name, "namespace": pod.namespace },
        })
    };
    let port = |(name, port): &(&str, u16)| json!({ "name": name, "port": port, "protocol": "TCP" });
    let family_name = if family(first) { "IPv4" } else { "IPv6" };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{}", family_name.to_lowercase()),
            "namespace": first.namespace,
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": family_name,
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports.iter().map(port).collect::<Vec<_>>(),
    });
    Ok(serde_json::from_value(slice)?)
}
