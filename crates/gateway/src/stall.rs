//! HTTP/2 streams whose client has closed its window.
//!
//! Flow control is the client's right, but while it lasts hyper does not ask the response for more,
//! so nothing that the response could do ends it: the place at the origin and the connection to it
//! would be the client's for as long as it likes. So each stream's task is watched from outside. One
//! that has been given something and not asked for more within `write_timeout` is dropped, which
//! resets that stream, and no other; over HTTP/1.1 the same limit ends the connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;

use hyper::rt::Executor;
use parking_lot::Mutex;
use seawall_policy::Tick;

use crate::client::Client;
use crate::counters::Fault;

/// What a stream's response tells the watch: the number of what was handed over last, 0 once more
/// has been asked for. Only the stream's own task uses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handed(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    waiting: AtomicU32,
    count: AtomicU32,
}

impl Handed {
    /// The client has been given something.
    pub(crate) fn over(&self) {
        let count = self.0.count.load(Relaxed).wrapping_add(1).max(1);
        self.0.count.store(count, Relaxed);
        self.0.waiting.store(count, Relaxed);
    }

    /// It asks for more.
    pub(crate) fn asked(&self) {
        self.0.waiting.store(0, Relaxed);
    }

    fn waiting(&self) -> u32 {
        self.0.waiting.load(Relaxed)
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

/// Ends with the stream, or when it has stalled for too long.
async fn watch(client: Arc<Client>, handed: Handed, stream: impl Future<Output = ()>) {
    let mut stream = pin!(stream);
    let mut alarm = None;
    let mut since = 0;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let waiting = handed.waiting();
        if waiting == 0 && since == 0 {
            return Poll::Pending;
        }
        let core = &client.core;
        let alarm = alarm.get_or_insert_with(|| core.sweep.alarm());
        if waiting != since {
            since = waiting;
            alarm.set(match waiting {
                0 => Tick::MAX,
                _ => core.clock.now() + client.site.write_timeout,
            });
        }
        if waiting == 0 || alarm.poll(cx).is_pending() {
            return Poll::Pending;
        }
        core.counters().fault(Fault::Cut);
        Poll::Ready(())
    })
    .await;
}
