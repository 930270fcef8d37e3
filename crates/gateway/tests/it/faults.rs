//! Origins that fail, clients that leave.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc;

use crate::support::{
    Client, Message, Origin, Setup, assert_all_free, eventually, get, metric, write_response,
};

#[test]
fn an_origin_that_is_down_and_comes_up() {
    let addr = SocketAddr::from(([127, 0, 0, 1], seawall_testkit::free_port().unwrap()));
    let gateway = Setup::to(addr).start();
    let response = get(gateway.addr, "/");
    assert_eq!(response.status(), 502);
    assert_eq!(
        response.get("seawall-reject"),
        Some("reason=unreachable; scope=route; retry=elsewhere")
    );
    assert!(
        get(gateway.admin, "/explain")
            .text()
            .contains("unreachable")
    );
    let listener = TcpListener::bind(addr).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        Message::request(&mut BufReader::new(stream.try_clone().unwrap()));
        write_response(&mut stream, "200 OK", "", b"up");
    });
    assert_eq!(get(gateway.addr, "/").text(), "up");
    assert_all_free(&gateway);
}

#[test]
fn an_origin_that_resets_in_the_middle() {
    let origin = Origin::serving(|request, stream| {
        if request.start.contains("/half") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                .unwrap();
        } else if request.start.contains("/chunk") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                .unwrap();
        } else if request.start.contains("/head") {
            stream.write_all(b"HTTP/1.1 200 O").unwrap();
        } else if request.start.contains("/garbage") {
            stream
                .write_all(b"\x16\x03\x01 what is this\r\n\r\n")
                .unwrap();
        } else if request.start.contains("/ok") {
            write_response(stream, "200 OK", "", b"ok");
            return true;
        }
        false
    });
    let gateway = Setup::to(origin.addr)
        .upstream("retry.attempts = 1\nbreaker.kind = 'off'\n")
        .start();
    for path in ["/half", "/chunk"] {
        let response = get(gateway.addr, path);
        assert_eq!(
            (response.status(), response.complete),
            (200, false),
            "{path}: a cut body must not look whole"
        );
    }
    for path in ["/head", "/garbage", "/nothing"] {
        let response = get(gateway.addr, path);
        assert_eq!(
            (response.status(), response.get("seawall-error")),
            (502, Some("origin-broke")),
            "{path}"
        );
    }
    assert_eq!(get(gateway.addr, "/ok").text(), "ok");
    assert_all_free(&gateway);
    assert_eq!(
        metric(&gateway, "seawall_faults_total{fault=\"origin-broke\"}"),
        5.0
    );
}

#[test]
fn what_was_sent_is_not_sent_again() {
    // The second request on a connection is read, and the connection closed without an answer.
    let origin = Origin::raw(|stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        Message::request(&mut reader);
        write_response(&mut stream, "200 OK", "", b"");
        Message::request(&mut reader);
        let _ = stream.shutdown(Shutdown::Both);
    });
    let gateway = Setup::to(origin.addr).start();
    // One client connection, so one core and its pool.
    let mut client = Client::connect(gateway.addr);
    let mut ask = || {
        let request = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
        client.send(request).response().unwrap().status()
    };
    assert_eq!((ask(), ask()), (200, 502));
    assert_eq!(origin.connections(), 1, "no second try");
}

#[test]
fn a_pooled_connection_that_was_closed_costs_nothing() {
    let origin = Origin::serving(|_, stream| {
        // Says nothing of closing, and closes.
        write_response(stream, "200 OK", "", b"ok");
        false
    });
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    for _ in 0..50 {
        assert_eq!(
            client
                .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
                .response()
                .unwrap()
                .text(),
            "ok"
        );
        eventually("the close has arrived", || {
            metric(
                &gateway,
                "seawall_upstream_connections{upstream=\"default\",state=\"open\"}",
            ) == 0.0
        });
    }
    assert_eq!(origin.connections(), 50);
}

#[test]
fn a_client_that_leaves_cancels_the_origins_work() {
    let (event, events) = mpsc::channel();
    let event = std::sync::Mutex::new(event);
    let origin = Origin::raw(move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        let request = Message::request(&mut reader).unwrap();
        if request.start.contains("/body") {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                .unwrap();
        }
        event.lock().unwrap().send("working").unwrap();
        // Ends when the gateway closes, well before any time limit.
        let read = reader.read(&mut [0; 1]);
        assert!(!read.is_ok_and(|read| read > 0));
        event.lock().unwrap().send("cancelled").unwrap();
        // Answers after the client has left.
        write_response(&mut stream, "200 OK", "", b"late");
    });
    let gateway = Setup::to(origin.addr).start();
    for path in ["/head", "/body"] {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(events.recv().unwrap(), "working");
        drop(client);
        assert_eq!(events.recv().unwrap(), "cancelled");
    }
    assert_all_free(&gateway);
    assert_eq!(
        metric(&gateway, "seawall_faults_total{fault=\"client-gone\"}"),
        2.0
    );
}

#[test]
fn an_early_answer_to_a_large_body() {
    let origin = Origin::raw(|stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        let mut line = String::new();
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
        write_response(
            &mut stream,
            "413 Content Too Large",
            "connection: close\r\n",
            b"too large",
        );
        // Reads what comes, so that the answer is not lost to a reset.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\nsome");
    assert_eq!(client.response().unwrap().status(), 413);
    assert_all_free(&gateway);
}

#[test]
fn a_drain_finishes_what_is_under_way() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::serving(move |_, stream| {
        wait.lock().unwrap().recv().unwrap();
        write_response(stream, "200 OK", "", b"finished");
        true
    });
    let gateway = Setup::to(origin.addr).start();
    let (addr, admin) = (gateway.addr, gateway.admin);
    let mut idle = Client::connect(addr);
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is at the origin", || origin.requests() == 1);
    go.send(()).unwrap();
    assert_eq!(idle.response().unwrap().status(), 200);
    let mut busy = Client::connect(addr);
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is at the origin", || origin.requests() == 2);
    assert_eq!(get(admin, "/readyz").status(), 200);
    let drained = std::thread::spawn(move || gateway.shutdown());
    eventually("not ready", || get(admin, "/readyz").status() == 503);
    assert!(idle.is_closed());
    eventually("nothing is accepted", || {
        std::net::TcpStream::connect(addr).is_err()
    });
    go.send(()).unwrap();
    let last = busy.response().unwrap();
    assert_eq!(
        (last.text().as_str(), last.get("connection")),
        ("finished", Some("close"))
    );
    assert_eq!(drained.join().unwrap(), 0, "nothing was cut");
}

/// A client that was there but has not sent a whole request head has nothing under way.
#[test]
fn clients_that_have_asked_for_nothing_do_not_hold_up_a_drain() {
    let gateway = Setup::to(Origin::echo().addr).start();
    let whole = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let half = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
    let mut silent = ["", "", "PR", "GET / HT", half].map(|bytes| {
        let mut client = Client::connect(gateway.addr);
        client.send(bytes);
        client
    });
    // And one whose first request was answered.
    let mut second = Client::connect(gateway.addr);
    assert_eq!(second.send(whole).response().unwrap().status(), 200);
    second.send(half);
    eventually("they are there", || gateway.connections() == 6);
    let begun = std::time::Instant::now();
    assert_eq!(gateway.shutdown(), 0, "nothing was cut");
    let took = begun.elapsed();
    assert!(silent.iter_mut().all(Client::is_closed) && second.is_closed());
    assert!(took < std::time::Duration::from_secs(3), "{took:?}");
}

/// What is on its way to us when the drain begins is answered, however far it has come.
#[test]
fn a_head_that_is_completed_in_a_drain_is_answered() {
    let gateway = Setup::to(Origin::echo().addr).start();
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(gateway.addr)).collect();
    eventually("they are there", || gateway.connections() == 50);
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n");
    }
    gateway.drain();
    eventually("nothing is accepted", || {
        std::net::TcpStream::connect(gateway.addr).is_err()
    });
    for client in &mut clients {
        let last = client.send("\r\n").response().unwrap();
        let told = (last.status(), last.get("connection"));
        assert_eq!(told, (200, Some("close")));
    }
    eventually("it is drained", || gateway.is_drained());
}

/// A client that is gone without a word does not answer the ping by which HTTP/2 says goodbye.
#[test]
fn an_idle_http2_client_that_answers_no_ping_does_not_hold_up_a_drain() {
    let gateway = Setup::to(Origin::echo().addr).start();
    let mut client = Client::connect(gateway.addr);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0");
    eventually("it is there", || gateway.connections() == 1);
    // Its settings: the connection is up.
    let mut settings = [0; 9];
    std::io::Read::read_exact(&mut client.stream, &mut settings).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(gateway.shutdown(), 0, "nothing was cut");
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}
