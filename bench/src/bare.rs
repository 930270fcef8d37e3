//! The least proxy hyper can make: what the library itself costs, as a reference.
//!
//! One runtime a worker, a listener of its own by `SO_REUSEPORT`, a stack of idle connections to
//! the origin. It removes `connection` headers and does nothing else a proxy must do.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use clap::Args;
use http::header::CONNECTION;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

/// How to run it.
#[derive(Debug, Clone, Args)]
pub struct BareArgs {
    /// Where to listen.
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where the origin is.
    #[arg(long)]
    pub upstream: SocketAddr,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
}

type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

/// Serves for ever.
///
/// # Errors
/// Fails when the address is taken.
pub fn serve(args: &BareArgs) -> io::Result<()> {
    let workers: Vec<_> = (0..args.workers.max(1))
        .map(|_| {
            let (listen, upstream) = (args.listen, args.upstream);
            std::thread::spawn(move || worker(listen, upstream))
        })
        .collect();
    for worker in workers {
        worker
            .join()
            .map_err(|_| io::Error::other("a worker panicked"))??;
    }
    Ok(())
}

fn worker(listen: SocketAddr, upstream: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(4096)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let idle = Idle::default();
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::from_std(socket.into())?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(connection(stream, upstream, Rc::clone(&idle)));
        }
    })
}

async fn connection(stream: TcpStream, upstream: SocketAddr, idle: Idle) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let idle = Rc::clone(&idle);
        async move {
            let answer = forward(request, upstream, &idle).await;
            Ok::<Answer, Infallible>(answer.unwrap_or_else(|_| bad_gateway()))
        }
    });
    let _ = server::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn forward(
    mut request: Request<Incoming>,
    upstream: SocketAddr,
    idle: &Idle,
) -> io::Result<Answer> {
    request.headers_mut().remove(CONNECTION);
    let mut sender = loop {
        let top = idle.borrow_mut().pop();
        match top {
            Some(sender) if sender.is_ready() => break sender,
            Some(_) => {}
            None => break connect(upstream).await?,
        }
    };
    let answer = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    // Ready again once the body is read to its end.
    let idle = Rc::clone(idle);
    tokio::task::spawn_local(async move {
        if sender.ready().await.is_ok() {
            idle.borrow_mut().push(sender);
        }
    });
    let (mut head, body) = answer.into_parts();
    head.headers.remove(CONNECTION);
    Ok(Response::from_parts(head, Either::Left(body)))
}

async fn connect(upstream: SocketAddr) -> io::Result<SendRequest<Incoming>> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(async move { connection.await.ok() });
    Ok(sender)
}

fn bad_gateway() -> Answer {
    let mut answer = Response::new(Either::Right(Empty::new()));
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
