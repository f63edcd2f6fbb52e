//! Points are what the text says, and begin when their series did.
//!
//! On the registry's own text, so that the two cannot drift apart.

use super::*;
use crate::metrics::{LatencyHistogram, Registry};
use opentelemetry_proto::tonic::common::v1::any_value;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Kept;
use prometheus_client::metrics::gauge::Gauge as Level;
use std::time::Duration;

type Labels = Vec<(String, String)>;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn find<'a>(metrics: &'a [Metric], name: &str) -> &'a Metric {
    metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name} in {metrics:#?}"))
}

fn sum(metric: &Metric) -> &Sum {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => sum,
        other => panic!("{other:?}"),
    }
}

fn label(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name).unwrap();
    match found.value.as_ref().unwrap().value.as_ref().unwrap() {
        any_value::Value::StringValue(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_kinds_are_what_the_registry_has() {
    let mut registry = Registry::new("weft-proxy", "1.2.3");
    let requests = registry.register("requests", "Requests", Kept::<Labels, Counter>::default());
    let odd = "a\"b\\c\nd} e=\"f\",g".to_owned();
    requests.get_or_create(&vec![("status".to_owned(), odd.clone())]).inc_by(7);
    registry.register("connections_open", "Open", Level::<i64>::default()).set(-3);
    registry.register("never_seen", "Nothing", Kept::<Labels, Counter>::default());
    let latency = registry.register("took_seconds", "Latency", Kept::<Labels, LatencyHistogram>::default());
    let cart = latency.get_or_create_owned(&vec![("service".to_owned(), "cart".to_owned())]);
    [1, 70, 70_000].into_iter().for_each(|millis| cart.observe(Duration::from_millis(millis)));
    cart.observe_traced(Duration::from_millis(80), 0xabc);
    let metrics = Points::since(at(100)).make(&registry.encode().unwrap(), at(160));

    let counted = find(&metrics, "weft_requests_total");
    assert_eq!((counted.description.as_str(), counted.unit.as_str()), ("Requests", ""));
    let point = &sum(counted).data_points[0];
    assert!(sum(counted).is_monotonic && sum(counted).aggregation_temporality == 2, "{counted:?}");
    assert_eq!((point.value, label(&point.attributes, "status")), (Some(Value::AsInt(7)), odd));
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (100_000_000_000, 160_000_000_000));

    let Some(Data::Gauge(open)) = &find(&metrics, "weft_connections_open").data else { panic!("no gauge") };
    assert_eq!(open.data_points[0].value, Some(Value::AsInt(-3)));
    assert!(metrics.iter().all(|metric| !metric.name.contains("never_seen")), "a metric without points");
    assert!(!sum(find(&metrics, "weft_build_info")).is_monotonic);
    assert_eq!(find(&metrics, "process_resident_memory_bytes").unit, "By");

    let took = find(&metrics, "weft_took_seconds");
    let Some(Data::Histogram(took)) = &took.data else { panic!("{took:?}") };
    let point = &took.data_points[0];
    assert_eq!((point.count, point.bucket_counts.len(), point.explicit_bounds.len()), (4, 17, 16));
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    // 1 ms, 70 and 80 ms, and beyond a minute.
    assert_eq!((point.bucket_counts[1], point.bucket_counts[7], point.bucket_counts[16]), (1, 2, 1));
    assert!((point.sum.unwrap() - 70.151).abs() < 1e-9 && label(&point.attributes, "service") == "cart");
    assert_eq!(point.attributes.len(), 1, "the bound is no attribute: {:?}", point.attributes);
    assert_eq!(point.exemplars[0].trace_id, 0xabc_u128.to_be_bytes());
}

#[test]
fn a_series_that_comes_later_or_again_begins_later() {
    let text = |a: u64, b: Option<u64>| {
        let b = b.map(|b| format!("r_total{{s=\"b\"}} {b}\n")).unwrap_or_default();
        format!("# HELP r R.\n# TYPE r counter\nr_total{{s=\"a\"}} {a}\n{b}# EOF\n")
    };
    let mut points = Points::since(at(10));
    let mut begun = |text: String, now: u64| -> Vec<u64> {
        let metrics = points.make(&text, at(now));
        let points = &sum(&metrics[0]).data_points;
        points.iter().map(|point| point.start_time_unix_nano / 1_000_000_000).collect()
    };
    assert_eq!(begun(text(1, None), 20), [10]);
    assert_eq!(begun(text(2, Some(5)), 30), [10, 20], "b began after the last points");
    assert_eq!(begun(text(2, Some(5)), 40), [10, 20]);
    assert_eq!(begun(text(3, None), 50), [10]);
    assert_eq!(begun(text(3, Some(5)), 60), [10, 50], "b was swept and is new");
    assert_eq!(begun(text(1, Some(6)), 70), [60, 50], "a went back");
}
