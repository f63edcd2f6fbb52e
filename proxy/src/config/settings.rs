//! All flags by name with the values in force, for whoever asks what a proxy runs with (`weftctl proxy config`).
//!
//! Made of the flags themselves, so that none is forgotten. What may be a secret is masked: headers of probes, whatever is
//! called a key, token, password or header, and credentials in URLs; files are named, never read.

use super::flags::Flags;
use serde_json::{Map, Value};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

/// In the place of what is nobody's business.
const MASKED: &str = "(masked)";
/// In the names of flags whose values are secrets, unless they name a file.
const SECRET: [&str; 5] = ["password", "secret", "token", "header", "key"];

/// The flags as they were given or are by default.
pub(super) fn of(flags: &Flags) -> Map<String, Value> {
    // A struct of texts always becomes an object.
    let Ok(Value::Object(mut settings)) = serde_json::to_value(flags) else { return Map::new() };
    for (name, value) in &mut settings {
        mask(name, value);
    }
    settings
}

/// What the machine decided where the flags did not.
pub(super) fn settle(
    settings: &mut Map<String, Value>,
    workers: usize,
    addresses: &[IpAddr],
    name_servers: &[SocketAddr],
) {
    let decided = [
        ("workers", Value::from(workers.to_string())),
        ("address", texts(addresses)),
        ("upstream-dns", texts(name_servers)),
    ];
    settings.extend(decided.map(|(name, value)| (name.to_owned(), value)));
}

fn texts<T: Display>(items: &[T]) -> Value {
    items.iter().map(ToString::to_string).collect()
}

fn mask(name: &str, value: &mut Value) {
    let limit = name.contains("timeout") || name.contains("bytes");
    if SECRET.iter().any(|word| name.contains(word)) && !name.ends_with("file") && !limit && !value.is_null() {
        *value = MASKED.into();
        return;
    }
    match value {
        Value::String(text) if name == "application-probes" => *text = without_headers(text),
        Value::String(text) => *text = without_credentials(text),
        Value::Array(all) => all.iter_mut().for_each(|one| mask(name, one)),
        _ => {}
    }
}

/// Probes of applications carry headers, which may be what lets the kubelet in.
fn without_headers(probes: &str) -> String {
    let Ok(mut probes) = serde_json::from_str::<Value>(probes) else { return MASKED.to_owned() };
    for probe in probes.as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        let headers = probe.pointer_mut("/httpGet/httpHeaders").and_then(Value::as_array_mut);
        headers.into_iter().flatten().for_each(|header| header["value"] = MASKED.into());
    }
    probes.to_string()
}

/// `http://user:password@host` without the part before the `@`.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{MASKED}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        let masked = |name: &str, text: &str| {
            let mut value = Value::from(text);
            mask(name, &mut value);
            value.as_str().unwrap().to_owned()
        };
        assert_eq!(masked("otlp-endpoint", "http://u:p@collector:4317/x"), "http://(masked)@collector:4317/x");
        assert_eq!(masked("otlp-endpoint", "http://collector:4317/a@b"), "http://collector:4317/a@b");
        assert_eq!(masked("otlp-headers", "authorization=Bearer x"), MASKED);
        for (name, text) in [("token-file", "/run/token"), ("max-header-bytes", "65536"), ("header-timeout", "30s")] {
            assert_eq!(masked(name, text), text);
        }
        let probes = r#"{"web/live":{"httpGet":{"httpHeaders":[{"name":"authorization","value":"Basic x"}]}}}"#;
        let probes = masked("application-probes", probes);
        assert!(probes.contains("authorization") && !probes.contains("Basic x"), "{probes}");
        assert_eq!(masked("application-probes", "nonsense"), MASKED);
    }

    #[test]
    fn every_flag_is_there_and_what_the_machine_decided() {
        let config = super::super::tests::example();
        let text = |name: &str| config.settings[name].clone();
        assert_eq!((text("name"), text("idle-timeout")), ("cart-1".into(), "60s".into()));
        assert_eq!(text("upstream-dns"), serde_json::json!(["10.0.0.2:53"]));
        assert_eq!((text("access-log"), text("trace-errors")), ("off".into(), false.into()));
        assert_eq!(text("zone"), Value::Null);
    }
}
