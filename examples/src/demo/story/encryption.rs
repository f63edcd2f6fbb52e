//! Chapter 4: what goes over the wire can be read by nobody else, and both ends know whom they talk to.
//!
//! The wire is looked at from outside, on the node, without any help of the proxies; the identities are what the server's
//! proxy tells its application. Fails when a single stream between pods is not TLS 1.3.

use super::scene::Scene;
use crate::say::bytes;
use crate::stage::NAMESPACE;
use anyhow::{Context, ensure};
use weft_examples::capture::Seen;
use weft_examples::mesh::fetch;

pub fn show(scene: &Scene<'_>, seen: Seen) -> anyhow::Result<()> {
    let about = "Seen by a packet capture on the node's bridge, since before the first customer came.";
    scene.say.chapter(4, "Nobody reads along", about);
    if let Some(stream) = seen.plaintext.first() {
        let starts_with = String::from_utf8_lossy(&stream.starts_with).into_owned();
        let count = seen.plaintext.len();
        anyhow::bail!(
            "{count} streams between pods are not encrypted; {} -> {} begins {starts_with:?}",
            stream.from,
            stream.to
        );
    }
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        let each = counts.iter().map(|(name, count)| format!("{name} ({count})"));
        each.collect::<Vec<_>>().join(", ")
    };
    let handshakes: u64 = seen.versions.values().sum();
    ensure!(handshakes > 0 && seen.encrypted > 0, "the capture saw no TLS at all: {seen:?}");
    ensure!(seen.versions.keys().all(|version| version == "TLS 1.3"), "not only TLS 1.3: {:?}", seen.versions);
    scene.say.row("frames between pods", &format!("{} with {}", seen.frames, bytes(seen.bytes)));
    scene.say.row("inside TLS records", &bytes(seen.encrypted));
    scene.say.row("handshakes", &list(&seen.versions));
    scene.say.row("cipher suites", &list(&seen.ciphers));
    scene.say.row("carrying (ALPN)", &list(&seen.alpn));
    scene.say.row("streams in plaintext", "0");
    identities(scene)
}

/// A customer asks the frontend who it thinks is calling: the sidecar there has told it, after the handshake.
fn identities(scene: &Scene<'_>) -> anyhow::Result<()> {
    let customer = scene.stage.member("customers")?;
    let frontend = scene.stage.virtual_address("frontend")?;
    let forged = "GET /whoami HTTP/1.1\r\nhost: frontend\r\nconnection: close\r\nx-forwarded-client-cert: URI=spiffe://forged\r\n\r\n";
    let reply = fetch(customer.pod(), (frontend, 80).into(), forged).context("ask the frontend who is calling")?;
    let said = reply.body.trim();
    let named = |key: &str| said.split(';').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
    let (Some(client), Some(server)) = (named("URI"), named("By")) else {
        anyhow::bail!("the frontend knows no caller: {} {said:?}", reply.status)
    };
    let identity = |account: &str| format!("/ns/{NAMESPACE}/sa/{account}");
    ensure!(client.ends_with(&identity("customers")), "the frontend takes its customer for {client}");
    ensure!(server.ends_with(&identity("frontend")), "the frontend's sidecar is {server}");
    scene.say.row("the frontend's sidecar, to it", &format!("you are {server}"));
    scene.say.row("", &format!("called by {client}"));
    scene.say.good("each side has proved who it is; what a customer claims to be in a header is thrown away");
    Ok(())
}
