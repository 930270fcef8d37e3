//! Replicas of a real MariaDB: near, late, stopped, frozen, killed.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![cfg(feature = "mysql")]

mod data_support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use data_support::{Servers, Shop, at_replica, set, until, value};
use seawall::Reason;
use seawall::data::{Error, Position};

/// Many callers, each of which writes and reads by turns; how many reads went where.
async fn write_and_read(shop: &Shop, callers: u32, rounds: i64) -> HashMap<String, u32> {
    let tasks = (1..=callers).map(|id| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let mut seen: HashMap<String, u32> = HashMap::new();
            for n in 1..=rounds {
                if fastrand::bool() {
                    let mut write = shop.write().session(id).await.unwrap();
                    set(&mut write, id, n).await.unwrap();
                } else {
                    let write = shop.write().session(id);
                    let done = write.transaction_with_retry(async |tx| set(tx, id, n).await);
                    done.await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..40))).await;
                for _ in 0..fastrand::u32(1..4) {
                    let mut read = shop.read().session(id).await.unwrap();
                    let server = read.server().split(' ').next().unwrap().to_owned();
                    assert_eq!(value(&mut read, id).await.unwrap(), n, "stale at {server}");
                    *seen.entry(server).or_default() += 1;
                }
            }
            seen
        })
    });
    let mut all = HashMap::new();
    for task in tasks.collect::<Vec<_>>() {
        for (server, count) in task.await.unwrap() {
            *all.entry(server).or_default() += count;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_misses_his_own_write_and_reads_go_to_replicas() {
    let mut servers = Servers::start(2).await;
    servers.settings.own_reads = 10;
    let shop = servers.open().await;
    until("the replicas are used", async || at_replica(&shop).await).await;
    let near = write_and_read(&shop, 40, 25).await;
    assert!(
        near["replica"] > 100,
        "replicas that are near are read: {near:?}"
    );

    // One of them lags by five seconds: within the stated lag it is read by all but the writers.
    servers.replicas[0].delay(Duration::from_secs(5)).unwrap();
    servers.replicas[1].delay(Duration::from_secs(5)).unwrap();
    servers.settings.max_lag = Duration::from_secs(60);
    let shop = servers.open().await;
    until("the replicas are used", async || at_replica(&shop).await).await;
    let (late, others) = tokio::join!(write_and_read(&shop, 40, 25), async {
        let mut others = 0;
        for _ in 0..200 {
            others += u32::from(at_replica(&shop).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        others
    });
    assert!(late["primary"] > 500, "{late:?}");
    assert_eq!(others, 200, "whoever has not written reads at the replicas");
}

#[tokio::test]
async fn replicas_too_far_behind_are_not_read_and_the_primary_takes_its_share() {
    let mut servers = Servers::start(1).await;
    servers.settings.fallback = 2;
    servers.settings.acquire_timeout = Duration::from_millis(50);
    let shop = servers.open().await;
    until("the replica is used", async || at_replica(&shop).await).await;

    // The thread that receives goes on, the one that applies does not: "0 seconds behind".
    servers.replicas[0].stop_applying().unwrap();
    let n = std::cell::Cell::new(0);
    until("it is too far behind", async || {
        n.set(n.get() + 1);
        let mut write = shop.write().session("writer").await.unwrap();
        set(&mut write, 1, n.get()).await.unwrap();
        !at_replica(&shop).await
    })
    .await;
    assert!(!shop.stats().replicas[0].used);
    // As old as is allowed, or else as it is: nothing older is shown.
    let one = shop.read().stale().await.unwrap();
    let _two = shop.read().stale().await.unwrap();
    assert_eq!((one.pool(), &one.server()[..7]), ("fallback", "primary"));
    let third = shop.read().stale().await.unwrap_err();
    assert_eq!(third.rejection().map(|r| r.reason), Some(Reason::Gutter));
    // Who has written has a part of his own, and so have writes.
    let mut own = shop.read().session("writer").await.unwrap();
    assert_eq!(own.pool(), "own-reads");
    assert_eq!(value(&mut own, 1).await.unwrap(), n.get());
    drop(own);
    // So has who asks for the latest, written or not.
    let mut latest = shop.read().session("another").latest().await.unwrap();
    assert_eq!(latest.pool(), "own-reads");
    assert_eq!(value(&mut latest, 1).await.unwrap(), n.get());
    drop(latest);
    set(&mut shop.write().await.unwrap(), 2, 1).await.unwrap();

    servers.replicas[0].start_applying().unwrap();
    until("it is used again", async || at_replica(&shop).await).await;
}

#[tokio::test]
async fn a_replica_may_be_killed_frozen_and_back() {
    let mut servers = Servers::start(1).await;
    let shop = servers.open().await;
    until("the replica is used", async || at_replica(&shop).await).await;
    let read = async || {
        shop.read()
            .stale()
            .run(async |read| value(read, 1).await)
            .await
    };

    for _ in 0..2 {
        assert!(read().await.is_ok());
        servers.replicas[0].kill();
        for _ in 0..50 {
            read().await.expect("goes on");
        }
        assert!(!at_replica(&shop).await);
        servers.replicas[0].restart().unwrap();
        until("it is used again", async || at_replica(&shop).await).await;
    }

    servers.replicas[0].freeze().unwrap();
    until("it counts as gone", async || !shop.stats().replicas[0].used).await;
    for _ in 0..20 {
        read().await.expect("goes on");
    }
    servers.replicas[0].thaw().unwrap();
    until("it is used again", async || at_replica(&shop).await).await;
}

#[tokio::test]
async fn without_its_primary_reads_go_on_and_writes_fail_at_once() {
    let mut servers = Servers::start(1).await;
    let shop = servers.open().await;
    until("the replica is used", async || at_replica(&shop).await).await;
    set(&mut shop.write().session("me").await.unwrap(), 1, 7)
        .await
        .unwrap();
    servers.primary.kill();

    let begun = Instant::now();
    let mut unreachable = 0;
    for _ in 0..100 {
        let done = async { set(&mut shop.write().await?, 1, 8).await };
        match done.await {
            Err(Error::Unreachable { .. }) => unreachable += 1,
            Err(Error::Lost(_)) => {}
            other => panic!("{other:?}"),
        }
        assert!(at_replica(&shop).await);
    }
    assert!(unreachable > 90, "{unreachable}");
    // A hundred would take as many seconds, if each waited for its time to connect.
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    // Its own write may not be there: an error, rather than an older state.
    let own = shop.read().session("me").await;
    if let Ok(mut own) = own {
        assert_eq!(value(&mut own, 1).await.unwrap(), 7);
    }

    servers.primary.restart().unwrap();
    until("it writes again", async || {
        let done = async { set(&mut shop.write().await?, 1, 9).await };
        done.await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_position_travels_to_another_process() {
    let servers = Servers::start(1).await;
    let (here, there) = (servers.open().await, servers.open().await);
    until("the replica is used", async || at_replica(&there).await).await;
    servers.replicas[0].stop_applying().unwrap();
    set(&mut here.write().session("me").await.unwrap(), 1, 7)
        .await
        .unwrap();
    set(&mut here.write().await.unwrap(), 2, 7).await.unwrap();
    let token = here.position().await.unwrap().to_string();
    let position: Position = token.parse().unwrap();
    let mut read = there.read().after(&position).await.unwrap();
    assert_eq!(
        (value(&mut read, 2).await.unwrap(), read.pool()),
        (7, "own-reads")
    );

    servers.replicas[0].start_applying().unwrap();
    until("the replica has it", async || {
        let mut read = there.read().after(&position).await.unwrap();
        assert_eq!(value(&mut read, 2).await.unwrap(), 7);
        read.server().starts_with("replica")
    })
    .await;
    // One that no server will ever have costs its bearer the replicas, and nobody else.
    let forged = "0-1-18446744073709551615".parse().unwrap();
    assert_eq!(
        there.read().after(&forged).await.unwrap().pool(),
        "own-reads"
    );
    assert!(at_replica(&there).await);
}
