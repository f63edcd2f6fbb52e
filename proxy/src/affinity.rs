//! Session affinity by a cookie that names the endpoint.
//!
//! Pure. The token is the same in every proxy, so that a session stays when its client comes through another one, and
//! says nothing about addresses. An unknown or broken cookie is no cookie: the balancer chooses, and a new one is set.

use crate::request::RequestView;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use weft_model::ServiceName;
use weft_model::policy::CookieAffinity;

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
