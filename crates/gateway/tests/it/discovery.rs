//! Where hosts come from, and how they are followed.

use std::net::SocketAddr;

use seawall::discovery::etcd::Etcd;
use seawall::discovery::{Instance, Registry as _};
use seawall_testkit::{Dns, DnsKind, DnsReply, Recipe, Server};
use tokio::sync::oneshot;

use crate::support::{Setup, assert_all_free, eventually, get};
use crate::upstream::{named, nobody};

#[test]
fn endpoints_follow_a_file() {
    let (one, two) = (named("one"), named("two"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hosts");
    std::fs::write(&file, format!("{}\n", one.addr)).unwrap();
    let lines = format!("endpoints = ['file://{}']\n", file.display());
    let gateway = Setup::to(nobody()).upstream(&lines).start();
    eventually("the first is found", || {
        get(gateway.addr, "/").text() == "one"
    });
    std::fs::write(&file, format!("{}\n", two.addr)).unwrap();
    eventually("the second is found", || {
        get(gateway.addr, "/").text() == "two"
    });
    std::fs::write(&file, "no host at all\n").unwrap();
    assert_eq!(get(gateway.addr, "/").text(), "two");
    assert_all_free(&gateway);
}

#[test]
fn endpoints_follow_etcd() {
    let mut etcd = Server::start(&Recipe::etcd()).unwrap();
    let (one, two) = (named("one"), named("two"));
    let cluster = format!("etcd://{}/seawall", etcd.address());
    let lines = format!("endpoints = ['{cluster}/shop']\n");
    let gateway = Setup::to(nobody()).upstream(&lines).start();
    let first = registered(&cluster, one.addr);
    eventually("the first is found", || {
        get(gateway.addr, "/").text() == "one"
    });
    let second = registered(&cluster, two.addr);
    eventually("the second is found", || {
        get(gateway.addr, "/").text() == "two"
    });
    drop(first);
    eventually("the first is gone", || {
        (0..10).all(|_| get(gateway.addr, "/").text() == "two")
    });
    etcd.kill();
    assert_eq!(get(gateway.addr, "/").text(), "two");
    etcd.restart().unwrap();
    drop(second);
    assert_eq!(get(gateway.addr, "/").text(), "two", "the last one stays");
    assert_all_free(&gateway);
}

/// Registers a host until what is returned is dropped.
fn registered(cluster: &str, addr: SocketAddr) -> oneshot::Sender<()> {
    let (until, dropped) = oneshot::channel();
    let etcd = Etcd::new(cluster.parse().unwrap(), Default::default());
    let address = format!("http://{addr}").parse().unwrap();
    let instance = Instance::new("shop", addr.to_string(), [address]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let run = async move {
        let registration = etcd.register(instance);
        let _ = dropped.await;
        registration.deregister().await;
    };
    std::thread::spawn(move || runtime.block_on(run));
    until
}

#[test]
fn a_name_is_followed_and_an_error_of_dns_changes_nothing() {
    let dns = Dns::start().unwrap();
    let origin = named("found");
    let port = origin.addr.port();
    let good = DnsReply::ips(0, ["127.0.0.1"]);
    dns.say("shop.test", DnsKind::A, [good, DnsReply::Code(2)]);
    let lines = format!("endpoints = ['dns://shop.test:{port}']\n");
    let resolvers = format!("[discovery]\nresolvers = ['{}']\n", dns.address());
    let gateway = Setup::to(nobody())
        .upstream(&lines)
        .rest(&resolvers)
        .start();
    eventually("it is found", || get(gateway.addr, "/").text() == "found");
    // Another list, whose name does not resolve: what was found stays in use.
    let mut config = seawall::config::Config::clone(&gateway.config());
    config.upstreams.get_mut("default").unwrap().endpoints = vec!["nowhere.test:80".into()];
    gateway.reload(&config).unwrap();
    eventually("it is asked for", || {
        dns.asked("nowhere.test", DnsKind::A) > 0
    });
    assert_eq!(get(gateway.addr, "/").text(), "found");
    assert_all_free(&gateway);
}

#[test]
fn a_name_without_an_address_is_an_error_and_no_wait() {
    let dns = Dns::start().unwrap();
    let resolvers = format!("[discovery]\nresolvers = ['{}']\n", dns.address());
    let gateway = Setup::to(nobody())
        .upstream("endpoints = ['dns://nowhere.test:80']\n")
        .rest(&resolvers)
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!(response.status(), 502, "{response:?}");
    let reject = response.get("seawall-reject").unwrap_or_default();
    assert!(reject.contains("reason=unreachable"), "{reject}");
}
