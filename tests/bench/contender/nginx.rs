//! A single nginx in front of the server, in the client's pod: what one hop without TLS costs that a general web server makes.
//!
//! One process, no logs, nothing buffered to disk, connections to the server kept. It takes over no connections and carries HTTP/1.1
//! alone; all its figures are of one proxy, where the others' are of two with TLS between them.

use super::ends::Ends;
use super::proxied::Proxied;
use crate::traffic::Traffic;
use anyhow::Context;
use std::fs;
use std::path::Path;
use weft_examples::pods::{Network, Program};

const PORT: u16 = 10_080;

pub fn start(network: Network) -> anyhow::Result<Proxied> {
    let dir = network.dir().to_owned();
    let ends = Ends::start(network)?;
    let file = dir.join("nginx.conf");
    let next = format!("{}:{}", ends.server.ip(), Traffic::Http1.port());
    fs::write(&file, configuration(&dir, &next)).with_context(|| format!("write {}", file.display()))?;
    let program = Program::new("nginx").arg("-p").arg(&dir).arg("-c").arg(&file).args(["-e", "stderr"]);
    let targets = vec![(Traffic::Http1, (ends.client.ip(), PORT).into())];
    Proxied::start("nginx", ends, [program], targets)
}

fn configuration(dir: &Path, next: &str) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("  {name}_temp_path {}/nginx-{name};\n", dir.display())).concat();
    format!(
        "daemon off;
master_process off;
worker_rlimit_nofile 65536;
pid {}/nginx.pid;
error_log stderr error;
events {{ worker_connections 25000; }}
http {{
{temporary}  access_log off;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  keepalive_timeout 5m;
  proxy_http_version 1.1;
  proxy_set_header Connection \"\";
  proxy_request_buffering off;
  proxy_buffering off;
  upstream next {{ server {next}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {PORT} reuseport backlog=4096;
    location / {{ proxy_pass http://next; }}
  }}
}}
",
        dir.display()
    )
}
