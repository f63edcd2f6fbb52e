//! The heads as they are passed on: what the mesh removes, changes and adds.
//!
//! Between `serve`, which has a plan, and `head`, which writes what came. Never fails: what is added has been checked by
//! discovery.

use super::head::Head;
use crate::affinity;
use crate::cluster::Upstream;
use crate::plan::Plan;
use crate::respond;
use crate::route::Carried;
use std::rc::Rc;

/// The request head for an endpoint.
pub fn request(request: &mut Head, plan: &Plan, added: &[(&'static str, String)], out: &mut Vec<u8>) {
    out.clear();
    let rule = plan.rule.as_ref();
    let edit = rule.and_then(Carried::request_headers);
    if let Some(edit) = edit {
        edit.set.iter().map(|(name, _)| name).chain(&edit.remove).for_each(|name| request.remove(name));
    }
    let host = rule.and_then(Carried::host);
    if host.is_some() {
        request.remove("host");
    }
    request.write_request(out, rule.and_then(|rule| rule.target.as_deref()).map(str::as_bytes));
    if let Some(host) = host {
        line(out, "host", host);
    }
    for (name, value) in added {
        line(out, name, value);
    }
    for (name, value) in edit.iter().flat_map(|e| e.set.iter().chain(&e.add)) {
        line(out, name, value);
    }
    if request.hop.upgrade {
        line(out, "connection", "upgrade");
    }
    out.extend_from_slice(b"\r\n");
}

/// The response head for the client, with those `added` that are not empty.
pub fn response(
    response: &mut Head,
    plan: &Plan,
    upstream: &Rc<Upstream>,
    added: &[(&'static str, &'static str)],
    out: &mut Vec<u8>,
) {
    out.clear();
    let edit = plan.rule.as_ref().and_then(Carried::response_headers);
    if let Some(edit) = edit {
        edit.set.iter().map(|(name, _)| name).chain(&edit.remove).for_each(|name| response.remove(name));
    }
    if plan.is_local() {
        response.remove(respond::REASON);
    }
    response.write_response(out);
    for (name, value) in edit.iter().flat_map(|e| e.set.iter().chain(&e.add)) {
        line(out, name, value);
    }
    if let Some(cookie) = plan.new_session(upstream) {
        line(out, "set-cookie", &affinity::set_cookie(cookie, &upstream.token));
    }
    for (name, value) in added.iter().filter(|(_, value)| !value.is_empty()) {
        line(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
