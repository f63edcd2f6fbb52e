//! `sessionAffinity` of a `TrafficPolicy` and `sessionPersistence` of a route's rule (GEP-1619) to the model's session.
//!
//! Both become the same thing. What contradicts itself is a fault: a permanent cookie without an end, a cookie for other sites
//! that browsers would refuse, attributes of a cookie where there is none.

use super::fault::Faults;
use super::field;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use weft_model::session::{Carrier, CookieAttributes, SameSite, Session};

/// Sessions of all requests to a service.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SessionAffinitySpec {
    /// The cookie that names the endpoint.
    cookie: CookieSpec,
}

/// A cookie that names the endpoint that served its client first. It is always `HttpOnly`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct CookieSpec {
    /// Of the cookie (RFC 6265); at most 128 characters.
    name: String,
    /// How long a session lasts from its first request on: the cookie's `Max-Age`, which proxies enforce as well. Default: until
    /// the browser ends. At least 1s.
    ttl: Option<String>,
    /// How long a session lasts without requests. Default: no limit. At least 1s.
    idle_timeout: Option<String>,
    /// Strict, Lax or None; None only with `secure`. Default: Lax.
    same_site: Option<String>,
    /// Whether browsers send it over TLS only. Default: false.
    secure: Option<bool>,
    /// Under which path browsers send it. Default: /.
    path: Option<String>,
}

/// `sessionPersistence` of a rule.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistenceSpec {
    /// Of the cookie or header; at most 128 characters. Default: `weft-session-` and 16 letters and digits, other ones for each rule.
    session_name: Option<String>,
    /// How long a session lasts from its first request on. Default: no limit. At least 1s.
    absolute_timeout: Option<String>,
    /// How long a session lasts without requests. Default: no limit. At least 1s.
    idle_timeout: Option<String>,
    /// Cookie or Header. Default: Cookie.
    r#type: Option<String>,
    /// For cookies only.
    cookie_config: Option<CookieConfigSpec>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct CookieConfigSpec {
    /// Permanent (the cookie outlives the browser; needs `absoluteTimeout`) or Session. Default: Session.
    lifetime_type: Option<String>,
}

/// As in the Gateway API's schema.
const LONGEST_NAME: usize = 128;
/// Tokens count in seconds.
const SHORTEST: Duration = Duration::from_secs(1);

pub fn affinity(spec: SessionAffinitySpec, faults: &mut Faults) -> Option<Session> {
    let (spec, at) = (spec.cookie, |field: &str| format!("spec.sessionAffinity.cookie.{field}"));
    let name = cookie_name(&spec.name, at("name"), faults);
    let absolute_timeout = time_out(spec.ttl, at("ttl"), faults);
    let idle_timeout = time_out(spec.idle_timeout, at("idleTimeout"), faults);
    let secure = spec.secure.unwrap_or_default();
    let same_site = match spec.same_site.as_deref() {
        None | Some("Lax") => SameSite::Lax,
        Some("Strict") => SameSite::Strict,
        Some("None") => {
            if !secure {
                faults.add(at("sameSite"), "None needs secure: true, or browsers refuse the cookie");
            }
            SameSite::None
        }
        Some(other) => {
            faults.add(at("sameSite"), format_args!("{other:?} is not supported, only Strict, Lax and None"));
            SameSite::Lax
        }
    };
    let path = spec.path.unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') || !path.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
        faults.add(
            at("path"),
            format_args!("{path:?} is not the path of a cookie: '/' and then visible ASCII without ';'"),
        );
    }
    let permanent = absolute_timeout.is_some();
    let carrier = Carrier::Cookie(CookieAttributes { permanent, same_site, secure, path });
    Some(Session { name: name?, absolute_timeout, idle_timeout, carrier })
}

/// Of rule `rule` (its name or number) of a route.
pub fn persistence(
    spec: SessionPersistenceSpec,
    route: [&str; 3],
    rule: &str,
    at: &str,
    faults: &mut Faults,
) -> Option<Session> {
    let absolute_timeout = time_out(spec.absolute_timeout, format!("{at}.absoluteTimeout"), faults);
    let idle_timeout = time_out(spec.idle_timeout, format!("{at}.idleTimeout"), faults);
    let (name_at, cookie_at) = (format!("{at}.sessionName"), format!("{at}.cookieConfig"));
    let name = spec.session_name.unwrap_or_else(|| generated(route, rule));
    let header = match spec.r#type.as_deref() {
        None | Some("Cookie") => false,
        Some("Header") => true,
        Some(other) => {
            faults.add(format!("{at}.type"), format_args!("{other:?} is not supported, only Cookie and Header"));
            return None;
        }
    };
    if header {
        if spec.cookie_config.is_some() {
            faults.add(cookie_at, "is for type Cookie only");
        }
        let name = field::editable_header(&name, &name_at, faults).filter(|_| fits(&name, name_at, faults))?;
        return Some(Session { name, absolute_timeout, idle_timeout, carrier: Carrier::Header });
    }
    let permanent = match spec.cookie_config.and_then(|config| config.lifetime_type).as_deref() {
        None | Some("Session") => false,
        Some("Permanent") => true,
        Some(other) => {
            let reason = format_args!("{other:?} is not supported, only Permanent and Session").to_string();
            faults.add(format!("{cookie_at}.lifetimeType"), reason);
            false
        }
    };
    if permanent && absolute_timeout.is_none() {
        faults.add(format!("{at}.absoluteTimeout"), "missing: a Permanent cookie needs it");
    }
    let carrier = Carrier::Cookie(CookieAttributes { permanent, ..CookieAttributes::default() });
    Some(Session { name: cookie_name(&name, name_at, faults)?, absolute_timeout, idle_timeout, carrier })
}

fn time_out(text: Option<String>, at: String, faults: &mut Faults) -> Option<Duration> {
    let limit = field::positive(&text?, &at, faults)?;
    if limit < SHORTEST {
        faults.add(at, "shorter than 1s");
        return None;
    }
    Some(limit)
}

fn cookie_name(name: &str, at: String, faults: &mut Faults) -> Option<String> {
    field::cookie_name(name, at.as_str(), faults).filter(|name| fits(name, at, faults))
}

fn fits(name: &str, at: String, faults: &mut Faults) -> bool {
    if name.len() > LONGEST_NAME {
        faults.add(at, format_args!("longer than {LONGEST_NAME} characters"));
    }
    name.len() <= LONGEST_NAME
}

/// A name that no other rule's sessions have, and that stays as long as the rule is called the same.
fn generated(route: [&str; 3], rule: &str) -> String {
    let mut hash = Sha256::new();
    for part in route.iter().chain([&rule]) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let letters = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("weft-session-{letters}")
}
