//! Endpoints from a real DNS server, over real sockets.
#![cfg(feature = "dns")]

use std::future::Future;
use std::time::Duration;

use seawall::discovery::{
    Discovery, DiscoveryError, DnsError, Endpoint, Endpoints, Families, Settings, Source,
};
use seawall_testkit::{Dns, DnsKind, DnsRecord, DnsReply};
use tokio::time::{sleep, timeout};

/// A server, and a discovery that asks it, often.
fn both(change: impl FnOnce(&mut Settings)) -> (Dns, Discovery) {
    let dns = Dns::start().expect("a free port");
    let mut settings = Settings {
        resolvers: vec![dns.address()],
        hosts: "/nowhere".into(),
        families: Families::V4,
        ttl_floor: Duration::from_millis(10),
        retry: Duration::from_millis(10),
        retry_cap: Duration::from_millis(20),
        grace: Duration::ZERO,
        ..Settings::default()
    };
    change(&mut settings);
    (dns, Discovery::new(settings))
}

fn db(discovery: &Discovery) -> Endpoints {
    discovery.start("db.test:80".parse().expect("a source"))
}

fn shown(list: &[Endpoint]) -> Vec<String> {
    list.iter().map(|e| e.address.to_string()).collect()
}

/// Far more than anything here takes.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future)
        .await
        .expect("in time")
}

async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

async fn failure(endpoints: &Endpoints) -> DnsError {
    match soon(endpoints.ready()).await {
        Err(DiscoveryError::Dns { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_addresses_of_both_families() {
    let (dns, discovery) = both(|s| s.families = Families::Both);
    dns.say(
        "db.test",
        DnsKind::A,
        [DnsReply::ips(60, ["10.0.0.2", "10.0.0.1"])],
    );
    dns.say("db.test", DnsKind::Aaaa, [DnsReply::ips(60, ["fd00::1"])]);
    let endpoints = db(&discovery);
    let list = soon(endpoints.ready()).await.unwrap();
    assert_eq!(shown(&list), ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
    assert_eq!(list[0].host.as_deref(), Some("db.test"));
    let state = endpoints.state();
    assert!(
        state.errors.is_empty() && state.answered.is_some(),
        "{state:?}"
    );
    assert_eq!(dns.asked("db.test", DnsKind::A), 1);
}

#[tokio::test]
async fn a_name_of_one_family_has_no_error() {
    let (dns, discovery) = both(|s| s.families = Families::Both);
    dns.say("db.test", DnsKind::A, [DnsReply::ips(60, ["10.0.0.1"])]);
    let endpoints = db(&discovery);
    assert_eq!(
        shown(&soon(endpoints.ready()).await.unwrap()),
        ["10.0.0.1:80"]
    );
    assert!(endpoints.state().errors.is_empty());
}

#[tokio::test]
async fn each_failure_has_its_name() {
    let (dns, discovery) = both(|s| s.timeout = Duration::from_millis(100));
    assert_eq!(failure(&db(&discovery)).await, DnsError::NoSuchName);
    dns.say("silent.test", DnsKind::A, [DnsReply::Silence]);
    dns.say("broken.test", DnsKind::A, [DnsReply::Code(2)]);
    dns.say("refused.test", DnsKind::A, [DnsReply::Code(5)]);
    dns.say("v6.test", DnsKind::Aaaa, [DnsReply::ips(5, ["fd00::1"])]);
    dns.say("garbage.test", DnsKind::A, [DnsReply::Garbage]);
    let start = |name: &str| discovery.start(format!("{name}.test:80").parse().unwrap());
    assert_eq!(failure(&start("silent")).await, DnsError::Timeout);
    assert_eq!(
        failure(&start("broken")).await,
        DnsError::Refused("Server Failure".to_owned())
    );
    assert!(matches!(
        failure(&start("refused")).await,
        DnsError::Refused(_)
    ));
    assert_eq!(failure(&start("v6")).await, DnsError::NoAddress);
    let garbage = failure(&start("garbage")).await;
    assert!(
        matches!(garbage, DnsError::Failed(_) | DnsError::Timeout),
        "{garbage:?}"
    );
}

#[tokio::test]
async fn a_resolver_that_is_not_there_is_a_failure_and_not_a_hang() {
    let (dns, discovery) = both(|s| s.timeout = Duration::from_millis(200));
    drop(dns);
    let error = failure(&db(&discovery)).await;
    assert!(
        matches!(error, DnsError::Failed(_) | DnsError::Timeout),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_last_good_answer_stays_and_a_better_one_replaces_it() {
    let (dns, discovery) = both(|s| s.timeout = Duration::from_millis(50));
    dns.say("db.test", DnsKind::A, [DnsReply::ips(0, ["10.0.0.1"])]);
    let endpoints = db(&discovery);
    soon(endpoints.ready()).await.unwrap();
    let version = endpoints.versioned().version;
    for failing in [
        DnsReply::Code(2),
        DnsReply::Code(3),
        DnsReply::Silence,
        DnsReply::Garbage,
        DnsReply::Records(0, Vec::new()),
    ] {
        dns.say("db.test", DnsKind::A, [failing]);
        let asked = dns.asked("db.test", DnsKind::A);
        until(|| dns.asked("db.test", DnsKind::A) > asked + 3).await;
        until(|| endpoints.state().failing_for.is_some()).await;
        assert_eq!(shown(&endpoints.current()), ["10.0.0.1:80"]);
    }
    dns.say("db.test", DnsKind::A, [DnsReply::ips(0, ["10.0.0.2"])]);
    let next = soon(async {
        let mut next = endpoints.changed(version).await;
        while next.value.len() != 1 {
            next = endpoints.changed(next.version).await;
        }
        next
    });
    assert_eq!(shown(&next.await.value), ["10.0.0.2:80"]);
    until(|| endpoints.state().errors.is_empty()).await;
}

#[tokio::test]
async fn answers_that_differ_each_time_add_up() {
    let (dns, discovery) = both(|s| s.grace = Duration::from_secs(60));
    let ips: Vec<String> = (0..12).map(|n| format!("10.0.0.{n}")).collect();
    let answers: Vec<DnsReply> = (0..200)
        .map(|n| DnsReply::ips(0, (0..4).map(|k| &*ips[(n * 5 + k) % 12])))
        .collect();
    dns.say("db.test", DnsKind::A, answers);
    let endpoints = db(&discovery);
    until(|| endpoints.current().len() == 12).await;
    let version = endpoints.versioned().version;
    let asked = dns.asked("db.test", DnsKind::A);
    until(|| dns.asked("db.test", DnsKind::A) > asked + 20).await;
    assert_eq!(endpoints.versioned().version, version);
}

#[tokio::test]
async fn a_thousand_addresses_come_by_tcp_and_are_cut() {
    let (dns, discovery) = both(|_| {});
    let ips: Vec<String> = (0..1000)
        .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
        .collect();
    let reply = DnsReply::ips(60, ips.iter().map(String::as_str));
    dns.say("db.test", DnsKind::A, [reply]);
    let endpoints = db(&discovery);
    let list = soon(endpoints.ready()).await.unwrap();
    assert_eq!(list.len(), 128);
    assert!(dns.by_tcp() >= 1);
}

#[tokio::test]
async fn services_by_priority_and_what_they_are_called() {
    let (dns, discovery) = both(|_| {});
    let srv = |priority, weight, port, target: &str| DnsRecord::Srv {
        priority,
        weight,
        port,
        target: target.to_owned(),
    };
    let records = vec![srv(20, 0, 81, "b.test"), srv(10, 7, 80, "A.test")];
    dns.say(
        "_http._tcp.db.test",
        DnsKind::Srv,
        [DnsReply::Records(60, records)],
    );
    dns.say("a.test", DnsKind::A, [DnsReply::ips(60, ["10.0.0.2"])]);
    let through_cname = vec![
        DnsRecord::Cname("real.test".to_owned()),
        DnsRecord::Ip([10, 0, 0, 1].into()),
    ];
    dns.say("b.test", DnsKind::A, [DnsReply::Records(60, through_cname)]);
    let endpoints = discovery.start("srv://_http._tcp.db.test".parse().unwrap());
    let list = soon(endpoints.ready()).await.unwrap();
    let seen: Vec<_> = list
        .iter()
        .map(|e| {
            (
                e.address.to_string(),
                e.priority,
                e.weight,
                e.host.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("10.0.0.2:80".to_owned(), 10, 7, Some("a.test")),
            ("10.0.0.1:81".to_owned(), 20, 1, Some("b.test")),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_upstreams_are_one_question() {
    let (dns, discovery) = both(|s| s.ttl_floor = Duration::from_secs(60));
    dns.say("db.test", DnsKind::A, [DnsReply::ips(60, ["10.0.0.1"])]);
    let upstreams: Vec<Endpoints> = (1..=1000)
        .map(|port| discovery.start(format!("db.test:{port}").parse().unwrap()))
        .collect();
    for endpoints in &upstreams {
        assert_eq!(soon(endpoints.ready()).await.unwrap().len(), 1);
    }
    assert_eq!(dns.asked("db.test", DnsKind::A), 1);
}

#[tokio::test]
async fn a_file_may_name_names() {
    let (dns, discovery) = both(|s| s.file_interval = Duration::from_millis(10));
    dns.say("db.test", DnsKind::A, [DnsReply::ips(60, ["10.0.0.1"])]);
    let dir = tempfile::tempdir().unwrap();
    let (path, next) = (dir.path().join("list"), dir.path().join("next"));
    std::fs::write(&path, "db.test:80 weight=2 zone=a\n10.0.0.7:80\n").unwrap();
    let endpoints = discovery.start(Source::File(path.clone()));
    let list = soon(endpoints.ready()).await.unwrap();
    assert_eq!(shown(&list), ["10.0.0.1:80", "10.0.0.7:80"]);
    assert_eq!((list[0].weight, list[0].zone.as_deref()), (2, Some("a")));

    let version = endpoints.versioned().version;
    std::fs::write(&next, "10.0.0.8:80\n").unwrap();
    std::fs::rename(&next, &path).unwrap();
    let changed = soon(endpoints.changed(version)).await;
    assert_eq!(shown(&changed.value), ["10.0.0.8:80"]);
}
