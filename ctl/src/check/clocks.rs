//! Whether this machine, the replicas of discovery and every sidecar agree on the time.
//!
//! Pure. Everybody is compared with the first replica that tells its time, so that a wrong clock here is one fault and not one
//! for each proxy. What a slow answer leaves open is no fault.

use super::facts::{Facts, Offset};
use super::finding::Finding;
use crate::print::span;
use std::time::Duration;

/// Deadlines that clients set are compared with each machine's clock, and lines of logs and spans of traces are read side by
/// side: this much is more than NTP leaves. Certificates bear five minutes.
pub const MAX_SKEW: Duration = Duration::from_secs(5);

/// The one finding.
pub fn agree(facts: &Facts) -> Finding {
    let replicas = facts.replicas.iter().filter_map(|(_, answer)| answer.as_ref().ok());
    let mut replicas = replicas.filter_map(|heard| Some((heard.status.replica.as_str(), heard.offset?)));
    let what = |count: usize| format!("clocks agree within {} ({count})", span(MAX_SKEW));
    let Some((first, reference)) = replicas.next() else {
        return Finding::of("clocks", "clocks: discovery is of a version that does not tell the time", [], "");
    };
    // Seen from there, this machine stands where it is not off by anything from itself.
    let here = ("this machine".to_owned(), Offset { least: 0, most: 0 });
    let others = replicas.map(|(name, offset)| (name.to_owned(), offset));
    let sidecars = facts.sidecars.iter();
    let sidecars = sidecars.filter_map(|sidecar| Some((sidecar.name(), sidecar.told.as_ref().ok()?.offset)));
    let all: Vec<_> = std::iter::once(here).chain(others).chain(sidecars).collect();
    let off = all.iter().filter_map(|(name, offset)| {
        let (by, ahead) = offset.from(reference).beyond(MAX_SKEW)?;
        Some(format!("{name} is {} {} {first}", span(by), if ahead { "ahead of" } else { "behind" }))
    });
    Finding::of(
        "clocks",
        what(all.len() + 1),
        off,
        "let NTP (chrony, systemd-timesyncd) set the clock of that machine; from 5 minutes on new certificates are refused",
    )
}
