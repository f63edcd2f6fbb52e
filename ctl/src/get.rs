//! `weftctl get KIND [NAME]`: lists objects, or shows one.
//!
//! Tables show what discovery made of an object; JSON and YAML give back what was applied, ready to be applied again. A
//! name that does not exist is a failure, an empty list is not.

mod columns;

#[cfg(test)]
pub use columns::example;

use crate::connect::Discovery;
use crate::kind::Kind;
use crate::print::{self, Format, Output, date};
use crate::scope::Scope;
use anyhow::{Context as _, bail};
use columns::View;
use serde_json::{Map, Value, json};
use std::str::FromStr;
use std::time::SystemTime;
use weft_model::{Endpoint, SpiffeId};
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// services, endpoints, routes (of both kinds), httproutes, grpcroutes, referencegrants, policies,
    /// authorizationpolicies, namespacepolicies or certificates
    kind: What,
    /// Only this object (certificates: of this proxy)
    name: Option<String>,
    #[command(flatten)]
    scope: Scope,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// What can be asked for: the kinds of documents, and the certificates discovery has signed.
#[derive(Debug, Clone, Copy)]
enum What {
    Objects(Kind),
    Certificates,
}

impl FromStr for What {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.to_ascii_lowercase().as_str() {
            "certificates" | "certificate" | "certs" | "cert" => Ok(Self::Certificates),
            _ => word.parse().map(Self::Objects).map_err(|known: String| format!("{known}, certificates")),
        }
    }
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    match args.kind {
        What::Objects(kind) => objects(kind, &args, discovery).await,
        What::Certificates => certificates(&args, discovery).await,
    }
}

async fn objects(kind: Kind, args: &Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let found = fetch(kind, args.scope.namespace(), args.name.as_deref(), discovery).await?;
    if found.is_empty() {
        return nothing(kind.plural(), args);
    }
    let view = View { wide: args.output == Format::Wide, namespaces: args.scope.all_namespaces };
    Ok(match args.output {
        Format::Table | Format::Wide => {
            // How many endpoints a service has is what people ask next.
            let endpoints = match kind {
                Kind::Services => fetch(Kind::Endpoints, args.scope.namespace(), None, discovery).await?,
                _ => Vec::new(),
            };
            columns::objects(kind, &found, &endpoints, view)?.render()
        }
        Format::Json | Format::Yaml => {
            let documents: Vec<Value> = found.iter().map(document).collect::<Result<_, _>>()?;
            printed(documents, args)?
        }
    }
    .into())
}

/// Objects of one kind; `None` means all namespaces, or all names.
pub async fn fetch(
    kind: Kind,
    namespace: Option<&str>,
    name: Option<&str>,
    discovery: &Discovery,
) -> anyhow::Result<Vec<v1::Object>> {
    let request = v1::GetRequest {
        kind: kind.plural().to_owned(),
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.unwrap_or_default().to_owned(),
    };
    match discovery.call(async |mut admin| admin.get(request.clone()).await).await {
        Ok(response) => Ok(response.objects),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Those that discovery has signed for proxies of this name; `None` means all namespaces, or all names.
pub async fn signed(
    namespace: Option<&str>,
    name: Option<&str>,
    discovery: &Discovery,
) -> anyhow::Result<Vec<v1::Certificate>> {
    let request = v1::ListCertificatesRequest {};
    let mut list = discovery.call(async |mut admin| admin.list_certificates(request).await).await?.certificates;
    list.retain(|certificate| {
        let id: Option<SpiffeId> = certificate.identity.parse().ok();
        namespace.is_none_or(|namespace| id.is_some_and(|id| id.namespace == namespace))
            && name.is_none_or(|name| certificate.proxy == name)
    });
    list.sort_by(|a, b| (&a.identity, &a.proxy, a.not_after).cmp(&(&b.identity, &b.proxy, b.not_after)));
    Ok(list)
}

/// The certificates of one proxy, for programs.
pub async fn certificates_of(name: &str, namespace: &str, discovery: &Discovery) -> anyhow::Result<Vec<Value>> {
    let list = signed(Some(namespace), Some(name), discovery).await?;
    Ok(list.iter().map(certificate).collect())
}

async fn certificates(args: &Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let list = signed(args.scope.namespace(), args.name.as_deref(), discovery).await?;
    if list.is_empty() {
        return nothing("certificates", args);
    }
    Ok(match args.output {
        Format::Table => columns::certificates(&list, false, SystemTime::now()).render(),
        Format::Wide => columns::certificates(&list, true, SystemTime::now()).render(),
        Format::Json | Format::Yaml => printed(list.iter().map(certificate).collect(), args)?,
    }
    .into())
}

/// For programs.
pub fn certificate(certificate: &v1::Certificate) -> Value {
    json!({
        "identity": certificate.identity,
        "proxy": certificate.proxy,
        "serial": certificate.serial,
        "notBefore": date(certificate.not_before),
        "notAfter": date(certificate.not_after),
        "anchor": certificate.anchor,
        "renewals": certificate.renewals,
        "state": standing(certificate),
    })
}

/// Whether its owner uses it, in a word.
pub fn standing(certificate: &v1::Certificate) -> &'static str {
    match (certificate.replaced, certificate.confirmed) {
        _ if certificate.forgotten => "forgotten",
        (true, _) => "replaced",
        (false, true) => "in-use",
        (false, false) => "unconfirmed",
    }
}

fn nothing(plural: &str, args: &Args) -> anyhow::Result<Output> {
    let place = args.scope.place();
    if let Some(name) = &args.name {
        bail!("no {plural} named {name} {place}");
    }
    let text = if args.output == Format::Json { "[]\n" } else { "" };
    Ok(Output { text: text.to_owned(), notes: vec![format!("no {plural} {place}")], failed: false })
}

/// One value when one was named, otherwise a list (JSON) or a stream of documents (YAML).
fn printed(mut values: Vec<Value>, args: &Args) -> anyhow::Result<String> {
    Ok(match args.output {
        Format::Yaml => print::yaml(&values)?,
        _ if args.name.is_some() && values.len() == 1 => print::json(&values.remove(0))?,
        _ => print::json(&values)?,
    })
}

/// The document as it was applied. What registered itself was never applied: its endpoint is written as the document that
/// would have said the same.
pub fn document(object: &v1::Object) -> anyhow::Result<Value> {
    let v1::Object { kind, namespace, name, .. } = object;
    let unreadable = || format!("discovery's answer about {kind} {namespace}/{name} is not JSON");
    if !object.document_json.is_empty() {
        let mut document: Value = serde_json::from_str(&object.document_json).with_context(unreadable)?;
        if !object.status_json.is_empty() {
            document["status"] = serde_json::from_str(&object.status_json).with_context(unreadable)?;
        }
        return Ok(document);
    }
    let endpoint: Endpoint = serde_json::from_str(&object.model_json).with_context(unreadable)?;
    let ports: Map<String, Value> =
        endpoint.ports.iter().map(|(name, port)| (name.clone(), port.get().into())).collect();
    let mut spec = json!({
        "service": endpoint.service.name,
        "addresses": endpoint.addresses,
        "weight": endpoint.weight,
    });
    let optional = [
        ("ports", (!ports.is_empty()).then_some(Value::Object(ports))),
        ("zone", endpoint.zone.map(Value::from)),
        ("node", endpoint.node.map(Value::from)),
        ("serviceAccount", endpoint.identity.map(|identity| identity.service_account.into())),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            spec[field] = value;
        }
    }
    let annotations = json!({ "weft.dev/source": object.source });
    Ok(json!({
        "apiVersion": "weft.dev/v1alpha1",
        "kind": Kind::Endpoints.to_string(),
        "metadata": { "name": name, "namespace": namespace, "annotations": annotations },
        "spec": spec,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applied_documents_come_back_and_registrations_become_documents() {
        let object = |document: &str, model: &str| v1::Object {
            kind: "Endpoint".to_owned(),
            namespace: "shop".to_owned(),
            name: "cart-0".to_owned(),
            source: "registration".to_owned(),
            document_json: document.to_owned(),
            model_json: model.to_owned(),
            status_json: String::new(),
        };
        assert_eq!(document(&object(r#"{"kind":"X"}"#, "")).unwrap(), json!({"kind": "X"}));
        let judged = v1::Object { status_json: r#"{"parents":[]}"#.to_owned(), ..object(r#"{"kind":"X"}"#, "") };
        assert_eq!(document(&judged).unwrap(), json!({"kind": "X", "status": {"parents": []}}));
        let model = r#"{"id": "cart-0", "service": {"namespace": "shop", "name": "cart"}, "addresses": ["10.0.0.1"],
            "ports": {"http": 8080}, "identity": "spiffe://weft.local/ns/shop/sa/cart"}"#;
        let spec = json!({"service": "cart", "addresses": ["10.0.0.1"], "weight": 1, "ports": {"http": 8080},
            "serviceAccount": "cart"});
        assert_eq!(document(&object("", model)).unwrap()["spec"], spec);
        assert!(document(&object("", "")).unwrap_err().to_string().contains("Endpoint shop/cart-0"));
    }
}
