//! The `filters` of a route's rule and of its backends.
//!
//! Each type is checked against what it may stand beside; a filter whose field is missing, or that has the field of another
//! type, is a fault. Header names come out in lower case.

use super::fault::Faults;
use super::spec::{FilterSpec, FilterType, HeaderModifier, HeaderSpec};
use super::{field, redirect};
use std::collections::HashSet;
use weft_model::route::{HeaderEdit, Mirror, Redirect, Rewrite};

/// What the filters of one place ask for.
#[derive(Default)]
pub struct Filters {
    pub request: HeaderEdit,
    pub response: HeaderEdit,
    pub redirect: Option<Redirect>,
    pub rewrite: Option<Rewrite>,
    pub mirrors: Vec<Mirror>,
}

/// The filters of a rule of a route in `namespace`. `at` is the rule; `prefix`: it has one match, by path prefix.
pub fn of_rule(namespace: &str, filters: Vec<FilterSpec>, prefix: bool, at: &str, faults: &mut Faults) -> Filters {
    field::at_most(16, filters.len(), &format!("{at}.filters"), faults);
    let mut seen = Vec::new();
    let mut all = Filters::default();
    for (index, filter) in filters.into_iter().enumerate() {
        let at = format!("{at}.filters[{index}]");
        let kind = filter.r#type;
        once(kind, &mut seen, &at, faults);
        strangers(&filter, &at, faults);
        match kind {
            FilterType::RequestHeaderModifier => {
                all.request = given(filter.request_header_modifier, "requestHeaderModifier", &at, faults)
                    .map_or_else(HeaderEdit::default, |(spec, at)| edit(spec, &at, faults));
            }
            FilterType::ResponseHeaderModifier => {
                all.response = given(filter.response_header_modifier, "responseHeaderModifier", &at, faults)
                    .map_or_else(HeaderEdit::default, |(spec, at)| edit(spec, &at, faults));
            }
            FilterType::RequestRedirect => {
                all.redirect = given(filter.request_redirect, "requestRedirect", &at, faults)
                    .and_then(|(spec, at)| redirect::redirect(spec, prefix, &at, faults));
            }
            FilterType::UrlRewrite => {
                all.rewrite = given(filter.url_rewrite, "urlRewrite", &at, faults)
                    .map(|(spec, at)| redirect::rewrite(spec, prefix, &at, faults));
            }
            FilterType::RequestMirror => {
                let spec = given(filter.request_mirror, "requestMirror", &at, faults);
                all.mirrors.extend(spec.and_then(|(spec, at)| redirect::mirror(namespace, spec, &at, faults)));
            }
        }
    }
    if seen.contains(&FilterType::RequestRedirect) && seen.contains(&FilterType::UrlRewrite) {
        faults.add(format!("{at}.filters"), "RequestRedirect and URLRewrite exclude each other");
    }
    all
}

/// The edits of a backend's filters, of which there are no others. `at` is the backend.
pub fn of_backend(filters: Vec<FilterSpec>, at: &str, faults: &mut Faults) -> (HeaderEdit, HeaderEdit) {
    let usual = |filter: &FilterSpec| {
        matches!(filter.r#type, FilterType::RequestHeaderModifier | FilterType::ResponseHeaderModifier)
    };
    for (index, filter) in filters.iter().enumerate().filter(|(_, filter)| !usual(filter)) {
        let name = name(filter.r#type);
        faults
            .add(format!("{at}.filters[{index}].type"), format_args!("{name} is not supported here, only on the rule"));
    }
    if !filters.iter().all(usual) {
        return Default::default();
    }
    let all = of_rule("", filters, false, at, faults);
    (all.request, all.response)
}

fn once(kind: FilterType, seen: &mut Vec<FilterType>, at: &str, faults: &mut Faults) {
    if kind != FilterType::RequestMirror && seen.contains(&kind) {
        faults.add(format!("{at}.type"), "a rule has one filter of this type at most");
    }
    seen.push(kind);
}

/// Fields that belong to other types than the filter's own.
fn strangers(filter: &FilterSpec, at: &str, faults: &mut Faults) {
    let fields = [
        (FilterType::RequestHeaderModifier, "requestHeaderModifier", filter.request_header_modifier.is_some()),
        (FilterType::ResponseHeaderModifier, "responseHeaderModifier", filter.response_header_modifier.is_some()),
        (FilterType::RequestRedirect, "requestRedirect", filter.request_redirect.is_some()),
        (FilterType::UrlRewrite, "urlRewrite", filter.url_rewrite.is_some()),
        (FilterType::RequestMirror, "requestMirror", filter.request_mirror.is_some()),
    ];
    for (_, field, _) in fields.into_iter().filter(|(kind, _, given)| *given && *kind != filter.r#type) {
        faults.add(format!("{at}.{field}"), format_args!("does not belong to the type {}", name(filter.r#type)));
    }
}

fn name(kind: FilterType) -> String {
    serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The field that the filter's type asks for, and where it stands.
fn given<T>(spec: Option<T>, field: &str, at: &str, faults: &mut Faults) -> Option<(T, String)> {
    let at = format!("{at}.{field}");
    if spec.is_none() {
        faults.add(&at, "missing, although the type of the filter asks for it");
    }
    spec.map(|spec| (spec, at))
}

fn edit(given: HeaderModifier, at: &str, faults: &mut Faults) -> HeaderEdit {
    let set = values(given.set, &format!("{at}.set"), faults);
    let add = values(given.add, &format!("{at}.add"), faults);
    field::at_most(16, given.remove.len(), &format!("{at}.remove"), faults);
    let remove = given.remove.iter().enumerate();
    let remove =
        remove.filter_map(|(i, name)| field::editable_header(name, &format!("{at}.remove[{i}]"), faults)).collect();
    HeaderEdit { set, add, remove }
}

fn values(given: Vec<HeaderSpec>, at: &str, faults: &mut Faults) -> Vec<(String, String)> {
    field::at_most(16, given.len(), at, faults);
    let mut seen = HashSet::new();
    let mut edits = Vec::new();
    for (index, HeaderSpec { name, value }) in given.into_iter().enumerate() {
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
