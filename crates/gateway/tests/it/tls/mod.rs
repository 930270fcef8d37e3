//! TLS with clients and with origins, by rustls on the other side, curl and nginx.

mod listener;
mod reload;
mod upstream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

type BoxBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A certificate authority with a directory for what it issues.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    directory: TempDir,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Issued {
    cert: String,
    key: String,
}

impl Issued {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let all = CertificateDer::pem_slice_iter(self.cert.as_bytes());
        all.collect::<Result<_, _>>().unwrap()
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two authorities of one name and different keys would be a different error.
        let name = format!("authority {}", number());
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let authority = Self {
            issuer: Issuer::new(params, key),
            pem,
            directory: tempfile::tempdir().unwrap(),
        };
        authority.write("ca.pem", &authority.pem);
        authority
    }

    /// For these names, until the year given.
    fn issue_until(&self, names: &[&str], year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        Issued {
            cert: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 2100)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn store(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.cert);
        self.write(&format!("{name}.key"), &issued.key);
    }

    /// The lines that name them.
    fn files(&self, name: &str) -> String {
        let path = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        format!("cert = \"{}\"\nkey = \"{}\"\n", path("pem"), path("key"))
    }

    /// The same as a listener's certificate.
    fn listed(&self, name: &str) -> String {
        let files = self.files(name);
        format!("[[listeners.default.tls.certificates]]\n{files}")
    }

    fn ca(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        roots
    }

    /// A client that trusts this authority.
    fn client(&self, identity: Option<&Issued>, alpn: &[&str]) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(issued) => builder
                .with_client_auth_cert(issued.chain(), issued.private_key())
                .unwrap(),
        };
        config.alpn_protocols = protocols(alpn);
        config
    }
}

fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A handshake that asks for `name`.
fn connect(
    addr: SocketAddr,
    config: &ClientConfig,
    name: &str,
) -> impl Future<Output = io::Result<TlsStream<TcpStream>>> + use<> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config.clone()));
    async move {
        let stream = TcpStream::connect(addr).await?;
        connector.connect(name, stream).await
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// A connection in the protocol that ALPN chose.
enum Http {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Http {
    async fn on(stream: TlsStream<TcpStream>) -> Self {
        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(stream);
        if two {
            let (send, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .unwrap();
            tokio::spawn(connection);
            Self::Two(send)
        } else {
            let (send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::One(send)
        }
    }

    /// Status and body.
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<(u16, String), hyper::Error> {
        let response = match self {
            Self::One(send) => {
                send.ready().await?;
                send.send_request(request).await?
            }
            Self::Two(send) => send.send_request(request).await?,
        };
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn get(&mut self, path: &str) -> Result<(u16, String), hyper::Error> {
        let request = match self {
            Self::One(_) => Request::get(path).header("host", "shop.test"),
            Self::Two(_) => Request::get(format!("https://shop.test{path}")),
        };
        self.send(request.body(Full::default()).unwrap()).await
    }
}

/// An origin that speaks TLS, for as long as the test's process lives. It answers with the version,
/// the scheme and the host that it was asked with, and the body it got.
struct TlsOrigin {
    addr: SocketAddr,
    handshakes: Arc<AtomicUsize>,
    offers: Arc<parking_lot::Mutex<ServerConfig>>,
}

impl TlsOrigin {
    fn start(config: ServerConfig) -> Self {
        let handshakes = Arc::new(AtomicUsize::new(0));
        let offers = Arc::new(parking_lot::Mutex::new(config));
        let (counted, current) = (handshakes.clone(), offers.clone());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let port = seawall_testkit::free_port().unwrap();
                let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
                send.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let config = Arc::new(current.lock().clone());
                    let counted = counted.clone();
                    tokio::spawn(async move {
                        let Ok(stream) = TlsAcceptor::from(config).accept(stream).await else {
                            return;
                        };
                        counted.fetch_add(1, Ordering::SeqCst);
                        serve(stream).await;
                    });
                }
            });
        });
        let addr = receive.recv().unwrap();
        Self {
            addr,
            handshakes,
            offers,
        }
    }

    /// With a certificate for `localhost` and 127.0.0.1.
    fn of(authority: &Authority, alpn: &[&str]) -> Self {
        let issued = authority.issue(&["localhost", "127.0.0.1"]);
        Self::start(server(&issued, alpn))
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }
}

fn server(issued: &Issued, alpn: &[&str]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain(), issued.private_key())
        .unwrap();
    config.alpn_protocols = protocols(alpn);
    config
}

async fn serve(stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let service = hyper::service::service_fn(answer);
    // A gateway that leaves is no error.
    if two {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await;
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody>, Infallible> {
    let scheme = request.uri().scheme_str().unwrap_or("none").to_owned();
    let head = format!("{:?} {scheme}", request.version());
    let grpc = request.headers().contains_key("te");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if !grpc {
        let text = [head.as_bytes(), b"\n", &body].concat();
        return Ok(Response::new(Full::new(Bytes::from(text)).boxed()));
    }
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("x-version", head.parse().unwrap());
    Ok(response)
}
