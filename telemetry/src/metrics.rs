//! The registry of a program's metrics, in the OpenMetrics text format and the one before it.
//!
//! Filled while the program starts, read at each scrape. Every name of ours begins with `weft_`; what describes the
//! process keeps the names that Prometheus client libraries agree on (`process_...`).

mod exposition;
mod latency;
mod open;
mod points;
mod process;
mod push;

pub use exposition::Exposition;
pub use latency::LatencyHistogram;
pub use open::OpenConnection;
pub use push::Push;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry as Names};
use std::collections::HashSet;
use std::fmt;
use std::time::SystemTime;

/// The metrics of one program.
#[derive(Debug)]
pub struct Registry {
    ours: Names,
    process: Names,
    taken: HashSet<String>,
    started: SystemTime,
}

impl Registry {
    /// With the metrics every program has: `weft_build_info{binary, version}` and those of the process.
    pub fn new(binary: &'static str, version: &'static str) -> Self {
        let mut process = Names::default();
        process.register_collector(Box::new(process::Process::new()));
        let mut ours = Names::with_prefix("weft");
        ours.register("build", "The program that runs here", Info::new([("binary", binary), ("version", version)]));
        Self { ours, process, taken: HashSet::from(["build".to_owned()]), started: SystemTime::now() }
    }

    /// Adds `metric` as `weft_<name>` and returns it. The format adds `_total` to counters; `help` has no full stop.
    ///
    /// # Panics
    /// When the name is taken or not of lower-case letters, digits and `_`: a fault of the program, met at every start.
    pub fn register<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let sound = name.chars().all(plain) && !name.starts_with("weft") && !name.ends_with("_total");
        assert!(sound && !name.is_empty(), "{name:?} is no metric name: snake_case, without weft_ and _total");
        assert!(self.taken.insert(name.to_owned()), "metric {name:?} is registered twice");
        self.ours.register(name, help, metric.clone());
        metric
    }

    /// Adds metrics that are looked up when they are asked for; their names get the prefix, too.
    pub fn register_collector(&mut self, collector: impl Collector) {
        self.ours.register_collector(Box::new(collector));
    }

    /// When everything was 0.
    pub(crate) fn started(&self) -> SystemTime {
        self.started
    }

    /// All metrics as OpenMetrics. Fails only when a collector does.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.encode_as(Exposition::OpenMetrics)
    }

    /// All metrics in the form that was asked for.
    pub fn encode_as(&self, form: Exposition) -> Result<String, fmt::Error> {
        // Of an attempt that failed half-way.
        drop(latency::written());
        let mut text = String::with_capacity(16 * 1024);
        encode_registry(&mut text, &self.ours)?;
        encode_registry(&mut text, &self.process)?;
        encode_eof(&mut text)?;
        let exemplars = latency::written();
        Ok(match form {
            Exposition::OpenMetrics if exemplars.iter().any(Option::is_some) => {
                exposition::with_exemplars(&text, exemplars)
            }
            Exposition::OpenMetrics => text,
            Exposition::Text => exposition::classic(&text),
        })
    }
}

/// The lines of `text` that are about these families, by their names as they are registered: with prefix, without `_total`.
pub fn only(text: &str, families: &[String]) -> String {
    let about = |line: &str| {
        let sample = line.strip_prefix("# ").and_then(|meta| meta.split(' ').nth(1)).unwrap_or(line);
        families.iter().any(|family| sample.strip_prefix(family.as_str()).is_some_and(ends_there))
    };
    text.lines().filter(|line| about(line)).fold(String::new(), |all, line| all + line + "\n")
}

/// After a family's name comes nothing of it but what the format adds.
fn ends_there(rest: &str) -> bool {
    let rest = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| rest.strip_prefix(end)).unwrap_or(rest);
    rest.is_empty() || rest.starts_with(['{', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use std::time::Duration;

    #[test]
    fn names_get_the_prefix_and_the_process_is_described() {
        let mut registry = Registry::new("weft-proxy", "1.2.3");
        let requests = registry.register("requests", "Requests", Family::<Vec<(String, String)>, Counter>::default());
        requests.get_or_create(&vec![("status".to_owned(), "2\"\n".to_owned())]).inc();
        let latency = registry.register("latency_seconds", "Latency", LatencyHistogram::default());
        latency.observe(Duration::from_millis(3));
        latency.observe_traced(Duration::from_millis(70), 0xabc);
        let text = registry.encode().unwrap();
        for line in [
            r#"weft_build_info{binary="weft-proxy",version="1.2.3"} 1"#,
            r#"weft_requests_total{status="2\"\n"} 1"#,
            "# TYPE weft_latency_seconds histogram",
            r#"weft_latency_seconds_bucket{le="0.005"} 1"#,
            "weft_latency_seconds_count 2",
            r#"weft_latency_seconds_bucket{le="0.1"} 2 # {trace_id="00000000000000000000000000000abc"} 0.07 "#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        assert!(value("process_cpu_seconds_total ") > 0.0);
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_start_time_seconds ") > 1e9);
        assert!(text.ends_with("# EOF\n"));
        let old = registry.encode_as(Exposition::Text).unwrap();
        assert!(old.contains("# TYPE weft_requests_total counter\n") && !old.contains("# {"), "{old}");
    }

    #[test]
    fn families_are_picked_by_their_whole_name() {
        let text = "# TYPE weft_requests counter\nweft_requests_total{a=\"x y\"} 1\nweft_requests_refused_total 2\n\
                    # HELP weft_took Time\nweft_took_bucket{le=\"1\"} 1\nweft_took_sum 3\n# EOF\n";
        let picked = |names: &[&str]| only(text, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(picked(&["weft_requests"]), "# TYPE weft_requests counter\nweft_requests_total{a=\"x y\"} 1\n");
        assert_eq!(picked(&["weft_took"]), "# HELP weft_took Time\nweft_took_bucket{le=\"1\"} 1\nweft_took_sum 3\n");
        assert_eq!(picked(&["weft", "requests"]), "");
    }

    #[test]
    #[should_panic(expected = "registered twice")]
    fn a_name_is_taken_once() {
        let mut registry = Registry::new("weft-proxy", "1.2.3");
        registry.register("requests", "Requests", Counter::<u64>::default());
        registry.register("requests", "Requests", Counter::<u64>::default());
    }
}
