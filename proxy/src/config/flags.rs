//! The flags of `weft-proxy run` as text, with their defaults, units and environment variables.
//!
//! Read by clap, then checked as a whole by [`config`](super), so that one start names every fault. Nothing here fails
//! but for flags that do not exist or are given twice.

use serde::Serialize;

/// Every value is text until all of them are checked together.
#[derive(Debug, Clone, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Flags {
    /// Name of this workload, unique in its namespace
    #[arg(long, env = "WEFT_NAME", value_name = "NAME")]
    pub name: String,
    /// Namespace of this workload
    #[arg(long, env = "WEFT_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Service account that the workload's identity names
    #[arg(long, env = "WEFT_SERVICE_ACCOUNT", value_name = "ACCOUNT", default_value = "default")]
    pub service_account: String,
    /// Trust domain of the mesh
    #[arg(long, env = "WEFT_TRUST_DOMAIN", value_name = "DOMAIN", default_value = "weft.local")]
    pub trust_domain: String,
    /// Domain that mesh names end in
    #[arg(long, env = "WEFT_DOMAIN", value_name = "DOMAIN", default_value = weft_model::names::DEFAULT_DOMAIN)]
    pub domain: String,
    /// Zone this workload runs in
    #[arg(long, env = "WEFT_ZONE", value_name = "ZONE")]
    pub zone: Option<String>,
    /// Node this workload runs on: services that are one for each node (internalTrafficPolicy: Local) are called there
    #[arg(long, env = "WEFT_NODE", value_name = "NODE")]
    pub node: Option<String>,

    /// Data threads; no more than there are cores are started
    #[arg(long, env = "WEFT_WORKERS", value_name = "COUNT", default_value = "1")]
    pub workers: String,
    /// Port that the pod's outgoing connections are redirected to
    #[arg(long, env = "WEFT_OUTBOUND_PORT", value_name = "PORT", default_value = "15001")]
    pub outbound_port: String,
    /// Port that connections to the pod are redirected to
    #[arg(long, env = "WEFT_INBOUND_PORT", value_name = "PORT", default_value = "15006")]
    pub inbound_port: String,
    /// Port that DNS queries are redirected to (UDP and TCP); 0 turns DNS off
    #[arg(long, env = "WEFT_DNS_PORT", value_name = "PORT", default_value = "15053")]
    pub dns_port: String,
    /// Port on loopback that the redirect leads to the proxy, which dials it to see whether the redirect is in place and is
    /// not ready without; 0 where there is no redirect
    #[arg(long, env = "WEFT_CHECK_PORT", value_name = "PORT", default_value = "15002")]
    pub check_port: String,
    /// Ports whose connections, in and out, are carried as bytes and never looked at unless their service declares a
    /// protocol, separated by commas
    #[arg(long, env = "WEFT_OPAQUE_PORTS", value_name = "PORT", value_delimiter = ',')]
    pub opaque_ports: Vec<String>,
    /// Address of metrics and probes; [::] is every address of both families
    #[arg(long, env = "WEFT_ADMIN_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:15020")]
    pub admin_listen: String,

    /// Discovery replicas in the order of preference, separated by commas
    #[arg(long, env = "WEFT_DISCOVERY", value_name = "https://HOST:PORT", value_delimiter = ',', required = true)]
    pub discovery: Vec<String>,
    /// File with the mesh's trust anchors, PEM
    #[arg(long, env = "WEFT_TRUST_ANCHORS", value_name = "FILE")]
    pub trust_anchors: String,
    /// File with the token that proves who this workload is until it has a certificate
    #[arg(long, env = "WEFT_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub join_token_file: Option<String>,
    /// File with a Kubernetes service account's token for the audience of the trust domain, in place of a join token; read
    /// again for every certificate
    #[arg(long, env = "WEFT_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<String>,
    /// Directory for key, certificate and what is known of the mesh; for this user only (0700)
    #[arg(long, env = "WEFT_STATE_DIR", value_name = "DIRECTORY", default_value = "/var/lib/weft-proxy")]
    pub state_dir: String,

    /// Registers this workload as an endpoint of a service: [NAMESPACE/]SERVICE[=PORTNAME:PORT[,..]]; several are
    /// given by repeating the flag, or separated by semicolons
    #[arg(long, env = "WEFT_REGISTER", value_name = "SERVICE=PORTNAME:PORT", value_delimiter = ';')]
    pub register: Vec<String>,
    /// Address that peers reach this workload at, one of each family at most, separated by commas [default: the
    /// first global IPv4 and IPv6 addresses of the interfaces]
    #[arg(long, env = "WEFT_ADDRESS", value_name = "ADDRESS", value_delimiter = ',')]
    pub address: Vec<String>,
    /// Whether the application is able to work: tcp:PORT, http:PORT/PATH or none
    #[arg(long, env = "WEFT_HEALTH_CHECK", value_name = "CHECK", default_value = "none")]
    pub health_check: String,
    /// The application's probes that the kubelet makes through the admin port: JSON, written by the injector
    #[arg(long, env = "WEFT_APPLICATION_PROBES", value_name = "JSON", default_value = "{}")]
    pub application_probes: String,
    /// Relative share of load; 0 takes no new requests
    #[arg(long, env = "WEFT_WEIGHT", value_name = "SHARE", default_value = "1")]
    pub weight: String,
    /// Endpoints of priority 0 are used first, those of the next as far as too few before them are healthy
    #[arg(long, env = "WEFT_PRIORITY", value_name = "NUMBER", default_value = "0")]
    pub priority: String,
    /// Where this pod stands, in degrees: services balanced by `nearest` go by it
    #[arg(long, env = "WEFT_LOCATION", value_name = "LATITUDE,LONGITUDE", allow_hyphen_values = true)]
    pub location: Option<String>,

    /// How long a connection of unknown protocol may be silent before it is taken for opaque
    #[arg(long, env = "WEFT_DETECT_TIMEOUT", value_name = "DURATION", default_value = "100ms")]
    pub detect_timeout: String,
    /// How long a connection waits for discovery to say what its destination is
    #[arg(long, env = "WEFT_RESOLVE_TIMEOUT", value_name = "DURATION", default_value = "1s")]
    pub resolve_timeout: String,
    /// How long requests in flight may go on after SIGTERM
    #[arg(long, env = "WEFT_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub drain_timeout: String,
    /// How long a connection may stay open without a request
    #[arg(long, env = "WEFT_IDLE_TIMEOUT", value_name = "DURATION", default_value = "60s")]
    pub idle_timeout: String,
    /// How long a request's header section may take to arrive
    #[arg(long, env = "WEFT_HEADER_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub header_timeout: String,
    /// Every connection between this sidecar and another makes a full TLS handshake: sessions are never resumed
    #[arg(long, env = "WEFT_FULL_HANDSHAKES", value_parser = clap::builder::FalseyValueParser::new())]
    pub full_handshakes: bool,
    /// Size limit of a header section, bytes
    #[arg(long, env = "WEFT_MAX_HEADER_BYTES", value_name = "BYTES", default_value = "65536")]
    pub max_header_bytes: String,

    /// Range that virtual addresses are taken from; nothing outside the mesh has an address in it
    #[arg(long, env = "WEFT_VIRTUAL_RANGE", value_name = "CIDR", default_value = "198.18.0.0/15")]
    pub virtual_range: String,
    /// DNS servers for names outside the mesh, separated by commas; port 53 unless given [default: /etc/resolv.conf]
    #[arg(long, env = "WEFT_UPSTREAM_DNS", value_name = "ADDRESS[:PORT]", value_delimiter = ',')]
    pub upstream_dns: Vec<String>,
    /// Shape of log lines: text or json
    #[arg(long, env = "WEFT_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: String,
    /// What is logged: a level, or directives such as info,weft_proxy=debug
    #[arg(long, env = "WEFT_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,

    #[command(flatten)]
    #[serde(flatten)]
    pub otlp: weft_telemetry::otlp::Flags,
    #[command(flatten)]
    #[serde(flatten)]
    pub access: AccessFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub tracing: TracingFlags,
}

/// The access log.
#[derive(Debug, Clone, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AccessFlags {
    /// A line on standard output for each request: off, text or json
    #[arg(long, env = "WEFT_ACCESS_LOG", value_name = "SHAPE", default_value = "off")]
    pub access_log: String,
    /// The share of requests that get a line, 0 to 1
    #[arg(long, env = "WEFT_ACCESS_LOG_SAMPLE", value_name = "RATIO", default_value = "1")]
    pub access_log_sample: String,
    /// Which requests get a line, such as 'status >= 500 or duration > 1s' [default: all]
    #[arg(long, env = "WEFT_ACCESS_LOG_FILTER", value_name = "FILTER")]
    pub access_log_filter: Option<String>,
    /// Whether the access log is sent to the collector of --otlp-endpoint, beside or without lines: otlp or none
    #[arg(long, env = "OTEL_LOGS_EXPORTER", value_name = "EXPORTER", default_value = LOGS)]
    pub logs_exporter: String,
    /// Records that may wait for their export; beyond that they are dropped and counted
    #[arg(long, env = "OTEL_BLRP_MAX_QUEUE_SIZE", value_name = "COUNT", default_value = QUEUE)]
    pub record_queue: String,
    /// Records of one export at most
    #[arg(long, env = "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", value_name = "COUNT", default_value = BATCH)]
    pub record_batch: String,
    /// How long a record waits for others to be exported with; a number alone is milliseconds
    #[arg(long, env = "OTEL_BLRP_SCHEDULE_DELAY", value_name = "DURATION", default_value = RECORD_DELAY)]
    pub record_delay: String,
    /// How long one export may take; a number alone is milliseconds
    #[arg(long, env = "OTEL_BLRP_EXPORT_TIMEOUT", value_name = "DURATION", default_value = RECORD_TIMEOUT)]
    pub record_timeout: String,
}

impl AccessFlags {
    /// With the defaults in place of empty values of OpenTelemetry's variables.
    pub(super) fn without_empty(self) -> Self {
        Self {
            logs_exporter: or(self.logs_exporter, LOGS),
            record_queue: or(self.record_queue, QUEUE),
            record_batch: or(self.record_batch, BATCH),
            record_delay: or(self.record_delay, RECORD_DELAY),
            record_timeout: or(self.record_timeout, RECORD_TIMEOUT),
            ..self
        }
    }
}

fn or(text: String, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text }
}

// Defaults of what OpenTelemetry has names for.
const TRACES: &str = "otlp";
const LOGS: &str = "none";
const SAMPLER: &str = "parentbased_traceidratio";
const RATIO: &str = "0.01";
const PROPAGATORS: &str = "tracecontext,b3,b3multi";
const QUEUE: &str = "2048";
const BATCH: &str = "512";
const DELAY: &str = "5s";
const TIMEOUT: &str = "10s";
const RECORD_DELAY: &str = "1s";
const RECORD_TIMEOUT: &str = "30s";

/// What OpenTelemetry has names for.
#[derive(Debug, Clone, clap::Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TracingFlags {
    /// Whether spans are sent to the collector of --otlp-endpoint: otlp or none
    #[arg(long, env = "OTEL_TRACES_EXPORTER", value_name = "EXPORTER", default_value = TRACES)]
    pub traces_exporter: String,
    /// Which requests are recorded: always_on, always_off or traceidratio, or behind parentbased_ what holds for requests
    /// that belong to no trace yet
    #[arg(long, env = "OTEL_TRACES_SAMPLER", value_name = "SAMPLER", default_value = SAMPLER)]
    pub trace_sampler: String,
    /// The share that traceidratio records, 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", default_value = RATIO)]
    pub trace_sampler_arg: String,
    /// Records every request that ends in an error, whatever the sampler says
    #[arg(long, env = "WEFT_TRACE_ERRORS", value_parser = clap::builder::FalseyValueParser::new())]
    pub trace_errors: bool,
    /// Headers that carry traces, in the order of preference: tracecontext, b3, b3multi
    #[arg(long, env = "OTEL_PROPAGATORS", value_name = "FORMS", default_value = PROPAGATORS)]
    pub trace_propagators: String,
    /// Spans that may wait for their export; beyond that they are dropped and counted
    #[arg(long, env = "OTEL_BSP_MAX_QUEUE_SIZE", value_name = "COUNT", default_value = QUEUE)]
    pub span_queue: String,
    /// Spans of one export at most
    #[arg(long, env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", value_name = "COUNT", default_value = BATCH)]
    pub span_batch: String,
    /// How long a span waits for others to be exported with; a number alone is milliseconds
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY", value_name = "DURATION", default_value = DELAY)]
    pub span_delay: String,
    /// How long one export may take; a number alone is milliseconds
    #[arg(long, env = "OTEL_BSP_EXPORT_TIMEOUT", value_name = "DURATION", default_value = TIMEOUT)]
    pub span_timeout: String,
}

impl TracingFlags {
    /// With the defaults in place of empty values: OpenTelemetry takes an empty variable for one that is not set.
    pub(super) fn without_empty(self) -> Self {
        Self {
            traces_exporter: or(self.traces_exporter, TRACES),
            trace_sampler: or(self.trace_sampler, SAMPLER),
            trace_sampler_arg: or(self.trace_sampler_arg, RATIO),
            trace_propagators: or(self.trace_propagators, PROPAGATORS),
            span_queue: or(self.span_queue, QUEUE),
            span_batch: or(self.span_batch, BATCH),
            span_delay: or(self.span_delay, DELAY),
            span_timeout: or(self.span_timeout, TIMEOUT),
            ..self
        }
    }
}
