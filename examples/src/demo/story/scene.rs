//! What every chapter has at hand: the stage, the customers, and what the proxies count.
//!
//! Figures are read from the proxies' own metrics. A proxy that does not answer counts as nothing.

use crate::customers::Customers;
use crate::say::Say;
use crate::stage::Stage;

/// What every chapter has at hand.
pub struct Scene<'a> {
    pub say: &'a Say,
    pub stage: &'a mut Stage,
    pub customers: Customers,
    /// Retries that proxies had counted before they were ended.
    pub buried: u64,
}

impl Scene<'_> {
    /// How often proxies have tried again so far.
    pub fn retries(&self) -> u64 {
        self.buried
            + self.stage.members().map(|member| member.metrics().sum("weft_retries_total", &[]) as u64).sum::<u64>()
    }

    /// Remembers what a proxy has counted, before it is ended.
    pub fn bury(&mut self, name: &str) -> anyhow::Result<()> {
        self.buried += self.stage.member(name)?.metrics().sum("weft_retries_total", &[]) as u64;
        Ok(())
    }

    /// How many requests the sidecar of `name` has let in.
    pub fn let_in(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.stage.member(name)?.metrics().sum("weft_requests_total", &[("direction", "inbound")]) as u64)
    }
}
