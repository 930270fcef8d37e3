//! One host's connections.
//!
//! By hyper-util's pooled client, with a connector that goes to one address whatever the URI says:
//! so each host has a pool of its own, and `Host` and `:authority` stay the upstream's name. The
//! pool opens a connection for each HTTP/1.1 call that finds none idle, without a cap: how many
//! calls are under way is for the limiter and the deadline to bound, and a call that waited here
//! for a connection would wait in a second queue that knows neither.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tower::Service;

use super::error::{Error, ErrorKind};
use crate::context::is_grpc;

/// A connection with calls on it that is silent for so long is asked whether it lives. Without it, a
/// host that vanished would keep its calls until their deadlines, and get the next ones.
const PING_AFTER: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// How connections are made and kept.
#[derive(Clone)]
pub(super) struct ConnectionSettings {
    pub(super) connect_timeout: Duration,
    pub(super) idle: usize,
    pub(super) idle_timeout: Duration,
    /// HTTP/2 for everything, and not for gRPC alone.
    pub(super) http2: bool,
    /// Connections in TLS, with this; otherwise in the clear.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

/// What connections are made of.
#[cfg(feature = "tls")]
type Stream = super::tls::Stream;
#[cfg(not(feature = "tls"))]
type Stream = TcpStream;

/// The connections to one host. Clones share them.
pub(super) struct Connection<B> {
    http1: Client<Pinned, B>,
    http2: Client<Pinned, B>,
    all_http2: bool,
}

impl<B> Clone for Connection<B> {
    fn clone(&self) -> Self {
        Self {
            http1: self.http1.clone(),
            http2: self.http2.clone(),
            all_http2: self.all_http2,
        }
    }
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Send,
{
    /// Opens none yet.
    pub(super) fn new(address: SocketAddr, settings: &ConnectionSettings) -> Self {
        let pinned = |protocol: &[u8]| Pinned::new(address, settings, protocol);
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(settings.idle_timeout)
            .pool_max_idle_per_host(settings.idle)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_AFTER)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        Self {
            http1: builder.build(pinned(b"http/1.1")),
            http2: builder.http2_only(true).build(pinned(b"h2")),
            all_http2: settings.http2,
        }
    }
}

impl<B> Service<Request<B>> for Connection<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Received>;
    type Error = Error;
    type Future = Receiving;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Receiving {
        let http2 = self.all_http2 || is_grpc(request.headers());
        let (client, version) = if http2 {
            (&self.http2, Version::HTTP_2)
        } else {
            (&self.http1, Version::HTTP_11)
        };
        *request.version_mut() = version;
        Receiving {
            future: client.request(request),
        }
    }
}

pin_project! {
    /// The future of a [`Connection`].
    pub(super) struct Receiving {
        #[pin]
        future: ResponseFuture,
    }
}

impl Future for Receiving {
    type Output = Result<Response<Received>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.project().future.poll(cx);
        answer
            .map_ok(|reply| reply.map(|body| Received { body }))
            .map_err(of_legacy)
    }
}

fn of_legacy(error: legacy::Error) -> Error {
    let connect = error.is_connect();
    let unbegun = was_not_begun(&error);
    let source = Arc::new(Told(error));
    let kind = if connect {
        ErrorKind::Connect(source)
    } else if unbegun {
        ErrorKind::Refused(source)
    } else {
        ErrorKind::Failed(source)
    };
    kind.into()
}

/// An error that says what happened; hyper's own says whose it is, and leaves the rest to its causes.
#[derive(Debug)]
struct Told(legacy::Error);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause = self.0.source();
        if cause.is_none() {
            return self.0.fmt(f);
        }
        let mut colon = "";
        while let Some(error) = cause {
            write!(f, "{colon}{error}")?;
            (colon, cause) = (": ", error.source());
        }
        Ok(())
    }
}

impl StdError for Told {}

/// REFUSED_STREAM, or beyond the last stream of a GOAWAY that is no error (RFC 9113, 8.7); or the
/// connection ended before anything of it was sent: hyper calls that cancelled, and nothing else.
fn was_not_begun(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let hyper = error.downcast_ref::<hyper::Error>();
        if hyper.is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let reason = error.reason();
            return reason == Some(h2::Reason::REFUSED_STREAM)
                || error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR);
        }
        cause = error.source();
    }
    false
}

pin_project! {
    /// A body that comes over a connection.
    #[derive(Debug)]
    pub(super) struct Received {
        #[pin]
        body: Incoming,
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        let frame = self.project().body.poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(Error::failed)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Connects to one address, whatever it is asked for.
#[derive(Clone)]
struct Pinned {
    address: SocketAddr,
    timeout: Duration,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Tls>,
}

impl Pinned {
    #[cfg_attr(not(feature = "tls"), allow(unused_variables, reason = "for ALPN"))]
    fn new(address: SocketAddr, settings: &ConnectionSettings, protocol: &[u8]) -> Self {
        Self {
            address,
            timeout: settings.connect_timeout,
            #[cfg(feature = "tls")]
            tls: (settings.tls.as_ref()).map(|config| super::tls::Tls::new(config, protocol)),
        }
    }

    #[cfg_attr(not(feature = "tls"), allow(unused_variables, reason = "for SNI"))]
    async fn connect(self, uri: Uri) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        let stream = match &self.tls {
            Some(tls) => tls.connect(&uri, stream).await?,
            None => Stream::Clear { stream },
        };
        Ok(stream)
    }
}

impl Service<Uri> for Pinned {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (address, timeout) = (self.address, self.timeout);
        let connecting = tokio::time::timeout(timeout, self.clone().connect(uri));
        Box::pin(async move {
            let stream = connecting.await.map_err(|_| {
                let said = format!("{address} did not accept within {timeout:?}");
                io::Error::new(io::ErrorKind::TimedOut, said)
            })??;
            Ok(TokioIo::new(stream))
        })
    }
}
