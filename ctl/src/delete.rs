//! `weftctl delete KIND NAME` and `weftctl delete -f FILE`: takes objects out of the mesh.
//!
//! One object after the other, those of files in reverse order, so that what was built upon others goes first. What is
//! missing is told and makes the command fail, unless that was said to be all right; the rest is deleted all the same.

use crate::connect::Discovery;
use crate::documents::{Document, Documents};
use crate::kind::Kind;
use crate::print::Output;
use crate::scope::Namespace;
use anyhow::{Context as _, anyhow, bail};
use std::path::PathBuf;
use weft_proto::v1;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["kind", "files"])))]
pub struct Args {
    /// service, endpoint, route, grpcroute, referencegrant or policy
    #[arg(requires = "name")]
    kind: Option<Kind>,
    /// The object's name
    name: Option<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// Delete the objects that these documents describe; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "name")]
    files: Vec<PathBuf>,
    /// Do not mind what is not there
    #[arg(long)]
    ignore_not_found: bool,
}

/// One object to be deleted.
#[derive(Debug, PartialEq)]
struct Target {
    kind: Kind,
    namespace: String,
    name: String,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let targets = match (args.kind, args.name) {
        (Some(kind), Some(name)) => vec![Target { kind, namespace: args.namespace.namespace, name }],
        _ => {
            let documents = Documents::read(&args.files)?;
            let targets = documents.all.iter().rev().map(|document| target(document, &args.namespace.namespace));
            targets.collect::<Result<_, _>>()?
        }
    };
    let mut output = Output::default();
    for Target { kind, namespace, name } in targets {
        let request =
            v1::DeleteRequest { kind: kind.plural().to_owned(), namespace: namespace.clone(), name: name.clone() };
        match discovery.call(async |mut admin| admin.delete(request.clone()).await).await {
            Ok(_) => output.text.push_str(&format!("{kind} {namespace}/{name} deleted\n")),
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            Err(error) if error.is_not_found() => {
                let advice = format!("`weftctl get {} -A` lists what there is", kind.plural());
                output.notes.push(format!("weftctl: there is no {kind} {namespace}/{name}; {advice}"));
                output.failed = true;
            }
            Err(error) => return Err(error).with_context(|| format!("{kind} {namespace}/{name}")),
        }
    }
    Ok(output)
}

fn target(document: &Document, namespace: &str) -> anyhow::Result<Target> {
    let Document { origin, value } = document;
    let kind = value["kind"].as_str().with_context(|| format!("{origin}: a document has no kind"))?;
    let kind = kind.parse().map_err(|known| anyhow!("{origin}: kind {kind:?} is unknown; {known}"))?;
    let metadata = &value["metadata"];
    let Some(name) = metadata["name"].as_str() else { bail!("{origin}: a {kind} has no metadata.name") };
    let namespace = metadata["namespace"].as_str().unwrap_or(namespace).to_owned();
    Ok(Target { kind, namespace, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_name_what_they_describe() {
        let document = |value| Document { origin: "a.yaml".to_owned(), value };
        let found = target(&document(json!({"kind": "HTTPRoute", "metadata": {"name": "split"}})), "shop").unwrap();
        assert_eq!(found, Target { kind: Kind::HttpRoutes, namespace: "shop".to_owned(), name: "split".to_owned() });
        let found = json!({"kind": "Service", "metadata": {"name": "cart", "namespace": "other"}});
        assert_eq!(target(&document(found), "shop").unwrap().namespace, "other");
        let refused = |value| target(&document(value), "shop").unwrap_err().to_string();
        assert!(refused(json!({"kind": "Gadget"})).contains("a.yaml: kind \"Gadget\" is unknown"));
        assert!(refused(json!({"kind": "Service"})).contains("metadata.name"));
        assert!(refused(json!("text")).contains("no kind"));
    }
}
