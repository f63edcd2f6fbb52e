//! Checks of single values that several kinds of documents share: ports, durations, names, headers, regular expressions.
//!
//! Called by the translators of the kinds. A check that fails adds a fault naming the field and answers `None`; what it
//! answers otherwise is in the form the model promises (ports above 0, header names in lower case, regexes that compile).

use super::fault::Faults;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use weft_model::{Port, ServiceName, names};

/// Headers that frame or route the message, or that speak for the mesh: an edit of one would break what relies on it.
const NOT_EDITABLE: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
    "weft-reason",
];

pub fn port(number: i64, at: impl Into<String>, faults: &mut Faults) -> Option<Port> {
    let port = u16::try_from(number).ok().and_then(Port::new);
    if port.is_none() {
        faults.add(at, format_args!("{number} is not a port (1 to 65535)"));
    }
    port
}

/// A whole number between `low` and `high`.
pub fn number<T: TryFrom<i64>>(
    given: i64,
    low: i64,
    high: i64,
    at: impl Into<String>,
    faults: &mut Faults,
) -> Option<T> {
    let value = (low..=high).contains(&given).then(|| T::try_from(given).ok()).flatten();
    if value.is_none() {
        faults.add(at, format_args!("{given} is out of range ({low} to {high})"));
    }
    value
}

/// A list within the bounds of the Gateway API's schema.
pub fn at_most(limit: usize, given: usize, at: &str, faults: &mut Faults) {
    if given > limit {
        faults.add(at, format_args!("{given} are too many, at most {limit}"));
    }
}

/// Gateway API form (GEP-2257).
pub fn duration(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<Duration> {
    let parsed =
        gateway_api::Duration::from_str(text).ok().map(|time| Duration::new(time.as_secs(), time.subsec_nanos()));
    if parsed.is_none() {
        faults.add(at, format_args!("{text:?} is not a duration such as 10s, 500ms or 1h30m (GEP-2257)"));
    }
    parsed
}

/// A duration above zero.
pub fn positive(text: &str, at: &str, faults: &mut Faults) -> Option<Duration> {
    let parsed = duration(text, at, faults)?;
    if parsed.is_zero() {
        faults.add(at, "must be longer than 0s");
        return None;
    }
    Some(parsed)
}

/// A duration of which zero means "no limit", as in Gateway API time-outs.
pub fn limit(text: Option<&str>, at: impl Into<String>, faults: &mut Faults) -> Option<Duration> {
    duration(text?, at, faults).filter(|limit| !limit.is_zero())
}

pub fn label(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<String> {
    checked(names::label(text), at, faults)
}

pub fn subdomain(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<String> {
    checked(names::subdomain(text), at, faults)
}

/// A service of `namespace`.
pub fn service(namespace: &str, name: &str, at: impl Into<String>, faults: &mut Faults) -> Option<ServiceName> {
    let name = label(name, at, faults)?;
    // The namespace was checked with the document's metadata; when it is wrong, that has been said there.
    ServiceName::new(namespace, &name).ok()
}

/// An address an endpoint can be dialled at.
pub fn address(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => {
            faults.add(at, format_args!("{address} is not the address of a host"));
            None
        }
        Ok(address) => Some(address),
        Err(_) => {
            faults.add(at, format_args!("{text:?} is not an IP address"));
            None
        }
    }
}

/// A header name (RFC 9110 section 5.1), lower-cased.
pub fn header_name(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<String> {
    match http::HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => {
            faults.add(at, format_args!("{text:?} is not a header name (RFC 9110)"));
            None
        }
    }
}

/// The name of a cookie: a token (RFC 6265 section 4.1.1), as a header's name is, but its case counts.
pub fn cookie_name(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<String> {
    if http::HeaderName::from_bytes(text.as_bytes()).is_err() {
        faults.add(at, format_args!("{text:?} is not the name of a cookie (RFC 6265)"));
        return None;
    }
    Some(text.to_owned())
}

/// The name of a header that a filter may edit.
pub fn editable_header(text: &str, at: &str, faults: &mut Faults) -> Option<String> {
    let name = header_name(text, at, faults)?;
    if NOT_EDITABLE.contains(&name.as_str()) {
        faults.add(at, format_args!("{name} belongs to the connection or to the mesh and cannot be edited"));
        return None;
    }
    Some(name)
}

pub fn header_value(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<String> {
    let clean = text.trim_matches([' ', '\t']).len() == text.len();
    if !clean || http::HeaderValue::from_str(text).is_err() {
        faults.add(at, format_args!("{text:?} is not a header value: visible ASCII, spaces only inside (RFC 9110)"));
        return None;
    }
    Some(text.to_owned())
}

/// The longest regular expression, in characters: as in the Gateway API's schema.
const LONGEST_REGEX: usize = 1024;

/// A regular expression that must match a whole value, compiled once to see that it can be.
pub fn regex(text: &str, at: impl Into<String>, faults: &mut Faults) -> Option<String> {
    // First: nobody should have to compile what is too long.
    let length = text.chars().count();
    if length > LONGEST_REGEX {
        faults.add(at, format_args!("a regular expression of {length} characters, at most {LONGEST_REGEX}"));
        return None;
    }
    match regex::Regex::new(&format!("^(?:{text})$")) {
        Ok(_) => Some(text.to_owned()),
        Err(e) => {
            // The last line of the report says what is wrong, the others draw where.
            let reason = e.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            faults.add(at, format_args!("{text:?} is not a usable regular expression: {reason}"));
            None
        }
    }
}

/// A reference of the Gateway API to a Service, the only kind of object that traffic goes to here.
pub fn service_kind(group: Option<&str>, kind: Option<&str>, default_kind: &str, at: &str, faults: &mut Faults) {
    let kind = kind.unwrap_or(default_kind);
    if kind != "Service" {
        faults.add(format!("{at}.kind"), format_args!("{kind} is not supported, only Service (with group \"\")"));
    } else if let Some(group) = group.filter(|group| !group.is_empty()) {
        faults.add(format!("{at}.group"), format_args!("{group:?} is not supported, only \"\", the group of Service"));
    }
}

/// A field that is valid in itself but that nothing here acts on.
pub fn unsupported<T>(given: &Option<T>, at: impl Into<String>, why: &str, faults: &mut Faults) {
    if given.is_some() {
        let gap = if why.is_empty() { "" } else { ": " };
        faults.add(at, format_args!("not supported{gap}{why}"));
    }
}

fn checked<T, E: Display>(result: Result<T, E>, at: impl Into<String>, faults: &mut Faults) -> Option<T> {
    result.map_err(|e| faults.add(at, e)).ok()
}
