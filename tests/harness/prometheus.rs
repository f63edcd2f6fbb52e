//! A real Prometheus that scrapes a mesh, and its query interface.
//!
//! Debian's package, which `scripts/need` installs; where it is missing, [`missing`] says so. It runs on the node, from where it
//! reaches sidecars and discovery. A query that fails is an error with Prometheus' own words.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_examples::mesh::fetch;
use weft_examples::pods::{Network, Pod, Process, Program};

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
/// How long it may take to start.
const LIMIT: Duration = Duration::from_secs(45);

/// Why there is no Prometheus, if there is none.
pub fn missing() -> Option<String> {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    let missing = ["prometheus", "promtool"].into_iter().find(|program| !there(program))?;
    Some(format!("{missing} is not installed: apt-get install prometheus"))
}

/// `promtool` with `input` on its standard input, and whether it is content.
pub fn promtool(args: &[&str], input: &str) -> anyhow::Result<(bool, String)> {
    use std::io::Write;
    use std::process::Stdio;
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("promtool")?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok((output.status.success(), said))
}

/// What is scraped, under which `instance`.
pub struct Target {
    pub address: SocketAddr,
    pub instance: String,
}

/// A Prometheus that runs.
pub struct Prometheus {
    node: Pod,
    dir: PathBuf,
    _process: Process,
}

impl Prometheus {
    /// Starts one that scrapes `targets` every second and evaluates the rules in `rules`.
    pub fn start(network: &Network, targets: &[Target], rules: &Path) -> anyhow::Result<Self> {
        let dir = network.dir().join("prometheus");
        std::fs::create_dir_all(&dir)?;
        let config = dir.join("prometheus.yml");
        std::fs::write(&config, configuration(targets, rules))?;
        let program = Program::new("prometheus")
            .label("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={LISTEN}"))
            .arg("--enable-feature=exemplar-storage");
        let process = network.node().spawn(program)?;
        process.wait_log("Server is ready to receive web requests", LIMIT).context("prometheus")?;
        Ok(Self { node: network.node().clone(), dir, _process: process })
    }

    /// Where its configuration is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The series of `expression` now.
    pub fn instant(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let data = self.ask("/api/v1/query", &[("query", expression)])?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The series of `expression` over the last minute.
    pub fn range(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (start, end) = ((now - 60).to_string(), now.to_string());
        let fields = [("query", expression), ("start", &start), ("end", &end), ("step", "2")];
        let data = self.ask("/api/v1/query_range", &fields)?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The values of `label` among the series that `selector` selects.
    pub fn label_values(&self, selector: &str, label: &str) -> anyhow::Result<Vec<String>> {
        let path = format!("/api/v1/label/{label}/values?match[]={}", encoded(selector));
        let values = self.get(&path)?;
        Ok(values.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// `data` of a GET.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(&format!("GET {path} HTTP/1.0\r\nhost: prometheus\r\n\r\n"), path)
    }

    fn ask(&self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<Value> {
        let form: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let form = form.join("&");
        let head = format!(
            "POST {path} HTTP/1.0\r\nhost: prometheus\r\ncontent-type: application/x-www-form-urlencoded\r\n\
             content-length: {}\r\n\r\n{form}",
            form.len()
        );
        self.send(&head, fields.first().map_or("", |(_, value)| value))
    }

    fn send(&self, request: &str, what: &str) -> anyhow::Result<Value> {
        let reply = fetch(&self.node, LISTEN, request).with_context(|| what.to_owned())?;
        let answer: Value = serde_json::from_str(&reply.body).with_context(|| format!("{what}: {}", reply.body))?;
        ensure!(answer["status"] == "success", "{what}: {}", answer["error"]);
        Ok(answer["data"].clone())
    }
}

fn configuration(targets: &[Target], rules: &Path) -> String {
    let target = |target: &Target| {
        format!("      - {{ targets: ['{}'], labels: {{ instance: '{}' }} }}\n", target.address, target.instance)
    };
    let targets: String = targets.iter().map(target).collect();
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 2s }}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n  - job_name: weft\n    static_configs:\n{targets}",
        rules.display()
    )
}

/// Percent-encoded, all but letters and digits.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
