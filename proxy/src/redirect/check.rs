//! Whether the redirect is really in place: the proxy dials a port of loopback that leads to it by the rules alone.
//!
//! Nobody listens on that port, so that without the rules, or after somebody took them away, the connection is refused and no
//! packet has left the pod. What answers has to be this very process. Until then the proxy is not ready, and says why; a pod
//! whose traffic bypasses its sidecar takes no work.

use crate::drain::Drain;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use weft_telemetry::admin::Condition;

/// How often it is looked while the rules are missing, and while they are there.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(30);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    #[error("a connection to {0} is not led to the proxy ({1})")]
    Refused(SocketAddr, std::io::Error),
    #[error("{0} is answered by somebody else")]
    Stranger(SocketAddr),
    #[error("{0} does not answer")]
    Silent(SocketAddr),
}

/// What there is to look for.
#[derive(Debug, Clone)]
pub struct Look {
    pub port: u16,
    /// What this process answers.
    pub arrival: String,
    /// The pod's addresses, which say the families that matter.
    pub own: Vec<IpAddr>,
}

/// Looks again and again.
#[derive(Debug)]
pub struct Check {
    pub look: Look,
    pub condition: Condition,
}

impl Check {
    /// Until the proxy drains.
    pub async fn run(self, drain: Drain) {
        let mut in_place = false;
        loop {
            match self.look.now().await {
                Ok(()) => {
                    if !in_place {
                        tracing::info!("the redirect is in place");
                    }
                    self.condition.met();
                    in_place = true;
                }
                Err(absent) => {
                    let told =
                        format!("{absent}; `weft-proxy redirect apply` makes the rules, --check-port 0 does without");
                    tracing::warn!(reason = told, "the redirect is not in place: not ready");
                    self.condition.unmet(&told);
                    in_place = false;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(if in_place { LATER } else { SOON }) => {}
                // Its own listener closes: the check would fail for no fault of the rules.
                () = drain.wait_begun() => return,
            }
        }
    }
}

impl Look {
    /// Whether a connection that the rules alone can lead here arrives.
    pub async fn now(&self) -> Result<(), Absent> {
        // A pod without a global IPv6 address has no IPv6 traffic to redirect.
        let v6 = self.own.iter().any(IpAddr::is_ipv6).then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        for loopback in [Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), v6].into_iter().flatten() {
            self.dial(SocketAddr::new(loopback, self.port)).await?;
        }
        Ok(())
    }

    async fn dial(&self, to: SocketAddr) -> Result<(), Absent> {
        let asked = async {
            let mut stream = TcpStream::connect(to).await.map_err(|error| Absent::Refused(to, error))?;
            let mut answer = vec![0; self.arrival.len()];
            match stream.read_exact(&mut answer).await {
                Ok(_) if answer == self.arrival.as_bytes() => Ok(()),
                _ => Err(Absent::Stranger(to)),
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Absent::Silent(to)))
    }
}
