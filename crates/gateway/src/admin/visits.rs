//! Admin connections, and who has to go.
//!
//! Were newcomers to wait for a place, a few clients that send nothing, or do not read what they
//! are sent, would shut out whoever watches the gateway. So a newcomer gets a place, always. When
//! all are taken, the one goes whose last request, or where there was none, whose opening is
//! longest ago: a scrape is answered within milliseconds of its request and is then the last in
//! that order, and dripping does not move anyone up in it. Independent of that, each stays for a
//! short time only; whoever wants more connects anew.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use crate::body::ResponseBody;

/// Admin connections at once.
const PLACES: usize = 64;
/// How long a request's head may take, and how long may pass before the next one.
const HEAD: Duration = Duration::from_secs(5);
/// After so long a connection ends with the reply under way,
const STAY: Duration = Duration::from_secs(10);
/// for which this is left.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Visits {
    open: Vec<Weak<Visit>>,
    turns: Arc<AtomicU64>,
}

/// One connection, open as long as somebody holds it.
#[derive(Debug)]
pub(super) struct Visit {
    turns: Arc<AtomicU64>,
    /// The turn in which it last asked for something, or came.
    turn: AtomicU64,
    leave: Notify,
}

impl Visits {
    /// Lets a newcomer in; sends another away where there is no place.
    pub(super) fn enter(&mut self) -> Arc<Visit> {
        self.open.retain(|visit| visit.strong_count() > 0);
        if self.open.len() >= PLACES {
            self.send_away();
        }
        let visit = Arc::new(Visit {
            turns: self.turns.clone(),
            turn: AtomicU64::new(0),
            leave: Notify::new(),
        });
        visit.asks();
        self.open.push(Arc::downgrade(&visit));
        visit
    }

    fn send_away(&mut self) {
        let open = self.open.iter().enumerate();
        let visits = open.filter_map(|(at, visit)| Some((at, visit.upgrade()?)));
        let stalest = visits.min_by_key(|(_, visit)| visit.turn.load(Relaxed));
        if let Some((at, visit)) = stalest {
            visit.leave.notify_one();
            self.open.swap_remove(at);
        }
    }
}

impl Visit {
    fn asks(&self) {
        self.turn.store(self.turns.fetch_add(1, Relaxed), Relaxed);
    }

    /// Answers what is asked on a connection until it ends or has to.
    pub(super) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        answer: impl Fn(&Request<Incoming>) -> Response<ResponseBody>,
    ) {
        let service = service_fn(|request| {
            let response = answer(&request);
            // Who may not ask moves nobody aside by asking.
            if response.status() != StatusCode::UNAUTHORIZED {
                self.asks();
            }
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // A broken admin connection concerns nobody else.
        let served = async {
            let served = tokio::time::timeout(STAY, connection.as_mut()).await;
            if served.is_err() {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LAST_WRITE, connection).await;
            }
        };
        tokio::select! {
            () = served => {}
            () = self.leave.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    fn large(_: &Request<Incoming>) -> Response<ResponseBody> {
        Response::new(ResponseBody::Own(vec![b'x'; 100_000].into()))
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// How long a client stays of which nothing more is heard than these bytes.
    async fn stay(bytes: &[u8], reads: usize) -> Duration {
        let (mut client, server) = tokio::io::duplex(1024);
        let begun = Instant::now();
        let visit = Visits::default().enter();
        let served = tokio::spawn(async move { visit.serve(server, large).await });
        client.write_all(bytes).await.unwrap();
        let mut piece = vec![0; reads];
        client.read_exact(&mut piece).await.unwrap();
        served.await.unwrap();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_stays_for_long() {
        for (bytes, reads, most) in [
            (&b""[..], 0, HEAD),
            (b"GET / HT", 0, HEAD),
            (GET, 0, STAY + LAST_WRITE),
            (GET, 50_000, STAY + LAST_WRITE),
        ] {
            let stayed = stay(bytes, reads).await;
            let grain = Duration::from_millis(2);
            assert!(stayed <= most + grain, "{bytes:?} {reads} {stayed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asked_longest_ago_makes_room() {
        let mut visits = Visits::default();
        let open: Vec<_> = (0..PLACES).map(|_| visits.enter()).collect();
        // The first has asked again since.
        open[0].asks();
        let newcomers: Vec<_> = (0..2).map(|_| visits.enter()).collect();
        for (at, visit) in open.iter().chain(&newcomers).enumerate() {
            let (_client, server) = tokio::io::duplex(64);
            let begun = Instant::now();
            visit.serve(server, large).await;
            let sent_away = begun.elapsed().is_zero();
            assert_eq!(sent_away, at == 1 || at == 2, "{at}");
        }
        // Places that were given up are taken first.
        drop(open);
        visits.enter();
        assert_eq!(visits.open.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_ask_gains_nothing_by_it() {
        let mut visits = Visits::default();
        let open: Vec<_> = (0..PLACES).map(|_| visits.enter()).collect();
        let (mut client, server) = tokio::io::duplex(1024);
        let visit = open[0].clone();
        let refuse = |_: &Request<Incoming>| {
            let mut response = Response::new(ResponseBody::Own("who?".into()));
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response
        };
        let served = tokio::spawn(async move { visit.serve(server, refuse).await });
        client.write_all(GET).await.unwrap();
        client.read_exact(&mut [0; 50]).await.unwrap();
        let begun = Instant::now();
        let _newcomer = visits.enter();
        served.await.unwrap();
        assert!(begun.elapsed().is_zero());
    }
}
