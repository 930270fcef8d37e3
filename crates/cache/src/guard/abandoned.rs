//! Leases that may be this process's, and that nobody is going to fill.
//!
//! A question that was not answered in time may be answered all the same: a server that was frozen
//! reads on where it stopped, and grants leases to who has long gone. Until their end, ten seconds,
//! the keys could be loaded by nobody, in the very moment in which they are missing. So they are
//! released as soon as the store answers. A lease that is another's by then is not touched.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use seawall::Tick;
use seawall::clock::Clock;

use super::replay::Turn;
use crate::store::Token;

/// Of more, the oldest are left to end by themselves.
const MOST: usize = 4_096;
/// Released in one round trip.
const BATCH: usize = 128;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    key: Bytes,
    token: Token,
    /// When it has ended by itself.
    until: Tick,
}

#[derive(Debug)]
pub(crate) struct Abandoned {
    leases: Mutex<VecDeque<Lease>>,
    releasing: AtomicBool,
    clock: Clock,
}

impl Abandoned {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            leases: Mutex::default(),
            releasing: AtomicBool::new(false),
            clock,
        }
    }

    /// A lease of such a length may have been granted. To be followed by a [`flush`](Self::flush)
    /// that nobody waits for.
    pub(crate) fn add(&self, key: Bytes, token: Token, lease: Duration) {
        let until = self.clock.now() + lease;
        let mut leases = self.leases.lock();
        if leases.len() == MOST {
            leases.pop_front();
        }
        leases.push_back(Lease { key, token, until });
    }

    /// Has `release` give back what there is, until that was acknowledged or the lease has ended; ends
    /// at once where another one is at it.
    pub(crate) async fn flush<F: Future<Output = bool>>(
        &self,
        mut release: impl FnMut(Bytes, Token) -> F,
    ) {
        while !self.leases.lock().is_empty() {
            let Some(_turn) = Turn::take(&self.releasing) else {
                return;
            };
            while let Some(batch) = self.batch() {
                let release = |lease: &Lease| release(lease.key.clone(), lease.token);
                let released = join_all(batch.iter().map(release)).await;
                let left = batch.into_iter().zip(&released);
                let left = left.filter(|(_, released)| !**released);
                self.leases.lock().extend(left.map(|(lease, _)| lease));
                if !released.contains(&true) {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn batch(&self) -> Option<Vec<Lease>> {
        let now = self.clock.now();
        let mut leases = self.leases.lock();
        leases.retain(|lease| now < lease.until);
        let count = leases.len().min(BATCH);
        (count > 0).then(|| leases.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn key(number: u64) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_released_once_the_store_answers() {
        let abandoned = Abandoned::new(Clock::runtime());
        for number in 0..300 {
            abandoned.add(key(number), Token(number), LEASE);
        }
        let back = tokio::time::Instant::now() + Duration::from_secs(3);
        let mut released = Vec::new();
        abandoned
            .flush(|_, token| {
                let back = tokio::time::Instant::now() >= back;
                if back {
                    released.push(token.0);
                }
                std::future::ready(back)
            })
            .await;
        released.sort_unstable();
        assert_eq!(released, (0..300).collect::<Vec<_>>());
        assert!(back.elapsed() <= PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_by_itself_is_forgotten() {
        let abandoned = Abandoned::new(Clock::runtime());
        abandoned.add(key(1), Token(1), LEASE);
        let start = tokio::time::Instant::now();
        abandoned.flush(|_, _| std::future::ready(false)).await;
        assert!(start.elapsed() <= LEASE + PAUSE);
    }

    #[test]
    fn it_holds_no_more_than_its_number() {
        let abandoned = Abandoned::new(Clock::manual());
        for number in 0..=MOST as u64 {
            abandoned.add(key(number), Token(number), LEASE);
        }
        let leases = abandoned.leases.lock();
        assert_eq!((leases.len(), leases[0].token), (MOST, Token(1)));
    }
}
