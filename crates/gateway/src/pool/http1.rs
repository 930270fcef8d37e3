//! HTTP/1.1 connections: one request at a time, last used first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::client::conn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use seawall_policy::Tick;

use super::bell::{Bell, Driven};
use super::{DialError, Dialled, Place, Pool, Turn};
use crate::body::RequestBody;
use crate::core::Core;
use crate::socket::Stream;
use crate::tls::Offer;

/// A connection to send on.
#[derive(Debug)]
pub(crate) struct SendHttp1 {
    pub(crate) send: conn::http1::SendRequest<RequestBody>,
    bell: Arc<Bell>,
    held: Arc<Held>,
}

/// A connection's place in its pool. While the connection is lent the lease holds it, since an
/// upgraded one outlives its HTTP part; otherwise it ends with the connection's task.
#[derive(Debug)]
struct Held {
    place: Mutex<Option<Place>>,
    lent: AtomicBool,
}

/// A connection that waits for its next request.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) send: SendHttp1,
    pub(super) until: Tick,
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) send: SendHttp1,
    pub(crate) reused: bool,
    /// How long the origin says it keeps the connection.
    pub(super) kept: Option<Duration>,
    pool: Arc<Pool>,
    core: usize,
}

impl Lease {
    pub(super) fn take<T>(&self, take: impl FnOnce() -> (T, bool)) -> T {
        self.send.bell.still(self.core, take)
    }

    /// Puts the connection back on its core's shelf, or hands it to who waits for one.
    pub(super) fn put_back(self, now: Tick) {
        let Self {
            send,
            pool,
            core,
            kept,
            ..
        } = self;
        // Before the look: a task that ends now either finds it not lent, or is seen as closed.
        send.held.lent.store(false, Ordering::SeqCst);
        if send.send.is_closed() || pool.is_over() {
            return;
        }
        let idle = pool.idle();
        let until = now + kept.map_or(idle, |kept| kept.min(idle));
        let mut idle = Idle { send, until };
        while let Some(Turn::Connection(send)) = pool.hand_over(Turn::Connection(idle.send)) {
            let shelf = &pool.shelves[core];
            shelf.lock().idle.push(Idle { send, ..idle });
            if pool.waiting.load(Ordering::SeqCst) == 0 {
                return;
            }
            // Who stood in line meanwhile has looked at the shelf already.
            let Some(next) = pool.pop(core) else { return };
            idle = next;
        }
    }
}

impl Pool {
    pub(super) async fn lease_http1(
        self: &Arc<Self>,
        core: &Core,
        fresh: bool,
    ) -> Result<Lease, DialError> {
        let lease = |send, reused| self.lent(core, send, reused);
        if !fresh && let Some(lease) = self.take_http1(core) {
            return Ok(lease);
        }
        if let Some(place) = self.try_place() {
            return Ok(lease(self.dial_http1(core.index, place).await?, false));
        }
        for other in 0..self.shelves.len() {
            if let Some(send) = self.take(other) {
                return Ok(lease(send, true));
            }
        }
        match self.turn(false).await? {
            Turn::Connection(mut send) => match send.send.ready().await {
                Ok(()) => Ok(lease(send, true)),
                Err(_) => {
                    let place = self.try_place().ok_or(DialError::Exhausted)?;
                    Ok(lease(self.dial_http1(core.index, place).await?, false))
                }
            },
            Turn::Place(place) => Ok(lease(self.dial_http1(core.index, place).await?, false)),
        }
    }

    pub(super) fn take_http1(self: &Arc<Self>, core: &Core) -> Option<Lease> {
        self.take(core.index)
            .map(|send| self.lent(core, send, true))
    }

    pub(super) fn lent(self: &Arc<Self>, core: &Core, send: SendHttp1, reused: bool) -> Lease {
        send.held.lent.store(true, Ordering::SeqCst);
        Lease {
            send,
            reused,
            kept: None,
            pool: self.clone(),
            core: core.index,
        }
    }

    /// The idle connection that was used last: the warmest, and the least likely to be closed.
    fn take(&self, core: usize) -> Option<SendHttp1> {
        let idle = &mut self.shelves[core].lock().idle;
        // One whose task has not run since its reply ended is not ready yet; it stays.
        for at in (0..idle.len()).rev() {
            if idle[at].send.send.is_closed() {
                idle.remove(at);
            } else if idle[at].send.send.is_ready() {
                return Some(idle.remove(at).send);
            }
        }
        None
    }

    /// As [`Pool::take`] for who stands in line, and would wait for one that is not ready yet all the
    /// same.
    pub(super) fn pop(&self, core: usize) -> Option<Idle> {
        let idle = &mut self.shelves[core].lock().idle;
        idle.retain(|idle| !idle.send.send.is_closed());
        idle.pop()
    }

    async fn dial_http1(&self, core: usize, place: Place) -> Result<SendHttp1, DialError> {
        match self.dial(Offer::Http1).await? {
            Dialled::Plain(stream) => begin(stream, core, place).await,
            Dialled::Tls(stream, _) => begin(*stream, core, place).await,
        }
    }
}

/// Speaks HTTP/1.1 on a new connection, in a task of its own.
pub(super) async fn begin(
    stream: impl Stream,
    core: usize,
    place: Place,
) -> Result<SendHttp1, DialError> {
    let (send, connection) = conn::http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(DialError::Handshake)?;
    let bell = Bell::new(core);
    let connection = Driven::new(connection.with_upgrades(), bell.clone());
    let held = Arc::new(Held {
        place: Mutex::new(Some(place)),
        lent: AtomicBool::new(false),
    });
    let place = held.clone();
    tokio::spawn(async move {
        // Its errors reach the request that is on it; an idle one has nobody to tell.
        let _ = connection.await;
        if !place.lent.load(Ordering::SeqCst) {
            let freed = place.place.lock().take();
            drop(freed);
        }
    });
    Ok(SendHttp1 { send, bell, held })
}

/// What `Keep-Alive: timeout=5` leaves, less a second for the way.
pub(super) fn kept(value: &[u8]) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?;
    let seconds = value
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?
        .parse::<u32>()
        .ok()?;
    Some(Duration::from_secs(u64::from(seconds).saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who stands in line finds a connection whose task has not run since it was put back: nobody
    /// would hand it over later.
    #[tokio::test]
    async fn a_connection_that_is_not_ready_yet_is_found_by_who_stands_in_line() {
        let port = seawall_testkit::free_port().expect("a port");
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await;
        let _listener = listener.expect("free");
        let url = format!("http://127.0.0.1:{port}");
        let mut upstream = seawall::config::Upstream::to(url.parse().expect("a URL"));
        upstream.max_connections = 1;
        let address = crate::address::Address::of(&upstream);
        let pool = Pool::new(&upstream, address, 1, None);
        let place = pool.try_place().expect("the only one");
        let send = pool.dial_http1(0, place).await.expect("it listens");
        let until = Tick::MAX;
        pool.shelves[0].lock().idle.push(Idle { send, until });
        assert!(pool.take(0).is_none(), "it is not ready");
        let turn = tokio::time::timeout(Duration::from_secs(1), pool.turn(false));
        assert!(matches!(turn.await, Ok(Ok(Turn::Connection(_)))));
    }

    #[test]
    fn keep_alive_hints() {
        for (value, seconds) in [
            ("timeout=5", Some(4)),
            ("max=9, timeout=1", Some(0)),
            ("timeout=x", None),
            ("max=3", None),
        ] {
            assert_eq!(
                kept(value.as_bytes()),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
