//! Product rows in the cache: read from there, and thrown out when they are sold.
//!
//! The row is the hot one: short, so many fit; and since the long texts are another row, a sale
//! throws out some hundred bytes and not three thousand (`examples/rows.rs` counts it).
//!
//! - *What is cached is what was committed.* Rows are loaded from the primary; a replica's would
//!   outlive its lag in the cache.
//! - *A sale fences its rows around the commit*, not around the whole transaction: before the commit
//!   nobody sees the change. A catalog that is killed between the commit and the end of the fence
//!   leaves nothing stale: until the fence falls rows are loaded and not kept.
//! - *Nothing expired is served.* A row that cannot be loaded is an error, and the order service shows
//!   the last price that it knew, and says so; the catalog has no such word in its messages.
//! - *What never existed* is denied by a filter, which is filled anew each minute: a product that
//!   somebody puts into the table by hand is there by then.
//! - *Without Redis* an instance hears of its own sales alone, and rows are kept for a second.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{TryStreamExt as _, stream};
use seawall::data;
use seawall::sync::AmbientExt as _;
use seawall_cache::redis::{Fault, Redis};
use seawall_cache::{
    Filter, FilterError, FilterSize, Guard, GuardSettings, Json, Rebuild, Settings,
};

use crate::catalog::biz::{Error, Held, ProductId, Reservation, ReservationId, State};
use crate::catalog::biz::{Store, Tx, Wanted};
use crate::catalog::data::{DetailsView, ProductView, QueryError, Views};
use crate::config::CacheSettings;
use crate::pkg::{Money, Time};

/// Product rows by number; clones are one cache.
pub type Cache = seawall_cache::Cache<u32, ProductView>;

/// The cache, as the configuration has it, and the filter before it, which is to be
/// [filled](fill). Waits for nothing: a Redis that is away at the start is
/// used when it is there.
///
/// # Errors
/// The URL is none.
pub fn open(config: &CacheSettings) -> Result<(Cache, Filter), Fault> {
    let settings = Settings {
        ttl: match config.redis {
            Some(_) => config.ttl.get(),
            None => config.alone.get(),
        },
        stale: Duration::ZERO,
        capacity: config.rows.get(),
        ..Settings::default()
    };
    let guard = GuardSettings {
        rate: f64::from(u32::try_from(config.loads.get()).unwrap_or(u32::MAX)),
        ..GuardSettings::default()
    };
    let filter = Filter::local(FilterSize::new(config.products.get(), DENIED_TOO_FEW));
    let cache = Cache::builder("product")
        .settings(settings)
        .filter(filter.clone())
        .guard(Guard::new(guard));
    let cache = match &config.redis {
        None => cache,
        Some(url) => cache.redis(Redis::single(url)?, Json::default()),
    };
    Ok((cache.build(), filter))
}

/// The share of absent products that pass the filter.
const DENIED_TOO_FEW: f64 = 0.01;
/// Numbers that are read at once.
const AT_ONCE: u32 = 1_000;

/// Fills the filter with the products that there are.
///
/// # Errors
/// The database fails; the filter is as it was.
pub async fn fill<V: Views + Clone>(filter: &Filter, views: &V) -> Result<(), FilterError> {
    let scan = || {
        let views = views.clone();
        let page = move |after| {
            let views = views.clone();
            async move {
                let ids = views.ids(after, AT_ONCE).await?;
                let last = ids.last().copied();
                let ids = stream::iter(ids.into_iter().map(Ok::<_, data::Error>));
                Ok::<_, data::Error>(last.map(|last| (ids, last)))
            }
        };
        stream::try_unfold(0, page).try_flatten()
    };
    // The catalog writes no new ones, so there are none under way to be waited for.
    let rebuild = Rebuild {
        settle: Duration::ZERO,
        ..Rebuild::default()
    };
    filter.rebuild(scan, rebuild).await.map(|_| ())
}

/// Queries that look into the cache first.
pub struct Cached<V> {
    views: Arc<V>,
    cache: Cache,
}

impl<V> Cached<V> {
    /// These, through that.
    pub fn new(views: V, cache: Cache) -> Self {
        let views = Arc::new(views);
        Self { views, cache }
    }
}

impl<V: Views> Views for Cached<V> {
    async fn product(&self, id: u32) -> Result<Option<ProductView>, QueryError> {
        let views = self.views.clone();
        let load = move || {
            let views = views.clone();
            async move { views.product(id).await }
        };
        let found = self.cache.get_or_load(&id, load).await?;
        Ok(found.map(Arc::unwrap_or_clone))
    }

    async fn ids(&self, after: u32, most: u32) -> Result<Vec<u32>, data::Error> {
        self.views.ids(after, most).await
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

/// A store whose changes are fenced in the cache while they are committed.
#[derive(Clone)]
pub struct Fencing<S> {
    store: S,
    cache: Cache,
}

/// A transaction of it.
pub struct FencingTx<T> {
    tx: T,
    cache: Cache,
    changed: Vec<u32>,
}

impl<S> Fencing<S> {
    /// This one, and that cache.
    pub fn new(store: S, cache: Cache) -> Self {
        Self { store, cache }
    }
}

impl<S: Store<Tx: 'static>> Store for Fencing<S> {
    type Tx = FencingTx<S::Tx>;

    async fn begin(&self) -> Result<Self::Tx, Error> {
        Ok(FencingTx {
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

impl<T: Tx + 'static> Tx for FencingTx<T> {
    async fn insert(&mut self, id: &ReservationId, until: Time) -> Result<bool, Error> {
        self.tx.insert(id, until).await
    }

    async fn take(&mut self, id: &ReservationId, wanted: Wanted) -> Result<Held, Error> {
        self.changed.push(wanted.product.0);
        self.tx.take(id, wanted).await
    }

    async fn put_back(&mut self, held: &Held) -> Result<(), Error> {
        self.changed.push(held.product.0);
        self.tx.put_back(held).await
    }

    async fn turn(&mut self, id: &ReservationId, from: &[State], to: State) -> Result<bool, Error> {
        self.tx.turn(id, from, to).await
    }

    async fn reprice(&mut self, product: ProductId, price: Money) -> Result<bool, Error> {
        self.changed.push(product.0);
        self.tx.reprice(product, price).await
    }

    /// On a task of its own, for callers go away. Where nobody knows whether it was committed, or
    /// will be yet, the fence is left to fall.
    async fn commit(self) -> Result<(), Error> {
        let Self { tx, cache, changed } = self;
        let committing = async move {
            let fence = cache.fence(&changed).await;
            tx.commit().await?;
            fence.lift().await;
            Ok(())
        };
        let committed = tokio::spawn(committing.in_current_call()).await;
        committed.unwrap_or_else(|ended| Err(Error::store(ended)))
    }
}
