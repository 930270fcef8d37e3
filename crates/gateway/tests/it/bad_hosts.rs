//! What a host that fails, or lies, must not do to the others.

use std::net::SocketAddr;

use seawall_gateway::Running;

use crate::support::{
    Origin, Setup, ask, assert_all_free, eventually, get, metric, write_response,
};

/// Answers with its name.
fn named(name: &'static str) -> Origin {
    Origin::serving(move |_, stream| {
        write_response(stream, "200 OK", "", name.as_bytes());
        true
    })
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()))
}

/// With a replica at `replica`, which is known.
fn with_replica(primary: &Origin, replica: SocketAddr) -> Running {
    let lines = format!("replicas.endpoints = [\"{replica}\"]\n");
    let gateway = Setup::to(primary.addr).upstream(&lines).start();
    eventually("the replica is known", || {
        let metrics = get(gateway.admin, "/metrics").text();
        metrics.contains(&format!("host=\"{replica}\""))
    });
    gateway
}

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: writer\r\ncontent-length: 0\r\n\r\n";

#[test]
fn replicas_that_are_dead_cost_neither_reads_nor_writes() {
    let primary = named("primary");
    let gateway = with_replica(&primary, nobody());
    for _ in 0..100 {
        assert_eq!(get(gateway.addr, "/").text(), "primary");
        assert_eq!(ask(gateway.addr, POST).text(), "primary");
    }
    assert_all_free(&gateway);
}

#[test]
fn the_failures_of_replicas_do_not_open_the_breaker_for_writes() {
    let primary = named("primary");
    let replica = Origin::serving(|_, stream| {
        write_response(stream, "502 Bad Gateway", "", b"");
        true
    });
    let gateway = with_replica(&primary, replica.addr);
    for _ in 0..200 {
        get(gateway.addr, "/");
    }
    let refused = (0..50).filter(|_| ask(gateway.addr, POST).status() != 200);
    assert_eq!(refused.count(), 0);
    let open = metric(&gateway, "seawall_breaker_open{upstream=\"default\"}");
    assert_eq!(open, 0.0);
}

#[test]
fn an_upgrade_is_no_read() {
    let primary = named("primary");
    let gateway = with_replica(&primary, named("replica").addr);
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nauthorization: u\r\n\r\n";
    assert_eq!(get(gateway.addr, "/").text(), "replica");
    assert_eq!(ask(gateway.addr, upgrade).text(), "primary");
}
