//! One load of a key, from the asking to the keeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seawall::{Call, Outcome, Tick};

use super::Shared;
use super::answer::{Answer, Source};
use super::flying::{FlightKey, Landed};
use super::load::{Load, limited};
use super::offer::Offer;
use crate::Key;
use crate::error::Error;
use crate::expiry;
use crate::filter::Presence;
use crate::guard::LoadPass;
use crate::local::{Generation, Held, Life};
use crate::metrics::Event;

pub(super) struct Work<K, V> {
    pub(super) shared: Arc<Shared<K, V>>,
    pub(super) key: K,
    pub(super) flight: FlightKey,
    pub(super) load: Load<V>,
    /// Of whoever began it.
    pub(super) call: Call,
    /// What whoever began it has drawn: how eagerly it is loaded early.
    pub(super) early: f64,
    /// Where others wait for what can be answered meanwhile; where there is no store, nothing can.
    pub(super) offer: Option<Arc<Offer<V>>>,
    /// Until when what was read or loaded is fresh, in ticks; 0: nothing was.
    pub(super) fresh_until: AtomicU64,
}

/// What a loader returned.
pub(super) struct Fresh<V> {
    pub(super) value: Option<Arc<V>>,
    pub(super) life: Life,
    /// How long it is fresh for, and kept beyond that.
    pub(super) fresh: Duration,
    pub(super) stale: Duration,
}

impl<V> Fresh<V> {
    pub(super) fn answer(&self) -> Answer<V> {
        Answer {
            value: self.value.clone(),
            source: Source::Loaded,
            stale: false,
        }
    }
}

impl<K: Key, V: Send + Sync + 'static> Work<K, V> {
    pub(super) async fn run(self) -> Landed<V> {
        // What was asked for may have landed between the caller's look and this.
        let now = self.shared.clock.now();
        let held = self.shared.local.get(&self.key, now);
        let result = match held {
            Some(held) if now < held.life.early => Ok(held.answer(false)),
            _ => self.filtered().await,
        };
        Landed {
            criticality: self.call.criticality,
            result,
        }
    }

    /// Past the filter.
    async fn filtered(&self) -> Result<Answer<V>, Error> {
        let Some(filter) = &self.shared.filter else {
            return self.sought().await;
        };
        let metrics = &self.shared.metrics;
        let presence = filter.ask_bytes(&self.flight.bytes).await;
        if presence == Presence::Never {
            metrics.count(Event::FilterSaved);
            // Not held: whoever makes up keys would sweep out what is asked for.
            return Ok(Answer {
                value: None,
                source: Source::Filter,
                stale: false,
            });
        }
        let sought = self.sought().await;
        if let Ok(answer) = &sought
            && answer.value.is_none()
            && answer.source == Source::Loaded
        {
            filter.found_absent(presence);
            if presence == Presence::Maybe {
                metrics.count(Event::FilterWrong);
            }
        }
        sought
    }

    async fn sought(&self) -> Result<Answer<V>, Error> {
        match &self.shared.remote {
            None => self.alone().await,
            Some(remote) => self.copied(remote).await,
        }
    }

    /// Without a store: the generation is the lease.
    async fn alone(&self) -> Result<Answer<V>, Error> {
        match self.load().await {
            Ok(fresh) => {
                let kept = self.keep(&fresh, self.flight.generation);
                if !kept {
                    self.shared.metrics.count(Event::LeaseLost);
                }
                Ok(fresh.answer())
            }
            Err(error) => self.failed(error, None),
        }
    }

    /// Runs the loader, if the guard has it.
    pub(super) async fn load(&self) -> Result<Fresh<V>, Error> {
        let shared = &*self.shared;
        let together = self.load.together;
        let pass = match together {
            true => None,
            false => shared.pass(&self.call).await?,
        };
        let limit = match together {
            // It has a limit of its own, and begins when the guard lets it.
            true => shared.settings.lease,
            false => shared.settings.load_timeout,
        };
        let began = shared.clock.now();
        let loaded = limited(limit, self.unbound(async { (self.load.run)().await })).await;
        if let Some(pass) = pass {
            pass.finish(match &loaded {
                Ok(_) => Outcome::Success,
                Err(_) => Outcome::Failure,
            });
        }
        if !together {
            shared.metrics.count(Event::Load);
            shared
                .metrics
                .add(Event::LoadError, u64::from(loaded.is_err()));
        }
        let value = loaded?;
        let now = shared.clock.now();
        Ok(shared.fresh(value, now, now.since(began)))
    }

    /// Runs `load` as a part of the call that began it, but for its deadline: others wait for it, too.
    async fn unbound<T>(&self, load: impl Future<Output = T>) -> T {
        match seawall::layer::current() {
            Some(call) if call.deadline != Tick::MAX => {
                let deadline = Tick::MAX;
                let call = Call { deadline, ..call };
                seawall::layer::within(call, &self.shared.clock, load).await
            }
            _ => load.await,
        }
    }

    /// Keeps it in process, if it is of the generation still. Whether it is.
    pub(super) fn keep(&self, fresh: &Fresh<V>, generation: Generation) -> bool {
        let local = &self.shared.local;
        let current = local.generations().is(generation);
        if current {
            let held = Held {
                value: fresh.value.clone(),
                generation,
                life: fresh.life,
            };
            self.hold(held);
        }
        current
    }

    /// Keeps it in process.
    pub(super) fn hold(&self, held: Held<V>) {
        let shared = &*self.shared;
        self.fresh_until.store(held.life.fresh.0, Relaxed);
        if let Some(hot) = &shared.hot {
            let hash = crate::filter::hash(&self.flight.bytes);
            hot.hold(hash, &self.key, &held, shared.clock.now());
        }
        if !shared.local.insert(self.key.clone(), held) {
            shared.metrics.count(Event::TooLarge);
        }
    }

    /// Serves what is stale, for a moment without trying again, or fails. What the store had of it
    /// is `seen`.
    pub(super) fn failed(
        &self,
        error: Error,
        seen: Option<(Arc<V>, Generation)>,
    ) -> Result<Answer<V>, Error> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        let retry = now + expiry::jittered(shared.settings.retry, 0.5, fastrand::u64(..));
        let held = match (shared.local.get(&self.key, now), seen) {
            (Some(mut held), _) => {
                held.life.retry = retry;
                held
            }
            // For the moment only: how long the store keeps it is for the store to say.
            (None, Some((value, generation))) => Held {
                value: Some(value),
                generation,
                life: Life {
                    fresh: now,
                    early: now,
                    stale: retry,
                    retry,
                    load: Duration::ZERO,
                },
            },
            (None, None) => return Err(error),
        };
        shared.local.insert(self.key.clone(), held.clone());
        let stale = now >= held.life.fresh;
        if stale {
            shared.metrics.count(Event::Stale);
        }
        Ok(held.answer(stale))
    }
}

impl<K, V> Shared<K, V> {
    /// The guard's leave to load, where there is a guard.
    pub(super) async fn pass(&self, call: &Call) -> Result<Option<LoadPass>, Error> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        // Others wait for it, too, and whoever began it pays for a load, not for a call.
        let call = Call {
            deadline: Tick::MAX,
            cost: 1,
            ..*call
        };
        let pass = guard.enter_for(&call).await;
        let pass = pass.inspect_err(|_| self.metrics.count(Event::Rejected));
        Ok(Some(pass?))
    }

    /// What was loaded until `now`, with a life by the settings.
    pub(super) fn fresh(&self, value: Option<V>, now: Tick, load: Duration) -> Fresh<V> {
        let settings = &self.settings;
        let (ttl, stale) = match value {
            Some(_) => (settings.ttl, settings.stale),
            None => (settings.negative, Duration::ZERO),
        };
        let fresh = expiry::jittered(ttl, settings.jitter, fastrand::u64(..));
        let local = match &self.remote {
            Some(_) => fresh.min(settings.local_ttl),
            None => fresh,
        };
        Fresh {
            value: value.map(Arc::new),
            life: Life::new(now, local, stale, load, settings.beta),
            fresh,
            stale,
        }
    }
}

impl<V> Held<V> {
    #[inline]
    pub(super) fn answer(self, stale: bool) -> Answer<V> {
        Answer {
            value: self.value,
            source: Source::Local,
            stale,
        }
    }
}
