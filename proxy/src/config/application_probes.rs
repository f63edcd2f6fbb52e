//! The application's probes and hooks that the kubelet makes through this proxy, as the injector writes them.
//!
//! Parsed once at start. Each keeps what the pod's author wrote (`httpGet`, `tcpSocket` or `grpc`, as in a pod), beside the
//! port as a number. Fails naming the probe.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use weft_model::Port;

/// By `container/page`, which is also the end of its path on the admin port.
pub type ApplicationProbes = BTreeMap<String, ApplicationProbe>;

/// One probe of the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationProbe {
    pub action: Action,
    pub port: Port,
    pub timeout: Duration,
    /// A hook: whatever is answered is success, and no answer is a failure.
    pub hook: bool,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A GET answers with 200 to 399.
    Http { path: String, tls: bool, headers: Vec<(http::HeaderName, http::HeaderValue)> },
    /// The port accepts connections.
    Tcp,
    /// `grpc.health.v1` says SERVING.
    Grpc { service: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    http_get: Option<HttpGet>,
    tcp_socket: Option<serde_json::Value>,
    grpc: Option<Grpc>,
    resolved_port: Port,
    timeout_seconds: u64,
    #[serde(default)]
    hook: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpGet {
    #[serde(default)]
    path: String,
    #[serde(default)]
    scheme: String,
    #[serde(default)]
    http_headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Grpc {
    #[serde(default)]
    service: Option<String>,
}

/// The probes in `text`, JSON.
pub(super) fn parse(text: &str) -> Result<ApplicationProbes, String> {
    let written: BTreeMap<String, Written> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let probe = |(name, written): (String, Written)| match probe(written) {
        Ok(probe) => Ok((name, probe)),
        Err(reason) => Err(format!("{name}: {reason}")),
    };
    written.into_iter().map(probe).collect()
}

fn probe(written: Written) -> Result<ApplicationProbe, String> {
    let action = match (written.http_get, written.tcp_socket, written.grpc) {
        (Some(get), None, None) => http(get)?,
        (None, Some(_), None) => Action::Tcp,
        (None, None, Some(grpc)) => Action::Grpc { service: grpc.service.unwrap_or_default() },
        _ => return Err("one of httpGet, tcpSocket and grpc is needed".to_owned()),
    };
    let timeout = Duration::from_secs(written.timeout_seconds.clamp(1, 3600));
    Ok(ApplicationProbe { action, port: written.resolved_port, timeout, hook: written.hook })
}

fn http(get: HttpGet) -> Result<Action, String> {
    let path = if get.path.starts_with('/') { get.path } else { format!("/{}", get.path) };
    path.parse::<http::uri::PathAndQuery>().map_err(|error| format!("path {path:?}: {error}"))?;
    let header = |Header { name, value }: Header| {
        let refused = || format!("header {name:?}");
        Ok((name.parse().map_err(|_| refused())?, value.parse().map_err(|_| refused())?))
    };
    let headers = get.http_headers.into_iter().map(header).collect::<Result<_, String>>()?;
    Ok(Action::Http { path, tls: get.scheme.eq_ignore_ascii_case("https"), headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read_as_pods_write_them() {
        let text = r#"{
            "web/live": {"httpGet": {"path": "live?a=b", "port": "http", "scheme": "HTTPS",
                "httpHeaders": [{"name": "Host", "value": "a"}]}, "resolvedPort": 8443, "timeoutSeconds": 3},
            "web/ready": {"tcpSocket": {"port": 80}, "resolvedPort": 80, "timeoutSeconds": 1},
            "web/pre-stop": {"httpGet": {"path": "/"}, "resolvedPort": 80, "timeoutSeconds": 3600, "hook": true},
            "db/startup": {"grpc": {"port": 90}, "resolvedPort": 90, "timeoutSeconds": 0}
        }"#;
        let probes = parse(text).unwrap();
        let Action::Http { path, tls, headers } = &probes["web/live"].action else { panic!("{probes:?}") };
        assert_eq!((path.as_str(), *tls, headers.len()), ("/live?a=b", true, 1));
        assert_eq!((probes["web/live"].port.get(), probes["web/live"].timeout.as_secs()), (8443, 3));
        assert_eq!(probes["web/ready"].action, Action::Tcp);
        assert!(probes["web/pre-stop"].hook && !probes["web/live"].hook);
        assert_eq!(probes["db/startup"].action, Action::Grpc { service: String::new() });
    }

    #[test]
    fn faults_name_the_probe() {
        let cases = [
            "",
            "[]",
            r#"{"a/live": 7}"#,
            r#"{"a/live": {"tcpSocket": {}, "timeoutSeconds": 1}}"#,
            r#"{"a/live": {"tcpSocket": {}, "resolvedPort": 0, "timeoutSeconds": 1}}"#,
        ];
        for text in cases {
            assert!(parse(text).is_err(), "{text}");
        }
        let none = parse(r#"{"a/live": {"resolvedPort": 1, "timeoutSeconds": 1}}"#).unwrap_err();
        assert!(none.starts_with("a/live: one of "), "{none}");
        let path = r#"{"a/live": {"httpGet": {"path": "/a b"}, "resolvedPort": 1, "timeoutSeconds": 1}}"#;
        assert!(parse(path).unwrap_err().starts_with("a/live: path "));
    }
}
