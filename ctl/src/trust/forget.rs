//! `weftctl trust forget`: says that proxies are gone for good, so that no replacement of the root waits for them.
//!
//! Refused for whoever has a stream to any replica that answers; taken back by discovery when a proxy says that it is there.

use super::rotate::step;
use crate::connect::Discovery;
use crate::print::Output;
use crate::status;
use anyhow::bail;
use weft_proto::v1;
use weft_proto::v1::rotate_trust_request::Step;

pub const ABOUT: &str = "Wait no more for proxies that are gone for good.\n\nA replacement of the root waits for whoever has a valid certificate, \
for it may be cut off just now and come back. Of pods Kubernetes knows that they are gone; of other machines nobody does but you. Their \
certificates are not revoked: they stay valid until they end, or until the anchor that they lead to is removed. A proxy that is forgotten and \
comes back before that is waited for again; one that comes back later needs a new join token.";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whom `weftctl trust status` names, as it names them
    #[arg(required = true, value_name = "NAMESPACE/PROXY", value_parser = name)]
    proxies: Vec<v1::ProxyName>,
}

fn name(text: &str) -> Result<v1::ProxyName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(v1::ProxyName { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err("expected a namespace and a proxy, such as shop/cart-0".to_owned()),
    }
}

pub async fn run(args: &Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let connected = status::connected(discovery).await?;
    let is_there = |proxy: &v1::ProxyName| {
        connected.iter().find(|other| (&other.namespace, &other.name) == (&proxy.namespace, &proxy.name))
    };
    if let Some(proxy) = args.proxies.iter().find_map(is_there) {
        bail!("{}/{} is connected to {}: it is not gone", proxy.namespace, proxy.name, proxy.replica);
    }
    let mut text = String::new();
    for proxy in &args.proxies {
        step(discovery, Step::Forget(proxy.clone())).await?;
        text.push_str(&format!("{}/{} is not waited for any more\n", proxy.namespace, proxy.name));
    }
    Ok(text.into())
}
