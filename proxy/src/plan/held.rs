//! The session of one request: what the client has shown of it, where that leads, and what the client is given in return.
//!
//! Made by `outbound` for services and rules that keep sessions, and for nobody else. The endpoint that a token names is home
//! as long as it exists and is not unready; a session whose home is gone begins anew with whoever serves the request.

use crate::affinity::{self, Keys, Shown};
use crate::cluster::Upstream;
use crate::request::RequestView;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;
use weft_model::session::Session;

/// A request's session.
pub struct Held {
    session: Arc<Session>,
    keys: Arc<Keys>,
    shown: Option<Shown>,
    home: Option<Rc<Upstream>>,
    /// Seconds since the epoch.
    now: u32,
}

impl Held {
    /// What `request` shows of `session`.
    pub fn asked(session: &Arc<Session>, keys: Arc<Keys>, request: &impl RequestView) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // Tokens have room for times until the year 2106.
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        let shown = affinity::shown(request, session, &keys, now);
        Self { session: Arc::clone(session), keys, shown, home: None, now }
    }

    /// The client has shown where it leads.
    pub fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// Whether it belongs to the service that tokens call `home`.
    pub fn is_of(&self, home: [u8; 8]) -> bool {
        self.shown.is_some_and(|shown| shown.home.service == home)
    }

    /// The same with its home, should it be among `upstreams`.
    pub fn among(mut self, upstreams: &[Rc<Upstream>]) -> Self {
        self.home = self.find(upstreams).cloned();
        self
    }

    /// Its home, should it be among `upstreams`.
    pub fn find<'a>(&self, upstreams: &'a [Rc<Upstream>]) -> Option<&'a Rc<Upstream>> {
        let home = self.shown?.home;
        upstreams.iter().find(|upstream| upstream.home == home && upstream.keeps_sessions())
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn home(&self) -> Option<&Rc<Upstream>> {
        self.home.as_ref()
    }

    /// The header field for the client that `upstream` has served; `None` when what it has shown is still the best.
    pub fn field(&self, upstream: &Upstream) -> Option<(&str, String)> {
        let same = self.shown.filter(|shown| shown.home == upstream.home);
        if same.is_some_and(|shown| !self.keys.is_due(&shown, &self.session, self.now)) {
            return None;
        }
        let token = self.keys.seal(&self.session.name, upstream.home, same, self.now)?;
        Some(affinity::given(&self.session, token, same, self.now))
    }
}
