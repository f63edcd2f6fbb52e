//! What promtool says of `/metrics` and of the configuration that docs/grafana.md shows.
//!
//! Any remark is a failure, with promtool's own words.

use crate::Scene;
use anyhow::ensure;
use weft_examples::mesh::get;
use weft_tests::prometheus::promtool;
use weft_tests::{Outcome, pages};

/// In the older form, which is the one that promtool reads.
pub async fn metrics(scene: &Scene) -> Outcome {
    let mut texts = Vec::new();
    for member in scene.world.members().filter(|member| member.name() != "leaver") {
        texts.push((member.name().to_owned(), get(member.pod(), member.admin(), "/metrics")?.body));
    }
    for replica in scene.world.mesh().discovery() {
        texts.push((replica.name().to_owned(), get(scene.world.mesh().node(), replica.admin(), "/metrics")?.body));
    }
    for (name, text) in texts {
        ensure!(text.lines().count() > 20, "{name} exports nearly nothing: {text}");
        let (fine, said) = promtool(&["check", "metrics"], &text)?;
        ensure!(fine && said.trim().is_empty(), "{name}: {said}");
    }
    Ok(())
}

/// The first example of the page is Prometheus' configuration in a cluster. Debian builds it without Kubernetes, so that the rest is
/// what can be checked.
pub async fn example(scene: &Scene) -> Outcome {
    let file = scene.prometheus.dir().join("example.yml");
    let (example, discovery) = (pages::example("grafana", 0)?, "kubernetes_sd_configs: [{ role: pod }]");
    ensure!(example.contains(discovery), "{example}");
    std::fs::write(&file, example.replace(discovery, "static_configs: []"))?;
    let (fine, said) = promtool(&["check", "config", "--syntax-only", &file.display().to_string()], "")?;
    ensure!(fine, "{said}");
    Ok(())
}
