//! Balancing fleets of simple hosts, in virtual time.

mod balance_support;

use std::time::Duration;

use balance_support::{Client, Host, ms};
use seawall_policy::balance::{Algorithm, BalanceSettings, HostState};
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
        println!(
            "slow: {:.3} %, calls to it {:?}",
            100.0 * run.success(),
            &run.to[3][8..45]
        );
        assert!(run.success() >= 0.999, "{}", run.success());
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
                println!("{algorithm:?} {outcome:?} {load}: {:?}", &run.to[4]);
                for second in 6..30 {
                    assert!(run.share(4, second) <= 0.02, "{}", run.share(4, second));
                }
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
    println!("dead: {:?}", &run.to[0]);
    for second in 12..20 {
        assert!(run.share(0, second) <= 0.02);
    }
    assert!(run.share(0, 22) >= 0.05, "{}", run.share(0, 22));
    assert!(run.failed[22..].iter().all(|&failed| failed == 0));
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
                println!("{algorithm:?} {rate} {at}: {share:.3} of {want}");
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
        println!("joining: {:?}", &run.to[10]);
        let fair = 1.0 / 11.0;
        assert!(run.share(10, 10) <= 0.5 * fair, "{}", run.share(10, 10));
        assert!(run.share(10, 10) >= 0.05 * fair, "{}", run.share(10, 10));
        let after: f64 = (21..60).map(|s| run.share(10, s)).sum::<f64>() / 39.0;
        assert!((after / fair - 1.0).abs() <= 0.2, "{after}");
        assert!((10..20).all(|second| run.share(10, second) <= 1.2 * fair));
    }
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
    println!("half: {:?}", &run.to[2]);
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
