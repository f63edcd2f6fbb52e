//! Whatever anybody sends: a proper refusal or a closed connection, a count of it, and everybody else is served on.
//!
//! Tables of bad bytes, each sent to the sidecar on the way out and, from a pod without a sidecar, to the one on the way in.

use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_examples::mesh::Metrics;
use weft_examples::pods::{Pod, Program, poll_until};
use weft_tests::client::{Http1, dial, patiently};
use weft_tests::ports::HTTP;
use weft_tests::programs::{dig, python};
use weft_tests::world::{NAMESPACE, SOON};
use weft_tests::{Outcome, Plan, Suite, World};

fn main() -> ExitCode {
    let plan = || Plan::new().echo("echo", 1).client("client").client("asker").start();
    Suite::on("meshed", plan)
        .case("malformed HTTP/1.1 is refused with 400 and closed", http1)
        .case("ambiguous framing is never passed on", smuggling)
        .case("a head that is too large is refused with 431", large_head)
        .case("a client that stops in the middle of a head costs nothing", half_a_head)
        .case("malformed HTTP/2 ends the connection", http2)
        .case("TLS garbage ends the connection", tls)
        .case("an answer that is not HTTP becomes a 502", bad_answer)
        .case("malformed DNS queries are dropped or refused", dns)
        .case("documents with faults are refused by field, and nothing changes", documents)
        .case("after all of this everybody is still served", still_served)
        .run()
}

/// Both ways into a sidecar: out of a meshed pod, and into one from a pod without a sidecar.
fn ways(world: &World) -> anyhow::Result<Vec<(&'static str, Pod, SocketAddr, &'static str)>> {
    let stranger = world.mesh().bystander(NAMESPACE, &format!("stranger-{}", fastrand::u32(..)))?;
    let inside = (world.pod("echo-0").ip(), HTTP).into();
    Ok(vec![("out", world.client().clone(), world.echo(80), "client"), ("in", stranger, inside, "echo-0")])
}

/// Sends `bytes` and reads what comes until the other side closes, or for two seconds.
async fn provoke(pod: &Pod, to: SocketAddr, bytes: &[u8]) -> anyhow::Result<(Vec<u8>, bool)> {
    let mut stream = dial(pod, to)?;
    // The other side may have had enough before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![];
    let mut closed = false;
    let reading = async {
        loop {
            match stream.read_buf(&mut answer).await {
                Ok(0) | Err(_) => break closed = true,
                Ok(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), reading).await;
    Ok((answer, closed))
}

fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

const NO_REQUEST: &str = "a method that is no token";

const MALFORMED: &[(&str, &[u8])] = &[
    ("no version", b"GET /name\r\nhost: a\r\n\r\n"),
    ("a space too many", b"GET /na me HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("a control character in the path", b"GET /na\x00me HTTP/1.1\r\nhost: a\r\n\r\n"),
    (NO_REQUEST, b"G(T /name HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("a space before the colon", b"GET /name HTTP/1.1\r\nhost : a\r\n\r\n"),
    ("a field without a colon", b"GET /name HTTP/1.1\r\nhost: a\r\nnonsense\r\n\r\n"),
    ("a folded field", b"GET /name HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n"),
    ("NUL in a value", b"GET /name HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n"),
    ("a bare CR in a value", b"GET /name HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n"),
    ("no host", b"GET /name HTTP/1.1\r\n\r\n"),
    ("two hosts", b"GET /name HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
    ("a length that is no number", b"POST /name HTTP/1.1\r\nhost: a\r\ncontent-length: ten\r\n\r\n"),
    ("a signed length", b"POST /name HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc"),
    ("a negative length", b"POST /name HTTP/1.1\r\nhost: a\r\ncontent-length: -3\r\n\r\nabc"),
    ("a length beyond all bounds", b"POST /name HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n"),
];

/// Each of these means one message to one parser and another one to the next (RFC 9112 section 11.2).
const AMBIGUOUS: &[(&str, &[u8])] = &[
    ("both lengths", b"POST /count/A HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("two different lengths", b"POST /count/A HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 46\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("a list of lengths", b"POST /count/A HTTP/1.1\r\nhost: a\r\ncontent-length: 0, 46\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunked is not last", b"POST /count/A HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunked twice", b"POST /count/A HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("an encoding with a trick", b"POST /count/A HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunked behind a tab", b"POST /count/A HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("chunked for HTTP/1.0", b"POST /count/A HTTP/1.0\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("a chunk size with a sign", b"POST /count/A HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n+0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("a chunk size beyond all bounds", b"POST /count/A HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
    ("a chunk that is longer than it says", b"POST /count/A HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\nGET /count/SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n"),
];

fn malformed(metrics: &Metrics) -> f64 {
    metrics.sum("weft_malformed_total", &[])
}

async fn http1(world: &World) -> Outcome {
    for (way, pod, to, proxy) in ways(world)? {
        for (what, bytes) in MALFORMED {
            if way == "in" && *what == NO_REQUEST {
                // Nothing is declared on that way in, and bytes that do not begin like a request are none of ours.
                continue;
            }
            let (before, sent) = (malformed(&world.metrics(proxy)), Instant::now());
            let (answer, closed) = provoke(&pod, to, bytes).await?;
            let said = String::from_utf8_lossy(&answer).into_owned();
            ensure!(status(&answer) == 400, "{way}: {what}: {said:?}");
            ensure!(said.contains("weft-reason: "), "{way}: {what}: {said:?}");
            ensure!(closed && sent.elapsed() < SOON, "{way}: {what}: the connection stays open");
            ensure!(malformed(&world.metrics(proxy)) > before, "{way}: {what}: not counted");
        }
    }
    Ok(())
}

async fn smuggling(world: &World) -> Outcome {
    for (way, pod, to, _) in ways(world)? {
        for (what, bytes) in AMBIGUOUS {
            let (answer, closed) = provoke(&pod, to, bytes).await?;
            let said = String::from_utf8_lossy(&answer).into_owned();
            ensure!(closed, "{way}: {what}: the connection stays open after {said:?}");
            ensure!(said.matches("HTTP/1.1 200").count() <= 1, "{way}: {what}: two answers {said:?}");
        }
        let counted = Http1::dial(&pod, to)?.get("/counted/SMUGGLED").await?.text();
        ensure!(counted == "0", "{way}: {counted} smuggled requests arrived");
    }
    Ok(())
}

async fn large_head(world: &World) -> Outcome {
    for (way, pod, to, _) in ways(world)? {
        let request = format!("GET /name HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(200_000));
        let (answer, closed) = provoke(&pod, to, request.as_bytes()).await?;
        let said = String::from_utf8_lossy(&answer).into_owned();
        // A reset may overtake the answer while we are still sending.
        ensure!(closed && (status(&answer) == 431 || answer.is_empty()), "{way}: {said:?}");
        let endless = "GET /name HTTP/1.1\r\nhost: a\r\n".to_owned() + &"x: y\r\n".repeat(50_000);
        ensure!(provoke(&pod, to, endless.as_bytes()).await?.1, "{way}: an endless head is read on");
    }
    Ok(())
}

async fn half_a_head(world: &World) -> Outcome {
    for (_, pod, to, _) in ways(world)? {
        let mut halves = vec![];
        for _ in 0..50 {
            let mut stream = dial(&pod, to)?;
            stream.write_all(b"GET /name HTTP/1.1\r\nhos").await?;
            halves.push(stream);
        }
        let answer = Http1::dial(&pod, to)?.get("/name").await?;
        ensure!(answer.status() == 200, "{answer:?}");
    }
    Ok(())
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What follows the preface: a frame that no client may send (RFC 9113).
const BAD_FRAMES: &[(&str, &[u8])] = &[
    ("no SETTINGS first", b"\x00\x00\x08\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("SETTINGS of five bytes", b"\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00"),
    ("a frame of 16 MiB", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\xff\xff\xff\x00\x00\x00\x00\x00\x01"),
    ("HEADERS on stream 0", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x00\x82"),
    ("HEADERS on an even stream", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x02\x82"),
    ("DATA on an idle stream", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x05x"),
    ("CONTINUATION out of nowhere", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x09\x04\x00\x00\x00\x01\x82"),
    (
        "a header block that is no HPACK",
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff",
    ),
    (
        "a window update of nothing",
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ),
];

async fn http2(world: &World) -> Outcome {
    for (way, pod, to, _) in ways(world)? {
        for (what, frames) in BAD_FRAMES {
            let (_, closed) = provoke(&pod, to, &[PREFACE, frames].concat()).await?;
            ensure!(closed, "{way}: {what}: the connection stays open");
        }
        let almost = b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
        ensure!(provoke(&pod, to, almost).await?.1, "{way}: half a preface: the connection stays open");
        rapid_reset(&pod, to).await.with_context(|| format!("{way}: rapid reset"))?;
    }
    Ok(())
}

/// Ten thousand streams, each opened and reset at once (CVE-2023-44487): others are served meanwhile.
async fn rapid_reset(pod: &Pod, to: SocketAddr) -> Outcome {
    let mut bytes = [PREFACE, b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"].concat();
    for stream in (1u32..20_000).step_by(2) {
        let id = stream.to_be_bytes();
        // :method GET, :scheme http, :path /, :authority a
        bytes.extend([&[0, 0, 6, 1, 5], id.as_slice(), &[0x82, 0x86, 0x84, 0x41, 0x01, b'a']].concat());
        bytes.extend([&[0, 0, 4, 3, 0], id.as_slice(), &[0, 0, 0, 8]].concat());
    }
    let mut stream = dial(pod, to)?;
    let attack = tokio::spawn(async move {
        let _ = stream.write_all(&bytes).await;
        stream
    });
    for _ in 0..10 {
        ensure!(Http1::dial(pod, to)?.get("/name").await?.status() == 200);
    }
    attack.abort();
    Ok(())
}

async fn tls(world: &World) -> Outcome {
    let table: [(&str, &[u8]); 4] = [
        ("a record of nonsense", b"\x16\x03\x01\x00\x05hello"),
        (
            "a ClientHello that is cut short by the next record",
            b"\x16\x03\x01\x00\x06\x01\x00\x02\x00\x03\x03\x17\x03\x03\x00\x01x",
        ),
        ("an alert out of nowhere", b"\x15\x03\x01\x00\x02\x02\x28"),
        ("a record beyond all bounds", b"\x16\x03\x01\xff\xff"),
    ];
    // Only the sidecar on the way in speaks TLS; on the way out these are bytes like any others.
    let (_, pod, to, proxy) = ways(world)?.pop().context("two ways")?;
    for (what, bytes) in table {
        let mut stream = dial(&pod, to)?;
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut rest = vec![];
        // A reset is as good an end as an orderly one.
        let ended = patiently(what, async { Ok(stream.read_to_end(&mut rest).await) }).await;
        ensure!(ended.is_ok(), "{what}: the connection stays open");
    }
    // A real handshake with the mesh's ALPN but without a certificate.
    let at = to.to_string();
    let openssl = Program::new("openssl").args(["s_client", "-connect", &at, "-alpn", "weft-http/1.1", "-ign_eof"]);
    let said = pod.run(openssl.input("GET /name HTTP/1.1\r\nhost: a\r\n\r\n"))?;
    ensure!(!said.stdout.contains("200 As Asked"), "served without a certificate: {}", said.text());
    ensure!(world.metrics(proxy).sum("weft_tls_handshakes_failed_total", &[]) > 0.0, "not counted");
    Ok(())
}

async fn bad_answer(world: &World) -> Outcome {
    // An application that answers everything with something else than HTTP.
    let code = "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
                s.bind(('0.0.0.0', 9999)); s.listen(); print('listening', flush=True)\n\
                while True:\n    c, _ = s.accept(); c.recv(1000); c.sendall(b'* OK this is IMAP\\r\\n'); c.close()\n";
    let program = Program::new("/usr/bin/python3").label("imap").args(["-c", &format!("import socket\n{code}")]);
    let imap = world.pod("echo-0").spawn(program)?;
    imap.wait_log("listening", SOON)?;
    let at = (world.pod("echo-0").ip(), 9999).into();
    let response = Http1::dial(world.client(), at)?.get("/").await?;
    ensure!(response.status() == 502 && response.head.header("weft-reason").is_some(), "{response:?}");
    Ok(())
}

async fn dns(world: &World) -> Outcome {
    let asker = world.pod("asker");
    let to = (asker.ip(), 53).into();
    let code = "queries = [b'', b'\\x00', b'\\x12\\x34', b'\\xff' * 12, bytes(12), b'\\x00\\x01\\x01\\x00\\x00\\x01' + bytes(6) + b'\\xc0\\x0c\\x00\\x01\\x00\\x01',\n\
                b'\\x00\\x01\\x01\\x00\\x00\\x01' + bytes(6) + b'\\x3f' + b'a' * 10, b'\\x00\\x01\\x01\\x00\\xff\\xff' + bytes(6), b'\\x00\\x01\\x80\\x00\\x00\\x01' + bytes(6) + b'\\x00\\x00\\x01\\x00\\x01',\n\
                bytes(range(256)) * 4]\n\
                for query in queries:\n    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(query, ('10.77.0.1', 53))\n\
                for query in queries:\n    s = socket.create_connection(('10.77.0.1', 53), 5); s.sendall(struct.pack('>H', len(query)) + query); s.close()\n\
                s = socket.create_connection(('10.77.0.1', 53), 5); s.sendall(b'\\xff\\xff\\x00')\nprint('sent')\n";
    ensure!(python(asker, to, code)?.trim() == "sent");
    let found = dig(asker, &["echo.test.svc.cluster.local"])?;
    ensure!(found.len() == 1, "DNS is gone: {found:?}");
    Ok(())
}

/// A document, and the field that must be named.
const FAULTS: &[(&str, &str)] = &[
    ("kind: Service\nspec: { ports: [{ port: 0 }] }", "spec.ports[0].port"),
    ("kind: Service\nspec: { ports: [{ port: 70000 }] }", "spec.ports[0].port"),
    ("kind: Service\nspec: { ports: [] }", "spec.ports"),
    ("kind: Service\nspec: { ports: [{ port: 80, targetPrt: 8080 }] }", "targetPrt"),
    ("kind: Service\nspec: { ports: [{ port: eighty }] }", "port"),
    ("kind: Service\nspec: { ports: [{ name: a, port: 80 }, { name: a, port: 81 }] }", "spec.ports[1].name"),
    ("kind: Endpoint\nspec: { service: echo, addresses: [\"10.0.0.300\"] }", "spec.addresses[0]"),
    ("kind: Endpoint\nspec: { service: echo, addresses: [] }", "spec.addresses"),
    (
        "kind: TrafficPolicy\nspec: { targetRefs: [{ kind: Service, name: echo }], retry: { attempts: -1 } }",
        "spec.retry.attempts",
    ),
    (
        "kind: TrafficPolicy\nspec: { targetRefs: [{ kind: Service, name: echo }], timeouts: { connect: soon } }",
        "spec.timeouts.connect",
    ),
    (
        "kind: HTTPRoute\nspec: { parentRefs: [{ kind: Service, group: \"\", name: echo }], rules: [{ backendRefs: [{ name: echo, port: 80, weight: 0 }] }] }",
        "weight",
    ),
    ("kind: Surprise\nspec: {}", "kind"),
];

async fn documents(world: &World) -> Outcome {
    let everything = || world.mesh().weftctl(&["get", "services", "-A", "-o", "json"]);
    let before = everything()?;
    for (document, field) in FAULTS {
        let kind = document.split(['\n', ' ']).nth(1).unwrap_or("");
        let version = match kind {
            "HTTPRoute" => "gateway.networking.k8s.io/v1",
            "Endpoint" | "TrafficPolicy" => "weft.dev/v1alpha1",
            _ => "v1",
        };
        // A good document beside the bad one must not get through either.
        let good = weft_tests::ports::service_document(NAMESPACE, "good");
        let bad = format!("apiVersion: {version}\nmetadata: {{ name: bad, namespace: {NAMESPACE} }}\n{document}\n");
        let refused = world.mesh().apply(&format!("{good}---\n{bad}")).err();
        let said = refused.with_context(|| format!("accepted: {document}"))?.to_string();
        ensure!(said.contains(field), "{document}\n does not name {field}: {said}");
    }
    ensure!(everything()? == before, "something changed");
    Ok(())
}

async fn still_served(world: &World) -> Outcome {
    for (way, pod, to, proxy) in ways(world)? {
        ensure!(Http1::dial(&pod, to)?.get("/name").await?.text() == "echo-0", "{way}");
        let running = world.member(proxy).with_proxy(|process| process.is_running());
        ensure!(running == Some(true), "{proxy}: the sidecar is gone");
    }
    let open = || (world.metrics("client").sum("weft_connections_open", &[]) < 5.0).then_some(());
    poll_until(Instant::now() + SOON, "connections to be given back", open)?;
    Ok(())
}
