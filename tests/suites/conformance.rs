//! The Gateway API's own conformance suite against the mesh on a whole node: the profiles MESH-HTTP and MESH-GRPC, every feature.
//!
//! The verdicts are the suite's, which `scripts/conformance` builds from its published module; it sends its requests from within pods
//! that the chart's injector has meshed. It takes minutes: `make test-conformance` runs it, and keeps its report where
//! WEFT_CONFORMANCE_REPORT says. Without it each case is skipped, with the reason.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::mesh::binary;
use weft_examples::pods::{Program, poll_until_async};
use weft_tests::cluster::{Channel, Images, Node, TAG, helm, missing_node};
use weft_tests::suite::Stage;
use weft_tests::{Outcome, Suite};

/// Names the file where the report is to be kept.
const REPORT: &str = "WEFT_CONFORMANCE_REPORT";
/// How long a case may take. The suite sets limits of its own to each of its tests; together they take a minute here.
const LIMIT: Duration = Duration::from_secs(1800);

/// Of the suite 1.6.3, which has no fewer tests for a mesh, and extended features of one.
const TESTS: usize = 22;
const FEATURES: usize = 9;

/// A node with the mesh, on which the suite has been run.
struct Judged {
    node: Node,
    suite: PathBuf,
    /// All that the suite said.
    said: String,
    passed: bool,
    /// Its report.
    report: Value,
}

impl Stage for Judged {
    fn testimony(&self) -> String {
        self.node.testimony()
    }
}

fn main() -> ExitCode {
    let missing = suite().err().or_else(missing_node).or_else(|| helm().err());
    // Whoever wants the report is not served by skipped lines.
    if let (Some(missing), Some(_)) = (&missing, std::env::var_os(REPORT)) {
        eprintln!("conformance: {missing}");
        return ExitCode::FAILURE;
    }
    Suite::on("conformance", start)
        .unless(missing)
        .limit(LIMIT)
        .case("every test of the suite passes", passed)
        .case("the report has both profiles with every feature of a mesh, and nothing skipped", complete)
        .case("a test of the suite fails where pods have no sidecars", unmeshed)
        .run()
}

/// The directory with the suite and its application.
fn suite() -> Result<PathBuf, String> {
    let path = std::env::var_os("WEFT_TEST_CONFORMANCE").map(PathBuf::from).filter(|path| path.is_dir());
    path.ok_or_else(|| {
        "it takes minutes: `make test-conformance` runs it (WEFT_TEST_CONFORMANCE is not set to what `scripts/conformance` prints)"
            .to_owned()
    })
}

fn start() -> anyhow::Result<Judged> {
    let suite = suite().map_err(anyhow::Error::msg)?.join("suite");
    let mesh = Images::packed(&["weft-proxy", "weft-discovery", "weft-injector", "weft-etcd"])?;
    let node = Node::start(&mesh.and(Images::archived([suite.with_file_name("echo.tar")])))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(node.install_gateway_api(Channel::Standard))?;
    node.install_mesh("10m")?;
    let report = node.dir().join("report.yaml");
    let (passed, said) = run(&suite, &node, &["-report-output", &report.display().to_string()])?;
    let text = std::fs::read_to_string(&report).with_context(|| format!("no report; the suite said\n{said}"))?;
    keep(&text, &said)?;
    Ok(Judged { node, suite, said, passed, report: serde_yaml_ng::from_str(&text)? })
}

/// Runs the suite with `flags` of its own: whether it is content, and all that it says.
fn run(suite: &Path, node: &Node, flags: &[&str]) -> anyhow::Result<(bool, String)> {
    let program = Program::new(suite)
        .args(["-test.v", "-test.timeout=25m"])
        .args(flags)
        .env("KUBECONFIG", node.kubeconfig())
        .env("WEFT_VERSION", format!("v{TAG}"));
    let running = node.node().spawn(program)?;
    let status = running.wait_exit(LIMIT).context("the suite did not end")?;
    Ok((status.success(), running.log()))
}

/// Keeps the report where it is asked for, and what the suite said on the way beside the programs under test.
fn keep(report: &str, said: &str) -> anyhow::Result<()> {
    std::fs::write(binary("weft-proxy")?.with_file_name("conformance.log"), said)?;
    let Some(path) = std::env::var_os(REPORT).map(PathBuf::from) else { return Ok(()) };
    std::fs::write(&path, report).with_context(|| path.display().to_string())
}

/// Tests that are for a mesh, with what became of them. The suite has others, for gateways, which it leaves out.
fn verdicts(said: &str) -> BTreeMap<&str, &str> {
    let verdict = |line| -> Option<(&str, &str)> {
        let (verdict, test) = str::strip_prefix(line, "    --- ")?.split_once(": TestConformance/")?;
        let (test, _took) = test.split_once(' ')?;
        test.starts_with("Mesh").then_some((test, verdict))
    };
    said.lines().filter_map(verdict).collect()
}

async fn passed(judged: &Judged) -> Outcome {
    let verdicts = verdicts(&judged.said);
    let others: Vec<_> = verdicts.iter().filter(|(_, verdict)| **verdict != "PASS").collect();
    ensure!(others.is_empty(), "{others:?}; {} passed", verdicts.len() - others.len());
    ensure!(judged.passed && verdicts.len() >= TESTS, "{} tests: {verdicts:?}", verdicts.len());
    Ok(())
}

/// A feature that is not claimed the suite lists as unsupported, a test that it leaves out as skipped.
async fn complete(judged: &Judged) -> Outcome {
    let profiles = judged.report["profiles"].as_array().context("no profiles")?;
    let names: Vec<&str> = profiles.iter().filter_map(|profile| profile["name"].as_str()).collect();
    ensure!(names == ["MESH-GRPC", "MESH-HTTP"], "{names:?}");
    for profile in profiles {
        // There is nothing extended in a profile that has no test of it.
        for part in ["core", "extended"].into_iter().filter_map(|level| profile.get(level)) {
            let counted = &part["statistics"];
            ensure!(part["result"] == "success" && counted["Failed"] == 0 && counted["Skipped"] == 0, "{profile}");
            ensure!(part.get("unsupportedFeatures").is_none(), "{profile}");
        }
    }
    let features = profiles[1]["extended"]["supportedFeatures"].as_array().context("no features")?;
    ensure!(features.len() >= FEATURES, "{features:?}");
    Ok(())
}

/// The verdicts would be worth nothing if they were the same without a mesh. Where two backends share the requests they may be: the
/// suite asks until three answers in a row are right. Nobody redirects by chance.
async fn unmeshed(judged: &Judged) -> Outcome {
    let namespaces = kube::Api::<Namespace>::all(judged.node.client().await?);
    let theirs = ListParams::default().labels("gateway-conformance");
    let gone = || async { namespaces.list(&theirs).await.ok()?.items.is_empty().then_some(()) };
    poll_until_async(Instant::now() + LIMIT / 6, "the suite's namespaces to be gone", gone).await?;
    let flags = ["-run-test=MeshHTTPRouteRedirectPort", "-namespace-labels=weft.dev/inject=disabled"];
    let (passed, said) = run(&judged.suite, &judged.node, &flags)?;
    let verdicts = verdicts(&said);
    ensure!(!passed && verdicts.get("MeshHTTPRouteRedirectPort") == Some(&"FAIL"), "{verdicts:?}");
    ensure!(said.contains("wanted status code to be one of [302], got 200"), "it failed for another reason");
    Ok(())
}
