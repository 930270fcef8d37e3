//! Product rows kept in Redis: read from there, thrown out when they are sold.
//!
//! The row is the hot one: short, so many fit; and since the long texts are another row, a sale
//! throws out a hundred bytes and not three thousand (`examples/rows.rs` counts it). Without
//! `[cache]` everything goes to the tables, and so it does while Redis fails.

use std::time::Duration;

use redis::AsyncCommands as _;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use seawall::data;

use crate::catalog::biz::{Error, Held, ProductId, Reservation, ReservationId, State};
use crate::catalog::biz::{Store, Tx, Wanted};
use crate::catalog::data::{DetailsView, ProductView, Views};
use crate::pkg::{Money, Time};

/// Longer than this a cache is no help.
const PATIENCE: Duration = Duration::from_millis(50);
/// Bounds how long a row can be wrong that was put there while it was being sold.
const KEPT: u64 = 5;

/// A Redis, or none.
#[derive(Clone)]
pub struct Cache {
    redis: Option<ConnectionManager>,
}

impl Cache {
    /// The one at this URL; none without.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn open(url: Option<&str>) -> Result<Self, redis::RedisError> {
        let Some(url) = url else {
            return Ok(Self { redis: None });
        };
        let settings = ConnectionManagerConfig::new().set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(url)?;
        let redis = ConnectionManager::new_with_config(client, settings).await?;
        Ok(Self { redis: Some(redis) })
    }

    async fn get(&self, id: u32) -> Option<ProductView> {
        let kept: Option<Vec<u8>> = self.redis.clone()?.get(key(id)).await.ok()?;
        serde_json::from_slice(&kept?).ok()
    }

    async fn put(&self, product: &ProductView) {
        let (Some(mut redis), Ok(row)) = (self.redis.clone(), serde_json::to_vec(product)) else {
            return;
        };
        // Without it the next one asks the table again.
        let _: Result<(), _> = redis.set_ex(key(product.id), row, KEPT).await;
    }

    async fn forget(&self, ids: &[ProductId]) {
        let Some(mut redis) = self.redis.clone().filter(|_| !ids.is_empty()) else {
            return;
        };
        let keys: Vec<_> = ids.iter().map(|id| key(id.0)).collect();
        let gone: Result<(), _> = redis.del(keys).await;
        if let Err(error) = gone {
            tracing::warn!("cached rows may be {KEPT} s old: {error}");
        }
    }
}

fn key(id: u32) -> String {
    format!("shop:product:{id}")
}

/// Queries that look into the cache first.
pub struct Cached<V> {
    views: V,
    cache: Cache,
}

impl<V> Cached<V> {
    /// These, through that.
    pub fn new(views: V, cache: Cache) -> Self {
        Self { views, cache }
    }
}

impl<V: Views> Views for Cached<V> {
    async fn product(&self, id: u32) -> Result<Option<ProductView>, data::Error> {
        if let Some(kept) = self.cache.get(id).await {
            return Ok(Some(kept));
        }
        let found = self.views.product(id).await?;
        if let Some(product) = &found {
            self.cache.put(product).await;
        }
        Ok(found)
    }

    async fn details(&self, id: u32) -> Result<Option<DetailsView>, data::Error> {
        self.views.details(id).await
    }

    async fn list(&self, after: u32, most: u32) -> Result<Vec<ProductView>, data::Error> {
        self.views.list(after, most).await
    }

    async fn recommended(&self, id: u32, most: u32) -> Result<Vec<ProductView>, data::Error> {
        self.views.recommended(id, most).await
    }
}

/// A store that throws out of the cache what it has changed, when that is done.
#[derive(Clone)]
pub struct Forgetting<S> {
    store: S,
    cache: Cache,
}

/// A transaction of it.
pub struct ForgettingTx<T> {
    tx: T,
    cache: Cache,
    changed: Vec<ProductId>,
}

impl<S> Forgetting<S> {
    /// This one, and that cache.
    pub fn new(store: S, cache: Cache) -> Self {
        Self { store, cache }
    }
}

impl<S: Store> Store for Forgetting<S> {
    type Tx = ForgettingTx<S::Tx>;

    async fn begin(&self) -> Result<Self::Tx, Error> {
        Ok(ForgettingTx {
            tx: self.store.begin().await?,
            cache: self.cache.clone(),
            changed: Vec::new(),
        })
    }

    async fn reservation(&self, id: &ReservationId) -> Result<Option<Reservation>, Error> {
        self.store.reservation(id).await
    }

    async fn lapsed(&self, now: Time, most: u32) -> Result<Vec<ReservationId>, Error> {
        self.store.lapsed(now, most).await
    }
}

impl<T: Tx> Tx for ForgettingTx<T> {
    async fn insert(&mut self, id: &ReservationId, until: Time) -> Result<bool, Error> {
        self.tx.insert(id, until).await
    }

    async fn take(&mut self, id: &ReservationId, wanted: Wanted) -> Result<Held, Error> {
        self.changed.push(wanted.product);
        self.tx.take(id, wanted).await
    }

    async fn put_back(&mut self, held: &Held) -> Result<(), Error> {
        self.changed.push(held.product);
        self.tx.put_back(held).await
    }

    async fn turn(&mut self, id: &ReservationId, from: &[State], to: State) -> Result<bool, Error> {
        self.tx.turn(id, from, to).await
    }

    async fn reprice(&mut self, product: ProductId, price: Money) -> Result<bool, Error> {
        self.changed.push(product);
        self.tx.reprice(product, price).await
    }

    async fn commit(self) -> Result<(), Error> {
        self.tx.commit().await?;
        self.cache.forget(&self.changed).await;
        Ok(())
    }
}
