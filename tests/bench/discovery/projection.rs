//! From what was measured to meshes of other sizes: how many replicas, and what each of them takes.
//!
//! Pure arithmetic, every assumption of which is a constant here and a line in `docs/scale.md`. `None` where something that it needs was
//! not measured.

use super::shape::{ENDPOINTS, Shape};
use crate::figure::{BYTES_PER_CHANGE, COLD_CPU, CPU_PER_CHANGE, Figures, RSS_ALONE, RSS_SUBSCRIBED};
use crate::report::{number, row};

/// Meshes that are looked at.
const PODS: [f64; 3] = [1_000.0, 10_000.0, 100_000.0];
/// Services that one proxy is subscribed to.
const SUBSCRIPTIONS: f64 = 20.0;
/// Changes of endpoints per second and pod: all pods replaced within 67 minutes, at four changes each.
const CHANGES_PER_POD: f64 = 0.001;
/// Streams that one replica is to have at most, when one other is away.
const STREAMS: f64 = 10_000.0;
const KIB_PER_MIB: f64 = 1024.0;

/// What one of each costs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Unit {
    /// MiB of a replica that knows nothing and serves nobody.
    base: f64,
    endpoint_kib: f64,
    stream_kib: f64,
    message_us: f64,
    message_bytes: f64,
    start_ms: f64,
}

/// A table with a column for each mesh.
pub fn table(full: &Figures, shape: &Shape, growth: &[(usize, Figures)]) -> Option<String> {
    let unit = Unit::of(full, shape, growth)?;
    let columns = PODS.map(|pods| unit.mesh(pods));
    let titles = PODS.iter().map(|pods| format!("{pods} pods"));
    let mut text = row(["a mesh of".to_owned()].into_iter().chain(titles));
    text += &row(["---"].into_iter().chain(PODS.map(|_| "---:")).map(str::to_owned));
    for (n, (name, _)) in columns[0].iter().enumerate() {
        let cells = columns.iter().map(|column| number(column[n].1));
        text += &row([(*name).to_owned()].into_iter().chain(cells));
    }
    Some(text)
}

impl Unit {
    fn of(full: &Figures, shape: &Shape, growth: &[(usize, Figures)]) -> Option<Self> {
        let alone =
            |(services, figures): &(usize, Figures)| Some(((services * ENDPOINTS) as f64, figures.get(RSS_ALONE)?));
        let (few, small) = alone(growth.first()?)?;
        let (many, large) = alone(growth.last()?)?;
        if many <= few {
            return None;
        }
        let endpoint_mib = (large - small).max(0.0) / (many - few);
        let streams = full.get(RSS_SUBSCRIBED)? - full.get(RSS_ALONE)?;
        Some(Self {
            base: (small - few * endpoint_mib).max(0.0),
            endpoint_kib: endpoint_mib * KIB_PER_MIB,
            stream_kib: streams.max(0.0) * KIB_PER_MIB / shape.proxies as f64,
            message_us: full.get(CPU_PER_CHANGE)? / f64::from(shape.listeners()),
            message_bytes: full.get(BYTES_PER_CHANGE)?,
            start_ms: full.get(COLD_CPU)?,
        })
    }

    /// Figures of a mesh, in the order of the rows.
    fn mesh(self, pods: f64) -> Vec<(&'static str, f64)> {
        // One more than is needed, so that one may be away.
        let replicas = (pods / STREAMS).ceil() + 1.0;
        let (streams, rest) = (pods / replicas, replicas - 1.0);
        let changes = pods * CHANGES_PER_POD;
        let listeners = SUBSCRIPTIONS * ENDPOINTS as f64;
        let messages = changes * listeners / replicas;
        let memory = |streams: f64| self.base + (pods * self.endpoint_kib + streams * self.stream_kib) / KIB_PER_MIB;
        vec![
            ("replicas of discovery, of which one may be away", replicas),
            ("streams per replica", streams),
            ("the same with one replica away", pods / rest),
            ("changes/s = writes/s to the store", changes),
            ("messages/s per replica", messages),
            ("CPU per replica for them (cores)", messages * self.message_us / 1e6),
            ("MB/s per replica to its proxies", messages * self.message_bytes / 1e6),
            ("memory per replica (MiB)", memory(streams)),
            ("the same with one replica away (MiB)", memory(pods / rest)),
            ("CPU of each other replica to take over the proxies of one (s)", streams / rest * self.start_ms / 1e3),
            ("events/s from the store to all replicas", changes * replicas),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(rss: f64) -> Figures {
        Figures::default().with(RSS_ALONE, rss)
    }

    #[test]
    fn what_one_costs_is_multiplied() {
        let full = Figures::default()
            .with(RSS_ALONE, 30.0)
            .with(RSS_SUBSCRIBED, 130.0)
            .with(CPU_PER_CHANGE, 400.0)
            .with(BYTES_PER_CHANGE, 150.0)
            .with(COLD_CPU, 2.0);
        let shape = Shape::full(1_000, 1_000, 100, true);
        let growth = [(100, grown(21.0)), (1_100, grown(31.0))];
        let unit = Unit::of(&full, &shape, &growth).unwrap();
        let close = |left: f64, right: f64| (left - right).abs() < 1e-6;
        assert!(close(unit.base, 20.0) && close(unit.endpoint_kib, 1.024), "{unit:?}");
        assert!(close(unit.stream_kib, 102.4) && close(unit.message_us, 20.0), "{unit:?}");
        let mesh = unit.mesh(100_000.0);
        let of = |name: &str| mesh.iter().find(|(row, _)| row.contains(name)).unwrap().1;
        assert_eq!((of("replicas of discovery"), of("changes/s")), (11.0, 100.0));
        assert!(close(of("messages/s"), 20_000.0 / 11.0), "{mesh:?}");
        assert!(table(&full, &shape, &growth).unwrap().starts_with("| a mesh of | 1000 pods |"));
        assert_eq!(table(&full, &shape, &growth[..1]), None, "one step is no growth");
    }
}
