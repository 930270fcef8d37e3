//! The handle: lists of one name.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seawall::clock::Clock;
use seawall_sync::Flight;

use super::ask::{Ended, Moved, Ranked};
use super::error::{Error, MAX_PAGE, fits};
use super::load::{Inner, Load, LoadCount};
use super::member::Member;
use super::owed::Owed;
use super::page::{Cursor, Item, Page, Seek};
use super::position::{Position, Score};
use super::settings::ListSettings;
use super::store::{Memory, Store, Which};
use crate::Key;
use crate::error::{Error as CacheError, cause};
use crate::guard::Guard;
use crate::local::Generations;
use crate::store::Token;

type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Lists in front of a database, by key `K`, of members `M`. Cheap to clone.
///
/// ```
/// use seawall_cache::list::{Item, Lists, Seek};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
///
/// let timelines: Lists<u64, u64> = Lists::builder("timeline").build();
/// // A query in a service: up to `limit` items behind `after`, newest first.
/// let query = |seek: Seek| async move {
///     let after = seek.after.map_or(i64::MAX, |after| after.score().get());
///     let items = (1..=50_u32).rev().filter(|id| i64::from(*id) < after).take(seek.limit);
///     Ok::<Vec<_>, std::io::Error>(
///         items.map(|id| Item { score: id.into(), member: id.into() }).collect(),
///     )
/// };
/// let first = timelines.page(&7, None, 10, query).await?;
/// assert_eq!((first.items[0].member, first.items.len(), first.end), (50, 10, false));
/// timelines.insert(&7, 51.into(), &51).await?;
/// let second = timelines.page(&7, first.next.as_ref(), 10, query).await?; // no query
/// assert_eq!(second.items[0].member, 40);
/// # Ok::<(), seawall_cache::list::Error>(()) }).unwrap();
/// ```
pub struct Lists<K, M> {
    inner: Arc<Inner>,
    types: PhantomData<fn(K) -> M>,
}

impl<K, M> Clone for Lists<K, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            types: PhantomData,
        }
    }
}

impl<K, M> fmt::Debug for Lists<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

/// [`Lists`] to be.
#[must_use]
pub struct ListsBuilder<K, M> {
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "names keys of Redis")
    )]
    name: String,
    prefix: String,
    settings: ListSettings,
    clock: Clock,
    guard: Option<Guard>,
    #[cfg(feature = "redis")]
    redis: Option<crate::redis::Redis>,
    types: PhantomData<fn(K) -> M>,
}

impl<K: Key, M: Member> ListsBuilder<K, M> {
    /// What is set where nothing is said: [`ListSettings`].
    pub fn settings(mut self, settings: ListSettings) -> Self {
        self.settings = settings;
        self
    }

    /// What Redis' keys begin with, so that several programs can share one. Default `seawall`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Keeps the lists in Redis; otherwise they are this process' own.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, redis: crate::redis::Redis) -> Self {
        self.redis = Some(redis);
        self
    }

    /// What every load passes. Without one, loads are bounded by nothing but there being one for a
    /// page at a time.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// The clock that lists in this process age by; the system's unless said otherwise.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    #[cfg(feature = "redis")]
    fn store(&mut self, settings: &ListSettings) -> Store {
        let Some(redis) = self.redis.take() else {
            return Store::Memory(Memory::new(settings.lists, self.clock.clone()));
        };
        // Braces of a name would say which slot its keys belong to.
        let name = format!("{}:{}", self.prefix, self.name).replace(['{', '}'], "_");
        let shared = super::shared::Shared::new(redis, &name, self.clock.clone());
        Store::Redis(Box::new(shared))
    }

    #[cfg(not(feature = "redis"))]
    fn store(&mut self, settings: &ListSettings) -> Store {
        Store::Memory(Memory::new(settings.lists, self.clock.clone()))
    }

    /// The lists.
    pub fn build(mut self) -> Lists<K, M> {
        let settings = self.settings.in_range();
        let store = self.store(&settings);
        Lists {
            inner: Arc::new(Inner {
                store,
                settings,
                guard: self.guard,
                generations: Generations::new(0),
                pages: Flight::new().detached(),
                counts: Flight::new().detached(),
                reserve: Flight::new().keep(settings.reserve, Result::is_ok),
                owed: Owed::default(),
            }),
            types: PhantomData,
        }
    }
}

/// Where a member stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// So many are in front of it.
    At(u64),
    /// It is not in the list.
    Absent,
    /// What is in front of it is not loaded, or was forgotten: read pages, or ask the database.
    Unknown,
}

/// What a [`write`](Lists::write) has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The member is new in the list.
    Inserted,
    /// It was there, and stands where it was said.
    Moved,
    /// It was there, and no longer is.
    Removed,
    /// Nothing.
    Nothing,
}

// === reading ===

impl<K: Key, M: Member> Lists<K, M> {
    /// Lists called `name`.
    pub fn builder(name: &str) -> ListsBuilder<K, M> {
        ListsBuilder {
            name: name.to_owned(),
            prefix: "seawall".to_owned(),
            settings: ListSettings::default(),
            clock: Clock::system(),
            guard: None,
            #[cfg(feature = "redis")]
            redis: None,
            types: PhantomData,
        }
    }

    /// Up to `limit` items (1 to 1,000) behind `after`, or from the head.
    ///
    /// What is known costs one round trip to Redis, and what is not, two and one call of `loader`,
    /// which is asked for more than the page. Of all who ask for the same at the same time, one
    /// process loads, and one caller of it.
    ///
    /// Who goes on with each page's [`next`](Page::next) until the [`end`](Page::end) gets whatever
    /// was in the list all along and stayed where it was exactly once, and nothing whose removal was
    /// told before the page was asked for.
    ///
    /// # Errors
    /// The load failed or was not let through; the loader broke its rules; Redis is out and this is
    /// not the first page. Cancel-safe: a load goes on, for others and the next.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn page<F, R, E>(
        &self,
        key: &K,
        after: Option<&Cursor>,
        limit: usize,
        loader: F,
    ) -> Result<Page<M>, Error>
    where
        F: Fn(Seek) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<Item<M>>, E>> + Send + 'static,
        E: Into<Boxed>,
    {
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Error::Limit(limit));
        }
        let after = after.map(|cursor| cursor.0.clone());
        if let Some(after) = &after {
            fits(after)?;
        }
        let load: Load = Arc::new(move |seek| {
            let loading = loader(seek);
            Box::pin(async move {
                let items = loading
                    .await
                    .map_err(|error| CacheError::Load(cause(error)))?;
                Ok(items
                    .iter()
                    .map(|item| position(item.score, &item.member))
                    .collect())
            })
        });
        let key = bytes(key);
        let finding = self.inner.page(key.clone(), after, limit, load);
        let found = in_time(finding).await?;
        let next = found.items.last().filter(|_| !found.end).cloned();
        let items: Option<Vec<_>> = found
            .items
            .iter()
            .map(|at| {
                let member = M::read(&at.member)?;
                Some(Item {
                    score: at.score,
                    member,
                })
            })
            .collect();
        let Some(items) = items else {
            self.invalidate_bytes(&key).await?;
            return Err(Error::NotDecoded);
        };
        Ok(Page {
            items,
            next: next.map(Cursor),
            end: found.end,
            source: found.source,
        })
    }

    /// How many members the list has. Known where all of it is, or where it was counted and every
    /// change since came by [`write`](Self::write); otherwise `loader` counts.
    ///
    /// # Errors
    /// As [`page`](Self::page). Cancel-safe, likewise.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn count<F, R, E>(&self, key: &K, loader: F) -> Result<u64, Error>
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<u64, E>> + Send + 'static,
        E: Into<Boxed>,
    {
        let load: LoadCount = Arc::new(move || {
            let loading = loader();
            Box::pin(async move {
                loading
                    .await
                    .map_err(|error| CacheError::Load(cause(error)))
            })
        });
        in_time(self.inner.count(bytes(key), load)).await
    }

    /// How many are in front of a member; one round trip, and no query. In this process' own lists it
    /// counts them one by one.
    ///
    /// # Errors
    /// Redis is out. Cancel-safe.
    pub async fn rank(&self, key: &K, member: &M) -> Result<Rank, Error> {
        let key = bytes(key);
        self.inner.trusted(&key).await?;
        let terms = self.inner.settings.terms();
        let which = Which {
            key: &key,
            terms: &terms,
        };
        let ranked = self.inner.store.rank(which, &member.bytes()).await;
        Ok(match ranked.map_err(Error::Unavailable)? {
            Ranked::Known(rank) => Rank::At(rank),
            Ranked::Absent => Rank::Absent,
            Ranked::Unknown => Rank::Unknown,
        })
    }
}

// === writing ===

impl<K: Key, M: Member> Lists<K, M> {
    /// Tells the list that a member stands at `score` from now on, in it before or not: to be called
    /// when that is committed, and before the writer answers. One round trip; nothing is stored of a
    /// part of the list that nobody has read.
    ///
    /// For members that are written once, or by one writer at a time; otherwise two writers may tell
    /// in another order than they committed, and the wrong one stays. [`write`](Self::write) is for
    /// these. The count is forgotten unless all of the list is known.
    ///
    /// # Errors
    /// The member is too long, or Redis is out ([`Error::NotTold`]). Not cancel-safe: dropped before
    /// its end, it may not have told; then call it again, or [`invalidate`](Self::invalidate).
    pub async fn insert(&self, key: &K, score: Score, member: &M) -> Result<(), Error> {
        self.change(key, member, Some(score)).await
    }

    /// Tells the list that a member is no longer in it. As [`insert`](Self::insert) in all else.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn remove(&self, key: &K, member: &M) -> Result<(), Error> {
        self.change(key, member, None).await
    }

    /// Writes a member by `write`, and tells the list before and after: where it will stand, `None`
    /// for nowhere, and what was done. Two round trips.
    ///
    /// Right whoever else writes the same member at the same time, and whether the writer lives: what
    /// is in doubt is forgotten, and loaded when next it is asked for. The count is kept.
    ///
    /// # Errors
    /// `write` failed, which may mean that it was committed; or it was done, and Redis is out
    /// ([`Error::NotTold`]). Cancel-safe as `write` is: dropped in between, the list is in doubt until
    /// the `write_timeout` is over.
    pub async fn write<W, E>(
        &self,
        key: &K,
        member: &M,
        to: Option<Score>,
        write: W,
    ) -> Result<Wrote, Error>
    where
        W: Future<Output = Result<Wrote, E>>,
        E: Into<Boxed>,
    {
        let (key, moved) = (bytes(key), moved(member, to)?);
        let inner = &self.inner;
        let terms = inner.settings.terms();
        let which = Which {
            key: &key,
            terms: &terms,
        };
        let token = Token(fastrand::u64(..));
        let begun = inner.store.begin(which, token, &moved).await;
        if begun.is_err() {
            // Before the write, for it may be dropped in the middle of it.
            inner.owed.owe(&key);
            inner.clone().tell_late();
        }
        let wrote = write.await.map_err(|error| CacheError::Write(cause(error)));
        let ended = match wrote {
            Ok(Wrote::Inserted) => Ended::Done(1),
            Ok(Wrote::Moved) => Ended::Done(0),
            Ok(Wrote::Removed) => Ended::Done(-1),
            Ok(Wrote::Nothing) => Ended::Nothing,
            Err(_) => Ended::Unknown,
        };
        let told = inner.store.settle(which, token, &moved, ended).await;
        inner.generations.pass(&key);
        match (told, wrote) {
            (_, Err(error)) => Err(error.into()),
            (Err(fault), Ok(_)) => Err(self.not_told(&key, fault)),
            (Ok(()), Ok(wrote)) => Ok(wrote),
        }
    }

    /// Forgets a list: whatever is asked of it next is loaded. Not cancel-safe, as [`insert`](Self::insert).
    ///
    /// # Errors
    /// Redis is out ([`Error::NotTold`]).
    pub async fn invalidate(&self, key: &K) -> Result<(), Error> {
        self.invalidate_bytes(&bytes(key)).await
    }

    async fn invalidate_bytes(&self, key: &Bytes) -> Result<(), Error> {
        let terms = self.inner.settings.terms();
        let told = self
            .inner
            .store
            .invalidate(Which { key, terms: &terms })
            .await;
        self.inner.generations.pass(key);
        told.map_err(|fault| self.not_told(key, fault))
    }

    async fn change(&self, key: &K, member: &M, to: Option<Score>) -> Result<(), Error> {
        let (key, moved) = (bytes(key), moved(member, to)?);
        let terms = self.inner.settings.terms();
        let told = self
            .inner
            .store
            .change(
                Which {
                    key: &key,
                    terms: &terms,
                },
                &moved,
            )
            .await;
        self.inner.generations.pass(&key);
        told.map_err(|fault| self.not_told(&key, fault))
    }

    #[cold]
    fn not_told(&self, key: &Bytes, fault: super::error::CacheFault) -> Error {
        let error = self.inner.not_told(key, fault);
        self.inner.clone().tell_late();
        error
    }
}

fn bytes(key: &impl Key) -> Bytes {
    let mut bytes = Vec::new();
    key.write(&mut bytes);
    bytes.into()
}

fn position(score: Score, member: &impl Member) -> Position {
    Position {
        score,
        member: member.bytes(),
    }
}

fn moved(member: &impl Member, to: Option<Score>) -> Result<Moved, Error> {
    let at = position(to.unwrap_or(Score::ZERO), member);
    fits(&at)?;
    Ok(Moved {
        member: at.member,
        to,
    })
}

/// Until the caller's deadline.
async fn in_time<T>(finding: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let clock = Clock::system();
    let deadline = seawall::layer::current().and_then(|call| clock.instant(call.deadline));
    match deadline {
        None => finding.await,
        Some(deadline) => tokio::time::timeout_at(deadline, finding)
            .await
            .unwrap_or(Err(Error::Load(CacheError::Deadline))),
    }
}

impl Inner {
    /// Tells what could not be told, again and again until it is; one task at a time.
    fn tell_late(self: Arc<Self>) {
        const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
        if !self.owed.begin() {
            return;
        }
        let me = Arc::downgrade(&self);
        drop(self);
        tokio::spawn(async move {
            let mut pause = PAUSE.0;
            loop {
                tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
                let Some(inner) = me.upgrade() else { return };
                let owed = inner.owed.some(64);
                if owed.is_empty() && inner.owed.end() {
                    return;
                }
                for key in owed {
                    if inner.trusted(&key).await.is_err() {
                        pause = (pause * 2).min(PAUSE.1);
                        break;
                    }
                    pause = PAUSE.0;
                }
            }
        });
    }
}
