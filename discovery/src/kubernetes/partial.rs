//! Routes of which a part cannot be in force: the rest is, as the Gateway API asks for.
//!
//! Pure. A backend that is no Service gets its share of requests, which are answered with 500, as are those of a rule without
//! backends or weights; a rule that the mesh cannot carry out is dropped. A route of which nothing is left is refused whole.

use crate::translate::{Fault, Object, Translated, translate_value};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use weft_model::names;
use weft_model::route::{Route, Rule};

/// A route as far as it can be in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Partial {
    pub translated: Translated,
    /// The rules that cannot be, by number.
    pub dropped: BTreeSet<usize>,
    /// Why not.
    pub faults: Vec<Fault>,
}

/// What of a rule has to be put right once the rest is translated.
enum Amendment {
    /// The backend of this number is no Service.
    Backend(usize),
    /// The mirror of this number copies to no Service.
    Mirror(usize),
    /// There are no backends.
    Empty,
    /// All weights are 0; the first one was set.
    Weightless,
}

/// What is good of the route `document`, or why nothing is.
pub fn translate(document: &Value, trust_domain: &str) -> Result<Partial, Vec<Fault>> {
    let mut value = document.clone();
    let amendments = stand_in(&mut value);
    let rules = value["spec"]["rules"].as_array().cloned().unwrap_or_default();
    let (mut dropped, mut faults) = (BTreeSet::new(), Vec::new());
    loop {
        let kept: Vec<usize> = (0..rules.len()).filter(|number| !dropped.contains(number)).collect();
        if !dropped.is_empty() {
            value["spec"]["rules"] = kept.iter().map(|number| rules[*number].clone()).collect();
        }
        match translate_value(value.clone(), trust_domain) {
            Ok(mut translated) => {
                if let Object::Route { route, .. } = &mut translated.object {
                    amend(route, &kept, &amendments);
                }
                translated.document = document.clone();
                return Ok(Partial { translated, dropped, faults });
            }
            Err(found) => {
                let of_rules: Option<BTreeSet<usize>> = found.iter().map(|fault| number(&fault.field, &kept)).collect();
                faults.extend(found.into_iter().map(|fault| renumbered(fault, &kept)));
                match of_rules {
                    Some(more) if dropped.len() + more.len() < rules.len() => dropped.extend(more),
                    _ => return Err(faults),
                }
            }
        }
    }
}

const RULES: &str = "spec.rules[";

/// Which of the rules `kept`, by its number in the document, the field belongs to.
fn number(field: &str, kept: &[usize]) -> Option<usize> {
    let (number, _) = field.strip_prefix(RULES)?.split_once(']')?;
    kept.get(number.parse::<usize>().ok()?).copied()
}

/// With the number that the rule has in the document.
fn renumbered(mut fault: Fault, kept: &[usize]) -> Fault {
    if let (Some(number), Some((_, rest))) = (number(&fault.field, kept), fault.field.split_once(']')) {
        fault.field = format!("{RULES}{number}]{rest}");
    }
    fault
}

/// Has Services stand in for what none is, so that everything else is translated; for each rule, what has to be put right.
fn stand_in(document: &mut Value) -> Vec<Vec<Amendment>> {
    let rules = document["spec"].get_mut("rules").and_then(Value::as_array_mut);
    rules.into_iter().flatten().map(rule).collect()
}

fn rule(rule: &mut Value) -> Vec<Amendment> {
    let mut amendments = Vec::new();
    let filters = rule.get_mut("filters").and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default();
    let redirects = filters.iter().any(|filter| filter["type"] == "RequestRedirect");
    let mirrors = filters.iter_mut().filter(|filter| filter["type"] == "RequestMirror");
    for (n, filter) in mirrors.enumerate() {
        let to = filter.get_mut("requestMirror").and_then(|mirror| mirror.get_mut("backendRef"));
        if to.and_then(Value::as_object_mut).is_some_and(replaced) {
            amendments.push(Amendment::Mirror(n));
        }
    }
    let Some(rule) = rule.as_object_mut().filter(|_| !redirects) else { return amendments };
    let backends = rule.entry("backendRefs").or_insert_with(|| json!([]));
    let Some(backends) = backends.as_array_mut() else { return amendments };
    for (n, backend) in backends.iter_mut().enumerate() {
        if backend.as_object_mut().is_some_and(replaced) {
            amendments.push(Amendment::Backend(n));
        }
    }
    if backends.is_empty() {
        backends.push(json!({ "name": UNKNOWN, "port": 1 }));
        amendments.push(Amendment::Empty);
    } else if backends.iter().all(|backend| backend["weight"] == 0) {
        backends[0]["weight"] = 1.into();
        amendments.push(Amendment::Weightless);
    }
    amendments
}

/// What stands in for something whose name no Service could have.
const UNKNOWN: &str = "unknown";

/// Puts a Service in the place of a reference to anything else.
fn replaced(reference: &mut Map<String, Value>) -> bool {
    let is = |field: &str, usual: &str| reference.get(field).and_then(Value::as_str).is_none_or(|given| given == usual);
    if is("kind", "Service") && is("group", "") {
        return false;
    }
    let name = reference.get("name").and_then(Value::as_str).filter(|name| names::label(name).is_ok());
    let name = name.unwrap_or(UNKNOWN).to_owned();
    for field in ["kind", "group", "namespace"] {
        reference.remove(field);
    }
    reference.insert("name".to_owned(), name.into());
    reference.insert("port".to_owned(), 1.into());
    true
}

/// `kept`: the number that each rule has in the document.
fn amend(route: &mut Route, kept: &[usize], amendments: &[Vec<Amendment>]) {
    for (rule, number) in route.rules.iter_mut().zip(kept) {
        for amendment in amendments.get(*number).into_iter().flatten() {
            put_right(rule, amendment);
        }
    }
}

fn put_right(rule: &mut Rule, amendment: &Amendment) {
    match amendment {
        Amendment::Backend(n) => rule.backends.iter_mut().skip(*n).take(1).for_each(|backend| backend.refused = true),
        Amendment::Mirror(n) => rule.mirrors.iter_mut().skip(*n).take(1).for_each(|mirror| mirror.refused = true),
        Amendment::Empty => rule.backends.clear(),
        Amendment::Weightless => rule.backends.iter_mut().take(1).for_each(|backend| backend.weight = 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(rules: Value) -> Result<(Route, Partial), Vec<String>> {
        let document = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "split", "namespace": "shop"},
            "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "cart"}], "rules": rules},
        });
        let partial = translate(&document, "weft.local");
        let partial = partial.map_err(|faults| faults.into_iter().map(|fault| fault.field).collect::<Vec<_>>())?;
        assert_eq!(partial.translated.document, document);
        match partial.translated.object.clone() {
            Object::Route { route, .. } => Ok((route, partial)),
            other => panic!("{other:?}"),
        }
    }

    fn good() -> Value {
        json!({"backendRefs": [{"name": "cart", "port": 80}]})
    }

    #[test]
    fn a_backend_of_another_kind_has_its_share_and_is_refused() {
        let import = json!({"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "Cart.X", "namespace": "far", "weight": 3});
        let bucket = json!({"group": "example.com", "kind": "Bucket", "name": "copies"});
        let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": bucket}});
        let (route, partial) =
            taken(json!([{"filters": [mirror], "backendRefs": [import, {"name": "cart", "port": 80}]}])).unwrap();
        assert!(partial.dropped.is_empty() && partial.faults.is_empty());
        let said: Vec<_> = route.rules[0].backends.iter().map(|b| (b.refused, b.weight)).collect();
        assert_eq!((&said[..], route.rules[0].mirrors[0].refused), (&[(true, 3), (false, 1)][..], true));
    }

    #[test]
    fn a_rule_without_backends_or_weights_is_in_force() {
        let weightless = json!({"backendRefs": [{"name": "cart", "port": 80, "weight": 0}]});
        let redirect = json!({"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]});
        let (route, _) = taken(json!([{}, weightless, redirect])).unwrap();
        assert!(route.rules[0].backends.is_empty() && route.rules[2].redirect.is_some());
        assert_eq!(route.rules[1].backends[0].weight, 0);
    }

    #[test]
    fn a_rule_that_cannot_be_carried_out_is_dropped_and_named() {
        let strange = json!({"filters": [{"type": "ExtensionRef", "extensionRef": {"group": "a.b", "kind": "C", "name": "d"}}],
            "backendRefs": [{"name": "cart", "port": 80}]});
        let typo = json!({"matches": [{"path": {"type": "RegularExpression", "value": "/("}}],
            "backendRefs": [{"name": "cart", "port": 80}]});
        let odd = json!({"backendRefs": [{"kind": "Pod", "name": "cart", "port": 80}]});
        let (route, partial) = taken(json!([strange, typo, odd, good()])).unwrap();
        assert_eq!(partial.dropped, BTreeSet::from([0, 1]));
        let fields: Vec<_> = partial.faults.iter().map(|fault| fault.field.as_str()).collect();
        assert!(fields.iter().any(|field| field.starts_with("spec.rules[0].")), "{fields:?}");
        assert!(fields.iter().any(|field| field.starts_with("spec.rules[1].matches[0].path")), "{fields:?}");
        let refused: Vec<_> = route.rules.iter().map(|rule| rule.backends[0].refused).collect();
        assert_eq!(refused, [true, false]);
        assert!(taken(json!([strange, typo])).unwrap_err().len() >= 2);
        assert_eq!(taken(json!(7)).unwrap_err(), ["spec.rules"]);
    }
}
