//! Asking over new connections until the mesh answers as it should, and policies that go when their case is over.
//!
//! What has been applied takes a moment to reach the proxy; every wait has a deadline and says what it saw last.

use anyhow::{Context, bail};
use std::time::Instant;
use weft_tests::client::Http1;
use weft_tests::world::SOON;
use weft_tests::{Outcome, World};

/// All below `/admin` is forbidden to everybody.
pub const DENY_ADMIN: &str = "apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\n\
    metadata: { name: no-admin, namespace: test }\nspec:\n  action: DENY\n  rules: [{ to: [{ paths: [\"/admin/*\"] }] }]\n";

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub reason: String,
}

impl Answer {
    pub fn is(&self, status: u16, reason: &str) -> bool {
        self.status == status && self.reason == reason
    }
}

/// GET of `path` from the pod `from`, over a connection of its own.
pub async fn ask(world: &World, from: &str, path: &str) -> anyhow::Result<Answer> {
    let response = Http1::dial(world.pod(from), world.echo(80))?.get(path).await?;
    let reason = response.head.header("weft-reason").unwrap_or_default().to_owned();
    Ok(Answer { status: response.status(), reason })
}

/// Tries until `holds`, within bounds.
pub async fn poll(what: &str, mut holds: impl AsyncFnMut() -> anyhow::Result<bool>) -> Outcome {
    let deadline = Instant::now() + SOON;
    loop {
        if holds().await? {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("waited {SOON:?} for {what}");
        }
        tokio::task::yield_now().await;
    }
}

/// Asks until the answer is this one.
pub async fn until(world: &World, from: &str, path: &str, status: u16, reason: &str) -> Outcome {
    let mut last = None;
    let asked = poll("the answer", async || {
        let answer = ask(world, from, path).await?;
        let is = answer.is(status, reason);
        last = Some(answer);
        Ok(is)
    })
    .await;
    asked.with_context(|| format!("{from} asks for {path}: {last:?} instead of {status} {reason:?}"))
}

/// Documents in force until they are deleted.
pub struct Policies<'a> {
    world: &'a World,
    documents: Vec<(String, String)>,
}

impl<'a> Policies<'a> {
    pub fn apply(world: &'a World, yaml: &str) -> anyhow::Result<Self> {
        world.mesh().apply(yaml)?;
        let named = |document: &str| {
            let kind = document.lines().find_map(|line| line.strip_prefix("kind: "))?;
            let name = document.split_once("name: ")?.1.split([',', ' ', '}']).next()?;
            Some((kind.trim().to_owned(), name.to_owned()))
        };
        let documents = yaml.split("---\n").map(|document| named(document).context("a document without a name"));
        Ok(Self { world, documents: documents.collect::<Result<_, _>>()? })
    }

    /// Takes them away and waits until everything is open again.
    pub async fn delete(self) -> Outcome {
        let world = self.world;
        drop(self);
        for path in ["/admin/x", "/other"] {
            until(world, "cart", path, 200, "").await?;
        }
        Ok(())
    }
}

/// Also when the case has failed, so that it spoils no other.
impl Drop for Policies<'_> {
    fn drop(&mut self) {
        for (kind, name) in &self.documents {
            // A case may have deleted its own.
            let _ = self.world.mesh().weftctl(&["delete", kind, name, "-n", "test"]);
        }
    }
}
