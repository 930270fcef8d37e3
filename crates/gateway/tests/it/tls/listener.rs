//! The side of the clients.

use std::io::Write;
use std::process::Command;

use http_body_util::Full;
use rustls::HandshakeKind;
use seawall_gateway::Running;
use tokio::io::AsyncReadExt;

use super::{Authority, Http, connect, shown};
use crate::support::{
    Client, Message, Origin, Setup, assert_all_free, eventually, get, metric, write_response,
};

const BOTH: &[&str] = &["h2", "http/1.1"];

/// A gateway with one certificate, for `shop.test`.
fn gateway(authority: &Authority, origin: &Origin, tls: &str) -> Running {
    authority.store("shop", &authority.issue(&["shop.test"]));
    Setup::to(origin.addr)
        .listener(&format!(
            "[listeners.default.tls]\n{tls}\n{}",
            authority.listed("shop")
        ))
        .start()
}

#[tokio::test]
async fn alpn_chooses_the_protocol() {
    let authority = Authority::new();
    let running = gateway(&authority, &Origin::echo(), "");
    for (alpn, http2) in [
        (BOTH, true),
        (&["http/1.1", "h2"], true),
        (&["http/1.1"], false),
        (&["h2"], true),
        (&[], false),
    ] {
        let stream = connect(running.addr, &authority.client(None, alpn), "shop.test");
        let mut http = Http::on(stream.await.unwrap()).await;
        assert_eq!(matches!(http, Http::Two(_)), http2, "{alpn:?}");
        let (status, body) = http.get("/a").await.unwrap();
        assert_eq!(status, 200);
        assert!(body.contains("x-forwarded-proto: https"), "{body}");
        assert!(body.contains("host: shop.test"), "{body}");
    }
    let other = connect(running.addr, &authority.client(None, &["ftp"]), "shop.test");
    // The alert is not overtaken by a reset.
    let error = other.await.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    eventually("it is counted", || {
        metric(&running, "seawall_faults_total{fault=\"tls-handshake\"}") == 1.0
    });
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let authority = Authority::new();
    let [shop, wild] =
        [&["shop.test"][..], &["*.wild.test", "Mixed.Test"]].map(|names| authority.issue(names));
    authority.store("shop", &shop);
    authority.store("wild", &wild);
    let running = Setup::to(Origin::echo().addr)
        .listener(&(authority.listed("shop") + &authority.listed("wild")))
        .start();
    let config = authority.client(None, BOTH);
    for (name, certificate) in [
        ("shop.test", &shop),
        ("a.wild.test", &wild),
        ("mixed.test", &wild),
    ] {
        let stream = connect(running.addr, &config, name).await.unwrap();
        assert_eq!(shown(&stream), certificate.chain()[0], "{name}");
    }
    // A wildcard is for one level, and who asks for none of the names is shown the first.
    for name in ["a.b.wild.test", "other.test", "127.0.0.1"] {
        let error = connect(running.addr, &config, name).await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
        assert!(error.to_string().contains("shop.test"), "{error}");
    }
}

#[tokio::test]
async fn clients_show_certificates() {
    let authority = Authority::new();
    let stranger = Authority::new().issue(&["client"]);
    let known = authority.issue(&["client"]);
    let old = authority.issue_until(&["client"], 2021);
    let served = async |running: &Running, identity| {
        // In TLS 1.3 a client learns only with the first reply that it was refused.
        let config = authority.client(identity, BOTH);
        let stream = connect(running.addr, &config, "shop.test").await.ok()?;
        Http::on(stream).await.get("/").await.ok()
    };
    let origin = Origin::echo();
    for (auth, without, with_stranger) in [
        ("required", false, false),
        ("optional", true, false),
        ("off", true, true),
    ] {
        let tls = format!(
            "client_auth = \"{auth}\"\nclient_ca = \"{}\"",
            authority.ca()
        );
        let running = gateway(&authority, &origin, &tls);
        assert!(served(&running, Some(&known)).await.is_some(), "{auth}");
        assert_eq!(served(&running, None).await.is_some(), without, "{auth}");
        for identity in [&stranger, &old] {
            let taken = served(&running, Some(identity)).await.is_some();
            assert_eq!(taken, with_stranger, "{auth}");
        }
        let refused = f64::from(u8::from(!without)) + if with_stranger { 0.0 } else { 2.0 };
        eventually("each is counted", || {
            metric(&running, "seawall_faults_total{fault=\"tls-handshake\"}") == refused
        });
    }
}

#[tokio::test]
async fn only_tls_1_3_where_that_is_asked_for() {
    let authority = Authority::new();
    let running = gateway(&authority, &Origin::echo(), "min_version = \"1.3\"");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    for (version, taken) in [
        (&rustls::version::TLS12, false),
        (&rustls::version::TLS13, true),
    ] {
        let config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(authority.roots())
            .with_no_client_auth();
        assert_eq!(
            connect(running.addr, &config, "shop.test").await.is_ok(),
            taken
        );
    }
}

#[test]
fn curl_is_a_client() {
    let authority = Authority::new();
    let running = gateway(&authority, &Origin::echo(), "");
    let port = running.addr.port();
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "10", flag])
            .args(["--cacert", &authority.ca()])
            .args(["--resolve", &format!("shop.test:{port}:127.0.0.1")])
            .args(["--write-out", "\n%{http_version}", "--data", "hello"])
            .arg(format!("https://shop.test:{port}/a"))
            .output()
            .expect("install it with: apt-get install --yes curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("hello"), "{text}{error}");
        assert!(text.ends_with(&format!("\n{version}")), "{text}{error}");
    }
}

#[tokio::test]
async fn a_large_body_passes_both_ways() {
    let authority = Authority::new();
    let running = gateway(&authority, &Origin::echo(), "");
    let body = "0123456789abcdef".repeat(1 << 17);
    for alpn in [&["h2"], &["http/1.1"]] {
        let stream = connect(running.addr, &authority.client(None, alpn), "shop.test");
        let mut http = Http::on(stream.await.unwrap()).await;
        let uri = match http {
            Http::One(_) => "/",
            Http::Two(_) => "https://shop.test/",
        };
        let request = http::Request::post(uri).header("host", "shop.test");
        let request = request.body(Full::from(body.clone())).unwrap();
        let (status, echo) = http.send(request).await.unwrap();
        assert_eq!(status, 200);
        assert!(echo.ends_with(&body), "{} bytes", echo.len());
    }
    assert_all_free(&running);
}

#[tokio::test]
async fn certificates_change_under_live_connections() {
    let authority = Authority::new();
    let running = gateway(&authority, &Origin::echo(), "");
    let config = authority.client(None, BOTH);
    let first = connect(running.addr, &config, "shop.test").await.unwrap();
    let before = shown(&first);
    let mut old = Http::on(first).await;
    assert_eq!(old.get("/").await.unwrap().0, 200);

    let next = authority.issue_until(&["shop.test"], 2090);
    authority.store("shop", &next);
    let reloads = |result| {
        metric(
            &running,
            &format!("seawall_certificate_reloads_total{{result=\"{result}\"}}"),
        )
    };
    eventually("it is taken up", || reloads("taken") == 1.0);
    let second = connect(running.addr, &config, "shop.test").await.unwrap();
    assert_eq!(shown(&second), next.chain()[0]);
    assert_ne!(before, next.chain()[0]);
    assert_eq!(old.get("/").await.unwrap().0, 200);
    let file = authority.path("shop.pem").display().to_string();
    let labels = format!("setting=\"listeners.default.tls.certificates[0].cert\",file=\"{file}\"");
    let until = metric(
        &running,
        &format!("seawall_certificate_not_after_seconds{{{labels}}}"),
    );
    assert_eq!(until, 3_786_912_000.0);

    // The key of another certificate.
    authority.write("shop.key", &authority.issue(&["shop.test"]).key);
    eventually("it is refused", || reloads("refused") == 1.0);
    let third = connect(running.addr, &config, "shop.test").await.unwrap();
    assert_eq!(shown(&third), next.chain()[0]);
    assert_eq!(old.get("/").await.unwrap().0, 200);
    let explained = get(running.admin, "/explain?text").text();
    assert!(explained.contains("until 2090-01-01"), "{explained}");
    assert!(explained.contains("shop.test"), "{explained}");
    assert_eq!(reloads("taken"), 1.0);
}

/// A session that is resumed is not checked again, so it must not outlive the authority that its
/// certificate was issued by.
#[tokio::test]
async fn no_session_outlives_its_authority() {
    let (authority, next) = (Authority::new(), Authority::new());
    let tls = format!(
        "client_auth = \"required\"\nclient_ca = \"{}\"",
        authority.ca()
    );
    let running = gateway(&authority, &Origin::echo(), &tls);
    let config = authority.client(Some(&authority.issue(&["client"])), BOTH);
    let visit = async || {
        let stream = connect(running.addr, &config, "shop.test").await.ok()?;
        let kind = stream.get_ref().1.handshake_kind();
        Http::on(stream).await.get("/").await.ok()?;
        kind
    };
    assert_eq!(visit().await, Some(HandshakeKind::Full));
    assert_eq!(visit().await, Some(HandshakeKind::Resumed));
    authority.write("ca.pem", &next.pem);
    eventually("it is taken up", || {
        metric(
            &running,
            "seawall_certificate_reloads_total{result=\"taken\"}",
        ) == 1.0
    });
    assert_eq!(visit().await, None);
}

#[tokio::test]
async fn slow_and_senseless_handshakes_hold_nobody_up() {
    let authority = Authority::new();
    let origin = Origin::echo();
    authority.store("shop", &authority.issue(&["shop.test"]));
    let running = Setup::to(origin.addr)
        .listener(&format!(
            "header_timeout = \"600ms\"\n{}",
            authority.listed("shop")
        ))
        .start();
    let fault = |name| {
        metric(
            &running,
            &format!("seawall_faults_total{{fault=\"{name}\"}}"),
        )
    };
    let silent: Vec<_> = (0..100).map(|_| Client::connect(running.addr)).collect();
    let mut slow: Vec<_> = (0..100).map(|_| Client::connect(running.addr)).collect();
    for client in &mut slow {
        // The beginning of a record that never comes.
        client.send([22, 3, 1, 2, 0, 1]);
    }
    let config = authority.client(None, BOTH);
    let stream = connect(running.addr, &config, "shop.test").await.unwrap();
    assert_eq!(Http::on(stream).await.get("/").await.unwrap().0, 200);
    for mut client in slow.into_iter().chain(silent) {
        assert!(client.is_closed());
    }
    assert_eq!(fault("connection-cut"), 200.0);
    assert_eq!(fault("tls-handshake"), 0.0);

    for garbage in [&[22, 3, 1, 0, 4, 9, 9, 9, 9][..], &[22; 2000]] {
        assert!(Client::connect(running.addr).send(garbage).is_closed());
    }
    assert_eq!(fault("tls-handshake"), 2.0);
    assert!(Client::connect(running.addr).send([0; 70_000]).is_closed());
    assert_eq!(fault("not-tls"), 1.0);
    // Who looks whether we are there is no fault.
    drop(Client::connect(running.addr));
    eventually("all have gone", || running.connections() == 1);
    assert_eq!((fault("tls-handshake"), fault("not-tls")), (2.0, 1.0));
}

#[test]
fn http_in_the_clear_is_told_so() {
    let authority = Authority::new();
    let running = gateway(&authority, &Origin::echo(), "");
    let told: Message = get(running.addr, "/");
    assert_eq!((told.status(), told.complete), (400, true));
    assert_eq!(told.text(), "this port speaks TLS: use https://");
    assert_eq!(
        metric(&running, "seawall_faults_total{fault=\"not-tls\"}"),
        1.0
    );
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let authority = Authority::new();
    let origin = Origin::serving(|_, stream| {
        write_response(stream, "200 OK", "", &vec![b'x'; 16 << 20]);
        true
    });
    authority.store("shop", &authority.issue(&["shop.test"]));
    let running = Setup::to(origin.addr)
        .listener(&format!(
            "write_timeout = \"300ms\"\n{}",
            authority.listed("shop")
        ))
        .start();
    let config = authority.client(None, &["http/1.1"]);
    let mut stream = connect(running.addr, &config, "shop.test").await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request)
        .await
        .unwrap();
    assert!(stream.read(&mut [0; 16]).await.unwrap() > 0);
    eventually("it is cut", || {
        metric(&running, "seawall_faults_total{fault=\"connection-cut\"}") == 1.0
    });
    assert_all_free(&running);
    drop(stream);
}

#[tokio::test]
async fn a_drain_lets_requests_finish() {
    let authority = Authority::new();
    let (arrived, release) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    let (arrives, released) = (arrived.0, std::sync::Mutex::new(release.1));
    let origin = Origin::serving(move |_, stream| {
        arrives.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
        true
    });
    let running = gateway(&authority, &origin, "");
    let config = authority.client(None, BOTH);
    let stream = connect(running.addr, &config, "shop.test").await.unwrap();
    let mut http = Http::on(stream).await;
    let asked = tokio::spawn(async move { http.get("/").await });
    tokio::task::spawn_blocking(move || arrived.1.recv().unwrap())
        .await
        .unwrap();
    running.drain();
    release.0.send(()).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), (200, "done".to_owned()));
    eventually("drained", || running.is_drained());
}
