//! What an uninstallation would take away, who would miss it, and what it leaves.
//!
//! Pure: facts in, words out. A namespace with anything of others in it stays.

/// As many are named in a refusal or a note.
const NAMED: usize = 20;

/// What there is of the mesh, and who uses it.
#[derive(Debug, Default)]
pub struct Plan {
    /// The release is there.
    pub installed: bool,
    /// `Kind namespace/name` of what helm made.
    pub objects: Vec<String>,
    /// Claims of etcd's members.
    pub volumes: Vec<String>,
    /// Definitions that go; none if they are to be kept.
    pub definitions: Vec<String>,
    /// Objects of these definitions: `Kind namespace/name`.
    pub policies: Vec<String>,
    /// The mesh's own, if it is there.
    pub namespace: Option<String>,
    /// What is in it and not of the mesh.
    pub strangers: Vec<String>,
    /// Pods with a sidecar: `namespace/name`.
    pub meshed: Vec<String>,
    /// Namespaces that ask for sidecars.
    pub labelled: Vec<String>,
}

impl Plan {
    /// Nothing is there that would go.
    pub fn is_empty(&self) -> bool {
        !self.installed && self.definitions.is_empty() && self.volumes.is_empty() && !self.namespace_goes()
    }

    /// Nobody else's is, and it was made for the mesh.
    pub fn namespace_goes(&self) -> bool {
        let made = self.installed || self.namespace.as_deref() == Some(crate::connect::cluster::NAMESPACE);
        made && self.namespace.is_some() && self.strangers.is_empty()
    }

    /// A line for each object.
    pub fn listed(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let volumes = self.volumes.iter().map(|name| format!("PersistentVolumeClaim {namespace}/{name}"));
        let definitions = self.definitions.iter().map(|name| format!("CustomResourceDefinition {name}"));
        let own = self.namespace_goes().then(|| format!("Namespace {namespace}"));
        let all = self.objects.iter().cloned().chain(volumes).chain(self.policies.iter().cloned());
        all.chain(definitions).chain(own).map(|line| line + "\n").collect()
    }

    /// Who would miss it.
    pub fn refusal(&self) -> Option<String> {
        let mut reasons = Vec::new();
        if !self.meshed.is_empty() {
            let count = counted(self.meshed.len(), "pod has a sidecar", "pods have sidecars");
            reasons.push(format!(
                "{count}, which would hear of no change any more, and whose certificates would end: {}. Take the label \
                 weft.dev/inject off and restart them first",
                named(&self.meshed)
            ));
        }
        if !self.policies.is_empty() {
            let count = counted(
                self.policies.len(),
                "policy is there and would be lost",
                "policies are there and would be lost",
            );
            reasons.push(format!("{count}: {}. --keep-definitions leaves them", named(&self.policies)));
        }
        (!reasons.is_empty()).then(|| reasons.join("\n"))
    }

    /// What stays.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(namespace) = self.namespace.as_ref().filter(|_| !self.strangers.is_empty()) {
            let strangers = named(&self.strangers);
            notes.push(format!(
                "namespace {namespace} stays, for there is in it what the mesh did not make: {strangers}"
            ));
        }
        if !self.labelled.is_empty() {
            let namespaces = named(&self.labelled);
            notes.push(format!(
                "namespaces keep their label weft.dev/inject, which means nothing without the mesh: {namespaces}"
            ));
        }
        notes
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn named(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let shown = all[..all.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn all() -> Plan {
        Plan {
            installed: true,
            objects: texts(&["ClusterRole weft-discovery", "Deployment mesh/weft-discovery"]),
            volumes: texts(&["data-weft-etcd-0"]),
            definitions: texts(&["trafficpolicies.weft.dev"]),
            namespace: Some("mesh".to_owned()),
            ..Plan::default()
        }
    }

    #[test]
    fn what_goes_is_listed_from_the_top_down() {
        assert_eq!(
            all().listed(),
            "ClusterRole weft-discovery\nDeployment mesh/weft-discovery\nPersistentVolumeClaim mesh/data-weft-etcd-0\n\
             CustomResourceDefinition trafficpolicies.weft.dev\nNamespace mesh\n"
        );
        assert_eq!(all().refusal(), None);
        assert!(all().notes().is_empty() && !all().is_empty());
    }

    #[test]
    fn who_would_miss_it_is_named() {
        let meshed: Vec<String> = (0..22).map(|n| format!("shop/cart-{n}")).collect();
        let plan = Plan { meshed, policies: texts(&["TrafficPolicy shop/cart"]), ..all() };
        let refusal = plan.refusal().unwrap();
        assert!(
            refusal.starts_with("22 pods have sidecars") && refusal.contains("shop/cart-19 and 2 more."),
            "{refusal}"
        );
        assert!(refusal.contains("1 policy is there and would be lost: TrafficPolicy shop/cart."), "{refusal}");
        assert!(plan.listed().contains("TrafficPolicy shop/cart\nCustomResourceDefinition"), "{}", plan.listed());
    }

    #[test]
    fn nobody_elses_namespace_goes() {
        let shared = Plan { strangers: texts(&["Secret my-root"]), labelled: texts(&["shop"]), ..all() };
        assert!(!shared.listed().contains("Namespace"));
        let notes = shared.notes();
        assert!(notes[0].starts_with("namespace mesh stays") && notes[0].ends_with("Secret my-root"), "{notes:?}");
        assert!(notes[1].ends_with("shop"), "{notes:?}");
        // A name that was mistyped: there was never a release.
        let empty = |name: &str| Plan { namespace: Some(name.to_owned()), ..Plan::default() };
        assert!(empty("mesh").is_empty() && !empty("weft-system").is_empty());
        let left = Plan { definitions: texts(&["trafficpolicies.weft.dev"]), ..empty("mesh") };
        assert_eq!(left.listed(), "CustomResourceDefinition trafficpolicies.weft.dev\n");
    }
}
