//! What a scenario has to say: what travels, and how it is measured.
//!
//! Below the scenarios, which each fill one in.

use crate::contender::Contender;
use crate::figure::{Figure, Figures};
use crate::traffic::Traffic;
use std::net::SocketAddr;
use std::time::Duration;

/// Loads a contender at this address for this long, and says what it came to.
pub type Measure = fn(&mut dyn Contender, SocketAddr, Duration) -> anyhow::Result<Figures>;

/// One kind of load.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// A sentence for people.
    pub about: &'static str,
    /// Who does not carry it has no part in this scenario.
    pub traffic: Traffic,
    /// The proxies themselves are the subject: every measurement starts a new pair, and no proxy at all has no part in it.
    pub fresh: bool,
    /// Measured instead of the contenders, and compared with the first of them; empty: the contenders.
    pub variants: &'static [&'static str],
    /// Figures to hold against those of `direct` in the same round, and what the difference is called.
    pub over_direct: &'static [(Figure, Figure)],
    pub measure: Measure,
}

impl Scenario {
    /// Whether the contenders that run side by side are what is measured.
    pub fn side_by_side(&self) -> bool {
        !self.fresh && self.variants.is_empty()
    }
}
