//! What a host that fails, or lies, must not do to the others.

use std::net::SocketAddr;

use seawall_gateway::Running;

use crate::support::{
    Client, Origin, Setup, ask, assert_all_free, eventually, get, metric, write_response,
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

#[test]
fn whose_time_is_used_up_is_not_sent_again() {
    let origin = Origin::raw(|_stream| std::thread::park());
    let gateway = Setup::to(origin.addr)
        .upstream("response_timeout = '100ms'\nbreaker.kind = 'off'\n")
        .start();
    for sent in 1..=5 {
        assert_eq!(get(gateway.addr, "/").status(), 504);
        assert_eq!(origin.connections(), sent);
    }
}

#[test]
fn a_repeated_request_says_what_time_is_left() {
    let origin = Origin::serving(|request, stream| {
        if request.get("seawall-attempt").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(50));
            write_response(stream, "503 Service Unavailable", "", b"");
        } else {
            let left = request.get("seawall-timeout-ms").unwrap_or_default();
            write_response(stream, "200 OK", "", left.as_bytes());
        }
        true
    });
    let gateway = Setup::to(origin.addr).start();
    let request =
        "GET / HTTP/1.1\r\nhost: a\r\nseawall-timeout-ms: 5000\r\nconnection: close\r\n\r\n";
    let left: u64 = ask(gateway.addr, request).text().parse().unwrap();
    assert!(left <= 4_950, "{left} ms left");
}

#[test]
fn a_fallback_stands_in_for_who_breaks_off_after_the_head() {
    let origin = Origin::raw(|mut stream| {
        let mut head = [0; 1024];
        let _ = std::io::Read::read(&mut stream, &mut head);
        let bad = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
        let _ = std::io::Write::write_all(&mut stream, bad);
    });
    let gateway = Setup::to(origin.addr)
        .upstream("fallback.body = 'instead'\n")
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!(response.text(), "instead");
    assert_eq!(response.get("cache-control"), Some("no-store"));
    assert_all_free(&gateway);
}

#[test]
fn clients_that_send_slowly_do_not_open_the_breaker() {
    let origin = Origin::serving(|_, stream| {
        write_response(stream, "200 OK", "", b"read");
        true
    });
    let gateway = Setup::to(origin.addr)
        .upstream("response_timeout = '100ms'\nbreaker.kind = 'window'\n")
        .start();
    let slow = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    for _ in 0..10 {
        let clients = [(); 4].map(|()| {
            let mut client = Client::connect(gateway.addr);
            client.send(slow);
            client
        });
        for mut client in clients {
            let response = client.response().unwrap();
            assert_eq!(response.status(), 408, "{response:?}");
        }
    }
    assert_eq!(get(gateway.addr, "/").text(), "read");
    let open = metric(&gateway, "seawall_breaker_open{upstream=\"default\"}");
    assert_eq!(open, 0.0);
    assert_all_free(&gateway);
}

#[test]
fn calls_that_a_host_has_no_connection_for_go_to_another() {
    let (hangs, serves) = (Origin::raw(|_stream| std::thread::park()), named("serves"));
    let lines = format!(
        "endpoints = [\"{}\", \"{}\"]\nmax_connections = 1\nconnect_timeout = '100ms'\nresponse_timeout = '1s'\nretry.ratio = 1.0\n",
        hangs.addr, serves.addr
    );
    let gateway = Setup::to(serves.addr).upstream(&lines).start();
    let clients: Vec<_> = (0..12)
        .map(|_| {
            let mut client = Client::connect(gateway.addr);
            client.send(POST);
            client
        })
        .collect();
    let statuses = clients
        .into_iter()
        .map(|mut c| c.response().unwrap().status());
    let mut statuses: Vec<_> = statuses.collect();
    statuses.sort_unstable();
    // One has the connection of the host that hangs.
    assert_eq!(statuses[..11], [200; 11], "{statuses:?}");
    assert_all_free(&gateway);
}

#[test]
fn an_upgrade_that_a_dead_host_is_chosen_for_goes_to_another() {
    let switches = Origin::serving(|_, stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        let _ = std::io::Write::write_all(stream, head);
        true
    });
    let lines = format!(
        "endpoints = [\"{}\", \"{}\"]\nbalance.algorithm = 'round-robin'\n",
        nobody(),
        switches.addr
    );
    let gateway = Setup::to(switches.addr).upstream(&lines).start();
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    // In turn, so one of two is for the dead host. Of more, the breaker might think half a failure.
    for _ in 0..2 {
        let mut client = Client::connect(gateway.addr);
        let head = client.send(upgrade).head();
        assert_eq!(head.status(), 101, "{head:?}");
    }
    assert_all_free(&gateway);
}
