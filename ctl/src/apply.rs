//! `weftctl apply -f FILE`: puts documents into force, all or none.
//!
//! Discovery validates; its faults are shown a line each with the file they stand in. A dry run goes the same way and
//! changes nothing.

use crate::connect::{CallError, Discovery};
use crate::documents::Documents;
use crate::print::{Output, plain};
use anyhow::anyhow;
use std::path::PathBuf;
use weft_proto::v1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// File or directory of YAML documents, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Validate and say what would happen, without doing it
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let documents = Documents::read(&args.files)?;
    let request = v1::ApplyRequest { yaml: documents.text().to_owned(), dry_run: args.dry_run };
    match discovery.call(async |mut admin| admin.apply(request.clone()).await).await {
        Ok(response) => Ok(lines(&response, args.dry_run).into()),
        Err(CallError::Refused(status)) => Err(anyhow!(faults(status.message(), &documents))),
        Err(error) => Err(error.into()),
    }
}

fn lines(response: &v1::ApplyResponse, dry_run: bool) -> String {
    let suffix = if dry_run { " (dry run)" } else { "" };
    let line = |applied: &v1::Applied| {
        let v1::Applied { kind, namespace, name, outcome } = applied;
        format!("{} {}/{} {}{suffix}\n", plain(kind), plain(namespace), plain(name), plain(outcome))
    };
    response.applied.iter().map(line).collect()
}

fn faults(message: &str, documents: &Documents) -> String {
    let located = message.lines().map(|fault| format!("\n  {}", plain(&documents.locate(fault))));
    format!("nothing was applied:{}", located.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_gets_a_line() {
        let applied = |name: &str, outcome: &str| v1::Applied {
            kind: "Service".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            outcome: outcome.to_owned(),
        };
        let response =
            v1::ApplyResponse { applied: vec![applied("cart", "created"), applied("ui", "unchanged")], revision: 7 };
        assert_eq!(lines(&response, false), "Service shop/cart created\nService shop/ui unchanged\n");
        assert!(lines(&response, true).starts_with("Service shop/cart created (dry run)\n"));
    }

    #[test]
    fn faults_are_listed() {
        let text = faults("Service shop/cart: spec.ports[0].port: 0 is not a port\nx: y", &Documents::default());
        assert_eq!(text, "nothing was applied:\n  Service shop/cart: spec.ports[0].port: 0 is not a port\n  x: y");
    }
}
