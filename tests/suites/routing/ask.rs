//! Requests over HTTP/1 and HTTP/2, and one form for the answers to both.
//!
//! [`Ask::both`] is what most cases use: the two versions have to agree about everything but the port.

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use weft_examples::pods::{Output, Pod};
use weft_tests::World;
use weft_tests::client::{Http1, Http2};

/// A request to a service.
#[derive(Debug, Clone)]
pub struct Ask {
    pub method: &'static str,
    pub host: String,
    pub path: String,
    pub headers: Vec<(&'static str, &'static str)>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Ask {
    pub fn get(path: &str) -> Self {
        Self { method: "GET", host: "echo".to_owned(), path: path.to_owned(), headers: vec![] }
    }

    pub fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub fn host(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// From `pod` to `port` of `service`, over HTTP/1.
    pub async fn http1(&self, world: &World, pod: &Pod, service: &str, port: u16) -> anyhow::Result<Answer> {
        let Self { method, host, path, headers } = self;
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        let response = Http1::dial(pod, world.at(service, port))?.request(text + "\r\n").await?;
        let headers = response.head.headers.clone();
        Ok(Answer { status: response.status(), headers, body: response.text() })
    }

    /// From `pod` to the HTTP/2 port of `service`.
    pub async fn http2(&self, world: &World, pod: &Pod, service: &str) -> anyhow::Result<Answer> {
        let uri = format!("http://{}{}", self.host, self.path);
        let mut request = Request::builder().method(self.method).uri(uri);
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let client = Http2::dial(pod, world.at(service, 82)).await?;
        let response = client.send(request.body(())?, Bytes::new(), None).await?;
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Ok(Answer { status: response.status.as_u16(), headers, body: response.text() })
    }

    /// From the client, over HTTP/1 and over HTTP/2.
    pub async fn both(&self, world: &World, service: &str) -> anyhow::Result<[Answer; 2]> {
        let client = world.client();
        Ok([self.http1(world, client, service, 80).await?, self.http2(world, client, service).await?])
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What the server saw.
    pub fn seen(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.body).map_err(|error| anyhow::anyhow!("{error}: {self:?}"))
    }

    /// Which replica answered; for an answer of the mesh itself, its status and reason.
    pub fn by(&self) -> String {
        let replica = self.seen().ok().and_then(|seen| Some(seen["replica"].as_str()?.to_owned()));
        replica.unwrap_or_else(|| format!("{} {}", self.status, self.header("weft-reason").unwrap_or_default()))
    }

    /// The values of a header as the server saw it.
    pub fn header_seen(&self, name: &str) -> anyhow::Result<Vec<String>> {
        let seen = self.seen()?;
        let pairs = seen["headers"].as_array().cloned().unwrap_or_default();
        let named = pairs.iter().filter(|pair| pair[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        Ok(named.map(|pair| pair[1].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// The path and query as the server saw them.
    pub fn path_seen(&self) -> anyhow::Result<String> {
        let seen = self.seen()?;
        if let Some(target) = seen["line"].as_str().and_then(|line| line.split(' ').nth(1)) {
            return Ok(target.to_owned());
        }
        let query = seen["query"].as_str().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(seen["path"].as_str().unwrap_or_default().to_owned() + &query)
    }
}

pub fn weftctl(world: &World, args: &[&str], input: &str) -> anyhow::Result<Output> {
    let program = world.mesh().discovery()[0].weftctl_program()?.args(args).input(input);
    let output = world.mesh().node().run(program)?;
    anyhow::ensure!(output.status.success(), "weftctl {args:?}: {}", output.text());
    Ok(output)
}
