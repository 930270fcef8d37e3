//! What is answered by what is kept, and what is not.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::{cached, count, counting, fills, with};
use crate::support::{Client, Origin, Setup, assert_all_free, get, write_response};

#[test]
fn what_is_fresh_is_answered_without_the_origin() {
    let origin =
        counting("cache-control: max-age=60\r\nx-own: yes\r\ncache-status: inner; hit\r\n");
    let running = cached(&origin, "");
    let first = get(running.addr, "/a");
    assert_eq!((first.status(), first.text().as_str()), (200, "1"));
    assert_eq!(first.get("age"), None);
    let status = |of: &crate::support::Message| {
        let all = of.headers.iter().filter(|(name, _)| name == "cache-status");
        all.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(status(&first), ["inner; hit", "seawall; fwd=miss; stored"]);
    let second = get(running.addr, "/a");
    assert_eq!((second.status(), second.text().as_str()), (200, "1"));
    assert_eq!(status(&second), ["inner; hit", "seawall; hit"]);
    assert_eq!(second.get("age"), Some("0"));
    assert_eq!(second.get("x-own"), Some("yes"));
    assert_eq!(second.get("content-length"), Some("1"));
    assert_eq!(get(running.addr, "/a?b").text(), "2");
    assert_eq!(origin.requests(), 2);
    assert_eq!(
        (count(&running, "hit"), count(&running, "miss")),
        (1.0, 2.0)
    );
    let explained = get(running.admin, "/explain?text").text();
    assert!(
        explained.contains("1 hits, 0 stale, 2 misses"),
        "{explained}"
    );
    assert_all_free(&running);
}

#[test]
fn the_cache_is_told_of_as_services_tell_of_theirs() {
    use seawall_cache::report::{Counts, Kind, Report};

    let origin = counting("cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    for path in ["/a", "/a", "/a", "/b"] {
        get(running.addr, path);
    }
    let told = get(running.admin, "/cache");
    assert_eq!(told.get("content-type"), Some("application/json"));
    let report: Report = serde_json::from_str(&told.text()).unwrap();
    let [cache] = &report.caches[..] else {
        panic!("{report:?}");
    };
    assert_eq!((&*cache.name, cache.kind), ("responses", Kind::Responses));
    assert!(cache.entries == 2 && cache.bytes.is_some_and(|bytes| bytes > 0));
    let counts = Counts {
        local_hits: 2,
        local_misses: 2,
        loads: 2,
        ..Counts::default()
    };
    assert_eq!(cache.counts, counts);

    let without = crate::support::Setup::to(origin.addr).start();
    let report: Report = serde_json::from_str(&get(without.admin, "/cache").text()).unwrap();
    assert_eq!(report, Report::default());
}

#[test]
fn hosts_and_schemes_of_writing_are_told_apart() {
    let origin = counting("cache-control: max-age=60\r\n");
    let running = cached(&origin, "");
    let at = |host: &str| with(running.addr, "GET", "/", &format!("host: {host}\r\n")).text();
    assert_eq!(
        (at("a.example"), at("b.example"), at("A.EXAMPLE")),
        ("1".into(), "2".into(), "1".into())
    );
    assert_eq!(at("a.example:81"), "3");
    let absolute = with(
        running.addr,
        "GET",
        "http://a.example/",
        "host: b.example\r\n",
    );
    assert_eq!(absolute.text(), "1", "the target outranks the header");
}

#[test]
fn conditions_parts_and_heads_are_answered_from_the_whole() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = Origin::serving(move |_, stream| {
        let headers = "cache-control: max-age=60\r\netag: \"v1\"\r\nlast-modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        write_response(stream, "200 OK", headers, b"0123456789");
        true
    });
    let running = cached(&origin, "");
    let ask = |method: &str, lines: &str| with(running.addr, method, "/", lines);
    // A part of what is not there, and its head, are the origin's to answer.
    assert_eq!(ask("GET", "range: bytes=0-1\r\n").status(), 200);
    assert_eq!(ask("HEAD", "").status(), 200);
    assert_eq!(
        (origin.requests(), count(&running, "bypass-request")),
        (2, 2.0)
    );
    // Who has it already makes it be fetched whole, for the others.
    let first = ask("GET", "if-none-match: \"v1\"\r\n");
    assert_eq!((first.status(), first.text().as_str()), (304, ""));
    crate::support::eventually("it is kept", || fills(&running, "stored") == 1.0);
    assert_eq!(ask("GET", "").text(), "0123456789");
    for (lines, status) in [
        ("if-none-match: W/\"v1\"\r\n".to_owned(), 304),
        ("if-none-match: \"v0\"\r\n".to_owned(), 200),
        (format!("if-modified-since: {date}\r\n"), 304),
        ("range: bytes=2-3\r\n".to_owned(), 206),
        ("range: bytes=20-\r\n".to_owned(), 416),
        ("range: bytes=2-3\r\nif-range: \"v0\"\r\n".to_owned(), 200),
        (
            "range: bytes=2-3\r\nif-none-match: \"v1\"\r\n".to_owned(),
            304,
        ),
    ] {
        let answer = ask("GET", &lines);
        assert_eq!(answer.status(), status, "{lines}");
        assert_eq!(answer.get("cache-status"), Some("seawall; hit"));
        assert_eq!(answer.get("etag"), Some("\"v1\""), "{lines}");
        let (body, range) = match status {
            206 => ("23", Some("bytes 2-3/10")),
            416 => ("", Some("bytes */10")),
            304 => ("", None),
            _ => ("0123456789", None),
        };
        assert_eq!(
            (answer.text().as_str(), answer.get("content-range")),
            (body, range)
        );
    }
    let head = Client::connect(running.addr)
        .send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n")
        .head();
    assert_eq!(
        (head.status(), head.get("content-length")),
        (200, Some("10"))
    );
    assert_eq!(head.get("cache-status"), Some("seawall; hit"));
    assert_eq!(origin.requests(), 3);
    // Several parts are the origin's to make.
    assert_eq!(ask("GET", "range: bytes=0-1,3-4\r\n").text(), "0123456789");
    assert_eq!(origin.requests(), 4);
}

#[test]
fn what_is_stale_is_confirmed() {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(move |request, stream| {
        let n = count.fetch_add(1, SeqCst);
        let headers = format!("cache-control: max-age=0\r\netag: \"v1\"\r\nx-n: {n}\r\n");
        if request.get("if-none-match") == Some("\"v1\"") {
            write_response(stream, "304 Not Modified", &headers, b"");
        } else {
            write_response(stream, "200 OK", &headers, b"body");
        }
        true
    });
    let running = cached(&origin, "");
    assert_eq!(get(running.addr, "/").get("x-n"), Some("0"));
    for n in ["1", "2"] {
        let answer = get(running.addr, "/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "body"));
        assert_eq!(answer.get("x-n"), Some(n));
        let status = "seawall; fwd=stale; fwd-status=304; stored";
        assert_eq!(answer.get("cache-status"), Some(status));
    }
    assert_eq!(
        with(running.addr, "GET", "/", "if-none-match: \"v1\"\r\n").status(),
        304
    );
    assert_eq!(super::count(&running, "revalidated"), 3.0);
}

#[test]
fn a_confirmation_of_something_else_is_not_believed() {
    let origin = Origin::serving(move |request, stream| {
        if request.get("if-none-match").is_some() {
            write_response(stream, "304 Not Modified", "etag: \"v2\"\r\n", b"");
        } else {
            let headers = "cache-control: max-age=0\r\netag: \"v1\"\r\n";
            write_response(stream, "200 OK", headers, b"body");
        }
        true
    });
    let running = cached(&origin, "");
    for _ in 0..3 {
        let answer = get(running.addr, "/");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "body"));
    }
}

#[test]
fn what_clients_ask_for_is_heeded_where_that_is_wanted() {
    for (lines, heeds) in [("", true), ("client_directives = false", false)] {
        let origin = counting("cache-control: max-age=60\r\n");
        let running = cached(&origin, lines);
        let ask = |directive: &str| {
            with(
                running.addr,
                "GET",
                "/",
                &format!("cache-control: {directive}\r\n"),
            )
        };
        let early = ask("only-if-cached");
        assert_eq!(early.status(), if heeds { 504 } else { 200 });
        assert_eq!(ask("no-store").text(), "1");
        let mut expected = 1;
        if heeds {
            // It was not kept.
            assert_eq!(ask("max-age=60").text(), "2");
            expected = 2;
        }
        assert_eq!(ask("only-if-cached").text(), expected.to_string());
        for directive in ["no-cache", "min-fresh=90"] {
            expected += usize::from(heeds);
            assert_eq!(ask(directive).text(), expected.to_string(), "{directive}");
        }
        let pragma = with(running.addr, "GET", "/", "pragma: no-cache\r\n").text();
        expected += usize::from(heeds);
        assert_eq!(pragma, expected.to_string());
        // What it brought is kept.
        assert_eq!(get(running.addr, "/").text(), expected.to_string());
    }
}

#[test]
fn requests_are_told_apart_by_what_responses_vary_by() {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(move |request, stream| {
        let n = count.fetch_add(1, SeqCst) + 1;
        let language = request.get("accept-language").unwrap_or("-");
        let headers = "cache-control: max-age=60\r\nvary: Accept-Language\r\n";
        write_response(
            stream,
            "200 OK",
            headers,
            format!("{language} {n}").as_bytes(),
        );
        true
    });
    let running = cached(&origin, "key_headers = ['x-tier']");
    let ask = |lines: &str| with(running.addr, "GET", "/", lines).text();
    assert_eq!(ask("accept-language: de\r\n"), "de 1");
    assert_eq!(ask("accept-language: en\r\n"), "en 2");
    assert_eq!(ask(""), "- 3");
    assert_eq!(ask("accept-language: de\r\nx-tier: gold\r\n"), "de 4");
    assert_eq!(ask("accept-language: de\r\n"), "de 1");
    assert_eq!(ask("accept-language: en\r\n"), "en 2");
    assert_eq!(ask(""), "- 3");
    assert_eq!(ask("accept-language: de\r\nx-tier: gold\r\n"), "de 4");
}

#[test]
fn a_write_puts_what_it_changes_out_of_date() {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(move |request, stream| {
        let n = count.fetch_add(1, SeqCst) + 1;
        let get = request.start.starts_with("GET");
        let status = if request.start.contains("/fails") {
            "500 No"
        } else {
            "200 OK"
        };
        let headers = if get {
            "cache-control: max-age=60\r\n"
        } else {
            "content-location: /also\r\nlocation: http://other/elsewhere\r\n"
        };
        write_response(
            stream,
            if get { "200 OK" } else { status },
            headers,
            n.to_string().as_bytes(),
        );
        true
    });
    // The write takes another route than the read.
    let routes = "\n[[routes]]\npath_prefix = '/'\nmethods = ['POST', 'PUT']\n";
    let running = cached(&origin, routes);
    for path in ["/a", "/also", "/elsewhere", "/fails"] {
        get(running.addr, path);
    }
    assert_eq!(get(running.addr, "/a").text(), "1");
    with(running.addr, "POST", "/a", "content-length: 0\r\n");
    with(running.addr, "PUT", "/fails", "content-length: 0\r\n");
    for (path, body) in [
        ("/a", "7"),
        ("/also", "8"),
        ("/elsewhere", "3"),
        ("/fails", "4"),
    ] {
        assert_eq!(get(running.addr, path).text(), body, "{path}");
    }
    assert_eq!(fills(&running, "invalidated"), 2.0);
}

#[test]
fn what_a_trusted_proxy_says_is_part_of_the_key() {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(move |request, stream| {
        let n = count.fetch_add(1, SeqCst) + 1;
        let host = request.get("x-forwarded-host").unwrap_or("-");
        let headers = "cache-control: max-age=60\r\n";
        write_response(stream, "200 OK", headers, format!("{host} {n}").as_bytes());
        true
    });
    let running = Setup::to(origin.addr)
        .listener("trusted_proxies = ['127.0.0.0/8']\n")
        .rest(super::ROUTE)
        .start();
    let ask = |method: &str, host: &str| {
        let lines = format!("x-forwarded-host: {host}\r\n");
        with(running.addr, method, "/", &lines).text()
    };
    assert_eq!(
        (ask("GET", "a"), ask("GET", "b")),
        ("a 1".into(), "b 2".into())
    );
    assert_eq!(
        (ask("GET", "a"), ask("GET", "b")),
        ("a 1".into(), "b 2".into())
    );
    // A write reaches what its own proxy has asked for.
    ask("DELETE", "a");
    assert_eq!(
        (ask("GET", "a"), ask("GET", "b")),
        ("a 4".into(), "b 2".into())
    );
}

#[test]
fn what_says_nothing_is_kept_where_that_is_wanted() {
    let origin = counting("");
    let running = cached(&origin, "default_ttl = '60s'");
    assert_eq!(get(running.addr, "/").text(), "1");
    assert_eq!(get(running.addr, "/").text(), "1");
    for who in ["cookie: a=b\r\n", "authorization: Basic eA==\r\n"] {
        assert_ne!(with(running.addr, "GET", "/", who).text(), "1", "{who}");
    }
    let plain = cached(&counting(""), "");
    assert_eq!(
        (get(plain.addr, "/").text(), get(plain.addr, "/").text()),
        ("1".into(), "2".into())
    );
}

#[test]
fn cookies_may_be_told_to_mean_nothing() {
    let origin = counting("cache-control: max-age=60\r\n");
    let running = cached(&origin, "ignore_cookies = true");
    for cookie in ["a=b", "a=c"] {
        assert_eq!(
            with(running.addr, "GET", "/", &format!("cookie: {cookie}\r\n")).text(),
            "1"
        );
    }
}

#[test]
fn what_is_ignored_of_a_query_does_not_reach_the_origin() {
    let origin = Origin::serving(|request, stream| {
        write_response(
            stream,
            "200 OK",
            "cache-control: max-age=60\r\n",
            request.start.as_bytes(),
        );
        true
    });
    let running = cached(&origin, "ignore_query = ['utm']");
    let line = "GET /a?x=1 HTTP/1.1";
    assert_eq!(get(running.addr, "/a?utm=poison&x=1").text(), line);
    assert_eq!(get(running.addr, "/a?x=1&utm").text(), line);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn what_is_too_long_passes_whole_and_is_not_kept() {
    for chunked in [false, true] {
        let origin = Origin::serving(move |_, stream| {
            let body = vec![b'x'; 5_000];
            if chunked {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncache-control: max-age=60\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
                for piece in body.chunks(500) {
                    let _ = write!(stream, "{:x}\r\n", piece.len());
                    let _ = stream.write_all(piece);
                    let _ = stream.write_all(b"\r\n");
                }
                let _ = stream.write_all(b"0\r\n\r\n");
            } else {
                write_response(stream, "200 OK", "cache-control: max-age=60\r\n", &body);
            }
            true
        });
        let running = cached(&origin, "max_size = '4KiB'");
        for n in 1..=2 {
            let answer = get(running.addr, "/");
            assert!(answer.complete, "{chunked}");
            assert_eq!(answer.body.len(), 5_000, "{chunked}");
            assert_eq!(origin.requests(), n);
        }
        assert_eq!(fills(&running, "too-large"), 2.0);
        assert_all_free(&running);
        let enough = cached(&origin, "max_size = '8KiB'");
        for _ in 0..2 {
            assert_eq!(get(enough.addr, "/").body.len(), 5_000);
        }
        assert_eq!(origin.requests(), 3, "{chunked}");
    }
}

#[test]
fn a_body_that_breaks_off_is_not_kept() {
    let count = AtomicUsize::new(0);
    let origin = Origin::serving(move |_, stream| {
        if count.fetch_add(1, SeqCst) == 0 {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncache-control: max-age=60\r\n\r\nhalf";
            let _ = stream.write_all(head.as_bytes());
            return false;
        }
        write_response(
            stream,
            "200 OK",
            "cache-control: max-age=60\r\n",
            b"0123456789",
        );
        true
    });
    let running = cached(&origin, "");
    assert!(!get(running.addr, "/").complete);
    let second = get(running.addr, "/");
    assert_eq!(
        (second.complete, second.text().as_str()),
        (true, "0123456789")
    );
    assert_all_free(&running);
}
