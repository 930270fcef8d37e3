//! Lines for whoever keeps the gateway: a host that is left alone, a breaker that opens, a reserve
//! that takes over, and the end of each.
//!
//! Looked at twice a second instead of told by the policies, which know no log. What comes and goes
//! between two looks is in the counters alone.

use std::collections::BTreeMap;

use seawall_policy::Tick;
use seawall_policy::balance::HostState;
use seawall_policy::breaker::State;
use seawall_policy::fallback::Stage;

use crate::notice::CALM;
use crate::origin::Origin;

/// Hosts that one look tells of by name.
const TOLD: usize = 10;

/// What an upstream was like at the last look.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    hosts: Hosts,
    breaker: Switch,
    reserve: Switch,
}

impl Conditions {
    /// Looks at an upstream. To be called every [`LOOK`](crate::notice::LOOK).
    pub(crate) fn look(&mut self, origin: &Origin, now: Tick) {
        let upstream = origin.name.as_str();
        let hosts = origin.sets().flat_map(|(pool, set)| {
            let hosts = set.fleet.snapshot(now).into_iter();
            hosts.map(move |(endpoint, host, healthy)| {
                let out = if healthy {
                    matches!(host.state, HostState::Ejected | HostState::Probing)
                        .then_some("ejected")
                } else {
                    Some("unhealthy")
                };
                (pool, endpoint.name.clone(), out)
            })
        });
        let changes = self.hosts.update(hosts);
        for ((pool, host), out) in changes.iter().take(TOLD) {
            match out {
                Some(why) => tracing::warn!(upstream, pool, host, why, "a host is left alone"),
                None => tracing::info!(upstream, pool, host, "a host is used again"),
            }
        }
        let more = changes.len().saturating_sub(TOLD);
        if more > 0 {
            tracing::warn!(
                upstream,
                more,
                "as many hosts more are left alone or used again"
            );
        }
        let breaker = origin.breakers.as_ref();
        match (self.breaker).update(breaker.is_some_and(|b| b.state(now) != State::Closed)) {
            Some(true) => {
                tracing::warn!(upstream, "the upstream does not answer: its breaker opens")
            }
            Some(false) => tracing::info!(upstream, "the upstream answers: its breaker is closed"),
            None => {}
        }
        let reserve = origin.reserve.as_ref();
        match (self.reserve).update(reserve.is_some_and(|r| r.gutter.stage() != Stage::Main)) {
            Some(true) => tracing::warn!(upstream, "the upstream fails: its gutter takes over"),
            Some(false) => tracing::info!(upstream, "the upstream is back: its gutter is not used"),
            None => {}
        }
    }
}

/// Something that is or is not. Off is told when it has stayed so for a while: with few calls a
/// breaker opens and closes by the second, and that is one outage.
#[derive(Debug, Default)]
struct Switch {
    told: bool,
    /// Looks at which it was off, since it was on last.
    calm: u32,
}

impl Switch {
    /// What is to be told now.
    fn update(&mut self, on: bool) -> Option<bool> {
        self.calm = if on { 0 } else { self.calm.saturating_add(1) };
        let now = on || (self.told && self.calm < CALM);
        (std::mem::replace(&mut self.told, now) != now).then_some(now)
    }
}

/// A host, by its pool and address.
type Name = (&'static str, String);

/// Hosts that are left alone, and why.
#[derive(Debug, Default)]
struct Hosts(BTreeMap<Name, &'static str>);

impl Hosts {
    /// Takes all hosts there are, with why each is left alone, and returns those that are now and
    /// were not, or were and are not. Who is gone altogether is forgotten.
    fn update(
        &mut self,
        hosts: impl Iterator<Item = (&'static str, String, Option<&'static str>)>,
    ) -> Vec<(Name, Option<&'static str>)> {
        let before = std::mem::take(&mut self.0);
        let mut changes = Vec::new();
        for (pool, host, out) in hosts {
            let name = (pool, host);
            if before.contains_key(&name) != out.is_some() {
                changes.push((name.clone(), out));
            }
            if let Some(why) = out {
                self.0.insert(name, why);
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_of_when_it_goes_and_when_it_comes_back() {
        let mut hosts = Hosts::default();
        let mut look = |states: &[(&str, Option<&'static str>)]| {
            let states = states.iter();
            let told = hosts.update(states.map(|(host, out)| ("main", (*host).to_owned(), *out)));
            let told = told
                .into_iter()
                .map(|((_, host), out)| (host, out.is_some()));
            told.collect::<Vec<_>>()
        };
        assert_eq!(look(&[("a", None), ("b", None)]), []);
        let out = look(&[("a", Some("ejected")), ("b", None)]);
        assert_eq!(out, [("a".to_owned(), true)]);
        // Out for another reason is out all the same.
        assert_eq!(look(&[("a", Some("unhealthy")), ("b", None)]), []);
        let back = look(&[("a", None), ("b", Some("ejected"))]);
        assert_eq!(back, [("a".to_owned(), false), ("b".to_owned(), true)]);
        // Who leaves the list does not come back.
        assert_eq!(look(&[("a", None)]), []);
        assert_eq!(look(&[("a", None), ("b", None)]), []);
    }

    #[test]
    fn a_switch_is_told_of_once_an_outage() {
        let mut switch = Switch::default();
        assert_eq!(switch.update(false), None);
        assert_eq!(switch.update(true), Some(true));
        // Pauses shorter than the calm are none.
        for on in [true, false, false, true] {
            assert_eq!(switch.update(on), None);
        }
        for _ in 1..CALM {
            assert_eq!(switch.update(false), None);
        }
        assert_eq!(switch.update(false), Some(false));
        assert_eq!(switch.update(false), None);
        assert_eq!(switch.update(true), Some(true));
    }
}
