//! From a question to a page: by what is known, by a load, or by who loads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use seawall_policy::Outcome;
use seawall_sync::Flight;
use seawall_sync::flight::Detached;

use super::ask::{Counted, Paged, View};
use super::error::{CacheFault, Error, fits};
use super::owed::Owed;
use super::page::{Cursor, Seek};
use super::position::{Order, Position};
use super::settings::ListSettings;
use super::store::{Store, Which};
use crate::cache::Source;
use crate::cache::load::limited;
use crate::coherence::Waiting;
use crate::error::Error as CacheError;
use crate::guard::Guard;
use crate::local::{Generation, Generations};
use crate::store::Token;

/// Loads of one caller that changes have overtaken, before it takes what it has.
const AGAIN: u32 = 2;
/// Waits for other processes' loads, before it loads for itself.
const WAITS: u32 = 1_000;

/// A loader without its types.
pub(super) type Load = Arc<dyn Fn(Seek) -> Loading<Vec<Position>> + Send + Sync>;
pub(super) type LoadCount = Arc<dyn Fn() -> Loading<u64> + Send + Sync>;
pub(super) type Loading<T> = Pin<Box<dyn Future<Output = Result<T, CacheError>> + Send>>;

/// A page as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) items: Vec<Position>,
    pub(super) end: bool,
    pub(super) source: Source,
}

/// What callers share: the list, as of the changes that this process has told it of, and the page.
type Asked = (Bytes, Generation, Option<Position>, usize);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) settings: ListSettings,
    pub(super) guard: Option<Guard>,
    /// By list: passes with every change, so that who asks after one shares no page from before it.
    pub(super) generations: Generations,
    pub(super) pages: Detached<Asked, Result<Arc<Found>, Error>>,
    pub(super) counts: Detached<(Bytes, Generation), Result<u64, Error>>,
    /// First pages that were loaded while Redis is out.
    pub(super) reserve: Flight<Asked, Result<Arc<Found>, Error>>,
    /// Lists that could not be told.
    pub(super) owed: Owed,
}

impl Inner {
    pub(super) async fn page(
        self: &Arc<Self>,
        key: Bytes,
        after: Option<Position>,
        limit: usize,
        load: Load,
    ) -> Result<Arc<Found>, Error> {
        let asked = (key.clone(), self.generations.of(&key), after, limit);
        let inner = self.clone();
        let again = asked.clone();
        let found = self.pages.run(asked, async move {
            match inner.find(&again, &load).await {
                Err(Error::Unavailable(fault)) if again.2.is_none() => {
                    tracing::debug!(%fault, "a list's first page is loaded without Redis");
                    inner.without(again, load).await
                }
                found => found.map(Arc::new),
            }
        });
        found.await.map_err(CacheError::from)?
    }

    async fn find(&self, asked: &Asked, load: &Load) -> Result<Found, Error> {
        let (key, _, after, limit) = asked;
        let (after, limit) = (after.as_ref(), *limit);
        self.trusted(key).await?;
        let terms = self.settings.terms();
        let which = Which { key, terms: &terms };
        let (mut again, mut waits, mut waiting) = (0, 0, None);
        loop {
            let token = Token(fastrand::u64(..));
            let paged = self.store.page(which, token, after, limit).await;
            let (view, granted) = match paged.map_err(Error::Unavailable)? {
                Paged::Hit(view) => return Ok(self.known(view)),
                Paged::Granted(view) => (view, true),
                Paged::Alone(view) => (view, false),
                Paged::Busy(left) if waits < WAITS => {
                    waits += 1;
                    waiting = self.wait(key, waiting, left).await;
                    continue;
                }
                Paged::Busy(_) => (nothing(after), false),
            };
            let lacks = limit.saturating_sub(view.items.len());
            let more = if granted {
                self.settings.prefetched(limit)
            } else {
                0
            };
            let loaded = match self.load(view.from.as_ref(), lacks + more, load).await {
                Ok(loaded) => loaded,
                Err(error) => {
                    if granted {
                        // Nobody is helped by an error of this: the lease ends by itself.
                        let _ = self.store.release(which, token).await;
                    }
                    return Err(error);
                }
            };
            if granted {
                let items = (&loaded.0[..], loaded.1);
                match self.store.fill(which, token, items, after, limit).await {
                    Ok(filled) if filled.view.whole => {
                        let source = Source::Loaded;
                        return Ok(Found {
                            source,
                            ..self.known(filled.view)
                        });
                    }
                    // Overtaken by an invalidation, or by more changes than are remembered.
                    Ok(filled) if !filled.kept && again < AGAIN => {
                        again += 1;
                        continue;
                    }
                    // Behind the bound, or Redis is out by now: what was loaded is right all the same.
                    Ok(_) | Err(_) => {}
                }
            }
            return Ok(joined(view, loaded, limit));
        }
    }

    /// Without Redis: a first page, for a short time, and through the guard.
    async fn without(&self, asked: Asked, load: Load) -> Result<Arc<Found>, Error> {
        let limit = asked.3;
        let (timeout, order) = (self.settings.load_timeout, self.settings.order);
        let guard = self.guard.clone();
        let found = self.reserve.run(asked, async move {
            let loaded = load_by(guard, timeout, order, None, limit, &load).await?;
            let mut found = joined(nothing(None), loaded, limit);
            found.source = Source::Reserve;
            Ok(Arc::new(found))
        });
        found.await.map_err(CacheError::from)?
    }

    pub(super) async fn count(self: &Arc<Self>, key: Bytes, load: LoadCount) -> Result<u64, Error> {
        let inner = self.clone();
        let asked = (key.clone(), self.generations.of(&key));
        let counted = self
            .counts
            .run(asked, async move { inner.find_count(&key, &load).await });
        counted.await.map_err(CacheError::from)?
    }

    async fn find_count(&self, key: &Bytes, load: &LoadCount) -> Result<u64, Error> {
        self.trusted(key).await?;
        let terms = self.settings.terms();
        let which = Which { key, terms: &terms };
        let mut waiting = None;
        for _ in 0..WAITS {
            let token = Token(fastrand::u64(..));
            match self
                .store
                .count(which, token)
                .await
                .map_err(Error::Unavailable)?
            {
                Counted::Known(count) => return Ok(count),
                Counted::Busy(left) => waiting = self.wait(key, waiting, left).await,
                Counted::Alone => break,
                Counted::Granted => {
                    let counted = self.guarded(load()).await;
                    // What was counted is right for this caller, kept or not.
                    let _ = match &counted {
                        Ok(count) => self.store.fill_count(which, token, *count).await,
                        Err(_) => self.store.release(which, token).await,
                    };
                    return counted;
                }
            }
        }
        self.guarded(load()).await
    }

    /// What is to be waited for is to be known before the store is asked, so who has found it busy
    /// asks once more; only then it waits.
    async fn wait(&self, key: &Bytes, on: Option<Waiting>, left: Duration) -> Option<Waiting> {
        if let Some(waiting) = on {
            self.store.wait(waiting, left).await;
        }
        Some(self.store.waiting(key))
    }

    /// Whether what the store has of a list may be believed: not before it was told of the changes
    /// that it could not be told of.
    pub(super) async fn trusted(&self, key: &Bytes) -> Result<(), Error> {
        if self.owed.owes(key) {
            let terms = self.settings.terms();
            let told = self.store.invalidate(Which { key, terms: &terms }).await;
            told.map_err(Error::Unavailable)?;
            self.owed.paid(key);
        }
        Ok(())
    }

    /// The list could not be told of a change: this process no longer believes it.
    pub(super) fn not_told(&self, key: &Bytes, fault: CacheFault) -> Error {
        self.owed.owe(key);
        Error::NotTold(fault)
    }

    fn known(&self, view: View) -> Found {
        Found {
            items: view.items,
            end: view.end,
            source: self.store.source(),
        }
    }

    async fn load(
        &self,
        from: Option<&Position>,
        limit: usize,
        load: &Load,
    ) -> Result<(Vec<Position>, bool), Error> {
        let (timeout, order) = (self.settings.load_timeout, self.settings.order);
        load_by(self.guard.clone(), timeout, order, from, limit, load).await
    }

    async fn guarded<T>(&self, loading: Loading<T>) -> Result<T, Error> {
        guarded(self.guard.clone(), self.settings.load_timeout, loading).await
    }
}

async fn guarded<T>(
    guard: Option<Guard>,
    timeout: Duration,
    loading: Loading<T>,
) -> Result<T, Error> {
    let pass = match &guard {
        Some(guard) => Some(guard.enter().await.map_err(CacheError::Rejected)?),
        None => None,
    };
    let loaded = limited(timeout, loading).await;
    if let Some(pass) = pass {
        pass.finish(if loaded.is_ok() {
            Outcome::Success
        } else {
            Outcome::Failure
        });
    }
    Ok(loaded?)
}

/// Items in order, and whether nothing is behind them.
async fn load_by(
    guard: Option<Guard>,
    timeout: Duration,
    order: Order,
    from: Option<&Position>,
    limit: usize,
    load: &Load,
) -> Result<(Vec<Position>, bool), Error> {
    let after = from.cloned().map(Cursor);
    let items = guarded(guard, timeout, load(Seek { after, limit })).await?;
    let got = items.len();
    if got > limit {
        return Err(Error::TooMany { got, limit });
    }
    let mut last = from;
    for (at, item) in items.iter().enumerate() {
        fits(item)?;
        if !order.behind(item, last) {
            return Err(Error::OutOfOrder { at });
        }
        last = Some(item);
    }
    Ok((items, got < limit))
}

fn nothing(from: Option<&Position>) -> View {
    View {
        items: Vec::new(),
        whole: false,
        end: false,
        from: from.cloned(),
    }
}

/// What was known, and behind it what was loaded: an item that moved between the two comes once.
fn joined(view: View, (loaded, nothing_behind): (Vec<Position>, bool), limit: usize) -> Found {
    let mut items = view.items;
    let known = items.len();
    let mut rest = loaded
        .into_iter()
        .filter(|item| !items[..known].iter().any(|one| one.member == item.member))
        .collect::<Vec<_>>()
        .into_iter();
    items.extend(rest.by_ref().take(limit.saturating_sub(known)));
    Found {
        end: nothing_behind && rest.next().is_none(),
        items,
        source: Source::Loaded,
    }
}
