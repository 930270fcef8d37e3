//! A large map behind a snapshot, changed without copying it whole.
//!
//! A hash trie (`rpds`) shares all but the path to the changed entry with the version before. The
//! other ways, measured with 100,000 entries under string keys on a busy machine (`--example maps`;
//! nanoseconds, mostly cache misses):
//!
//! | | read | insertion | in batches of 100 |
//! |---|---|---|---|
//! | `rpds` hash trie | 510 | 2,300 | 1,200 |
//! | `imbl` hash trie | 430 | 3,400 | 2,700 |
//! | 256 shards of `Arc`'d `HashMap`s | 260 | 14,400 | 16,500 |
//! | one `HashMap`, copied whole | 500 | 3,800,000 | |
//!
//! Shards read faster, and what they copy grows with the map: the right number of them would have to
//! be known beforehand. Of the tries, `rpds` writes faster, since its nodes hold counted entries
//! where `imbl` clones keys and values, and its licence is MIT where `imbl`'s is MPL.

use std::borrow::Borrow;
use std::hash::Hash;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::Guard;
use rpds::HashTrieMapSync;

use super::{SaveError, Snapshot, Versioned};

/// One version of a [`SnapshotMap`]: a map whose copies share what they have in common.
///
/// A clone costs one counted reference. A change copies the nodes on the path to the entry, unless
/// this table is their only owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<K: Eq + Hash, V>(HashTrieMapSync<K, V>);

impl<K: Eq + Hash, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(HashTrieMapSync::new_sync())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Table<K, V> {
    /// The value under `key`.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// Sets the value under `key`.
    pub fn insert(&mut self, key: K, value: V) {
        self.0.insert_mut(key, value);
    }

    /// Removes `key`; whether it was there.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.remove_mut(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every entry, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter()
    }
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

/// A map that is read on every request, and whose changes do not copy it whole.
///
/// Readers see one version at a time, and never wait; a batch of changes made in one
/// [`update`](Self::update) is seen as a whole or not at all.
///
/// ```
/// use seawall_sync::SnapshotMap;
///
/// let hosts: SnapshotMap<String, u16> = SnapshotMap::default();
/// hosts.insert("a".into(), 80);
/// let before = hosts.load_full();
/// hosts.update(|table| {
///     table.insert("b".into(), 81);
///     table.remove("a");
/// });
/// assert_eq!((before.get("a"), before.len()), (Some(&80), 1));
/// assert_eq!((hosts.get("a"), hosts.get("b")), (None, Some(81)));
/// ```
#[derive(Debug)]
pub struct SnapshotMap<K: Eq + Hash, V>(Snapshot<Table<K, V>>);

impl<K: Eq + Hash, V> Default for SnapshotMap<K, V> {
    fn default() -> Self {
        Self(Snapshot::default())
    }
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for SnapshotMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(Snapshot::new(entries.into_iter().collect()))
    }
}

impl<K: Eq + Hash + Clone, V: Clone> SnapshotMap<K, V> {
    /// A copy of the value under `key`. Wait-free but for the key's hash and comparison.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.load().get(key).cloned()
    }

    /// The version of now, for several reads that must agree; hold it briefly. Wait-free.
    pub fn load(&self) -> Guard<Arc<Table<K, V>>> {
        self.0.load()
    }

    /// The version of now, to keep. Wait-free.
    pub fn load_full(&self) -> Arc<Table<K, V>> {
        self.0.load_full()
    }

    /// As [`Snapshot::version`].
    pub fn version(&self) -> u64 {
        self.0.version()
    }

    /// As [`Snapshot::changed`].
    pub async fn changed(&self, seen: u64) -> Versioned<Table<K, V>> {
        self.0.changed(seen).await
    }

    /// Sets the value under `key` and publishes it.
    pub fn insert(&self, key: K, value: V) {
        self.update(|table| table.insert(key, value));
    }

    /// Removes `key` and publishes that; whether it was there.
    pub fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.update(|table| table.remove(key))
    }

    /// Makes any number of changes and publishes them in one swap. Nodes copied for one change are
    /// not copied again for the next, so a batch is cheaper than its changes one by one.
    ///
    /// Waits for other writers. If `change` panics, nothing has changed. It must not write to this
    /// map otherwise than through its argument: that would wait for itself.
    pub fn update<R>(&self, change: impl FnOnce(&mut Table<K, V>) -> R) -> R {
        let mut answer = None;
        self.0.update(|table| {
            let mut next = table.clone();
            answer = Some(change(&mut next));
            next
        });
        answer.expect("update has called its argument")
    }

    /// Writes all entries of one version to `path`; as [`Snapshot::save`].
    ///
    /// # Errors
    ///
    /// As [`Snapshot::save`].
    pub fn save(
        &self,
        path: &Path,
        write: impl FnOnce(&Table<K, V>, &mut dyn io::Write) -> io::Result<()>,
    ) -> Result<u64, SaveError> {
        self.0.save(path, write)
    }
}
