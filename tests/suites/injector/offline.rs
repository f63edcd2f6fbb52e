//! `weftctl inject` beside the webhook, and both beside `weft-proxy`: what one writes, the others have to understand.
//!
//! Pods of many shapes go both ways and come out the same, byte for byte.

use super::cluster::Cluster;
use super::{created, names, web};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use weft_examples::mesh::binary;
use weft_examples::pods::{Output, Program};
use weft_tests::Outcome;

/// `weftctl inject` of `yaml`, with the flags that the injectors were started with.
fn weftctl(cluster: &Cluster, command: &str, yaml: &str) -> anyhow::Result<Output> {
    let mut program = Program::new(binary("weftctl")?).args([command, "-f", "-"]).input(yaml.as_bytes());
    if command == "inject" {
        program = program.args(["-n", "shop", "--trust-anchors"]).arg(&cluster.anchors);
    }
    Ok(cluster.api.node().run(program)?)
}

fn inject(cluster: &Cluster, yaml: &str) -> anyhow::Result<String> {
    let output = weftctl(cluster, "inject", yaml)?;
    ensure!(output.status.success(), "{}", output.text());
    Ok(output.stdout)
}

pub async fn same_pods(cluster: &Cluster) -> Outcome {
    let with = |pointer: &str, value: Value| {
        let mut pod = web();
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        pod.pointer_mut(parent).expect("a parent")[field] = value;
        pod
    };
    let pods = [
        web(),
        with("/metadata/annotations", Value::Null),
        with("/metadata/annotations", json!({"weft.dev/sidecar": "classic", "x": "on", "y": "0123", "z": "a\nb: c"})),
        with("/metadata/annotations", json!({"weft.dev/exclude-inbound-cidrs": "10.0.0.0/8", "weft.dev/workers": "2"})),
        with(
            "/metadata/annotations",
            json!({"weft.dev/rewrite-probes": "disabled", "weft.dev/dns-capture": "disabled"}),
        ),
        with("/metadata/annotations", json!({"weft.dev/inject": "disabled"})),
        with(
            "/spec/containers/0/lifecycle",
            json!({"preStop": {"httpGet": {"path": "drain", "port": "http", "scheme": "HTTPS"}}}),
        ),
        with("/spec/hostNetwork", json!(true)),
        with("/spec/terminationGracePeriodSeconds", json!(5)),
        with("/spec/volumes", json!([{"name": "a", "emptyDir": {}}])),
    ];
    for pod in pods {
        let reviewed = cluster.reviewed("shop", &pod).await?;
        let printed: Value = serde_yaml_ng::from_str(&inject(cluster, &pod.to_string())?)?;
        let (printed, reviewed) = (printed.to_string(), reviewed.to_string());
        ensure!(printed == reviewed, "weftctl: {printed}\nwebhook: {reviewed}");
    }
    Ok(())
}

pub async fn injected_before(cluster: &Cluster) -> Outcome {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": web()["metadata"], "spec": web()["spec"]}}});
    let printed = inject(cluster, &deployment.to_string())?;
    cluster.api.dry_run(&printed).await.context("the API server takes the Deployment")?;
    let printed: Value = serde_yaml_ng::from_str(&printed)?;
    let template = &printed["spec"]["template"];
    // As the Deployment's controller would create it: the webhook sees it, too.
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
    pod["metadata"]["name"] = "web-1".into();
    let made = created(cluster, "shop", &pod).await?;
    ensure!(names(&made["spec"]["initContainers"]) == ["weft-redirect", "weft-proxy", "migrate"], "{made}");
    ensure!(cluster.counted("weft_injector_reviews_total{result=\"skipped\",reason=\"already-injected\"}")? >= 1.0);
    Ok(())
}

pub async fn removed(cluster: &Cluster) -> Outcome {
    let service = "# the front door\napiVersion: v1\nkind: Service\nmetadata: {name:   web}\n";
    let mut original = web();
    original["metadata"]["annotations"] = json!({"a": "b"});
    let stream = format!("{service}---\n{original}\n");
    let output = weftctl(cluster, "uninject", &inject(cluster, &stream)?)?;
    ensure!(output.status.success() && output.stderr.contains("Pod default/web: sidecar removed"), "{}", output.text());
    let (first, second) = output.stdout.split_once("---\n").context("two documents")?;
    ensure!(first == service, "{first}");
    let pod: Value = serde_yaml_ng::from_str(second)?;
    ensure!(pod == original, "{pod}\n{original}");
    let bad = weftctl(cluster, "inject", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n")?;
    ensure!(bad.status.code() == Some(1) && bad.stdout.is_empty(), "{}", bad.text());
    ensure!(bad.stderr.contains("Pod shop/a (standard input, document 1): spec.containers: "), "{}", bad.stderr);
    Ok(())
}

pub async fn known_flags(cluster: &Cluster) -> Outcome {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({
        "weft.dev/exclude-outbound-ports": "25", "weft.dev/exclude-outbound-cidrs": "10.0.0.0/8,fd00::/8",
        "weft.dev/exclude-inbound-ports": "9090", "weft.dev/exclude-inbound-cidrs": "192.0.2.1",
        "weft.dev/opaque-ports": "5432", "weft.dev/workers": "4", "weft.dev/drain-timeout": "1m", "weft.dev/log-level": "debug",
        "weft.dev/log-format": "json",
    });
    pod["spec"]["terminationGracePeriodSeconds"] = 90.into();
    let pod = cluster.reviewed("shop", &pod).await?;
    let (redirect, proxy) = (&pod["spec"]["initContainers"][0], &pod["spec"]["initContainers"][1]);
    let run = |program: Program| -> anyhow::Result<Output> { Ok(cluster.api.node().run(program)?) };
    let args = redirect["args"].as_array().context("arguments")?.iter().filter_map(Value::as_str);
    let dry = run(Program::new(binary("weft-proxy")?).args(args).arg("--dry-run"))?;
    ensure!(dry.status.success() && dry.stdout.contains("-d 10.0.0.0/8 -j RETURN"), "{}", dry.text());
    let mut program = Program::new(binary("weft-proxy")?).arg("run");
    let help = run(Program::new(binary("weft-proxy")?).args(["run", "--help"]))?.stdout;
    for variable in proxy["env"].as_array().context("variables")? {
        let name = variable["name"].as_str().context("a name")?;
        ensure!(help.contains(&format!("{name}=")), "weft-proxy knows no {name}");
        let value = match (&variable["value"], name) {
            (Value::String(value), _) => value.as_str(),
            // What the kubelet would fill in.
            (_, "WEFT_ADDRESS") => "10.244.0.7,fd00:10:244::7",
            (_, "WEFT_ZONE") => "",
            (_, _) => "shop",
        };
        program = program.env(name, value);
    }
    // One fault of our own: the values are judged, and nothing starts.
    let judged = run(program.arg("--detect-timeout=soon"))?;
    let faults: Vec<&str> = judged.stderr.lines().filter(|line| line.starts_with("  ")).collect();
    ensure!(judged.status.code() == Some(2) && faults.len() == 1, "{}", judged.text());
    ensure!(faults[0].starts_with("  --detect-timeout: "), "{}", judged.text());
    Ok(())
}
