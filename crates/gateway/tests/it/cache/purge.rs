//! What is forgotten by order.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::{Barrier, ROUTE, cached, counting, fills, with};
use crate::support::{Origin, Setup, ask, eventually, get, metric, write_response};

fn order(running: &seawall_gateway::Running, query: &str) -> (u16, String) {
    let answer = with(
        running.admin,
        "POST",
        &format!("/cache/purge?{query}"),
        "content-length: 0\r\n",
    );
    (answer.status(), answer.text().trim().to_owned())
}

#[test]
fn by_tag_url_and_prefix() {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(move |request, stream| {
        let n = count.fetch_add(1, SeqCst) + 1;
        let path = request.start.split(' ').nth(1).unwrap_or_default();
        let headers = format!(
            "cache-control: max-age=60\r\nvary: accept\r\nsurrogate-key: all {}\r\ncache-tag: own tag\r\n",
            path.trim_start_matches('/').replace('/', "-"),
        );
        write_response(stream, "200 OK", &headers, n.to_string().as_bytes());
        true
    });
    let running = cached(&origin, "");
    let paths = ["/a", "/a/b", "/ab", "/c?d"];
    let fresh =
        || paths.map(|path| get(running.addr, path).get("cache-status") == Some("seawall; hit"));
    fresh();
    assert_eq!(fresh(), [true; 4]);
    let tagged = get(running.addr, "/a");
    assert_eq!(
        (tagged.get("surrogate-key"), tagged.get("cache-tag")),
        (None, None)
    );
    for (query, purged, left) in [
        ("tag=a-b", 1, [true, false, true, true]),
        ("tag=a%2Db", 1, [true, false, true, true]),
        ("tag=nothing", 0, [true; 4]),
        ("url=/a", 1, [false, true, true, true]),
        ("url=http://test/c?d", 1, [true, true, true, false]),
        ("url=http://other/a", 0, [true; 4]),
        ("url=/c", 0, [true; 4]),
        ("prefix=/a", 3, [false, false, false, true]),
        ("prefix=/a/", 1, [true, false, true, true]),
        ("prefix=http://test", 4, [false; 4]),
        ("tag=own%20tag", 4, [false; 4]),
        ("all", 4, [false; 4]),
    ] {
        assert_eq!(
            order(&running, query),
            (200, format!("{{\"purged\":{purged}}}")),
            "{query}"
        );
        assert_eq!(fresh(), left, "{query}");
    }
    assert_eq!(metric(&running, "seawall_cache_purges_total"), 12.0);
    assert_eq!(order(&running, "everything").0, 400);
}

#[test]
fn only_who_may_ask_may_order() {
    let origin = counting("cache-control: max-age=60\r\n");
    let token = "token = \"0123456789abcdef\"\n";
    let running = Setup::to(origin.addr)
        .rest(&format!("{token}{ROUTE}"))
        .start();
    assert_eq!(get(running.addr, "/").text(), "1");
    assert_eq!(order(&running, "all").0, 401);
    let ordered = |method: &str, more: &str| {
        let head =
            format!("{method} /cache/purge?all HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        let token = "authorization: Bearer 0123456789abcdef\r\n";
        ask(running.admin, &format!("{head}{token}{more}\r\n")).status()
    };
    assert_eq!(ordered("GET", ""), 405);
    assert_eq!(
        ordered(
            "POST",
            "origin: http://evil.example\r\ncontent-length: 0\r\n"
        ),
        403
    );
    assert_eq!(get(running.addr, "/").text(), "1");
    assert_eq!(ordered("POST", "content-length: 0\r\n"), 200);
    assert_eq!(get(running.addr, "/").text(), "2");
    // On the data plane it is a method as any.
    assert_eq!(with(running.addr, "PURGE", "/x", "").text(), "3");
    assert_eq!(get(running.addr, "/").text(), "2");
}

#[test]
fn what_is_being_fetched_is_not_kept() {
    for by_write in [false, true] {
        let barrier = Barrier::default();
        let (held, count) = (barrier.clone(), AtomicUsize::new(0));
        let origin = Origin::serving(move |request, stream| {
            if request.start.starts_with("POST") {
                write_response(stream, "200 OK", "", b"");
                return true;
            }
            let n = count.fetch_add(1, SeqCst) + 1;
            if n == 1 {
                held.pass();
            }
            let headers = "cache-control: max-age=60\r\nsurrogate-key: a\r\n";
            write_response(stream, "200 OK", headers, n.to_string().as_bytes());
            true
        });
        let running = cached(&origin, "");
        let addr = running.addr;
        let first = std::thread::spawn(move || get(addr, "/").text());
        eventually("it is being fetched", || origin.requests() == 1);
        if by_write {
            with(addr, "POST", "/", "content-length: 0\r\n");
        } else {
            assert_eq!(order(&running, "tag=a").0, 200);
        }
        // Who comes after it does not wait for what was asked for before.
        assert_eq!(get(addr, "/").text(), "2");
        barrier.open();
        assert_eq!(first.join().unwrap(), "1");
        eventually("it is void", || fills(&running, "void") == 1.0);
        assert_eq!(get(addr, "/").text(), "2");
    }
}

#[test]
fn a_reload_keeps_what_is_kept() {
    let origin = counting("cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    assert_eq!(get(running.addr, "/").text(), "1");
    let mut config = (*running.config()).clone();
    config.routes[0].criticality = Some(seawall_policy::Criticality::Sheddable);
    running.reload(&config).unwrap();
    assert_eq!(get(running.addr, "/").text(), "1");
    config.routes[0].cache = None;
    running.reload(&config).unwrap();
    assert_eq!(get(running.addr, "/").text(), "2");
    config.cache.size *= 2;
    let refused = running.reload(&config).unwrap_err();
    assert!(refused.to_string().contains("cache.size"), "{refused}");
}
