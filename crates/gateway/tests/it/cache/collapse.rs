//! One call for many, and nobody held up by it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::{Barrier, cached, count, with};
use crate::support::{Client, Message, Origin, assert_all_free, eventually, get, write_response};

/// An origin that answers once `barrier` is open, with these headers and its count.
fn held(barrier: &Barrier, headers: &'static str) -> Origin {
    let (barrier, count) = (barrier.clone(), AtomicUsize::new(0));
    Origin::serving(move |_, stream| {
        let n = count.fetch_add(1, SeqCst) + 1;
        barrier.pass();
        write_response(stream, "200 OK", headers, n.to_string().as_bytes());
        true
    })
}

fn many(addr: std::net::SocketAddr, callers: usize) -> Vec<std::thread::JoinHandle<Message>> {
    (0..callers)
        .map(|_| std::thread::spawn(move || get(addr, "/")))
        .collect()
}

/// Requests that the gateway has begun, whatever becomes of them.
fn begun(running: &seawall_gateway::Running) -> usize {
    running.connections()
}

#[test]
fn many_callers_make_one_call() {
    let barrier = Barrier::default();
    let origin = held(&barrier, "cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    let callers = many(running.addr, 20);
    eventually("all have come", || {
        begun(&running) >= 20 && origin.requests() == 1
    });
    barrier.open();
    for caller in callers {
        let answer = caller.join().unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "1"));
    }
    assert_eq!(origin.requests(), 1);
    let (miss, others) = (
        count(&running, "miss"),
        count(&running, "collapsed") + count(&running, "hit"),
    );
    assert_eq!((miss, others), (1.0, 19.0));
    assert_all_free(&running);
}

#[test]
fn what_is_not_to_be_shared_is_nobodys_to_wait_for() {
    let barrier = Barrier::default();
    let origin = held(&barrier, "cache-control: private, max-age=60\r\n");
    let running = cached(&origin, "");
    let callers = many(running.addr, 8);
    eventually("all have come", || {
        begun(&running) >= 8 && origin.requests() == 1
    });
    barrier.open();
    let mut bodies: Vec<String> = callers
        .into_iter()
        .map(|c| c.join().unwrap().text())
        .collect();
    bodies.sort();
    assert_eq!(
        bodies,
        ["1", "2", "3", "4", "5", "6", "7", "8"],
        "each its own"
    );
    assert_eq!(count(&running, "hit") + count(&running, "collapsed"), 0.0);
    assert_all_free(&running);
}

#[test]
fn that_the_first_leaves_ends_it_for_nobody_else() {
    let barrier = Barrier::default();
    let origin = held(&barrier, "cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    let mut first = Client::connect(running.addr);
    first.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    eventually("the call is made", || origin.requests() == 1);
    let second = many(running.addr, 1).pop().unwrap();
    eventually("both have come", || begun(&running) == 2);
    // It waits for the first one's call: nothing else was sent.
    drop(first);
    eventually("the first has left", || begun(&running) == 1);
    barrier.open();
    assert_eq!(second.join().unwrap().text(), "1");
    assert_eq!(origin.requests(), 1);
    assert_all_free(&running);
}

#[test]
fn what_nobody_waits_for_is_ended() {
    let barrier = Barrier::default();
    let origin = held(&barrier, "cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    let mut only = Client::connect(running.addr);
    only.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    eventually("the call is made", || origin.requests() == 1);
    drop(only);
    assert_all_free(&running);
    barrier.open();
    assert_eq!(get(running.addr, "/").text(), "2");
}

#[test]
fn nobody_waits_past_their_deadline() {
    let barrier = Barrier::default();
    let origin = held(&barrier, "cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    let first = many(running.addr, 1).pop().unwrap();
    eventually("the call is made", || origin.requests() == 1);
    let late = with(running.addr, "GET", "/", "seawall-timeout-ms: 50\r\n");
    assert_eq!(
        (late.status(), late.get("seawall-error")),
        (504, Some("deadline"))
    );
    barrier.open();
    assert_eq!(first.join().unwrap().text(), "1");
    assert_eq!(origin.requests(), 1);
}

#[test]
fn the_first_ones_haste_is_not_the_others() {
    let barrier = Barrier::default();
    let origin = held(&barrier, "cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    let addr = running.addr;
    let hasty = std::thread::spawn(move || with(addr, "GET", "/", "seawall-timeout-ms: 300\r\n"));
    eventually("the call is made", || origin.requests() == 1);
    let second = many(addr, 1).pop().unwrap();
    assert_eq!(hasty.join().unwrap().status(), 504);
    barrier.open();
    assert_eq!(second.join().unwrap().text(), "1");
    assert_eq!(origin.requests(), 1);
}

#[test]
fn the_first_gets_bytes_as_they_come() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let origin = Origin::serving(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\ncache-control: max-age=60\r\n\r\n";
        let _ = stream.write_all(&[head.as_bytes(), b"half"].concat());
        held.pass();
        let _ = stream.write_all(b"rest");
        true
    });
    let running = cached(&origin, "");
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(running.addr);
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        let mut half = [0; 4];
        std::io::Read::read_exact(&mut client.stream, &mut half).unwrap();
        assert_eq!(&half, b"half");
        clients.push(client);
    }
    barrier.open();
    for mut client in clients {
        let mut rest = [0; 4];
        std::io::Read::read_exact(&mut client.stream, &mut rest).unwrap();
        assert_eq!(&rest, b"rest");
    }
    assert_eq!(get(running.addr, "/").text(), "halfrest");
    assert_eq!(origin.requests(), 1);
    assert_all_free(&running);
}

#[test]
fn what_is_told_apart_is_not_shared_on_the_way() {
    // The first call is held; what it varies by is not known until it is answered.
    let barrier = Barrier::default();
    let held = barrier.clone();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let origin = Origin::serving(move |request, stream| {
        if count.fetch_add(1, SeqCst) == 0 {
            held.pass();
        }
        let body = request.get("accept-language").unwrap_or("-").to_owned();
        let headers = "cache-control: max-age=60\r\nvary: accept-language\r\n";
        write_response(stream, "200 OK", headers, body.as_bytes());
        true
    });
    let running = cached(&origin, "");
    let addr = running.addr;
    let ask = move |language: &'static str| {
        std::thread::spawn(move || {
            with(
                addr,
                "GET",
                "/",
                &format!("accept-language: {language}\r\n"),
            )
            .text()
        })
    };
    let first = ask("de");
    eventually("the call is made", || seen.load(SeqCst) == 1);
    let others = [ask("en"), ask("de"), ask("fr")];
    eventually("all have come", || begun(&running) == 4);
    barrier.open();
    assert_eq!(first.join().unwrap(), "de");
    let others = others.map(|other| other.join().unwrap());
    assert_eq!(others, ["en", "de", "fr"]);
}

#[test]
fn an_origin_that_fails_holds_nobody_up() {
    let origin = Origin::raw(drop);
    let running = cached(&origin, "");
    let callers = many(running.addr, 8);
    for caller in callers {
        assert!(matches!(caller.join().unwrap().status(), 502 | 503));
    }
    assert_all_free(&running);
}
