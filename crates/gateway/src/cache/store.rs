//! What is kept: bounded by the bytes it takes, what is asked for least going first.
//!
//! A response that varies is found in two steps: under its URL stands by what requests are told
//! apart, and an identity of that knowledge; under both, the response. So what was kept before a
//! purge is out of reach, whether its bytes are still there or not.
//!
//! Nothing that was asked for before a purge is kept after it: who fetches takes the
//! [generation](Store::generation) first, and what it brings is kept only in the same.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use seawall_cache::http::{Selected, Vary};
use seawall_policy::Tick;

use super::page::{Head, Page};

/// Counters of purges by key. Two keys that share one cost each other a fetch at worst.
const COUNTERS: usize = 4_096;
/// Responses to one URL; the oldest goes first.
const MOST_VARIANTS: usize = 64;
/// How long nobody waits for another's call after one that brought nothing to be shared.
const ASIDE: Duration = Duration::from_secs(10);
/// Takes the marks for that to keys of their own.
const MARK: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Clone, Debug)]
enum Entry {
    Page(Arc<Page>),
    Varies(Arc<Varies>),
    /// Until then.
    Aside(Tick),
}

/// By what the responses to a URL are told apart.
#[derive(Debug)]
struct Varies {
    key: Box<[u8]>,
    id: u64,
    vary: Vary,
    variants: Mutex<VecDeque<u64>>,
}

/// How many purges there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    all: u64,
    key: u64,
}

/// What is there for a request.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) page: Option<Arc<Page>>,
    /// Requests with the same are answered alike, as far as is known.
    pub(super) place: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    entries: moka::sync::Cache<u64, Entry>,
    hasher: RandomState,
    all: AtomicU64,
    by_key: Box<[AtomicU64]>,
}

impl Store {
    pub(super) fn new(size: u64) -> Self {
        let weigh = |_: &u64, entry: &Entry| match entry {
            Entry::Page(page) => u32::try_from(page.size()).unwrap_or(u32::MAX),
            Entry::Varies(varies) => u32::try_from(1_024 + varies.key.len()).unwrap_or(u32::MAX),
            Entry::Aside(_) => 128,
        };
        let builder = moka::sync::Cache::builder();
        Self {
            entries: builder.max_capacity(size).weigher(weigh).build(),
            hasher: RandomState::new(),
            all: AtomicU64::new(0),
            by_key: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// What is kept for a request under `key`, the hash of which is `hash`.
    pub(super) fn find(&self, hash: u64, key: &[u8], request: &HeaderMap) -> Found {
        let nothing = |place| Found { page: None, place };
        match self.entries.get(&hash) {
            Some(Entry::Page(page)) if *page.key == *key => Found {
                page: Some(page),
                place: hash,
            },
            Some(Entry::Varies(varies)) if *varies.key == *key => {
                let Some(selected) = varies.vary.select(request) else {
                    return nothing(hash);
                };
                let place = self.place(&varies, &selected);
                match self.entries.get(&place) {
                    Some(Entry::Page(page)) if is(&page, key, &selected) => Found {
                        page: Some(page),
                        place,
                    },
                    _ => nothing(place),
                }
            }
            _ => nothing(hash),
        }
    }

    fn place(&self, varies: &Varies, selected: &Selected) -> u64 {
        self.hasher.hash_one((varies.id, selected))
    }

    /// To be taken before the upstream is asked.
    pub(super) fn generation(&self, hash: u64) -> Generation {
        Generation {
            all: self.all.load(SeqCst),
            key: self.counter(hash).load(SeqCst),
        }
    }

    fn counter(&self, hash: u64) -> &AtomicU64 {
        &self.by_key[hash as usize % COUNTERS]
    }

    /// Keeps a response, unless there was a purge since `generation`. False: it is not kept.
    pub(super) fn keep(
        &self,
        hash: u64,
        page: Page,
        request: &HeaderMap,
        generation: Generation,
    ) -> bool {
        if self.generation(hash) != generation {
            return false;
        }
        let Some((place, page)) = self.placed(hash, page, request) else {
            return false;
        };
        self.entries.insert(place, Entry::Page(Arc::new(page)));
        if self.generation(hash) == generation {
            return true;
        }
        // Which of the two came first is not known.
        self.entries.invalidate(&place);
        false
    }

    /// Where a response belongs: what is known of its URL already tells requests apart, too.
    fn placed(&self, hash: u64, page: Page, request: &HeaderMap) -> Option<(u64, Page)> {
        let known = match self.entries.get(&hash) {
            Some(Entry::Varies(varies)) if varies.key == page.key => Some(varies),
            _ => None,
        };
        let own = &page.head.vary;
        let vary = match &known {
            Some(known) => own.and(known.vary.names())?,
            None => own.clone(),
        };
        if vary.is_empty() {
            return Some((hash, page));
        }
        let selected = vary.select(request)?;
        let varies = match known.filter(|known| known.vary == vary) {
            Some(known) => known,
            None => self.tell_apart(hash, &page.key, vary.clone()),
        };
        let place = self.place(&varies, &selected);
        let dropped = {
            let mut variants = varies.variants.lock();
            if variants.contains(&place) {
                None
            } else {
                variants.push_back(place);
                (variants.len() > MOST_VARIANTS).then(|| variants.pop_front())
            }
        };
        if let Some(Some(oldest)) = dropped {
            self.entries.invalidate(&oldest);
        }
        if *own == vary {
            return Some((place, page));
        }
        let head = &page.head;
        let head = Head::apart(head, vary, selected);
        Some((place, Page::new(page.key, Arc::new(head), page.body)))
    }

    fn tell_apart(&self, hash: u64, key: &[u8], vary: Vary) -> Arc<Varies> {
        let varies = Arc::new(Varies {
            key: key.into(),
            id: next(),
            vary,
            variants: Mutex::default(),
        });
        self.entries.insert(hash, Entry::Varies(varies.clone()));
        varies
    }

    /// Nothing was to be shared: nobody is to wait for another's call there for a while.
    pub(super) fn set_aside(&self, place: u64, now: Tick) {
        self.entries.insert(place ^ MARK, Entry::Aside(now + ASIDE));
    }

    pub(super) fn is_aside(&self, place: u64, now: Tick) -> bool {
        let entry = self.entries.get(&(place ^ MARK));
        matches!(entry, Some(Entry::Aside(until)) if now < until)
    }

    /// Forgets what is kept under a key, and voids what is being fetched for it. True: there was
    /// something.
    pub(super) fn forget(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        self.counter(hash).fetch_add(1, SeqCst);
        self.entries.remove(&hash).is_some()
    }

    /// Forgets a response, which the upstream has replaced by something that is not kept.
    pub(super) fn drop_page(&self, hash: u64, page: &Page) {
        let place = match self.entries.get(&hash) {
            Some(Entry::Varies(varies)) => self.place(&varies, &page.head.selected),
            _ => hash,
        };
        self.entries.invalidate(&place);
    }

    /// Forgets every response that `is_meant`, and voids all that is being fetched. Looks at every
    /// one there is: purges are rare, hits are not. Returns how many there were.
    pub(super) fn purge(&self, is_meant: impl Fn(&Page) -> bool) -> usize {
        self.all.fetch_add(1, SeqCst);
        let mut purged = 0;
        for (place, entry) in &self.entries {
            if let Entry::Page(page) = entry
                && is_meant(&page)
            {
                self.entries.invalidate(&*place);
                purged += 1;
            }
        }
        purged
    }

    /// Entries, and what they take.
    pub(super) fn holds(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

/// No two are the same.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, SeqCst)
}

fn is(page: &Page, key: &[u8], selected: &Selected) -> bool {
    *page.key == *key && page.head.selected == *selected
}

/// Names that requests are told apart by on a route, whatever the response says.
pub(super) fn vary(headers: &HeaderMap, more: &[HeaderName]) -> Option<Vary> {
    Vary::read(headers)?.and(more)
}
