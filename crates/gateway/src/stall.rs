//! HTTP/2 streams whose client takes too little.
//!
//! Flow control is the client's right, but while it lasts hyper does not ask the response for more,
//! so nothing that the response could do ends it: the place at the origin and the connection to it
//! would be the client's for as long as it likes. So each stream's task is watched from outside. One
//! that does not keep its client's [pace](crate::pace) is dropped, which resets that stream, and no
//! other; over HTTP/1.1 the same rule ends the connection.
//!
//! How much of what it was given the client has taken shows only when hyper asks for more. So it is
//! given [pieces](PIECE): to take one in a window is less than the least rate.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::rt::Executor;
use parking_lot::Mutex;
use seawall_policy::Tick;

use crate::client::Client;
use crate::counters::Fault;
use crate::pace::Pace;
use crate::sweep::Alarm;

/// The most that is handed over at once: the largest frame that HTTP/2 has by default.
pub(crate) const PIECE: usize = 16 * 1024;

/// What a stream's response tells the watch. Only the stream's own task uses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handed(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// Bytes handed over in all; a head or a trailer counts as one.
    over: AtomicU64,
    /// Of these, what the client has taken.
    taken: AtomicU64,
}

impl Handed {
    /// The client has been given something.
    pub(crate) fn over(&self, bytes: usize) {
        let over = self.0.over.load(Relaxed) + (bytes as u64).max(1);
        self.0.over.store(over, Relaxed);
    }

    /// It asks for more.
    pub(crate) fn asked(&self) {
        self.0.taken.store(self.0.over.load(Relaxed), Relaxed);
    }

    fn taken(&self) -> u64 {
        self.0.taken.load(Relaxed)
    }

    /// Whether the client has not taken all of it.
    fn waits(&self) -> bool {
        self.taken() != self.0.over.load(Relaxed)
    }
}

/// Runs a connection's streams, each under watch.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    client: Arc<Client>,
    /// Of the request that was begun last: hyper makes its future, then has it run.
    next: Arc<Mutex<Option<Handed>>>,
}

impl Streams {
    pub(crate) fn new(client: &Arc<Client>) -> Self {
        Self {
            client: client.clone(),
            next: Arc::default(),
        }
    }

    /// For a request that begins.
    pub(crate) fn begin(&self) -> Handed {
        let handed = Handed::default();
        *self.next.lock() = Some(handed.clone());
        handed
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        match self.next.lock().take() {
            Some(handed) => drop(tokio::spawn(watch(self.client.clone(), handed, stream))),
            None => drop(tokio::spawn(stream)),
        }
    }
}

/// Ends with the stream, or when its client is too slow.
async fn watch(client: Arc<Client>, handed: Handed, stream: impl Future<Output = ()>) {
    let mut stream = pin!(stream);
    let mut watched = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if watched.is_none() && !handed.waits() {
            return Poll::Pending;
        }
        let watched = watched.get_or_insert_with(|| Watched::new(&client));
        if watched.is_too_slow(&client, &handed, cx) {
            client.core.counters().fault(Fault::Cut);
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// A stream whose client has let it wait.
struct Watched {
    pace: Pace,
    alarm: Alarm,
    armed: bool,
    taken: u64,
}

impl Watched {
    fn new(client: &Client) -> Self {
        Self {
            pace: Pace::new(client.site.write_timeout, client.site.min_rate),
            alarm: client.core.sweep.alarm(),
            armed: false,
            taken: 0,
        }
    }

    fn is_too_slow(&mut self, client: &Client, handed: &Handed, cx: &Context<'_>) -> bool {
        let now = || client.core.clock.now();
        let taken = handed.taken();
        let moved = taken != self.taken;
        if moved {
            self.pace.moved(taken - self.taken, now);
            self.taken = taken;
        }
        let waits = handed.waits();
        if waits && (moved || !self.armed) {
            self.pace.share(client.active());
            self.alarm.set(self.pace.wait(now()));
        } else if !waits && self.armed {
            self.alarm.set(Tick::MAX);
        }
        self.armed = waits;
        waits && self.alarm.poll(cx).is_ready()
    }
}
