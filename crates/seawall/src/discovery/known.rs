//! What a name is known to stand for, across answers that differ.
//!
//! DNS servers rotate what they say, and many say only a part of what they know each time. Taken at
//! their word, every refresh would exchange the endpoints, and with them connections and
//! statistics. So what one answer leaves out is kept for a while; the order means nothing.
//!
//! Two conditions must hold before something goes: a time, or a name with a TTL of a second would
//! lose it in three; and a number of answers, or a name with a TTL of an hour would lose it by a
//! single one.

use std::collections::BTreeMap;
use std::time::Duration;

use seawall_policy::Tick;

/// So many answers running must have left it out.
const ANSWERS: u32 = 3;

/// Keys with what is known of each.
#[derive(Debug)]
pub(super) struct Known<K, V> {
    entries: BTreeMap<K, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    missing: Option<Missing>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    /// When the first answer without it came.
    since: Tick,
    answers: u32,
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }
}

impl<K: Ord, V> Known<K, V> {
    /// Takes an answer in: what it names is known from now on, with the value it says; what it has
    /// left out for `grace`, in at least three answers, is known no more.
    pub(super) fn answer(
        &mut self,
        answer: impl IntoIterator<Item = (K, V)>,
        now: Tick,
        grace: Duration,
    ) {
        for entry in self.entries.values_mut() {
            let missing = entry.missing.get_or_insert(Missing {
                since: now,
                answers: 0,
            });
            missing.answers = missing.answers.saturating_add(1);
        }
        for (key, value) in answer {
            let missing = None;
            self.entries.insert(key, Entry { value, missing });
        }
        self.entries.retain(|_, entry| {
            entry
                .missing
                .is_none_or(|m| m.answers < ANSWERS || now.since(m.since) < grace)
        });
    }

    /// Keeps the `most` of the lowest rank. Whichever answers come in whatever order, the same are
    /// kept of the same.
    pub(super) fn limit(&mut self, most: usize, rank: impl Fn(&K) -> u64) {
        if self.entries.len() <= most {
            return;
        }
        let mut ranks: Vec<u64> = self.entries.keys().map(&rank).collect();
        ranks.sort_unstable();
        let Some(limit) = ranks.get(most).copied() else {
            return;
        };
        self.entries.retain(|key, _| rank(key) < limit);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::endpoint::mix;
    use super::*;
    use proptest::prelude::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn keys(known: &Known<u8, ()>) -> BTreeSet<u8> {
        known.iter().map(|(key, ())| *key).collect()
    }

    fn tell(known: &mut Known<u8, ()>, answer: &[u8], now: Tick) {
        known.answer(answer.iter().map(|key| (*key, ())), now, GRACE);
    }

    #[test]
    fn a_long_ttl_takes_three_answers_and_a_short_one_the_grace() {
        for (every, gone_after) in [(300, 3), (1, 31)] {
            let mut known = Known::default();
            tell(&mut known, &[1, 2], Tick::ZERO);
            let gone = (1..100).find(|n| {
                tell(&mut known, &[1], Tick::from_millis(n * every * 1000));
                keys(&known) == BTreeSet::from([1])
            });
            assert_eq!(gone, Some(gone_after), "every {every} s");
        }
    }

    #[test]
    fn a_rotating_subset_becomes_the_whole_and_stays() {
        let mut known = Known::default();
        for n in 0..200u8 {
            let answer: Vec<u8> = (0..4).map(|k| (n % 5 * 4 + k) % 20).collect();
            tell(&mut known, &answer, Tick::from_millis(u64::from(n) * 5000));
            if n >= 5 {
                assert_eq!(known.iter().count(), 20, "after {n} answers");
            }
        }
    }

    #[test]
    fn who_comes_back_is_as_new() {
        let mut known = Known::default();
        for n in 0..50 {
            let answer: &[u8] = if n % 6 == 0 { &[1, 2] } else { &[1] };
            tell(&mut known, answer, Tick::from_millis(n * 5000));
            assert!(keys(&known).contains(&2));
        }
    }

    /// Answers with the time from each to the next.
    fn answers() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
        let answer = proptest::collection::vec(0..12u8, 0..8);
        proptest::collection::vec((0..60_000u64, answer), 1..60)
    }

    proptest! {
        #[test]
        fn laws(answers in answers()) {
            let mut known = Known::default();
            let (mut told, mut now) = (Vec::<(Tick, BTreeSet<u8>)>::new(), Tick::ZERO);
            for (pause, answer) in answers {
                now = now + Duration::from_millis(pause);
                tell(&mut known, &answer, now);
                told.push((now, answer.into_iter().collect()));
                let have = keys(&known);
                let last = told.last().unwrap();
                prop_assert!(last.1.is_subset(&have), "what an answer names is known");
                for key in 0..12 {
                    let running = told.iter().rev().take_while(|(_, a)| !a.contains(&key));
                    let (count, first) = running.fold((0, now), |(n, _), (at, _)| (n + 1, *at));
                    let ever = count < told.len();
                    let kept = ever && (count < 3 || now.since(first) < GRACE);
                    prop_assert_eq!(have.contains(&key), kept, "{}", key);
                }
            }
        }

        #[test]
        fn order_means_nothing(
            answer in proptest::collection::vec(any::<u8>(), 0..40).prop_shuffle(),
            most in 0..20usize,
        ) {
            let (mut one, mut other) = (Known::default(), Known::default());
            tell(&mut one, &answer, Tick::ZERO);
            let mut sorted = answer.clone();
            sorted.sort_unstable();
            tell(&mut other, &sorted, Tick::ZERO);
            let distinct = keys(&one).len();
            for known in [&mut one, &mut other] {
                known.limit(most, |key| mix(u64::from(*key)));
                prop_assert_eq!(known.iter().count(), distinct.min(most));
            }
            prop_assert_eq!(keys(&one), keys(&other));
        }

        #[test]
        fn a_limit_keeps_most_of_what_it_kept(n in 20..200u64, most in 1..20usize) {
            let of = |n| {
                let mut known = Known::default();
                known.answer((0..n).map(|key| (key, ())), Tick::ZERO, GRACE);
                known.limit(most, |key| mix(*key));
                known.iter().map(|(key, ())| *key).collect::<BTreeSet<u64>>()
            };
            prop_assert!(of(n).difference(&of(n + 1)).count() <= 1);
        }
    }
}
