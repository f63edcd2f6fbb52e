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
pub const CPU_PER_MESSAGE: Figure = figure("cpu_us_per_message", "CPU per message there and back, both proxies (us)");
pub const MESSAGES: Figure = figure("messages_per_second", "messages/s, there and back");
pub const CPU_PER_CONNECTION: Figure = figure("cpu_us_per_connection", "CPU per connection, both proxies (us)");
pub const CONNECTIONS: Figure = figure("connections_per_second", "connections/s");
pub const REQUESTS: Figure = figure("requests_per_second", "requests/s");
pub const P50: Figure = figure("p50_us", "p50 (us)");
pub const P99: Figure = figure("p99_us", "p99 (us)");
pub const P999: Figure = figure("p99_9_us", "p99.9 (us)");
pub const LEFT_OUT: Figure = figure("left_out_percent", "requests left out, the machine stood still (%)");
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
pub const RSS_KNOWN: Figure = figure("rss_known_mib", "RSS of the client's proxy, 1,000 services x 10 endpoints (MiB)");
pub const PER_SERVICE: Figure = figure("kib_per_known_service", "its growth per service (KiB)");
pub const BINARY: Figure = figure("binary_mib", "binary (MiB)");
pub const START: Figure = figure("start_ms", "process start to first answer (ms)");
pub const CHANGE_P50: Figure = figure("change_p50_ms", "store write to last subscriber, p50 (ms)");
pub const CHANGE_P99: Figure = figure("change_p99_ms", "store write to last subscriber, p99 (ms)");
pub const CPU_PER_CHANGE: Figure = figure("cpu_us_per_change", "CPU of discovery per change, over idle (us)");
pub const CORES: Figure = figure("discovery_cores", "discovery under changes (cores)");
pub const STORE_CORES: Figure = figure("store_cores", "all nodes of the store under changes (cores)");
pub const BYTES_PER_CHANGE: Figure = figure("bytes_per_change", "bytes on the wire per change and subscriber");
pub const COLD_START: Figure = figure("cold_start_ms", "all proxies at once until the last knows its services (ms)");
pub const COLD_P99: Figure = figure("cold_start_p99_ms", "the same, p99 of the proxies (ms)");
pub const COLD_CPU: Figure = figure("cold_start_cpu_ms", "CPU of discovery per proxy that starts (ms)");
pub const RSS_ALONE: Figure = figure("rss_alone_mib", "RSS of discovery, nobody subscribed (MiB)");
pub const RSS_SUBSCRIBED: Figure = figure("rss_subscribed_mib", "RSS of discovery, everybody subscribed (MiB)");
pub const RSS_PEAK: Figure = figure("rss_peak_mib", "RSS of discovery, at its highest (MiB)");

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
