//! Values that are taken, values that are refused, and the page that documents them.
//!
//! The table of docs/injection.md is written from the list itself (`WEFT_WRITE=1`), and compared with it otherwise.

use super::*;

fn read(key: &str, value: &str) -> Result<Choices, String> {
    let annotations = Map::from_iter([(format!("weft.dev/{key}"), Value::from(value))]);
    let mut faults = Faults::default();
    let choices = Choices::read(&annotations, &mut faults);
    faults.or(choices).map_err(|refusal| refusal.to_string())
}

#[test]
fn good_values_are_taken() {
    let ports = read("exclude-outbound-ports", " 80, 443 ,").unwrap().exclude_outbound_ports;
    assert_eq!(ports.iter().map(|port| port.get()).collect::<Vec<_>>(), [80, 443]);
    assert_eq!(read("exclude-inbound-cidrs", "10.0.0.0/8,fd00::/8").unwrap().exclude_inbound_cidrs.len(), 2);
    assert_eq!(read("drain-timeout", "1m 30s").unwrap().drain_timeout, Some(Duration::from_secs(90)));
    assert_eq!(read("log-level", "info,weft_proxy::catalog=trace").unwrap().log_level.unwrap().len(), 30);
    assert_eq!(read("workers", "64").unwrap().workers, Some(64));
    assert_eq!(read("dns-capture", "disabled").unwrap().dns_capture, Some(false));
    assert!(matches!(read("sidecar", "classic").unwrap().style, Some(Style::Classic)));
}

#[test]
fn bad_values_are_refused_naming_key_and_what_is_allowed() {
    let many = "1,".repeat(65);
    let cases = [
        ("sidecar", "ambient"),
        ("exclude-outbound-ports", "0"),
        ("exclude-outbound-ports", "80-90"),
        ("exclude-inbound-ports", "70000"),
        ("exclude-inbound-ports", "http"),
        ("opaque-ports", many.as_str()),
        ("exclude-outbound-cidrs", "10.0.0.0/33"),
        ("exclude-outbound-cidrs", "somewhere"),
        ("exclude-inbound-cidrs", "fd00::/129"),
        ("dns-capture", "true"),
        ("rewrite-probes", ""),
        ("workers", "0"),
        ("workers", "65"),
        ("workers", "1.5"),
        ("drain-timeout", "30"),
        ("drain-timeout", "2h"),
        ("drain-timeout", "0s"),
        ("log-level", "loud"),
        ("log-level", "weft_proxy=loud"),
        ("log-level", "info;debug"),
        ("log-format", "xml"),
        ("cpu-request", "100u"),
        ("cpu-limit", "lots"),
        ("memory-request", "64m"),
        ("memory-limit", "64MB"),
    ];
    for (key, value) in cases {
        let refusal = read(key, value).unwrap_err();
        let known = ANNOTATIONS.iter().find(|known| known.key == format!("weft.dev/{key}")).unwrap();
        assert!(refusal.starts_with(&format!("{}: ", known.key)), "{key}={value}: {refusal}");
        assert!(refusal.ends_with(&format!("; allowed: {}", known.allowed)), "{key}={value}: {refusal}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let annotations = Map::from_iter([
        ("weft.dev/workers".to_owned(), Value::from(4)),
        ("weft.dev/log-level".to_owned(), Value::from("loud")),
        ("weft.dev/worker".to_owned(), Value::from("4")),
    ]);
    let mut faults = Faults::default();
    Choices::read(&annotations, &mut faults);
    let refusal = faults.or(()).unwrap_err();
    assert_eq!(refusal.faults().len(), 2, "{refusal}");
    assert!(refusal.to_string().contains("put it into quotes"), "{refusal}");
    assert_eq!(unknown(&annotations).len(), 1);
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/injection.md");
const BEGIN: &str = "<!-- annotations: written by WEFT_WRITE=1 cargo test --workspace --lib annotations_page -->\n";
const END: &str = "<!-- end of annotations -->";

#[test]
fn the_annotations_page_has_every_annotation() {
    let row = |a: &Annotation| format!("| `{}` | {} | {} | {} |\n", a.key, a.allowed, a.default, a.effect);
    let rows: String = ANNOTATIONS.iter().map(row).collect();
    let table = format!("| annotation | value | without it | effect |\n| --- | --- | --- | --- |\n{rows}");
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the table begins");
    let (written, after) = rest.split_once(END).expect("the page says where the table ends");
    if std::env::var_os("WEFT_WRITE").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, table, "WEFT_WRITE=1 writes it anew");
    }
}
