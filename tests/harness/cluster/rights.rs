//! The rights that the chart gives discovery, for tests that run it with these and no more.
//!
//! Read from the chart's own template, so that there is one list of them; its rules hold nothing that helm would fill in. Fails
//! when they are not found.

use anyhow::Context;
use std::path::Path;

const TEMPLATE: &str = "charts/weft/templates/discovery-rights.yaml";

/// A ClusterRole with the chart's rules, bound to `weft-discovery` in `weft-system`.
pub fn discovery_rights() -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(TEMPLATE);
    let template = std::fs::read_to_string(&path).with_context(|| format!("reading {TEMPLATE}"))?;
    let rules = template.split("\nrules:\n").nth(1).and_then(|rest| rest.split("\n---").next());
    let rules =
        rules.filter(|rules| !rules.contains("{{")).with_context(|| format!("{TEMPLATE} has no plain rules"))?;
    Ok(format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: weft-discovery }}\nrules:\n{rules}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{ name: weft-discovery }}\n\
         roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: weft-discovery }}\n\
         subjects: [{{ kind: ServiceAccount, name: weft-discovery, namespace: weft-system }}]\n"
    ))
}
