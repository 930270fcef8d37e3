//! What a registration asks of etcd, and when. Pure.
//!
//! A key is written under a lease, and the lease is renewed three times in its life. When etcd says
//! that there is no such lease (it ended while etcd or the way to it was away, or etcd lost its
//! data) a new one is taken and the key written anew. Without an answer nothing is concluded: the
//! lease may live, and a second one would only be left over. Every tenth renewal, and after every
//! failure, the key itself is looked at, for what else may have become of it: someone deleted it, or
//! a second instance of the same id took it.
//!
//! Of two with the same id, who started last has the key, since mostly the other is its predecessor,
//! dead and still within its lease; so the first write writes over what is there. Every later one
//! writes only where nothing is: two that live do not take it from each other in turn.

use std::time::Duration;

use seawall_policy::Tick;
use seawall_policy::retry::{Backoff, Schedule};

/// Renewals in a lease's life.
const RENEWALS: u32 = 3;
/// So many renewals between two looks at the key.
const LOOK_EVERY: u32 = 10;

/// What to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// For a lease.
    Grant,
    /// Write the key, whatever is there.
    Put(i64),
    /// Write the key if there is none, and tell whose it is.
    PutIfAbsent(i64),
    /// Renew.
    KeepAlive(i64),
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted {
        lease: i64,
        ttl: Duration,
    },
    /// The key is there and belongs to this lease.
    Owned(i64),
    Renewed,
    NoLease,
    /// None, or an error.
    Failed,
}

/// How the registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Pending,
    Registered,
    Uncertain,
    Replaced,
}

#[derive(Debug)]
pub(super) struct Lease {
    held: Option<Held>,
    standing: Standing,
    /// Has the key ever been ours?
    was_ours: bool,
    /// The key is to be looked at before the next renewal.
    look: bool,
    renewals: u32,
    failures: u8,
    due: Tick,
    ttl: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    id: i64,
    ttl: Duration,
}

impl Lease {
    pub(super) const fn new(ttl: Duration) -> Self {
        Self {
            held: None,
            standing: Standing::Pending,
            was_ours: false,
            look: true,
            renewals: 0,
            failures: 0,
            due: Tick::ZERO,
            ttl,
        }
    }

    /// What to ask next, and when.
    pub(super) fn next(&self) -> (Tick, Ask) {
        let ask = match self.held {
            None => Ask::Grant,
            Some(held) if self.look && !self.was_ours => Ask::Put(held.id),
            Some(held) if self.look => Ask::PutIfAbsent(held.id),
            Some(held) => Ask::KeepAlive(held.id),
        };
        (self.due, ask)
    }

    /// Takes in what came of it.
    pub(super) fn answer(&mut self, answer: Answer, now: Tick, random: u64) {
        let failed = answer == Answer::Failed;
        self.failures = if failed {
            self.failures.saturating_add(1)
        } else {
            0
        };
        self.due = now;
        match answer {
            Answer::Granted { lease, ttl } => {
                let ttl = ttl.max(Duration::from_secs(1));
                self.held = Some(Held { id: lease, ttl });
                self.look = true;
            }
            Answer::Owned(lease) if self.lease() == Some(lease) => {
                self.was_ours = true;
                self.looked(Standing::Registered, now);
            }
            Answer::Owned(_) => self.looked(Standing::Replaced, now),
            Answer::Renewed => {
                self.renewals += 1;
                self.look |= self.renewals >= LOOK_EVERY || self.standing != Standing::Registered;
                if !self.look {
                    self.due = now + self.interval();
                }
            }
            Answer::NoLease => {
                self.held = None;
                self.doubt();
                // All leases of a cluster may have ended at once.
                self.due = now + scaled(self.ttl / 10, random);
            }
            Answer::Failed => {
                // What is left of the lease, if any, is only known when it is renewed.
                self.look = self.held.is_some() && !self.was_ours;
                self.doubt();
                self.due = now + self.backoff(random);
            }
        }
    }

    /// What it would have to revoke.
    pub(super) fn lease(&self) -> Option<i64> {
        self.held.map(|held| held.id)
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    fn looked(&mut self, standing: Standing, now: Tick) {
        self.standing = standing;
        self.look = false;
        self.renewals = 0;
        self.due = now + self.interval();
    }

    fn doubt(&mut self) {
        if self.standing == Standing::Registered {
            self.standing = Standing::Uncertain;
        }
    }

    fn interval(&self) -> Duration {
        self.held.map_or(self.ttl, |held| held.ttl) / RENEWALS
    }

    fn backoff(&self, random: u64) -> Duration {
        let backoff = Backoff {
            schedule: Schedule::EqualJitter,
            base: self.interval() / 8,
            cap: self.interval(),
        };
        let retry = self.failures.saturating_sub(1);
        backoff.wait(retry, Duration::ZERO, random)
    }
}

/// `time` × `random` ÷ 2⁶⁴.
fn scaled(time: Duration, random: u64) -> Duration {
    time.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TTL: Duration = Duration::from_secs(9);

    /// An etcd of one key, as far as a lease can tell.
    #[derive(Default)]
    struct Etcd {
        leases: Vec<(i64, Tick)>,
        last: i64,
        key: Option<i64>,
        /// It takes what it is asked, and its answer does not arrive.
        mute: bool,
        away: bool,
    }

    impl Etcd {
        fn ask(&mut self, ask: Ask, now: Tick) -> Answer {
            self.expire(now);
            if self.away {
                return Answer::Failed;
            }
            let answer = self.apply(ask, now);
            if self.mute { Answer::Failed } else { answer }
        }

        fn apply(&mut self, ask: Ask, now: Tick) -> Answer {
            let lives = |lease| self.leases.iter().any(|(id, _)| *id == lease);
            match ask {
                Ask::Grant => {
                    self.last += 1;
                    self.leases.push((self.last, now + TTL));
                    let (lease, ttl) = (self.last, TTL);
                    Answer::Granted { lease, ttl }
                }
                Ask::Put(lease) | Ask::PutIfAbsent(lease) if !lives(lease) => Answer::NoLease,
                Ask::Put(lease) => {
                    self.key = Some(lease);
                    Answer::Owned(lease)
                }
                Ask::PutIfAbsent(lease) => Answer::Owned(*self.key.get_or_insert(lease)),
                Ask::KeepAlive(lease) if lives(lease) => {
                    self.leases.retain(|(id, _)| *id != lease);
                    self.leases.push((lease, now + TTL));
                    Answer::Renewed
                }
                Ask::KeepAlive(_) => Answer::NoLease,
            }
        }

        fn expire(&mut self, now: Tick) {
            self.leases.retain(|(_, end)| *end > now);
            let lives = |key: &i64| self.leases.iter().any(|(id, _)| id == key);
            self.key = self.key.filter(lives);
        }
    }

    fn step(lease: &mut Lease, etcd: &mut Etcd, now: &mut Tick) -> Ask {
        let (due, ask) = lease.next();
        *now = (*now).max(due);
        let answer = etcd.ask(ask, *now);
        lease.answer(answer, *now, 1 << 63);
        ask
    }

    fn run(lease: &mut Lease, etcd: &mut Etcd, now: &mut Tick, until: Tick) {
        while lease.next().0 < until {
            step(lease, etcd, now);
        }
        *now = until;
    }

    #[test]
    fn it_is_granted_written_and_renewed_three_times_in_its_life() {
        let (mut lease, mut etcd, mut now) = (Lease::new(TTL), Etcd::default(), Tick::ZERO);
        let asked: Vec<Ask> = (0..4)
            .map(|_| step(&mut lease, &mut etcd, &mut now))
            .collect();
        use Ask::{Grant, KeepAlive, Put};
        assert_eq!(asked, [Grant, Put(1), KeepAlive(1), KeepAlive(1)]);
        assert_eq!(now, Tick::ZERO + TTL / 3 * 2);
        assert_eq!(lease.standing(), Standing::Registered);
    }

    #[test]
    fn a_lease_that_ended_is_replaced_and_the_key_written_anew() {
        let (mut lease, mut etcd, mut now) = (Lease::new(TTL), Etcd::default(), Tick::ZERO);
        run(&mut lease, &mut etcd, &mut now, Tick::ZERO + TTL);
        etcd.away = true;
        run(&mut lease, &mut etcd, &mut now, Tick::ZERO + TTL * 5);
        assert_eq!(lease.standing(), Standing::Uncertain);
        assert_eq!(lease.lease(), Some(1), "nothing is concluded from silence");
        etcd.away = false;
        run(&mut lease, &mut etcd, &mut now, Tick::ZERO + TTL * 6);
        assert_eq!(
            (lease.standing(), etcd.key),
            (Standing::Registered, Some(2))
        );
    }

    #[test]
    fn a_key_that_someone_deleted_is_written_again() {
        let (mut lease, mut etcd, mut now) = (Lease::new(TTL), Etcd::default(), Tick::ZERO);
        run(&mut lease, &mut etcd, &mut now, Tick::ZERO + TTL);
        etcd.key = None;
        run(&mut lease, &mut etcd, &mut now, Tick::ZERO + TTL * 5);
        assert_eq!((etcd.key, etcd.last), (Some(1), 1));
    }

    #[test]
    fn of_two_of_one_id_the_later_has_it_and_the_other_takes_it_back() {
        let (mut one, mut etcd, mut now) = (Lease::new(TTL), Etcd::default(), Tick::ZERO);
        let mut other = Lease::new(TTL);
        run(&mut one, &mut etcd, &mut now, Tick::ZERO + TTL);
        for n in 4..=29 {
            let until = Tick::ZERO + TTL / 3 * n;
            run(&mut other, &mut etcd, &mut now.clone(), until);
            run(&mut one, &mut etcd, &mut now, until);
            assert_eq!(etcd.key, other.lease(), "and it stays");
        }
        assert_eq!(one.standing(), Standing::Replaced);
        assert_eq!(other.standing(), Standing::Registered);
        run(&mut one, &mut etcd, &mut now, Tick::ZERO + TTL * 12);
        assert_eq!(
            (one.standing(), etcd.key),
            (Standing::Registered, one.lease())
        );
    }

    proptest! {
        /// Whatever answers get lost, and whatever etcd forgets: soon after, the key is there, under
        /// a lease that is renewed; and no more than one lease in each of its lives is left over.
        #[test]
        fn laws(
            troubles in proptest::collection::vec((0..4u8, 1..20_000u64), 0..30),
            random: u64,
        ) {
            let (mut lease, mut etcd, mut now) = (Lease::new(TTL), Etcd::default(), Tick::ZERO);
            for (trouble, pause) in troubles {
                (etcd.mute, etcd.away) = (trouble == 1, trouble == 2);
                if trouble == 3 {
                    (etcd.leases, etcd.key) = (Vec::new(), None);
                }
                let until = now + Duration::from_millis(pause);
                while lease.next().0 < until {
                    let (due, ask) = lease.next();
                    prop_assert!(due >= now || ask != Ask::Grant || lease.lease().is_none());
                    now = now.max(due);
                    let answer = etcd.ask(ask, now);
                    lease.answer(answer, now, random);
                    let failed = answer == Answer::Failed;
                    prop_assert!(!failed || lease.next().0 >= now + TTL / 50, "no storm");
                }
                now = until;
            }
            (etcd.mute, etcd.away) = (false, false);
            let until = now + TTL * 2;
            run(&mut lease, &mut etcd, &mut now, until);
            etcd.expire(now);
            prop_assert_eq!(lease.standing(), Standing::Registered);
            prop_assert_eq!(etcd.key, lease.lease());
            prop_assert_eq!(etcd.leases.len(), 1);
        }
    }
}
