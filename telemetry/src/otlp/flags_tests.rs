//! What the flags about a collector mean, and how each is refused.
//!
//! Files for TLS are real ones, made for the test.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    flags: Flags,
}

fn check(args: &[&str]) -> Result<Checked, Vec<String>> {
    let flags = Program::try_parse_from([&["program"], args].concat()).unwrap().flags;
    let mut faults = Vec::new();
    let checked = flags.check(&mut |flag, reason| faults.push(format!("{flag}: {reason}")));
    if faults.is_empty() { Ok(checked) } else { Err(faults) }
}

#[test]
fn without_an_endpoint_there_is_no_collector() {
    let checked = check(&["--otlp-protocol=", "--otlp-endpoint= ", "--metrics-exporter=", "--otlp-headers="]).unwrap();
    assert!(checked.collector.is_none() && checked.metrics.is_none());
}

#[test]
fn what_is_given_is_what_is_meant() {
    let args = ["--otlp-endpoint=http://10.0.0.9:4318/", "--otlp-protocol=http/protobuf", "--metrics-exporter=otlp"];
    let more = ["--otlp-headers=authorization=Bearer%20x,a=1", "--metric-interval=250", "--otel-service-name=cart"];
    let checked = check(&[&args[..], &more[..]].concat()).unwrap();
    let collector = checked.collector.unwrap();
    assert_eq!((collector.endpoint.as_str(), collector.protocol), ("http://10.0.0.9:4318", Protocol::Http));
    assert_eq!(collector.headers["authorization"], "Bearer x");
    assert!(!format!("{collector:?}").contains("Bearer"), "secrets are shown");
    assert_eq!(collector.service_name.as_deref(), Some("cart"));
    let pushing = Pushing { interval: Duration::from_millis(250), timeout: Duration::from_secs(30) };
    assert_eq!(checked.metrics, Some(pushing));
}

#[test]
fn each_fault_names_its_flag() {
    let endpoint = "--otlp-endpoint=http://c:1";
    for (flag, value) in [
        ("--otlp-endpoint", "collector:4317"),
        ("--otlp-endpoint", "ftp://collector"),
        ("--otlp-endpoint", "http://c:1/?a=b"),
        ("--otlp-protocol", "http/json"),
        ("--otlp-headers", "secret"),
        ("--otlp-headers", "a b=1"),
        ("--otlp-headers", "a=%0A"),
        ("--otel-resource-attributes", "a=%4"),
        ("--metrics-exporter", "prometheus"),
        ("--metric-interval", "0"),
        ("--metric-timeout", "soon"),
    ] {
        let given = format!("{flag}={value}");
        let args: Vec<&str> =
            [endpoint, given.as_str()].into_iter().filter(|a| flag != "--otlp-endpoint" || *a != endpoint).collect();
        let faults = check(&args).err().unwrap_or_default();
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{flag}: ")), "{given}: {faults:?}");
        assert!(!faults[0].contains("secret"), "{faults:?}");
    }
    let faults = check(&["--metrics-exporter=otlp"]).unwrap_err();
    assert_eq!(faults, ["--metrics-exporter: otlp needs --otlp-endpoint"]);
}

#[test]
fn files_for_tls_are_named_when_they_are_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let made = || rcgen::generate_simple_self_signed(["collector".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    let certificate = write("one.crt", &one.cert.pem());
    let key = write("one.key", &one.signing_key.serialize_pem());
    let other = write("other.key", &other.signing_key.serialize_pem());
    let (empty, torn) = (write("empty", ""), write("torn", "-----BEGIN CERTIFICATE-----\n!!\n"));
    let asked = |authority: &str, certificate: &str, key: &str| {
        let flags =
            [("--otlp-certificate", authority), ("--otlp-client-certificate", certificate), ("--otlp-client-key", key)];
        let flags = flags.iter().filter(|(_, file)| !file.is_empty()).map(|(flag, file)| format!("{flag}={file}"));
        let flags: Vec<String> = flags.chain(["--otlp-endpoint=https://c:4317".to_owned()]).collect();
        check(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(asked(&certificate, &certificate, &key).is_ok() && asked(&certificate, "", "").is_ok());
    for (authority, shown, secret, named) in [
        ("/nonexistent.pem", "", "", "OTEL_EXPORTER_OTLP_CERTIFICATE): \"/nonexistent.pem\""),
        (&empty, "", "", "OTEL_EXPORTER_OTLP_CERTIFICATE)"),
        (&torn, "", "", "OTEL_EXPORTER_OTLP_CERTIFICATE)"),
        (&key, "", "", "OTEL_EXPORTER_OTLP_CERTIFICATE)"),
        (&certificate, &certificate, "", "OTEL_EXPORTER_OTLP_CLIENT_KEY): is needed"),
        (&certificate, "", &key, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE): is needed"),
        (&certificate, &empty, &key, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE)"),
        (&certificate, &certificate, &empty, "OTEL_EXPORTER_OTLP_CLIENT_KEY)"),
        (&certificate, &certificate, &other, "OTEL_EXPORTER_OTLP_CLIENT_KEY)"),
    ] {
        let faults = asked(authority, shown, secret).err().unwrap_or_default();
        assert!(faults.len() == 1 && faults[0].contains(named), "{named}: {faults:?}");
    }
}
