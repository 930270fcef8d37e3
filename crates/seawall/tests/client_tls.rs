//! `seawall::Client` over TLS.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client_support;

use std::net::SocketAddr;
use std::sync::Arc;

use client_support::{listen, source};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use seawall::Client;
use seawall::client::{Builder, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An origin with a certificate of its own making for `origin.test`, and who believes it.
struct Origin {
    address: SocketAddr,
    believer: ClientConfig,
    serving: JoinHandle<()>,
}

impl Origin {
    /// Answers in this protocol alone.
    fn start(protocol: &'static [u8]) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["origin.test".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into())
            .unwrap();
        server.alpn_protocols = vec![protocol.to_vec()];
        let (listener, address) = listen();
        let listener = TcpListener::from_std(listener).unwrap();
        Self {
            address,
            believer: believer(roots),
            serving: tokio::spawn(serve(listener, server)),
        }
    }

    fn builder(&self, base: &str) -> Builder {
        Client::builder(base)
            .source(source([self.address]))
            .no_breaker()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn believer(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn serve(listener: TcpListener, server: ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(server));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            continue;
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_, mut reply) = connection.accept().await.unwrap().unwrap();
            reply.send_response(http::Response::new(()), true).unwrap();
            // Until the client has gone.
            while connection.accept().await.is_some() {}
        } else {
            let _ = stream.read(&mut [0; 1_024]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nanswer";
            stream.write_all(answer).await.unwrap();
            let _ = stream.shutdown().await;
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_believed_and_has_the_name() {
    let origin = Origin::start(b"http/1.1");
    let client = origin.builder("https://origin.test");
    let client = client.tls(origin.believer.clone()).build().unwrap();
    let answer = client.get("/x").await.unwrap();
    assert_eq!(answer.into_body().text().await.unwrap(), "answer");
    let error = client.get("http://origin.test/x").await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Uri(_)),
        "in the clear: {error}"
    );
}

#[tokio::test]
async fn http2_is_agreed_on() {
    let origin = Origin::start(b"h2");
    let client = origin.builder("https://origin.test").http2();
    let client = client.tls(origin.believer.clone()).build().unwrap();
    assert_eq!(
        client.get("/x").await.unwrap().version(),
        http::Version::HTTP_2
    );
}

#[tokio::test]
async fn what_is_not_believed_is_sent_nothing() {
    let origin = Origin::start(b"http/1.1");
    let other = Origin::start(b"http/1.1");
    for (base, config, says) in [
        (
            "https://origin.test",
            other.believer.clone(),
            "invalid peer certificate",
        ),
        (
            "https://other.test",
            origin.believer.clone(),
            "not valid for name",
        ),
    ] {
        let client = origin.builder(base).tls(config).build().unwrap();
        let error = client.get("/x").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error}");
        assert!(!error.may_have_run());
        assert!(error.to_string().contains(says), "{error}");
    }
    // Nor is a host that speaks another protocol.
    let client = origin.builder("https://origin.test").http2();
    let client = client.tls(origin.believer.clone()).build().unwrap();
    let error = client.get("/x").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Connect(_)), "{error}");
}
