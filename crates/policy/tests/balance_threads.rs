//! Threads that share hosts, and lists that come and go, lose no call in flight and send no two
//! probes at once.
//!
//! Real threads; also run under ThreadSanitizer, by `cargo xtask race`.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use seawall_policy::balance::{
    Algorithm, Ask, BalanceSettings, Choice, HostSpec, Hosts, Load, OutlierSettings,
};
use seawall_policy::{Outcome, Tick};

/// A driver keeps lists and tickets across awaits.
const fn sendable<T: Send + Sync>() {}
const _: () = (sendable::<Hosts>(), sendable::<Choice>()).1;

const CALLS: u64 = 4_000;
const HOSTS: u64 = 5;

fn share(algorithm: Algorithm) {
    let settings = BalanceSettings {
        algorithm,
        // Else it is left to chance whether the host that fails is ejected, or avoided before.
        outlier: OutlierSettings {
            consecutive: 1,
            ..OutlierSettings::default()
        },
        ..BalanceSettings::default()
    };
    let specs: Vec<_> = (0..HOSTS).map(HostSpec::new).collect();
    let hosts = Mutex::new(std::sync::Arc::new(Hosts::new(
        settings,
        &specs,
        Tick::ZERO,
    )));
    let probing = [const { AtomicU64::new(0) }; HOSTS as usize];
    let (time, probes) = (AtomicU64::new(0), AtomicU64::new(0));
    let call = |random: u64| {
        let now = Tick(time.fetch_add(100_000, SeqCst));
        let list = hosts.lock().clone();
        let ask = Ask {
            hash: Some(random),
            ..Ask::default()
        };
        let choice = list.pick(&ask, now, random).expect("there are hosts");
        let at = choice.key() as usize;
        let probe = choice.is_probe();
        if probe {
            assert_eq!(probing[at].fetch_add(1, SeqCst), 0, "two probes");
            probes.fetch_add(1, SeqCst);
        }
        std::thread::yield_now();
        // The first host fails, then is well, then fails again.
        let failed = at == 0 && (now.0 / 200_000_000).is_multiple_of(2);
        let outcome = if failed {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        if probe {
            probing[at].fetch_sub(1, SeqCst);
        }
        let latency = Duration::from_millis(1);
        let load = Load {
            in_flight: 1,
            latency,
        };
        choice.finish(outcome, latency, Some(load), now + latency);
        if random.is_multiple_of(64) {
            let mut current = hosts.lock();
            *current = std::sync::Arc::new(current.updated(&specs, now));
        }
    };
    std::thread::scope(|scope| {
        let threads = [1_u64, 2, 3, 4].map(|seed| {
            let call = &call;
            scope.spawn(move || {
                let mut random = seed;
                for _ in 0..CALLS {
                    random = random.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
                    call(random.rotate_left(32));
                }
            })
        });
        for thread in threads {
            thread.join().expect("no thread panics");
        }
    });
    let list = hosts.lock().clone();
    let now = Tick(time.load(SeqCst));
    assert!(
        list.snapshot(now).all(|host| host.in_flight == 0),
        "{algorithm:?}"
    );
    assert!(probes.load(SeqCst) > 0, "{algorithm:?}");
}

#[test]
fn threads_share_hosts() {
    for algorithm in Algorithm::ALL {
        share(algorithm);
    }
}
