//! What is measured, by name: the vocabulary that scenarios fill in and the report prints.
//!
//! Data only. A figure that is not there was not measured; nothing is ever filled with zero.

/// A kind of figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// In summary.json; ends with the unit.
    pub key: &'static str,
    /// In tables.
    pub about: &'static str,
}

const fn figure(key: &'static str, about: &'static str) -> Figure {
    Figure { key, about }
}

pub const CPU_PER_REQUEST: Figure = figure("cpu_us_per_request", "CPU per request, both proxies (us)");
pub const REQUESTS: Figure = figure("requests_per_second", "requests/s");
pub const P50: Figure = figure("p50_us", "p50 (us)");
pub const P99: Figure = figure("p99_us", "p99 (us)");
pub const P999: Figure = figure("p99_9_us", "p99.9 (us)");
pub const ADDED_P50: Figure = figure("added_p50_us", "p50 added over direct (us)");
pub const ADDED_P99: Figure = figure("added_p99_us", "p99 added over direct (us)");
pub const ADDED_P999: Figure = figure("added_p99_9_us", "p99.9 added over direct (us)");
pub const CPU_PER_GIB: Figure = figure("cpu_seconds_per_gib", "CPU per GiB, both proxies (s)");
pub const BYTES: Figure = figure("gb_per_second", "GB/s");
pub const RSS_IDLE: Figure = figure("rss_idle_mib", "RSS per proxy, idle (MiB)");
pub const PSS_IDLE: Figure = figure("pss_idle_mib", "PSS per proxy, idle (MiB)");
pub const RSS_1000: Figure = figure("rss_1000_mib", "RSS of the client's proxy, 1,000 idle connections (MiB)");
pub const RSS_10000: Figure = figure("rss_10000_mib", "RSS of the client's proxy, 10,000 idle connections (MiB)");
pub const PER_CONNECTION: Figure = figure("kib_per_idle_connection", "its growth per idle connection (KiB)");
pub const BINARY: Figure = figure("binary_mib", "binary (MiB)");
pub const START: Figure = figure("start_ms", "process start to first answer (ms)");

/// What one contender came to in one round, in the order in which it is to be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures(Vec<(Figure, f64)>);

impl Figures {
    pub fn add(&mut self, figure: Figure, value: f64) {
        self.0.push((figure, value));
    }

    /// The same, chained; nothing is added for `None`.
    pub fn with(mut self, figure: Figure, value: impl Into<Option<f64>>) -> Self {
        self.0.extend(value.into().map(|value| (figure, value)));
        self
    }

    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.iter().find(|(kind, _)| *kind == figure).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Figure, f64)> + '_ {
        self.0.iter().copied()
    }
}
