//! The test server's ports, and the service that puts names to them.
//!
//! Most service ports are the same as the target port; HTTP is dialled on 80, so that the mapping is exercised too. A
//! port's name declares its protocol, or deliberately does not.

/// HTTP/1.1 and HTTP/2 with prior knowledge.
pub const HTTP: u16 = 8080;
pub const GRPC: u16 = 9090;
/// Every byte comes back.
pub const ECHO: u16 = 7000;
/// Speaks first.
pub const BANNER: u16 = 7001;
/// Answers when the client has closed its half.
pub const COUNT: u16 = 7002;
/// Resets on the first byte.
pub const RESET: u16 = 7003;
/// Never says a word.
pub const SILENT: u16 = 7004;
/// TLS of the application's own.
pub const TLS: u16 = 7005;
/// A real Redis, started by the test that needs it.
pub const REDIS: u16 = 7006;
/// Nobody listens.
pub const GONE: u16 = 7099;

/// Service port, target port, name. A name without a known prefix leaves the protocol to detection.
pub const SERVICE: &[(u16, u16, &str)] = &[
    (80, HTTP, "http"),
    (81, HTTP, "web"),
    (82, HTTP, "http2-web"),
    (GRPC, GRPC, "grpc"),
    (ECHO, ECHO, "tcp-echo"),
    (ECHO + 100, ECHO, "any-echo"),
    (BANNER, BANNER, "banner"),
    (COUNT, COUNT, "count"),
    (RESET, RESET, "reset"),
    (SILENT, SILENT, "silent"),
    (TLS, TLS, "app"),
    (REDIS, REDIS, "redis"),
    (GONE, GONE, "tcp-gone"),
    (GONE - 1, GONE, "any-gone"),
    (GONE - 2, GONE, "http-gone"),
];

/// Where the server listens for what clients dial as `port`.
pub fn target(port: u16) -> u16 {
    SERVICE.iter().find(|(dialled, ..)| *dialled == port).map_or(port, |(_, target, _)| *target)
}

/// The YAML document of a service with all these ports.
pub fn service_document(namespace: &str, name: &str) -> String {
    let port = |(port, target, name): &(u16, u16, &str)| {
        format!("    - {{ name: {name}, port: {port}, targetPort: {target} }}\n")
    };
    let ports: String = SERVICE.iter().map(port).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec:\n  ports:\n{ports}"
    )
}
