//! What a scrape shows of requests that were counted, and of endpoints that are gone.
//!
//! Through the registry, as a scraper sees it.

use super::*;

#[test]
fn a_request_is_counted_under_all_its_labels() {
    let mut registry = Registry::new("test", "0");
    let metrics = Metrics::register(&mut registry);
    let meter = metrics.request_meter(Direction::Outbound, "cart.shop", "cart-0");
    meter.record("r/0", 200, "", Duration::from_millis(2));
    meter.record("r/0", 200, "", Duration::from_millis(2));
    meter.moved("r/0", 0, 70_000);
    meter.moved("r/0", 12, 5);
    meter.retried("connect-refused");
    meter.connected(true);
    let text = registry.encode().unwrap();
    let line = "weft_requests_total{direction=\"outbound\",service=\"cart.shop\",route=\"r/0\",endpoint=\"cart-0\",status=\"200\",reason=\"\"} 2";
    assert!(text.contains(line), "{text}");
    for (name, bytes) in [("request", 12), ("response", 70_005)] {
        let line =
            format!("weft_{name}_bytes_total{{direction=\"outbound\",service=\"cart.shop\",route=\"r/0\"}} {bytes}");
        assert!(text.contains(&line), "{text}");
    }
    let made = "weft_upstream_connections_total{direction=\"outbound\",service=\"cart.shop\",mtls=\"true\"} 1";
    assert!(text.contains(made), "{text}");
    assert!(text.contains("weft_retries_total{service=\"cart.shop\",reason=\"connect-refused\"} 1"), "{text}");
}

#[test]
fn an_endpoint_that_is_gone_takes_its_series_along() {
    let mut registry = Registry::new("test", "0");
    let metrics = Metrics::register(&mut registry);
    let shown = |registry: &Registry, name: &str| registry.encode().unwrap().contains(&format!("endpoint=\"{name}\""));
    let later = Instant::now() + Duration::from_secs(3600);
    let workers = [0, 1].map(|_| metrics.request_meter(Direction::Outbound, "cart.shop", "cart-0"));
    let other = metrics.request_meter(Direction::Outbound, "cart.shop", "cart-1");
    workers.iter().chain([&other]).for_each(|meter| meter.record("", 200, "", Duration::from_millis(2)));
    let [one, two] = workers;
    drop(one);
    metrics.sweep(later);
    assert!(shown(&registry, "cart-0"), "another worker still has it");
    drop(two);
    metrics.sweep(Instant::now());
    assert!(shown(&registry, "cart-0"), "scrapers have not seen its last values");
    metrics.sweep(later);
    assert!(!shown(&registry, "cart-0") && shown(&registry, "cart-1"));
    let back = metrics.request_meter(Direction::Outbound, "cart.shop", "cart-0");
    back.record("", 200, "", Duration::from_millis(2));
    metrics.sweep(later + Duration::from_secs(3600));
    assert!(shown(&registry, "cart-0"), "it came back");
}
