//! Chapter 4: what goes over the wire can be read by nobody else, and both ends know whom they talk to.
//!
//! The wire is looked at from outside, on the node, without any help of the proxies; the identities are in the proxies' own
//! record. Fails when a single stream between pods is not TLS 1.3.

use super::scene::Scene;
use crate::say::bytes;
use anyhow::{Context, ensure};
use weft_examples::capture::Seen;

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

/// Who talks to whom, as a client's proxy and a server's proxy say.
fn identities(scene: &Scene<'_>) -> anyhow::Result<()> {
    let peer = |name: &str, direction: &str| {
        let metrics = scene.stage.member(name)?.metrics();
        let peers = metrics.sum_by("weft_tls_connections_total", "peer", &[("direction", direction)]);
        peers.into_keys().next().with_context(|| format!("the proxy of {name} names no peer"))
    };
    scene.say.row("who search-0 says it calls", &peer("search-0", "outbound")?);
    scene.say.row("who ranking-0 says calls it", &peer("ranking-0", "inbound")?);
    Ok(())
}
