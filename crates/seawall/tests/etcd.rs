//! Endpoints and registrations in a real etcd.
#![cfg(feature = "etcd")]

mod etcd_support;

use std::time::Duration;

use etcd_support::{
    Way, discovery, follow, json, keys, leases, lists, ports, ranges, registered, registry, server,
    service, settings, soon, stands, until, watchers,
};
use seawall::discovery::etcd::{self, Error, Etcd};
use seawall::discovery::{DiscoveryError, RegistrationState, Registry as _, Source};

#[tokio::test]
async fn instances_come_and_go() {
    let server = server();
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let endpoints = follow(&discovery, server.address());
    let nothing = soon(endpoints.ready()).await.expect_err("nothing is there");
    let DiscoveryError::Etcd { error, .. } = nothing else {
        panic!("{nothing}");
    };
    assert_eq!(error, Error::NoInstance);

    let one = registered(&etcd, 1).await;
    let two = registered(&etcd, 2).await;
    lists(&endpoints, &[1, 2]).await;
    let grpc = discovery.start(Source::Etcd(service(server.address()).of_scheme("grpc")));
    lists(&grpc, &[1001, 1002]).await;
    assert!(endpoints.state().errors.is_empty());

    assert_eq!(
        soon(one.deregister()).await,
        RegistrationState::Deregistered
    );
    lists(&endpoints, &[2]).await;
    let three = registered(&etcd, 3).await;
    lists(&endpoints, &[2, 3]).await;
    drop(three);
    lists(&endpoints, &[2]).await;
    lists(&grpc, &[1002]).await;
    drop(two);
    until(async || !endpoints.state().errors.is_empty()).await;
    assert_eq!(ports(&endpoints.current()), [2], "the last stays");
}

#[tokio::test]
async fn a_thousand_in_a_process_are_one_range_and_one_watch() {
    let server = server();
    let _one = registered(&registry(server.address()), 1).await;
    let (ranges_before, discovery) = (ranges(server.address()).await, discovery(settings()));
    let all: Vec<_> = (0..1000)
        .map(|_| follow(&discovery, server.address()))
        .collect();
    for endpoints in &all {
        assert_eq!(ports(&soon(endpoints.ready()).await.expect("one")), [1]);
    }
    assert_eq!(ranges(server.address()).await - ranges_before, 1);
    assert_eq!(watchers(server.address()).await, 1);
    drop(all);
    until(async || watchers(server.address()).await == 0).await;
}

#[tokio::test]
async fn who_wants_a_service_again_begins_with_what_was_known() {
    let mut server = server();
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let one = registered(&etcd, 1).await;
    let endpoints = follow(&discovery, server.address());
    lists(&endpoints, &[1]).await;
    drop(endpoints);
    until(async || watchers(server.address()).await == 0).await;
    server.kill();
    let endpoints = follow(&discovery, server.address());
    assert_eq!(
        ports(&soon(endpoints.ready()).await.expect("it is known")),
        [1]
    );
    server.restart().expect("etcd");
    let _two = registered(&etcd, 2).await;
    lists(&endpoints, &[1, 2]).await;
    drop(one);
}

#[tokio::test]
async fn a_cut_connection_is_taken_up_where_it_was() {
    let server = server();
    let way = Way::to(server.address()).await;
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let _one = registered(&etcd, 1).await;
    let endpoints = follow(&discovery, way.address);
    lists(&endpoints, &[1]).await;
    let before = ranges(server.address()).await;
    let held = way.hold().await;
    way.cut();
    let _two = registered(&etcd, 2).await;
    drop(held);
    lists(&endpoints, &[1, 2]).await;
    assert_eq!(ranges(server.address()).await, before, "no range");
}

#[tokio::test]
async fn a_connection_that_is_open_and_dead_is_noticed() {
    let server = server();
    let way = Way::to(server.address()).await;
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let _one = registered(&etcd, 1).await;
    let endpoints = follow(&discovery, way.address);
    lists(&endpoints, &[1]).await;
    let held = way.hold().await;
    until(async || way.connections() > 1).await;
    until(async || !endpoints.state().errors.is_empty()).await;
    assert_eq!(ports(&endpoints.current()), [1]);
    drop(held);
    let _two = registered(&etcd, 2).await;
    lists(&endpoints, &[1, 2]).await;
    until(async || endpoints.state().errors.is_empty()).await;
}

#[tokio::test]
async fn a_compacted_history_is_read_anew() {
    let server = server();
    let way = Way::to(server.address()).await;
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let _one = registered(&etcd, 1).await;
    let two = registered(&etcd, 2).await;
    let endpoints = follow(&discovery, way.address);
    lists(&endpoints, &[1, 2]).await;
    let held = way.hold().await;
    way.cut();
    drop(two);
    let _three = registered(&etcd, 3).await;
    // Beyond what the watch has seen.
    until(async || {
        let revision = json(server.address(), "/v3/kv/range", r#"{"key": "eA=="}"#).await;
        let (_, revision) = revision.split_once(r#""revision":""#).expect("a revision");
        let (revision, _) = revision.split_once('"').expect("a revision");
        revision.parse::<u64>().expect("a number") >= 6
    })
    .await;
    json(server.address(), "/v3/kv/compaction", r#"{"revision": 6}"#).await;
    let before = ranges(server.address()).await;
    drop(held);
    lists(&endpoints, &[1, 3]).await;
    assert_eq!(ranges(server.address()).await - before, 1);
}

#[tokio::test]
async fn a_restart_with_its_data_changes_nothing() {
    let mut server = server();
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let one = registered(&etcd, 1).await;
    let endpoints = follow(&discovery, server.address());
    lists(&endpoints, &[1]).await;
    let version = endpoints.versioned().version;
    server.kill();
    soon(one.wait_for(uncertain)).await;
    until(async || !endpoints.state().errors.is_empty()).await;
    server.restart().expect("etcd");
    stands(&one, &RegistrationState::Registered).await;
    until(async || endpoints.state().errors.is_empty()).await;
    assert_eq!(endpoints.versioned().version, version);
    assert_eq!(ranges(server.address()).await, 0, "it has counted anew");
}

#[tokio::test]
async fn a_restart_without_its_data_empties_no_list_and_brings_all_back() {
    let mut server = server();
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let (one, two) = (registered(&etcd, 1).await, registered(&etcd, 2).await);
    let endpoints = follow(&discovery, server.address());
    lists(&endpoints, &[1, 2]).await;
    let version = endpoints.versioned().version;
    server.kill();
    std::fs::remove_dir_all(server.directory().join("data")).expect("its data");
    for registration in [&one, &two] {
        soon(registration.wait_for(uncertain)).await;
    }
    server.restart().expect("etcd");
    for registration in [&one, &two] {
        stands(registration, &RegistrationState::Registered).await;
    }
    until(async || endpoints.state().errors.is_empty()).await;
    assert_eq!(
        endpoints.versioned().version,
        version,
        "no list was another"
    );
    let fresh = follow(&self::discovery(settings()), server.address());
    assert_eq!(ports(&soon(fresh.ready()).await.expect("both")), [1, 2]);
}

#[tokio::test]
async fn an_etcd_that_hangs_for_longer_than_all_leases_loses_nobody() {
    let server = server();
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let (one, two) = (registered(&etcd, 1).await, registered(&etcd, 2).await);
    let _three = registered(&etcd, 3).await;
    let endpoints = follow(&discovery, server.address());
    lists(&endpoints, &[1, 2, 3]).await;
    let paused = server.pause().expect("it runs");
    let hung = std::time::Instant::now();
    until(async || hung.elapsed() > settings().ttl * 2).await;
    assert!(uncertain(&one.state()) && uncertain(&two.state()));
    assert_eq!(ports(&endpoints.current()), [1, 2, 3]);
    drop(paused);
    for registration in [&one, &two] {
        stands(registration, &RegistrationState::Registered).await;
    }
    lists(&endpoints, &[1, 2, 3]).await;
    until(async || endpoints.state().errors.is_empty()).await;
    until(async || keys(server.address()).await == 3).await;
    // Leases, too: none is left over.
    until(async || leases(server.address()).await == 3).await;
}

#[tokio::test]
async fn who_is_killed_is_gone_within_its_lease() {
    if let Ok(address) = std::env::var("SEAWALL_TEST_ETCD") {
        let etcd = registry(address.parse().expect("an address"));
        let _one = registered(&etcd, 1).await;
        std::future::pending::<()>().await;
    }
    let server = server();
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let _two = registered(&etcd, 2).await;
    let endpoints = follow(&discovery, server.address());
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "who_is_killed_is_gone_within_its_lease"])
        .env("SEAWALL_TEST_ETCD", server.address().to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("this test");
    lists(&endpoints, &[1, 2]).await;
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    lists(&endpoints, &[2]).await;
}

#[tokio::test]
async fn who_starts_anew_takes_its_own_place() {
    let server = server();
    let (etcd, discovery) = (registry(server.address()), discovery(settings()));
    let old = registered(&etcd, 1).await;
    let endpoints = follow(&discovery, server.address());
    lists(&endpoints, &[1]).await;
    let moved = ["http://10.0.0.8:5".parse().expect("an address")];
    let new = etcd.register(seawall::discovery::Instance::new(
        "orders", "orders-1", moved,
    ));
    stands(&new, &RegistrationState::Registered).await;
    lists(&endpoints, &[5]).await;
    // The old one's end is not the new one's.
    soon(old.deregister()).await;
    let _two = registered(&etcd, 2).await;
    lists(&endpoints, &[2, 5]).await;
    assert_eq!(keys(server.address()).await, 2);
}

#[tokio::test]
async fn a_key_that_someone_deleted_is_written_again() {
    let server = server();
    let cluster = format!("etcd://{}", server.address()).parse();
    let settings = etcd::Settings {
        ttl: Duration::from_secs(1),
        ..settings()
    };
    let etcd = Etcd::new(cluster.expect("a cluster"), settings);
    let one = registered(&etcd, 1).await;
    // "/" to "0".
    json(
        server.address(),
        "/v3/kv/deleterange",
        r#"{"key": "Lw==", "range_end": "MA=="}"#,
    )
    .await;
    assert_eq!(keys(server.address()).await, 0);
    until(async || keys(server.address()).await == 1).await;
    assert_eq!(one.state(), RegistrationState::Registered);
}

#[tokio::test]
async fn clients_come_back_from_a_restart_one_after_another_and_without_ranges() {
    let mut server = server();
    let way = Way::to(server.address()).await;
    let slow = || etcd::Settings {
        spread: Duration::from_secs(1),
        ..settings()
    };
    let _one = registered(&registry(server.address()), 1).await;
    // Each is as a process of its own would be: nothing is shared between discoveries.
    let clients: Vec<_> = (0..50)
        .map(|_| follow(&discovery(slow()), way.address))
        .collect();
    for endpoints in &clients {
        assert_eq!(ports(&soon(endpoints.ready()).await.expect("one")), [1]);
    }
    assert_eq!(way.connections(), 50);
    server.kill();
    way.cut();
    server.restart().expect("etcd");
    until(async || {
        clients
            .iter()
            .all(|client| client.state().errors.is_empty())
    })
    .await;
    until(async || watchers(server.address()).await == 50).await;
    assert_eq!(ranges(server.address()).await, 0);
    assert_eq!(way.connections(), 100, "one connection more for each");
    let after = &way.made()[50..];
    let late: Vec<u128> = after
        .iter()
        .map(|at| (*at - after[0]).as_millis())
        .collect();
    println!("50 clients came back within 1 s, after the first in ms: {late:?}");
}

fn uncertain(state: &RegistrationState) -> bool {
    matches!(state, RegistrationState::Uncertain(_))
}
