//! The heads as they are passed on: what the mesh removes, changes and adds.
//!
//! Between `serve`, which has a plan, and `head`, which writes what came. Never fails: what is added has been checked by
//! discovery.

use super::head::Head;
use crate::balance::orca;
use crate::cluster::Upstream;
use crate::deadline::GRPC_TIMEOUT;
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
    let trace = plan.observed.outgoing();
    if let Some(trace) = &trace {
        trace.replaced().for_each(|name| request.remove(name));
    }
    let left = plan.grpc_timeout();
    if left.is_some() {
        request.remove(GRPC_TIMEOUT);
    }
    request.write_request(out, rule.and_then(|rule| rule.target.as_deref()).map(str::as_bytes));
    if let Some(host) = host {
        line(out, "host", host);
    }
    if let Some(left) = left {
        line(out, GRPC_TIMEOUT, &left);
    }
    if let Some(trace) = &trace {
        trace.write(|name, value| line(out, name, value));
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
    if let Some(terms) = plan.load_reports() {
        for name in orca::FIELDS {
            let taken = response.values(name).next().map(|report| upstream.reported(name, report, terms));
            if taken.is_some() {
                response.remove(name);
            }
        }
    }
    response.write_response(out);
    for (name, value) in edit.iter().flat_map(|e| e.set.iter().chain(&e.add)) {
        line(out, name, value);
    }
    for (name, value) in plan.told() {
        line(out, name, value);
    }
    if let Some((name, value)) = plan.session_field(upstream) {
        line(out, name, &value);
    }
    for (name, value) in added.iter().filter(|(_, value)| !value.is_empty()) {
        line(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_ref());
    out.extend_from_slice(b"\r\n");
}
