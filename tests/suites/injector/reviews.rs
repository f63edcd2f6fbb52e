//! Bodies that are no reviews, and how long those that are take: over TLS, by a real HTTP client.
//!
//! A fault gets its status and a reason; the injector that was sent all of them goes on as if nothing had been.

use super::cluster::{Cluster, PORTS, review};
use super::web;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use weft_examples::pods::Program;
use weft_tests::Outcome;

pub async fn malformed(cluster: &Cluster) -> Outcome {
    let with = |pointer: &str, value: Value| {
        let mut review = review("shop", &web());
        *review.pointer_mut(pointer).expect("a pointer") = value;
        review.to_string().into_bytes()
    };
    let deep = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
    let nested = review("shop", &json!("pod")).to_string().replace("\"pod\"", &deep);
    let huge = with("/request/object/metadata/annotations", json!({"a": "x".repeat(7 << 20)}));
    let cases: [(Vec<u8>, u16, &str); 11] = [
        (Vec::new(), 400, "not JSON: "),
        (b"{\"apiVersion\":".to_vec(), 400, "not JSON: "),
        (b"\xff\xfe\x00".to_vec(), 400, "not JSON: "),
        (nested.into_bytes(), 400, "not JSON: recursion limit exceeded"),
        (b"[]".to_vec(), 400, "not an AdmissionReview: "),
        (with("/apiVersion", "admission.k8s.io/v1beta1".into()), 400, "apiVersion \"admission.k8s.io/v1beta1\" "),
        (with("/kind", "Pod".into()), 400, "kind \"Pod\" "),
        (with("/request/uid", "".into()), 400, "request.uid is empty"),
        (with("/request/kind/kind", "Service".into()), 400, "a review of \"Service\" "),
        (with("/request/object", Value::Null), 400, "request.object is missing"),
        (huge, 413, "longer than "),
    ];
    for (body, status, start) in cases {
        let said = cluster.ask("/inject/namespace", &body).await?;
        ensure!(said.0 == status && said.1.starts_with(start), "{start:?}: {said:?}");
    }
    ensure!(cluster.ask("/elsewhere", b"{}").await?.0 == 404);
    ensure!(cluster.reviewed("shop", &web()).await? != web(), "it goes on");
    ensure!(cluster.counted("weft_injector_reviews_total{result=\"malformed\",reason=\"\"}")? >= 11.0);
    Ok(())
}

/// One connection, as the API server keeps one.
pub async fn fast(cluster: &Cluster) -> Outcome {
    const REVIEWS: usize = 1000;
    let dir = cluster.api.node().dir();
    std::fs::write(dir.join("one.json"), review("shop", &web()).to_string())?;
    let url = format!("url = \"https://127.0.0.1:{}/inject/namespace\"\noutput = \"/dev/null\"\n", PORTS[0]);
    std::fs::write(dir.join("urls"), url.repeat(REVIEWS))?;
    let curl = Program::new("curl").args(["-sS", "-w", "%{http_code} %{time_total}\n", "--cacert"]);
    let curl = curl.arg(cluster.bundle().await?).arg("--data-binary");
    let curl = curl.arg(format!("@{}", dir.join("one.json").display())).arg("-K").arg(dir.join("urls"));
    let said = cluster.api.node().run_ok(curl)?;
    let taken = said.lines().map(|line| line.strip_prefix("200 ").and_then(|time| time.parse().ok()));
    let mut taken: Vec<f64> = taken.collect::<Option<_>>().context("a review that failed")?;
    ensure!(taken.len() == REVIEWS, "{} answers", taken.len());
    taken.sort_by(f64::total_cmp);
    let at = |share: f64| Duration::from_secs_f64(taken[(share * (REVIEWS - 1) as f64) as usize]);
    eprintln!("reviews: p50 {:?}, p99 {:?}, p99.9 {:?}", at(0.5), at(0.99), at(0.999));
    // Alone on the machine p99 is below 10 ms; the test bears one that others use as well.
    ensure!(at(0.5) < Duration::from_millis(100), "half of the reviews took {:?} and more", at(0.5));
    Ok(())
}
