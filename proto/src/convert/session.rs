//! Sessions, and the keys that their tokens are sealed with.
//!
//! Refuses names that no client would send back, cookies that no browser would keep, and keys that are not keys.

use super::{ConvertError, Result, is_token, some_duration, some_micros};
use crate::v1;
use weft_model::session::{Carrier, CookieAttributes, SameSite, Session, SessionKey};

impl From<&Session> for v1::Session {
    fn from(session: &Session) -> Self {
        let (name, header) = (session.name.clone(), session.carrier == Carrier::Header);
        let absolute_timeout_us = some_micros(session.absolute_timeout);
        let idle_timeout_us = some_micros(session.idle_timeout);
        let times = Self { name, absolute_timeout_us, idle_timeout_us, header, ..Self::default() };
        match &session.carrier {
            Carrier::Header => times,
            Carrier::Cookie(cookie) => Self {
                permanent: cookie.permanent,
                same_site: v1::SameSite::from(cookie.same_site).into(),
                secure: cookie.secure,
                path: cookie.path.clone(),
                ..times
            },
        }
    }
}

impl TryFrom<v1::Session> for Session {
    type Error = ConvertError;

    fn try_from(wire: v1::Session) -> Result<Self> {
        if !is_token(&wire.name) {
            return Err(ConvertError::new("name", format!("{:?} is not the name of a cookie or header", wire.name)));
        }
        let absolute_timeout = some_duration(wire.absolute_timeout_us);
        let carrier = match wire.header {
            true if wire.name.bytes().any(|b| b.is_ascii_uppercase()) => {
                return Err(ConvertError::new("name", format!("{:?} is not in lower case", wire.name)));
            }
            true => Carrier::Header,
            false if wire.permanent && absolute_timeout.is_none() => {
                return Err(ConvertError::new("absolute_timeout_us", "missing: the cookie is permanent"));
            }
            false => Carrier::Cookie(attributes(&wire)?),
        };
        Ok(Self { absolute_timeout, idle_timeout: some_duration(wire.idle_timeout_us), carrier, name: wire.name })
    }
}

fn attributes(wire: &v1::Session) -> Result<CookieAttributes> {
    let same_site = v1::SameSite::try_from(wire.same_site).map_err(|error| ConvertError::new("same_site", error))?;
    let same_site = SameSite::from(same_site);
    if same_site == SameSite::None && !wire.secure {
        return Err(ConvertError::new("same_site", "None is for secure cookies only"));
    }
    let path = if wire.path.is_empty() { "/" } else { &wire.path };
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
        return Err(ConvertError::new("path", format!("{path:?} is not the path of a cookie (RFC 6265)")));
    }
    Ok(CookieAttributes { permanent: wire.permanent, same_site, secure: wire.secure, path: path.to_owned() })
}

impl From<SameSite> for v1::SameSite {
    fn from(same_site: SameSite) -> Self {
        match same_site {
            SameSite::Strict => Self::Strict,
            SameSite::Lax => Self::Lax,
            SameSite::None => Self::None,
        }
    }
}

impl From<v1::SameSite> for SameSite {
    fn from(wire: v1::SameSite) -> Self {
        match wire {
            v1::SameSite::Strict => Self::Strict,
            v1::SameSite::Lax => Self::Lax,
            v1::SameSite::None => Self::None,
        }
    }
}

impl From<&SessionKey> for v1::SessionKey {
    fn from(key: &SessionKey) -> Self {
        Self { id: key.id, secret: key.secret.to_vec(), from: key.from }
    }
}

impl TryFrom<v1::SessionKey> for SessionKey {
    type Error = ConvertError;

    fn try_from(wire: v1::SessionKey) -> Result<Self> {
        let length = wire.secret.len();
        let secret = <[u8; 32]>::try_from(wire.secret);
        let secret = secret.map_err(|_| ConvertError::new("secret", format!("{length} bytes, not 32")))?;
        Ok(Self { id: wire.id, secret, from: wire.from })
    }
}

/// The keys of one message.
pub fn session_keys(wire: v1::SessionKeys) -> Result<Vec<SessionKey>> {
    super::each("session_keys.keys", wire.keys)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    prop_compose! {
        pub(crate) fn any_session()(name in "[a-z][a-z0-9-]{0,8}", absolute in 1u64..1 << 40, idle in prop::option::of(1u64..1 << 40),
            header in any::<bool>(), permanent in any::<bool>(), secure in any::<bool>(), site in 0..3,
            path in "/[a-z]{0,5}") -> Session {
            let same_site = match site { 0 => SameSite::Strict, 1 if secure => SameSite::None, _ => SameSite::Lax };
            let cookie = Carrier::Cookie(CookieAttributes { permanent, same_site, secure, path });
            Session {
                name,
                absolute_timeout: Some(Duration::from_micros(absolute)),
                idle_timeout: idle.map(Duration::from_micros),
                carrier: if header { Carrier::Header } else { cookie },
            }
        }
    }

    proptest! {
        #[test]
        fn sessions_come_back_as_they_went(session in any_session()) {
            prop_assert_eq!(Session::try_from(v1::Session::from(&session)), Ok(session));
        }

        #[test]
        fn keys_come_back_as_they_went(id: u32, secret: [u8; 32], from: u64) {
            let key = SessionKey { id, secret, from };
            prop_assert_eq!(SessionKey::try_from(v1::SessionKey::from(&key)), Ok(key));
        }
    }

    #[test]
    fn what_no_client_would_keep_is_refused() {
        let good = v1::Session { name: "stay".into(), ..v1::Session::default() };
        let refused = |change: &dyn Fn(&mut v1::Session)| {
            let mut wire = good.clone();
            change(&mut wire);
            Session::try_from(wire).unwrap_err().field
        };
        assert!(Session::try_from(good.clone()).is_ok());
        assert_eq!(refused(&|wire| wire.name = "a;b".into()), "name");
        assert_eq!(refused(&|wire| (wire.name, wire.header) = ("Stay".into(), true)), "name");
        assert_eq!(refused(&|wire| wire.permanent = true), "absolute_timeout_us");
        assert_eq!(refused(&|wire| wire.same_site = v1::SameSite::None.into()), "same_site");
        assert_eq!(refused(&|wire| wire.same_site = 7), "same_site");
        assert_eq!(refused(&|wire| wire.path = "/a; Domain=com".into()), "path");
        let short = v1::SessionKeys { keys: vec![v1::SessionKey { secret: vec![0; 31], ..v1::SessionKey::default() }] };
        assert_eq!(session_keys(short).unwrap_err().field, "session_keys.keys[0].secret");
    }
}
