//! How old an answer is, and what that allows.
//!
//! Dates are looked at once, when an answer comes: from then on its age grows by the time that has
//! passed, so that neither our clock nor the origin's can make it younger by jumping.

use std::time::Duration;

use seawall_policy::Tick;

use super::directives::RequestDirectives;

/// The times and terms of an answer that is kept. Made by [`judge`](super::judge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// When it came.
    pub at: Tick,
    /// How old it was then.
    pub age: Duration,
    /// Until what age it is fresh.
    pub life: Duration,
    /// How long after that it may be served while another is fetched.
    pub while_revalidate: Duration,
    /// How long after that it may be served where the origin fails.
    pub if_error: Duration,
    /// It must be confirmed before each use.
    pub confirm: bool,
    /// It must not be served stale, whoever would have it.
    pub never_stale: bool,
    /// A client that takes something stale may have it.
    pub max_stale: bool,
    /// It may be served to someone who has shown who they are.
    pub for_everyone: bool,
}

/// What may be done with an answer that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is fresh: served.
    Fresh,
    /// It is stale, and the client takes it: served.
    Stale,
    /// It is stale: served, and another fetched for those who come later.
    WhileRevalidate,
    /// The origin is asked first.
    Revalidate,
}

impl Kept {
    /// How old it is.
    #[inline]
    #[must_use]
    pub fn age_at(&self, now: Tick) -> Duration {
        self.age.saturating_add(now.since(self.at))
    }

    /// Whether it is fresh, as far as the origin says.
    #[inline]
    #[must_use]
    pub fn is_fresh(&self, now: Tick) -> bool {
        !self.confirm && self.age_at(now) < self.life
    }

    /// By how much it is stale; zero while it is not.
    #[must_use]
    pub fn staleness(&self, now: Tick) -> Duration {
        self.age_at(now).saturating_sub(self.life)
    }

    /// What may be done with it for a request with these directives.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall_cache::http::{Kept, RequestDirectives, Use};
    /// use seawall_policy::Tick;
    ///
    /// let kept = Kept {
    ///     at: Tick::ZERO,
    ///     age: Duration::ZERO,
    ///     life: Duration::from_secs(60),
    ///     while_revalidate: Duration::from_secs(10),
    ///     if_error: Duration::ZERO,
    ///     confirm: false,
    ///     never_stale: false,
    ///     max_stale: true,
    ///     for_everyone: true,
    /// };
    /// let any = RequestDirectives::default();
    /// assert_eq!(kept.use_of(&any, Tick::from_secs_f64(59.0)), Use::Fresh);
    /// assert_eq!(kept.use_of(&any, Tick::from_secs_f64(65.0)), Use::WhileRevalidate);
    /// assert_eq!(kept.use_of(&any, Tick::from_secs_f64(70.0)), Use::Revalidate);
    /// ```
    #[must_use]
    pub fn use_of(&self, request: &RequestDirectives, now: Tick) -> Use {
        if request.no_cache || self.confirm {
            return Use::Revalidate;
        }
        let age = self.age_at(now);
        if request.max_age.is_some_and(|most| age > secs(most)) {
            return Use::Revalidate;
        }
        if age < self.life {
            let left = self.life - age;
            return match request.min_fresh {
                Some(wanted) if left < secs(wanted) => Use::Revalidate,
                _ => Use::Fresh,
            };
        }
        if self.never_stale || request.min_fresh.is_some() {
            return Use::Revalidate;
        }
        let staleness = age - self.life;
        if staleness < self.while_revalidate {
            Use::WhileRevalidate
        } else if self.max_stale
            && request
                .max_stale
                .is_some_and(|most| staleness <= secs(most))
        {
            Use::Stale
        } else {
            Use::Revalidate
        }
    }

    /// Whether it may be served now that the origin fails, or cannot be asked.
    #[must_use]
    pub fn may_serve_on_error(&self, now: Tick) -> bool {
        if self.confirm {
            return false;
        }
        let staleness = self.staleness(now);
        self.is_fresh(now) || (!self.never_stale && staleness < self.if_error)
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept() -> impl Strategy<Value = Kept> {
        let time = || (0_u64..100).prop_map(Duration::from_secs);
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        (time(), time(), time(), time(), flags).prop_map(|(age, life, wr, ie, flags)| Kept {
            at: Tick::from_millis(50_000),
            age,
            life,
            while_revalidate: wr,
            if_error: ie,
            confirm: flags.0,
            never_stale: flags.1,
            max_stale: flags.2,
            for_everyone: true,
        })
    }

    fn directives() -> impl Strategy<Value = RequestDirectives> {
        let time = || proptest::option::of(0_u64..100);
        (any::<bool>(), time(), time(), time()).prop_map(|(no_cache, a, f, s)| RequestDirectives {
            no_cache,
            max_age: a,
            min_fresh: f,
            max_stale: s,
            ..RequestDirectives::default()
        })
    }

    proptest! {
        #[test]
        fn time_makes_nothing_more_usable(
            kept in kept(), asks in directives(), now in 0_u64..300_000, more in 0_u64..300_000
        ) {
            let rank = |of: Use| match of {
                Use::Fresh => 0,
                Use::WhileRevalidate => 1,
                Use::Stale => 2,
                Use::Revalidate => 3,
            };
            let (now, later) = (Tick::from_millis(now), Tick::from_millis(now + more));
            prop_assert!(rank(kept.use_of(&asks, now)) <= rank(kept.use_of(&asks, later)));
            prop_assert!(kept.may_serve_on_error(now) || !kept.may_serve_on_error(later));
            prop_assert!(kept.age_at(now) <= kept.age_at(later));
        }

        #[test]
        fn what_must_not_be_stale_is_not(kept in kept(), asks in directives(), now in 0_u64..300_000) {
            let now = Tick::from_millis(now);
            let served = kept.use_of(&asks, now);
            if kept.never_stale {
                prop_assert!(matches!(served, Use::Fresh | Use::Revalidate));
                prop_assert!(!kept.may_serve_on_error(now) || kept.is_fresh(now));
            }
            if kept.confirm {
                prop_assert_eq!(served, Use::Revalidate);
                prop_assert!(!kept.may_serve_on_error(now));
            }
            if served == Use::Fresh {
                prop_assert!(kept.is_fresh(now));
            }
        }

        #[test]
        fn asking_for_more_gets_no_more(kept in kept(), asks in directives(), now in 0_u64..300_000) {
            let now = Tick::from_millis(now);
            if !kept.is_fresh(now) && asks.max_stale.is_none() {
                prop_assert_ne!(kept.use_of(&asks, now), Use::Stale);
            }
            let plain = kept.use_of(&RequestDirectives::default(), now);
            if plain == Use::Revalidate {
                let got = kept.use_of(&asks, now);
                prop_assert!(matches!(got, Use::Revalidate | Use::Stale));
            }
        }
    }
}
