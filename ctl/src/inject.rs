//! `weftctl inject|uninject -f FILE`: sidecars in YAML documents, without a cluster.
//!
//! The decision and the patch are the webhook's own ([`weft_inject`]), so that a pod is the same whichever way it went. Asks
//! nobody. Prints all documents in their order, or none and every fault of the first pod that is refused.

use crate::documents::Documents;
use crate::print::{Output, plain};
use crate::scope::Namespace;
use anyhow::anyhow;
use clap::error::ErrorKind;
use std::path::PathBuf;
use weft_inject::documents::{Stream, StreamError, inject, uninject};
use weft_inject::{Flags, Settings};

#[derive(Debug, clap::Args)]
pub struct Files {
    /// File or directory of YAML documents, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    flags: Flags,
}

pub fn run(args: &Args) -> anyhow::Result<Output> {
    let path = &args.flags.trust_anchors;
    let anchors =
        std::fs::read_to_string(path).map_err(|error| anyhow!("--trust-anchors: {}: {error}", path.display()))?;
    let settings = Settings::check(&args.flags, &anchors).map_err(|faults| {
        let lines = faults.join("\n  ");
        clap::Error::raw(ErrorKind::ValueValidation, format!("the settings have faults:\n  {lines}\n"))
    })?;
    let documents = Documents::read(&args.files.files)?;
    printed(inject(&settings, documents.text(), &args.namespace.namespace), &documents)
}

pub fn undo(files: &Files) -> anyhow::Result<Output> {
    let documents = Documents::read(&files.files)?;
    printed(uninject(documents.text()), &documents)
}

fn printed(stream: Result<Stream, StreamError>, documents: &Documents) -> anyhow::Result<Output> {
    let stream =
        stream.map_err(|error| anyhow!("nothing was printed: {}", plain(&documents.locate(&error.to_string()))))?;
    let notes = stream.notes.iter().map(|note| plain(note)).collect();
    Ok(Output { text: stream.text, notes, failed: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::fs;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i}]}\n";

    fn injected(yaml: &str, more: &[&str]) -> anyhow::Result<Output> {
        let directory = tempfile::tempdir()?;
        let (file, anchors) = (directory.path().join("pods.yaml"), directory.path().join("anchors.pem"));
        fs::write(&file, yaml)?;
        fs::write(&anchors, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")?;
        let (file, anchors) = (file.display().to_string(), anchors.display().to_string());
        let args = ["weftctl", "-f", &file, "--trust-anchors", &anchors];
        run(&Program::try_parse_from(args.iter().chain(more))?.args)
    }

    #[test]
    fn what_became_of_each_pod_is_said_beside_the_documents() {
        let output = injected(
            &format!("{POD}---\n{POD}").replacen("name: a", "name: a, namespace: kube-system", 1),
            &["-n", "shop"],
        );
        let output = output.unwrap();
        assert_eq!(output.notes[0], "Pod kube-system/a: left as it is: the namespace is Kubernetes' own");
        assert_eq!(output.notes[1], "Pod shop/a: injected");
        assert!(output.text.starts_with(&POD.replacen("name: a", "name: a, namespace: kube-system", 1)));
    }

    #[test]
    fn faults_name_file_and_field() {
        let bad = POD.replace("{name: a}", "{name: a, annotations: {weft.dev/workers: many}}");
        let error = injected(&format!("{POD}---\n{bad}"), &[]).unwrap_err().to_string();
        assert!(error.contains("pods.yaml, document 2") && error.contains("weft.dev/workers: \"many\""), "{error}");
        let error = injected(POD, &["--sidecar=ambient"]).unwrap_err();
        assert!(error.is::<clap::Error>() && error.to_string().contains("--sidecar: "), "{error}");
    }
}
