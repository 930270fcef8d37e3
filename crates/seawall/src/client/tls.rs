//! TLS with a host, by rustls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use pin_project_lite::pin_project;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Makes TLS of connections, for one version of HTTP.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Offers this protocol alone (ALPN).
    pub(super) fn new(config: &ClientConfig, protocol: &[u8]) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// The name that is asked for, and that the certificate must have, is the URI's.
    pub(super) async fn connect(&self, uri: &Uri, stream: TcpStream) -> io::Result<Stream> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            let said = format!("`{host}` is no name of a certificate: {error}");
            io::Error::new(io::ErrorKind::InvalidInput, said)
        })?;
        let stream = self.0.connect(name, stream).await?;
        Ok(Stream::Tls { stream })
    }
}

/// What believes the system's authorities; none where there are none.
pub(super) fn system() -> Option<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Some(
        config
            .ok()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

pin_project! {
    /// A connection, in TLS or in the clear.
    #[project = Projected]
    pub(super) enum Stream {
        Clear { #[pin] stream: TcpStream },
        Tls { #[pin] stream: TlsStream<TcpStream> },
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Clear { stream } => stream.poll_read(cx, buf),
            Projected::Tls { stream } => stream.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.project() {
            Projected::Clear { stream } => stream.poll_write(cx, buf),
            Projected::Tls { stream } => stream.poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.project() {
            Projected::Clear { stream } => stream.poll_write_vectored(cx, bufs),
            Projected::Tls { stream } => stream.poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear { stream } => stream.is_write_vectored(),
            Self::Tls { stream } => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Clear { stream } => stream.poll_flush(cx),
            Projected::Tls { stream } => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.project() {
            Projected::Clear { stream } => stream.poll_shutdown(cx),
            Projected::Tls { stream } => stream.poll_shutdown(cx),
        }
    }
}
