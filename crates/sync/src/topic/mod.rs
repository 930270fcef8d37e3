//! One producer, and consumers that each read at their own speed.
//!
//! A channel for each consumer stores every message as often as there are consumers; one ring with
//! one bound for all (tokio's `broadcast`) has one answer to a slow reader for all, and it is to
//! lose messages. Here each message is stored once, as long as somebody needs it, and each consumer
//! states its own bound and what is to happen at it ([`WhenBehind`]). So a consumer holds the
//! producer back only where it asked to, and the others never otherwise.
//!
//! The ring is behind one lock, held for a few instructions: never while a message is made, cloned,
//! read or dropped.

mod ring;

use std::fmt;
use std::sync::Arc;

use crate::primitives::Mutex;
use crate::waiters::Waiters;
use ring::{ReaderId, Ring};

/// What happens when a subscriber has as many unread messages as it may, and another comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBehind {
    /// The publisher waits for it, and with the publisher everyone.
    Wait,
    /// It loses its oldest unread message, and is told how many it has lost.
    DropOldest,
    /// It is disconnected, and told so.
    Disconnect,
}

/// Why there is no next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// Messages were dropped before they were read. The next call goes on with what is left.
    #[error("{missed} messages were dropped unread; read faster or allow a larger lag")]
    Missed {
        /// How many, since the last such answer.
        missed: u64,
    },
    /// The subscriber fell too far behind. Every further call answers the same.
    #[error("disconnected with {unread} messages unread; subscribe anew, with a larger lag")]
    Disconnected {
        /// How many messages it had not read.
        unread: u64,
    },
    /// The publisher is gone and everything has been read.
    #[error("the topic is closed")]
    Closed,
}

/// The message that could not be published without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subscriber that is to be waited for has no room")]
pub struct Full<T>(pub T);

struct Shared<T> {
    ring: Mutex<Ring<T>>,
    published: Waiters,
    /// A subscriber may have made room.
    read: Waiters,
}

impl<T> Shared<T> {
    fn add(self: &Arc<Self>, lag: usize, when_behind: WhenBehind) -> Subscriber<T> {
        Subscriber {
            reader: self.ring.lock().add(lag, when_behind),
            shared: Arc::clone(self),
        }
    }
}

/// The one producer of a topic. Dropped, it closes the topic; what is unread can still be read.
///
/// ```
/// use seawall_sync::topic::{Publisher, RecvError, WhenBehind};
///
/// let mut prices = Publisher::new();
/// let mut every = prices.subscribe(100, WhenBehind::Disconnect);
/// let mut latest = prices.subscribe(1, WhenBehind::DropOldest);
/// for price in [10, 11, 12] {
///     prices.try_publish(price)?;
/// }
/// assert_eq!(*every.try_recv()?.unwrap(), 10);
/// assert_eq!(latest.try_recv(), Err(RecvError::Missed { missed: 2 }));
/// assert_eq!(*latest.try_recv()?.unwrap(), 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Publisher<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Publisher<T> {
    /// A topic without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                ring: Mutex::new(Ring::new()),
                published: Waiters::new(),
                read: Waiters::new(),
            }),
        }
    }

    /// A subscriber to all that is published from now on, with at most `lag` (at least 1) unread
    /// messages.
    pub fn subscribe(&self, lag: usize, when_behind: WhenBehind) -> Subscriber<T> {
        self.shared.add(lag, when_behind)
    }

    /// To subscribe from elsewhere.
    #[must_use]
    pub fn topic(&self) -> Topic<T> {
        Topic(Arc::clone(&self.shared))
    }

    /// Publishes `message` unless a subscriber has to be waited for. Returns how many subscribers
    /// will get it; with none, it is dropped.
    ///
    /// Costs a lock, an allocation, and a look at each subscriber.
    ///
    /// # Errors
    ///
    /// [`Full`] with the message, where a subscriber with [`WhenBehind::Wait`] is at its lag.
    pub fn try_publish(&mut self, message: T) -> Result<usize, Full<T>> {
        let mut ring = self.shared.ring.lock();
        if !ring.has_room() {
            return Err(Full(message));
        }
        let (readers, released) = ring.push(message);
        drop(ring);
        self.shared.published.wake();
        drop(released);
        Ok(readers)
    }

    /// Waits until [`try_publish`](Self::try_publish) has room, which it then has until the next
    /// message is published. Cancel-safe.
    pub async fn ready(&mut self) {
        let roomy = || self.shared.ring.lock().has_room().then_some(());
        self.shared.read.until(roomy).await;
    }

    /// Publishes `message`, after waiting for those that are to be waited for. Returns how many
    /// subscribers will get it.
    ///
    /// Dropped before its end, nothing is published and the message is dropped; where that matters,
    /// call [`ready`](Self::ready) first and then [`try_publish`](Self::try_publish).
    ///
    /// ```
    /// use seawall_sync::topic::{Publisher, RecvError, WhenBehind};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut lines = Publisher::new();
    /// let mut log = lines.subscribe(2, WhenBehind::Wait);
    /// let reader = tokio::spawn(async move {
    ///     let mut read = Vec::new();
    ///     while let Ok(line) = log.recv().await {
    ///         read.push(*line);
    ///     }
    ///     read
    /// });
    /// for line in 0..10 {
    ///     assert_eq!(lines.publish(line).await, 1);
    /// }
    /// drop(lines);
    /// assert_eq!(reader.await.unwrap(), (0..10).collect::<Vec<_>>());
    /// # });
    /// ```
    pub async fn publish(&mut self, mut message: T) -> usize {
        loop {
            self.ready().await;
            match self.try_publish(message) {
                Ok(readers) => return readers,
                Err(Full(back)) => message = back,
            }
        }
    }

    /// How many subscribers there are, without those disconnected.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.shared.ring.lock().readers()
    }

    /// How many messages are held because a subscriber has not read them: as many as the slowest
    /// one has unread.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.ring.lock().len()
    }
}

impl<T> Default for Publisher<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.shared.ring.lock().closed = true;
        self.shared.published.wake();
    }
}

impl<T> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("subscribers", &self.subscribers())
            .field("held", &self.held())
            .finish()
    }
}

/// To subscribe to a topic whose [`Publisher`] is elsewhere.
pub struct Topic<T>(Arc<Shared<T>>);

impl<T> Topic<T> {
    /// As [`Publisher::subscribe`]. When the publisher is gone, the subscriber is told that the
    /// topic is closed.
    pub fn subscribe(&self, lag: usize, when_behind: WhenBehind) -> Subscriber<T> {
        self.0.add(lag, when_behind)
    }
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").finish_non_exhaustive()
    }
}

/// A consumer of a topic, with a place and a lag of its own. Dropped, it holds nobody back.
pub struct Subscriber<T> {
    shared: Arc<Shared<T>>,
    reader: ReaderId,
}

impl<T> Subscriber<T> {
    /// The next message, if there is one now. Costs a lock, and where several read the same
    /// message one counted reference.
    ///
    /// # Errors
    ///
    /// [`RecvError`] says what came in its place.
    pub fn try_recv(&mut self) -> Result<Option<Arc<T>>, RecvError> {
        let taken = self.shared.ring.lock().take(self.reader);
        if let Ok(Some(_)) = taken {
            self.shared.read.wake();
        }
        taken
    }

    /// Waits for the next message. Cancel-safe: a message that is not returned comes with the next
    /// call. Needs no runtime.
    ///
    /// # Errors
    ///
    /// [`RecvError`] says what came in its place.
    pub async fn recv(&mut self) -> Result<Arc<T>, RecvError> {
        let shared = Arc::clone(&self.shared);
        let next = || self.try_recv().transpose();
        shared.published.until(next).await
    }

    /// How many messages are there to be read.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.shared.ring.lock().behind(self.reader)
    }
}

impl<T> Drop for Subscriber<T> {
    fn drop(&mut self) {
        let released = self.shared.ring.lock().remove(self.reader);
        self.shared.read.wake();
        drop(released);
    }
}

impl<T> fmt::Debug for Subscriber<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("behind", &self.behind())
            .finish_non_exhaustive()
    }
}
