//! Tables of what one proxy knows: its services and their endpoints, from its own dump.
//!
//! Pure. A dump of another form than this version's is an error, not a table of guesses.

use crate::print::{Format, Table};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Display;
use weft_model::{Endpoint, Service};

/// The part of a dump that tables are made of.
#[derive(Debug, Deserialize)]
struct Dump {
    services: Vec<Known>,
}

#[derive(Debug, Deserialize)]
struct Known {
    revision: u64,
    service: Service,
    routes: Vec<Value>,
    policy: Value,
    endpoints: Vec<Endpoint>,
}

fn read(dump: &Value) -> anyhow::Result<Dump> {
    Deserialize::deserialize(dump).context("the proxy's dump has another form: is it of another version?")
}

/// A row for each service.
pub fn services(dump: &Value, form: Format) -> anyhow::Result<String> {
    let mut headings = vec!["NAMESPACE", "SERVICE", "ADDRESS", "PORTS", "READY", "ROUTES", "BALANCER"];
    if form == Format::Wide {
        headings.push("REVISION");
    }
    let mut table = Table::new(&headings);
    for known in &read(dump)?.services {
        let ready = known.endpoints.iter().filter(|endpoint| endpoint.takes_new_work()).count();
        let ports = known.service.ports.iter().map(|port| format!("{}/{}", port.port, port.name));
        let mut cells = vec![
            known.service.name.namespace.clone(),
            known.service.name.name.clone(),
            listed(&known.service.virtual_addresses),
            listed(ports),
            format!("{ready}/{}", known.endpoints.len()),
            known.routes.len().to_string(),
            balancer(&known.policy),
        ];
        if form == Format::Wide {
            cells.push(known.revision.to_string());
        }
        table.row(cells);
    }
    Ok(table.render())
}

/// A row for each endpoint of `service`, or of all services.
pub fn endpoints(dump: &Value, service: Option<&str>, form: Format) -> anyhow::Result<String> {
    let mut headings = vec!["NAMESPACE", "SERVICE", "ENDPOINT", "ADDRESS", "STATE", "WEIGHT", "MESHED"];
    if form == Format::Wide {
        headings.extend(["ZONE", "PRIORITY", "IDENTITY"]);
    }
    let mut table = Table::new(&headings);
    let wanted = |known: &&Known| service.is_none_or(|service| service == known.service.name.name);
    for endpoint in read(dump)?.services.iter().filter(wanted).flat_map(|known| &known.endpoints) {
        let state = serde_json::to_value(endpoint.state)?;
        let mut cells = vec![
            endpoint.service.namespace.clone(),
            endpoint.service.name.clone(),
            endpoint.id.clone(),
            listed(&endpoint.addresses),
            state.as_str().unwrap_or_default().to_owned(),
            endpoint.weight.to_string(),
            if endpoint.identity.is_some() { "yes" } else { "no" }.to_owned(),
        ];
        if form == Format::Wide {
            let identity = endpoint.identity.as_ref().map(ToString::to_string);
            cells.extend([endpoint.zone.clone().unwrap_or_default(), endpoint.priority.to_string()]);
            cells.push(identity.unwrap_or_default());
        }
        table.row(cells);
    }
    Ok(table.render())
}

/// The same as the proxy says it.
pub fn endpoint_values(dump: &Value, service: Option<&str>) -> Vec<Value> {
    let services = dump["services"].as_array().into_iter().flatten();
    let wanted = services.filter(|known| service.is_none_or(|service| known["service"]["name"]["name"] == service));
    wanted.flat_map(|known| known["endpoints"].as_array().cloned().unwrap_or_default()).collect()
}

/// A row for each flag that is set; wide: for each flag.
pub fn settings(settings: &Value, form: Format) -> anyhow::Result<String> {
    let all = settings.as_object().context("the proxy's settings have another form: is it of another version?")?;
    let mut table = Table::new(&["SETTING", "VALUE"]);
    for (name, value) in all {
        let value = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
                items.iter().map(text).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        if form == Format::Wide || !value.is_empty() {
            table.row(vec![name.clone(), value]);
        }
    }
    Ok(table.render())
}

/// The balancer's name: the tag of its value, however it is written.
fn balancer(policy: &Value) -> String {
    match &policy["balancer"] {
        Value::String(name) => name.clone(),
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

fn listed<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}
