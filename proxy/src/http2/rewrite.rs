//! What a rule changes in the heads that are passed on.
//!
//! Beside `exchange`. Discovery has checked what is put in; what still does not fit is left out.

use crate::balance::orca;
use crate::cluster::Upstream;
use crate::route::Carried;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, uri};
use weft_model::balance::LoadReports;
use weft_model::route::HeaderEdit;

/// Removes, sets and adds fields.
pub fn edit(headers: &mut HeaderMap, edit: &HeaderEdit) {
    let pair =
        |(name, value): &(String, String)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?));
    for name in edit.remove.iter().chain(edit.set.iter().map(|(name, _)| name)) {
        headers.remove(name);
    }
    for (name, value) in edit.set.iter().chain(&edit.add).filter_map(pair) {
        headers.append(name, value);
    }
}

/// Takes the load reports of `upstream` out of a head or of trailers, and in, if there are terms for them.
pub fn take_reports(fields: &mut HeaderMap, upstream: &Upstream, terms: Option<&LoadReports>) {
    let Some(terms) = terms else { return };
    for name in orca::FIELDS {
        if let Some(report) = fields.remove(name) {
            upstream.reported(name, report.as_bytes(), terms);
        }
    }
}

/// Puts the rule's target and host in place of what came. Discovery has checked both; what still makes no URI is left out.
pub fn target(head: &mut Parts, rule: &Carried) {
    let mut parts = head.uri.clone().into_parts();
    if let Some(target) = rule.target.as_deref().and_then(|target| uri::PathAndQuery::try_from(target).ok()) {
        parts.path_and_query = Some(target);
    }
    if let Some(host) = rule.host().and_then(|host| uri::Authority::try_from(host).ok()) {
        if let (true, Ok(value)) = (head.headers.contains_key(http::header::HOST), HeaderValue::from_str(host.as_str()))
        {
            head.headers.insert(http::header::HOST, value);
        }
        parts.authority = Some(host);
    }
    if let Ok(uri) = uri::Uri::from_parts(parts) {
        head.uri = uri;
    }
}
