//! The side of the origins.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rustls::server::WebPkiClientVerifier;
use seawall_gateway::{Gateway, Running, StartError};
use seawall_testkit::{Recipe, Server};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;

use super::{Authority, Http, TlsOrigin, connect, protocols, server};
use crate::support::{Origin, Setup, assert_all_free, eventually, get, metric};

const BOTH: &[&str] = &["h2", "http/1.1"];

/// It would answer in the place of what is looked at.
const NO_BREAKER: &str = "[upstreams.default.breaker]\nkind = \"off\"\n";

fn gateway(url: &str, tls: &str, more: &str) -> Running {
    Setup::to_url(url)
        .upstream(&format!(
            "{more}\n{NO_BREAKER}[upstreams.default.tls]\n{tls}\n"
        ))
        .start()
}

fn trusting(authority: &Authority) -> String {
    format!("ca = \"{}\"\n", authority.ca())
}

/// What `/explain` says of the last connection that could not be opened.
fn why(running: &Running) -> String {
    let explained = get(running.admin, "/explain").text();
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    let why = &explained["upstreams"][0]["last_unreachable"]["why"];
    why.as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_origin_chooses_the_protocol() {
    let authority = Authority::new();
    for (offered, protocol, answered) in [
        (BOTH, "auto", "HTTP/2.0 https"),
        (&["h2"][..], "auto", "HTTP/2.0 https"),
        (&["http/1.1"], "auto", "HTTP/1.1 none"),
        (&[], "auto", "HTTP/1.1 none"),
        (BOTH, "h1", "HTTP/1.1 none"),
        (BOTH, "h2", "HTTP/2.0 https"),
    ] {
        let origin = TlsOrigin::of(&authority, offered);
        let more = format!("protocol = \"{protocol}\"");
        let running = gateway(&origin.url(), &trusting(&authority), &more);
        for _ in 0..3 {
            let response = get(running.addr, "/");
            assert_eq!(
                response.text(),
                format!("{answered}\n"),
                "{offered:?} {protocol}"
            );
        }
        // Each core keeps its own.
        let cores = std::thread::available_parallelism().unwrap().get();
        let opened = origin.handshakes.load(Ordering::SeqCst);
        assert!(
            opened <= cores,
            "{opened} connections: {offered:?} {protocol}"
        );
        assert_all_free(&running);
    }
}

#[test]
fn an_origin_that_offers_http2_no_more_is_asked_again() {
    let authority = Authority::new();
    let origin = TlsOrigin::of(&authority, BOTH);
    let tls = trusting(&authority)
        + "[upstreams.default.retry]
attempts = 1
";
    let running = gateway(&origin.url(), &tls, "idle_timeout = \"10ms\"");
    assert_eq!(get(running.addr, "/").text(), "HTTP/2.0 https\n");
    origin.offers.lock().alpn_protocols = protocols(&["http/1.1"]);
    // One call finds out; nothing was sent.
    eventually("it is spoken to in HTTP/1.1", || {
        let response = get(running.addr, "/");
        let text = response.text();
        match response.status() {
            502 => assert_eq!(why(&running), "the origin does not offer HTTP/2"),
            _ => assert!(text.starts_with("HTTP/"), "{text}"),
        }
        text == "HTTP/1.1 none\n"
    });
    assert!(
        metric(
            &running,
            "seawall_faults_total{fault=\"origin-unreachable\"}"
        ) <= 2.0
    );
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_apart() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let names = &["localhost"];
    for (issued, said) in [
        (
            authority.issue_until(names, 2021),
            "has expired (2021-01-01)",
        ),
        (
            authority.issue(&["a.test", "b.test"]),
            "is not for `localhost` but for",
        ),
        (
            stranger.issue(names),
            "is issued by an authority that is not trusted",
        ),
    ] {
        let origin = TlsOrigin::start(server(&issued, BOTH));
        let running = gateway(&origin.url(), &trusting(&authority), "");
        for _ in 0..2 {
            let response = get(running.addr, "/");
            assert_eq!(response.status(), 502, "{said}");
            let reject = response.get("seawall-reject").unwrap_or_default();
            assert!(reject.starts_with("reason=unreachable;"), "{reject}");
        }
        let why = why(&running);
        assert!(why.contains(said), "{why}");
        let explained = get(running.admin, "/explain?text").text();
        assert!(explained.contains(said), "{explained}");
        assert_all_free(&running);
    }
}

#[test]
fn an_origin_without_tls_is_no_hang() {
    let authority = Authority::new();
    for (answer, said) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"),
        ("", "does it speak TLS"),
    ] {
        let origin = Origin::raw(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let url = format!("https://localhost:{}", origin.addr.port());
        let running = gateway(&url, &trusting(&authority), "");
        assert_eq!(get(running.addr, "/").status(), 502);
        let why = why(&running);
        assert!(why.contains(said), "{why}");
    }
    // And one that says nothing at all.
    let silent = Origin::raw(|stream| {
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    let url = format!("https://localhost:{}", silent.addr.port());
    let running = gateway(&url, &trusting(&authority), "connect_timeout = \"200ms\"");
    assert_eq!(get(running.addr, "/").status(), 504);
}

#[test]
fn the_name_can_be_another_than_the_hosts() {
    let authority = Authority::new();
    let origin = TlsOrigin::start(server(&authority.issue(&["shop.internal"]), BOTH));
    let tls = trusting(&authority) + "server_name = \"shop.internal\"";
    let url = format!("https://{}", origin.addr);
    let running = gateway(&url, &tls, "");
    assert_eq!(get(running.addr, "/").status(), 200);
}

#[test]
fn an_origin_asks_for_our_certificate() {
    let authority = Authority::new();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider.clone())
            .build()
            .unwrap();
    let issued = authority.issue(&["localhost"]);
    for (versions, alpn) in [
        (&[&rustls::version::TLS12][..], BOTH),
        (&[&rustls::version::TLS13], BOTH),
        (&[&rustls::version::TLS13], &["http/1.1"]),
    ] {
        let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(issued.chain(), issued.private_key())
            .unwrap();
        config.alpn_protocols = protocols(alpn);
        let origin = TlsOrigin::start(config);
        authority.store("gateway", &authority.issue(&["gateway"]));
        let tls = trusting(&authority) + &authority.files("gateway");
        let running = gateway(&origin.url(), &tls, "");
        assert_eq!(get(running.addr, "/").status(), 200);

        let without = gateway(&origin.url(), &trusting(&authority), "");
        assert_eq!(get(without.addr, "/").status(), 502);
        // In TLS 1.3 the refusal may be overtaken by the reset that follows it.
        if versions[0].version == rustls::ProtocolVersion::TLSv1_2 {
            let why = why(&without);
            assert!(why.contains("wants another certificate"), "{why}");
        }
        assert_all_free(&without);
    }
}

#[test]
fn the_authority_changes() {
    let (authority, next) = (Authority::new(), Authority::new());
    let origin = TlsOrigin::start(server(&next.issue(&["localhost"]), BOTH));
    let running = gateway(&origin.url(), &trusting(&authority), "");
    assert_eq!(get(running.addr, "/").status(), 502);
    authority.write("ca.pem", &next.pem);
    eventually("it is trusted", || get(running.addr, "/").status() == 200);
}

/// Messages that are plain text.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let text = from.copy_to_bytes(from.remaining());
        String::from_utf8(text.into())
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

#[tokio::test]
async fn tonic_calls_over_tls_on_both_sides() {
    let authority = Authority::new();
    let origin = TlsOrigin::of(&authority, BOTH);
    authority.store("shop", &authority.issue(&["shop.test"]));
    let running = Setup::to_url(&origin.url())
        .listener(&authority.listed("shop"))
        .upstream(&format!(
            "[upstreams.default.tls]\n{}",
            trusting(&authority)
        ))
        .start();
    let (addr, config) = (running.addr, authority.client(None, &["h2"]));
    let connector = tower::service_fn(move |_| {
        let stream = connect(addr, &config, "shop.test");
        async move { stream.await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("https://shop.test")
        .connect_with_connector(connector)
        .await
        .unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let request = tonic::Request::new("hello".to_owned());
    let path = PathAndQuery::from_static("/pkg.Service/Call");
    let answer = client.unary(request, path, Text).await.unwrap();
    assert_eq!(
        answer.metadata().get("x-version").unwrap(),
        "HTTP/2.0 https"
    );
    assert_eq!(answer.into_inner(), "hello");
}

#[test]
fn nginx_is_an_origin() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let config = "
        worker_processes 1; daemon off; pid @dir@/pid; error_log stderr;
        events {}
        http {
            access_log off;
            server {
                listen 127.0.0.1:@port@ ssl http2;
                ssl_certificate @dir@/cert.pem;
                ssl_certificate_key @dir@/key.pem;
                location / { return 200 \"$server_protocol $ssl_server_name\"; }
            }
        }";
    let recipe = Recipe::nginx(config)
        .file("cert.pem", &issued.cert)
        .file("key.pem", &issued.key);
    let nginx = Server::start(&recipe).unwrap();
    let url = format!("https://localhost:{}", nginx.address().port());
    for (protocol, version) in [("auto", "HTTP/2.0"), ("h1", "HTTP/1.1")] {
        let more = format!("protocol = \"{protocol}\"");
        let running = gateway(&url, &trusting(&authority), &more);
        for _ in 0..3 {
            let response = get(running.addr, "/");
            assert_eq!(response.text(), format!("{version} localhost"));
        }
    }
}

/// A protocol that both sides change to passes through TLS on both.
#[tokio::test]
async fn an_upgrade_over_tls() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let port = seawall_testkit::free_port().unwrap();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server(&issued, BOTH)));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut head = [0; 4096];
        let mut read = 0;
        while !head[..read].ends_with(b"\r\n\r\n") {
            read += stream.read(&mut head[read..]).await.unwrap();
        }
        let reply =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        stream.write_all(reply).await.unwrap();
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.unwrap();
        stream.write_all(&said).await.unwrap();
        let _ = stream.shutdown().await;
    });
    authority.store("shop", &authority.issue(&["shop.test"]));
    let running = Setup::to_url(&format!("https://localhost:{port}"))
        .listener(&authority.listed("shop"))
        .upstream(&format!(
            "[upstreams.default.tls]\n{}",
            trusting(&authority)
        ))
        .start();
    let config = authority.client(None, &["http/1.1"]);
    let mut stream = connect(running.addr, &config, "shop.test").await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nhost: shop.test\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    stream.write_all(b"hello").await.unwrap();
    let mut echo = Vec::new();
    stream.read_to_end(&mut echo).await.unwrap();
    assert_eq!(echo, b"hello");
    drop(stream);
    eventually("it is over", || running.connections() == 0);
}

#[test]
fn a_gateway_with_files_that_cannot_be_used_does_not_start() {
    let text = "[upstreams.default]\nurl = \"https://a\"\n[upstreams.default.tls]\nca = \"/no/such/file\"\n";
    let config = seawall::config::Config::parse(text).unwrap();
    let Err(StartError::Certificate(error)) = Gateway::start(&config) else {
        panic!("it started");
    };
    assert!(
        error
            .to_string()
            .starts_with("`upstreams.default.tls.ca`: /no/such/file cannot be read"),
        "{error}"
    );
}

/// The HTTP/2 connection that found out what is offered is used.
#[tokio::test]
async fn one_connection_serves_a_burst() {
    let authority = Authority::new();
    let origin = TlsOrigin::of(&authority, BOTH);
    authority.store("shop", &authority.issue(&["shop.test"]));
    let running = Setup::to_url(&origin.url())
        .listener(&authority.listed("shop"))
        .upstream(&format!(
            "[upstreams.default.tls]\n{}",
            trusting(&authority)
        ))
        .start();
    let config = authority.client(None, &["h2"]);
    let stream = connect(running.addr, &config, "shop.test").await.unwrap();
    let Http::Two(send) = Http::on(stream).await else {
        panic!("not HTTP/2");
    };
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let mut http = Http::Two(send.clone());
            tokio::spawn(async move { http.get("/").await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), (200, "HTTP/2.0 https\n".to_owned()));
    }
    assert_eq!(origin.handshakes.load(Ordering::SeqCst), 1);
}
