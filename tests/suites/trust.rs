//! The root of trust is replaced while everything runs, and nobody notices; whoever would be cut off is waited for.
//!
//! Real sidecars in namespaces under load, `weftctl` as people type it, and authorities as operators bring them.

use anyhow::{Context, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use weft_examples::mesh::Workload;
use weft_examples::pods::{Output, Program, poll_until};
use weft_tests::client::Http1;
use weft_tests::programs::curl;
use weft_tests::world::{NAMESPACE, SOON, server};
use weft_tests::{Outcome, Plan, Suite, World};

/// How long a rotation may take on a machine that is busy with other things.
const ROTATED: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 2).client("client").client("other").client("absent").start())
        .limit(ROTATED)
        .case("a dry run says what would be done and does nothing", dry_run)
        .case("certificates are listed with anchor, end and renewals", listed)
        .case("an authority that cannot sign is refused with its reason", bad_authorities)
        .case("the root is replaced under load and no request fails", under_load)
        .case("who cannot follow is waited for and named, and the rotation goes on later", waits)
        .case("a rotation is taken back, before anything is signed and after, under load", taken_back)
        .case("who is gone for good is forgotten, and the rotation goes on without it", forgotten)
        .case("an authority below a root takes over, and its chain is shown", intermediate)
        .case("an operator's chain and bundle serve from the start", brought)
        .run()
}

/// `weftctl` with these words, whatever becomes of it.
fn weftctl(world: &World, args: &[&str]) -> anyhow::Result<Output> {
    let program = world.mesh().discovery()[0].weftctl_program()?.args(args);
    Ok(world.mesh().node().run(program)?)
}

/// What it says when it succeeds.
fn said(world: &World, args: &[&str]) -> anyhow::Result<String> {
    let output = weftctl(world, args)?;
    ensure!(output.status.success(), "weftctl {}: {}", args.join(" "), output.text());
    Ok(output.stdout)
}

fn status(world: &World) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::from_str(&said(world, &["trust", "status", "-o", "json"])?)?)
}

/// Fingerprints of the anchors in force.
fn anchors(world: &World) -> anyhow::Result<Vec<String>> {
    let status = status(world)?;
    let anchors = status["anchors"].as_array().context("no anchors")?;
    Ok(anchors.iter().filter_map(|anchor| Some(anchor["fingerprint"].as_str()?.to_owned())).collect())
}

async fn dry_run(world: &World) -> Outcome {
    let before = anchors(world)?;
    let said = said(world, &["trust", "rotate", "--dry-run"])?;
    ensure!(said.contains("1. trust a new anchor") && said.contains("3. trust the old one no more"), "{said}");
    ensure!(anchors(world)? == before && status(world)?["stage"] == "rest");
    Ok(())
}

async fn listed(world: &World) -> Outcome {
    let rows = || {
        let text = said(world, &["certificates", "-A", "-o", "json"])?;
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text)?;
        anyhow::Ok(rows)
    };
    // A proxy says that it uses its certificate as soon as it has a stream.
    let all = || rows().ok().filter(|rows| rows.len() == 6 && rows.iter().all(|row| row["state"] == "in-use"));
    let found = poll_until(Instant::now() + SOON, "every owner to say what it uses", all);
    let found = found.with_context(|| format!("{:?}", rows()))?;
    let anchor = &anchors(world)?[0];
    for name in ["echo-0", "echo-1", "client", "other", "discovery-0"] {
        let row = found.iter().find(|row| row["proxy"] == name).with_context(|| format!("{name}: {found:?}"))?;
        ensure!(row["anchor"] == anchor.as_str() && row["renewals"] == 0, "{row}");
    }
    let table = said(world, &["certificates", "-n", NAMESPACE])?;
    ensure!(table.starts_with("PROXY") && table.contains("spiffe://weft.local/ns/test/sa/echo"), "{table}");
    Ok(())
}

/// Runs `weftctl` while requests go through `echo` on many connections, old and new. What it said when it succeeded, and how many
/// requests were answered, all of them well.
async fn loaded(world: &World, args: &[&str]) -> anyhow::Result<(String, u64)> {
    let program = world.mesh().discovery()[0].weftctl_program()?.args(args).label("weftctl");
    let (over, at) = (&AtomicBool::new(false), world.echo(80));
    let clients = (0..6).map(|n| async move {
        let pod = world.pod(if n % 2 == 0 { "client" } else { "other" });
        let mut client = Http1::dial(pod, at)?;
        let mut count: u64 = 0;
        while !over.load(Ordering::Relaxed) {
            // Half of them never keep a connection.
            if n < 3 {
                client = Http1::dial(pod, at)?;
            }
            let response = client.get("/delay/5ms").await.with_context(|| format!("request {count} of client {n}"))?;
            ensure!(response.status() == 200, "request {count} of client {n}: {response:?}");
            count += 1;
        }
        anyhow::Ok(count)
    });
    let working = async {
        let process = world.mesh().node().spawn(program)?;
        let deadline = Instant::now() + ROTATED;
        let status = loop {
            if let Some(status) = process.status() {
                break status;
            }
            ensure!(Instant::now() < deadline, "weftctl does not end: {}", process.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        over.store(true, Ordering::Relaxed);
        ensure!(status.success(), "{status}: {}", process.log());
        anyhow::Ok(process.log())
    };
    let (counts, said) = futures::future::try_join(futures::future::try_join_all(clients), working).await?;
    Ok((said, counts.into_iter().sum()))
}

async fn under_load(world: &World) -> Outcome {
    let before = anchors(world)?;
    let (said, answered) = loaded(world, &["trust", "rotate", "--wait", "5m"]).await?;
    ensure!(answered > 20, "{answered} requests are no load");
    println!("{answered} requests were answered meanwhile, 0 failed");
    let after = anchors(world)?;
    ensure!(after.len() == 1 && after != before, "{before:?} {after:?}");
    for step in ["Trusting a new anchor", "Issuing certificates under it", "Removing the old one"] {
        ensure!(said.contains(step), "{said}");
    }
    all_lead_to(world, &after[0])
}

fn all_lead_to(world: &World, anchor: &str) -> Outcome {
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said(world, &["certificates", "-A", "-o", "json"])?)?;
    let all = rows.iter().filter(|row| row["state"] != "forgotten").all(|row| row["anchor"] == anchor);
    ensure!(all, "{rows:?}");
    Ok(())
}

async fn waits(world: &World) -> Outcome {
    let absent = world.member("absent");
    absent.kill_proxy();
    let impatient = weftctl(world, &["trust", "rotate", "--wait", "3s"])?;
    ensure!(
        !impatient.status.success() && impatient.stderr.contains("test/absent (its certificate ends in"),
        "{}",
        impatient.text()
    );
    let status = status(world)?;
    ensure!(status["stage"] == "adding" && status["waitingFor"][0]["proxy"] == "absent", "{status}");
    ensure!(anchors(world)?.len() == 2);
    let plan = said(world, &["trust", "rotate", "--dry-run"])?;
    ensure!(plan.contains("2. issue certificates under it") && !plan.contains("1. trust"), "{plan}");
    // With its certificate from before, and a root that has been told of meanwhile.
    absent.start_proxy()?;
    let resumed = weftctl(world, &["trust", "rotate", "--wait", "5m"])?;
    ensure!(resumed.status.success(), "{}", resumed.text());
    let left = anchors(world)?;
    ensure!(left.len() == 1, "{left:?}");
    all_lead_to(world, &left[0])
}

/// A rotation that waits for `absent`, whose sidecar is gone, until it is given up.
fn held_up(world: &World) -> Outcome {
    let impatient = weftctl(world, &["trust", "rotate", "--wait", "2s"])?;
    let names = impatient.stderr.contains("test/absent (its certificate ends in");
    let hints = impatient.stderr.contains("weftctl trust forget") && impatient.stderr.contains("weftctl trust abort");
    ensure!(!impatient.status.success() && names && hints, "{}", impatient.text());
    Ok(())
}

async fn taken_back(world: &World) -> Outcome {
    // Looked up while everybody is there to be asked.
    world.echo(80);
    let (before, absent) = (anchors(world)?, world.member("absent"));
    let nothing = weftctl(world, &["trust", "abort"])?;
    ensure!(!nothing.status.success() && nothing.stderr.contains("nothing to take back"), "{}", nothing.text());
    absent.kill_proxy();
    held_up(world)?;
    ensure!(anchors(world)?.len() == 2);
    let back = said(world, &["trust", "abort"])?;
    ensure!(back.contains("No rotation is under way.") && anchors(world)? == before, "{back}");
    // It hears of the next one, and is gone before it has a certificate under it.
    held_up(world)?;
    absent.start_proxy()?;
    let heard = || status(world).is_ok_and(|status| status["waitingFor"] == serde_json::json!([])).then_some(());
    poll_until(Instant::now() + SOON, "everybody to trust the new anchor", heard)?;
    absent.kill_proxy();
    held_up(world)?;
    ensure!(status(world)?["stage"] == "issuing", "{}", status(world)?);
    let (said, answered) = loaded(world, &["trust", "abort", "--wait", "5m"]).await?;
    ensure!(said.contains("under the old anchor again") && said.contains("Removing the new one"), "{said}");
    ensure!(anchors(world)? == before && answered > 20, "{answered} requests, {:?}", anchors(world)?);
    all_lead_to(world, &before[0])
}

async fn forgotten(world: &World) -> Outcome {
    world.echo(80);
    let before = anchors(world)?;
    world.member("absent").kill_proxy();
    held_up(world)?;
    for (name, reason) in
        [("test/echo-0", "is connected to"), ("test/nobody", "has no certificate"), ("echo-0", "such as")]
    {
        let refused = weftctl(world, &["trust", "forget", name])?;
        ensure!(!refused.status.success() && refused.stderr.contains(reason), "{name}: {}", refused.text());
    }
    let done = said(world, &["trust", "forget", "test/absent"])?;
    ensure!(done == "test/absent is not waited for any more\n", "{done}");
    loaded(world, &["trust", "rotate", "--wait", "5m"]).await?;
    let after = anchors(world)?;
    ensure!(after.len() == 1 && after != before, "{before:?} {after:?}");
    let table = said(world, &["certificates", "-n", NAMESPACE, "absent"])?;
    ensure!(table.contains("forgotten"), "{table}");
    all_lead_to(world, &after[0])
}

/// An authority of a test's own making.
struct Made {
    pem: String,
    der: rcgen::Certificate,
    key: KeyPair,
}

fn made(name: &str, change: impl FnOnce(&mut CertificateParams), above: Option<&Made>) -> anyhow::Result<Made> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = (SystemTime::now() - Duration::from_secs(3_600)).into();
    params.not_after = (SystemTime::now() + Duration::from_secs(30 * 86_400)).into();
    change(&mut params);
    let der = match above {
        None => params.self_signed(&key)?,
        Some(above) => params.signed_by(
            &key,
            &Issuer::from_ca_cert_der(above.der.der(), KeyPair::from_pem(&above.key.serialize_pem())?)?,
        )?,
    };
    Ok(Made { pem: der.pem(), der, key })
}

/// A directory as `--issuer` and `--root` want it.
fn directory(
    world: &Path,
    name: &str,
    certificates: &[&Made],
    key: &Made,
    bundle: &[&Made],
) -> anyhow::Result<PathBuf> {
    let directory = world.join(name);
    std::fs::create_dir_all(&directory)?;
    let text = |list: &[&Made]| list.iter().map(|made| made.pem.as_str()).collect::<String>();
    std::fs::write(directory.join("tls.crt"), text(certificates))?;
    std::fs::write(directory.join("tls.key"), key.key.serialize_pem())?;
    if !bundle.is_empty() {
        std::fs::write(directory.join("ca.crt"), text(bundle))?;
    }
    Ok(directory)
}

async fn bad_authorities(world: &World) -> Outcome {
    let root = made("a root", |_| {}, None)?;
    let below = made("an issuer", |_| {}, Some(&root))?;
    let leaf = made("no authority", |params| params.is_ca = IsCa::ExplicitNoCa, Some(&root))?;
    let tight = made("a tight root", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), None)?;
    let below_tight = made("an issuer", |_| {}, Some(&tight))?;
    let late =
        made("a late root", |params| params.not_after = (SystemTime::now() - Duration::from_secs(60)).into(), None)?;
    let foreign = |params: &mut CertificateParams| {
        let uri = rcgen::string::Ia5String::try_from("spiffe://other.example").map(rcgen::SanType::URI);
        params.subject_alt_names.extend(uri);
    };
    let foreign = made("a foreign root", foreign, None)?;
    let before = anchors(world)?;
    for (name, certificates, key, bundle, wanted) in [
        (
            "leaf",
            vec![&leaf],
            &leaf,
            vec![&root],
            "CN=no authority is not the certificate of an authority (CA:TRUE is missing)",
        ),
        ("key", vec![&below], &root, vec![&root], "it does not belong to CN=an issuer"),
        (
            "tight",
            vec![&below_tight],
            &below_tight,
            vec![&tight],
            "CN=a tight root allows 0 authorities below it (path length 0), the chain has 1",
        ),
        ("late", vec![&late], &late, vec![], "CN=a late root has expired: it was valid until"),
        ("loose", vec![&below], &below, vec![], "does not end in a trust anchor: CN=an issuer is signed by CN=a root"),
        ("foreign", vec![&foreign], &foreign, vec![], "is for the trust domain other.example, not weft.local"),
    ] {
        let at = directory(world.network().dir(), name, &certificates, key, &bundle)?;
        let output = weftctl(world, &["trust", "rotate", "--issuer", &at.display().to_string()])?;
        let flat = output.stderr.replace('\n', " ");
        ensure!(!output.status.success() && flat.contains(wanted), "{name}: {}\ninstead of\n{wanted}", output.text());
    }
    let nowhere = weftctl(world, &["trust", "rotate", "--issuer", "/nonexistent"])?;
    ensure!(nowhere.stderr.contains("--issuer: /nonexistent/tls.crt"), "{}", nowhere.text());
    ensure!(anchors(world)? == before && status(world)?["stage"] == "rest", "something was changed");
    Ok(())
}

/// The certificates that a sidecar shows to whoever speaks the mesh's protocol.
fn shown(world: &World, pod: &str, file: &Path) -> anyhow::Result<(usize, String)> {
    let stranger = match world.mesh().bystander(NAMESPACE, &format!("curious-{pod}")) {
        Ok(stranger) => stranger,
        Err(error) => bail!("{error}"),
    };
    let at = format!("{}:{}", world.pod(pod).ip(), weft_tests::ports::HTTP);
    let openssl =
        Program::new("openssl").args(["s_client", "-connect", &at, "-alpn", "weft-http/1.1", "-tls1_3", "-showcerts"]);
    let output = stranger.run(openssl.arg("-CAfile").arg(file))?;
    Ok((output.stdout.matches("BEGIN CERTIFICATE").count(), output.text()))
}

async fn intermediate(world: &World) -> Outcome {
    let root = made("a company's root", |_| {}, None)?;
    let middle = made("a company's mesh authority", |_| {}, Some(&root))?;
    let at = directory(world.network().dir(), "issuer", &[&middle], &middle, &[&root])?;
    loaded(world, &["trust", "rotate", "--issuer", &at.display().to_string(), "--wait", "5m"]).await?;
    let status = said(world, &["trust", "status"])?;
    ensure!(status.contains("CN=a company's root"), "{status}");
    let (count, text) = shown(world, "echo-0", &at.join("ca.crt"))?;
    ensure!(count == 2 && text.contains("Verify return code: 0 (ok)"), "{text}");
    ensure!(curl(world.client(), &[&world.url("/name")])?.starts_with("echo-"));
    // What a new workload is given to start with is current as well. Its end leaves a certificate: no rotation comes after this.
    let newcomer = world.mesh().join(Workload::new(NAMESPACE, "newcomer", "newcomer"))?;
    ensure!(curl(newcomer.pod(), &[&world.url("/name")])?.starts_with("echo-"));
    Ok(())
}

async fn brought(_: &World) -> Outcome {
    let network = weft_examples::pods::Network::new()?;
    let (root, other) = (made("a root", |_| {}, None)?, made("another root", |_| {}, None)?);
    let upper = made("an authority", |_| {}, Some(&root))?;
    let lower = made("an issuer", |_| {}, Some(&upper))?;
    let at = directory(network.dir(), "brought", &[&lower, &upper], &lower, &[&other, &root])?;
    let options =
        weft_examples::mesh::Options { discovery_args: vec![format!("--root={}", at.display())], ..Default::default() };
    let plan = Plan::new().options(options).documents(weft_tests::ports::service_document(NAMESPACE, "echo"));
    let plan = plan.replica("echo", 0, |workload, _| (workload, server("echo-0"))).client("client");
    let world = plan.start_on(network)?;
    let answer = Http1::dial(world.client(), world.echo(80))?.get("/name").await?;
    ensure!(answer.status() == 200, "{answer:?}");
    let said = said(&world, &["trust", "status"])?;
    ensure!(said.contains("CN=a root") && said.contains("CN=another root"), "{said}");
    let file = world.network().dir().join("root.pem");
    std::fs::write(&file, &root.pem)?;
    let (count, text) = shown(&world, "echo-0", &file)?;
    ensure!(count == 3 && text.contains("Verify return code: 0 (ok)"), "{text}");
    Ok(())
}
