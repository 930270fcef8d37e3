//! Connections to one origin.
//!
//! Every core keeps the connections that it dialled: a request and its connection then live on one
//! thread and wake each other without a system call. The cap on their number is shared and hard;
//! hyper-util's own pool has none and dials while it waits. A core that is at the cap takes an idle
//! connection from another core, and if there is none, waits its turn.

mod bell;
mod dial;
mod http1;
mod http2;
mod learn;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use hyper::client::conn;
use parking_lot::Mutex;
use seawall::config::Upstream;
use seawall_policy::Tick;
use tokio::sync::oneshot;

pub(crate) use dial::{DialError, Dialled};
use http1::SendHttp1;

use crate::address::Address;
use crate::body::RequestBody;
use crate::core::Core;
use crate::tls::Connector;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

type SendHttp2 = conn::http2::SendRequest<RequestBody>;

/// The connections to one origin, over all cores.
#[derive(Debug)]
pub(crate) struct Pool {
    address: Address,
    limits: Limits,
    /// `None`: in the clear. A reload may change it.
    tls: Mutex<Option<Connector>>,
    /// Connections that are open or being dialled.
    open: AtomicUsize,
    shelves: Box<[Mutex<Shelf>]>,
    /// Length of `queue`, to be read without its lock.
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<oneshot::Sender<Turn>>>,
}

/// What a reload may change.
#[derive(Debug, Default)]
struct Limits {
    /// Nanoseconds that a connection may take to open,
    connect: AtomicU64,
    /// and that an idle one is kept.
    idle: AtomicU64,
    cap: AtomicUsize,
}

/// What one core keeps.
#[derive(Debug, Default)]
struct Shelf {
    idle: Vec<http1::Idle>,
    multiplexed: Vec<Arc<http2::Multiplexed>>,
    /// Held while dialling HTTP/2, so that a burst shares one connection.
    dialling: Arc<tokio::sync::Mutex<()>>,
}

/// What a request gets that waited for its turn.
#[derive(Debug)]
enum Turn {
    Connection(SendHttp1),
    Place(Place),
}

/// One of the pool's connections, from before the dial until its socket is closed.
#[derive(Debug)]
struct Place {
    pool: Arc<Pool>,
    /// Freed without looking for who waits.
    quiet: bool,
}

/// A connection in use by one request. Dropped before the reply was complete, it takes an HTTP/1.1
/// connection with it, so that the origin's work is cancelled; on HTTP/2 the stream is reset.
#[derive(Debug)]
pub(crate) enum Lease {
    Http1(http1::Lease),
    Http2(http2::Lease),
}

impl Lease {
    /// The reply was read to its end: the next request may have the connection.
    pub(crate) fn complete(self, now: Tick) {
        if let Self::Http1(lease) = self {
            lease.put_back(now);
        }
    }

    /// Does `take`, which takes a part of the reply and returns whether that was the last. The
    /// connection is not woken for nothing then.
    pub(crate) fn take<T>(&self, take: impl FnOnce() -> (T, bool)) -> T {
        match self {
            Self::Http1(lease) => lease.take(take),
            Self::Http2(_) => take().0,
        }
    }

    /// Heeds how long the origin says it keeps the connection, so as not to meet it closing.
    pub(crate) fn learn(&mut self, headers: &HeaderMap) {
        if let Self::Http1(lease) = self
            && let Some(value) = headers.get(KEEP_ALIVE)
        {
            lease.kept = http1::kept(value.as_bytes());
        }
    }

    /// Whether the connection had served a request before.
    pub(crate) fn reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.reused,
            Self::Http2(lease) => lease.reused,
        }
    }
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PoolState {
    pub(crate) open: usize,
    pub(crate) idle: usize,
    pub(crate) waiting: usize,
    pub(crate) cap: usize,
}

impl Pool {
    pub(crate) fn new(
        upstream: &Upstream,
        address: Address,
        cores: usize,
        tls: Option<&Connector>,
    ) -> Arc<Self> {
        let pool = Self {
            address,
            limits: Limits::default(),
            tls: Mutex::new(tls.cloned()),
            open: AtomicUsize::new(0),
            shelves: (0..cores.max(1)).map(|_| Mutex::default()).collect(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
        };
        pool.configure(upstream, tls);
        Arc::new(pool)
    }

    /// Takes other settings over. What is open beyond a lowered cap is closed as it comes back.
    pub(crate) fn configure(&self, upstream: &Upstream, tls: Option<&Connector>) {
        let before = std::mem::replace(&mut *self.tls.lock(), tls.cloned());
        if before.as_ref() != tls {
            // No new call goes over what was agreed on under other certificates.
            for shelf in &self.shelves {
                let mut shelf = shelf.lock();
                shelf.idle.clear();
                shelf.multiplexed.clear();
            }
        }
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let limits = &self.limits;
        limits
            .connect
            .store(nanos(upstream.connect_timeout), Ordering::Relaxed);
        limits
            .idle
            .store(nanos(upstream.idle_timeout), Ordering::Relaxed);
        limits
            .cap
            .store(upstream.max_connections.max(1) as usize, Ordering::Relaxed);
    }

    /// Nobody new comes here: [`Pool::prune`] from now on closes whatever is idle.
    pub(crate) fn retire(&self) {
        self.limits.idle.store(0, Ordering::Relaxed);
        for shelf in &self.shelves {
            shelf.lock().idle.clear();
        }
    }

    fn connect(&self) -> Duration {
        Duration::from_nanos(self.limits.connect.load(Ordering::Relaxed))
    }

    fn idle(&self) -> Duration {
        Duration::from_nanos(self.limits.idle.load(Ordering::Relaxed))
    }

    fn cap(&self) -> usize {
        self.limits.cap.load(Ordering::Relaxed)
    }

    /// More is open than may be: since a reload.
    fn is_over(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.cap()
    }

    /// A connection that is at hand, without any waiting.
    pub(crate) fn lease_now(
        self: &Arc<Self>,
        core: &Core,
        http2: bool,
        fresh: bool,
    ) -> Option<Lease> {
        if fresh {
            None
        } else if http2 {
            self.share(core, true).map(Lease::Http2)
        } else {
            self.take_http1(core).map(Lease::Http1)
        }
    }

    /// A connection for one request. Waits at most the connect limit for a turn, and as long again
    /// for the dial. `fresh` asks for a new one: the last one turned out closed.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        core: &Core,
        http2: bool,
        fresh: bool,
    ) -> Result<Lease, DialError> {
        if http2 {
            self.lease_http2(core, fresh).await.map(Lease::Http2)
        } else {
            self.lease_http1(core, fresh).await.map(Lease::Http1)
        }
    }

    pub(crate) fn state(&self) -> PoolState {
        PoolState {
            open: self.open.load(Ordering::Relaxed),
            idle: self
                .shelves
                .iter()
                .map(|shelf| shelf.lock().idle.len())
                .sum(),
            waiting: self.waiting.load(Ordering::Relaxed),
            cap: self.cap(),
        }
    }

    /// Closes what one core has kept idle for longer than it may. Called now and then.
    pub(crate) fn prune(&self, core: usize, now: Tick) {
        let mut shelf = self.shelves[core].lock();
        shelf
            .idle
            .retain(|idle| idle.until > now && !idle.send.send.is_closed());
        shelf
            .multiplexed
            .retain(|shared| !shared.is_closed() && !shared.is_stale(now, self.idle()));
    }

    /// Closes every idle connection of one core: descriptors are short.
    pub(crate) fn close_idle(&self, core: usize) {
        self.shelves[core].lock().idle.clear();
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        self.open
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| {
                (open < self.cap()).then_some(open + 1)
            })
            .ok()
            .map(|_| Place {
                pool: self.clone(),
                quiet: false,
            })
    }

    /// A place to dial a connection, whatever is idle.
    async fn place(self: &Arc<Self>) -> Result<Place, DialError> {
        if let Some(place) = self.try_place() {
            return Ok(place);
        }
        match self.turn(true).await? {
            Turn::Place(place) => Ok(place),
            // An HTTP/1.1 connection is of no use here; closing it frees a place soon.
            Turn::Connection(_) => Err(DialError::Exhausted),
        }
    }

    /// Waits in line for a connection (unless `http2`) or for a place to dial one.
    async fn turn(self: &Arc<Self>, http2: bool) -> Result<Turn, DialError> {
        let (send, receive) = oneshot::channel();
        {
            let mut queue = self.queue.lock();
            // Those whose caller has left.
            queue.retain(|waiting| !waiting.is_closed());
            queue.push_back(send);
            self.waiting.store(queue.len(), Ordering::SeqCst);
        }
        // What was freed before we stood in line was offered to nobody: who frees does so first
        // and then looks whether somebody waits, who waits says so first and then looks again.
        if let Some(turn) = self.at_hand(http2) {
            return Ok(turn);
        }
        match tokio::time::timeout(self.connect(), receive).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(DialError::Exhausted),
        }
    }

    fn at_hand(self: &Arc<Self>, http2: bool) -> Option<Turn> {
        if let Some(place) = self.try_place() {
            return Some(Turn::Place(place));
        }
        let mut shelves = 0..if http2 { 0 } else { self.shelves.len() };
        shelves
            .find_map(|core| self.pop(core))
            .map(|idle| Turn::Connection(idle.send))
    }

    /// Hands what became free to the first in line; gives it back where nobody waits.
    fn hand_over(&self, mut turn: Turn) -> Option<Turn> {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return Some(turn);
        }
        let mut queue = self.queue.lock();
        while let Some(next) = queue.pop_front() {
            self.waiting.store(queue.len(), Ordering::SeqCst);
            match next.send(turn) {
                Ok(()) => return None,
                Err(back) => turn = back,
            }
        }
        Some(turn)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pool = &self.pool;
        pool.open.fetch_sub(1, Ordering::SeqCst);
        while !self.quiet && pool.waiting.load(Ordering::SeqCst) > 0 {
            let Some(place) = pool.try_place() else {
                return;
            };
            let Some(Turn::Place(mut back)) = pool.hand_over(Turn::Place(place)) else {
                return;
            };
            // All in line have left. Freed as an ordinary one, it would come here again.
            back.quiet = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Arc<Pool> {
        let mut upstream = Upstream::to(http::Uri::from_static("http://127.0.0.1:1"));
        upstream.max_connections = 1;
        upstream.connect_timeout = Duration::from_secs(60);
        let address = Address::of(&upstream);
        Pool::new(&upstream, address, 1, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_freed_before_a_caller_stood_in_line_is_found() {
        let pool = pool();
        drop(pool.try_place().expect("the first"));
        let turn = tokio::time::timeout(Duration::from_secs(1), pool.turn(true));
        assert!(matches!(turn.await, Ok(Ok(Turn::Place(_)))));
        assert_eq!(pool.state().open, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_goes_to_the_first_in_line_that_is_still_there() {
        let pool = pool();
        let place = pool.try_place().expect("the first");
        let mut gone = Box::pin(pool.turn(true));
        let mut waits = Box::pin(pool.turn(true));
        for turn in [&mut gone, &mut waits] {
            assert!(poll_once(turn.as_mut()).is_none());
        }
        drop(gone);
        drop(place);
        let turn = poll_once(waits.as_mut()).expect("at once");
        assert!(matches!(turn, Ok(Turn::Place(_))));
        drop((turn, waits));
        assert_eq!(pool.state().open, 0);
    }

    /// Polls once.
    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn no_wake_up_is_lost_between_threads() {
        let pool = pool();
        let threads = [(); 4].map(|()| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    for _ in 0..5_000 {
                        let place = match pool.try_place() {
                            Some(place) => Turn::Place(place),
                            None => pool.turn(true).await.expect("a lost wake-up"),
                        };
                        drop(place);
                    }
                });
            })
        });
        for thread in threads {
            thread.join().expect("no thread panics");
        }
        assert_eq!((pool.state().open, pool.state().waiting), (0, 0));
    }
}
