//! Documents: put into force together or not at all, shown as they were written, taken away by name.
//!
//! Seen through the admin socket, as weftctl sees it.

use crate::both;
use crate::plane::Plane;
use crate::stores::Fixture;
use crate::workload::Workload;
use tonic::Code;
use weft_discovery::store::Op;
use weft_proto::v1;

const CART: &str =
    "{apiVersion: v1, kind: Service, metadata: {name: cart, namespace: shop}, spec: {ports: [{port: 80}]}}";
const POLICY: &str = "{apiVersion: weft.dev/v1alpha1, kind: TrafficPolicy, metadata: {name: cart, namespace: shop}, \
                      spec: {targetRefs: [{kind: Service, name: cart}]}}";

fn outcomes(response: &v1::ApplyResponse) -> Vec<&str> {
    response.applied.iter().map(|applied| applied.outcome.as_str()).collect()
}

fn endpoint(service: &str) -> String {
    let metadata = "metadata: {name: legacy-0, namespace: shop}";
    let spec = format!("spec: {{service: {service}, addresses: [10.0.0.1]}}");
    format!("{{apiVersion: weft.dev/v1alpha1, kind: Endpoint, {metadata}, {spec}}}")
}

both! {
    documents_are_created_configured_or_unchanged
    all_documents_or_none
    a_dry_run_changes_nothing
    deleting_a_service_keeps_what_is_attached
    an_endpoint_moves_to_another_service
    what_a_proxy_registered_is_not_for_apply
    a_service_keeps_its_address
    a_corrupt_record_is_skipped_and_can_be_replaced
}

async fn documents_are_created_configured_or_unchanged(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let first = plane.apply(&format!("{CART}\n---\n{POLICY}")).await;
    assert_eq!(outcomes(&first), ["created", "created"]);
    let again = plane.apply(&format!("{CART}\n---\n{POLICY}")).await;
    assert_eq!((outcomes(&again), again.revision >= first.revision), (vec!["unchanged", "unchanged"], true));
    let other = plane.apply(&format!("{}\n---\n{POLICY}", CART.replace("80", "81"))).await;
    assert_eq!(outcomes(&other), ["configured", "unchanged"]);
    assert!(other.revision > first.revision);
    let [service] = &plane.get("services").await[..] else { panic!("one service was applied") };
    assert_eq!((service.namespace.as_str(), service.name.as_str(), service.source.as_str()), ("shop", "cart", "apply"));
    assert!(service.document_json.contains("81"), "{}", service.document_json);
}

async fn all_documents_or_none(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let bad = POLICY.replace("kind: Service", "kind: Gateway");
    let refused = plane.try_apply(&format!("{CART}\n---\n{bad}")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let fault =
        "TrafficPolicy shop/cart: spec.targetRefs[0].kind: Gateway is not supported, only Service (with group \"\")";
    assert_eq!(refused.message(), fault);
    assert!(plane.get("services").await.is_empty());
    let many: Vec<String> =
        (0..200).map(|n| POLICY.replace("name: cart, namespace", &format!("name: p{n}, namespace"))).collect();
    let refused = plane.try_apply(&many.join("\n---\n")).await.unwrap_err();
    assert!(refused.message().contains("200 documents are too many"), "{refused}");
    assert!(plane.get("policies").await.is_empty());
}

async fn a_dry_run_changes_nothing(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let request = v1::ApplyRequest { yaml: CART.to_owned(), dry_run: true };
    let dry = plane.admin.clone().apply(request).await.unwrap().into_inner();
    assert_eq!(outcomes(&dry), ["created"]);
    assert!(plane.get("services").await.is_empty());
}

async fn deleting_a_service_keeps_what_is_attached(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane.apply(&format!("{CART}\n---\n{POLICY}")).await;
    plane.delete("service", "shop", "cart").await.unwrap();
    assert!(plane.get("services").await.is_empty());
    assert_eq!(plane.get("policies").await.len(), 1);
    for (kind, name) in [("service", "cart"), ("route", "x"), ("endpoint", "x")] {
        assert_eq!(plane.delete(kind, "shop", name).await.unwrap_err().code(), Code::NotFound, "{kind}");
    }
    assert_eq!(plane.delete("gateway", "shop", "x").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(plane.delete("service", "shop", "a/b").await.unwrap_err().code(), Code::InvalidArgument);
}

async fn an_endpoint_moves_to_another_service(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane.apply(&endpoint("cart")).await;
    let moved = plane.apply(&endpoint("search")).await;
    assert_eq!(outcomes(&moved), ["configured"]);
    let [endpoint] = &plane.get("endpoints").await[..] else { panic!("one endpoint was applied") };
    assert!(endpoint.model_json.contains("search"), "{}", endpoint.model_json);
    plane.delete("endpoint", "shop", "legacy-0").await.unwrap();
    assert!(plane.get("endpoints").await.is_empty());
}

async fn what_a_proxy_registered_is_not_for_apply(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let cart = Workload::join(&plane, "shop", "cart").await;
    cart.register(cart.endpoint("cart", "legacy-0", "10.0.0.9"), 0, 0).await.unwrap();
    let refused = plane.try_apply(&endpoint("cart")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let refused = plane.delete("endpoint", "shop", "legacy-0").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
}

async fn a_service_keeps_its_address(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    let address = async || plane.get("services").await[0].model_json.clone();
    plane.apply(CART).await;
    let first = address().await;
    assert!(first.contains("\"virtual_addresses\":[\"198.1"), "{first}");
    plane.apply(&CART.replace("80", "81")).await;
    assert_eq!(address().await.replace("81", "80"), first);
    plane.apply(&CART.replace("{ports", "{clusterIP: None, ports")).await;
    assert!(address().await.contains("\"virtual_addresses\":[]"), "{}", address().await);
}

async fn a_corrupt_record_is_skipped_and_can_be_replaced(fixture: Fixture) {
    let plane = Plane::start(&fixture).await;
    plane.apply(CART).await;
    fixture.store.commit(vec![], vec![Op::put("services/shop/cart", "{")]).await.unwrap();
    assert!(plane.get("services").await.is_empty());
    let status = async || plane.admin.clone().status(v1::StatusRequest {}).await.unwrap().into_inner();
    crate::eventually("the value is counted", async || status().await.skipped == 1).await;
    assert_eq!(status().await.services, 1, "the last good one stays in force");
    fixture.store.commit(vec![], vec![Op::put("services/shop/cart", "}"), Op::put("routes/shop/r", "")]).await.unwrap();
    crate::eventually("a key counts once, however often it is spoiled", async || status().await.skipped == 2).await;
    assert_eq!(outcomes(&plane.apply(CART).await), ["configured"]);
    fixture.store.commit(vec![], vec![Op::delete("routes/shop/r")]).await.unwrap();
    crate::eventually("nothing is unreadable any more", async || status().await.skipped == 0).await;
    assert!(status().await.notes.is_empty());
}
