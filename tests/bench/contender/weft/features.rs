//! What can be turned on in a pair of sidecars, one thing at a time or all together.
//!
//! Text and flags, as an operator would write them; discovery and the proxies refuse what is wrong with them. Of routes and rules the
//! last of a hundred is the one that fits, and all of them have to be looked at by request.

use std::fmt::Write;
use weft_examples::mesh::Workload;
use weft_tests::world::NAMESPACE;

/// Pairs that differ in their features, the plain one first.
pub const VARIANTS: &[&str] = &["plain", "metrics", "tracing", "access-log", "tap", "routes", "authorization", "all"];

/// How many routes, and how many rules.
const MANY: usize = 100;
/// A policy has 64 rules at most.
const RULES: usize = 50;

/// Off unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Both proxies' metrics are scraped each second.
    pub metrics: bool,
    /// 1 % of requests, to a collector.
    pub tracing: bool,
    /// A line of JSON for each request.
    pub access_log: bool,
    /// Somebody watches both for requests that do not come.
    pub tap: bool,
    /// [`MANY`] of them.
    pub routes: bool,
    /// By [`MANY`] rules.
    pub authorization: bool,
    /// TLS sessions are not resumed. Of no variant, and of the contender [`super::FULL`].
    pub full_handshakes: bool,
}

impl Features {
    /// Of a variant; `None`: there is no such variant.
    pub fn of(variant: &str) -> Option<Self> {
        let none = Self::default();
        Some(match variant {
            "plain" => none,
            "metrics" => Self { metrics: true, ..none },
            "tracing" => Self { tracing: true, ..none },
            "access-log" => Self { access_log: true, ..none },
            "tap" => Self { tap: true, ..none },
            "routes" => Self { routes: true, ..none },
            "authorization" => Self { authorization: true, ..none },
            "all" => {
                let told = Self { metrics: true, tracing: true, access_log: true, ..none };
                Self { routes: true, authorization: true, ..told }
            }
            _ => return None,
        })
    }

    /// What is to be applied beside the service.
    pub fn documents(self) -> String {
        let mut text = String::new();
        if self.routes {
            (1..MANY).for_each(|n| route(&format!("r{n}"), &format!("/route-{n}"), &mut text));
            route("last", "/", &mut text);
        }
        if self.authorization {
            (0..MANY / RULES).for_each(|policy| authorization(policy, &mut text));
        }
        text
    }

    /// Adds the flags of one side's proxy. `collector`: where spans go.
    pub fn configure(self, mut workload: Workload, collector: Option<&str>) -> Workload {
        if self.full_handshakes {
            workload = workload.proxy_arg("--full-handshakes");
        }
        let mut flag = |name: &str, value: &str| workload = workload.clone().proxy_arg(name).proxy_arg(value);
        if self.access_log {
            flag("--access-log", "json");
        }
        if let Some(collector) = collector {
            flag("--otlp-endpoint", collector);
            flag("--trace-sampler", "parentbased_traceidratio");
            flag("--trace-sampler-arg", "0.01");
        }
        workload
    }
}

fn route(name: &str, prefix: &str, text: &mut String) {
    let written = write!(
        text,
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: {NAMESPACE} }}
spec:
  parentRefs: [{{ group: \"\", kind: Service, name: server, port: 80 }}]
  rules:
  - matches: [{{ path: {{ type: PathPrefix, value: {prefix} }} }}]
    backendRefs: [{{ name: server, port: 80 }}]
"
    );
    written.expect("a String takes everything");
}

/// One policy out of several; the last rule of the last one lets the load in.
fn authorization(policy: usize, text: &mut String) {
    let rule = |n: usize| {
        let number = policy * RULES + n + 1;
        let path = if number == MANY { "/".to_owned() } else { format!("/private-{number}/*") };
        format!(
            "  - from: [{{ identities: [\"spiffe://weft.local/ns/{NAMESPACE}/sa/client\"] }}]
    to: [{{ methods: [GET, POST], paths: [\"{path}\"] }}]\n"
        )
    };
    let rules: String = (0..RULES).map(rule).collect();
    let written = write!(
        text,
        "---
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {{ name: policy-{policy}, namespace: {NAMESPACE} }}
spec:
  targetRefs: [{{ kind: Service, name: server }}]
  action: ALLOW
  rules:
{rules}"
    );
    written.expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_its_features_and_all_has_all() {
        let features: Vec<Features> = VARIANTS.iter().map(|variant| Features::of(variant).unwrap()).collect();
        assert_eq!(features[0], Features::default());
        assert_eq!(Features::of("weft"), None);
        let all = Features::of("all").unwrap().documents();
        assert_eq!(all.matches("kind: HTTPRoute").count(), MANY);
        assert_eq!(all.matches("- from:").count(), MANY);
        assert_eq!(all.matches("paths: [\"/\"]").count(), 1);
    }
}
