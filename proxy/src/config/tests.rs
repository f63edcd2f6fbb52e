//! Which flags make a configuration, and which faults are named when they do not.
//!
//! Every fault of a start is reported at once. [`example`] is the configuration that other modules' tests start from.

use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    config: Config,
}

const NEEDED: [&str; 7] = [
    "weft-proxy",
    "--name=cart-1",
    "--namespace=shop",
    "--discovery=https://10.0.0.1:15010",
    "--trust-anchors=anchors.pem",
    "--address=10.0.0.7",
    "--upstream-dns=10.0.0.2",
];

fn config(more: &[&str]) -> Result<Config, String> {
    let program = Program::try_parse_from(NEEDED.iter().chain(more));
    program.map(|program| program.config).map_err(|error| error.to_string())
}

/// The configuration of cart-1 in shop; nothing is registered.
pub(crate) fn example() -> Config {
    config(&[]).unwrap()
}

#[test]
fn defaults_are_those_of_the_help() {
    let config = config(&[]).unwrap();
    assert_eq!((config.outbound_port, config.inbound_port, config.dns_port), (15001, 15006, 15053));
    assert_eq!((config.check_port, config.opaque_ports.len(), config.application_probes.len()), (15002, 0, 0));
    assert_eq!(config.admin_listen.to_string(), "0.0.0.0:15020");
    assert_eq!((config.workers, config.weight, config.max_header_bytes), (1, 1, 65536));
    assert_eq!(config.sessions, Sessions::Resumed);
    assert_eq!(config.detect_timeout, Duration::from_millis(100));
    assert_eq!(config.virtual_range, weft_model::address::DEFAULT_VIRTUAL_RANGE);
    assert_eq!(config.upstream_dns, ["10.0.0.2:53".parse().unwrap()]);
    assert_eq!(config.identity().to_string(), "spiffe://weft.local/ns/shop/sa/default");
    assert_eq!(config.discovery_identity().to_string(), "spiffe://weft.local/ns/weft/sa/weft-discovery");
}

#[test]
fn every_fault_is_named_at_once() {
    let faulty = [
        "--register=cart=http:0",
        "--register=ok",
        "--register=ok",
        "--health-check=ping",
        "--idle-timeout=0s",
        "--drain-timeout=soon",
        "--workers=0",
        "--max-header-bytes=10",
        "--inbound-port=15001",
        "--discovery=http://10.0.0.2:1",
        "--address=10.0.0.8",
        "--virtual-range=10.0.0.0/40",
        "--log-format=xml",
        "--check-port=15053",
        "--opaque-ports=0",
        "--application-probes={\"web/live\": {}}",
        "--service-account=A",
        "--otlp-endpoint=collector:4317",
        "--otlp-protocol=http/json",
        "--metrics-exporter=prometheus",
        "--traces-exporter=zipkin",
        "--trace-sampler=sometimes",
        "--trace-propagators=jaeger",
        "--otel-resource-attributes=a=b,c",
        "--span-queue=0",
        "--span-batch=many",
        "--span-delay=0",
        "--span-timeout=soon",
        "--logs-exporter=console",
        "--record-queue=0",
        "--record-batch=0",
        "--record-delay=-1",
        "--record-timeout=x",
        "--access-log=xml",
        "--access-log-sample=2",
        "--access-log-filter=status >= abc",
    ];
    let said = config(&faulty).unwrap_err();
    for flag in faulty.iter().map(|flag| flag.split('=').next().unwrap()) {
        assert!(said.contains(&format!("{flag}: ")), "{flag} is missing in\n{said}");
    }
    assert!(said.contains("ok.shop is there twice"), "{said}");
    assert!(said.contains("at 11: a number was expected, not \"abc\""), "{said}");
    assert!(
        config(&["--trace-sampler-arg=1.5"]).unwrap_err().contains("--trace-sampler-arg: 1.5 is not between 0 and 1")
    );
    assert!(said.contains("--inbound-port: 15001 is that of --outbound-port, too"), "{said}");
}

#[test]
fn discovery_replicas_keep_their_order_and_have_to_be_whole() {
    let two = config(&["--discovery=https://a:2/,https://[::1]:3"]).unwrap();
    assert_eq!(two.discovery, ["https://10.0.0.1:15010", "https://a:2", "https://[::1]:3"]);
    for bad in ["a:2", "https://a", "https://a:0", "https://a:1/x", "https://u@a:1", "https://:1", ""] {
        assert!(discovery(bad).is_err(), "{bad}");
    }
}

#[test]
fn local_ports_belong_to_registrations() {
    let some = config(&["--register=cart=http:8080", "--register=infra/cache=redis:6379"]).unwrap();
    assert_eq!(some.service_of(8080), "cart.shop");
    assert_eq!(some.service_of(6379), "cache.infra");
    assert_eq!(some.service_of(1), "unknown");
    assert_eq!(config(&["--register=cart"]).unwrap().service_of(1), "cart.shop");
}

#[test]
fn more_workers_than_cores_are_not_started() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(config(&["--workers=100000"]).unwrap().workers, cores);
}

#[test]
fn tracing_is_as_its_flags_say() {
    assert!(config(&[]).unwrap().tracing.is_none() && config(&[]).unwrap().access_log.is_none());
    let endpoint = "--otlp-endpoint=http://10.0.0.9:4318/";
    let tracing = config(&[endpoint]).unwrap().tracing.unwrap();
    assert!(!tracing.errors);
    assert_eq!(tracing.sampling, Sampling { parent_based: true, ratio: 0.01 });
    assert_eq!(tracing.forms, [Form::TraceContext, Form::B3, Form::B3Multi]);
    let empty = ["--otlp-protocol=", "--trace-sampler=", "--trace-propagators=", "--span-queue=", "--span-delay="];
    assert!(config(&empty).unwrap().tracing.is_none());
    let more = ["--trace-sampler=always_on", "--trace-propagators=b3,baggage", "--span-delay=250"];
    let flags = [&[endpoint, "--otel-resource-attributes=a=b%2Cc, d = e"], &more[..]].concat();
    let whole = config(&flags).unwrap();
    let tracing = whole.tracing.unwrap();
    assert_eq!((tracing.sampling, tracing.forms), (Sampling { parent_based: false, ratio: 1.0 }, vec![Form::B3]));
    assert_eq!(tracing.limits.delay, Duration::from_millis(250));
    let pairs = [("a", "b,c"), ("d", "e")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(whole.otlp.collector.unwrap().attributes, pairs);
    let none = config(&[endpoint, "--traces-exporter=none", "--metrics-exporter=otlp"]).unwrap();
    assert!(none.tracing.is_none() && none.otlp.metrics.is_some());
}

#[test]
fn the_access_log_is_lines_records_or_both() {
    let endpoint = "--otlp-endpoint=http://10.0.0.9:4318/";
    let shape = |flags: &[&str]| {
        let log = config(flags).unwrap().access_log;
        log.map(|log| (log.format.is_some(), log.records.map(|limits| limits.delay)))
    };
    let second = Some(Duration::from_secs(1));
    assert_eq!(shape(&["--access-log=json"]), Some((true, None)));
    assert_eq!(shape(&[endpoint, "--logs-exporter=otlp"]), Some((false, second)));
    assert_eq!(
        shape(&[endpoint, "--logs-exporter=otlp", "--access-log=text", "--record-queue="]),
        Some((true, second))
    );
    assert_eq!(shape(&[endpoint]), None);
    let said = config(&["--logs-exporter=otlp"]).unwrap_err();
    assert!(said.contains("--logs-exporter: otlp needs --otlp-endpoint"), "{said}");
}

#[test]
fn one_token_proves_who_a_workload_is() {
    assert_eq!(config(&["--token-file=/run/token"]).unwrap().token_file, Some("/run/token".into()));
    let said = config(&["--token-file=/run/token", "--join-token-file=/run/join"]).err().unwrap();
    assert!(said.contains("--token-file: not together with --join-token-file"), "{said}");
}
