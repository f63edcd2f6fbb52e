//! Session affinity: by a token that names the endpoint, or by what a balancer hashes.
//!
//! Pure. A token is the same to every proxy, so that a session stays when its client comes through another one, and says nothing
//! to clients. What is not a token of this mesh is none: the balancer chooses, and a new one is given.

mod home;
mod token;

pub use home::Home;
pub use token::{Keys, Shown};

use crate::request::RequestView;
use weft_model::policy::HashKey;
use weft_model::session::{Carrier, CookieAttributes, Session};

/// What `request` shows of its `session` at `now` (seconds since the epoch).
pub fn shown(request: &impl RequestView, session: &Session, keys: &Keys, now: u32) -> Option<Shown> {
    let mut found = None;
    match session.carrier {
        Carrier::Cookie(_) => found = keys.open(session, &requested(request, &session.name)?, now),
        Carrier::Header => request.headers(&session.name, &mut |value| {
            found = std::str::from_utf8(value).ok().and_then(|text| keys.open(session, text, now));
            found.is_some()
        }),
    }
    found
}

/// The value of cookie `name`, should the request carry it (RFC 6265 section 5.4; the first of several).
pub fn requested(request: &impl RequestView, name: &str) -> Option<String> {
    let mut found = None;
    request.headers("cookie", &mut |value| {
        found = find(value, name);
        found.is_some()
    });
    found
}

fn find(cookies: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(cookies).ok()?;
    text.split(';').filter_map(|pair| pair.split_once('=')).find(|(n, _)| n.trim() == name).map(|(_, value)| {
        let value = value.trim();
        value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value).to_owned()
    })
}

/// The `hash` of what `request` has of `on`; `None` when it has nothing there. Of several the first counts, as it is
/// written: nothing is decoded.
pub fn key(request: &impl RequestView, on: &HashKey, hash: impl Fn(&[u8]) -> u64) -> Option<u64> {
    match on {
        // Of the connection, not of the request.
        HashKey::SourceAddress => None,
        HashKey::Header(name) => {
            let mut found = None;
            request.headers(name, &mut |value| {
                found = Some(hash(value));
                true
            });
            found
        }
        HashKey::Cookie(name) => requested(request, name).map(|value| hash(value.as_bytes())),
        HashKey::QueryParam(name) => {
            let mut pairs = request.query().split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(given, _)| given == name).map(|(_, value)| hash(value.as_bytes()))
        }
    }
}

/// The header field that gives `token` to the client; `before` is the session that it renews.
pub fn given(session: &Session, token: String, before: Option<Shown>, now: u32) -> (&str, String) {
    match &session.carrier {
        Carrier::Header => (&session.name, token),
        Carrier::Cookie(cookie) => ("set-cookie", set_cookie(session, cookie, &token, before, now)),
    }
}

fn set_cookie(session: &Session, cookie: &CookieAttributes, token: &str, before: Option<Shown>, now: u32) -> String {
    let mut text = format!("{}={token}; Path={}", session.name, cookie.path);
    if let (true, Some(limit)) = (cookie.permanent, session.absolute_timeout) {
        let left = token::seconds(limit).saturating_sub(before.map_or(0, |before| before.age(now)));
        text.push_str(&format!("; Max-Age={left}"));
    }
    text.push_str("; HttpOnly; SameSite=");
    text.push_str(cookie.same_site.word());
    if cookie.secure {
        text.push_str("; Secure");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use weft_model::ServiceName;
    use weft_model::session::SameSite;

    #[test]
    fn the_cookie_is_found_among_others() {
        for (cookies, expected) in [
            ("weft=abc", Some("abc")),
            ("a=b; weft=abc; c=d", Some("abc")),
            ("xweft=1; weft=\"abc\"", Some("abc")),
            ("weft", None),
            ("aweft=abc", None),
            ("", None),
        ] {
            assert_eq!(find(cookies.as_bytes(), "weft").as_deref(), expected, "{cookies}");
        }
    }

    struct Asked;

    impl RequestView for Asked {
        fn method(&self) -> &str {
            "GET"
        }
        fn host(&self) -> &str {
            "cart"
        }
        fn path(&self) -> &str {
            "/"
        }
        fn query(&self) -> &str {
            "flag&user=ann&user=bob&empty="
        }
        fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) {
            let fields: [(&str, &[u8]); 3] = [("x-user", b"eve"), ("x-user", b"joe"), ("cookie", b"a=b; sid=7")];
            let mut values = fields.iter().filter(|(given, _)| *given == name);
            values.any(|(_, value)| each(value));
        }

        fn fields(&self, _: &mut dyn FnMut(&str, &[u8])) {}
    }

    #[test]
    fn a_request_is_hashed_by_what_it_has() {
        let first = |value: &[u8]| value.first().map_or(0, |byte| u64::from(*byte));
        for (on, expected) in [
            (HashKey::Header("x-user".into()), Some(b'e')),
            (HashKey::Header("x-other".into()), None),
            (HashKey::Cookie("sid".into()), Some(b'7')),
            (HashKey::Cookie("none".into()), None),
            (HashKey::QueryParam("user".into()), Some(b'a')),
            (HashKey::QueryParam("empty".into()), Some(0)),
            (HashKey::QueryParam("flag".into()), None),
            (HashKey::SourceAddress, None),
        ] {
            assert_eq!(key(&Asked, &on, first), expected.map(u64::from), "{on:?}");
        }
    }

    #[test]
    fn places_tell_endpoints_and_services_apart() {
        let home = |name: &str, id: &str| Home::of(&ServiceName::new("shop", name).unwrap(), id);
        let cart = home("cart", "a");
        assert_eq!((cart.service, home("cart", "b").service == cart.service), (home("cart", "x").service, true));
        assert_ne!(cart.endpoint, home("cart", "b").endpoint);
        assert_ne!(cart.service, home("search", "a").service);
        assert_eq!(Home::read(cart.bytes()), cart);
    }

    #[test]
    fn the_cookie_has_the_attributes_asked_for_and_is_out_of_reach_of_scripts() {
        let mut session = Session {
            name: "weft".into(),
            absolute_timeout: Some(Duration::from_millis(59_500)),
            idle_timeout: None,
            carrier: Carrier::default(),
        };
        let text = |session: &Session| given(session, "t".into(), None, 100).1;
        assert_eq!(text(&session), "weft=t; Path=/; HttpOnly; SameSite=Lax");
        session.carrier = Carrier::Cookie(CookieAttributes {
            permanent: true,
            same_site: SameSite::None,
            secure: true,
            path: "/shop".into(),
        });
        assert_eq!(text(&session), "weft=t; Path=/shop; Max-Age=60; HttpOnly; SameSite=None; Secure");
        session.carrier = Carrier::Header;
        assert_eq!(given(&session, "t".into(), None, 100), ("weft", "t".to_owned()));
    }
}
