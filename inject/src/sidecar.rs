//! The parts that injection adds to a pod: the sidecar, the redirect that leads traffic to it, and their volumes.
//!
//! Each part may do as little as it can work with: the sidecar runs as its own user without any capability, the redirect
//! has NET_ADMIN, runs once and ends; neither can write to its image. Values only; where they go is [`patch`](crate::patch)'s.

use crate::annotations::Choices;
use crate::names::{
    ADMIN_PORT, ANCHORS_VOLUME, CHECK_PORT, DNS_PORT, PROBES_VARIABLE, PROXY, PROXY_UID, REDIRECT, STATE_VOLUME,
    TOKEN_VOLUME, TRUST_ANCHORS,
};
use crate::settings::{Backend, Resources, Settings, Style};
use serde_json::{Map, Value, json};
use std::time::Duration;
use weft_model::Port;

const TOKEN_DIR: &str = "/var/run/secrets/weft.dev";
const ANCHORS_DIR: &str = "/var/run/weft.dev/trust-anchors";
const STATE_DIR: &str = "/var/lib/weft-proxy";
/// How long a token is valid; the kubelet replaces it at four fifths.
const TOKEN_SECONDS: u64 = 3600;
/// Requests in flight may go on for so long, unless the pod or its grace period says otherwise.
const DRAIN: Duration = Duration::from_secs(30);
/// A sidecar that is not ready by then is started anew.
const START_SECONDS: u64 = 120;
/// Which the legacy iptables locks, and would look for in /run: nothing but this folder can be written to.
const LOCK_FILE: &str = "/dev/shm/xtables.lock";
/// Key, certificate and snapshot: in memory, so that the key is on no disk.
const STATE_SIZE: &str = "64Mi";

/// What one pod's parts are made of.
pub(crate) struct Parts<'a> {
    pub settings: &'a Settings,
    pub choices: &'a Choices,
    /// How the application is probed.
    pub probes: Map<String, Value>,
    /// The pod's grace period.
    pub grace: Duration,
}

impl Parts<'_> {
    pub fn style(&self) -> Style {
        self.choices.style.unwrap_or(self.settings.style)
    }

    /// What the sidecar gets: the pod's word before the mesh's.
    pub fn resources(&self) -> Resources {
        let (own, mesh) = (self.choices, &self.settings.resources);
        Resources {
            cpu_request: own.cpu_request.as_ref().or(mesh.cpu_request.as_ref()).cloned(),
            cpu_limit: own.cpu_limit.as_ref().or(mesh.cpu_limit.as_ref()).cloned(),
            memory_request: own.memory_request.as_ref().or(mesh.memory_request.as_ref()).cloned(),
            memory_limit: own.memory_limit.as_ref().or(mesh.memory_limit.as_ref()).cloned(),
        }
    }

    /// The container `weft-proxy`.
    pub fn proxy(&self) -> Value {
        let ready = json!({"path": "/readyz", "port": ADMIN_PORT, "scheme": "HTTP"});
        let mut proxy = json!({
            "name": PROXY,
            "image": self.settings.image,
            "imagePullPolicy": self.settings.pull_policy,
            "command": ["weft-proxy"],
            "args": ["run"],
            "env": self.environment(),
            "ports": [{"name": "weft-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"}],
            "readinessProbe": {"httpGet": ready, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 3},
            "resources": self.resources().value(),
            "securityContext": security(PROXY_UID, &[]),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": true},
                {"name": ANCHORS_VOLUME, "mountPath": ANCHORS_DIR, "readOnly": true},
                {"name": STATE_VOLUME, "mountPath": STATE_DIR},
            ],
        });
        match self.style() {
            Style::Native => {
                proxy["restartPolicy"] = "Always".into();
                proxy["startupProbe"] = json!({"httpGet": ready, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": START_SECONDS});
            }
            // The kubelet starts containers in their order and waits for this hook: the application finds the sidecar ready.
            Style::Classic => {
                let wait = json!(["weft-proxy", "wait", "--timeout", format!("{START_SECONDS}s")]);
                proxy["lifecycle"] = json!({"postStart": {"exec": {"command": wait}}});
            }
        }
        proxy
    }

    fn environment(&self) -> Vec<Value> {
        let from_pod = |name: &str, field: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}});
        let is = |name: &str, value: String| json!({"name": name, "value": value});
        let (settings, choices) = (self.settings, self.choices);
        let drain = choices.drain_timeout.unwrap_or(DRAIN.min(self.grace));
        let mut all = vec![
            from_pod("WEFT_NAME", "metadata.name"),
            from_pod("WEFT_NAMESPACE", "metadata.namespace"),
            from_pod("WEFT_SERVICE_ACCOUNT", "spec.serviceAccountName"),
            from_pod("WEFT_ADDRESS", "status.podIPs"),
            from_pod("WEFT_NODE", "spec.nodeName"),
            from_pod("WEFT_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
            is("WEFT_TRUST_DOMAIN", settings.trust_domain.clone()),
            is("WEFT_DOMAIN", settings.domain.clone()),
            is("WEFT_DISCOVERY", settings.discovery.clone()),
            is("WEFT_TRUST_ANCHORS", format!("{ANCHORS_DIR}/anchors.pem")),
            is("WEFT_TOKEN_FILE", format!("{TOKEN_DIR}/token")),
            // Below the volume, because a volume belongs to root and the sidecar's directory must be its own.
            is("WEFT_STATE_DIR", format!("{STATE_DIR}/state")),
            is("WEFT_ADMIN_LISTEN", format!("[::]:{ADMIN_PORT}")),
            is("WEFT_CHECK_PORT", CHECK_PORT.to_string()),
            is("WEFT_DNS_PORT", self.dns_port().to_string()),
            is("WEFT_DRAIN_TIMEOUT", humantime::format_duration(drain).to_string()),
        ];
        let said = [
            ("WEFT_WORKERS", choices.workers.map(|workers| workers.to_string())),
            ("WEFT_LOG_LEVEL", choices.log_level.clone()),
            ("WEFT_LOG_FORMAT", choices.log_format.clone()),
            ("WEFT_OPAQUE_PORTS", listed(&choices.opaque_ports)),
        ];
        all.extend(said.into_iter().filter_map(|(name, value)| Some(is(name, value?))));
        if !self.probes.is_empty() {
            all.push(is(PROBES_VARIABLE, Value::Object(self.probes.clone()).to_string()));
        }
        all
    }

    fn dns_port(&self) -> u16 {
        if self.choices.dns_capture.unwrap_or(true) { DNS_PORT } else { 0 }
    }

    /// The init container `weft-redirect`.
    pub fn redirect(&self) -> Value {
        let choices = self.choices;
        let mut args = vec!["redirect".to_owned(), "apply".to_owned()];
        let flags = [
            ("--backend", Some(self.settings.backend.as_str().to_owned())),
            ("--proxy-uid", Some(PROXY_UID.to_string())),
            ("--check-port", Some(CHECK_PORT.to_string())),
            ("--dns-port", Some(self.dns_port().to_string())),
            ("--exclude-outbound-ports", listed(&choices.exclude_outbound_ports)),
            ("--exclude-outbound-cidrs", listed(&choices.exclude_outbound_cidrs)),
            ("--exclude-inbound-ports", listed(&choices.exclude_inbound_ports)),
            ("--exclude-inbound-cidrs", listed(&choices.exclude_inbound_cidrs)),
        ];
        args.extend(flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?])).flatten());
        let mut redirect = json!({
            "name": REDIRECT,
            "image": self.settings.image,
            "imagePullPolicy": self.settings.pull_policy,
            "command": ["weft-proxy"],
            "args": args,
            "resources": self.resources().value(),
            "securityContext": security(0, self.settings.backend.capabilities()),
            "terminationMessagePolicy": "FallbackToLogsOnError",
        });
        if self.settings.backend == Backend::Legacy {
            redirect["env"] = json!([{"name": "XTABLES_LOCKFILE", "value": LOCK_FILE}]);
        }
        redirect
    }

    /// The volumes of the sidecar.
    pub fn volumes(&self) -> Vec<Value> {
        let token = json!({"serviceAccountToken":
            {"audience": self.settings.trust_domain, "expirationSeconds": TOKEN_SECONDS, "path": "token"}});
        let annotation = format!("metadata.annotations['{TRUST_ANCHORS}']");
        let anchors = json!({"path": "anchors.pem", "fieldRef": {"apiVersion": "v1", "fieldPath": annotation}});
        vec![
            json!({"name": TOKEN_VOLUME, "projected": {"sources": [token]}}),
            json!({"name": ANCHORS_VOLUME, "downwardAPI": {"items": [anchors]}}),
            json!({"name": STATE_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": STATE_SIZE}}),
        ]
    }
}

impl Resources {
    fn value(&self) -> Value {
        let part = |cpu: &Option<crate::quantity::Quantity>, memory: &Option<crate::quantity::Quantity>| {
            let named = [("cpu", cpu), ("memory", memory)].into_iter();
            let said = named.filter_map(|(name, amount)| Some((name.to_owned(), amount.as_ref()?.as_str().into())));
            said.collect::<Map<String, Value>>()
        };
        let parts = [
            ("requests", part(&self.cpu_request, &self.memory_request)),
            ("limits", part(&self.cpu_limit, &self.memory_limit)),
        ];
        let said = parts.into_iter().filter(|(_, amounts)| !amounts.is_empty());
        Value::Object(said.map(|(name, amounts)| (name.to_owned(), Value::Object(amounts))).collect())
    }
}

/// As user and group `user`, with these capabilities and nothing more.
fn security(user: u32, capabilities: &[&str]) -> Value {
    let mut allowed = json!({"drop": ["ALL"]});
    if !capabilities.is_empty() {
        allowed["add"] = capabilities.into();
    }
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": allowed,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": user,
        "runAsNonRoot": user != 0,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn listed<T: std::fmt::Display>(values: &[T]) -> Option<String> {
    let texts: Vec<String> = values.iter().map(T::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

/// Ports that the application cannot have.
pub(crate) fn is_taken(port: u64) -> bool {
    u16::try_from(port).ok().and_then(Port::new).is_some_and(|port| crate::names::PORTS.contains(&port.get()))
}
