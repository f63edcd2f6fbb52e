//! The test cluster itself: a real API server that takes objects, watches, definitions and rights, and leaves nothing behind.
//!
//! What others build on: when one of these cases fails, the failures of other suites that need Kubernetes follow from it.

use anyhow::{Context, ensure};
use futures::StreamExt;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weft_examples::pods::{Program, poll_until};
use weft_tests::cluster::{Api, Channel, TestPod, missing, slice};
use weft_tests::world::SOON;
use weft_tests::{Outcome, Suite};

fn main() -> ExitCode {
    Suite::on("kubernetes", Api::start)
        .unless(missing())
        .case("the server says its version, here and on the node", version)
        .case("what is written can be read", written)
        .case("a watch hears of a pod's life", watched)
        .case("an unknown field is refused, named", strict)
        .case("the Gateway API is served and validated", gateway_api)
        .case("an account may do what it was given and no more", rights)
        .case("a token holds for its audience alone", audiences)
        .case("a server that dies comes back with all it knew", restarted)
        .case("nothing is left of one that ends", ended)
        .run()
}

async fn version(api: &Api) -> Outcome {
    let version = api.client().await?.apiserver_version().await?;
    ensure!(version.minor.parse::<u32>()? >= 34, "too old: {}", version.git_version);
    let credentials = api.authority().parent().context("a directory")?;
    let file = |name: &str| credentials.join(name).display().to_string();
    let args = ["-sS", "--cacert", &file("ca.crt"), "--cert", &file("admin.crt"), "--key", &file("admin.key")];
    let said = api.node().run_ok(Program::new("curl").args(args).arg(format!("{}/version", api.url())))?;
    ensure!(said.contains(&version.git_version), "{said}");
    Ok(())
}

async fn written(api: &Api) -> Outcome {
    api.namespace("written", &[("weft.dev/inject", "enabled")]).await?;
    api.account("written", "web").await?;
    let pods = [
        TestPod::new("written", "web-0", Ipv4Addr::new(10, 244, 0, 7)).account("web").label("app", "web").meshed(),
        TestPod::new("written", "web-1", Ipv4Addr::new(10, 244, 0, 8)).account("web").label("app", "web").unready(),
    ];
    for pod in &pods {
        api.pod(pod).await?;
    }
    api.apply(
        "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: written }\nspec:\n  selector: { app: web }\n  \
         ipFamilyPolicy: RequireDualStack\n  ports: [{ name: http, port: 80, targetPort: 8080 }]\n",
    )
    .await?;
    api.slice(&slice("web", &[("http", 8080)], &pods)?).await?;

    let client = api.client().await?;
    let listed = kube::Api::<Pod>::namespaced(client.clone(), "written").list(&ListParams::default()).await?;
    let addresses: Vec<_> = listed.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.as_deref()).collect();
    ensure!(addresses == ["10.244.0.7", "10.244.0.8"], "{addresses:?}");
    let slices = kube::Api::<EndpointSlice>::namespaced(client.clone(), "written");
    let read = slices.get("web-ipv4").await?;
    let ready = |e: &k8s_openapi::api::discovery::v1::Endpoint| e.conditions.as_ref().and_then(|c| c.ready);
    ensure!(read.endpoints.iter().map(ready).eq([Some(true), Some(false)]), "{read:?}");
    let service = kube::Api::<k8s_openapi::api::core::v1::Service>::namespaced(client, "written").get("web").await?;
    let families = service.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default();
    ensure!(families.len() == 2, "not of both families: {families:?}");
    Ok(())
}

async fn watched(api: &Api) -> Outcome {
    api.namespace("watched", &[]).await?;
    let pods = kube::Api::<Pod>::namespaced(api.client().await?, "watched");
    let events = pods.watch(&WatchParams::default(), "0").await?;
    let mut events = std::pin::pin!(events);
    let pod = TestPod::new("watched", "short-lived", Ipv4Addr::new(10, 244, 0, 9));
    api.pod(&pod).await?;
    api.delete_pod("watched", "short-lived").await?;
    let mut seen = vec![];
    while seen.last() != Some(&"deleted") {
        let event = tokio::time::timeout(SOON, events.next()).await.with_context(|| format!("only {seen:?}"))?;
        match event.context("the watch ended")?? {
            WatchEvent::Added(_) => seen.push("added"),
            WatchEvent::Modified(_) => seen.push("modified"),
            WatchEvent::Deleted(_) => seen.push("deleted"),
            // Where the list ends that the watch began with.
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(error) => anyhow::bail!("{error:?}"),
        }
    }
    ensure!(seen.first() == Some(&"added") && seen.contains(&"modified"), "{seen:?}");
    Ok(())
}

async fn strict(api: &Api) -> Outcome {
    let document = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: odd }\ndate: { a: b }\n";
    let refused = api.apply(document).await.expect_err("it has a field that no ConfigMap has");
    ensure!(format!("{refused:#}").contains("date"), "{refused:#}");
    Ok(())
}

/// A route of the mesh kind to `port` of a service.
fn route(port: u32) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: web }}\nspec:\n  \
         parentRefs: [{{ group: \"\", kind: Service, name: web, port: 80 }}]\n  \
         rules: [{{ backendRefs: [{{ name: web-v2, port: {port} }}] }}]\n"
    )
}

/// Has a session, which only the experimental channel knows.
fn sticky_route() -> String {
    route(80).replace("rules: [{ ", "rules: [{ sessionPersistence: { sessionName: s }, ")
}

async fn gateway_api(api: &Api) -> Outcome {
    api.install_gateway_api(Channel::Experimental).await?;
    api.apply(&route(80)).await?;
    api.apply(&sticky_route()).await?;
    let refused = api.apply(&route(70_000)).await.expect_err("there is no such port");
    ensure!(format!("{refused:#}").contains("spec.rules[0].backendRefs[0].port"), "{refused:#}");
    Ok(())
}

async fn rights(api: &Api) -> Outcome {
    api.namespace("rights", &[]).await?;
    let list = async |api: &Api| {
        let namespaces = kube::Api::<Namespace>::all(api.client_as("rights", "default").await?);
        anyhow::Ok(namespaces.list(&ListParams::default()).await)
    };
    let refused = list(api).await?.expect_err("nobody gave it that");
    ensure!(refused.to_string().contains("system:serviceaccount:rights:default"), "{refused}");
    api.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: sees-namespaces }\nrules:\n  \
         - { apiGroups: [\"\"], resources: [namespaces], verbs: [list] }\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: sees-namespaces }\n\
         roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sees-namespaces }\n\
         subjects: [{ kind: ServiceAccount, name: default, namespace: rights }]\n",
    )
    .await?;
    // The authorizer learns of it by a watch of its own.
    let deadline = Instant::now() + SOON;
    loop {
        match list(api).await? {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn audiences(api: &Api) -> Outcome {
    api.namespace("audiences", &[]).await?;
    let token = api.token("audiences", "default", &["mesh.test"]).await?;
    let reviews = kube::Api::<TokenReview>::all(api.client().await?);
    let review = async |audience: &str| {
        let spec = TokenReviewSpec { token: Some(token.clone()), audiences: Some(vec![audience.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = reviews.create(&PostParams::default(), &review).await?.status.context("no status")?;
        anyhow::Ok((status.authenticated.unwrap_or(false), status.user.and_then(|user| user.username)))
    };
    let own = review("mesh.test").await?;
    ensure!(own == (true, Some("system:serviceaccount:audiences:default".to_owned())), "{own:?}");
    let other = review("elsewhere").await?;
    ensure!(!other.0, "{other:?}");
    Ok(())
}

async fn restarted(api: &Api) -> Outcome {
    api.namespace("kept", &[]).await?;
    api.stop_server();
    ensure!(api.client().await?.apiserver_version().await.is_err(), "it is still there");
    api.start_server()?;
    let namespaces = kube::Api::<Namespace>::all(api.client().await?);
    namespaces.get("kept").await?;
    Ok(())
}

async fn ended(_: &Api) -> Outcome {
    let mut api = Api::start()?;
    api.install_gateway_api(Channel::Standard).await?;
    api.apply(&route(80)).await?;
    let refused = api.apply(&sticky_route()).await.expect_err("the standard channel has no sessions");
    ensure!(format!("{refused:#}").contains("sessionPersistence"), "{refused:#}");

    let (port, dir) = (api.port(), api.node().dir().to_owned());
    let namespace = Path::new("/run/netns").join(api.node().namespace());
    let etcd = api.etcd().pid(0).context("no etcd runs")?;
    ensure!(namespace.exists() && dir.exists(), "{} or {} is somewhere else", namespace.display(), dir.display());
    drop(api);
    let gone = || !namespace.exists() && !dir.exists() && !Path::new("/proc").join(etcd.to_string()).exists();
    poll_until(Instant::now() + SOON, "all of it to be gone", || gone().then_some(()))?;
    ensure!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "somebody still listens on {port}");
    Ok(())
}
