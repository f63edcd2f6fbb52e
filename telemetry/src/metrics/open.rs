//! A connection in a gauge, for as long as there is one.
//!
//! Beside the counters. Whoever holds the connection holds this with it, so that no way out of the code forgets to count it off.

use prometheus_client::metrics::gauge::Gauge;

/// One connection that the gauge shows.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl OpenConnection {
    /// Shown from now on, until the value is dropped.
    pub fn counted(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
