//! Invalidations that could not be delivered: kept, coalesced, and accounted for. Pure.
//!
//! The law: an invalidation taken in is either kept until a delivery that *began after it* has been
//! acknowledged, or covered by an epoch that is still to be raised, until a raise that began after it
//! has been. So each is numbered; a key that is invalidated again while its delivery is under way
//! has a higher number by then, and stays.
//!
//! Bounded: the oldest are kept, as those that have waited longest, and what does not fit makes the
//! epoch be raised, once everything kept has been delivered. Not sooner: the epoch voids the whole
//! cache, and as long as a shard is away, more would not fit after it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// Shards' health is told apart by so many buckets.
pub(super) const BUCKETS: usize = 64;

/// What is to be delivered, and to be reported with [`Journal::done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Keys to invalidate, the oldest first.
    Keys(Vec<(Bytes, Number)>),
    /// The epoch is to be raised.
    Epoch(Number),
}

/// Of an invalidation; later ones have higher ones.
pub(super) type Number = u64;

#[derive(Debug)]
struct Kept {
    number: Number,
    bucket: usize,
}

#[derive(Debug)]
pub(super) struct Journal {
    limit: usize,
    kept: HashMap<Bytes, Kept>,
    /// By age; keys that were delivered are skipped.
    order: VecDeque<Bytes>,
    by_bucket: [u32; BUCKETS],
    last: Number,
    /// The last that was not kept, where the epoch is to be raised for some, and their buckets.
    lost: Option<Number>,
    lost_buckets: u64,
}

impl Journal {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            kept: HashMap::new(),
            order: VecDeque::new(),
            by_bucket: [0; BUCKETS],
            last: 0,
            lost: None,
            lost_buckets: 0,
        }
    }

    /// Takes in an invalidation that was not delivered, or may not have been.
    pub(super) fn add(&mut self, key: Bytes, bucket: usize) {
        let bucket = bucket % BUCKETS;
        self.last += 1;
        let number = self.last;
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.number = number;
        } else if self.kept.len() < self.limit {
            self.kept.insert(key.clone(), Kept { number, bucket });
            self.order.push_back(key);
            self.by_bucket[bucket] += 1;
        } else {
            self.lost = Some(number);
            self.lost_buckets |= 1 << bucket;
        }
    }

    /// The next to be delivered, at most so many; nothing where all are.
    pub(super) fn work(&mut self, most: usize) -> Option<Work> {
        if self.kept.is_empty() {
            return self.lost.map(Work::Epoch);
        }
        let oldest = self.order.iter().take(most.max(1));
        let numbered = |key: &Bytes| Some((key.clone(), self.kept.get(key)?.number));
        Some(Work::Keys(oldest.filter_map(numbered).collect()))
    }

    /// Takes in that `key` was delivered as of `number`.
    pub(super) fn delivered(&mut self, key: &Bytes, number: Number) {
        let Some(kept) = self.kept.get(key).filter(|kept| kept.number == number) else {
            return;
        };
        self.by_bucket[kept.bucket] -= 1;
        self.kept.remove(key);
        // It is among the first, as the oldest are delivered first.
        if let Some(at) = self.order.iter().position(|other| other == key) {
            self.order.remove(at);
        }
    }

    /// Takes in that the epoch was raised for what was lost up to `number`.
    pub(super) fn raised(&mut self, number: Number) {
        if self.lost.is_some_and(|lost| lost <= number) {
            (self.lost, self.lost_buckets) = (None, 0);
        }
    }

    /// Puts the oldest last, so that those of a shard that stays away do not hold up the others.
    pub(super) fn postpone(&mut self, count: usize) {
        let count = count.min(self.order.len());
        self.order.rotate_left(count);
    }

    /// By bucket, a bit each: some of its invalidations are still to be delivered.
    pub(super) fn distrusted(&self) -> u64 {
        let bits = self.by_bucket.iter().enumerate();
        let kept = bits.fold(0, |bits, (n, count)| bits | u64::from(*count > 0) << n);
        kept | self.lost_buckets
    }

    /// Whether what a store says of a key may predate an invalidation of it.
    pub(super) fn distrusts(&self, key: &[u8], bucket: usize) -> bool {
        self.lost_buckets >> (bucket % BUCKETS) & 1 == 1 || self.kept.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may happen, in any order: of deliveries several may be under way.
    #[derive(Clone, Debug)]
    enum Event {
        Invalidate(u8),
        Begin(usize),
        /// The delivery, and which of its keys arrived.
        End(usize, u64),
        Postpone(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..12_u8).prop_map(Event::Invalidate),
            2 => (1..5_usize).prop_map(Event::Begin),
            2 => (0..4_usize, any::<u64>()).prop_map(|(n, bits)| Event::End(n, bits)),
            1 => (0..5_usize).prop_map(Event::Postpone),
        ]
    }

    /// What the world knows: by key, when it was last invalidated and when a delivery that arrived
    /// had begun; and when a raise of the epoch that arrived had.
    #[derive(Default)]
    struct World {
        time: u64,
        invalidated: HashMap<u8, u64>,
        delivered: HashMap<u8, u64>,
        raised: u64,
    }

    impl World {
        fn owed(&self, key: u8) -> bool {
            let Some(invalidated) = self.invalidated.get(&key) else {
                return false;
            };
            let delivered = self.delivered.get(&key).copied().unwrap_or(0);
            *invalidated > delivered.max(self.raised)
        }
    }

    fn bytes(key: u8) -> Bytes {
        Bytes::copy_from_slice(&[key])
    }

    fn end(journal: &mut Journal, world: &mut World, (began, work): (u64, Work), bits: u64) {
        match work {
            Work::Epoch(number) if bits & 1 == 1 => {
                world.raised = world.raised.max(began);
                journal.raised(number);
            }
            Work::Epoch(_) => {}
            Work::Keys(keys) => {
                let arrived = keys.into_iter().enumerate();
                for (_, (key, number)) in arrived.filter(|(n, _)| bits >> n & 1 == 1) {
                    let at = world.delivered.entry(key[0]).or_default();
                    *at = began.max(*at);
                    journal.delivered(&key, number);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_invalidation_is_dropped_unless_the_epoch_is_raised_after_it(
            limit in 1..8_usize,
            events in prop::collection::vec(event(), 1..120),
        ) {
            let mut journal = Journal::new(limit);
            let mut world = World::default();
            let mut under_way = Vec::new();
            for event in events {
                world.time += 1;
                match event {
                    Event::Invalidate(key) => {
                        world.invalidated.insert(key, world.time);
                        journal.add(bytes(key), usize::from(key) % 5);
                    }
                    Event::Begin(most) => {
                        under_way.extend(journal.work(most).map(|work| (world.time, work)));
                    }
                    Event::End(n, bits) if n < under_way.len() => {
                        let begun = under_way.remove(n);
                        end(&mut journal, &mut world, begun, bits);
                    }
                    Event::End(..) => {}
                    Event::Postpone(count) => journal.postpone(count),
                }
                prop_assert!(journal.len() <= limit);
                for key in 0..12 {
                    let bucket = usize::from(key) % 5;
                    if world.owed(key) {
                        prop_assert!(journal.distrusts(&bytes(key), bucket));
                        prop_assert!(journal.distrusted() >> bucket & 1 == 1);
                    }
                }
            }
            // And when all is well again, it ends.
            for _ in 0..200 {
                world.time += 1;
                let Some(work) = journal.work(3) else { break };
                let begun = (world.time, work);
                end(&mut journal, &mut world, begun, u64::MAX);
            }
            prop_assert_eq!(journal.work(1), None);
            prop_assert_eq!(journal.distrusted(), 0);
            prop_assert!((0..12).all(|key| !world.owed(key)));
        }
    }

    #[test]
    fn a_key_is_kept_once_and_delivered_oldest_first() {
        let mut journal = Journal::new(8);
        for key in [1, 2, 1] {
            journal.add(bytes(key), 0);
        }
        let keys = vec![(bytes(1), 3), (bytes(2), 2)];
        assert_eq!(journal.work(8), Some(Work::Keys(keys)));
    }

    #[test]
    fn what_does_not_fit_has_the_epoch_raised_once_the_rest_is_delivered() {
        let mut journal = Journal::new(1);
        journal.add(bytes(1), 0);
        journal.add(bytes(2), 7);
        assert_eq!(journal.distrusted(), 1 | 1 << 7);
        assert!(journal.distrusts(b"whatever", 7) && !journal.distrusts(b"whatever", 0));
        let keys = vec![(bytes(1), 1)];
        assert_eq!(journal.work(8), Some(Work::Keys(keys)));
        journal.delivered(&bytes(1), 1);
        assert_eq!(journal.work(8), Some(Work::Epoch(2)));
        // Another is lost while it is raised: it is raised again.
        journal.add(bytes(3), 1);
        journal.add(bytes(4), 1);
        journal.raised(2);
        assert!(journal.distrusts(b"whatever", 1));
    }
}
