//! Session affinity: by a cookie that names the endpoint, or by what a balancer hashes.
//!
//! Pure. The token is the same in every proxy, so that a session stays when its client comes through another one, and
//! says nothing about addresses. An unknown or broken cookie is no cookie: the balancer chooses, and a new one is set.

use crate::request::RequestView;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use weft_model::ServiceName;
use weft_model::policy::{CookieAffinity, HashKey};

/// What a cookie calls endpoint `id` of `service`: 128 bits of a hash, in 22 characters.
pub fn token(service: &ServiceName, id: &str) -> String {
    let mut hash = Sha256::new();
    // A separator that no name contains, so that no two pairs read the same.
    for part in ["weft-affinity", &service.namespace, &service.name, id] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
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

/// The `set-cookie` value that binds a session to the endpoint called `token`.
pub fn set_cookie(affinity: &CookieAffinity, token: &str) -> String {
    let age = affinity.ttl.map_or_else(String::new, |ttl| format!("; Max-Age={}", ttl.as_secs()));
    format!("{}={token}; Path=/{age}; HttpOnly; SameSite=Lax", affinity.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
    fn tokens_tell_endpoints_apart_and_hide_them() {
        let service = ServiceName::new("shop", "cart").unwrap();
        let (a, b) = (token(&service, "cart-0"), token(&service, "cart-1"));
        assert_ne!(a, b);
        assert_eq!(a, token(&service, "cart-0"));
        assert!(!a.contains("cart") && a.len() == 22);
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts() {
        let affinity = CookieAffinity { name: "weft".into(), ttl: Some(Duration::from_secs(60)) };
        assert_eq!(set_cookie(&affinity, "t"), "weft=t; Path=/; Max-Age=60; HttpOnly; SameSite=Lax");
    }
}
