//! `weftctl explain --from PROXY --to URL`: what a proxy would do with a request that nobody sends.
//!
//! The proxy itself says it, with its live view and loads, through the replica that it is connected to, and the endpoints' own
//! proxies whether they let it in; this only asks and prints. A URL, header or method that is none is an error of usage.

mod access;
mod tell;

use crate::connect::Discovery;
use crate::print::{self, Output};
use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use http::uri::{Scheme, Uri};
use http::{HeaderName, HeaderValue, Method};
use weft_model::explain::{Explanation, Imagined};

pub use tell::tell;

/// What proxies call these questions.
pub const TOPIC: &str = "explain";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The proxy to ask: its name, NAMESPACE/NAME, or a service in either form for any of its proxies
    #[arg(long, value_name = "PROXY", value_parser = proxy)]
    from: String,
    #[arg(long, value_name = "URL", value_parser = url, help = "Where the request is sent, for example http://search.shop/query?q=x")]
    to: Uri,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Its method
    #[arg(short = 'X', long = "method", value_name = "METHOD", default_value = "GET", value_parser = method)]
    method: String,
    /// A gRPC call instead: POST to this method, in the form package.Service/Method
    #[arg(long, value_name = "SERVICE/METHOD", conflicts_with = "method", value_parser = grpc)]
    grpc: Option<String>,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Form,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    Table,
    Json,
    Yaml,
}

fn proxy(text: &str) -> Result<String, String> {
    let parts = text.split('/').count();
    let sound = (1..=2).contains(&parts) && text.split('/').all(|part| weft_model::names::subdomain(part).is_ok());
    sound.then(|| text.to_owned()).ok_or_else(|| "it is not NAME or NAMESPACE/NAME".to_owned())
}

fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}: write http://HOST[:PORT]/PATH"))?;
    match (uri.scheme(), uri.host()) {
        (Some(scheme), Some(host)) if *scheme == Scheme::HTTP && !host.is_empty() => {}
        (Some(scheme), _) if *scheme == Scheme::HTTPS => {
            return Err("the mesh does not look into the application's own TLS: write http://".to_owned());
        }
        _ => return Err("write http://HOST[:PORT]/PATH".to_owned()),
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err("a URL with a user is not supported".to_owned()),
        // Of a port that is none the parts say nothing.
        Some(authority)
            if authority.as_str() != authority.host() && authority.port_u16().is_none_or(|port| port == 0) =>
        {
            Err("the port is not one of 1 to 65535".to_owned())
        }
        _ => Ok(uri),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name: HeaderName = name.trim().parse().map_err(|error| format!("{error}"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|error| error.to_string())?;
    let value = value.to_str().map_err(|error| error.to_string())?;
    Ok((name.as_str().to_owned(), value.to_owned()))
}

fn method(text: &str) -> Result<String, String> {
    text.parse::<Method>().map(|method| method.to_string()).map_err(|error| error.to_string())
}

fn grpc(text: &str) -> Result<String, String> {
    match text.trim_start_matches('/').split_once('/') {
        Some((service, method)) if !service.is_empty() && !method.is_empty() && !method.contains('/') => {
            Ok(format!("/{service}/{method}"))
        }
        _ => Err("write package.Service/Method".to_owned()),
    }
}

impl Args {
    /// The same question from texts that are not on a command line; an error names the field.
    pub fn of(from: &str, to: &str, given: &str, headers: &[String], call: &str) -> Result<Self, String> {
        fn field<T>(name: &str, read: Result<T, String>) -> Result<T, String> {
            read.map_err(|error| format!("{name}: {error}"))
        }
        Ok(Self {
            from: field("from", proxy(from))?,
            to: field("to", url(to))?,
            headers: headers.iter().map(|text| field("header", header(text))).collect::<Result<_, _>>()?,
            method: field("method", method(if given.is_empty() { "GET" } else { given }))?,
            grpc: (!call.is_empty()).then(|| field("grpc", grpc(call))).transpose()?,
            output: Form::Json,
        })
    }

    fn request(&self) -> Result<Imagined, clap::Error> {
        let host = self.to.host().unwrap_or_default();
        let mut headers = self.headers.clone();
        if let Some(authority) = self.to.authority()
            && !headers.iter().any(|(name, _)| name == "host")
        {
            headers.push(("host".to_owned(), authority.as_str().to_owned()));
        }
        let (mut method, mut path) = (self.method.clone(), self.to.path().to_owned());
        if let Some(call) = &self.grpc {
            if path != "/" || self.to.query().is_some() {
                let message = "--to has a path, and --grpc says another: leave one of them out\n";
                return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
            }
            (method, path) = (Method::POST.to_string(), call.clone());
            headers.push(("content-type".to_owned(), "application/grpc".to_owned()));
        }
        Ok(Imagined {
            method,
            // An IPv6 address without its brackets.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: self.to.port_u16().unwrap_or(80),
            path,
            query: self.to.query().unwrap_or_default().to_owned(),
            headers,
        })
    }
}

pub async fn run(args: Args, discovery: &Discovery) -> anyhow::Result<Output> {
    let (request, explanation) = ask(&args, discovery).await?;
    Ok(match args.output {
        Form::Table => tell::tell(&request, &explanation, print::colours()),
        Form::Json => print::json(&explanation)?,
        Form::Yaml => print::yaml(&[explanation])?,
    }
    .into())
}

/// The request that is meant, and what its proxy and the endpoints' say of it.
pub async fn ask(args: &Args, discovery: &Discovery) -> anyhow::Result<(Imagined, Explanation)> {
    let request = args.request()?;
    let explanation = asked(&args.from, &request, discovery).await?;
    Ok((request, explanation))
}

async fn asked(proxy: &str, request: &Imagined, discovery: &Discovery) -> anyhow::Result<Explanation> {
    let Some(json) = discovery.ask_proxy(proxy, TOPIC, serde_json::to_string(request)?).await? else {
        bail!(
            "no proxy {proxy} is connected to the replicas asked, and none of a service {proxy}; `weftctl status` lists \
             those that are, and --discovery names more replicas"
        );
    };
    let mut explanation: Explanation = serde_json::from_str(&json).context("the proxy's answer")?;
    access::add(request, &mut explanation, discovery).await;
    Ok(explanation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_the_mesh_could_see_are_taken() {
        for good in ["http://a.b", "http://a.b:81/c?d=e", "http://[fd00::1]:80/", "http://10.0.0.1"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.b",
            "/path",
            "a.b/c",
            "https://a.b/",
            "ftp://a",
            "http://",
            "http://a:0/",
            "http://a:99999/",
            "http://u@a/",
            "http://a b/",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_methods_and_calls_are_checked() {
        assert_eq!(header("User:  a b").unwrap(), ("user".to_owned(), "a b".to_owned()));
        assert!(header("user").is_err() && header(": a").is_err() && header("a: \u{1}").is_err());
        assert!(method("PURGE").is_ok() && method("G T").is_err());
        assert_eq!(grpc("shop.Cart/Add").unwrap(), "/shop.Cart/Add");
        assert!(grpc("Add").is_err() && grpc("a/b/c").is_err());
        assert!(proxy("shop/cart-0").is_ok() && proxy("a/b/c").is_err() && proxy("").is_err());
    }
}
