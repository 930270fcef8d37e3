//! The origin's HTTP side: connections, answers, and the control paths.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use super::Protocol;
use super::shared::Shared;

type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;
type Answer = Response<Either<Full<Bytes>, WithTrailers<Full<Bytes>, Trailers>>>;

/// Connections the kernel may hold for us before they are accepted.
const BACKLOG: i32 = 4096;
/// The origin's queue is the limit, not HTTP/2's.
const STREAMS: u32 = 16_384;

pub(super) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(super) async fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, Arc::clone(shared)));
            }
            // Out of descriptors, or the client gave up: others may go on.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(STREAMS as usize)
        .max_local_error_reset_streams(None);
    let builder = match shared.protocol {
        Protocol::Auto => builder,
        Protocol::H1 => builder.http1_only(),
        Protocol::H2 => builder.http2_only(),
    };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // A client that hangs up ends here with an error that is no one's concern.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Answer {
    if let Some(control) = request.uri().path().strip_prefix("/_origin/") {
        return steer(control, &request, shared);
    }
    let grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let place = shared.enter(request.uri().path(), !request.body().is_end_stream());
    if place.held().await {
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return plain(
                    StatusCode::BAD_REQUEST,
                    Bytes::from_static(b"body cut off\n"),
                );
            }
        }
        place.body_read();
        place.done().await;
    }
    if grpc {
        message(&shared.answer)
    } else {
        plain(shared.status(), shared.answer.clone())
    }
}

fn plain(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body)));
    *answer.status_mut() = status;
    answer
}

/// One length-prefixed message and `grpc-status: 0` in the trailers.
fn message(payload: &Bytes) -> Answer {
    let mut framed = Vec::with_capacity(payload.len() + 5);
    framed.push(0);
    framed.extend_from_slice(
        &u32::try_from(payload.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    framed.extend_from_slice(payload);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(ready(Some(Ok(trailers))));
    let mut answer = Response::new(Either::Right(body));
    let kind = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn steer(control: &str, request: &Request<Incoming>, shared: &Shared) -> Answer {
    match (request.method(), control) {
        (&Method::GET, "stats") => {
            let json = serde_json::to_vec(&shared.stats(Instant::now())).unwrap_or_default();
            plain(StatusCode::OK, Bytes::from(json))
        }
        (&Method::POST, "capacity") => match capacity(request.uri().query(), shared) {
            Ok(()) => plain(StatusCode::OK, Bytes::from_static(b"changed\n")),
            Err(reason) => plain(StatusCode::BAD_REQUEST, Bytes::from(reason)),
        },
        _ => plain(
            StatusCode::NOT_FOUND,
            Bytes::from_static(
                b"GET /_origin/stats, POST /_origin/capacity?slots=N&service_ms=S&status=N\n",
            ),
        ),
    }
}

fn capacity(query: Option<&str>, shared: &Shared) -> Result<(), String> {
    for pair in query.unwrap_or_default().split('&') {
        match pair.split_once('=') {
            Some(("slots", slots)) => {
                let slots = slots
                    .parse()
                    .map_err(|_| format!("`{pair}`: a whole number\n"))?;
                shared.set_slots(slots, Instant::now());
            }
            Some(("service_ms", service)) => {
                let service: Duration = super::milliseconds(service)?;
                shared.set_service(service);
            }
            Some(("status", status)) => {
                let status = status
                    .parse()
                    .map_err(|_| format!("`{pair}`: 100 to 999\n"))?;
                shared.set_status(status);
            }
            _ => {
                return Err(format!(
                    "`{pair}` is none of slots=N, service_ms=S, status=N\n"
                ));
            }
        }
    }
    Ok(())
}
