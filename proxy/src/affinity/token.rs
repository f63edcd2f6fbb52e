//! Session tokens: which endpoint a client's session belongs to, sealed so that only proxies can read or make one.
//!
//! AES-256-GCM-SIV (RFC 8452) under keys that all proxies of the mesh share; the session's name is authenticated with it. Pure
//! but for the nonce. What is not a token of this mesh, or has expired, is no token.

use super::home::Home;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use weft_model::session::{Session, SessionKey};

/// Key id, nonce, what is sealed (home and two times), tag.
const KEY: usize = 4;
const NONCE: usize = 12;
const SEALED: usize = Home::BYTES + 8;
const TAG: usize = 16;
const TOKEN: usize = KEY + NONCE + SEALED + TAG;

/// The keys of the mesh, ready for use.
#[derive(Default)]
pub struct Keys {
    given: Vec<SessionKey>,
    ready: Vec<LessSafeKey>,
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub home: Home,
    /// When the session began and when it was last renewed, in seconds since the epoch.
    made: u32,
    seen: u32,
    /// Of the key.
    key: u32,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.given).finish()
    }
}

impl Keys {
    pub fn new(given: Vec<SessionKey>) -> Self {
        let ready = |key: &SessionKey| {
            let key = UnboundKey::new(&AES_256_GCM_SIV, &key.secret);
            LessSafeKey::new(key.expect("the algorithm's keys have 32 bytes"))
        };
        Self { ready: given.iter().map(ready).collect(), given }
    }

    /// As they were given.
    pub fn given(&self) -> &[SessionKey] {
        &self.given
    }

    /// The key to seal with at `now`: the newest that every proxy has, as far as is known.
    fn present(&self, now: u32) -> Option<usize> {
        let at = |n: &usize| self.given[*n].from;
        let begun = (0..self.given.len()).filter(|n| at(n) <= u64::from(now)).max_by_key(at);
        begun.or_else(|| (0..self.given.len()).min_by_key(at))
    }

    /// The token of a session that leads to `home`: a new one, or `before` renewed. `None`: no key is known yet.
    pub fn seal(&self, name: &str, home: Home, before: Option<Shown>, now: u32) -> Option<String> {
        let n = self.present(now)?;
        let mut token = [0; TOKEN];
        let (key, rest) = token.split_at_mut(KEY);
        key.copy_from_slice(&self.given[n].id.to_be_bytes());
        let (nonce, rest) = rest.split_at_mut(NONCE);
        aws_lc_rs::rand::fill(nonce).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let (sealed, tag) = rest.split_at_mut(SEALED);
        let made = before.map_or(now, |before| before.made);
        let (to, times) = sealed.split_at_mut(Home::BYTES);
        to.copy_from_slice(&home.bytes());
        times[..4].copy_from_slice(&made.to_be_bytes());
        times[4..].copy_from_slice(&now.to_be_bytes());
        let made = self.ready[n].seal_in_place_separate_tag(nonce, Aad::from(name.as_bytes()), sealed).ok()?;
        tag.copy_from_slice(made.as_ref());
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// What `text` says, should it be a token of `session` that holds at `now`.
    pub fn open(&self, session: &Session, text: &str, now: u32) -> Option<Shown> {
        let mut token = [0; TOKEN + 2];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut token).ok()?;
        let token = token.get_mut(..length).filter(|token| token.len() == TOKEN)?;
        let (key, rest) = token.split_first_chunk_mut::<KEY>()?;
        let key = u32::from_be_bytes(*key);
        let n = self.given.iter().position(|given| given.id == key)?;
        let (nonce, sealed) = rest.split_at_mut(NONCE);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.ready[n].open_in_place(nonce, Aad::from(session.name.as_bytes()), sealed).ok()?;
        let (home, times) = plain.split_first_chunk::<{ Home::BYTES }>()?;
        let (made, seen) = times.split_first_chunk::<4>()?;
        let (made, seen) = (u32::from_be_bytes(*made), u32::from_be_bytes(*seen.first_chunk()?));
        let shown = Shown { home: Home::read(*home), made, seen, key };
        shown.holds(session, now).then_some(shown)
    }

    /// Whether a client that has shown this token is to be given a newer one.
    pub fn is_due(&self, shown: &Shown, session: &Session, now: u32) -> bool {
        let idle = session.idle_timeout.is_some() && shown.seen < now;
        idle || self.present(now).is_some_and(|n| self.given[n].id != shown.key)
    }
}

impl Shown {
    /// Clocks of proxies differ: a time to come is as good as now.
    fn holds(&self, session: &Session, now: u32) -> bool {
        let within = |limit: Option<std::time::Duration>, since: u32| {
            limit.is_none_or(|limit| u64::from(now.saturating_sub(since)) < seconds(limit))
        };
        within(session.absolute_timeout, self.made) && within(session.idle_timeout, self.seen)
    }

    /// How old the session is.
    pub(super) fn age(&self, now: u32) -> u64 {
        now.saturating_sub(self.made).into()
    }
}

/// Rounded up: a limit never becomes none.
pub(super) fn seconds(limit: std::time::Duration) -> u64 {
    limit.as_secs() + u64::from(limit.subsec_nanos() > 0)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
