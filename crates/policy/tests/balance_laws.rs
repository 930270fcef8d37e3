//! What holds of every algorithm, whatever happens.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use seawall_policy::balance::{
    Algorithm, Ask, BalanceSettings, Choice, Host, HostSpec, HostState, Hosts, Load, Subset,
};
use seawall_policy::{Outcome, Tick};

#[derive(Clone, Debug)]
enum Step {
    Pick {
        random: u64,
        hash: Option<u64>,
        tried: Vec<u64>,
        zone: u16,
    },
    Finish {
        which: usize,
        outcome: Outcome,
        latency: u64,
        load: Option<(u32, u64)>,
    },
    Drop {
        which: usize,
    },
    Update {
        specs: Vec<(u64, u32, u16)>,
    },
    Probe {
        random: u64,
        load: (u32, u64),
    },
    Wait {
        ns: u64,
    },
    Jump {
        to: u64,
    },
}

fn nanos() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..5_000_000_000, 1 => Just(0), 1 => Just(u64::MAX)]
}

fn specs() -> impl Strategy<Value = Vec<(u64, u32, u16)>> {
    let weight = prop_oneof![6 => Just(1), 1 => Just(0), 2 => 1_u32..20, 1 => Just(u32::MAX)];
    prop::collection::vec((0_u64..12, weight, 0_u16..3), 0..10)
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Success),
        4 => Just(Outcome::Failure),
        1 => Just(Outcome::Overloaded),
        1 => Just(Outcome::Ignored),
    ];
    let load = prop::option::of((any::<u32>(), nanos()));
    let tried = prop::collection::vec(0_u64..12, 0..4);
    prop_oneof![
        20 => (any::<u64>(), any::<Option<u64>>(), tried, 0_u16..3)
            .prop_map(|(random, hash, tried, zone)| Step::Pick { random, hash, tried, zone }),
        18 => (any::<usize>(), outcome, nanos(), load).prop_map(|(which, outcome, latency, load)| {
            Step::Finish { which, outcome, latency, load }
        }),
        1 => any::<usize>().prop_map(|which| Step::Drop { which }),
        1 => specs().prop_map(|specs| Step::Update { specs }),
        4 => (any::<u64>(), (any::<u32>(), nanos())).prop_map(|(random, load)| Step::Probe { random, load }),
        10 => (0_u64..300_000_000).prop_map(|ns| Step::Wait { ns }),
        1 => nanos().prop_map(|to| Step::Jump { to }),
    ]
}

fn list(specs: &[(u64, u32, u16)]) -> Vec<HostSpec> {
    let spec = |&(key, weight, zone): &(u64, u32, u16)| HostSpec { key, weight, zone };
    specs.iter().map(spec).collect()
}

fn load((in_flight, latency): (u32, u64)) -> Load {
    Load {
        in_flight,
        latency: Duration::from_nanos(latency),
    }
}

fn is_out(state: HostState) -> bool {
    matches!(state, HostState::Ejected | HostState::Probing)
}

struct Model {
    hosts: Hosts,
    specs: Vec<HostSpec>,
    calls: Vec<Choice>,
    now: Tick,
}

impl Model {
    fn check_pick(&self, choice: &Choice, tried: &[u64]) {
        let at = choice.at();
        assert_eq!(self.specs[at].key, choice.key());
        let weighty = |spec: &HostSpec| spec.weight > 0;
        let any = self.specs.iter().any(weighty);
        assert!(!any || weighty(&self.specs[at]), "a host without weight");
        let host = self.host(at);
        let state = host.snapshot(self.now).state;
        assert!(!choice.is_probe() || state == HostState::Probing);
        let members = self
            .specs
            .iter()
            .enumerate()
            .filter(|(_, spec)| !any || weighty(spec));
        let serves = |at: usize| !is_out(self.host(at).snapshot(self.now).state);
        let better = members
            .clone()
            .any(|(at, spec)| !tried.contains(&spec.key) && serves(at));
        if better && !choice.is_probe() {
            assert!(
                !tried.contains(&choice.key()),
                "tried, while others are there"
            );
            assert!(!is_out(state), "ejected, while others serve");
        }
    }

    fn host(&self, at: usize) -> &Host {
        self.hosts.host(at).expect("it was picked")
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pick {
                random,
                hash,
                tried,
                zone,
            } => {
                let ask = Ask {
                    hash,
                    tried: &tried,
                    zone,
                    ..Ask::default()
                };
                let choice = self.hosts.pick(&ask, self.now, random);
                assert_eq!(choice.is_none(), self.specs.is_empty());
                if let Some(choice) = choice {
                    self.check_pick(&choice, &tried);
                    self.calls.push(choice);
                }
            }
            Step::Finish {
                which,
                outcome,
                latency,
                load: said,
            } if !self.calls.is_empty() => {
                let call = self.calls.swap_remove(which % self.calls.len());
                call.finish(
                    outcome,
                    Duration::from_nanos(latency),
                    said.map(load),
                    self.now,
                );
            }
            Step::Drop { which } if !self.calls.is_empty() => {
                drop(self.calls.swap_remove(which % self.calls.len()));
            }
            Step::Update { specs } => self.update(list(&specs)),
            Step::Probe { random, load: said } => {
                if let Some(at) = self.hosts.probe_wanted(self.now, random) {
                    self.hosts.probe_result(at, load(said), self.now);
                }
            }
            Step::Wait { ns } => self.now = self.now + Duration::from_nanos(ns),
            Step::Jump { to } => self.now = Tick(to),
            Step::Finish { .. } | Step::Drop { .. } => {}
        }
        self.check_state();
    }

    fn update(&mut self, specs: Vec<HostSpec>) {
        let before: HashMap<_, _> = self.hosts.snapshot(self.now).map(|h| (h.key, h)).collect();
        self.hosts = self.hosts.updated(&specs, self.now);
        self.specs = specs;
        for host in self.hosts.snapshot(self.now) {
            if let Some(before) = before.get(&host.key) {
                assert_eq!(host.in_flight, before.in_flight);
                assert_eq!(host.failing, before.failing);
                assert_eq!(host.ejections, before.ejections);
                assert_eq!(is_out(host.state), is_out(before.state));
            }
        }
    }

    fn check_state(&self) {
        let mut calls: HashMap<u64, u32> = HashMap::new();
        for call in &self.calls {
            *calls.entry(call.key()).or_default() += 1;
        }
        for host in self.hosts.snapshot(self.now) {
            // A host that went and came back is a new one: its old calls are not its own.
            assert!(host.in_flight <= calls.get(&host.key).copied().unwrap_or(0));
            assert!((0.0..=1.0).contains(&host.failing), "{}", host.failing);
            assert!((0.0..=1.0).contains(&host.share), "{}", host.share);
            assert!(
                host.latency <= Duration::from_secs(3_601),
                "{:?}",
                host.latency
            );
        }
    }
}

proptest! {
    #[test]
    fn nothing_breaks_them(
        algorithm in prop::sample::select(&Algorithm::ALL[..]),
        first in specs(),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let settings = BalanceSettings { algorithm, ..BalanceSettings::default() };
        let specs = list(&first);
        let mut model = Model {
            hosts: Hosts::new(settings, &specs, Tick::ZERO),
            specs,
            calls: Vec::new(),
            now: Tick::ZERO,
        };
        for step in steps {
            model.step(step);
        }
        model.calls.clear();
        prop_assert!(model.hosts.snapshot(model.now).all(|host| host.in_flight == 0));
    }

    #[test]
    fn a_subset_is_kept_to(seed: u64, size in 1_usize..6, algorithm in prop::sample::select(&Algorithm::ALL[..])) {
        let subset = Some(Subset { client: seed, size });
        let settings = BalanceSettings { algorithm, subset, ..BalanceSettings::default() };
        let specs: Vec<_> = (0..20).map(HostSpec::new).collect();
        let hosts = Hosts::new(settings, &specs, Tick::ZERO);
        let mut used: Vec<usize> = (0..200_u64)
            .map(|i| {
                let random = (seed ^ i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let ask = Ask { hash: Some(random), ..Ask::default() };
                let choice = hosts.pick(&ask, Tick::ZERO, random).unwrap();
                let at = choice.at();
                choice.finish(Outcome::Success, Duration::from_millis(10), None, Tick::ZERO);
                at
            })
            .collect();
        used.sort_unstable();
        used.dedup();
        prop_assert_eq!(used.len(), size);
    }

    #[test]
    fn exactly_one_probe_at_a_time(picks in 1_usize..50, outcome in 0_u8..3) {
        let specs: Vec<_> = (0..4).map(HostSpec::new).collect();
        let hosts = Hosts::new(BalanceSettings::default(), &specs, Tick::ZERO);
        let others = [1, 2, 3];
        for _ in 0..5 {
            let ask = Ask { tried: &others, ..Ask::default() };
            let call = hosts.pick(&ask, Tick::ZERO, 0).unwrap();
            call.finish(Outcome::Failure, Duration::ZERO, None, Tick::ZERO);
        }
        prop_assert_eq!(hosts.snapshot(Tick::ZERO).next().unwrap().state, HostState::Ejected);
        let now = Tick::from_millis(600);
        let mut probes: Vec<_> = (0..picks)
            .map(|i| hosts.pick(&Ask::default(), now + Duration::from_millis(5 * i as u64), i as u64).unwrap())
            .filter(Choice::is_probe)
            .collect();
        prop_assert_eq!(probes.len(), 1);
        let probe = probes.remove(0);
        prop_assert_eq!(probe.at(), 0);
        let later = now + Duration::from_secs(1);
        match outcome {
            0 => drop(probe),
            1 => probe.finish(Outcome::Ignored, Duration::ZERO, None, later),
            _ => probe.finish(Outcome::Failure, Duration::ZERO, None, later),
        }
        // Given back at once, or after half a second at most.
        let again = later + Duration::from_millis(if outcome == 2 { 500 } else { 10 });
        let next = hosts.pick(&Ask::default(), again, 1).unwrap();
        prop_assert!(next.is_probe());
    }
}
