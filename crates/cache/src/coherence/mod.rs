//! Hearing of what other processes do to the entries one has read.
//!
//! What a process keeps of an entry is stale as soon as another one writes. So whatever is done to an
//! entry is told on a channel: for the copies in processes, and for who waits until another one has
//! loaded. What matters is not that a notice arrives, which nobody can promise, but that none is
//! missed unnoticed. The channel is a connection of its own to the very server that publishes, and
//! a `PING` goes down the same connection four times in a bound: its answer comes after every notice
//! that was published before, so *intact* means that everything up to a moment ago was heard. When
//! the connection breaks or is silent for longer than the bound, everything held is void
//! ([`Notice::Lost`]), and once more when it is back, for what was published in between.
//!
//! Why not Redis's client-side caching (`CLIENT TRACKING`)? It tells of *keys that changed*, and an
//! entry changes for reasons that are no news: a lease that is taken, a waiter that leaves a mark, an
//! early refresh; each would throw the key out of every process, whereas a notice is sent for what
//! concerns others, and for `Filled` only where someone waits. The server remembers who has read
//! which key, up to a million by default, and invents invalidations when that is full; with
//! broadcasting it remembers nothing, and tells of the changes above all the more. It tells nothing
//! of keys that do not exist, which is what waiters for a first load need. And it needs the same care
//! for lost connections. It would save the `PUBLISH`, which takes about a microsecond of a script.
//!
//! In a Cluster a message that is published at one server reaches subscribers at another over the
//! bus between them, which loses what is on its way when a link breaks, without a sign at either
//! end. So each process subscribes to every master, and hears each notice from the one that published
//! it, at the price of hearing it from the others, too: with *n* masters *n* times, which changes
//! nothing but the work. (Sharded channels would stay with their server. But a channel lives in one
//! slot, and a script publishes in the slot of its key: it would take one channel for each of 16,384
//! slots.) While any master is silent, nothing is intact. A master that took over is heard as soon as
//! the map of slots shows it, which is asked for once in a bound.

#[cfg(feature = "redis")]
mod channel;
#[cfg(test)]
mod tests;
mod waiters;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use seawall_policy::Tick;

use crate::store::Notice;
use waiters::Waiters;
pub(crate) use waiters::Waiting;

type Hear = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Who hears of what is done to a cache's entries. Cheap to clone; ends with the last clone.
#[derive(Clone)]
pub(crate) struct Coherence {
    hub: Arc<Hub>,
    #[cfg(feature = "redis")]
    channel: Option<Arc<channel::Channel>>,
}

/// What the channel of a process and those who listen to it share.
struct Hub {
    hears: Mutex<Arc<[(u64, Hear)]>>,
    next: AtomicU64,
    waiters: Arc<Waiters>,
    bound: Duration,
    /// All that was published before this tick was heard; 0: the channel is down.
    heard: AtomicU64,
    counts: Counts,
}

/// What a channel has seen.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Notices.
    pub(crate) notices: AtomicU64,
    /// Messages that are none.
    pub(crate) garbage: AtomicU64,
    /// Times at which something may have been missed.
    pub(crate) lost: AtomicU64,
}

/// A listener, until it is dropped.
#[must_use = "a listener hears nothing after its drop"]
pub(crate) struct Hearing {
    hub: Arc<Hub>,
    id: u64,
}

impl Coherence {
    /// Within the process: [`Coherence::tell`] is all there is to hear, and nothing is ever missed.
    pub(crate) fn local() -> Self {
        Self {
            hub: Arc::new(Hub::new(Duration::MAX, Tick::MAX)),
            #[cfg(feature = "redis")]
            channel: None,
        }
    }

    /// Calls `hear` with every notice, on the task that hears it, one after the other: it must not
    /// block. It is called before who waits for the key is woken, so whoever reads again finds
    /// everything as the notice left it.
    pub(crate) fn hear(&self, hear: impl Fn(&Notice) + Send + Sync + 'static) -> Hearing {
        let id = self.hub.next.fetch_add(1, Relaxed);
        let mut hears = self.hub.hears.lock();
        let with = hears.iter().cloned().chain([(id, Arc::new(hear) as Hear)]);
        *hears = with.collect();
        Hearing {
            hub: self.hub.clone(),
            id,
        }
    }

    /// Ready when `key` was filled, released or invalidated after this call, or may have been. Made
    /// before the store is asked, so that nothing is missed between the answer and the wait.
    pub(crate) fn waiting(&self, key: &Bytes) -> Waiting {
        self.ensure();
        self.hub.waiters.wait(key)
    }

    /// Tells everyone in this process.
    pub(crate) fn tell(&self, notice: &Notice) {
        self.hub.tell(notice);
    }

    /// Whether all that was published until not longer than the bound before `now` was heard: what
    /// is kept in the process may be served. One load.
    #[inline]
    pub(crate) fn intact(&self, now: Tick) -> bool {
        let heard = self.hub.heard.load(SeqCst);
        heard != 0 && now.since(Tick(heard)) <= self.hub.bound
    }

    /// Until when everything was heard; [`Tick::ZERO`] while the channel is down.
    pub(crate) fn heard(&self) -> Tick {
        Tick(self.hub.heard.load(SeqCst))
    }

    /// What it has seen.
    pub(crate) fn counts(&self) -> &Counts {
        &self.hub.counts
    }

    /// Sees to it that the channel is listened to, where there is one: the runtime on which its task
    /// ran may have ended.
    pub(crate) fn ensure(&self) {
        #[cfg(feature = "redis")]
        if let Some(channel) = &self.channel {
            channel.ensure();
        }
    }
}

impl Hub {
    fn new(bound: Duration, heard: Tick) -> Self {
        Self {
            hears: Mutex::new(Arc::new([])),
            next: AtomicU64::new(0),
            waiters: Arc::default(),
            bound,
            heard: AtomicU64::new(heard.0),
            counts: Counts::default(),
        }
    }

    fn tell(&self, notice: &Notice) {
        self.counts.notices.fetch_add(1, Relaxed);
        let hears = self.hears.lock().clone();
        for (_, hear) in &*hears {
            hear(notice);
        }
        match notice {
            Notice::Invalidated(key) | Notice::Filled(key) | Notice::Released(key) => {
                self.waiters.tell(key);
            }
            Notice::Epoch(_) | Notice::Lost => self.waiters.tell_all(),
            Notice::Hot(..) => {}
        }
        if matches!(notice, Notice::Lost) {
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        let mut hears = self.hub.hears.lock();
        *hears = hears
            .iter()
            .filter(|(id, _)| *id != self.id)
            .cloned()
            .collect();
    }
}

impl fmt::Debug for Coherence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coherence")
            .field("heard", &self.heard())
            .field("counts", &self.hub.counts)
            .finish_non_exhaustive()
    }
}
