//! The chart's alert rules: promtool reads them, Prometheus evaluates them, and in simulated time they fire when they should and at
//! no other time.

use crate::Scene;
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until_async;
use weft_tests::Outcome;
use weft_tests::prometheus::promtool;

/// How long Prometheus may take to have evaluated every rule.
const LIMIT: Duration = Duration::from_secs(40);

/// Time series, and which alerts fire after how long: promtool's own language.
const CASES: &str = "
rule_files: [RULES]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - { series: 'weft_requests_total{direction=\"outbound\",service=\"cart.shop\",status=\"200\"}', values: '0+600x30' }
      - { series: 'weft_requests_total{direction=\"outbound\",service=\"cart.shop\",status=\"503\"}', values: '0+60x30' }
      - { series: 'weft_requests_total{direction=\"outbound\",service=\"search.shop\",status=\"200\"}', values: '0+600x30' }
      - { series: 'weft_requests_total{direction=\"outbound\",service=\"search.shop\",status=\"503\"}', values: '0+6x30' }
      - { series: 'weft_discovery_connected{instance=\"a\"}', values: '1x10 0x20' }
      - { series: 'weft_discovery_connected{instance=\"b\"}', values: '1x30' }
      - { series: 'weft_certificate_expiry_seconds{instance=\"a\"}', values: '4000x30' }
      - { series: 'weft_certificate_expiry_seconds{instance=\"b\"}', values: '90000x30' }
      - { series: 'weft_discovery_registry_revision', values: '7x30' }
      - { series: 'weft_discovery_store_connected{instance=\"d\"}', values: '1x30' }
    alert_rule_test:
      - eval_time: 20m
        alertname: WeftServiceFailing
        exp_alerts:
          - exp_labels: { service: cart.shop, severity: critical }
            exp_annotations:
              summary: 'cart.shop: 9.091% of its requests fail'
              description: As its clients see it. `weftctl stat routes --to` shows which rule, the dashboard Weft / Service which endpoints.
      - { eval_time: 12m, alertname: WeftProxyWithoutDiscovery, exp_alerts: [] }
      - eval_time: 17m
        alertname: WeftProxyWithoutDiscovery
        exp_alerts:
          - exp_labels: { instance: a, severity: warning }
            exp_annotations:
              summary: a hears nothing from discovery
              description: It goes on with what it knows. `weftctl check` and the proxy's log say why.
      - { eval_time: 5m, alertname: WeftCertificateEnding, exp_alerts: [] }
      - eval_time: 20m
        alertname: WeftCertificateEnding
        exp_alerts:
          - exp_labels: { instance: a, severity: critical }
            exp_annotations:
              summary: 'a: its certificate ends within the hour'
              description: It should have been renewed at half its life. Without one, the other sidecars refuse this one.
      - { eval_time: 20m, alertname: WeftStoreGone, exp_alerts: [] }
      - { eval_time: 20m, alertname: WeftDiscoveryGone, exp_alerts: [] }
      - { eval_time: 20m, alertname: WeftEndpointsLeftOut, exp_alerts: [] }
";

/// The chart's rules.
pub fn file() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/weft/alerts/weft.yaml"))
}

pub async fn checked(scene: &Scene) -> Outcome {
    let rules = file().display().to_string();
    let (fine, said) = promtool(&["check", "rules", &rules], "")?;
    ensure!(fine && said.contains("SUCCESS"), "{said}");
    let cases = scene.prometheus.dir().join("cases.yaml");
    std::fs::write(&cases, CASES.replace("RULES", &rules))?;
    let (fine, said) = promtool(&["test", "rules", &cases.display().to_string()], "")?;
    ensure!(fine, "{said}");
    evaluated(scene).await
}

/// What the mesh exports fits all of them: Prometheus has evaluated each without an error.
async fn evaluated(scene: &Scene) -> Outcome {
    let mut said = String::new();
    let all = || {
        let ready = scene.prometheus.get("/api/v1/rules").ok().and_then(|data| {
            let groups = data["groups"].as_array()?;
            let mut rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
            rules.clone().next()?;
            let open = rules.find(|rule| rule["health"] != "ok");
            said = open.map(ToString::to_string).unwrap_or_default();
            open.is_none().then_some(())
        });
        async move { ready }
    };
    let evaluated = poll_until_async(Instant::now() + LIMIT, "every rule to be evaluated", all).await;
    evaluated.with_context(|| said)
}
