//! Endpoints and registrations in a real etcd.
#![cfg(all(feature = "client", feature = "etcd"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;
mod etcd_support;

use std::time::Duration;

use axum::Router;
use client_support::Origin;
use etcd_support::{
    Way, asked_for_progress, authentications, discovery, follow, impatient, instance, json,
    json_with, keys, leases, lists, ports, ranges, registered, registry, server, service, settings,
    soon, stands, until, watchers,
};
use seawall::Client;
use seawall::discovery::etcd::{self, Error, Etcd, User};
use seawall::discovery::{DiscoveryError, Instance, RegistrationState, Registry as _, Source};

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
async fn a_client_calls_who_is_registered() {
    let server = server();
    let etcd = registry(server.address());
    let mut origins = ["one", "two"]
        .map(|name| Origin::start(Router::new().fallback(move || async move { name })));
    let register = |origin: &Origin, id: &str| {
        let address = format!("http://{}", origin.address).parse();
        etcd.register(Instance::new("orders", id, [address.expect("an address")]))
    };
    let first = register(&origins[0], "a");
    let client = Client::builder("http://orders")
        .discovery(discovery(settings()))
        .source(Source::Etcd(service(server.address())))
        .build()
        .expect("a client");
    let get = async || client.get("/x").await?.into_body().text().await;
    until(async || get().await.is_ok_and(|text| text == "one")).await;
    let _second = register(&origins[1], "b");
    until(async || get().await.expect("an answer") == "two").await;
    assert_eq!(
        soon(first.deregister()).await,
        RegistrationState::Deregistered
    );
    until(async || client.hosts().len() == 1).await;
    origins[0].kill();
    for _ in 0..20 {
        assert_eq!(get().await.expect("an answer"), "two");
    }
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
async fn a_server_that_is_away_is_passed_over() {
    let server = server();
    let nobody = seawall_testkit::free_port().expect("a port");
    let cluster = format!("etcd://127.0.0.1:{nobody},{}/seawall", server.address());
    let etcd = Etcd::new(cluster.parse().expect("a cluster"), settings());
    // Each begins with one of them by chance.
    for n in 1..=8 {
        let _one = registered(&etcd, n).await;
        let source = etcd.cluster().service("orders").expect("a name");
        let endpoints = discovery(settings()).start(Source::Etcd(source));
        lists(&endpoints, &[n]).await;
    }
}

#[tokio::test]
async fn where_etcd_has_users_one_has_to_be_known() {
    let server = server();
    with_users(server.address()).await;
    let stranger = registry(server.address()).register(instance(2));
    let tried = soon(stranger.tried()).await;
    assert!(
        matches!(tried, RegistrationState::Pending(Some(_))),
        "{tried:?}"
    );

    let cluster = registry(server.address()).cluster().clone();
    let _one = registered(&Etcd::new(cluster, as_user("a word")), 1).await;
    lists(
        &follow(&discovery(as_user("a word")), server.address()),
        &[1],
    )
    .await;
    let wrong = follow(&discovery(as_user("no word")), server.address());
    let error = soon(wrong.ready()).await.expect_err("a wrong password");
    assert!(error.to_string().contains("password"), "{error}");
    assert!(!format!("{:?}", as_user("a word")).contains("a word"));
}

#[tokio::test]
async fn a_token_that_has_ended_is_no_news() {
    let server = server();
    with_users(server.address()).await;
    let often = etcd::Settings {
        reread: Duration::from_secs(1),
        ..as_user("a word")
    };
    let cluster = registry(server.address()).cluster().clone();
    let _one = registered(&Etcd::new(cluster, as_user("a word")), 1).await;
    let endpoints = follow(&discovery(often), server.address());
    lists(&endpoints, &[1]).await;
    let before = authentications(server.address()).await;
    let who = r#"{"name": "root", "password": "a word"}"#;
    let answer = json(server.address(), "/v3/auth/authenticate", who).await;
    let (_, token) = answer.split_once(r#""token":""#).expect("a token");
    let (token, _) = token.split_once('"').expect("a token");
    // All tokens end with this.
    json_with(server.address(), token, "/v3/auth/disable", "{}").await;
    json(server.address(), "/v3/auth/enable", "{}").await;
    // The registration's, the list's and the one above.
    let well = || assert!(endpoints.state().errors.is_empty(), "{endpoints:?}");
    until(async || {
        well();
        authentications(server.address()).await >= before + 3
    })
    .await;
    until(async || {
        well();
        watchers(server.address()).await == 1
    })
    .await;
}

async fn with_users(address: std::net::SocketAddr) {
    for (path, body) in [
        (
            "/v3/auth/user/add",
            r#"{"name": "root", "password": "a word"}"#,
        ),
        ("/v3/auth/role/add", r#"{"name": "root"}"#),
        ("/v3/auth/user/grant", r#"{"user": "root", "role": "root"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        json(address, path, body).await;
    }
}

fn as_user(password: &str) -> etcd::Settings {
    etcd::Settings {
        user: Some(User {
            name: "root".into(),
            password: password.into(),
        }),
        ..settings()
    }
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
    let (etcd, discovery) = (registry(server.address()), discovery(impatient()));
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
async fn a_quiet_watch_that_works_is_left_alone() {
    let server = server();
    let way = Way::to(server.address()).await;
    let _one = registered(&registry(server.address()), 1).await;
    let endpoints = follow(&discovery(settings()), way.address);
    lists(&endpoints, &[1]).await;
    until(async || asked_for_progress(server.address()).await >= 3).await;
    assert_eq!(way.connections(), 1);
    assert!(endpoints.state().errors.is_empty());
}

#[tokio::test]
async fn a_list_is_read_again_now_and_then() {
    let server = server();
    let _one = registered(&registry(server.address()), 1).await;
    let often = etcd::Settings {
        reread: Duration::from_secs(1),
        ..settings()
    };
    let endpoints = follow(&discovery(often), server.address());
    lists(&endpoints, &[1]).await;
    until(async || ranges(server.address()).await >= 2).await;
    until(async || watchers(server.address()).await == 1).await;
    assert_eq!(endpoints.versioned().version, 1);
}

#[test]
fn a_runtime_that_ends_takes_the_watch_from_no_other() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(1).enable_all();
        builder.build().expect("a runtime")
    };
    let (server, first, second) = (server(), runtime(), runtime());
    let discovery = discovery(settings());
    let _one = first.block_on(async {
        let endpoints = follow(&discovery, server.address());
        soon(endpoints.ready()).await.expect_err("nothing is there");
        endpoints
    });
    let other = second.block_on(async { follow(&discovery, server.address()) });
    drop(first);
    second.block_on(async {
        let _two = registered(&registry(server.address()), 2).await;
        lists(&other, &[2]).await;
    });
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
    let (etcd, discovery) = (registry(server.address()), discovery(impatient()));
    let (one, two) = (registered(&etcd, 1).await, registered(&etcd, 2).await);
    let _three = registered(&etcd, 3).await;
    let endpoints = follow(&discovery, server.address());
    lists(&endpoints, &[1, 2, 3]).await;
    server.freeze().expect("it runs");
    let hung = std::time::Instant::now();
    until(async || hung.elapsed() > settings().ttl * 2).await;
    assert!(uncertain(&one.state()) && uncertain(&two.state()));
    assert_eq!(ports(&endpoints.current()), [1, 2, 3]);
    server.thaw().expect("it runs");
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
    let new = etcd.register(Instance::new("orders", "orders-1", moved));
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
        lists(endpoints, &[1]).await;
    }
    let before = way.connections();
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
    let after = &way.made()[before..];
    assert!(after.len() >= 50, "each comes back: {}", after.len());
    let late: Vec<u128> = after
        .iter()
        .map(|at| (*at - after[0]).as_millis())
        .collect();
    println!("50 clients came back within 1 s, after the first in ms: {late:?}");
}

fn uncertain(state: &RegistrationState) -> bool {
    matches!(state, RegistrationState::Uncertain(_))
}
