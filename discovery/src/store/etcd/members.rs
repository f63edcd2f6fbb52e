//! Which member of the etcd cluster is asked: one that answered last, then the others in turn.
//!
//! One client per member rather than one balancer over all, because a member that hangs must be left at once and for all
//! calls. Fails with [`StoreError::Unavailable`] naming the last member's reason. A call that may have taken effect is never repeated
//! unless repeating it is safe.

use super::fault::Fault;
use super::tls::EtcdTls;
use crate::store::StoreError;
use etcd_client::{Channel, Client, ConnectOptions, Error};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A connection on which a call or a watch waits is probed this often; etcd closes those that are probed more often
/// than every 5 s (`--grpc-keepalive-min-time`).
const PROBE_INTERVAL: Duration = Duration::from_secs(6);
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// How etcd is reached.
#[derive(Clone)]
pub struct EtcdSettings {
    /// `http://host:port` of the members, or `https://host:port` of all of them.
    pub endpoints: Vec<String>,
    /// Needed for `https`.
    pub tls: Option<EtcdTls>,
    /// What all keys of this mesh begin with, ending in `/`.
    pub prefix: String,
    /// User, and the file with the password, where etcd has authentication enabled.
    pub user: Option<(String, PathBuf)>,
    /// A request that has no answer after this time has failed; all members that may be asked are asked within it.
    pub request_timeout: Duration,
}

impl Default for EtcdSettings {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            tls: None,
            prefix: "/weft/".to_owned(),
            user: None,
            request_timeout: Duration::from_secs(5),
        }
    }
}

/// May a call be repeated whose outcome is not known?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Safe,
    UnlessItMayHaveWorked,
}

pub(super) struct Members {
    members: Vec<Member>,
    /// The index of the member to ask first.
    preferred: AtomicUsize,
    tls: Option<EtcdTls>,
    user: Option<(String, PathBuf)>,
    request_timeout: Duration,
}

struct Member {
    url: String,
    /// Kept until etcd refuses its user; connections it makes again by itself.
    client: Mutex<Option<Client>>,
}

impl Members {
    pub(super) fn new(settings: &EtcdSettings) -> Result<Self, StoreError> {
        let refuse = |text: String| Err(StoreError::Open(text));
        if settings.endpoints.is_empty() {
            return refuse("no etcd endpoint is given".to_owned());
        }
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        for url in &settings.endpoints {
            let parsed = url.parse::<tonic::transport::Uri>();
            let complete = parsed.is_ok_and(|uri| {
                uri.scheme_str() == Some(scheme) && uri.authority().is_some_and(|a| a.port_u16().is_some())
            });
            if !complete {
                return refuse(format!("etcd endpoint {url:?} must be {scheme}://host:port"));
            }
        }
        if let Some(tls) = &settings.tls {
            // Waiting does not mend a file that is not what it should be.
            tls.read().map_err(|error| StoreError::Open(error.to_string()))?;
        }
        let member = |url: &String| Member { url: url.clone(), client: Mutex::default() };
        Ok(Self {
            members: settings.endpoints.iter().map(member).collect(),
            // Replicas of discovery spread over the members.
            preferred: AtomicUsize::new(fastrand::usize(..settings.endpoints.len())),
            tls: settings.tls.clone(),
            user: settings.user.clone(),
            request_timeout: settings.request_timeout,
        })
    }

    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Makes the call at the preferred member, and at the others in turn while that may help.
    pub(super) async fn call<T, F>(&self, repeat: Repeat, call: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let count = self.members.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let share = match repeat {
            // `count` is a handful of members.
            Repeat::Safe => self.request_timeout / count as u32,
            Repeat::UnlessItMayHaveWorked => self.request_timeout,
        };
        let mut reason = String::new();
        for index in (0..count).map(|turn| (first + turn) % count) {
            let member = &self.members[index];
            let fault = match timeout(share, self.ask(member, &call)).await {
                Ok(Ok(answer)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(error)) => Fault::of(&error),
                Err(_) => Fault::Unknown(format!("no answer in {share:?}")),
            };
            reason = match fault {
                Fault::Answer(error) => return Err(error),
                Fault::NotDone(text) => format!("{}: {text}", member.url),
                Fault::Unknown(text) => {
                    // The next call must not wait for the same member again.
                    self.preferred.store((index + 1) % count, Ordering::Relaxed);
                    let text = format!("{}: {text}", member.url);
                    if repeat == Repeat::UnlessItMayHaveWorked {
                        return Err(StoreError::Unavailable(text));
                    }
                    text
                }
            };
        }
        Err(StoreError::Unavailable(reason))
    }

    async fn ask<T, F>(&self, member: &Member, call: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let kept = || member.client.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept().clone();
        let client = match known {
            Some(client) => client,
            None => {
                let client = self.connect(&member.url).await?;
                *kept() = Some(client.clone());
                client
            }
        };
        let answer = call(client).await;
        if matches!(&answer, Err(Error::GRpcStatus(status)) if status.code() == tonic::Code::Unauthenticated) {
            // The password may be another by now: the next call reads it anew.
            *kept() = None;
        }
        answer
    }

    async fn connect(&self, url: &str) -> Result<Client, Error> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.request_timeout)
            .with_keep_alive(PROBE_INTERVAL, PROBE_TIMEOUT)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true);
        if let Some((user, file)) = &self.user {
            let failed = |error| Error::InvalidArgs(format!("--store-password-file: {}: {error}", file.display()));
            let password = std::fs::read_to_string(file).map_err(failed)?;
            options = options.with_user(user, password.trim_end_matches(['\r', '\n'])).with_auto_token_refresh(true);
        }
        let Some(tls) = &self.tls else { return Client::connect([url], Some(options)).await };
        let limit = self.request_timeout;
        let channel = tls.channel(url, |endpoint| {
            endpoint
                .connect_timeout(limit)
                .http2_keep_alive_interval(PROBE_INTERVAL)
                .keep_alive_timeout(PROBE_TIMEOUT)
                .keep_alive_while_idle(false)
        });
        Client::from_channel(Channel::Tonic(channel.map_err(Error::InvalidArgs)?), Some(options)).await
    }
}
