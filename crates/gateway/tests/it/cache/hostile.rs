//! What is sent to poison, to steal or to fill a cache.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::{ROUTE, cached, count, counting, fills, with};
use crate::support::{Client, Origin, Setup, get, metric, write_response};

/// Answers with these headers, and in the body all that it got.
fn telling(headers: &'static str) -> Origin {
    Origin::serving(move |request, stream| {
        let mut lines: Vec<String> = vec![request.start.clone()];
        lines.extend(
            request
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        write_response(stream, "200 OK", headers, lines.join("\n").as_bytes());
        true
    })
}

#[test]
fn what_is_in_no_key_poisons_nothing() {
    for line in [
        "x-forwarded-host: evil",
        "x-forwarded-proto: evil",
        "x-forwarded-for: evil",
        "forwarded: host=evil",
        "x-forwarded-port: evil",
        "x-forwarded-prefix: /evil",
        "x-forwarded-scheme: evil",
        "x-host: evil",
        "x-original-url: /evil",
        "x-rewrite-url: /evil",
        "x-http-method-override: EVIL",
        "connection: close, x-forwarded-host\r\nx-forwarded-host: evil",
    ] {
        let running = cached(&telling("cache-control: max-age=60\r\n"), "");
        let attempt = with(running.addr, "GET", "/", &format!("{line}\r\n"));
        assert_eq!(attempt.status(), 200, "{line}");
        let victim = get(running.addr, "/");
        assert_eq!(victim.status(), 200);
        assert!(
            !victim.text().to_lowercase().contains("evil"),
            "{line}\n{}",
            victim.text()
        );
    }
}

#[test]
fn a_body_in_a_get_poisons_nothing() {
    let origin = Origin::serving(|request, stream| {
        write_response(
            stream,
            "200 OK",
            "cache-control: max-age=60\r\n",
            &request.body,
        );
        true
    });
    let running = cached(&origin, "");
    assert_eq!(
        with(running.addr, "GET", "/", "content-length: 4\r\n\r\nevil").text(),
        "evil"
    );
    assert_eq!(get(running.addr, "/").text(), "");
    let answer = with(running.addr, "GET", "/", "content-length: 4\r\n\r\nmore");
    assert_eq!(answer.text(), "more", "nor is it answered by what is kept");
    assert_eq!(count(&running, "bypass-method"), 2.0);
}

#[test]
fn a_path_that_looks_static_makes_nothing_public() {
    // What deceives: the origin answers the account page under any suffix.
    let origin = counting("");
    let running = cached(&origin, "default_ttl = '60s'");
    let own = with(
        running.addr,
        "GET",
        "/account/x.css",
        "cookie: session=1\r\n",
    );
    assert_eq!(own.text(), "1");
    for path in ["/account/x.css", "/account;x.css", "/account%2fx.css"] {
        assert_ne!(get(running.addr, path).text(), "1", "{path}");
        let other = with(running.addr, "GET", path, "cookie: session=2\r\n");
        assert_ne!(other.text(), "1", "{path}");
    }
}

#[test]
fn ways_to_write_a_path_are_not_made_one() {
    let running = cached(&telling("cache-control: max-age=60\r\n"), "");
    for path in [
        "/a", "/a/", "//a", "/A", "/%61", "/a;x", "/./a", "/b/../a", "/a?", "/a%3f",
    ] {
        let line = format!("GET {path} HTTP/1.1");
        for _ in 0..2 {
            let body = get(running.addr, path).text();
            assert_eq!(body.lines().next(), Some(line.as_str()));
        }
    }
}

#[test]
fn what_varies_without_end_is_bounded() {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(move |request, stream| {
        let n = count.fetch_add(1, SeqCst);
        let vary = if request.start.contains("/names") {
            "vary: a, b, c, d, e, f, g, h, i, j\r\n"
        } else {
            "vary: user-agent\r\n"
        };
        let headers = format!("cache-control: max-age=60\r\n{vary}");
        write_response(stream, "200 OK", &headers, n.to_string().as_bytes());
        true
    });
    let running = cached(&origin, "");
    for agent in 0..100 {
        with(
            running.addr,
            "GET",
            "/",
            &format!("user-agent: {agent}\r\n"),
        );
    }
    // And the mark that tells them apart.
    assert!(metric(&running, "seawall_cache_entries") <= 65.0);
    let last = with(running.addr, "GET", "/", "user-agent: 99\r\n");
    assert_eq!(last.get("cache-status"), Some("seawall; hit"));
    for _ in 0..2 {
        assert_ne!(
            get(running.addr, "/names").get("cache-status"),
            Some("seawall; hit")
        );
    }
    let long = "x".repeat(5_000);
    for _ in 0..2 {
        let answer = with(running.addr, "GET", "/", &format!("user-agent: {long}\r\n"));
        assert_ne!(answer.get("cache-status"), Some("seawall; hit"));
    }
    assert!(fills(&running, "unfit") >= 3.0);
}

#[test]
fn the_store_is_bounded_whatever_is_asked_for() {
    let origin = Origin::serving(|_, stream| {
        let tags = "t ".repeat(4_000);
        let headers = format!("cache-control: max-age=60\r\nsurrogate-key: {tags}\r\n");
        write_response(stream, "200 OK", &headers, &[b'x'; 10_000]);
        true
    });
    let text = format!("{ROUTE}[cache]\nsize = '1MiB'\n");
    let running = Setup::to(origin.addr).rest(&text).start();
    for n in 0..200 {
        assert_eq!(get(running.addr, &format!("/{n}")).status(), 200);
    }
    let bytes = metric(&running, "seawall_cache_size_bytes");
    assert!(bytes <= f64::from(1 << 20), "{bytes}");
}

#[test]
fn headers_that_make_no_sense_make_nothing_fresh() {
    for headers in [
        "cache-control: max-age=99999999999999999999\r\nage: 99999999999999999999\r\n",
        "cache-control: max-age=60\r\nage: 60\r\n",
        "cache-control: max-age=60\r\ncache-control: max-age=0\r\n",
        "cache-control: max-age=0060x\r\n",
        "cache-control: =,\"; max-age=60\r\n",
        "cache-control: \"max-age=60\r\n",
        "cache-control: max-age=60, private\r\n",
        "cache-control: max-age=60\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "expires: 0\r\n",
        "expires: Thu, 01 Jan 2099 00:00:00 GMT\r\nexpires: 0\r\n",
        "cache-control: max-age=60\r\nset-cookie: a=b\r\n",
        "cache-control: max-age=60\r\nvary: *\r\n",
        "cache-control: max-age=60\r\nvary: accept\r\nvary: *\r\n",
    ] {
        let running = cached(&counting(headers), "");
        assert_eq!(get(running.addr, "/").text(), "1", "{headers}");
        assert_eq!(get(running.addr, "/").text(), "2", "{headers}");
    }
}

#[test]
fn framing_is_as_strict_as_ever() {
    let origin = counting("cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    get(running.addr, "/");
    let mut client = Client::connect(running.addr);
    // A second request in what may be a body.
    client.send(
        "GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 30\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nhost: test\r\n\r\n",
    );
    assert_eq!(client.response().unwrap().status(), 400);
    assert!(client.is_closed());
    // Requests sent ahead are answered in order, hit or not.
    let mut client = Client::connect(running.addr);
    let line = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    client.send([line("/"), line("/b"), line("/"), line("/b")].concat());
    let bodies = [(); 4].map(|()| client.response().unwrap().text());
    assert_eq!(bodies, ["1", "2", "1", "2"]);
}

#[test]
fn what_goes_in_circles_ends() {
    // Two gateways, each the other's upstream.
    let ports = [(); 2].map(|()| seawall_testkit::free_port().unwrap());
    let gateways = [0, 1].map(|at| {
        let text = format!(
            "[listeners.default]\naddress = '127.0.0.1:{}'\n[admin]\naddress = '127.0.0.1:{}'\n[upstreams.default]\nurl = 'http://127.0.0.1:{}'\nretry.attempts = 1\n{ROUTE}",
            ports[at],
            seawall_testkit::free_port().unwrap(),
            ports[1 - at],
        );
        let config = seawall::config::Config::parse(&text).unwrap();
        seawall_gateway::Gateway::start(&config).unwrap()
    });
    // What waits for itself, collapsed, ends by the first one's time.
    let answer = with(
        gateways[0].addr,
        "GET",
        "/",
        "cookie: a=b\r\nseawall-timeout-ms: 300\r\n",
    );
    assert!(answer.status() >= 500, "{answer:?}");
    let post = with(gateways[0].addr, "POST", "/", "content-length: 0\r\n");
    assert_eq!(post.status(), 508, "{post:?}");
}
