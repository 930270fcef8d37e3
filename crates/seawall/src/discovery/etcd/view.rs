//! What is known of a service, out of a range and the events after it. Pure.
//!
//! etcd's word is complete and in order, unlike that of DNS, so one instance that goes goes at once.
//! But its word may be wrong about many: leases of a hundred healthy instances end together when
//! etcd hung for longer than they last, and one that came back without its data knows of none. So
//!
//! - who says itself that it leaves is believed;
//! - of those who only vanish, as many are believed within the grace
//!   ([`Settings::grace`](super::super::Settings::grace)) as stay. Where they are more, it looks like
//!   such a case, and all of them are held for the grace, in which healthy ones have made
//!   themselves known again. One that has come back ends nothing: the others are on their way;
//! - the last ones stay for ever. An empty list helps nobody.
//!
//! Where the answer to "watch from here" shows that etcd is behind what is known, the range is read
//! again; if it is behind as well, etcd's history is another one, and all that it lacks are held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Tick;
use serde::{Deserialize, Serialize};

use super::super::registry::Instance;
use super::wire::{KeyValue, RangeResponse, WatchResponse};

/// The most instances of a service.
pub(super) const MOST: usize = 10_000;
const DELETED: i32 = 1;
/// The watch to which answers to requests for progress belong.
const NO_WATCH: i64 = -1;

/// What a key holds: an instance, and whether it is about to go.
#[derive(Serialize, Deserialize)]
pub(super) struct Value<I> {
    #[serde(flatten)]
    pub(super) instance: I,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) leaving: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_false(leaving: &bool) -> bool {
    !*leaving
}

#[derive(Debug)]
pub(super) struct View {
    grace: Duration,
    /// Up to where everything is known, or was.
    revision: i64,
    /// A watch can go on from there.
    is_current: bool,
    known: BTreeMap<Vec<u8>, Entry>,
    /// When anything good was last heard.
    heard: Option<Tick>,
}

#[derive(Debug)]
struct Entry {
    instance: Arc<Instance>,
    /// Since when it has not been there. It counts for the grace, shown or not.
    vanished: Option<Tick>,
    /// It has vanished and is shown all the same.
    held: bool,
    /// It has said that it leaves.
    left: bool,
}

impl Entry {
    fn is_shown(&self) -> bool {
        self.vanished.is_none() || self.held
    }
}

/// What a message on a watch means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// All is well.
    Fine,
    /// The watch cannot go on from what is known: read the range again.
    Anew(&'static str),
    /// etcd has ended the watch for this reason.
    Ended(String),
}

impl View {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            revision: 0,
            is_current: false,
            known: BTreeMap::new(),
            heard: None,
        }
    }

    /// When anything good was last heard.
    pub(super) fn heard(&self) -> Option<Tick> {
        self.heard
    }

    /// Up to where everything is known; none where the range is to be read.
    pub(super) fn revision(&self) -> Option<i64> {
        self.is_current.then_some(self.revision)
    }

    /// The range is to be read again; what is known stays.
    pub(super) fn doubt(&mut self) {
        self.is_current = false;
    }

    /// Takes in everything there is.
    pub(super) fn range(&mut self, range: RangeResponse, now: Tick) {
        self.heard = Some(now);
        let revision = range.header.map_or(0, |header| header.revision);
        // Another history: what is missing is more likely to be on its way than gone.
        let is_lost = revision < self.revision;
        (self.revision, self.is_current) = (revision, true);
        for entry in self.known.values_mut() {
            entry.held |= is_lost && entry.vanished.is_none();
            entry.vanished.get_or_insert(now);
        }
        for kv in range.kvs {
            self.put(kv, now);
        }
        self.sweep(now);
    }

    /// Takes in a message on the watch from the revision after what is known.
    pub(super) fn message(&mut self, message: WatchResponse, now: Tick) -> Took {
        let known = self.revision;
        let at = message.header.map_or(0, |header| header.revision);
        if message.compact_revision > 0 {
            self.doubt();
            return Took::Anew("what is known is older than etcd's history");
        }
        if message.canceled {
            return Took::Ended(message.cancel_reason);
        }
        if message.created && at < known {
            self.doubt();
            return Took::Anew("etcd knows less than it did");
        }
        self.heard = Some(now);
        if message.created || message.watch_id == NO_WATCH {
            return Took::Fine;
        }
        // The header's revision may be ahead of events that are still to come, so it counts only
        // where it comes by itself: then it says that there are none.
        let reached = match message.events.last() {
            Some(event) => event.kv.as_ref().map_or(known, |kv| kv.mod_revision),
            None => at,
        };
        for event in message.events {
            let Some(kv) = event.kv.filter(|kv| kv.mod_revision > known) else {
                continue;
            };
            if event.kind != DELETED {
                self.put(kv, now);
            } else if let Some(entry) = self.known.get_mut(&kv.key) {
                entry.vanished.get_or_insert(now);
            }
        }
        self.revision = reached.max(known);
        self.sweep(now);
        Took::Fine
    }

    fn put(&mut self, kv: KeyValue, now: Tick) {
        // One that makes no sense is as if it had not been written: the others are none the worse,
        // and what its key said before stays for the grace.
        let Ok(value) = serde_json::from_slice::<Value<Instance>>(&kv.value) else {
            let key = String::from_utf8_lossy(&kv.key);
            tracing::warn!(%key, "no instance: left out");
            if let Some(entry) = self.known.get_mut(&kv.key) {
                entry.vanished.get_or_insert(now);
            }
            return;
        };
        if self.known.len() < MOST || self.known.contains_key(&kv.key) {
            let entry = Entry {
                instance: Arc::new(value.instance),
                vanished: value.leaving.then_some(now),
                held: false,
                left: value.leaving,
            };
            self.known.insert(kv.key, entry);
        }
    }

    /// Sees who is shown, and drops those whose time is up.
    pub(super) fn sweep(&mut self, now: Tick) {
        let there = self.there();
        let grace = self.grace;
        if self.known.values().any(|e| e.is_shown() && !e.left) {
            self.known.retain(|_, entry| !entry.left);
        }
        if there > 0 {
            let counts = |since: Tick| now.since(since) < grace;
            self.known
                .retain(|_, entry| entry.vanished.is_none_or(counts));
        }
        if self.known.len() - there > there {
            for entry in self.known.values_mut() {
                entry.held = entry.vanished.is_some();
            }
        }
    }

    /// When [`sweep`](Self::sweep) is to be called next.
    pub(super) fn due(&self) -> Option<Tick> {
        let held = self.known.values().filter(|entry| entry.held);
        let first = held.filter_map(|entry| entry.vanished).min();
        Some(first.filter(|_| self.there() > 0)? + self.grace)
    }

    fn there(&self) -> usize {
        self.known.values().filter(|e| e.vanished.is_none()).count()
    }

    /// Whether all that is known has vanished.
    pub(super) fn is_empty(&self) -> bool {
        self.there() == 0
    }

    pub(super) fn instances(&self) -> Vec<Arc<Instance>> {
        let shown = self.known.values().filter(|entry| entry.is_shown());
        shown.map(|entry| entry.instance.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::wire::{Event, Header};
    use super::*;
    use proptest::prelude::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn kv(id: u8, leaving: bool, mod_revision: i64) -> KeyValue {
        let address = format!("http://10.0.0.{id}:80").parse().unwrap();
        let value = Value {
            instance: &Instance::new("s", id.to_string(), [address]),
            leaving,
        };
        KeyValue {
            key: vec![id],
            mod_revision,
            value: serde_json::to_vec(&value).unwrap(),
            lease: 0,
        }
    }

    fn header(revision: i64) -> Option<Header> {
        Some(Header { revision })
    }

    fn range(ids: &[u8], revision: i64) -> RangeResponse {
        RangeResponse {
            header: header(revision),
            kvs: ids.iter().map(|id| kv(*id, false, revision)).collect(),
            more: false,
        }
    }

    fn put(id: u8, leaving: bool, revision: i64) -> WatchResponse {
        let kv = Some(kv(id, leaving, revision));
        events(revision, vec![Event { kind: 0, kv }])
    }

    fn delete(ids: &[u8], revision: i64) -> WatchResponse {
        let gone = |id: &u8| Event {
            kind: DELETED,
            kv: Some(KeyValue {
                key: vec![*id],
                mod_revision: revision,
                ..KeyValue::default()
            }),
        };
        events(revision, ids.iter().map(gone).collect())
    }

    fn events(revision: i64, events: Vec<Event>) -> WatchResponse {
        WatchResponse {
            header: header(revision),
            events,
            ..WatchResponse::default()
        }
    }

    fn view(ids: &[u8]) -> View {
        let mut view = View::new(GRACE);
        view.range(range(ids, 10), Tick::ZERO);
        view
    }

    fn ids(view: &View) -> Vec<u8> {
        let ids = view.instances();
        ids.iter()
            .map(|instance| instance.id.parse().unwrap())
            .collect()
    }

    #[test]
    fn one_goes_at_once_and_many_for_a_reason() {
        let mut view = view(&[1, 2, 3, 4]);
        view.message(delete(&[1], 11), Tick::ZERO);
        assert_eq!(ids(&view), [2, 3, 4]);
        view.message(delete(&[2], 12), Tick::ZERO);
        assert_eq!(ids(&view), [3, 4]);
        view.message(delete(&[3], 13), Tick::ZERO);
        assert_eq!(ids(&view), [1, 2, 3, 4], "most of them, one by one");
        let due = view.due().unwrap();
        assert_eq!(due, Tick::ZERO + GRACE);
        view.sweep(due);
        assert_eq!(ids(&view), [4]);
        view.message(delete(&[4], 14), due);
        view.sweep(due + GRACE * 1000);
        assert_eq!((ids(&view), view.due()), (vec![4], None), "the last");
        assert!(view.is_empty());
        view.message(put(5, false, 15), due + GRACE);
        assert_eq!(ids(&view), [5]);
    }

    #[test]
    fn who_says_that_it_leaves_is_believed_unless_it_is_the_last() {
        let mut view = view(&[1, 2, 3]);
        for id in [1, 2] {
            view.message(put(id, true, 11 + i64::from(id)), Tick::ZERO);
        }
        assert_eq!(ids(&view), [3]);
        view.message(put(3, true, 14), Tick::ZERO);
        assert_eq!(ids(&view), [3]);
        view.message(delete(&[1, 2, 3], 15), Tick::ZERO);
        assert_eq!(ids(&view), [3]);
        view.message(put(4, false, 16), Tick::ZERO);
        assert_eq!(ids(&view), [4]);
    }

    #[test]
    fn an_etcd_that_has_lost_its_data_empties_no_list() {
        let mut view = view(&[1, 2, 3]);
        let created = WatchResponse {
            created: true,
            header: header(1),
            ..WatchResponse::default()
        };
        assert!(matches!(view.message(created, Tick::ZERO), Took::Anew(_)));
        assert_eq!(view.revision(), None);
        view.range(range(&[], 1), Tick::ZERO);
        assert_eq!((ids(&view), view.revision()), (vec![1, 2, 3], Some(1)));
        view.doubt();
        view.range(range(&[], 1), Tick::ZERO);
        view.message(put(2, false, 2), Tick::ZERO);
        assert_eq!(ids(&view), [1, 2, 3]);
        view.message(put(1, false, 3), Tick::ZERO);
        assert_eq!(ids(&view), [1, 2, 3], "two back, and one on its way");
        view.sweep(Tick::ZERO + GRACE);
        assert_eq!(ids(&view), [1, 2]);
    }

    #[test]
    fn a_list_that_begins_anew_is_waited_for() {
        let mut view = view(&[1, 2]);
        view.range(range(&[1], 3), Tick::ZERO);
        assert_eq!(ids(&view), [1, 2]);
        view.sweep(view.due().unwrap());
        assert_eq!(ids(&view), [1]);
    }

    #[test]
    fn only_what_is_in_order_moves_the_revision() {
        let mut view = view(&[1, 2]);
        let progress = |watch_id, revision| WatchResponse {
            watch_id,
            ..events(revision, Vec::new())
        };
        assert_eq!(view.message(progress(NO_WATCH, 90), Tick::ZERO), Took::Fine);
        assert_eq!(view.revision(), Some(10));
        let ahead = WatchResponse {
            header: header(95),
            ..put(3, false, 20)
        };
        view.message(ahead, Tick::ZERO);
        assert_eq!(view.revision(), Some(20));
        view.message(progress(0, 30), Tick::ZERO);
        assert_eq!(view.revision(), Some(30));
        view.message(delete(&[1], 25), Tick::ZERO);
        assert_eq!((ids(&view), view.revision()), (vec![1, 2, 3], Some(30)));
    }

    #[test]
    fn what_ends_a_watch() {
        let mut view = view(&[1]);
        let ended = WatchResponse {
            canceled: true,
            cancel_reason: "no leader".into(),
            ..WatchResponse::default()
        };
        let took = view.message(ended, Tick::ZERO);
        assert_eq!(took, Took::Ended("no leader".into()));
        assert_eq!(view.revision(), Some(10));
        let compacted = WatchResponse {
            canceled: true,
            compact_revision: 50,
            ..WatchResponse::default()
        };
        assert!(matches!(view.message(compacted, Tick::ZERO), Took::Anew(_)));
        assert_eq!((ids(&view), view.revision()), (vec![1], None));
    }

    #[test]
    fn nonsense_in_one_key_is_left_out() {
        let mut view = view(&[1, 2]);
        for (key, value) in [(1, &b"{}"[..]), (9, b"\xFF"), (8, b"[]")] {
            let kv = KeyValue {
                key: vec![key],
                mod_revision: 11,
                value: value.to_vec(),
                lease: 0,
            };
            view.message(
                events(
                    11,
                    vec![Event {
                        kind: 0,
                        kv: Some(kv),
                    }],
                ),
                Tick::ZERO,
            );
        }
        assert_eq!(ids(&view), [2]);
    }

    /// Something that happens, and the time until then.
    fn happening() -> impl Strategy<Value = (u64, u8, Vec<u8>)> {
        let ids = proptest::collection::vec(0..6u8, 0..6);
        (0..40_000u64, 0..4u8, ids)
    }

    proptest! {
        #[test]
        fn laws(happenings in proptest::collection::vec(happening(), 1..40)) {
            let mut view = view(&[0, 1]);
            let mut there = BTreeSet::from([0u8, 1]);
            let (mut now, mut revision) = (Tick::ZERO, 10);
            for (pause, kind, them) in happenings {
                now = now + Duration::from_millis(pause);
                view.sweep(now);
                revision += 1;
                let set: BTreeSet<u8> = them.iter().copied().collect();
                match kind {
                    0 => {
                        view.range(range(&them, revision), now);
                        there = set;
                    }
                    1 => {
                        view.message(delete(&them, revision), now);
                        there.retain(|id| !set.contains(id));
                    }
                    _ => for id in them {
                        let leaving = kind == 2;
                        view.message(put(id, leaving, revision), now);
                        if leaving { there.remove(&id) } else { there.insert(id) };
                        revision += 1;
                    },
                }
                let have: BTreeSet<u8> = ids(&view).into_iter().collect();
                prop_assert!(!have.is_empty(), "never nothing");
                prop_assert!(there.is_subset(&have), "{there:?} in {have:?}");
                prop_assert_eq!(view.is_empty(), there.is_empty());
                view.sweep(now + GRACE);
                let after: BTreeSet<u8> = ids(&view).into_iter().collect();
                prop_assert!(there.is_empty() || after == there, "not for longer than the grace");
            }
        }
    }
}
