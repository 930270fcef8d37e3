//! The second level, and what stands in for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use seawall::clock::Clock;
use seawall::{Outcome, Tick};
use tokio::time::timeout;

use super::offer::Offers;
use super::work::Fresh;
use crate::codec::Codec;
use crate::coherence::{Coherence, Waiting};
use crate::guard::{Abandoned, Deliver, Health, Kept, Reserve, StoreCall, Undelivered};
use crate::local::{Generation, Generations};
use crate::metrics::{Event, Metrics};
use crate::report::{self, RedisReport};
use crate::store::{Fault, Fetch, Fetched, Fill, Notice, Put, Store, Token, Written};

/// From one look at a lease to the next while the channel, which would tell, is down: from the first
/// to the second, at random.
const LOOK: (u64, u64) = (50, 150);
/// While the channel is down, which would tell of another epoch, it is asked for this often.
const DEAF: Duration = Duration::from_secs(1);

/// What several processes share of a cache's entries.
pub(super) struct Remote<V> {
    store: Store,
    pub(super) coherence: Coherence,
    pub(super) codec: Box<dyn Codec<V>>,
    pub(super) offers: Arc<Offers<V>>,
    metrics: Arc<Metrics>,
    health: Health,
    undelivered: Undelivered,
    abandoned: Abandoned,
    /// Fences whose end the store has not taken.
    fences: Abandoned,
    clock: Clock,
    lease: Duration,
    next_doubt: AtomicU64,
    /// The most copies that any key was found to have.
    copies: AtomicU16,
    /// By a key's bytes, with the generation it was loaded under.
    reserve: Reserve<(Option<Arc<V>>, Generation)>,
}

/// What is set of a [`Remote`].
pub(super) struct Parts<V> {
    pub(super) store: Store,
    pub(super) coherence: Coherence,
    pub(super) codec: Box<dyn Codec<V>>,
    pub(super) health: Health,
    pub(super) clock: Clock,
    pub(super) reserve: u64,
    pub(super) stale: Duration,
    pub(super) lease: Duration,
}

impl<V: Send + Sync + 'static> Remote<V> {
    pub(super) fn new(parts: Parts<V>, metrics: Arc<Metrics>) -> Self {
        Self {
            store: parts.store,
            coherence: parts.coherence,
            codec: parts.codec,
            offers: Arc::default(),
            metrics,
            health: parts.health,
            undelivered: Undelivered::new(UNDELIVERED),
            abandoned: Abandoned::new(parts.clock.clone()),
            fences: Abandoned::new(parts.clock.clone()),
            clock: parts.clock,
            lease: parts.lease,
            next_doubt: AtomicU64::new(0),
            copies: AtomicU16::new(0),
            reserve: Reserve::new(parts.reserve, Duration::from_secs(2), parts.stale),
        }
    }
}

/// Keys whose invalidation is kept until the store takes it; for more the epoch is raised.
const UNDELIVERED: usize = 65_536;

impl<V: Send + Sync + 'static> Remote<V> {
    /// What the store answers; `None` where it is not to be asked, or did not answer.
    pub(super) async fn fetch(self: &Arc<Self>, bytes: &Bytes, ask: &Fetch) -> Option<Fetched> {
        if self
            .undelivered
            .distrusts(bytes, self.store.shard_of(bytes))
        {
            return None;
        }
        let pass = self.pass(bytes)?;
        let fetched = self.ask(pass, self.store.fetch(bytes, ask)).await;
        if fetched.is_none() {
            self.abandon(bytes, ask.token, ask.lease);
        }
        fetched
    }

    /// As [`fetch`](Self::fetch), of a copy of a hot key.
    pub(super) async fn fetch_copy(
        &self,
        copy: u16,
        bytes: &Bytes,
        ask: &Fetch,
    ) -> Option<Fetched> {
        let store = self.store.copy(copy);
        // What is not delivered is kept under the main entry's shard.
        if self
            .undelivered
            .distrusts(bytes, self.store.shard_of(bytes))
        {
            return None;
        }
        let pass = self.health.call(store.shard_of(bytes))?;
        self.ask(pass, store.fetch(bytes, ask)).await
    }

    pub(super) async fn fill_copy(&self, copy: u16, bytes: &Bytes, fill: &Fill<'_>) {
        let store = self.store.copy(copy);
        let pass = self.health.follow(store.shard_of(bytes));
        let _ = self.ask(pass, store.fill(bytes, fill)).await;
    }

    pub(super) async fn release_copy(&self, copy: u16, bytes: &Bytes, token: Token) {
        let store = self.store.copy(copy);
        let pass = self.health.follow(store.shard_of(bytes));
        let _ = self.ask(pass, store.release(bytes, token)).await;
    }

    /// Tells every process that a key is hot, or no longer.
    pub(super) async fn tell_hot(&self, bytes: Bytes, hot: bool) {
        let notice = Notice::Hot(bytes.clone(), hot);
        let Some(pass) = self.pass(&bytes) else {
            return;
        };
        let _ = self.ask(pass, self.store.tell(&notice)).await;
    }

    /// Whether it was kept; `None`: nobody knows.
    pub(super) async fn fill(&self, bytes: &Bytes, fill: &Fill<'_>) -> Option<bool> {
        let pass = self.health.follow(self.store.shard_of(bytes));
        self.ask(pass, self.store.fill(bytes, fill)).await
    }

    /// Gives a lease back, now or as soon as the store takes it.
    pub(super) async fn release(self: &Arc<Self>, bytes: &Bytes, token: Token, lease: Duration) {
        let pass = self.health.follow(self.store.shard_of(bytes));
        let released = self.ask(pass, self.store.release(bytes, token)).await;
        if released.is_none() {
            self.abandon(bytes, token, lease);
        }
    }

    /// A lease that may have been granted is to be nobody's.
    pub(super) fn abandon(self: &Arc<Self>, bytes: &Bytes, token: Token, lease: Duration) {
        self.abandoned.add(bytes.clone(), token, lease);
        let remote = self.clone();
        tokio::spawn(async move {
            let release = async |key: Bytes, token| remote.store.release(&key, token).await.is_ok();
            remote.abandoned.flush(release).await;
        });
    }

    /// Waits until the lease's holder is done with it, or cannot be. `false`: with the channel down
    /// that is not known, and it is time to look again.
    pub(super) async fn wait(&self, told: Waiting, left: Duration, now: Tick) -> bool {
        let look = Duration::from_millis(fastrand::u64(LOOK.0..LOOK.1));
        let intact = self.coherence.intact(now);
        let most = match intact {
            true => left + Duration::from_millis(fastrand::u64(1..LOOK.0)),
            false => left.min(look),
        };
        let _ = timeout(most, told).await;
        intact
    }

    /// Invalidates, now or as soon as the store takes it.
    pub(super) async fn invalidate(self: &Arc<Self>, bytes: &Bytes, keep_stale: bool) {
        let copies = self
            .write(bytes, self.store.invalidate(bytes, keep_stale))
            .await;
        self.and_copies(bytes, copies).await;
    }

    /// Before a write. Without a fence it is still followed by an invalidation.
    pub(super) async fn fence(self: &Arc<Self>, bytes: &Bytes, token: Token, length: Duration) {
        let copies = self
            .write(bytes, self.store.fence(bytes, token, length))
            .await;
        // They know of no fence, and would outlive a writer that dies.
        if copies.is_some() {
            self.and_copies(bytes, copies).await;
        }
    }

    /// After a write under a fence.
    pub(super) async fn unfence(
        self: &Arc<Self>,
        bytes: &Bytes,
        token: Token,
        put: Option<&Put<'_>>,
    ) {
        let written = self
            .write(bytes, self.store.unfence(bytes, token, put))
            .await;
        if written.is_none() {
            self.end(bytes, token);
        }
        self.written(bytes, written).await;
    }

    /// Ends a fence as soon as the store takes it: until it falls every read is a load.
    fn end(self: &Arc<Self>, bytes: &Bytes, token: Token) {
        self.fences.add(bytes.clone(), token, self.lease);
        let remote = self.clone();
        tokio::spawn(async move {
            let store = &remote.store;
            let end = async |key: Bytes, token| store.unfence(&key, token, None).await.is_ok();
            remote.fences.flush(end).await;
        });
    }

    pub(super) async fn put(self: &Arc<Self>, bytes: &Bytes, put: &Put<'_>) {
        let written = self.write(bytes, self.store.put(bytes, put)).await;
        self.written(bytes, written).await;
    }

    /// Voids everything.
    pub(super) async fn raise_epoch(&self) -> Result<(), Fault> {
        self.reserve.clear();
        self.store.raise_epoch().await.map(|_| ())
    }

    pub(super) fn adopt_epoch(&self, epoch: u64) {
        self.reserve.clear();
        self.store.adopt_epoch(epoch);
    }

    /// What it tells of itself.
    pub(super) fn report(&self, now: Tick) -> RedisReport {
        let (heard, counts) = (self.coherence.heard(), self.coherence.counts());
        let known = heard != Tick::ZERO;
        let intact = self.coherence.intact(now);
        RedisReport {
            coherence: match intact {
                true => report::Coherence::Intact,
                false => report::Coherence::Lost,
            },
            heard_ms: known.then(|| now.since(heard).as_millis() as u64),
            notices: counts.notices.load(Relaxed),
            lost: counts.lost.load(Relaxed),
            garbage: counts.garbage.load(Relaxed),
            shards: self.health.buckets() as u64,
            given_up: self.health.out() as u64,
            undelivered: self.undelivered.len() as u64,
        }
    }

    pub(super) fn doubt_epoch(&self) {
        self.store.doubt_epoch();
    }

    /// What the reserve has of a key.
    pub(super) fn reserved(
        &self,
        bytes: &Bytes,
        now: Tick,
        generations: &Generations,
    ) -> Option<Kept<Option<Arc<V>>>> {
        let good = |(value, generation)| generations.is(generation).then_some(value);
        match self.reserve.get(bytes, now)? {
            Kept::Fresh(held) => good(held).map(Kept::Fresh),
            Kept::Stale(held) => good(held).map(Kept::Stale),
        }
    }

    /// Keeps in the reserve what the store did not take.
    pub(super) fn stand_in(
        &self,
        bytes: &Bytes,
        fresh: &Fresh<V>,
        generation: Generation,
        now: Tick,
        generations: &Generations,
    ) {
        let held = (fresh.value.clone(), generation);
        let good = || generations.is(generation);
        self.reserve.insert(bytes.clone(), held, now, good);
    }

    async fn written(self: &Arc<Self>, bytes: &Bytes, written: Option<Written>) {
        self.and_copies(bytes, written.map(|written| written.copies))
            .await;
    }

    async fn and_copies(self: &Arc<Self>, bytes: &Bytes, copies: Option<u16>) {
        let mut delivered = copies.is_some();
        let copies = copies.unwrap_or(0);
        self.copies.fetch_max(copies, Relaxed);
        for copy in 1..=copies {
            let store = self.store.copy(copy);
            let call = store.invalidate(bytes, false);
            delivered &= self.write_to(store.shard_of(bytes), call).await.is_some();
        }
        if !delivered {
            self.undelivered
                .add(bytes.clone(), self.store.shard_of(bytes));
            let remote = self.clone();
            tokio::spawn(async move { remote.undelivered.flush(&*remote).await });
        }
    }

    /// The right to ask the store, where it is in health.
    fn pass(&self, bytes: &Bytes) -> Option<StoreCall<'_>> {
        if self.health.is_back() {
            self.reserve.clear();
        }
        let now = self.clock.now();
        let due = self.next_doubt.load(Relaxed);
        if now.0 >= due && !self.coherence.intact(now) {
            self.next_doubt.store((now + DEAF).0, Relaxed);
            self.store.doubt_epoch();
        }
        self.health.call(self.store.shard_of(bytes))
    }

    /// Tells the store of a write, unless it is given up.
    async fn write<T>(
        &self,
        bytes: &Bytes,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Option<T> {
        // Under an epoch that is over, nobody would notice it.
        if !self.coherence.intact(self.clock.now()) {
            self.store.doubt_epoch();
        }
        self.write_to(self.store.shard_of(bytes), call).await
    }

    async fn write_to<T>(
        &self,
        shard: u16,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Option<T> {
        let pass = self.health.write(shard)?;
        self.ask(pass, call).await
    }

    async fn ask<T>(
        &self,
        pass: StoreCall<'_>,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Option<T> {
        match call.await {
            Ok(answer) => {
                pass.finish(Outcome::Success);
                Some(answer)
            }
            Err(fault) => {
                self.failed(&fault);
                pass.finish(match fault.is_outage() {
                    true => Outcome::Failure,
                    false => Outcome::Overloaded,
                });
                None
            }
        }
    }

    fn failed(&self, fault: &Fault) {
        self.metrics.count(Event::RedisError);
        tracing::debug!(%fault, "the store did not answer");
    }
}

impl<V: Send + Sync + 'static> Deliver for Remote<V> {
    async fn invalidate(&self, key: &Bytes) -> bool {
        let Some(copies) = self.store.invalidate(key, false).await.ok() else {
            return false;
        };
        // An attempt before may have removed the main entry, and with it the number.
        for copy in 1..=copies.max(self.copies.load(Relaxed)) {
            if self.store.copy(copy).invalidate(key, false).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn raise_epoch(&self) -> bool {
        self.store.raise_epoch().await.is_ok()
    }
}
