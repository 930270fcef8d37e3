//! Balancing fleets of simple hosts, in virtual time.

mod balance_support;

use std::time::Duration;

use balance_support::{Client, Host, ms};
use seawall_policy::balance::{
    Algorithm, Ask, BalanceSettings, Choice, HostSpec, HostState, Hosts, Load,
};
use seawall_policy::{Outcome, Tick};

fn with(algorithm: Algorithm) -> BalanceSettings {
    BalanceSettings {
        algorithm,
        ..BalanceSettings::default()
    }
}

#[test]
fn a_slow_host_among_eleven_costs_one_call_in_a_thousand() {
    for seed in 0..5 {
        let mut client = Client::new(BalanceSettings::default(), 11, seed);
        client.timeout = ms(1_000);
        let slow = |at: usize, now: Tick| at == 3 && (10..40).contains(&(now.0 / 1_000_000_000));
        let run = client.run(1_000.0, 60, |at, now, random| Host {
            latency: if slow(at, now) {
                ms(2_000)
            } else {
                ms(162 + random % 11)
            },
            outcome: Outcome::Success,
        });
        assert!(run.success() >= 0.999, "{}", run.success());
    }
}

#[test]
fn a_host_that_hangs_shows_it_before_any_call_ends() {
    // Latency of the others in ms; calls in a time limit of 10 s, for five seeds together. By the
    // count alone they are 150 and 40.
    for (usual, most) in [(162, 120), (20, 15)] {
        let calls = |seed| {
            let mut client = Client::new(BalanceSettings::default(), 11, seed);
            client.timeout = ms(10_000);
            let run = client.run(1_000.0, 20, |at, now, random| Host {
                latency: if at == 3 && now >= Tick::from_millis(10_000) {
                    ms(60_000)
                } else {
                    ms(usual + random % (usual / 10))
                },
                outcome: Outcome::Success,
            });
            run.to[3][10..].iter().sum::<u32>()
        };
        let all: u32 = (0..5).map(calls).sum();
        assert!(all <= most, "{usual} ms: {all}");
    }
}

#[test]
fn a_host_that_fails_fast_gets_next_to_nothing() {
    for algorithm in [Algorithm::PeakEwma, Algorithm::LeastRequest] {
        for outcome in [Outcome::Failure, Outcome::Overloaded] {
            for load in [20, 200] {
                let mut client = Client::new(with(algorithm), 10, 7);
                let run = client.run(1_000.0, 30, |at, now, random| {
                    let broken = at == 4 && now >= Tick::from_millis(5_000);
                    let latency = if broken {
                        ms(1)
                    } else {
                        ms(load / 2 + random % load)
                    };
                    Host {
                        latency,
                        outcome: if broken { outcome } else { Outcome::Success },
                    }
                });
                for second in 6..30 {
                    assert!(run.share(4, second) <= 0.02, "{}", run.share(4, second));
                }
                // And is not forgotten.
                assert!((10..30).all(|second| run.to[4][second] >= 1));
            }
        }
    }
}

#[test]
fn a_dead_host_is_left_alone_and_back_within_a_second() {
    let mut client = Client::new(BalanceSettings::default(), 10, 3);
    client.timeout = ms(1_000);
    let run = client.run(1_000.0, 40, |at, now, random| {
        let dead = at == 0 && (10..20).contains(&(now.0 / 1_000_000_000));
        Host {
            latency: if dead {
                ms(60_000)
            } else {
                ms(20 + random % 20)
            },
            outcome: Outcome::Success,
        }
    });
    for second in 12..20 {
        assert!(run.share(0, second) <= 0.02);
    }
    assert!(run.share(0, 22) >= 0.05, "{}", run.share(0, 22));
    assert!(run.failed[22..].iter().all(|&failed| failed == 0));
}

#[test]
fn of_two_or_three_hosts_a_bad_one_is_found_and_taken_back() {
    for hosts in [2, 3] {
        for dead in [ms(1), ms(60_000)] {
            let mut client = Client::new(BalanceSettings::default(), hosts, 23);
            client.timeout = ms(1_000);
            let bad = |at: usize, now: Tick| at == 0 && (10..20).contains(&(now.0 / 1_000_000_000));
            let run = client.run(300.0, 40, |at, now, random| Host {
                latency: if bad(at, now) {
                    dead
                } else {
                    ms(20 + random % 20)
                },
                outcome: if bad(at, now) {
                    Outcome::Failure
                } else {
                    Outcome::Success
                },
            });
            assert!(
                (12..20).all(|second| run.share(0, second) <= 0.02),
                "{:?}",
                run.to[0]
            );
            let fair = 1.0 / hosts as f64;
            assert!(run.share(0, 23) >= 0.7 * fair, "{:?}", run.to[0]);
        }
    }
}

#[test]
fn a_quiet_fleet_that_fails_as_a_whole_is_mostly_left_alone() {
    let mut client = Client::new(BalanceSettings::default(), 10, 29);
    let mut out = 0;
    client.run_watched(
        5.0,
        300,
        |_, _, random| Host {
            latency: ms(20),
            outcome: if random % 10 < 3 {
                Outcome::Failure
            } else {
                Outcome::Success
            },
        },
        |hosts, now| out = hosts.snapshot(now).map(|host| host.ejections).sum::<u64>(),
    );
    // Of 1,500 calls. Some are bound to fail five in a row.
    assert!(out <= 45, "{out}");
}

#[test]
fn every_algorithm_shares_evenly_among_equals() {
    for algorithm in [
        Algorithm::PeakEwma,
        Algorithm::LeastRequest,
        Algorithm::RoundRobin,
    ] {
        for rate in [20.0, 2_000.0] {
            let mut client = Client::new(with(algorithm), 10, 11);
            let run = client.run(rate, 60, |_, _, random| Host {
                latency: ms(10 + random % 20),
                outcome: Outcome::Success,
            });
            for at in 0..10 {
                let share = run.total_share(at);
                assert!(
                    (0.07..=0.13).contains(&share),
                    "{algorithm:?} {rate} {share}"
                );
            }
        }
    }
}

#[test]
fn weights_are_honoured_idle_and_busy() {
    for algorithm in [
        Algorithm::PeakEwma,
        Algorithm::LeastRequest,
        Algorithm::RoundRobin,
    ] {
        for rate in [20.0, 2_000.0] {
            let mut client = Client::weighted(with(algorithm), &[1, 2, 3, 4, 10, 0], 5);
            let run = client.run(rate, 60, |_, _, random| Host {
                latency: ms(20 + random % 20),
                outcome: Outcome::Success,
            });
            for (at, weight) in [1.0, 2.0, 3.0, 4.0, 10.0, 0.0].into_iter().enumerate() {
                let (share, want) = (run.total_share(at), weight / 20.0);
                assert!(
                    (share - want).abs() <= 0.25 * want + 0.01,
                    "{algorithm:?} {rate} {share} {want}"
                );
            }
        }
    }
}

#[test]
fn a_host_that_joins_is_neither_starved_nor_stampeded() {
    for algorithm in [Algorithm::PeakEwma, Algorithm::LeastRequest] {
        let mut client = Client::new(with(algorithm), 10, 9);
        client.join(10, Tick::from_millis(10_000));
        client.update_every = Some(ms(1_000));
        let run = client.run(1_000.0, 60, |_, _, random| Host {
            latency: ms(20 + random % 20),
            outcome: Outcome::Success,
        });
        let fair = 1.0 / 11.0;
        assert!(run.share(10, 10) <= 0.5 * fair, "{}", run.share(10, 10));
        assert!(run.share(10, 10) >= 0.05 * fair, "{}", run.share(10, 10));
        let after: f64 = (21..60).map(|s| run.share(10, s)).sum::<f64>() / 39.0;
        assert!((after / fair - 1.0).abs() <= 0.2, "{after}");
        assert!((10..20).all(|second| run.share(10, second) <= 1.2 * fair));
    }
}

#[test]
fn a_host_that_is_slow_while_it_is_cold_gets_its_share_when_it_is_warm() {
    let mut client = Client::new(BalanceSettings::default(), 10, 19);
    client.join(10, Tick::from_millis(10_000));
    let run = client.run(1_000.0, 40, |at, now, random| Host {
        latency: if at == 10 && now < Tick::from_millis(15_000) {
            ms(400)
        } else {
            ms(20 + random % 20)
        },
        outcome: Outcome::Success,
    });
    assert!(
        (10..15).all(|second| (1..15).contains(&run.to[10][second])),
        "{:?}",
        run.to[10]
    );
    let after: f64 = (21..40).map(|s| run.share(10, s)).sum::<f64>() / 19.0;
    assert!((after * 11.0 - 1.0).abs() <= 0.2, "{after}");
}

#[test]
fn a_host_that_fails_half_of_its_calls_is_out_most_of_the_time() {
    let settings = BalanceSettings::default();
    let mut client = Client::new(settings, 10, 13);
    let run = client.run(1_000.0, 60, |at, _, random| Host {
        latency: ms(20 + random % 20),
        outcome: if at == 2 && random % 64 < 32 {
            Outcome::Failure
        } else {
            Outcome::Success
        },
    });
    assert!(run.total_share(2) <= 0.01, "{}", run.total_share(2));
}

#[test]
fn when_all_fail_at_most_half_are_ejected_and_all_come_back() {
    let mut client = Client::new(BalanceSettings::default(), 10, 17);
    let mut most = 0;
    let run = client.run_watched(
        1_000.0,
        30,
        |_, now, random| Host {
            latency: ms(5 + random % 5),
            outcome: if (5..15).contains(&(now.0 / 1_000_000_000)) {
                Outcome::Failure
            } else {
                Outcome::Success
            },
        },
        |hosts, now| {
            let out = |s: HostState| matches!(s, HostState::Ejected | HostState::Probing);
            most = most.max(hosts.snapshot(now).filter(|h| out(h.state)).count());
        },
    );
    assert_eq!(most, 5);
    assert!(run.failed[16..].iter().all(|&failed| failed == 0));
    assert!((0..10).all(|at| run.share(at, 20) > 0.05));
}

#[test]
fn settings_out_of_range_do_no_harm() {
    let settings = BalanceSettings {
        decay: Duration::ZERO,
        failure_weight: f64::NAN,
        slow_start: Duration::MAX,
        slow_start_floor: f64::NEG_INFINITY,
        ..BalanceSettings::default()
    };
    let mut client = Client::new(settings, 3, 1);
    let run = client.run(100.0, 5, |_, _, _| Host {
        latency: Duration::MAX,
        outcome: Outcome::Success,
    });
    assert!(run.to.iter().flatten().sum::<u32>() > 0);
}

/// One zone of four hosts, another of eight.
fn zoned(seed: u64) -> Client {
    let mut client = Client::new(BalanceSettings::default(), 12, seed);
    client.zones(|key| if key < 4 { 1 } else { 2 });
    client.ask_zone = 1;
    client
}

#[test]
fn calls_stay_in_a_zone_that_is_well() {
    let run = zoned(3).run(500.0, 30, |_, _, random| Host {
        latency: ms(20 + random % 20),
        outcome: Outcome::Success,
    });
    let own: f64 = (0..4).map(|at| run.total_share(at)).sum();
    assert!((0.97..1.0).contains(&own), "{own}");
}

#[test]
fn a_zone_that_fails_or_slows_down_spills_over_and_returns() {
    for slow in [false, true] {
        let run = zoned(5).run(500.0, 60, |at, now, random| {
            let bad = at < 4 && (10..30).contains(&(now.0 / 1_000_000_000));
            let dead = bad && !slow && at < 3;
            let latency = if bad && slow { 200 } else { 20 };
            Host {
                latency: ms(latency + random % 20),
                outcome: if dead {
                    Outcome::Failure
                } else {
                    Outcome::Success
                },
            }
        });
        let own = |second: usize| (0..4).map(|at| run.share(at, second)).sum::<f64>();
        assert!(own(9) > 0.95);
        assert!(own(25) < if slow { 0.3 } else { 0.8 }, "{}", own(25));
        assert!((50..60).map(own).sum::<f64>() / 10.0 > 0.95);
    }
}

#[test]
fn a_hot_key_spills_over_within_the_bound() {
    let specs: Vec<_> = (0..10).map(HostSpec::new).collect();
    let hosts = Hosts::new(with(Algorithm::ConsistentHash), &specs, Tick::ZERO);
    let mut calls = Vec::new();
    for call in 0..1_000 {
        // Three calls in four have one key.
        let hash = Some(if call % 4 > 0 { 7 } else { call });
        let ask = Ask {
            hash,
            ..Ask::default()
        };
        calls.push(hosts.pick(&ask, Tick::ZERO, call).expect("there are hosts"));
        let bound = (1.25 * calls.len() as f64 / 10.0).ceil() as u32;
        let most = hosts.snapshot(Tick::ZERO).map(|host| host.in_flight).max();
        assert!(most <= Some(bound), "{most:?} {bound}");
    }
}

#[test]
fn hashed_calls_meet_and_outages_pass_by() {
    let mut client = Client::new(with(Algorithm::ConsistentHash), 10, 21);
    client.hash = Some(|random| random % 1_000);
    let run = client.run(2_000.0, 30, |at, now, random| Host {
        latency: ms(20 + random % 20),
        outcome: if at == 2 && now >= Tick::from_millis(10_000) {
            Outcome::Failure
        } else {
            Outcome::Success
        },
    });
    assert!((0..10).all(|at| (0.05..0.15).contains(&run.share(at, 9))));
    assert!((11..30).all(|second| run.share(2, second) <= 0.02));
    assert!((11..30).all(|second| (0..10).all(|at| run.share(at, second) < 0.2)));
}

#[test]
fn keys_come_to_a_joining_host_little_by_little_and_no_others_move() {
    let settings = BalanceSettings {
        hash_bound: 100.0,
        ..with(Algorithm::ConsistentHash)
    };
    let specs: Vec<_> = (0..11).map(HostSpec::new).collect();
    let before = Hosts::new(settings, &specs[..10], Tick::ZERO);
    let after = before.updated(&specs, Tick::ZERO);
    let to = |hosts: &Hosts, hash, now| {
        let ask = Ask {
            hash: Some(hash),
            ..Ask::default()
        };
        hosts.pick(&ask, now, hash).unwrap().at()
    };
    let moved = |ms| {
        let now = Tick::from_millis(ms);
        let mut moved = 0;
        for hash in 0..2_000 {
            let (was, is) = (to(&before, hash, Tick::ZERO), to(&after, hash, now));
            assert!(was == is || is == 10);
            moved += u32::from(was != is);
        }
        moved
    };
    let (early, half, late) = (moved(0), moved(5_000), moved(10_000));
    assert!(early < half / 2 && half < late, "{early} {half} {late}");
    assert!((80..=300).contains(&late), "{late}");
}

#[test]
fn a_call_without_a_hash_goes_to_the_less_busy() {
    let mut client = Client::new(with(Algorithm::ConsistentHash), 10, 2);
    let run = client.run(1_000.0, 20, |_, _, random| Host {
        latency: ms(20 + random % 20),
        outcome: Outcome::Success,
    });
    assert!((0..10).all(|at| (0.08..0.12).contains(&run.total_share(at))));
}

#[test]
fn prequal_finds_the_hosts_that_others_have_not_filled() {
    // The first five hosts are busy with the calls of others.
    for (reports, probes) in [(false, 2.5), (true, 1.0)] {
        let mut settings = with(Algorithm::Prequal);
        settings.prequal.probes = probes;
        let mut client = Client::new(settings, 20, 4);
        client.reports = reports;
        let load = |at: usize, random: u64| {
            if at < 5 {
                400 + random % 50
            } else {
                20 + random % 20
            }
        };
        client.probe = Some(|at, random| Load {
            in_flight: if at < 5 { 40 } else { 2 + (random % 3) as u32 },
            latency: ms(if at < 5 { 400 } else { 20 + random % 20 }),
        });
        let run = client.run(1_000.0, 20, |at, _, random| Host {
            latency: ms(load(at, random)),
            outcome: Outcome::Success,
        });
        let busy: f64 = (0..5).map(|at| run.total_share(at)).sum();
        assert!(busy < 0.03, "{busy}");
        assert!(
            (0.95 * probes..=probes).contains(&run.probes),
            "{}",
            run.probes
        );
        assert!((5..20).all(|at| run.total_share(at) > 0.02));
    }
}

#[test]
fn prequal_is_not_taken_in_by_fast_failures() {
    let mut client = Client::new(with(Algorithm::Prequal), 10, 8);
    client.reports = true;
    client.probe = Some(|at, random| Load {
        in_flight: if at == 3 { 0 } else { 2 + (random % 3) as u32 },
        latency: ms(if at == 3 { 1 } else { 20 + random % 20 }),
    });
    for outcome in [Outcome::Failure, Outcome::Overloaded] {
        let run = client.run(1_000.0, 20, |at, _, random| Host {
            latency: ms(if at == 3 { 1 } else { 20 + random % 20 }),
            outcome: if at == 3 { outcome } else { Outcome::Success },
        });
        assert!((1..20).all(|second| run.share(3, second) <= 0.02));
    }
}

#[test]
fn a_host_that_refuses_what_is_too_much_is_better_than_one_that_fails() {
    let mut client = Client::new(BalanceSettings::default(), 2, 5);
    let run = client.run(200.0, 20, |at, _, random| {
        let outcome = match (at, random % 100) {
            (0, 0..60) => Outcome::Overloaded,
            (1, 0..25) => Outcome::Failure,
            _ => Outcome::Success,
        };
        Host {
            latency: ms(40),
            outcome,
        }
    });
    assert!(run.total_share(0) > 0.6, "{}", run.total_share(0));
}

/// Two hosts of which the first is ejected, and when its next probe is due.
fn one_of_two_is_out() -> (Hosts, Tick) {
    let specs = [HostSpec::new(0), HostSpec::new(1)];
    let settings = with(Algorithm::RoundRobin);
    let hosts = Hosts::new(settings, &specs, Tick::ZERO);
    for random in 0..10 {
        let choice = hosts.pick(&Ask::default(), Tick::ZERO, random);
        let choice = choice.expect("there are hosts");
        let outcome = [Outcome::Failure, Outcome::Success][choice.at()];
        choice.finish(outcome, ms(1), None, Tick::ZERO);
    }
    let host = hosts.host(0).expect("there are two");
    assert_eq!(host.snapshot(Tick::ZERO).state, HostState::Ejected);
    (hosts, Tick::ZERO + settings.outlier.probe_first)
}

#[test]
fn who_may_not_probe_does_so_where_nobody_else_has_for_long() {
    let careful = Ask {
        may_probe: false,
        ..Ask::default()
    };
    let first = |ask: &Ask<'_>, until: u64| {
        let (hosts, due) = one_of_two_is_out();
        (due.0 / 1_000_000..until).find(|&at| {
            let choice = hosts.pick(ask, Tick::from_millis(at), at).unwrap();
            choice.is_probe()
        })
    };
    let usual = first(&Ask::default(), 2_000).expect("a probe");
    assert!((100..=130).contains(&usual), "{usual}");
    let late = first(&careful, 2_000).expect("a probe, though late");
    assert!((600..=640).contains(&late), "{late}");
}

#[test]
fn only_a_probe_has_a_limit_of_its_own() {
    let (hosts, due) = one_of_two_is_out();
    let pick = |now| hosts.pick(&Ask::default(), now, 7).unwrap();
    assert_eq!(pick(Tick::ZERO).probe_limit(ms(1_000)), None);
    let probe = (0..).map(|at| pick(due + ms(at))).find(Choice::is_probe);
    let limit = probe.unwrap().probe_limit(ms(1_000)).expect("a limit");
    assert_eq!(limit, ms(100), "they take a millisecond");
}

#[test]
fn careful_calls_keep_to_hosts_without_doubt() {
    let careful = Ask {
        may_probe: false,
        careful: true,
        ..Ask::default()
    };
    for algorithm in Algorithm::ALL {
        let specs = [HostSpec::new(0), HostSpec::new(1)];
        let hosts = Hosts::new(with(algorithm), &specs, Tick::ZERO);
        let pick = |ask: &Ask<'_>, at: u64| {
            let random = at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let ask = Ask {
                hash: Some(random),
                ..*ask
            };
            hosts.pick(&ask, Tick::from_millis(at), random).unwrap()
        };
        let one_failure = (0..).map(|at| pick(&Ask::default(), at));
        let mut one_failure = one_failure.skip_while(|choice| choice.at() != 0);
        let choice = one_failure.next().unwrap();
        choice.finish(Outcome::Failure, ms(1), None, Tick::from_millis(1));
        let end = |choice: Choice, outcome, at| {
            choice.finish(outcome, ms(1), None, Tick::from_millis(at));
        };
        for at in 10..30 {
            let choice = pick(&careful, at);
            assert_eq!(choice.at(), 1, "{algorithm:?}");
            end(choice, Outcome::Success, at);
        }
        // With doubt everywhere they go where it is least.
        let last = [30, 30, 30].map(|at| pick(&careful, at));
        for choice in last {
            end(choice, Outcome::Failure, 30);
        }
        let first = (31..90).any(|at| pick(&careful, at).at() == 0);
        assert!(first, "{algorithm:?}");
    }
}
