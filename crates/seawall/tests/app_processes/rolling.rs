//! Each instance restarted in its turn, under load: no call fails, and none is made twice.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use seawall::Client;
use seawall::client::Builder;
use seawall::discovery::{Host, Source, Target};
use seawall_testkit::Server;

use crate::etcd_support as etcd;
use crate::instance::{Instance, Wanted};
use crate::load::{Load, greets, orders, reads};

/// Of each kind of call.
const EVERY: Duration = Duration::from_millis(10);

fn rounds() -> usize {
    let rounds = std::env::var("SEAWALL_RESTARTS").ok();
    rounds.map_or(1, |text| text.parse().unwrap())
}

/// As a client is by default, but that each call is one of its own.
fn client(source: Source) -> Builder {
    Client::builder("http://demo")
        .source(source)
        .coalesce_limit(0)
}

fn known(etcd: &Server, scheme: &str) -> Source {
    let service = format!("etcd://{}/seawall/demo scheme={scheme}", etcd.address());
    service.parse().unwrap()
}

fn fixed(addresses: impl Iterator<Item = SocketAddr>) -> Source {
    let target = |at: SocketAddr| Target::new(Host::Ip(at.ip()), at.port());
    Source::Static(addresses.map(target).collect())
}

/// Reads, orders and gRPC at these sources, `http` and `grpc`.
fn loads(http: Source, grpc: Source) -> [Load; 3] {
    let http = client(http).build().unwrap();
    let grpc = client(grpc).http2().build().unwrap();
    [
        Load::start("reads", EVERY, reads(http.clone())),
        Load::start("orders", EVERY, orders(http, "n")),
        Load::start("greets by gRPC", EVERY, greets(grpc)),
    ]
}

async fn rolling(of: &str, etcd: &Server, sources: impl FnOnce(&[Wanted]) -> [Source; 2]) {
    let ids = ["one", "two", "three"];
    let wanted = ids.map(|id| Wanted::new(id, etcd.address()));
    let mut instances = Vec::new();
    for wanted in &wanted {
        instances.push(Instance::ready(wanted, etcd.directory()).await);
    }
    let [http, grpc] = sources(&wanted);
    let loads = loads(http, grpc);
    let begun = Instant::now();
    let mut restarts = 0;
    for _ in 0..rounds() {
        for instance in &mut instances {
            instance.signal(Signal::TERM);
            assert_eq!(
                instance.ended().await,
                Some(0),
                "{}",
                instance.process.log()
            );
            let wanted = instance.wanted.clone();
            *instance = Instance::ready(&wanted, etcd.directory()).await;
            restarts += 1;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let mut failed = 0;
    let mut ordered = 0;
    for load in loads {
        let name = load.name;
        let (calls, failures) = load.stop().await;
        println!(
            "{of}: {restarts} restarts in {took:.1} s: {calls} {name}, {} failed",
            failures.len()
        );
        for (at, error) in failures.iter().take(5) {
            let at = at.duration_since(begun).as_secs_f64();
            println!("  at {at:.3} s: {error}");
        }
        failed += failures.len();
        if name == "orders" {
            ordered = calls;
        }
    }
    let done = std::fs::read_to_string(etcd.directory().join("done")).unwrap();
    let once: HashSet<_> = done.lines().collect();
    assert_eq!(done.lines().count(), once.len(), "orders made twice");
    assert_eq!(failed, 0);
    assert_eq!(once.len() as u64, ordered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_by_etcd_lose_nothing() {
    let etcd = etcd::server();
    let sources = |_: &[Wanted]| [known(&etcd, "http"), known(&etcd, "grpc")];
    rolling("etcd", &etcd, sources).await;
}

/// Nobody tells these that an instance goes, but the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_by_a_fixed_list_lose_nothing() {
    let etcd = etcd::server();
    let sources = |wanted: &[Wanted]| {
        [
            fixed(wanted.iter().map(Wanted::http)),
            fixed(wanted.iter().map(Wanted::grpc)),
        ]
    };
    rolling("fixed", &etcd, sources).await;
}
