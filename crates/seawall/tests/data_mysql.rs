//! Transactions, deadlines, pools and what is given up, on a real MariaDB.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![cfg(feature = "mysql")]

mod data_support;

use std::time::{Duration, Instant};

use data_support::{SCHEMA, Servers, Shop, at_replica, set, until, value};
use seawall::data::{Error, Settings};
use seawall::layer::ContextLayer;
use seawall::{Reason, data};
use seawall_sync::testing::drop_after_each_poll;
use seawall_testkit::MariaDb;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer as _, Service as _, service_fn};

#[tokio::test]
async fn of_two_in_a_deadlock_one_goes_on_and_the_other_is_tried_again() {
    let servers = Servers::start(0).await;
    let shop = servers.open().await;
    let barrier = tokio::sync::Barrier::new(2);
    let work = async |first: u32, second: u32| {
        let tries = std::sync::atomic::AtomicU32::new(0);
        let done = shop.write().transaction_with_retry(async |tx| {
            let add = |id| sqlx::query("UPDATE t SET n = n + 1 WHERE id = ?").bind(id);
            add(first).execute(&mut *tx).await?;
            if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                barrier.wait().await;
            }
            add(second).execute(&mut *tx).await?;
            Ok::<_, Error>(())
        });
        done.await.unwrap();
        tries.into_inner()
    };
    let (one, other) = tokio::join!(work(1, 2), work(2, 1));
    assert_eq!(one + other, 3, "one of them twice");
    let mut read = shop.read().await.unwrap();
    assert_eq!(
        (
            value(&mut read, 1).await.unwrap(),
            value(&mut read, 2).await.unwrap()
        ),
        (2, 2)
    );
}

/// One call of a service, by its own deadline.
async fn call<T>(timeout: &'static str, handler: impl AsyncFn() -> T + Clone) -> T {
    let handler = service_fn(async |_: http::Request<()>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(handler().await))
    });
    let mut service = ContextLayer::internal().layer(handler);
    let mut request = http::Request::new(());
    let headers = request.headers_mut();
    headers.insert("seawall-timeout-ms", timeout.parse().unwrap());
    service.call(request).await.unwrap().into_body()
}

#[tokio::test]
async fn a_call_sees_its_own_writes_and_ends_by_its_deadline() {
    let servers = Servers::start(1).await;
    let shop = servers.open().await;
    assert!(at_replica(&shop).await);
    servers.replicas[0].stop_applying().unwrap();
    let seen = call("10000", async || {
        set(&mut shop.write().await.unwrap(), 1, 7).await.unwrap();
        value(&mut shop.read().await.unwrap(), 1).await.unwrap()
    });
    assert_eq!(seen.await, 7);
    // Another call has not written, and reads what there is.
    let pool = call("10000", async || {
        shop.read().await.unwrap().server().to_owned()
    })
    .await;
    assert!(pool.starts_with("replica"), "{pool}");

    let slow = async || {
        let mut write = shop.write().await?;
        sqlx::query("SELECT sleep(60)").execute(&mut write).await?;
        Ok(())
    };
    let begun = Instant::now();
    for late in [call("200", slow).await, call("0", slow).await] {
        assert!(matches!(late, Err(Error::Deadline)), "{late:?}");
    }
    // In a transaction, too; and it has not been done.
    let late = call("300", async || {
        shop.transaction(async |tx| {
            set(tx, 1, 8).await?;
            sqlx::query("SELECT sleep(60)").execute(&mut *tx).await?;
            Ok::<_, Error>(())
        })
        .await
    });
    assert!(matches!(late.await, Err(Error::Deadline)));
    // In one that is kept, too.
    let late = call("300", async || {
        let mut tx = shop.begin().await?;
        set(&mut tx, 1, 9).await?;
        sqlx::query("SELECT sleep(60)").execute(&mut *tx).await?;
        tx.commit().await
    });
    assert!(matches!(late.await, Err(Error::Deadline)));
    assert!(begun.elapsed() < Duration::from_secs(30));
    let untouched = shop.transaction(async |tx| {
        let value = sqlx::query_scalar("SELECT n FROM t WHERE id = 1 FOR UPDATE");
        Ok::<i64, Error>(value.fetch_one(&mut *tx).await?)
    });
    assert_eq!(untouched.await.unwrap(), 7);
}

#[tokio::test]
async fn metrics_tell_of_pools_and_replicas() {
    let servers = Servers::start(1).await;
    let shop = servers.open().await;
    assert!(at_replica(&shop).await);
    let stats = shop.stats();
    let read = |pool: &&data::PoolStats| &*pool.pool == "read";
    assert_eq!(stats.pools.iter().find(read).unwrap().acquired, 1);
    assert!(stats.replicas[0].lag.unwrap() < Duration::from_secs(1));
    #[cfg(feature = "app")]
    {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(shop.clone()));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let replica = servers.replicas[0].address();
        let line =
            format!("seawall_data_acquired_total{{server=\"replica {replica}\",pool=\"read\"}} 1");
        assert!(text.contains(&line), "{text}");
        let used = format!("seawall_data_replica_used{{server=\"replica {replica}\"}} 1");
        assert!(text.contains(&used), "{text}");
    }
}

/// After a deadlock the server has left the transaction: what follows would commit by itself.
#[tokio::test]
async fn a_deadlock_that_is_swallowed_commits_nothing() {
    let servers = Servers::start(0).await;
    let shop = servers.open().await;
    let barrier = tokio::sync::Barrier::new(2);
    let work = async |first: u32, second: u32| {
        let done = shop.transaction(async |tx| {
            set(tx, first, 1).await?;
            barrier.wait().await;
            let failed = set(tx, second, 1).await.is_err();
            // As if nothing had happened.
            let after = set(tx, first + 10, 1).await;
            assert_eq!(failed, after.is_err());
            Ok::<_, Error>(())
        });
        done.await
    };
    let (one, other) = tokio::join!(work(1, 2), work(2, 1));
    let mut read = shop.read().await.unwrap();
    for (done, marked) in [(&one, 11), (&other, 12)] {
        assert_eq!(
            value(&mut read, marked).await.unwrap(),
            i64::from(done.is_ok())
        );
    }
    assert!(matches!(
        (one, other),
        (Ok(()), Err(Error::Conflict(_))) | (Err(Error::Conflict(_)), Ok(()))
    ));
}

/// Passes what the server says on in pieces, on this thread: an answer arrives over many polls, and is
/// given up in the middle of it.
async fn in_pieces(server: std::net::SocketAddr) -> String {
    let listener = TcpListener::bind(("127.0.0.1", seawall_testkit::free_port().unwrap()));
    let listener = listener.await.unwrap();
    let url = format!(
        "mysql://root@{}/shop?ssl-mode=disabled",
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            client.set_nodelay(true).unwrap();
            let (mut questions, mut to_client) = client.into_split();
            let (mut answers, mut to_server) = server.into_split();
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut questions, &mut to_server).await;
                let _ = to_server.shutdown().await;
            });
            tokio::spawn(async move {
                let mut piece = [0; 61];
                while let Ok(n @ 1..) = answers.read(&mut piece).await {
                    if to_client.write_all(&piece[..n]).await.is_err() {
                        return;
                    }
                    // Long enough for the client to be polled in between.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_point_poisons_nothing() {
    let servers = Servers::start(0).await;
    let mut settings = Settings::new(in_pieces(servers.primary.address()).await);
    settings.connections = 2;
    let shop = Shop::open(&settings).await.unwrap();
    let others = async || {
        for id in 1..=3 {
            let mut read = shop.read().await.unwrap();
            let row = sqlx::query_as("SELECT id, concat('row ', id) FROM t WHERE id = ?").bind(id);
            let row: (i64, String) = row.fetch_one(&mut read).await.unwrap();
            assert_eq!(row, (id, format!("row {id}")), "another's answer");
        }
    };
    // Prepared and plain, of several rows.
    let polls = drop_after_each_poll(
        || async {
            let mut read = shop.read().await.unwrap();
            let long = sqlx::query("SELECT id, 'x', 'y', ? FROM t LIMIT 20").bind(1);
            long.fetch_all(&mut read).await.unwrap();
            sqlx::raw_sql("SELECT 1; SELECT 2")
                .fetch_all(&mut read)
                .await
                .unwrap();
        },
        async |_| others().await,
    )
    .await;
    assert!(polls > 10, "{polls}");
    // A transaction: all or nothing.
    let n = std::cell::Cell::new(0);
    let polls = drop_after_each_poll(
        || {
            n.set(n.get() + 1);
            shop.transaction(async |tx| {
                set(tx, 1, n.get()).await?;
                set(tx, 2, n.get()).await
            })
        },
        async |_| {
            // What is given up is ended at the server, and holds no lock.
            let pair = shop.transaction(async |tx| {
                let pair = "SELECT n FROM t WHERE id IN (1, 2) FOR UPDATE";
                let pair: Vec<(i64,)> = sqlx::query_as(pair).fetch_all(&mut *tx).await?;
                Ok::<_, Error>(pair)
            });
            let pair = pair.await.unwrap();
            assert_eq!(pair[0], pair[1], "a part of it");
        },
    )
    .await;
    assert!(polls > 5, "{polls}");
    until("every connection is back", async || {
        let stats = shop.stats();
        stats
            .pools
            .iter()
            .all(|pool| pool.in_use == 0 && pool.waiting == 0)
    })
    .await;
}

#[tokio::test]
async fn what_is_given_up_ends_at_the_server() {
    let servers = Servers::start(0).await;
    let mut settings = servers.settings.clone();
    settings.connections = 2;
    let shop = Shop::open(&settings).await.unwrap();
    let running = || {
        let list = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%= 3'";
        servers.primary.execute(list).unwrap()
    };
    // It computes, and so does not see that nobody is there any longer.
    let long = "SELECT count(*) FROM seq_1_to_100000000000 WHERE seq % 7 = 3";
    for _ in 0..4 {
        let mut read = shop.read().await.unwrap();
        let read = sqlx::query(long).execute(&mut read);
        let given_up = tokio::time::timeout(Duration::from_millis(100), read).await;
        assert!(given_up.is_err());
    }
    until("nothing runs", async || running() == "0").await;

    // A statement has a time of its own, too.
    settings.statement_timeout = Duration::from_millis(100);
    let shop = Shop::open(&settings).await.unwrap();
    let mut read = shop.read().await.unwrap();
    let slow = sqlx::query(long).execute(&mut read).await;
    assert!(matches!(slow.map_err(Error::from), Err(Error::Deadline)));
    assert_eq!(
        value(&mut read, 1).await.unwrap(),
        0,
        "the connection is as good as before"
    );
}

#[tokio::test]
async fn lanes_and_pools_do_not_take_one_anothers_connections() {
    let servers = Servers::start(0).await;
    let mut settings = servers.settings.clone();
    settings.connections = 2;
    settings.acquire_timeout = Duration::from_millis(50);
    settings
        .lanes
        .insert("reports".into(), data::LaneSettings::default());
    let shop = Shop::open(&settings).await.unwrap();
    let hold = async || shop.read().lane("reports").await;
    let _reports = (hold().await.unwrap(), hold().await.unwrap());
    let third = hold().await.unwrap_err().rejection().map(|r| r.reason);
    assert_eq!(third, Some(Reason::Lane));
    let reads = (shop.read().await.unwrap(), shop.read().await.unwrap());
    let third = shop.read().await.unwrap_err().rejection().map(|r| r.reason);
    assert_eq!(third, Some(Reason::QueueTimeout));
    // Reads take no writes' connections, and one that comes back goes to who waits.
    set(&mut shop.write().await.unwrap(), 1, 1).await.unwrap();
    let (waited, ()) = tokio::join!(shop.read().into_future(), async { drop(reads) });
    assert_eq!(value(&mut waited.unwrap(), 1).await.unwrap(), 1);
}

#[tokio::test]
async fn a_primary_that_tells_no_positions_can_have_no_replicas() {
    let alone = MariaDb::start_with(&["--skip-log-bin"]).unwrap();
    let mut settings = Settings::new(alone.create("shop").unwrap());
    Shop::open(&settings).await.expect("alone it will do");
    settings.replicas.push(alone.url("shop").into());
    let error = Shop::open(&settings).await.unwrap_err();
    assert!(error.to_string().contains("--log-bin"), "{error}");
}

#[tokio::test]
async fn a_migration_that_fails_halfway_is_told_and_instances_take_turns() {
    let servers = Servers::start(0).await;
    let (one, other) = (servers.open().await, servers.open().await);
    let with = |step| SCHEMA.iter().copied().chain([step]).collect::<Vec<_>>();
    let steps = with(("0003_slow", "DO sleep(0.3); CREATE TABLE slow (n INT)"));
    let (one, other) = tokio::join!(one.migrate(&steps), other.migrate(&steps));
    assert_eq!(one.unwrap() + other.unwrap(), 1);

    let shop = servers.open().await;
    let bad: Vec<_> = steps
        .into_iter()
        .chain([(
            "0004_bad",
            "CREATE TABLE half (n INT); CREATE TABLE slow (n INT)",
        )])
        .collect();
    let failed = shop.migrate(&bad).await.unwrap_err().to_string();
    assert!(
        failed.contains("0004_bad") && failed.contains("slow"),
        "{failed}"
    );
    let again = shop.migrate(&bad).await.unwrap_err().to_string();
    assert!(again.contains("half done"), "{again}");
}
