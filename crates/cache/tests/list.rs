//! Lists against a real Redis and a real MariaDB.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall_cache::list::{
    Cursor, Error, Item, ListSettings, Lists, ListsBuilder, Member, Page, Rank, Seek, Wrote,
};
use seawall_cache::redis::Redis;
use seawall_cache::{Key, Source};
use seawall_testkit::{MariaDb, Redis as Server, RedisCluster};
use sqlx::Row as _;
use sqlx::mysql::MySqlPool;

/// A database of one list, that counts its queries.
#[derive(Clone, Default)]
struct Rows {
    rows: Arc<Mutex<BTreeSet<(i64, u64)>>>,
    queries: Arc<AtomicU32>,
    takes: Duration,
}

type Query = Pin<Box<dyn Future<Output = Result<Vec<Item<u64>>, String>> + Send>>;

impl Rows {
    fn of(ids: impl IntoIterator<Item = u64>) -> Self {
        let rows = Self::default();
        // Three to a score.
        let pairs = ids.into_iter().map(|id| ((id / 3).cast_signed(), id));
        rows.rows.lock().unwrap().extend(pairs);
        rows
    }

    async fn query(self, seek: Seek) -> Result<Vec<Item<u64>>, String> {
        self.queries.fetch_add(1, SeqCst);
        let after = seek
            .after
            .map(|after| (after.score().get(), after.member::<u64>().unwrap()));
        let read: Vec<_> = {
            let rows = self.rows.lock().unwrap();
            let behind = rows
                .iter()
                .rev()
                .filter(|row| after.is_none_or(|after| **row < after));
            behind.take(seek.limit).copied().collect()
        };
        // What was read is old by the time that it is filled in.
        tokio::time::sleep(self.takes).await;
        let item = |(score, member): (i64, u64)| Item {
            score: score.try_into().unwrap(),
            member,
        };
        Ok(read.into_iter().map(item).collect())
    }

    fn loader(&self) -> impl Fn(Seek) -> Query + Send + Sync + 'static {
        let this = self.clone();
        move |seek| Box::pin(this.clone().query(seek))
    }

    fn queries(&self) -> u32 {
        self.queries.load(SeqCst)
    }
}

fn builder<K: Key, M: Member>() -> ListsBuilder<K, M> {
    Lists::builder("timeline")
}

fn on<K: Key, M: Member>(server: &Server) -> ListsBuilder<K, M> {
    let redis = Redis::single(&server.url()).unwrap();
    // A busy machine is no outage.
    builder().redis(redis.timeout(Duration::from_secs(5)))
}

fn ids(page: &Page<u64>) -> Vec<u64> {
    page.items.iter().map(|item| item.member).collect()
}

fn down(from: u64, to: u64) -> Vec<u64> {
    (to..=from).rev().collect()
}

async fn walk(lists: &Lists<u64, u64>, rows: &Rows, limit: usize) -> Vec<u64> {
    let (mut seen, mut next): (_, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = lists
            .page(&1, next.as_ref(), limit, rows.loader())
            .await
            .unwrap();
        seen.extend(ids(&page));
        if page.end {
            return seen;
        }
        next = page.next;
    }
}

fn connection(server: &Server) -> redis::Connection {
    redis::Client::open(server.url())
        .unwrap()
        .get_connection()
        .unwrap()
}

/// Calls of scripts that a server has seen.
fn scripts(server: &Server) -> u64 {
    let stats = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut connection(server));
    let stats: String = stats.unwrap();
    let calls = |name: &&str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(*name))?;
        line.split(',').next()?.parse::<u64>().ok()
    };
    let names = ["cmdstat_evalsha:calls=", "cmdstat_eval:calls="];
    names.iter().filter_map(calls).sum()
}

#[tokio::test]
async fn cold_is_one_query_and_warm_is_none() {
    let (server, database) = (Server::start().unwrap(), MariaDb::start().unwrap());
    let pool = MySqlPool::connect(&database.create("shop").unwrap())
        .await
        .unwrap();
    let table = "CREATE TABLE notes (list BIGINT, score BIGINT, id BIGINT UNSIGNED, \
                 PRIMARY KEY (list, score, id))";
    sqlx::query(table).execute(&pool).await.unwrap();
    let fill = "INSERT INTO notes SELECT 1, seq DIV 3, seq FROM seq_1_to_100";
    sqlx::query(fill).execute(&pool).await.unwrap();
    let queries = Arc::new(AtomicU32::new(0));
    let load = {
        let queries = queries.clone();
        move |seek: Seek| {
            queries.fetch_add(1, SeqCst);
            let pool = pool.clone();
            async move {
                let (score, id) = match &seek.after {
                    None => (i64::MAX, u64::MAX),
                    Some(after) => (after.score().get(), after.member::<u64>().unwrap_or(0)),
                };
                let page = "SELECT score, id FROM notes WHERE list = 1 AND (score, id) < (?, ?) \
                            ORDER BY score DESC, id DESC LIMIT ?";
                let query = sqlx::query(page)
                    .bind(score)
                    .bind(id)
                    .bind(seek.limit as u64);
                let rows = query.fetch_all(&pool).await?;
                let item = |row: &sqlx::mysql::MySqlRow| Item {
                    score: row.get::<i64, _>(0).try_into().unwrap(),
                    member: row.get(1),
                };
                Ok::<_, sqlx::Error>(rows.iter().map(item).collect::<Vec<_>>())
            }
        }
    };
    let lists: Lists<u64, u64> = on(&server).build();
    // The first call sends the script.
    lists.rank(&2, &1).await.unwrap();

    let before = scripts(&server);
    let first = lists.page(&1, None, 10, load.clone()).await.unwrap();
    assert_eq!(ids(&first), down(100, 91));
    assert_eq!((queries.load(SeqCst), scripts(&server) - before), (1, 2));
    assert_eq!(first.source, Source::Loaded);

    // Another process finds it, and the next page as well.
    let other: Lists<u64, u64> = on(&server).build();
    let again = other.page(&1, None, 10, load.clone()).await.unwrap();
    let second = other
        .page(&1, again.next.as_ref(), 10, load.clone())
        .await
        .unwrap();
    assert_eq!(ids(&second), down(90, 81));
    assert_eq!((queries.load(SeqCst), scripts(&server) - before), (1, 4));
    assert_eq!(second.source, Source::Redis);

    let (mut seen, mut next) = (Vec::new(), None);
    loop {
        let page = lists
            .page(&1, next.as_ref(), 7, load.clone())
            .await
            .unwrap();
        seen.extend(ids(&page));
        next = page.next;
        if page.end {
            break;
        }
    }
    assert_eq!(seen, down(100, 1));
    let loads = queries.load(SeqCst);
    let count = lists.count(&1, || async { Err::<u64, _>("not asked") });
    assert_eq!(count.await.unwrap(), 100);
    assert_eq!(lists.rank(&1, &98).await.unwrap(), Rank::At(2));
    assert_eq!(lists.rank(&1, &198).await.unwrap(), Rank::Absent);
    let deep = Cursor::new(3.into(), &10_u64);
    lists.page(&1, Some(&deep), 50, load).await.unwrap();
    assert_eq!(queries.load(SeqCst), loads);
}

async fn one_load_for_all(handles: [Lists<u64, u64>; 2]) {
    let takes = Duration::from_millis(100);
    let rows = Rows {
        takes,
        ..Rows::of(1..=40)
    };
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..200 {
        let (lists, rows) = (handles[caller % 2].clone(), rows.clone());
        callers.spawn(async move { lists.page(&1, None, 10, rows.loader()).await });
    }
    while let Some(page) = callers.join_next().await {
        assert_eq!(ids(&page.unwrap().unwrap()), down(40, 31));
    }
    assert_eq!(rows.queries(), 1);
}

#[tokio::test]
async fn all_callers_of_all_processes_share_a_load() {
    let server = Server::start().unwrap();
    one_load_for_all([on(&server).build(), on(&server).build()]).await;
    let lists: Lists<u64, u64> = builder().build();
    one_load_for_all([lists.clone(), lists]).await;
}

/// Writes even members at random, until told to end.
async fn churn(rows: Rows, lists: Lists<u64, u64>, seed: u64, end: Arc<AtomicU32>) {
    let mut random = fastrand::Rng::with_seed(seed);
    while end.load(SeqCst) == 0 {
        let id = random.u64(1..=30) * 2;
        let row = ((id / 3).cast_signed(), id);
        let put = random.bool();
        let write = async {
            tokio::task::yield_now().await;
            let mut rows = rows.rows.lock().unwrap();
            let changed = if put {
                rows.insert(row)
            } else {
                rows.remove(&row)
            };
            Ok::<_, String>(match (put, changed) {
                (true, true) => Wrote::Inserted,
                (true, false) => Wrote::Moved,
                (false, true) => Wrote::Removed,
                (false, false) => Wrote::Nothing,
            })
        };
        let to = put.then(|| row.0.try_into().unwrap());
        lists.write(&1, &id, to, write).await.unwrap();
    }
}

async fn pages_are_stable(reader: Lists<u64, u64>, writer: Lists<u64, u64>) {
    let stays = |id: &u64| !id.is_multiple_of(2);
    let takes = Duration::from_micros(300);
    let rows = Rows {
        takes,
        ..Rows::of((1..=61).filter(stays))
    };
    let all_stay: Vec<_> = down(61, 1).into_iter().filter(stays).collect();
    let end = Arc::new(AtomicU32::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for seed in 0..3 {
        writers.spawn(churn(rows.clone(), writer.clone(), seed, end.clone()));
    }
    for round in 0..30 {
        if round % 7 == 0 {
            reader.invalidate(&1).await.unwrap();
        }
        let seen = walk(&reader, &rows, 5).await;
        let stayed: Vec<_> = seen.iter().copied().filter(stays).collect();
        assert_eq!(stayed, all_stay);
        assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    }
    end.store(1, SeqCst);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    // At rest, the list is the database, whoever has known it how.
    let rest: Vec<u64> = rows
        .rows
        .lock()
        .unwrap()
        .iter()
        .rev()
        .map(|row| row.1)
        .collect();
    assert_eq!(walk(&reader, &rows, 7).await, rest);
    let queries = rows.queries();
    assert_eq!(walk(&reader, &rows, 7).await, rest);
    assert_eq!(rows.queries(), queries);
    let count = reader.count(&1, || async { Err::<u64, _>("known") });
    assert_eq!(count.await.unwrap(), rest.len() as u64);
}

#[tokio::test]
async fn who_pages_while_others_write_sees_what_stays_exactly_once() {
    let server = Server::start().unwrap();
    pages_are_stable(on(&server).build(), on(&server).build()).await;
    let lists: Lists<u64, u64> = builder().build();
    pages_are_stable(lists.clone(), lists).await;
}

#[tokio::test]
async fn without_redis_first_pages_are_served_and_changes_are_told_late() {
    let mut server = Server::start().unwrap();
    let rows = Rows::of(1..=40);
    let lists: Lists<u64, u64> = on(&server).build();
    assert_eq!(walk(&lists, &rows, 10).await.len(), 40);
    server.kill();

    let mut callers = tokio::task::JoinSet::new();
    let before = rows.queries();
    for _ in 0..50 {
        let (lists, rows) = (lists.clone(), rows.clone());
        callers.spawn(async move { lists.page(&1, None, 10, rows.loader()).await });
    }
    let mut next = None;
    while let Some(page) = callers.join_next().await {
        let page = page.unwrap().unwrap();
        assert_eq!((page.source, page.items.len()), (Source::Reserve, 10));
        next = page.next;
    }
    assert_eq!(rows.queries() - before, 1);
    let deep = lists.page(&1, next.as_ref(), 10, rows.loader()).await;
    assert!(matches!(deep, Err(Error::Unavailable(_))), "{deep:?}");

    rows.rows.lock().unwrap().remove(&(13, 39));
    let told = lists.remove(&1, &39).await;
    assert!(matches!(told, Err(Error::NotTold(_))), "{told:?}");
    // The writer's own process does not show it: not from the reserve, and not from Redis.
    let page = lists.page(&1, None, 2, rows.loader()).await.unwrap();
    assert_eq!(ids(&page), [40, 38]);
    server.restart().unwrap();
    loop {
        let page = lists.page(&1, None, 3, rows.loader()).await.unwrap();
        assert_eq!(ids(&page), [40, 38, 37]);
        if page.source != Source::Reserve {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn loaders_that_break_the_rules_are_told_so_and_hold_nobody_up() {
    let server = Server::start().unwrap();
    let both: [Lists<u64, u64>; 2] = [on(&server).build(), builder().build()];
    for lists in both {
        let item = |member: u64| Item {
            score: 1.into(),
            member,
        };
        let page = |items: Vec<Item<u64>>| {
            lists.page(&1, None, 2, move |_| {
                let items = items.clone();
                async { Ok::<_, String>(items) }
            })
        };
        let wrong = page(vec![item(1), item(2)]).await.unwrap_err();
        assert!(matches!(wrong, Error::OutOfOrder { at: 1 }), "{wrong:?}");
        let wrong = page((0..9).rev().map(item).collect()).await.unwrap_err();
        assert!(
            matches!(wrong, Error::TooMany { got: 9, limit: 4 }),
            "{wrong:?}"
        );
        let panics = lists.page(&1, None, 2, |_| async {
            if true {
                panic!("planned");
            }
            Ok::<Vec<Item<u64>>, String>(vec![])
        });
        let wrong = panics.await.unwrap_err();
        assert!(
            matches!(wrong, Error::Load(seawall_cache::Error::Panicked(_))),
            "{wrong:?}"
        );
        let none = lists.page(&1, None, 0, Rows::default().loader()).await;
        assert!(matches!(none, Err(Error::Limit(0))));
        assert_eq!(ids(&page(vec![item(1)]).await.unwrap()), [1]);
    }
}

#[tokio::test]
async fn what_another_program_has_written_is_forgotten() {
    let server = Server::start().unwrap();
    let names: Lists<u64, String> = on(&server).build();
    let name = |_| async {
        Ok::<_, String>(vec![Item {
            score: 1.into(),
            member: "a name".to_owned(),
        }])
    };
    names.page(&1, None, 2, name).await.unwrap();
    let lists: Lists<u64, u64> = on(&server).build();
    let rows = Rows::of(1..=2);
    let strange = lists.page(&1, None, 2, rows.loader()).await;
    assert!(matches!(strange, Err(Error::NotDecoded)));
    assert_eq!(
        ids(&lists.page(&1, None, 2, rows.loader()).await.unwrap()),
        [2, 1]
    );
}

#[tokio::test]
async fn a_list_keeps_to_its_bound_and_its_life() {
    let server = Server::start().unwrap();
    let life = Duration::from_secs(100);
    let settings = ListSettings {
        bound: 10,
        life,
        ..Default::default()
    };
    let rows = Rows::of(1..=40);
    let lists: Lists<u64, u64> = on(&server).settings(settings).build();
    assert_eq!(walk(&lists, &rows, 5).await, down(40, 1));
    let mut redis = connection(&server);
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
        .arg("*members*")
        .query(&mut redis)
        .unwrap();
    let length: u32 = redis::cmd("ZCARD").arg(&keys[0]).query(&mut redis).unwrap();
    let left: i64 = redis::cmd("PTTL").arg(&keys[0]).query(&mut redis).unwrap();
    assert_eq!(length, 10);
    assert!((1..=100_000).contains(&left), "{left}");
    // At the bound is no end.
    let page = lists.page(&1, None, 10, rows.loader()).await.unwrap();
    assert!(!page.end && page.items.len() == 10);
}

#[tokio::test]
async fn in_a_cluster_a_list_is_one_slots_whatever_its_key_is() {
    let servers = RedisCluster::start(3).unwrap();
    let urls = servers.urls();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let redis = Redis::cluster(&urls)
        .unwrap()
        .timeout(Duration::from_secs(5));
    let lists: Lists<Vec<u8>, u64> = builder().redis(redis).prefix("{a}b").build();
    let keys: [&[u8]; 6] = [b"", b"{}", b"}{", b"a{b}c", b"\0 \r\n", b"plain"];
    for (at, key) in keys.into_iter().enumerate() {
        let rows = Rows::of(1..=5 + at as u64);
        for source in [Source::Loaded, Source::Redis] {
            let page = lists
                .page(&key.to_vec(), None, 20, rows.loader())
                .await
                .unwrap();
            assert_eq!((page.items.len(), page.source), (5 + at, source));
        }
    }
}

#[tokio::test]
async fn a_frozen_redis_is_given_up_and_comes_back() {
    let server = Server::start().unwrap();
    let limit = Duration::from_millis(500);
    let redis = Redis::single(&server.url()).unwrap().timeout(limit);
    let lists: Lists<u64, u64> = builder().redis(redis).build();
    let rows = Rows::of(1..=40);
    assert_eq!(walk(&lists, &rows, 10).await.len(), 40);
    server.freeze().unwrap();
    let deep = Cursor::new(9.into(), &27_u64);
    // A time limit for those who find it frozen; then none is waited for.
    let mut asked = 0;
    loop {
        asked += 1;
        let pages = (1..=9).map(|limit| lists.page(&1, Some(&deep), limit, rows.loader()));
        let errors = futures_util::future::join_all(pages).await;
        let given_up = |page: &Result<Page<u64>, Error>| match page {
            Err(Error::Unavailable(fault)) => fault.to_string().contains("given up"),
            other => panic!("{other:?}"),
        };
        if errors.iter().all(given_up) {
            break;
        }
        assert!(asked < 10);
    }
    let page = lists.page(&1, None, 5, rows.loader()).await.unwrap();
    assert_eq!((ids(&page), page.source), (down(40, 36), Source::Reserve));
    server.thaw().unwrap();
    while lists.page(&1, Some(&deep), 5, rows.loader()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
