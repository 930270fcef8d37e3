//! A load under a lease of the store.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use seawall::Tick;

use super::answer::{Answer, Source};
use super::remote::Remote;
use super::work::{Fresh, Work};
use crate::Key;
use crate::error::Error;
use crate::guard::Kept;
use crate::local::{Generation, Held, Life};
use crate::metrics::Event;
use crate::store::{COPY, Fetch, Fetched, Fill, Stored, Token};

/// Loads whose lease was gone before their end, after which a value is handed out and not kept. Who
/// asked before the write that took it may have it.
const RELOADS: u32 = 2;
/// Times that the store is asked before the value is loaded without a lease: others take and lose it
/// over and over, or it is written all the time.
const ROUNDS: u32 = 16;

/// How a load under a lease ended.
enum Ended<V> {
    Kept(Answer<V>),
    LeaseGone(Answer<V>),
}

impl<K: Key, V: Send + Sync + 'static> Work<K, V> {
    /// By way of a copy, where the key is hot: what the copy lacks comes from the main entry, which
    /// knows of copies before it is read.
    pub(super) async fn copied(&self, remote: &Arc<Remote<V>>) -> Result<Answer<V>, Error> {
        let (shared, bytes) = (&*self.shared, &self.flight.bytes);
        let hash = crate::filter::hash(bytes);
        let Some(hot) = shared.hot.as_ref().filter(|hot| hot.is(hash)) else {
            return self.leased(remote, 0).await;
        };
        let (copy, copies) = (hot.copy(hash), hot.copies());
        if copy == 0 {
            return self.leased(remote, 0).await;
        }
        let generation = shared.local.generations().of(bytes);
        let ask = Fetch {
            token: Token(fastrand::u64(..)),
            lease: shared.settings.lease,
            early: 0.0,
            copies: 0,
        };
        let granted = match remote.fetch_copy(copy, bytes, &ask).await {
            Some(Fetched::Hit(stored)) => {
                if let Some(answer) = self.meanwhile(remote, Some(stored), generation, &mut None) {
                    return Ok(answer);
                }
                false
            }
            Some(Fetched::Granted(_)) => true,
            // Another one fills it, or nobody knows: the main entry is for all.
            _ => false,
        };
        let answer = Box::pin(self.leased(remote, copies)).await;
        if granted {
            self.fill_copy(remote, copy, ask.token, &answer).await;
        }
        answer
    }

    /// Keeps in a copy what the main entry answered, for no longer than that is fresh.
    async fn fill_copy(
        &self,
        remote: &Arc<Remote<V>>,
        copy: u16,
        token: Token,
        answer: &Result<Answer<V>, Error>,
    ) {
        let (shared, bytes) = (&*self.shared, &self.flight.bytes);
        let until = Tick(self.fresh_until.load(Relaxed));
        let left = until.since(shared.clock.now()).min(COPY);
        let value = match answer {
            Ok(answer) if !answer.stale && !left.is_zero() => match &answer.value {
                Some(value) => remote.codec.encode(value).ok().map(Some),
                None => Some(None),
            },
            _ => None,
        };
        let Some(value) = value else {
            return remote.release_copy(copy, bytes, token).await;
        };
        let fill = Fill {
            token,
            value: value.as_deref(),
            fresh: left,
            stale: Duration::ZERO,
            load: Duration::ZERO,
        };
        remote.fill_copy(copy, bytes, &fill).await;
    }

    /// By way of the store, for readers who know of so many copies.
    pub(super) async fn leased(
        &self,
        remote: &Arc<Remote<V>>,
        copies: u16,
    ) -> Result<Answer<V>, Error> {
        let (shared, bytes) = (&*self.shared, &self.flight.bytes);
        let mut early = self.early;
        let mut seen = None;
        let mut reloads = 0;
        let mut rounds = 0;
        let patience = shared.clock.now() + 2 * shared.settings.lease;
        while rounds < ROUNDS {
            rounds += 1;
            // Both before the store is asked: nothing is missed between its answer and the use of it.
            let told = remote.coherence.waiting(bytes);
            let generation = shared.local.generations().of(bytes);
            let ask = Fetch {
                token: Token(fastrand::u64(..)),
                lease: shared.settings.lease,
                early,
                copies,
            };
            early = 0.0;
            let Some(fetched) = remote.fetch(bytes, &ask).await else {
                return self.reserved(remote, generation, seen).await;
            };
            let (stored, left) = match fetched {
                Fetched::Hit(stored) => (Some(stored), None),
                Fetched::Busy { stored, left } => (stored, Some(left)),
                Fetched::Granted(stored) => {
                    shared.metrics.count(Event::RedisMiss);
                    self.meanwhile(remote, stored, generation, &mut seen);
                    match self.under(remote, ask.token, generation).await {
                        Ok(Ended::Kept(answer)) => return Ok(answer),
                        Ok(Ended::LeaseGone(answer)) if reloads == RELOADS => return Ok(answer),
                        Ok(Ended::LeaseGone(_)) => reloads += 1,
                        Err(error) => return self.failed(error, seen),
                    }
                    continue;
                }
                Fetched::Fenced(stored) => {
                    shared.metrics.count(Event::RedisMiss);
                    self.meanwhile(remote, stored, generation, &mut seen);
                    return self.unkept(seen).await;
                }
            };
            match (self.meanwhile(remote, stored, generation, &mut seen), left) {
                (Some(answer), _) => return Ok(answer),
                (None, Some(left)) => {
                    shared.metrics.count(Event::Wait);
                    if let Some(waits) = &self.load.waits {
                        waits();
                    }
                    let now = shared.clock.now();
                    // To look at a lease is no attempt.
                    if !remote.wait(told, left, now).await && now < patience {
                        rounds -= 1;
                    }
                }
                // It does not decode: what is loaded next takes its place.
                (None, None) => {
                    remote.invalidate(bytes, false).await;
                }
            }
        }
        self.unkept(seen).await
    }

    /// What the store keeps, while another is loaded or not: for those who wait, for this process
    /// and, where it is fresh, as the answer.
    fn meanwhile(
        &self,
        remote: &Arc<Remote<V>>,
        stored: Option<Stored>,
        generation: Generation,
        seen: &mut Option<(Arc<V>, Generation)>,
    ) -> Option<Answer<V>> {
        let (shared, stored) = (&*self.shared, stored?);
        let value = match stored
            .value
            .as_deref()
            .map(|bytes| remote.codec.decode(bytes))
        {
            None => None,
            Some(Ok(value)) => Some(Arc::new(value)),
            Some(Err(_)) => {
                shared.metrics.count(Event::NotDecoded);
                return None;
            }
        };
        let fresh = !stored.fresh.is_zero() && !stored.invalidated;
        let answer = Answer {
            value: value.clone(),
            source: Source::Redis,
            stale: !fresh,
        };
        if let Some(offer) = &self.offer {
            offer.make(answer.clone());
        }
        if fresh {
            shared.metrics.count(Event::RedisHit);
            let (now, settings) = (shared.clock.now(), &shared.settings);
            let life = stored.fresh.min(settings.local_ttl);
            let stale = match value {
                Some(_) => settings.stale,
                None => Duration::ZERO,
            };
            let life = Life::new(now, life, stale, stored.load, settings.beta);
            self.hold(Held {
                value,
                generation,
                life,
            });
            return Some(answer);
        }
        if let (Some(value), false) = (value, stored.invalidated) {
            *seen = Some((value, generation));
        }
        None
    }

    /// Loads under the lease `token`, and fills.
    async fn under(
        &self,
        remote: &Arc<Remote<V>>,
        token: Token,
        generation: Generation,
    ) -> Result<Ended<V>, Error> {
        let (shared, bytes) = (&*self.shared, &self.flight.bytes);
        let fresh = match self.load().await {
            Ok(fresh) => fresh,
            Err(error) => {
                remote.release(bytes, token, shared.settings.lease).await;
                return Err(error);
            }
        };
        let Some(written) = self.encoded(remote, &fresh) else {
            remote.release(bytes, token, shared.settings.lease).await;
            return Ok(Ended::Kept(fresh.answer()));
        };
        let fill = Fill {
            token,
            value: written.as_deref(),
            fresh: fresh.fresh,
            stale: fresh.stale,
            load: fresh.life.load,
        };
        match remote.fill(bytes, &fill).await {
            Some(true) => {
                self.keep(&fresh, generation);
                Ok(Ended::Kept(fresh.answer()))
            }
            Some(false) => {
                shared.metrics.count(Event::LeaseLost);
                Ok(Ended::LeaseGone(fresh.answer()))
            }
            // Nobody knows whether an invalidation came between: the reserve's short life bounds it.
            None => {
                remote.abandon(bytes, token, shared.settings.lease);
                self.stand_in(remote, &fresh, generation);
                Ok(Ended::Kept(fresh.answer()))
            }
        }
    }

    /// By way of the reserve, as the store is not to be asked or did not answer.
    async fn reserved(
        &self,
        remote: &Arc<Remote<V>>,
        generation: Generation,
        mut seen: Option<(Arc<V>, Generation)>,
    ) -> Result<Answer<V>, Error> {
        let (shared, bytes) = (&*self.shared, &self.flight.bytes);
        let generations = shared.local.generations();
        let source = Source::Reserve;
        match remote.reserved(bytes, shared.clock.now(), generations) {
            Some(Kept::Fresh(value)) => {
                shared.metrics.count(Event::ReserveHit);
                let stale = false;
                return Ok(Answer {
                    value,
                    source,
                    stale,
                });
            }
            Some(Kept::Stale(value)) => {
                if let Some(offer) = &self.offer {
                    let (value, stale) = (value.clone(), true);
                    offer.make(Answer {
                        value,
                        source,
                        stale,
                    });
                }
                seen = value.map(|value| (value, generation)).or(seen);
            }
            None => {}
        }
        match self.load().await {
            Ok(fresh) => {
                self.stand_in(remote, &fresh, generation);
                Ok(fresh.answer())
            }
            Err(error) => self.failed(error, seen),
        }
    }

    fn stand_in(&self, remote: &Arc<Remote<V>>, fresh: &Fresh<V>, generation: Generation) {
        let (now, local) = (self.shared.clock.now(), &self.shared.local);
        let bytes = &self.flight.bytes;
        remote.stand_in(bytes, fresh, generation, now, local.generations());
    }

    /// The bytes to keep, `Some(None)` for an absence; `None` where it cannot be kept.
    fn encoded(&self, remote: &Arc<Remote<V>>, fresh: &Fresh<V>) -> Option<Option<Bytes>> {
        let metrics = &self.shared.metrics;
        let Some(value) = &fresh.value else {
            return Some(None);
        };
        match remote.codec.encode(value) {
            Ok(bytes) if bytes.len() <= self.shared.settings.max_value => Some(Some(bytes)),
            Ok(_) => {
                metrics.count(Event::TooLarge);
                None
            }
            Err(error) => {
                metrics.count(Event::NotEncoded);
                tracing::debug!(cache = %self.shared.name, %error, "a value cannot be encoded");
                None
            }
        }
    }

    /// Loads for those who wait, and keeps nothing.
    async fn unkept(&self, seen: Option<(Arc<V>, Generation)>) -> Result<Answer<V>, Error> {
        match self.load().await {
            Ok(fresh) => Ok(fresh.answer()),
            Err(error) => self.failed(error, seen),
        }
    }
}
