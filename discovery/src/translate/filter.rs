//! An HTTPRoute rule's `filters`: the two header modifiers, and a clear refusal for the kinds that are not built yet.
//!
//! Both modifiers have the same shape under different generated types; they are brought to one form first. Names come
//! out in lower case.

use super::fault::Faults;
use super::field;
use gateway_api::httproutes::{HttpRouteRulesFilters, HttpRouteRulesFiltersType as Kind};
use std::collections::HashSet;
use weft_model::route::HeaderEdit;

/// A modifier in one form for requests and responses.
struct Modifier {
    set: Vec<(String, String)>,
    add: Vec<(String, String)>,
    remove: Vec<String>,
}

/// Brings a generated modifier type into the one form.
macro_rules! modifier {
    ($spec:expr) => {
        $spec.map(|spec| Modifier {
            set: spec.set.unwrap_or_default().into_iter().map(|header| (header.name, header.value)).collect(),
            add: spec.add.unwrap_or_default().into_iter().map(|header| (header.name, header.value)).collect(),
            remove: spec.remove.unwrap_or_default(),
        })
    };
}

/// The rule's edits of request and response headers. `at` is the rule.
pub fn translate(filters: Vec<HttpRouteRulesFilters>, at: &str, faults: &mut Faults) -> (HeaderEdit, HeaderEdit) {
    field::at_most(16, filters.len(), &format!("{at}.filters"), faults);
    let (mut request, mut response) = (None, None);
    for (index, filter) in filters.into_iter().enumerate() {
        let at = format!("{at}.filters[{index}]");
        let (slot, name, given) = match filter.r#type {
            Kind::RequestHeaderModifier => {
                (&mut request, "requestHeaderModifier", modifier!(filter.request_header_modifier))
            }
            Kind::ResponseHeaderModifier => {
                (&mut response, "responseHeaderModifier", modifier!(filter.response_header_modifier))
            }
            other => {
                let name = serde_json::to_value(&other).unwrap_or_default();
                let name = name.as_str().unwrap_or_default();
                faults.add(format!("{at}.type"), format_args!("{name} is not supported yet"));
                continue;
            }
        };
        let Some(given) = given else {
            faults.add(format!("{at}.{name}"), "missing, although the type of the filter asks for it");
            continue;
        };
        if slot.is_some() {
            faults.add(format!("{at}.type"), "a rule has one filter of this type at most");
        }
        *slot = Some(edit(given, &format!("{at}.{name}"), faults));
    }
    (request.unwrap_or_default(), response.unwrap_or_default())
}

fn edit(given: Modifier, at: &str, faults: &mut Faults) -> HeaderEdit {
    let set = values(given.set, &format!("{at}.set"), faults);
    let add = values(given.add, &format!("{at}.add"), faults);
    field::at_most(16, given.remove.len(), &format!("{at}.remove"), faults);
    let remove = given.remove.iter().enumerate();
    let remove =
        remove.filter_map(|(i, name)| field::editable_header(name, &format!("{at}.remove[{i}]"), faults)).collect();
    HeaderEdit { set, add, remove }
}

fn values(given: Vec<(String, String)>, at: &str, faults: &mut Faults) -> Vec<(String, String)> {
    field::at_most(16, given.len(), at, faults);
    let mut seen = HashSet::new();
    let mut edits = Vec::new();
    for (index, (name, value)) in given.into_iter().enumerate() {
        let name_at = format!("{at}[{index}].name");
        let name = field::editable_header(&name, &name_at, faults);
        let value = field::header_value(&value, format!("{at}[{index}].value"), faults);
        if let Some(twice) = name.as_ref().filter(|name| !seen.insert((*name).clone())) {
            faults.add(name_at, format_args!("{twice:?} stands there twice"));
        }
        edits.extend(name.zip(value));
    }
    edits
}
