//! TLS with an upstream.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use seawall::config::{Protocol, Upstream, UpstreamTls};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::TlsFailure;
use super::files::{FileError, FileProblem, Identity, authorities, system_authorities};
use super::kept::{Built, Certificates, Kept};
use super::{HTTP1, HTTP2, provider, speaks_http2};

/// What the upstream may choose from (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Whichever it likes better.
    Any,
    Http1,
    Http2,
}

/// Makes TLS of connections to an upstream.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    kept: Arc<Kept<ClientConfig>>,
    name: ServerName<'static>,
    /// HTTP/2 is spoken also where ALPN is not.
    always_http2: bool,
    pub(crate) known: Arc<Known>,
}

/// The same one, not one like it.
impl PartialEq for Connector {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.kept, &other.kept)
    }
}

const UNKNOWN: u8 = 0;
const HTTP1_ONLY: u8 = 1;
const HTTP2_TOO: u8 = 2;

/// What the upstream is known to offer.
#[derive(Debug, Default)]
pub(crate) struct Known(AtomicU8);

impl Known {
    pub(crate) fn offers_http2(&self) -> Option<bool> {
        match self.0.load(Relaxed) {
            UNKNOWN => None,
            known => Some(known == HTTP2_TOO),
        }
    }

    pub(crate) fn learnt(&self, http2: bool) {
        let known = if http2 { HTTP2_TOO } else { HTTP1_ONLY };
        self.0.store(known, Relaxed);
    }

    /// HTTP/2 was refused: if it was offered once, it is not known any more.
    fn refused(&self) {
        let _ = (self.0).compare_exchange(HTTP2_TOO, UNKNOWN, Relaxed, Relaxed);
    }
}

impl Certificates {
    /// For an upstream; `None` for one in the clear.
    pub(crate) fn connector(
        &self,
        name: &str,
        upstream: &Upstream,
    ) -> Result<Option<Connector>, FileError> {
        if !upstream.is_https() {
            return Ok(None);
        }
        let setting = format!("upstreams.{name}.tls");
        let name = server_name(&setting, upstream)?;
        let tls = upstream.tls.clone();
        let files = files(&tls);
        let build = move || build(&setting, &tls);
        let kept = self.keep(Kept::new(files, Box::new(build))?);
        Ok(Some(Connector {
            kept,
            name,
            always_http2: upstream.protocol == Protocol::H2,
            known: Arc::default(),
        }))
    }
}

impl Connector {
    /// The handshake, and whether it chose HTTP/2. Takes as long as the upstream does.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        offer: Offer,
    ) -> Result<(TlsStream<TcpStream>, bool), TlsFailure> {
        let shaken = self.shake_hands(stream, offer).await;
        if matches!(shaken, Err(TlsFailure::NoHttp2)) {
            self.known.refused();
        }
        shaken
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        offer: Offer,
    ) -> Result<(TlsStream<TcpStream>, bool), TlsFailure> {
        let protocols: &[&[u8]] = match offer {
            Offer::Any => &[HTTP2, HTTP1],
            Offer::Http1 => &[HTTP1],
            Offer::Http2 => &[HTTP2],
        };
        let protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TlsConnector::from(self.kept.current())
            .with_alpn(protocols)
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| TlsFailure::of(error, offer))?;
        let http2 = speaks_http2(stream.get_ref().1.alpn_protocol());
        match http2 {
            Some(false) if offer == Offer::Http2 => Err(TlsFailure::NoHttp2),
            None if offer == Offer::Http2 && !self.always_http2 => Err(TlsFailure::NoHttp2),
            http2 => Ok((stream, http2 == Some(true))),
        }
    }
}

/// The name that the certificate must be for.
pub(super) fn server_name(
    setting: &str,
    upstream: &Upstream,
) -> Result<ServerName<'static>, FileError> {
    let host = upstream.url.host().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let name = upstream.tls.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let text = format!("no certificate can be for `{name}`: write a host name");
        FileError::new(
            format!("{setting}.server_name"),
            FileProblem::Unusable(text),
        )
    })
}

fn files(tls: &UpstreamTls) -> Vec<PathBuf> {
    let named = [&tls.ca, &tls.cert, &tls.key];
    named.into_iter().flatten().cloned().collect()
}

fn build(setting: &str, tls: &UpstreamTls) -> Result<Built<ClientConfig>, FileError> {
    let fail =
        |error: rustls::Error| FileError::new(setting, FileProblem::Unusable(error.to_string()));
    let ca = format!("{setting}.ca");
    let roots = match &tls.ca {
        Some(path) => Arc::new(authorities(&ca, path)?),
        None => system_authorities(&ca)?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(fail)?
        .with_root_certificates(roots);
    let mut shown = Vec::new();
    let config = match tls.client_certificate() {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let identity = Identity::read(setting, &files)?;
            shown.push(identity.shown);
            let key = SingleCertAndKey::from(identity.key);
            builder.with_client_cert_resolver(Arc::new(key))
        }
    };
    let value = Arc::new(config);
    Ok(Built { value, shown })
}
