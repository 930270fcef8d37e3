//! Accepts connections and serves a router on them: HTTP/1.1 and HTTP/2 in the clear, told apart by
//! their first bytes.
//!
//! The listener is bound when the program starts, so that an address in use is an error before
//! anything is announced. When the server drains, it first takes what already waits to be accepted:
//! the system would answer those with a reset.
//!
//! HTTP/2 has a way to say which calls are no longer taken; HTTP/1.1 has none. A server that closes
//! an idle connection cannot know whether a request is on its way, and its caller cannot know whether
//! that has run. So from the moment the program begins to leave, every answer says `connection:
//! close`, and a connection that is still idle at the drain, or has not asked anything yet, is given
//! another moment ([`LINGER`]).

use std::borrow::Cow;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::Service as _;

use super::health::Health;
use super::part::{BoxError, Part};
use super::running::Running;
use crate::sync::CancellationToken;
use crate::sync::shutdown::Life;

/// After an error of `accept` that is the system's (descriptors are short).
const AGAIN: Duration = Duration::from_millis(50);

/// How much longer than its server a connection without a call under way is read from.
const LINGER: Duration = Duration::from_millis(100);

/// What a connection may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_header_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) max_streams: u32,
}

/// A listener and what it serves.
pub(super) struct Server {
    /// `http`, `grpc`, `admin`: the section of the configuration.
    name: &'static str,
    wanted: SocketAddr,
    router: Router,
    limits: Limits,
    health: Health,
    bound: Vec<Arc<Mutex<Option<SocketAddr>>>>,
    draining: CancellationToken,
    running: Running,
}

impl Server {
    pub(super) fn new(
        name: &'static str,
        wanted: SocketAddr,
        router: Router,
        limits: Limits,
        health: Health,
        bound: Arc<Mutex<Option<SocketAddr>>>,
    ) -> Self {
        Self {
            name,
            wanted,
            router,
            limits,
            health,
            bound: vec![bound],
            draining: CancellationToken::new(),
            running: Running::default(),
        }
    }

    /// Tells its address here, too.
    pub(super) fn also(mut self, bound: Arc<Mutex<Option<SocketAddr>>>) -> Self {
        self.bound.push(bound);
        self
    }

    fn cannot_bind(&self, error: &std::io::Error) -> BoxError {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => {
                "another process listens there (`ss -ltnp` names it): stop it, or choose another address by"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose a higher one by"
            }
            ErrorKind::AddrNotAvailable => "this machine has no such address: choose one by",
            _ => "choose another by",
        };
        let (wanted, name) = (self.wanted, self.name);
        format!("cannot listen on {wanted}: {error}; {remedy} {name}.address").into()
    }
}

impl Part for Server {
    fn name(&self) -> Cow<'static, str> {
        self.name.into()
    }

    async fn start(&self, _: Life) -> Result<(), BoxError> {
        let listener = TcpListener::bind(self.wanted).await;
        let listener = listener.map_err(|error| self.cannot_bind(&error))?;
        let address = listener.local_addr()?;
        for bound in &self.bound {
            *bound.lock() = Some(address);
        }
        tracing::info!(server = self.name, %address, "listening");
        let accept = Accept {
            router: self.router.clone(),
            limits: self.limits,
            health: self.health.clone(),
            places: Arc::new(Semaphore::new(self.limits.max_connections)),
            draining: self.draining.clone(),
            connections: JoinSet::new(),
        };
        self.running.start(accept.run(listener));
        Ok(())
    }

    async fn drain(&self) -> Result<(), BoxError> {
        self.draining.cancel();
        self.running.ended().await;
        Ok(())
    }

    async fn stop(&self) -> Result<(), BoxError> {
        self.running.cut().await;
        Ok(())
    }
}

struct Accept {
    router: Router,
    limits: Limits,
    health: Health,
    places: Arc<Semaphore>,
    draining: CancellationToken,
    /// Cut when this is dropped.
    connections: JoinSet<()>,
}

impl Accept {
    async fn run(mut self, listener: TcpListener) {
        let draining = self.draining.clone();
        loop {
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                next = next(&listener, &self.places) => self.serve(next),
                Some(_) = self.connections.join_next() => {}
            }
        }
        self.serve_waiting(listener);
        while self.connections.join_next().await.is_some() {}
    }

    /// All who wait to be accepted, and the end of the listener.
    ///
    /// Asks the system, and not what the runtime has last heard of it.
    fn serve_waiting(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else {
            return;
        };
        while let Ok(place) = self.places.clone().try_acquire_owned() {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let stream = stream.set_nonblocking(true).map(|()| stream);
                    if let Ok(stream) = stream.and_then(TcpStream::from_std) {
                        self.serve((stream, peer, place));
                    }
                }
                Err(error) if is_of_one(&error) => {}
                Err(_) => return,
            }
        }
    }

    fn serve(&mut self, (stream, peer, place): (TcpStream, SocketAddr, OwnedSemaphorePermit)) {
        // Answers are written whole, so there is nothing to gather.
        let _ = stream.set_nodelay(true);
        let (limits, draining) = (self.limits, self.draining.clone());
        let calls = Calls {
            router: self.router.clone(),
            peer,
            health: self.health.clone(),
            seen: Arc::default(),
        };
        self.connections.spawn(async move {
            let _place = place;
            connection(stream, calls, limits, draining).await;
        });
    }
}

/// Cancel-safe: a place that was taken is given back.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            // Never closed.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// An error of the one connection that was to be accepted.
fn is_of_one(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// The calls of one connection.
#[derive(Clone)]
struct Calls {
    router: Router,
    peer: SocketAddr,
    health: Health,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    http2: AtomicBool,
}

impl Calls {
    async fn answer(mut self, mut request: Request<Incoming>) -> Result<Response, Infallible> {
        self.seen.calls.fetch_add(1, Relaxed);
        let http2 = request.version() == Version::HTTP_2;
        if http2 {
            self.seen.http2.store(true, Relaxed);
        }
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let mut answer = infallible(self.router.call(request).await);
        let ends = !http2 && answer.status() != StatusCode::SWITCHING_PROTOCOLS;
        if ends && self.health.is_going() {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        Ok(answer)
    }
}

async fn connection(stream: TcpStream, calls: Calls, limits: Limits, draining: CancellationToken) {
    let seen = calls.seen.clone();
    let service = service_fn(move |request| calls.clone().answer(request));
    let builder = builder(limits);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut before = 0;
    let mut going = false;
    loop {
        tokio::select! {
            biased;
            // How a connection ends is its client's affair.
            _ = &mut serving => return,
            () = draining.cancelled(), if !going => {
                let told = seen.http2.load(Relaxed);
                if !told && timeout(LINGER, &mut serving).await.is_ok() {
                    return;
                }
            }
            () = tokio::time::sleep(limits.idle_timeout), if !going => {
                let now = seen.calls.load(Relaxed);
                if now != before {
                    before = now;
                    continue;
                }
            }
        }
        // Calls under way go on; there are no new ones.
        going = true;
        serving.as_mut().graceful_shutdown();
    }
}

fn infallible<T>(done: Result<T, Infallible>) -> T {
    match done {
        Ok(done) => done,
        Err(never) => match never {},
    }
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.max_header_bytes);
    let header_list = u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(header_list)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    builder
}
