//! TLS with clients.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use seawall::config::{ClientAuth, Listener, ListenerTls, TlsVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::files::{FileError, FileProblem, Identity, authorities};
use super::kept::{Built, Certificates, Kept};
use super::{HTTP1, HTTP2, provider, speaks_http2};
use crate::counters::{Counters, Fault};

/// The first byte of every TLS connection: a record that belongs to a handshake.
const HANDSHAKE: u8 = 22;

/// For how long, and how much of it, a client that is not served is heard out. Closing on unread bytes makes the kernel
/// answer with a reset, which overtakes what the client was told.
const LEAVE: Duration = Duration::from_millis(500);
const LEAVE_BYTES: usize = 64 << 10;

const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 34\r\nconnection: close\r\n\r\nthis port speaks TLS: use https://";

/// Makes TLS of a listener's connections.
#[derive(Clone, Debug)]
pub(crate) struct Acceptor(Arc<Kept<ServerConfig>>);

impl Certificates {
    /// For a listener; `None` for one in the clear.
    pub(crate) fn acceptor(
        &self,
        name: &str,
        listener: &Listener,
    ) -> Result<Option<Acceptor>, FileError> {
        let Some(tls) = listener.tls.clone() else {
            return Ok(None);
        };
        let setting = format!("listeners.{name}.tls");
        let files = files(&tls);
        let build = move || build(&setting, &tls);
        let kept = Kept::new(files, Box::new(build))?;
        Ok(Some(Acceptor(self.keep(kept))))
    }
}

impl Acceptor {
    /// The handshake, and whether it chose HTTP/2; `None` if it came to nothing, which is counted.
    /// Takes as long as the client does.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        counters: &Counters,
    ) -> Option<(TlsStream<TcpStream>, Option<bool>)> {
        let mut first = [0];
        // A load balancer that only looks whether we are there says nothing and leaves.
        if stream.peek(&mut first).await.ok()? == 0 {
            return None;
        }
        if first[0] != HANDSHAKE {
            counters.fault(Fault::NotTls);
            if first[0].is_ascii_uppercase() {
                // Shorter than any buffer; who does not read it has the close.
                let _ = stream.try_write(PLAIN);
            }
            hear_out(stream).await;
            return None;
        }
        let acceptor = TlsAcceptor::from(self.0.current());
        match acceptor.accept(stream).into_fallible().await {
            Ok(stream) => {
                let http2 = speaks_http2(stream.get_ref().1.alpn_protocol());
                Some((stream, http2))
            }
            Err((_, stream)) => {
                counters.fault(Fault::Handshake);
                hear_out(stream).await;
                None
            }
        }
    }
}

/// Until the client has closed too, or has sent more than we care to throw away, or for longer.
async fn hear_out(mut stream: TcpStream) {
    let heard_out = async {
        let mut waste = [0; 1024];
        let mut left = LEAVE_BYTES;
        let _ = stream.shutdown().await;
        while left > 0 {
            match stream.read(&mut waste).await {
                Ok(read) if read > 0 => left = left.saturating_sub(read),
                _ => return,
            }
        }
    };
    // Who stays on is not to be counted again as cut.
    let _ = tokio::time::timeout(LEAVE, heard_out).await;
}

fn files(tls: &ListenerTls) -> Vec<PathBuf> {
    let each = tls.certificates.iter();
    let pairs = each.flat_map(|files| [files.cert.clone(), files.key.clone()]);
    pairs.chain(tls.client_ca.clone()).collect()
}

fn build(setting: &str, tls: &ListenerTls) -> Result<Built<ServerConfig>, FileError> {
    let fail = |text: String| FileError::new(setting, FileProblem::Unusable(text));
    let mut identities = Vec::with_capacity(tls.certificates.len());
    for (n, files) in tls.certificates.iter().enumerate() {
        let setting = format!("{setting}.certificates[{n}]");
        identities.push(Identity::read(&setting, files)?);
    }
    let first = identities.first().map(|identity| identity.key.clone());
    let default = first.ok_or_else(|| fail("there is no certificate".to_owned()))?;
    let mut by_name = HashMap::new();
    for identity in &identities {
        for name in &identity.shown.names {
            let key = || identity.key.clone();
            by_name.entry(name.to_ascii_lowercase()).or_insert_with(key);
        }
    }
    let versions = match tls.min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12][..],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| fail(error.to_string()))?;
    let builder = match (tls.client_auth, &tls.client_ca) {
        (ClientAuth::Off, _) | (_, None) => builder.with_no_client_auth(),
        (auth, Some(path)) => {
            let setting = format!("{setting}.client_ca");
            let roots = Arc::new(authorities(&setting, path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = if auth == ClientAuth::Optional {
                verifier.allow_unauthenticated()
            } else {
                verifier
            };
            let verifier = verifier.build().map_err(|error| {
                FileError::new(setting, FileProblem::Unusable(error.to_string()))
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(BySni { by_name, default }));
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    // A session that is taken up again is not checked again. With new keys for its tickets, none
    // outlives the authorities that it was checked against.
    config.ticketer = Ticketer::new().map_err(|error| fail(error.to_string()))?;
    Ok(Built {
        value: Arc::new(config),
        shown: identities.into_iter().map(|i| i.shown).collect(),
    })
}

/// Chooses among certificates by the name that the client asks for.
struct BySni {
    /// Names in small letters, wildcards as `*.shop.example`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl fmt::Debug for BySni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl BySni {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        Some(named.unwrap_or(&self.default).clone())
    }
}
