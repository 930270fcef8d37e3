//! What comes in goes on, less what belongs to one hop.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    Client, Origin, Setup, ask, assert_all_free, eventually, get, write_response,
};

#[test]
fn requests_bodies_and_connections() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    for request in [
        "GET /a?b=c HTTP/1.1\r\nhost: shop\r\nx-mine: 1\r\n\r\n",
        "POST /a?b=c HTTP/1.1\r\nhost: shop\r\nx-mine: 1\r\ncontent-length: 5\r\n\r\nhello",
        "POST /a?b=c HTTP/1.1\r\nhost: shop\r\nx-mine: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "GET /a?b=c HTTP/1.1\r\nhost: shop\r\nx-mine: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let method = request.split(' ').next().unwrap();
        let response = client.send(request).response().unwrap();
        let echo = response.text();
        assert_eq!(response.status(), 200, "{echo}");
        assert!(
            echo.starts_with(&format!("{method} /a?b=c HTTP/1.1\n")),
            "{echo}"
        );
        assert!(
            echo.contains("\nhost: shop\n") && echo.contains("\nx-mine: 1\n"),
            "{echo}"
        );
        assert_eq!(echo.ends_with("\nhello"), request.contains("llo"), "{echo}");
        assert!(response.get("date").is_some());
    }
    assert_eq!(origin.connections(), 1, "one connection is reused");
    assert_eq!(origin.requests(), 4);
    assert_all_free(&gateway);
}

#[test]
fn responses_without_a_body() {
    let origin = Origin::serving(|request, stream| {
        let status = if request.start.starts_with("HEAD") {
            "200 OK\r\ncontent-length: 5"
        } else {
            "204 No Content"
        };
        stream
            .write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
            .is_ok()
    });
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
        let head = client.head();
        assert_eq!(
            (head.status(), head.get("content-length")),
            (200, Some("5"))
        );
        assert_eq!(
            client
                .send("DELETE /1 HTTP/1.1\r\nhost: a\r\n\r\n")
                .response()
                .unwrap()
                .status(),
            204
        );
    }
    assert_eq!(origin.connections(), 1);
    assert_all_free(&gateway);
}

#[test]
fn chunked_and_closing_responses() {
    let origin = Origin::serving(|request, stream| {
        if request.start.contains("/chunked") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
                .unwrap();
            stream.write_all(b"2\r\nde\r\n0\r\n\r\n").is_ok()
        } else {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nabcde").unwrap();
            false
        }
    });
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    for path in ["/chunked", "/closing", "/chunked"] {
        let response = client
            .send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .response()
            .unwrap();
        assert_eq!(
            (response.text().as_str(), response.complete),
            ("abcde", true),
            "{path}"
        );
    }
    // HTTP/1.0 knows no chunks.
    let old = ask(gateway.addr, "GET /chunked HTTP/1.0\r\n\r\n");
    assert_eq!(
        (old.text().as_str(), old.get("transfer-encoding")),
        ("abcde", None)
    );
    assert_all_free(&gateway);
}

#[test]
fn what_belongs_to_one_hop_ends_there() {
    let origin = Origin::serving(|request, stream| {
        let names: Vec<_> = request
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let body = names.join(" ");
        write_response(
            stream,
            "200 OK",
            "connection: keep-alive, x-private\r\nkeep-alive: timeout=9\r\nx-private: 1\r\nproxy-connection: a\r\nx-kept: 1\r\n",
            body.as_bytes(),
        );
        true
    });
    let gateway = Setup::to(origin.addr).start();
    let response = ask(
        gateway.addr,
        "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close, x-secret, host, x-forwarded-for\r\nx-secret: 1\r\nkeep-alive: 5\r\n\
         proxy-connection: x\r\nte: gzip\r\nupgrade: h2c\r\ntrailer: x-t\r\nx-kept: 1\r\n\r\n",
    );
    let names = response.text();
    for gone in [
        "connection",
        "x-secret",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
    ] {
        assert!(
            !names.split(' ').any(|name| name == gone),
            "{gone} in {names}"
        );
    }
    for kept in [
        "host",
        "trailer",
        "x-kept",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ] {
        assert!(
            names.split(' ').any(|name| name == kept),
            "{kept} in {names}"
        );
    }
    for gone in ["keep-alive", "x-private", "proxy-connection"] {
        assert_eq!(response.get(gone), None, "{gone}");
    }
    assert_eq!(
        response.get("connection"),
        Some("close"),
        "the client's own wish"
    );
    assert_eq!(
        (response.get("x-kept"), response.get("via")),
        (Some("1"), Some("1.1 seawall"))
    );
}

#[test]
fn on_whose_behalf_is_believed_from_named_networks_only() {
    let said = "GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\n\
                x-forwarded-proto: https\r\nforwarded: for=1.2.3.4\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    let origin = Origin::echo();
    let stranger = Setup::to(origin.addr).start();
    let echo = ask(stranger.addr, said).text();
    for line in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert!(echo.contains(&format!("\n{line}\n")), "{line} in\n{echo}");
    }
    assert!(
        !echo.contains("1.2.3.4") && !echo.contains("https"),
        "{echo}"
    );

    let trusted = Setup::to(origin.addr)
        .listener("trusted_proxies = ['127.0.0.0/8']\n")
        .start();
    let echo = ask(trusted.addr, said).text();
    for line in [
        "x-forwarded-for: 1.2.3.4, 5.6.7.8, 127.0.0.1",
        "x-forwarded-proto: https",
        "forwarded: for=1.2.3.4",
    ] {
        assert!(echo.contains(&format!("\n{line}\n")), "{line} in\n{echo}");
    }
    assert!(
        get(trusted.addr, "/")
            .text()
            .contains("\nx-forwarded-for: 127.0.0.1\n")
    );
}

#[test]
fn a_target_with_an_authority_outranks_the_host_header() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let echo = ask(
        gateway.addr,
        "GET http://inner/x?y HTTP/1.1\r\nhost: outer\r\nconnection: close\r\n\r\n",
    )
    .text();
    assert!(
        echo.starts_with("GET /x?y HTTP/1.1\n") && echo.contains("\nhost: inner\n"),
        "{echo}"
    );
    // HTTP/1.0 may come without a host.
    let echo = ask(gateway.addr, "GET /old HTTP/1.0\r\n\r\n").text();
    assert!(
        echo.contains(&format!("\nhost: {}\n", origin.addr)),
        "{echo}"
    );
}

#[test]
fn connect_is_refused() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    assert_eq!(
        ask(
            gateway.addr,
            "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"
        )
        .status(),
        405
    );
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_expected_continue_is_answered_here() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    let echo = client.send("hello").response().unwrap().text();
    assert!(
        echo.ends_with("\nhello") && !echo.contains("expect"),
        "{echo}"
    );
}

#[test]
fn an_upgrade_joins_both_sides() {
    let origin = Origin::serving(|request, stream| {
        assert_eq!(
            (request.get("upgrade"), request.get("connection")),
            (Some("websocket"), Some("upgrade"))
        );
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-accept: 1\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = [0; 5];
        while stream.read_exact(&mut bytes).is_ok() {
            bytes.reverse();
            stream.write_all(&bytes).unwrap();
        }
        false
    });
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    let head = client.head();
    assert_eq!(
        (head.status(), head.get("upgrade"), head.get("x-accept")),
        (101, Some("websocket"), Some("1"))
    );
    for _ in 0..3 {
        client.send("hello");
        let mut back = [0; 5];
        client.stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"olleh");
    }
    // It holds no place, but is counted.
    assert_all_free(&gateway);
    assert_eq!(
        crate::support::metric(&gateway, "seawall_streams{upstream=\"default\"}"),
        1.0
    );
    drop(client);
    eventually("the stream has ended", || {
        crate::support::metric(&gateway, "seawall_streams{upstream=\"default\"}") == 0.0
    });
}

#[test]
fn a_refused_upgrade_is_an_ordinary_response() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    let upgrade =
        "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(client.send(upgrade).response().unwrap().status(), 200);
    assert_eq!(client.send(upgrade).response().unwrap().status(), 200);
}

const HUGE: usize = 96 << 20;
/// What sockets and buffers may hold between two ends that do not read.
const IN_BETWEEN: usize = 32 << 20;

#[test]
fn a_client_that_does_not_read_holds_the_origin_back() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let origin = Origin::serving(move |_, stream| {
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {HUGE}\r\n\r\n").as_bytes())
            .unwrap();
        for _ in 0..HUGE >> 16 {
            if stream.write_all(&[7; 1 << 16]).is_err() {
                return false;
            }
            count.fetch_add(1 << 16, Ordering::SeqCst);
        }
        true
    });
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    assert!(stalls(&written) < IN_BETWEEN);
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    while read < HUGE {
        read += client.stream.read(&mut buffer).unwrap();
    }
    assert_eq!(read, HUGE);
    assert_all_free(&gateway);
}

#[test]
fn an_origin_that_does_not_read_holds_the_client_back() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::raw(move |mut stream| {
        let _ = wait.lock().unwrap().recv();
        let mut left = HUGE;
        let mut buffer = vec![0; 1 << 20];
        while left > 0 {
            left = left.saturating_sub(stream.read(&mut buffer).unwrap());
        }
        write_response(&mut stream, "200 OK", "", b"got it");
    });
    let gateway = Setup::to(origin.addr).start();
    let mut stream = TcpStream::connect(gateway.addr).unwrap();
    stream
        .write_all(
            format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {HUGE}\r\n\r\n").as_bytes(),
        )
        .unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for _ in 0..HUGE >> 16 {
            writer.write_all(&[7; 1 << 16]).unwrap();
            count.fetch_add(1 << 16, Ordering::SeqCst);
        }
    });
    assert!(stalls(&written) < IN_BETWEEN);
    go.send(()).unwrap();
    sender.join().unwrap();
    let mut response = [0; 12];
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    match stream.read_exact(&mut response) {
        Ok(()) => assert_eq!(&response, b"HTTP/1.1 200"),
        Err(error) => panic!("{error} {:?}", error.kind() == ErrorKind::WouldBlock),
    }
}

/// Waits until a count no longer grows.
fn stalls(count: &AtomicUsize) -> usize {
    let (mut last, mut same) = (0, 0);
    eventually("the writer stalls", || {
        let now = count.load(Ordering::SeqCst);
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        same >= 40
    });
    last
}

#[test]
fn a_length_beside_an_encoding_does_not_frame_a_reply() {
    let origin = Origin::serving(|_, stream| {
        let reply = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        stream.write_all(reply.as_bytes()).is_ok()
    });
    let gateway = Setup::to(origin.addr).start();
    let response = get(gateway.addr, "/");
    assert_eq!(response.get("content-length"), None);
    assert_eq!(response.text(), "hello");
}

#[test]
fn an_upgrade_to_http2_is_passed_over() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let response = ask(
        gateway.addr,
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n",
    );
    assert_eq!(response.status(), 200);
    let text = response.text();
    assert!(!text.contains("h2c") && !text.contains("http2"), "{text}");
}

#[test]
fn an_encoding_that_is_not_known_is_no_reply() {
    let origin = Origin::serving(|_, stream| {
        let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
        stream.write_all(reply.as_bytes()).is_ok()
    });
    let gateway = Setup::to(origin.addr).start();
    assert_eq!(get(gateway.addr, "/").status(), 502);
    assert_all_free(&gateway);
}

#[test]
fn an_upgraded_connection_counts_towards_the_pools_cap() {
    let origin = Origin::serving(|_, stream| {
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            stream.write_all(&byte).unwrap();
        }
        false
    });
    let gateway = Setup::to(origin.addr)
        .upstream("max_connections = 1\n")
        .start();
    let open = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut first = Client::connect(gateway.addr);
    assert_eq!(first.send(open).head().status(), 101);
    first.send("x");
    let mut back = [0; 1];
    first.stream.read_exact(&mut back).unwrap();
    let open_connections = "seawall_upstream_connections{upstream=\"default\",state=\"open\"}";
    assert_eq!(crate::support::metric(&gateway, open_connections), 1.0);
    // Nothing is left to dial on until the first one ends.
    let mut second = Client::connect(gateway.addr);
    second.send(open);
    drop(first);
    assert_eq!(second.head().status(), 101);
    assert_eq!(origin.connections(), 2);
}
