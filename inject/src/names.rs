//! The names by which Weft knows its own parts of a pod, and the ports that these take.
//!
//! Everything that injects, recognises or removes a sidecar reads them here; what a pod calls its own never collides with
//! them unnoticed, because [`patch`](crate::patch) refuses such pods.

/// Label of namespaces and pods, annotation of pods: `enabled` or `disabled`.
pub const INJECT: &str = "weft.dev/inject";
/// Set on injected pods: the version of Weft that did it.
pub const INJECTED: &str = "weft.dev/injected";
/// Set on injected pods: the mesh's trust anchors, PEM, which the sidecar reads as a file.
pub const TRUST_ANCHORS: &str = "weft.dev/trust-anchors";
/// What all annotations of ours begin with.
pub const PREFIX: &str = "weft.dev/";
/// Which container `kubectl logs` and `kubectl exec` mean when none is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The sidecar.
pub const PROXY: &str = "weft-proxy";
/// The init container that leads the pod's traffic to the sidecar.
pub const REDIRECT: &str = "weft-redirect";

/// Volume of the token that proves who the pod is.
pub const TOKEN_VOLUME: &str = "weft-token";
/// Volume of the trust anchors.
pub const ANCHORS_VOLUME: &str = "weft-trust-anchors";
/// Volume of key, certificate and what is known of the mesh.
pub const STATE_VOLUME: &str = "weft-state";
/// All volumes of ours.
pub const VOLUMES: [&str; 3] = [TOKEN_VOLUME, ANCHORS_VOLUME, STATE_VOLUME];

/// The user and group of the sidecar; the redirect leaves this user's connections alone.
pub const PROXY_UID: u32 = 15100;
/// Where the sidecar answers probes and scrapers.
pub const ADMIN_PORT: u16 = 15020;
/// Where it answers DNS.
pub const DNS_PORT: u16 = 15053;
/// On loopback: what the sidecar dials to see whether the redirect is in place.
pub const CHECK_PORT: u16 = 15002;
/// Ports that nothing else in the pod may use.
pub const PORTS: [u16; 5] = [15001, CHECK_PORT, 15006, ADMIN_PORT, DNS_PORT];

/// The variable that tells the sidecar how to probe the application.
pub const PROBES_VARIABLE: &str = "WEFT_APPLICATION_PROBES";

/// Namespaces that never get sidecars, beside that of the mesh itself.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
