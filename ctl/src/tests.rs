//! The commands against replicas that exist only here: each is a gRPC server on a socket in a temporary directory with
//! made-up answers. What discovery itself answers is tested where both programs run.

use super::*;
use clap::CommandFactory;
use clap::error::ErrorKind;
use futures::stream::{self, BoxStream, StreamExt as _};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};
use weft_proto::v1;
use weft_proto::v1::admin_server::AdminServer;

/// One replica: its name and the proxies connected to it, with the revision each acknowledged of 7.
#[derive(Debug, Clone, Default)]
struct Replica {
    name: &'static str,
    /// Name, revision in force, connected at.
    proxies: Vec<(&'static str, u64, i64)>,
    /// Its store is away.
    unable: bool,
}

type Answer<T> = Result<Response<T>, Status>;

impl Replica {
    fn proxy(&self, (name, acked, connected_at): (&str, u64, i64)) -> v1::Proxy {
        v1::Proxy {
            name: name.to_owned(),
            namespace: "shop".to_owned(),
            sent_revision: 7,
            acked_revision: acked,
            connected_at,
            replica: self.name.to_owned(),
            ..Default::default()
        }
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for Replica {
    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Answer<v1::ApplyResponse> {
        if request.get_ref().yaml.contains("wrong") {
            return Err(Status::invalid_argument("Service (document 2): metadata.name: missing"));
        }
        let (kind, namespace) = ("Service".to_owned(), "shop".to_owned());
        let applied = v1::Applied { kind, namespace, name: "cart".to_owned(), outcome: "created".to_owned() };
        Ok(Response::new(v1::ApplyResponse { applied: vec![applied], revision: 8 }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Answer<v1::DeleteResponse> {
        match request.get_ref().name.as_str() {
            "missing" => Err(Status::not_found("Service shop/missing does not exist")),
            "foreign" => Err(Status::failed_precondition("Service shop/foreign is kept by Kubernetes")),
            _ => Ok(Response::new(v1::DeleteResponse { revision: 8 })),
        }
    }

    async fn get(&self, _: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        if self.unable {
            return Err(Status::unavailable("the store does not answer"));
        }
        Ok(Response::new(Default::default()))
    }

    async fn list_proxies(&self, _: Request<v1::ListProxiesRequest>) -> Answer<v1::ListProxiesResponse> {
        let proxies = self.proxies.iter().map(|proxy| self.proxy(*proxy)).collect();
        Ok(Response::new(v1::ListProxiesResponse { proxies, revision: 7 }))
    }

    async fn dump_proxy(&self, request: Request<v1::DumpProxyRequest>) -> Answer<v1::DumpProxyResponse> {
        let known = self.proxies.iter().any(|(name, ..)| *name == request.get_ref().name);
        let json = format!(r#"{{"asked": "{}"}}"#, self.name);
        if known { Ok(Response::new(v1::DumpProxyResponse { json })) } else { Err(Status::not_found("no stream")) }
    }

    async fn ask_proxy(&self, request: Request<v1::AskProxyRequest>) -> Answer<v1::AskProxyResponse> {
        let v1::AskProxyRequest { proxy, topic, json } = request.into_inner();
        match self.proxies.iter().any(|(name, ..)| *name == proxy) {
            true => Err(Status::failed_precondition(format!("{} is asked about {topic}: {json}", self.name))),
            false => Err(Status::not_found("no stream")),
        }
    }

    type TapStream = BoxStream<'static, Result<v1::TapResponse, Status>>;

    async fn tap(&self, _: Request<v1::TapRequest>) -> Answer<Self::TapStream> {
        let count = u32::try_from(self.proxies.len()).unwrap();
        Ok(Response::new(stream::iter([Ok(v1::TapResponse { begun: Some(count), ..Default::default() })]).boxed()))
    }

    async fn list_certificates(&self, _: Request<v1::ListCertificatesRequest>) -> Answer<v1::ListCertificatesResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn create_join_token(&self, _: Request<v1::CreateJoinTokenRequest>) -> Answer<v1::CreateJoinTokenResponse> {
        Ok(Response::new(v1::CreateJoinTokenResponse { token: "secret".to_owned(), expires: 3600 }))
    }

    async fn get_trust_anchors(&self, _: Request<v1::GetTrustAnchorsRequest>) -> Answer<v1::GetTrustAnchorsResponse> {
        Err(Status::internal("broken"))
    }

    async fn get_trust(&self, _: Request<v1::GetTrustRequest>) -> Answer<v1::TrustState> {
        Ok(Response::new(Default::default()))
    }

    async fn rotate_trust(&self, _: Request<v1::RotateTrustRequest>) -> Answer<v1::TrustState> {
        Err(Status::failed_precondition("certificates in use need it"))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        let replica = self.name.to_owned();
        Ok(Response::new(v1::StatusResponse { replica, ready: true, revision: 7, ..Default::default() }))
    }
}

/// Sockets `0.sock`, `1.sock`, ... one for each replica, and the servers behind them.
struct World {
    directory: TempDir,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    fn of(replicas: &[Replica]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let serve = |(number, replica): (usize, &Replica)| {
            let socket = UnixListener::bind(directory.path().join(format!("{number}.sock"))).unwrap();
            let server = tonic::transport::Server::builder().add_service(AdminServer::new(replica.clone()));
            tokio::spawn(async move { server.serve_with_incoming(UnixListenerStream::new(socket)).await.unwrap() })
        };
        let servers = replicas.iter().enumerate().map(serve).collect();
        Self { directory, servers }
    }

    fn socket(&self, number: usize) -> String {
        self.directory.path().join(format!("{number}.sock")).display().to_string()
    }

    /// Runs `weftctl` with these words, asking the replicas with these numbers.
    async fn run(&self, replicas: &[usize], line: &str) -> anyhow::Result<Output> {
        let sockets: Vec<_> = replicas.iter().map(|number| self.socket(*number)).collect();
        let words = ["weftctl", "--discovery"].into_iter().map(str::to_owned);
        let words = words.chain([sockets.join(",")]).chain(line.split_whitespace().map(str::to_owned));
        run(Cli::try_parse_from(words).unwrap()).await
    }

    async fn text(&self, replicas: &[usize], line: &str) -> String {
        self.run(replicas, line).await.unwrap().text
    }

    async fn error(&self, replicas: &[usize], line: &str) -> String {
        format!("{:#}", self.run(replicas, line).await.unwrap_err())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn two() -> World {
    World::of(&[
        Replica { name: "d-a", proxies: vec![("cart-0", 7, 10), ("moved", 7, 10)], unable: true },
        Replica { name: "d-b", proxies: vec![("ui-0", 5, 10), ("moved", 7, 20)], unable: false },
    ])
}

#[tokio::test]
async fn the_first_replica_that_can_answer_answers() {
    let world = two();
    // 9.sock does not exist, 0.sock has lost its store.
    let output = world.run(&[9, 0, 1], "get services").await.unwrap();
    assert_eq!((output.text.as_str(), output.failed), ("", false));
    assert!(output.notes[0].contains("no services in namespace default"), "{:?}", output.notes);
    let error = world.error(&[9, 0], "get services").await;
    assert!(error.contains("9.sock: No such file"), "{error}");
    assert!(error.contains("0.sock cannot answer now: the store does not answer"), "{error}");
    let error = world.error(&[0, 1], "trust anchors").await;
    assert!(error.contains("0.sock failed: broken"), "{error}");
}

#[tokio::test]
async fn the_proxies_of_all_replicas_are_listed_once() {
    let world = two();
    let text = world.text(&[0, 1, 9], "status").await;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(5).collect()).collect();
    assert!(rows.contains(&vec!["shop", "cart-0", "-", "-", "d-a"]), "{text}");
    assert!(rows.contains(&vec!["shop", "moved", "-", "-", "d-b"]), "{text}");
    assert_eq!(rows.iter().filter(|row| row.get(1) == Some(&"moved")).count(), 1, "{text}");
    assert!(text.contains("at 5 of 7") && text.contains("9.sock: No such file"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&world.text(&[0, 1], "status -o json").await).unwrap();
    assert_eq!(json["proxies"].as_array().unwrap().len(), 3);
    assert!(world.error(&[9], "status").await.contains("is weft-discovery running?"));
}

#[tokio::test]
async fn a_dump_comes_through_the_replica_that_knows_the_proxy() {
    let world = two();
    assert_eq!(world.text(&[0, 1], "proxy dump ui-0 -n shop").await, "asked: d-b\n");
    assert_eq!(world.text(&[0, 1], "proxy dump cart-0 -n shop -o json").await, "{\n  \"asked\": \"d-a\"\n}\n");
    assert!(world.error(&[0, 1], "proxy dump nobody -n shop").await.contains("no proxy shop/nobody is connected"));
    assert!(world.error(&[0, 9], "proxy dump ui-0 -n shop").await.contains("9.sock"), "it may be the one that knows");
}

#[tokio::test]
async fn faults_name_the_file() {
    let world = two();
    let good = world.write("a.yaml", "kind: Service");
    assert_eq!(world.text(&[1], &format!("apply -f {good}")).await, "Service shop/cart created\n");
    let wrong = world.write("b.yaml", "kind: wrong");
    let error = world.error(&[1], &format!("apply -f {good} -f {wrong}")).await;
    assert_eq!(error, format!("nothing was applied:\n  Service ({wrong}, document 1): metadata.name: missing"));
}

#[tokio::test]
async fn what_is_missing_fails_a_deletion_unless_that_is_all_right() {
    let world = two();
    let file = world.write(
        "c.yaml",
        "kind: Service\nmetadata: {name: cart, namespace: shop}\n---\nkind: Service\nmetadata: {name: missing}",
    );
    let output = world.run(&[1], &format!("delete -f {file} -n shop")).await.unwrap();
    assert!(output.failed && output.notes[0].contains("no Service shop/missing"), "{output:?}");
    assert_eq!(output.text, "Service shop/cart deleted\n");
    assert!(!world.run(&[1], &format!("delete -f {file} --ignore-not-found")).await.unwrap().failed);
    assert!(world.error(&[1], "delete svc foreign -n shop").await.contains("kept by Kubernetes"));
}

#[tokio::test]
async fn a_token_stands_alone_on_standard_output() {
    let world = two();
    let output = world.run(&[0], "token create --namespace shop --service-account cart").await.unwrap();
    assert_eq!(output.text, "secret\n");
    assert!(output.notes[0].starts_with("for shop/cart until 1970-01-01T01:00:00Z"), "{:?}", output.notes);
}

#[tokio::test]
async fn a_check_that_cannot_be_made_has_failed() {
    let world = two();
    let output = world.run(&[1, 9], "check").await.unwrap();
    assert!(output.failed);
    let failed = output.text.lines().filter(|line| line.contains("failed  ")).count();
    // The replica that is away, its anchors, and the proxy that stays behind and does not say how it is.
    assert_eq!(failed, 4, "{}", output.text);
}

#[tokio::test]
async fn completions_know_the_commands() {
    let script = two().text(&[9], "completion bash").await;
    assert!(script.contains("weftctl") && script.contains("--service-account"));
}

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn replicas_may_be_repeated_or_listed_before_or_after_the_command() {
    let cli = parse("weftctl --discovery unix:///a.sock,/b.sock status --discovery c.sock").unwrap();
    assert_eq!(cli.discovery.last().unwrap().to_string(), "unix://c.sock");
    let cli = parse("weftctl check --discovery unix:///a.sock --discovery /b.sock").unwrap();
    let shown: Vec<_> = cli.discovery.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["unix:///a.sock", "unix:///b.sock"]);
}

#[tokio::test]
async fn a_question_goes_to_the_replica_that_knows_the_proxy() {
    let world = two();
    let said = world.error(&[0, 1], "explain --from ui-0 --to http://a.b/c?d -X PUT").await;
    assert!(said.starts_with("d-b is asked about explain: ") && said.contains(r#""path":"/c","query":"d""#), "{said}");
    let said = world.error(&[0, 1], "explain --from nobody --to http://a.b/").await;
    assert!(said.contains("no proxy nobody is connected") && said.contains("weftctl status"), "{said}");
    assert!(world.error(&[0, 9], "explain --from ui-0 --to http://a.b/").await.contains("9.sock"));
    let said = world.error(&[0], "explain --from cart-0 --to http://a.b/c --grpc x.Y/Z").await;
    assert!(said.contains("leave one of them out"), "{said}");
}

#[test]
fn every_form_in_the_manual_is_understood() {
    for line in [
        "weftctl install --set discovery.replicas=3 --set-string images.tag=1 -f a.yaml --values - --wait 20m",
        "weftctl install --dry-run --skip-checks --release mesh --helm /opt/helm --context staging",
        "weftctl upgrade --dry-run --force --mesh-namespace mesh --kubeconfig a.yaml",
        "weftctl uninstall --dry-run --force --keep-definitions --wait 0s",
        "weftctl apply -f a.yaml -f dir --dry-run",
        "weftctl apply -f -",
        "weftctl delete service cart -n shop",
        "weftctl delete -f a.yaml",
        "weftctl get services",
        "weftctl get ep cart-0 -n shop -o wide",
        "weftctl get certificates -A -o json",
        "weftctl status",
        "weftctl proxy dump cart-0 -n shop -o yaml",
        "weftctl explain --from shop/cart-0 --to http://search.shop:81/a?b=c -H user:a -X PUT -o json",
        "weftctl explain --from cart --to http://search.shop --grpc shop.Search/Find",
        "weftctl check --timeout 3s -o wide",
        "weftctl check --pre --context staging",
        "weftctl --kubeconfig a.yaml --mesh-namespace mesh proxy config cart-0 -n shop",
        "weftctl token create --namespace shop --service-account cart --ttl 1h",
        "weftctl tap search -n shop --status >=500 --method post --path /a --headers --max 3 --for 1m",
        "weftctl tap -A --from shop/web --to cart --reason no-endpoints --direction in -o json",
        "weftctl top routes -n shop --to search -w 10s",
        "weftctl trust anchors",
        "weftctl trust status -o json",
        "weftctl trust rotate --issuer dir --dry-run --wait 1h",
        "weftctl trust abort --wait 1h",
        "weftctl trust forget shop/cart-0 shop/cart-1",
        "weftctl certificates cart-0 -n shop --replaced -o wide",
        "weftctl completion zsh",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
}

#[test]
fn wrong_command_lines_are_refused() {
    for line in [
        "weftctl install --wait soon",
        "weftctl install mesh",
        "weftctl install --force",
        "weftctl upgrade --skip-checks",
        "weftctl uninstall --set a=b",
        "weftctl get",
        "weftctl get gadgets",
        "weftctl get services -n shop -A",
        "weftctl get services -n Shop",
        "weftctl apply",
        "weftctl delete",
        "weftctl delete service",
        "weftctl delete certificate cart",
        "weftctl delete service cart -f a.yaml",
        "weftctl token create --namespace shop --service-account cart --ttl soon",
        "weftctl token create --namespace shop --service-account cart --ttl 0s",
        "weftctl status --discovery http://localhost:8080",
        "weftctl status --discovery /a.sock --kubeconfig a.yaml",
        "weftctl status --mesh-namespace Mesh",
        "weftctl completion csh",
        "weftctl trust rotate --wait soon",
        "weftctl trust forget",
        "weftctl trust forget cart-0",
        "weftctl certificates -n shop -A",
        "weftctl tap search --proxy search-0",
        "weftctl tap --status 50x",
        "weftctl top gadgets",
        "weftctl top --window 1ms",
        "weftctl explain --from cart-0",
        "weftctl explain --to http://search.shop",
        "weftctl explain --from cart-0 --to search.shop",
        "weftctl explain --from cart-0 --to https://search.shop/",
        "weftctl explain --from a/b/c --to http://search.shop/",
        "weftctl explain --from cart-0 --to http://search.shop/ -H user",
        "weftctl explain --from cart-0 --to http://search.shop/ -X PUT --grpc a/b",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
