//! Lists: a first page that nobody has read, one that somebody has; a million members; beside the
//! plain commands on a sorted set that somebody else has filled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;
use seawall_cache::list::{Cursor, Item, ListSettings, Lists, Score, Seek};
use seawall_cache::redis::Redis;
use seawall_testkit::{MariaDb, Redis as Server};
use sqlx::Row as _;
use sqlx::mysql::{MySqlPool, MySqlRow};

use super::super::case::Case;
use super::super::{Metric, Setup};
use crate::peers::Peer;

const PLAIN: Peer = Peer::Library("ZREVRANGE");
const MEMBERS: u64 = 1_000_000;
/// Items of a page.
const PAGE: usize = 10;
/// Measured operations of a run of full length.
const TIMES: f64 = 6_000.0;

pub(super) fn cases() -> Vec<Case> {
    let first = Case::new("list, first page", &[Peer::Seawall], |_, _| {
        block_on(first_page())
    });
    let million = Case::new(
        "list, 1,000,000 members",
        &[Peer::Seawall, PLAIN],
        |peer, setup| block_on(a_million(peer, *setup)),
    );
    vec![first, million]
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

fn lists(server: &Server) -> anyhow::Result<Lists<u64, u64>> {
    let settings = ListSettings {
        bound: 2_000_000,
        ..Default::default()
    };
    let redis = Redis::single(&server.url())?.timeout(Duration::from_secs(5));
    Ok(Lists::<u64, u64>::builder("bench")
        .redis(redis)
        .settings(settings)
        .build())
}

async fn plain(server: &Server) -> anyhow::Result<MultiplexedConnection> {
    let client = redis::Client::open(server.url())?;
    Ok(client.get_multiplexed_async_connection().await?)
}

/// Scripts that a server was asked to run.
async fn round_trips(plain: &mut MultiplexedConnection) -> anyhow::Result<u64> {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(plain)
        .await?;
    let calls = stats
        .lines()
        .filter(|line| line.starts_with("cmdstat_eval"))
        .filter_map(|line| {
            line.split_once("calls=")?
                .1
                .split(',')
                .next()?
                .parse::<u64>()
                .ok()
        });
    Ok(calls.sum())
}

async fn first_page() -> anyhow::Result<Vec<Metric>> {
    let (server, database) = (Server::start()?, MariaDb::start()?);
    let pool = MySqlPool::connect(&database.create("bench")?).await?;
    let table = "CREATE TABLE notes (list BIGINT, score BIGINT, id BIGINT UNSIGNED, \
                 PRIMARY KEY (list, score, id))";
    sqlx::query(table).execute(&pool).await?;
    let fill = "INSERT INTO notes SELECT 1, seq, seq FROM seq_1_to_1000000";
    sqlx::query(fill).execute(&pool).await?;
    let queries = Arc::new(AtomicU64::new(0));
    let load = {
        let queries = queries.clone();
        move |seek: Seek| {
            queries.fetch_add(1, Relaxed);
            query(pool.clone(), seek)
        }
    };
    let (lists, mut plain) = (lists(&server)?, plain(&server).await?);
    // Connections and the script are there.
    lists.page(&2, None, PAGE, load.clone()).await?;

    let before = (queries.load(Relaxed), round_trips(&mut plain).await?);
    let start = Instant::now();
    lists.page(&1, None, PAGE, load.clone()).await?;
    let cold = start.elapsed();
    let between = (queries.load(Relaxed), round_trips(&mut plain).await?);
    let start = Instant::now();
    let first = lists.page(&1, None, PAGE, load.clone()).await?;
    let warm = start.elapsed();
    let warm_trips = round_trips(&mut plain).await? - between.1;
    lists.page(&1, first.next.as_ref(), PAGE, load).await?;
    let after = queries.load(Relaxed);
    Ok(vec![
        Metric::new("cold", "ms", "", cold.as_secs_f64() * 1e3),
        Metric::new("cold, queries", "", "<= 1", (between.0 - before.0) as f64),
        Metric::new(
            "cold, round trips",
            "",
            "<= 2",
            (between.1 - before.1) as f64,
        ),
        Metric::new("warm", "µs", "", warm.as_secs_f64() * 1e6),
        Metric::new(
            "warm and the next, queries",
            "",
            "<= 0",
            (after - between.0) as f64,
        ),
        Metric::new("warm, round trips", "", "<= 2", warm_trips as f64),
    ])
}

async fn query(pool: MySqlPool, seek: Seek) -> anyhow::Result<Vec<Item<u64>>, sqlx::Error> {
    let (score, id) = match &seek.after {
        None => (i64::MAX, u64::MAX),
        Some(after) => (after.score().get(), after.member().unwrap_or(0)),
    };
    let page = "SELECT score, id FROM notes WHERE list = 1 AND (score, id) < (?, ?) \
                ORDER BY score DESC, id DESC LIMIT ?";
    let query = sqlx::query(page)
        .bind(score)
        .bind(id)
        .bind(seek.limit as u64);
    let rows = query.fetch_all(&pool).await?;
    let item = |row: &MySqlRow| {
        let score = row.try_get::<i64, _>(0)?;
        let score = Score::try_from(score).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Item {
            score,
            member: row.try_get(1)?,
        })
    };
    rows.iter().map(item).collect()
}

async fn a_million(peer: Peer, setup: Setup) -> anyhow::Result<Vec<Metric>> {
    let server = Server::start()?;
    let times = setup.length(TIMES) as u64;
    let (first, deep, insert) = if peer == Peer::Seawall {
        of_seawall(&lists(&server)?, times).await?
    } else {
        of_plain(plain(&server).await?, times).await?
    };
    Ok(vec![
        Metric::new("first page", "µs", "", first),
        Metric::new("page at the middle", "µs", "", deep),
        Metric::new("insert at the head", "µs", "", insert),
    ])
}

type Times = (f64, f64, f64);

async fn of_seawall(lists: &Lists<u64, u64>, times: u64) -> anyhow::Result<Times> {
    let all = |seek: Seek| async move {
        let from = seek
            .after
            .and_then(|after| after.member::<u64>())
            .unwrap_or(MEMBERS + 1);
        let ids = (1..from).rev().take(seek.limit);
        let item = |id: u64| {
            Ok(Item {
                score: Score::try_from(id)?,
                member: id,
            })
        };
        ids.map(item)
            .collect::<Result<Vec<_>, seawall_cache::list::NoScore>>()
    };
    let mut next = None;
    loop {
        let page = lists.page(&1, next.as_ref(), 1_000, all).await?;
        if page.end {
            break;
        }
        next = page.next;
    }
    let none = |_: Seek| async { Err::<Vec<Item<u64>>, _>("all of it is known") };
    let first = per_call(times, async |_| {
        lists
            .page(&1, None, PAGE, none)
            .await
            .map(drop)
            .context("the first page")
    });
    let first = first.await?;
    let middle = Cursor::new(Score::try_from(MEMBERS / 2)?, &(MEMBERS / 2));
    let deep = per_call(times, async |_| {
        lists
            .page(&1, Some(&middle), PAGE, none)
            .await
            .map(drop)
            .context("a deep page")
    });
    let deep = deep.await?;
    let insert = per_call(times, async |at| {
        let id = MEMBERS + 1 + at;
        lists
            .insert(&1, Score::try_from(id)?, &id)
            .await
            .context("an insert")
    });
    Ok((first, deep, insert.await?))
}

async fn of_plain(mut plain: MultiplexedConnection, times: u64) -> anyhow::Result<Times> {
    for batch in 0..MEMBERS / 1_000 {
        let mut add = redis::cmd("ZADD");
        add.arg("list");
        for id in 1 + batch * 1_000..=(batch + 1) * 1_000 {
            add.arg(id).arg(&id.to_be_bytes()[..]);
        }
        add.exec_async(&mut plain).await?;
    }
    let range = async |from: u64| {
        let mut range = redis::cmd("ZREVRANGE");
        range
            .arg("list")
            .arg(from)
            .arg(from + PAGE as u64 - 1)
            .arg("WITHSCORES");
        let items: Vec<(Vec<u8>, f64)> = range.query_async(&mut plain.clone()).await?;
        anyhow::ensure!(items.len() == PAGE, "a page of {} items", items.len());
        Ok(())
    };
    let first = per_call(times, async |_| range(0).await).await?;
    let deep = per_call(times, async |_| range(MEMBERS / 2).await).await?;
    let insert = per_call(times, async |at| {
        let id = MEMBERS + 1 + at;
        let mut add = redis::cmd("ZADD");
        add.arg("list").arg(id).arg(&id.to_be_bytes()[..]);
        Ok(add.exec_async(&mut plain).await?)
    });
    Ok((first, deep, insert.await?))
}

/// Microseconds of a call, one after the other: the best tenth of the run, which the rest of the
/// machine disturbed least.
async fn per_call(
    times: u64,
    mut call: impl AsyncFnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let tenth = (times / 10).max(1);
    let mut best = f64::INFINITY;
    for part in 0..10 {
        let start = Instant::now();
        for at in 0..tenth {
            call(part * tenth + at).await?;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / tenth as f64);
    }
    Ok(best)
}
