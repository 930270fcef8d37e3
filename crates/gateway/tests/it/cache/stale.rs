//! What is stale, and better than nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::{Barrier, ROUTE, cached, count, with};
use crate::support::{Origin, Setup, eventually, get, write_response};

/// Answers with these headers and its count; with 500 while it is told to fail.
fn failing(headers: &'static str) -> (Origin, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let (told, count) = (fails.clone(), AtomicUsize::new(0));
    let origin = Origin::serving(move |_, stream| {
        let body = (count.fetch_add(1, SeqCst) + 1).to_string();
        if told.load(SeqCst) {
            write_response(stream, "500 No", "", b"no");
        } else {
            write_response(stream, "200 OK", headers, body.as_bytes());
        }
        true
    });
    (origin, fails)
}

#[test]
fn another_is_fetched_while_the_stale_one_is_served() {
    let (origin, fails) = failing("cache-control: max-age=0, stale-while-revalidate=600\r\n");
    let running = cached(&origin, "");
    assert_eq!(get(running.addr, "/").text(), "1");
    let stale = get(running.addr, "/");
    assert_eq!(stale.text(), "1");
    let status = "seawall; hit; detail=stale-while-revalidate";
    assert_eq!(stale.get("cache-status"), Some(status));
    eventually("another is fetched", || origin.requests() == 2);
    eventually("and served", || get(running.addr, "/").text() != "1");
    // A failure leaves what is there.
    fails.store(true, SeqCst);
    let before = origin.requests();
    eventually("it is tried again", || {
        assert_eq!(get(running.addr, "/").status(), 200);
        origin.requests() > before
    });
    assert_eq!(get(running.addr, "/").status(), 200);
    assert!(count(&running, "stale") >= 2.0);
}

#[test]
fn a_stale_answer_stands_in_for_an_error() {
    for (headers, lines, stands_in) in [
        ("cache-control: max-age=0, stale-if-error=600\r\n", "", true),
        (
            "cache-control: max-age=0\r\netag: \"a\"\r\n",
            "stale_if_error = '10m'",
            true,
        ),
        ("cache-control: max-age=0\r\netag: \"a\"\r\n", "", false),
        (
            "cache-control: max-age=0, must-revalidate\r\netag: \"a\"\r\n",
            "stale_if_error = '10m'",
            false,
        ),
        (
            "cache-control: no-cache\r\netag: \"a\"\r\n",
            "stale_if_error = '10m'",
            false,
        ),
        (
            "cache-control: s-maxage=0\r\netag: \"a\"\r\n",
            "stale_if_error = '10m'",
            false,
        ),
    ] {
        let (origin, fails) = failing(headers);
        let running = cached(&origin, lines);
        assert_eq!(get(running.addr, "/").text(), "1");
        fails.store(true, SeqCst);
        let answer = get(running.addr, "/");
        if stands_in {
            assert_eq!(
                (answer.status(), answer.text().as_str()),
                (200, "1"),
                "{headers}"
            );
            assert_eq!(answer.get("seawall-fallback"), Some("stale"));
            let status = "seawall; fwd=stale; detail=stale-if-error";
            assert_eq!(answer.get("cache-status"), Some(status));
        } else {
            assert_eq!(answer.status(), 500, "{headers} {lines}");
        }
        fails.store(false, SeqCst);
        let recovered = get(running.addr, "/");
        assert_eq!(
            (recovered.status(), recovered.get("seawall-fallback")),
            (200, None)
        );
        assert_ne!(recovered.text(), "1");
    }
}

#[test]
fn a_stale_answer_stands_in_for_the_fixed_one_and_for_no_connection() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let origin = Origin::raw(move |stream| {
        let mut stream = stream;
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        if crate::support::Message::request(&mut reader).is_some() {
            let headers = "cache-control: max-age=0, stale-if-error=600\r\nconnection: close\r\n";
            write_response(&mut stream, "200 OK", headers, b"kept");
        }
        held.pass();
    });
    barrier.open();
    let fallback = "[upstreams.default.fallback]\nbody = 'fixed'\n";
    let running = Setup::to(origin.addr)
        .rest(&format!("{ROUTE}\n{fallback}"))
        .start();
    assert_eq!(get(running.addr, "/").text(), "kept");
    assert_eq!(get(running.addr, "/").text(), "kept");
    let broken = Origin::raw(drop);
    let running = Setup::to(broken.addr)
        .rest(&format!("{ROUTE}\n{fallback}"))
        .start();
    let answer = get(running.addr, "/");
    assert_eq!(
        (answer.text().as_str(), answer.get("seawall-fallback")),
        ("fixed", Some("static"))
    );
}

#[test]
fn who_is_turned_away_gets_what_is_stale() {
    let barrier = Barrier::default();
    let held = barrier.clone();
    let origin = Origin::serving(move |request, stream| {
        if request.start.contains("/slow") {
            held.pass();
        }
        let headers = "cache-control: max-age=0, stale-if-error=600\r\n";
        write_response(stream, "200 OK", headers, b"kept");
        true
    });
    let admission = "[admission]\nalgorithm = 'fixed'\ninitial_limit = 1\nmax_wait = '1ms'\n";
    let running = Setup::to(origin.addr)
        .rest(&format!("{ROUTE}\n{admission}"))
        .start();
    assert_eq!(get(running.addr, "/").text(), "kept");
    let addr = running.addr;
    let slow = std::thread::spawn(move || get(addr, "/slow"));
    eventually("the place is taken", || origin.requests() == 2);
    let stale = get(running.addr, "/");
    assert_eq!((stale.status(), stale.text().as_str()), (200, "kept"));
    assert_eq!(stale.get("seawall-fallback"), Some("stale"));
    let nothing = get(running.addr, "/other");
    assert!(nothing.status() >= 429, "{nothing:?}");
    assert_eq!(count(&running, "stale-if-error"), 1.0);
    // At its deadline as well.
    barrier.open();
    slow.join().unwrap();
}

#[test]
fn who_cannot_wait_gets_what_is_stale() {
    let barrier = Barrier::default();
    let (held, count) = (barrier.clone(), AtomicUsize::new(0));
    let origin = Origin::serving(move |_, stream| {
        if count.fetch_add(1, SeqCst) > 0 {
            held.pass();
        }
        let headers = "cache-control: max-age=0, stale-if-error=600\r\n";
        write_response(stream, "200 OK", headers, b"kept");
        true
    });
    let running = cached(&origin, "");
    assert_eq!(get(running.addr, "/").text(), "kept");
    let hasty = with(running.addr, "GET", "/", "seawall-timeout-ms: 50\r\n");
    assert_eq!(
        (hasty.status(), hasty.get("seawall-fallback")),
        (200, Some("stale"))
    );
    barrier.open();
}
