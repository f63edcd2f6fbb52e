//! Pods seen from the inside: what they reach, as whom programs run, and that nothing is left of them.
//!
//! Real namespaces and real programs, so this needs root.

use super::*;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn sh(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

/// Whether `from` can open a connection to `to` within a moment.
fn reaches(from: &Pod, to: SocketAddr) -> bool {
    from.within(|| TcpStream::connect_timeout(&to, Duration::from_millis(300))).unwrap().is_ok()
}

#[test]
fn twenty_pods_come_up_quickly_and_reach_each_other() {
    let started = Instant::now();
    let network = Network::new().unwrap();
    let names: Vec<_> = (0..20).map(|i| format!("pod-{i}")).collect();
    let pods = network.pods_in("shop", &names).unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());

    let (first, last) = (&pods[0], &pods[19]);
    for address in [IpAddr::from(last.ip()), last.ip6().into()] {
        let listener = last.within(|| TcpListener::bind((address, 80))).unwrap().unwrap();
        assert!(reaches(first, (address, 80).into()), "{address}");
        assert!(reaches(network.node(), (address, 80).into()), "{address}");
        drop(listener);
        let refused = first.within(|| TcpStream::connect((address, 80))).unwrap();
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_program_sees_its_pod_and_runs_as_whom_it_was_told() {
    let network = Network::new().unwrap();
    let pod = network.pod_in("shop", "a").unwrap();
    let resolver = pod.run_ok(Program::new("cat").arg("/etc/resolv.conf")).unwrap();
    assert!(resolver.contains("nameserver 10.77.0.1\nsearch shop.svc.cluster.local"), "{resolver}");
    assert!(pod.run_ok(Program::new("ip").args(["address", "show", "eth0"])).unwrap().contains(&pod.ip().to_string()));

    let status = pod.run_ok(Program::new("cat").arg("/proc/self/status").user(1337)).unwrap();
    for line in [
        "Uid:\t1337\t1337",
        "Gid:\t1337\t1337",
        "Groups:\t \n",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
    ] {
        assert!(status.contains(line), "{line:?} in {status}");
    }
    let failed = pod.run(sh("cat; echo no >&2; exit 3").input("read this")).unwrap();
    assert_eq!((failed.status.code(), failed.stdout.as_str(), failed.stderr.as_str()), (Some(3), "read this", "no\n"));
    assert!(matches!(pod.run(Program::new("no-such-program")), Err(Error::Command { .. })));
    assert!(matches!(network.pod("a"), Err(Error::Taken(_))));
    assert!(matches!(network.pod("A b"), Err(Error::Name(_))));
}

#[test]
fn processes_stop_go_on_and_end() {
    let network = Network::new().unwrap();
    let pod = network.pod("a").unwrap();
    let process =
        pod.spawn(sh("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done").label("loop")).unwrap();
    process.wait_log("up\n", Duration::from_secs(5)).unwrap();
    process.stop();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap().contains(") T ");
    poll_until(soon(), "the stop", || state().then_some(())).unwrap();
    process.terminate();
    assert!(process.is_running());
    process.cont();
    assert_eq!(process.wait_exit(Duration::from_secs(5)).unwrap().code(), Some(7));
    assert_eq!(process.log_tail(1), "bye");

    let again = pod.spawn(sh("echo again; sleep 60").label("loop")).unwrap();
    again.wait_log("again", Duration::from_secs(5)).unwrap();
    assert!(!again.log().contains("up"));
    again.kill();
    assert_eq!(again.wait_exit(Duration::from_secs(5)).unwrap().signal(), Some(9));
}

#[test]
fn faults_cut_exactly_the_wire_they_name_until_they_heal() {
    let network = Network::new().unwrap();
    let pods = network.pods_in("shop", &["a", "b", "c"]).unwrap();
    let to = SocketAddr::from((pods[1].ip(), 80));
    let _listener = pods[1].within(|| TcpListener::bind(to)).unwrap().unwrap();

    let fault = pods[0].drop_traffic_to(&pods[1]).unwrap();
    assert!(!reaches(&pods[0], to));
    assert!(reaches(&pods[2], to));
    fault.heal();
    assert!(reaches(&pods[0], to));

    let fault = pods[1].unplug(network.node()).unwrap();
    assert!(!reaches(&pods[2], to));
    fault.heal();
    poll_until(soon(), "the wire", || reaches(&pods[2], to).then_some(())).unwrap();
}

#[test]
fn nothing_is_left() {
    let network = Network::new().unwrap();
    let pod = network.pod("a").unwrap();
    let process = pod.spawn(Program::new("sleep").arg("60")).unwrap();
    let (pid, dir, names) =
        (process.pid(), network.dir().to_owned(), [pod.namespace().to_owned(), network.node().namespace().to_owned()]);
    drop((network, pod));
    assert!(Path::new("/run/netns").join(&names[0]).exists(), "the process still needs it");
    drop(process);
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
    assert!(!dir.exists());
    for name in names {
        assert!(!Path::new("/run/netns").join(&name).exists());
        assert!(!Path::new("/etc/netns").join(&name).exists());
    }
}
