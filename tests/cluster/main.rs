//! `make cluster`: a whole Kubernetes cluster of one node, with the images that it is given, until Ctrl-C.
//!
//! Prints what to set so that kubectl, helm and weftctl find it. Ends with a status of 1, saying why, where no node can run or
//! when one of its programs ends. Nothing is left of it.

use anyhow::bail;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weft_tests::cluster::{Images, Node, missing_node};
use weft_tests::suite::Stage;

fn main() -> anyhow::Result<()> {
    if let Some(reason) = missing_node() {
        bail!("no node can run here: {reason}");
    }
    weft_examples::pods::remove_on_signals(|_| {
        println!("The cluster is gone.");
        0
    })?;
    let archives: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    println!("Starting a Kubernetes node with {} images; half a minute.", archives.len());
    let node = Node::start(&Images::archived(archives))?;
    let programs = std::env::var("WEFT_TEST_KUBERNETES").unwrap_or_default();
    println!("The cluster is up until Ctrl-C. In another terminal:\n");
    println!("  export KUBECONFIG={}", node.kubeconfig().display());
    println!("  export PATH={}:$PATH", Path::new(&programs).display());
    println!("  kubectl get pods --all-namespaces\n");
    println!(
        "Images are there already, and nowhere else: use imagePullPolicy: Never. Logs are in {}.",
        node.dir().join("log").display()
    );
    while node.is_running() {
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("one of its programs has ended:\n{}", node.testimony())
}
