//! Slow peers are cut, and hold nothing up.

use std::io::{Read, Write};
use std::sync::mpsc;

use crate::support::{
    Client, Message, Origin, Setup, ask, assert_all_free, eventually, get, metric, write_response,
};

#[test]
fn slow_headers_are_cut() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr)
        .listener("header_timeout = '50ms'\n")
        .start();
    let mut slow: Vec<_> = (0..20)
        .map(|i| {
            let mut client = Client::connect(gateway.addr);
            client.send(
                [
                    "",
                    "P",
                    "PRI",
                    "GET / HT",
                    "GET / HTTP/1.1\r\nhost: a\r\nx: ",
                ][i % 5],
            );
            client
        })
        .collect();
    assert_eq!(get(gateway.addr, "/").status(), 200);
    assert!(slow.iter_mut().all(Client::is_closed));
    // So is the second request of a connection.
    let mut second = Client::connect(gateway.addr);
    assert_eq!(
        second
            .send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .response()
            .unwrap()
            .status(),
        200
    );
    second.send("GET / HTTP/1.1\r\n");
    assert!(second.is_closed());
    eventually("nobody is connected", || gateway.connections() == 0);
    assert_eq!(origin.requests(), 2);
}

#[test]
fn idle_connections_are_closed() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr)
        .listener("idle_timeout = '50ms'\n")
        .start();
    let mut client = Client::connect(gateway.addr);
    assert_eq!(
        client
            .send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .response()
            .unwrap()
            .status(),
        200
    );
    assert!(client.is_closed());
}

#[test]
fn a_slow_body_is_cut_and_holds_no_place() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr)
        .listener("body_timeout = '100ms'\n")
        .rest("[admission]\nalgorithm = 'fixed'\ninitial_limit = 1\n")
        .start();
    let mut small = Client::connect(gateway.addr);
    small.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    // The one place is free all the same.
    assert_eq!(get(gateway.addr, "/").status(), 200);
    assert_eq!(small.response().unwrap().status(), 408);
    let mut large = Client::connect(gateway.addr);
    large.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\nhalf");
    assert_eq!(large.response().unwrap().status(), 408);
    assert_eq!(get(gateway.addr, "/").status(), 200);
    assert_all_free(&gateway);
    assert_eq!(
        metric(&gateway, "seawall_faults_total{fault=\"client-body\"}"),
        2.0
    );
}

#[test]
fn an_origin_that_never_answers() {
    let origin = Origin::raw(|stream| {
        let _stream = stream;
        loop {
            std::thread::park();
        }
    });
    let gateway = Setup::to(origin.addr)
        .upstream("response_timeout = '60ms'\n")
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!(
        (response.status(), response.get("seawall-error")),
        (504, Some("origin-timeout"))
    );
    assert_all_free(&gateway);
}

#[test]
fn a_deadline_bounds_the_response() {
    let (closed, seen) = mpsc::channel();
    let closed = std::sync::Mutex::new(closed);
    let origin = Origin::raw(move |stream| {
        let mut stream = std::io::BufReader::new(stream);
        Message::request(&mut stream);
        // Ends when the gateway gives up.
        let end = Message::request(&mut stream);
        closed.lock().unwrap().send(end.is_none()).unwrap();
    });
    let gateway = Setup::to(origin.addr)
        .listener("trust = 'internal'\n")
        .start();
    let request = "GET / HTTP/1.1\r\nhost: a\r\nseawall-timeout-ms: 60\r\n\r\n";
    let response = ask(gateway.addr, request);
    assert_eq!(
        (response.status(), response.get("seawall-error")),
        (504, Some("deadline"))
    );
    assert!(seen.recv().unwrap(), "the origin's work is cancelled");
    assert_all_free(&gateway);
}

#[test]
fn a_response_that_stalls_is_cut() {
    let origin = Origin::serving(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            .unwrap();
        true
    });
    let gateway = Setup::to(origin.addr)
        .upstream("body_timeout = '60ms'\n")
        .start();
    let response = get(gateway.addr, "/");
    assert_eq!((response.status(), response.complete), (200, false));
    assert_all_free(&gateway);
    assert_eq!(
        metric(&gateway, "seawall_faults_total{fault=\"origin-slow\"}"),
        1.0
    );
}

#[test]
fn an_idle_origin_connection_is_closed_as_the_origin_announces() {
    let origin = Origin::serving(|_, stream| {
        write_response(stream, "200 OK", "keep-alive: timeout=1\r\n", b"");
        true
    });
    let gateway = Setup::to(origin.addr).start();
    assert_eq!(get(gateway.addr, "/").status(), 200);
    eventually("the connection is closed", || {
        metric(
            &gateway,
            "seawall_upstream_connections{upstream=\"default\",state=\"open\"}",
        ) == 0.0
    });
}

#[test]
fn a_body_that_drips_is_cut_and_one_that_flows_is_not() {
    let origin = Origin::echo();
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    let length = 80 << 10;
    let gateway = Setup::to(origin.addr)
        .listener("body_timeout = '300ms'\nmin_rate = '10KiB'\n")
        .start();
    for framing in [
        format!("content-length: {length}\r\n\r\n"),
        "transfer-encoding: chunked\r\n\r\n".to_owned(),
    ] {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("{head}{framing}"));
        let mut reader = client.stream.get_ref().try_clone().unwrap();
        // Never silent for long, and still too slow.
        let drip = std::thread::spawn(move || {
            while reader.write_all(b"1\r\nx\r\n").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        assert_eq!(client.response().unwrap().status(), 408, "{framing}");
        drop(client);
        drip.join().unwrap();
    }
    assert_all_free(&gateway);
    // In pieces, for longer than the limits in all, at more than the rate.
    let gateway = Setup::to(origin.addr)
        .listener("body_timeout = '2s'\nmin_rate = '1KiB'\n")
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send(format!("{head}content-length: {length}\r\n\r\n"));
    for _ in 0..20 {
        client.send(vec![b'x'; length / 20]);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(client.response().unwrap().status(), 200);
}

#[test]
fn a_reply_that_is_read_in_drips_is_cut() {
    let length = 40_000_000;
    let origin = Origin::serving(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let sent = stream.write_all(head.as_bytes());
        sent.is_ok() && (0..length / 40_000).all(|_| stream.write_all(&[b'x'; 40_000]).is_ok())
    });
    let gateway = Setup::to(origin.addr)
        .listener("write_timeout = '300ms'\nmin_rate = '64MiB'\n")
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    let (mut piece, mut got) = ([0; 32 << 10], 0);
    // Never silent for long, and still too slow.
    while let Ok(read @ 1..) = client.stream.read(&mut piece) {
        got += read;
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(got < length, "it was let finish");
    assert_all_free(&gateway);
    assert_eq!(
        metric(&gateway, "seawall_faults_total{fault=\"connection-cut\"}"),
        1.0
    );
}

#[test]
fn a_long_reply_of_unknown_length_gives_its_place_back() {
    let origin = Origin::serving(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n";
        stream.write_all(head).unwrap();
        let mut end = [0];
        // Until the gateway leaves.
        let _ = stream.read(&mut end);
        false
    });
    let gateway = Setup::to(origin.addr)
        .upstream("stream_after = '50ms'\n")
        .start();
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    eventually("it is a stream", || {
        metric(&gateway, "seawall_streams{upstream=\"default\"}") == 1.0
    });
    assert_all_free(&gateway);
}

#[test]
fn a_stranger_may_wait_for_less_but_not_for_more() {
    let origin = Origin::raw(|stream| {
        let mut stream = std::io::BufReader::new(stream);
        // Answers nothing; ends when the gateway gives up.
        while Message::request(&mut stream).is_some() {}
    });
    let route = "[[routes]]\npath_prefix = '/short'\ntimeout = '50ms'\n";
    let gateway = Setup::to(origin.addr).rest(route).start();
    for (path, header) in [
        ("/long", "grpc-timeout: 50m"),
        ("/long", "seawall-timeout-ms: 50"),
        ("/short", "grpc-timeout: 1H"),
        ("/short", "seawall-timeout-ms: 86400000"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{header}\r\n\r\n");
        let response = ask(gateway.addr, &request);
        let told = (response.status(), response.get("seawall-error"));
        assert_eq!(told, (504, Some("deadline")), "{path} {header}");
    }
    assert_all_free(&gateway);
    let none = "GET /long HTTP/1.1\r\nhost: a\r\nseawall-timeout-ms: 0\r\n\r\n";
    assert_eq!(ask(gateway.addr, none).status(), 504);
}
