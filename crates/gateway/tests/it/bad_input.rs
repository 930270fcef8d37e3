//! Hostile and mistaken requests: a clear error, nothing at the origin, and others go on.

use crate::support::{Client, Origin, Setup, ask, assert_all_free, eventually, get};

#[test]
fn malformed_requests() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    for request in [
        "\0\x01\x02\x03\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nbad header: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded: 2\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n",
        "GET http://u:p@a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let response = ask(gateway.addr, request);
        assert_eq!(response.status(), 400, "{request:?}");
    }
    assert_eq!(origin.requests(), 0);
    assert_eq!(get(gateway.addr, "/").status(), 200);
    assert_all_free(&gateway);
}

#[test]
fn conflicting_lengths_never_reach_the_origin() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    for lengths in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: -5",
        "content-length: +5",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length: 99999999999999999999",
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: gzip",
        "transfer-encoding : chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\n{lengths}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
        );
        let mut client = Client::connect(gateway.addr);
        let response = client.send(&request).response().unwrap_or_default();
        assert_eq!(response.status(), 400, "{lengths:?}");
        assert!(client.is_closed(), "{lengths:?}");
    }
    assert_eq!(origin.requests(), 0);
    assert_all_free(&gateway);
}

#[test]
fn conflicting_lengths_behind_another_request() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let conflicting = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let firsts = [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\n\r\nbody\r\n\r",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\n\n\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n",
    ];
    for first in firsts {
        let mut client = Client::connect(gateway.addr);
        client.send(format!("{first}{conflicting}"));
        assert_eq!(client.response().unwrap().status(), 200, "{first:?}");
        let second = client.response().unwrap_or_default();
        assert_eq!(second.status(), 400, "{first:?} {second:?}");
        assert!(client.is_closed(), "{first:?}");
    }
    assert_eq!(origin.requests(), firsts.len());
    // Refused before its body was read, so that the body comes while nothing is under way.
    let gateway = Setup::to(origin.addr).listener("max_headers = 8\n").start();
    let many: String = (0..9).map(|i| format!("x{i}: 1\r\n")).collect();
    let mut client = Client::connect(gateway.addr);
    let lost = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 21\r\n";
    client.send(format!(
        "{lost}{many}\r\nGET / HTTP/1.1\r\n\r\nxyz{conflicting}"
    ));
    assert_eq!(client.response().unwrap().status(), 431);
    assert!(
        client
            .response()
            .is_none_or(|second| second.status() == 400)
    );
    assert!(client.is_closed());
    assert_eq!(origin.requests(), firsts.len());
    assert_all_free(&gateway);
}

#[test]
fn chunked_requests_sent_ahead_are_served() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    let chunked =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r\n";
    let plain = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.send([chunked, chunked, plain, chunked].concat());
    for _ in 0..4 {
        let response = client.response().unwrap();
        assert_eq!(
            (response.status(), response.get("connection")),
            (200, None),
            "the connection goes on"
        );
    }
    assert_eq!(client.send(chunked).response().unwrap().status(), 200);
    assert_eq!(origin.requests(), 5);
}

#[test]
fn malformed_chunks() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    for chunk in [
        "x\r\n",
        "-1\r\n",
        "ffffffffffffffffff\r\n",
        "3\r\nabcdef\r\n",
        "3\nabc",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
        );
        let response = ask(gateway.addr, &request);
        assert!(
            matches!(response.status(), 0 | 400),
            "{chunk:?} {response:?}"
        );
    }
    assert_eq!(origin.requests(), 0);
    assert_all_free(&gateway);
}

#[test]
fn oversized_headers() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr)
        .listener("max_header_bytes = '16KiB'\n")
        .start();
    let one = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "v".repeat(17 << 10)
    );
    let many: String = (0..200).map(|i| format!("x-{i}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    let endless = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "v".repeat(1 << 20));
    let line = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "v".repeat(100 << 10));
    for request in [one, many, endless, line] {
        let mut client = Client::connect(gateway.addr);
        client.send(&request);
        let got = client.response().map(|response| response.status());
        assert_eq!(got, Some(431), "{}", &request[..40]);
        drop(client);
    }
    eventually("nobody is heard out for ever", || {
        gateway.connections() == 0
    });
    let fits = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n",
        "v".repeat(12 << 10)
    );
    assert_eq!(ask(gateway.addr, &fits).status(), 200);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn as_many_headers_as_may_be() {
    let origin = Origin::echo();
    for most in [20, 100, 300] {
        let gateway = Setup::to(origin.addr)
            .listener(&format!("max_headers = {most}\n"))
            .start();
        for (count, status) in [(most, 200), (most + 1, 431)] {
            // `host` and `connection` are two of them.
            let headers: String = (2..count).map(|i| format!("x-{i}: 1\r\n")).collect();
            let request =
                format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
            let got = ask(gateway.addr, &request).status();
            assert_eq!(got, status, "{count} of {most}");
        }
    }
}

const FORGED: &str = "seawall-criticality: critical-plus\r\nseawall-tenant: victim\r\nseawall-cost: 0\r\nseawall-attempt: 1\r\n\
                      seawall-under-way: k1.9.9.9.9\r\ngrpc-timeout: 1S\r\n";

#[test]
fn forged_context_ends_at_the_edge() {
    let origin = Origin::echo();
    let edge = Setup::to(origin.addr).start();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{FORGED}seawall-timeout-ms: 60000\r\n\r\n"
    );
    let echo = ask(edge.addr, &request);
    assert_eq!(echo.status(), 200);
    // All that is left is the time that the client itself will wait.
    let text = echo.text();
    let left: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("seawall-") || line.starts_with("grpc-"))
        .collect();
    assert!(
        left.len() == 1 && left[0].starts_with("seawall-timeout-ms: "),
        "{text}"
    );
    let left: u64 = left[0]["seawall-timeout-ms: ".len()..].parse().unwrap();
    assert!(left <= 1_000, "the shorter holds: {left}");

    let inside = Setup::to(origin.addr)
        .listener("trust = 'internal'\n")
        .start();
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{FORGED}\r\n");
    let echo = ask(inside.addr, &request).text();
    for line in [
        "seawall-criticality: critical-plus",
        "seawall-tenant: victim",
        "seawall-cost: 1",
        "seawall-attempt: 1",
    ] {
        assert!(echo.contains(&format!("\n{line}\n")), "{line} in\n{echo}");
    }
    let left = echo
        .lines()
        .find_map(|line| line.strip_prefix("seawall-timeout-ms: "))
        .unwrap();
    assert!(
        (1..=1_000).contains(&left.parse::<u64>().unwrap()),
        "{left}"
    );
}

#[test]
fn deadlines_of_every_kind() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr)
        .listener("trust = 'internal'\n")
        .start();
    let ask = |value: &str| {
        ask(
            gateway.addr,
            &format!(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nseawall-timeout-ms: {value}\r\n\r\n"
            ),
        )
    };
    for up in ["0", "-1", "-99999999999999999999"] {
        let response = ask(up);
        assert_eq!(
            (response.status(), response.get("seawall-reject")),
            (504, Some("reason=deadline; scope=route; retry=no")),
            "{up}"
        );
    }
    assert_eq!(origin.requests(), 0);
    for passes in [
        "99999999999999999999999999",
        "garbage",
        "",
        "1e3",
        "60000",
        "\u{7f}",
    ] {
        let status = ask(passes).status();
        assert!(
            status == 200 || passes == "\u{7f}" && status == 400,
            "{passes} {status}"
        );
    }
    let shadow = Setup::to(origin.addr)
        .listener("trust = 'internal'\n")
        .rest("[deadline]\nshadow = true\n")
        .start();
    let late = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nseawall-timeout-ms: 0\r\n\r\n";
    assert_eq!(crate::support::ask(shadow.addr, late).status(), 200);
    assert_eq!(
        crate::support::metric(
            &shadow,
            "seawall_shadow_rejections_total{reason=\"deadline\"}"
        ),
        1.0
    );
}

#[test]
fn targets_and_encodings_that_nobody_needs() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    for (request, status) in [
        ("GET foo HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        (
            "\r\nPOST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
    ] {
        assert_eq!(ask(gateway.addr, request).status(), status, "{request}");
    }
    assert_eq!(origin.requests(), 0);
    assert_all_free(&gateway);
}

#[test]
fn first_bytes_one_by_one_and_none_after_them() {
    let origin = Origin::echo();
    let gateway = Setup::to(origin.addr).start();
    let mut client = Client::connect(gateway.addr);
    for byte in "PRO / HTTP/1.1\r\nhost: a\r\n\r\n".bytes() {
        client.send([byte]);
    }
    assert_eq!(client.response().unwrap_or_default().status(), 200);
    // Half of HTTP/2's preface, and an end: noticed at once, not at the limit on headers.
    let mut client = Client::connect(gateway.addr);
    client.send("PR");
    let stream = client.stream.get_ref();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let limit = std::time::Duration::from_secs(2);
    stream.set_read_timeout(Some(limit)).unwrap();
    assert!(client.is_closed());
}

const TRAILERS: &[(&str, &str)] = &[
    ("seawall-timeout-ms", "60000"),
    ("seawall-criticality", "critical-plus"),
    ("seawall-tenant", "victim"),
    ("seawall-cost", "0"),
    ("seawall-attempt", "1"),
    ("seawall-retried", "1"),
    ("seawall-under-way", "k1.9.9.9.9"),
    ("grpc-timeout", "1S"),
    ("go-timeout", "1"),
    ("x-envoy-expected-rq-timeout-ms", "1"),
    ("x-forwarded-for", "10.0.0.1"),
    ("forwarded", "for=10.0.0.1"),
    ("via", "1.1 friend"),
    ("host", "victim"),
    ("authorization", "Basic eDp5"),
    ("content-length", "5"),
    ("content-type", "text/html"),
    ("transfer-encoding", "chunked"),
    ("te", "trailers"),
    ("connection", "close"),
    ("keep-alive", "timeout=1"),
    ("x-checksum", "1234"),
];

/// Answers with the names of the trailers that came.
async fn origin_of_trailers(http2: bool) -> std::net::SocketAddr {
    use http_body_util::BodyExt;
    use hyper::server::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let port = seawall_testkit::free_port().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = |request: http::Request<hyper::body::Incoming>| async {
                let body = request.into_body().collect().await.unwrap();
                let trailers = body.trailers().cloned().unwrap_or_default();
                let names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
                let names = bytes::Bytes::from(names.join(" "));
                Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(
                    names,
                )))
            };
            let (io, service) = (TokioIo::new(stream), hyper::service::service_fn(service));
            if http2 {
                let builder = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(builder.serve_connection(io, service));
            } else {
                tokio::spawn(http1::Builder::new().serve_connection(io, service));
            }
        }
    });
    addr
}

#[tokio::test]
async fn trailers_say_nothing_of_the_request() {
    use http_body_util::BodyExt;
    for (trust, protocol) in [("edge", "h1"), ("edge", "h2"), ("internal", "h2")] {
        let origin = origin_of_trailers(protocol == "h2").await;
        let gateway = Setup::to(origin)
            .upstream(&format!("protocol = '{protocol}'\n"))
            .listener(&format!("trust = '{trust}'\n"))
            .start();
        let named: Vec<_> = TRAILERS.iter().map(|(name, _)| *name).collect();
        let lines: String = TRAILERS
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n\r\n4\r\nbody\r\n0\r\n{lines}\r\n",
            named.join(", ")
        );
        let addr = gateway.addr;
        let asked = tokio::task::spawn_blocking(move || ask(addr, &request));
        let response = asked.await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.text(), "x-checksum", "HTTP/1.1 to {protocol}");

        // What HTTP/2 forbids anywhere would be refused before it is looked at.
        let allowed = TRAILERS.iter().filter(|(name, _)| {
            !["transfer-encoding", "te", "connection", "keep-alive"].contains(name)
        });
        let trailers: http::HeaderMap = allowed
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let (frames, body) = tokio::sync::mpsc::channel(2);
        let data = hyper::body::Frame::data(bytes::Bytes::from_static(b"body"));
        for frame in [data, hyper::body::Frame::trailers(trailers)] {
            frames.send(frame).await.unwrap();
        }
        drop(frames);
        // Of no announced length, as otherwise HTTP/1.1 has no place for trailers.
        let body = http_body_util::StreamBody::new(crate::h2::tokio_stream(body)).boxed();
        let request = http::Request::post(format!("http://{addr}/"))
            .header("trailer", named.join(", "))
            .body(body)
            .unwrap();
        let response = crate::h2::connect(addr).await.send_request(request).await;
        let body = response.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "x-checksum", "HTTP/2 to {protocol}");
    }
}
