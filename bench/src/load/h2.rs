//! The HTTP/2 and gRPC generator: hyper's client on a runtime of its own, paced by a kernel timer.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::{JoinSet, LocalSet};

use super::answer::reject_reason;
use super::report::Recorder;
use super::{Arrivals, Class, Outcome, Plan, Report, Wire};
use crate::alarm::Alarm;

/// Streams on a connection before another is opened: what servers commonly allow.
const STREAMS: usize = 100;

type Body = Full<Bytes>;

pub(super) fn run(plan: &Plan, start: Instant) -> io::Result<Report> {
    if plan.saturate.is_some() {
        let kind = io::ErrorKind::InvalidInput;
        return Err(io::Error::new(kind, "saturating load is HTTP/1.1 only"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(16)
        .build()?;
    let engine = Rc::new(Engine {
        plan: plan.clone(),
        pool: Mutex::new(Vec::new()),
        recorder: Mutex::new(Recorder::new(plan, start)),
    });
    LocalSet::new().block_on(&runtime, drive(Rc::clone(&engine), start))?;
    let engine =
        Rc::into_inner(engine).ok_or_else(|| io::Error::other("a call outlived the run"))?;
    Ok(engine.recorder.into_inner().finish())
}

async fn drive(engine: Rc<Engine>, start: Instant) -> io::Result<()> {
    let alarm = Alarm::new()?;
    let mut arrivals = Arrivals::new(&engine.plan.classes, engine.plan.seed);
    let mut calls = JoinSet::new();
    while let Some((due, _)) = arrivals.peek() {
        if start + due > Instant::now() {
            alarm.arm(Some(start + due))?;
            alarm.fired().await?;
        }
        while let Some((due, class)) = arrivals.peek() {
            if start + due > Instant::now() {
                break;
            }
            arrivals.take();
            let engine = Rc::clone(&engine);
            calls.spawn_local(engine.call(class, start + due));
        }
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    Ok(())
}

struct Engine {
    plan: Plan,
    pool: Mutex<Vec<Arc<Conn>>>,
    recorder: Mutex<Recorder>,
}

#[derive(Default)]
struct Conn {
    sender: OnceCell<SendRequest<Body>>,
    streams: AtomicUsize,
}

/// Counts a stream on its connection while it lives.
struct Stream(Arc<Conn>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    async fn call(self: Rc<Self>, class: usize, due: Instant) {
        self.recorder.lock().begun(class, due, Instant::now());
        let deadline = tokio::time::Instant::from_std(due + self.plan.classes[class].timeout);
        let exchange = tokio::time::timeout_at(deadline, self.exchange(class)).await;
        let now = Instant::now();
        let mut recorder = self.recorder.lock();
        match exchange {
            Err(_) => recorder.outcome(class, due, now, Outcome::Timeout),
            Ok(None) => recorder.outcome(class, due, now, Outcome::Error),
            Ok(Some(answer)) => {
                recorder.status(answer.status.as_u16());
                recorder.outcome(class, due, now, answer.outcome());
            }
        }
    }

    async fn exchange(&self, class: usize) -> Option<Answer> {
        let stream = self.stream();
        let sender = stream.0.sender.get_or_try_init(|| self.connect()).await;
        let mut sender = sender.ok()?.clone();
        let request = request(&self.plan, &self.plan.classes[class])?;
        let answer = sender.send_request(request).await.ok()?;
        let (head, mut body) = answer.into_parts();
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            trailers = frame.ok()?.into_trailers().ok().or(trailers);
        }
        let grpc = trailers.as_ref().unwrap_or(&head.headers);
        Some(Answer {
            status: head.status,
            grpc: (self.plan.wire == Wire::Grpc).then(|| grpc_status(grpc)),
            reason: reason(&head.headers),
        })
    }

    /// The open connection with the fewest streams, or a new one when all are busy.
    fn stream(&self) -> Stream {
        let mut pool = self.pool.lock();
        pool.retain(|conn| conn.sender.get().is_none_or(|sender| !sender.is_closed()));
        let least = pool
            .iter()
            .min_by_key(|conn| conn.streams.load(Ordering::Relaxed))
            .cloned();
        let conn = match least {
            Some(conn)
                if conn.streams.load(Ordering::Relaxed) < STREAMS
                    || pool.len() >= self.plan.connections =>
            {
                conn
            }
            _ => {
                pool.push(Arc::default());
                pool.last().cloned().unwrap_or_default()
            }
        };
        conn.streams.fetch_add(1, Ordering::Relaxed);
        Stream(conn)
    }

    async fn connect(&self) -> io::Result<SendRequest<Body>> {
        let stream = TcpStream::connect(self.plan.target).await?;
        stream.set_nodelay(true)?;
        self.recorder.lock().connection();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_reset_streams(4096)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // It ends with the server or with the last sender, and has no one to tell.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }
}

struct Answer {
    status: StatusCode,
    grpc: Option<u16>,
    reason: String,
}

impl Answer {
    fn outcome(&self) -> Outcome<'_> {
        match (self.status.as_u16(), self.grpc) {
            (429 | 503, _) | (200, Some(8 | 14)) => Outcome::Rejected(&self.reason),
            (200, Some(0)) | (200..400, None) => Outcome::Ok,
            _ => Outcome::Error,
        }
    }
}

/// Missing or garbled: UNKNOWN (2).
fn grpc_status(headers: &HeaderMap) -> u16 {
    headers
        .get("grpc-status")
        .and_then(|status| status.to_str().ok()?.parse().ok())
        .unwrap_or(2)
}

fn reason(headers: &HeaderMap) -> String {
    let value = headers.get("seawall-reject");
    value.map_or_else(String::new, |value| reject_reason(value.as_bytes()))
}

fn request(plan: &Plan, class: &Class) -> Option<Request<Body>> {
    let grpc = plan.wire == Wire::Grpc;
    let uri = format!("http://{}{}", plan.target, class.path);
    let mut request = Request::builder().uri(uri.parse::<Uri>().ok()?);
    for (name, value) in &class.headers {
        request = request.header(name, value);
    }
    if grpc {
        request = request
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers");
        let size = class.upload.max(class.message.len());
        let mut message = vec![0; size + 5];
        message[5..][..class.message.len()].copy_from_slice(&class.message);
        let length = u32::try_from(size).ok()?;
        message[1..5].copy_from_slice(&length.to_be_bytes());
        return request.body(Full::new(Bytes::from(message))).ok();
    }
    if class.upload > 0 {
        request = request.method(Method::POST);
    }
    request
        .body(Full::new(Bytes::from(vec![0; class.upload])))
        .ok()
}
