//! Who asks for what: a sample, taken on the way and read now and then.
//!
//! Reads that another level answers in process are not in it at all: a key that is held there does
//! no harm to anyone. The others add to a count of their thread's shard, and one in [`ONE_IN`] leaves
//! the key's hash in a slot of it. No lock, no allocation; what is not read in time is overwritten.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_sync::{Shard, Sharded};

/// Of so many reads one is a sample. Drawn rather than counted off: of a caller who asks for two keys
/// in turn, every 8th call is always the same key.
const ONE_IN: u64 = 8;
/// Samples of a shard between two readings: 1,024 in 100 ms are 80,000 reads a second.
const SLOTS: usize = 1_024;

struct Shelf {
    reads: AtomicU64,
    taken: AtomicU64,
    slots: Box<[AtomicU64]>,
}

pub(super) struct Stream(Sharded<Shelf>);

/// What was read since the last time.
#[derive(Default)]
pub(super) struct Sample {
    /// All reads, of which the hashes are a fair sample.
    pub(super) reads: u64,
    pub(super) hashes: Vec<u64>,
}

impl Stream {
    pub(super) fn new(shards: usize) -> Self {
        Self(Sharded::new(shards, || Shelf {
            reads: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
        }))
    }

    /// A read of the key with this hash; 0 is no key.
    #[inline]
    pub(super) fn note(&self, hash: u64) {
        let shelf = self.0.get(Shard::current());
        let read = shelf.reads.fetch_add(1, Relaxed);
        if mix(read).is_multiple_of(ONE_IN) {
            let slot = shelf.taken.fetch_add(1, Relaxed) as usize % SLOTS;
            shelf.slots[slot].store(hash, Relaxed);
        }
    }

    /// Takes what there is. One caller at a time; a sample that is left meanwhile may be lost.
    pub(super) fn take(&self) -> Sample {
        let mut sample = Sample::default();
        for shelf in self.0.iter() {
            sample.reads += shelf.reads.swap(0, Relaxed);
            let taken = shelf.taken.swap(0, Relaxed) as usize;
            let slots = shelf.slots.iter().take(taken);
            sample.hashes.extend(
                slots
                    .map(|slot| slot.swap(0, Relaxed))
                    .filter(|&hash| hash != 0),
            );
        }
        sample
    }
}

/// The finaliser of SplitMix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_in_the_calls_is_none_in_the_sample() {
        let stream = Stream::new(1);
        for read in 0..8_000_u64 {
            stream.note(1 + read % 8);
        }
        let sample = stream.take();
        assert_eq!(sample.reads, 8_000);
        assert!(
            (900..=1_024).contains(&sample.hashes.len()),
            "{}",
            sample.hashes.len()
        );
        for key in 1..=8_u64 {
            let found = sample.hashes.iter().filter(|hash| **hash == key).count();
            assert!((80..=170).contains(&found), "{key}: {found}");
        }
        assert_eq!(stream.take().hashes.len(), 0);
    }

    #[test]
    fn more_than_there_is_room_for_is_still_a_sample() {
        let stream = Stream::new(1);
        for read in 0..100_000_u64 {
            stream.note(1 + read % 2);
        }
        let sample = stream.take();
        assert_eq!((sample.reads, sample.hashes.len()), (100_000, SLOTS));
        let ones = sample.hashes.iter().filter(|hash| **hash == 1).count();
        assert!((400..=624).contains(&ones), "{ones}");
    }
}
