//! A filter of ten million keys at 1 %: its error, its bits, and what a query costs.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fastbloom::BloomFilter;
use futures_util::stream;
use redis::aio::MultiplexedConnection;
use seawall_cache::redis::Redis;
use seawall_cache::{Filter, FilterSize, Presence, Rebuild};

use crate::compare::case::Case;
use crate::compare::{Metric, Setup};
use crate::peers::Peer;

const FASTBLOOM: Peer = Peer::Library("fastbloom");
const GETBITS: Peer = Peer::Library("GETBIT, 7 in a pipeline");
const GET: Peer = Peer::Library("GET");
const KEYS: u64 = 10_000_000;
const ERROR: f64 = 0.01;
/// Absent keys asked: the error's own error is a three-hundredth of it.
const ASKED: u64 = 10_000_000;
/// Keys of a timed pass, in process and through Redis.
const PASS: u64 = 1_000_000;
const QUERIES: u64 = 20_000;
const BATCH: usize = 100;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "filter of 10,000,000 keys at 1 %, in process",
            &[Peer::Seawall, FASTBLOOM],
            in_process,
        ),
        Case::new(
            "filter of 10,000,000 keys at 1 %, through Redis",
            &[Peer::Seawall, GETBITS, GET],
            shared,
        ),
    ]
}

fn size(setup: &Setup) -> FilterSize {
    FilterSize::new(setup.length(KEYS as f64) as u64, ERROR)
}

fn key(number: u64) -> Vec<u8> {
    format!("user:{number}").into_bytes()
}

fn scan(keys: u64) -> impl futures_util::Stream<Item = Result<Vec<u8>, Infallible>> {
    stream::iter((0..keys).map(|number| Ok(key(number))))
}

const AT_ONCE: Rebuild = Rebuild {
    size: None,
    rate: 1e12,
    settle: Duration::ZERO,
};

fn in_process(peer: Peer, setup: &Setup) -> anyhow::Result<Vec<Metric>> {
    let size = size(setup);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    if peer == Peer::Seawall {
        let filter = Filter::local(size);
        runtime.block_on(filter.rebuild(|| scan(size.keys()), AT_ONCE))?;
        let bits = size.bits();
        return queries(size, bits, |key| {
            runtime.block_on(filter.ask(key)) != Presence::Never
        });
    }
    let keys = usize::try_from(size.keys())?;
    let mut filter = BloomFilter::with_false_pos(ERROR)
        .seed(&1)
        .expected_items(keys);
    for number in 0..size.keys() {
        filter.insert(&key(number)[..]);
    }
    let bits = filter.num_bits() as u64;
    queries(size, bits, |key| filter.contains(&key[..]))
}

/// Error and cost of a filter that holds its first keys.
fn queries(
    size: FilterSize,
    bits: u64,
    contains: impl Fn(&Vec<u8>) -> bool,
) -> anyhow::Result<Vec<Metric>> {
    let mut passed = 0;
    for number in 0..ASKED {
        passed += u64::from(contains(&key(KEYS + number)));
    }
    let cost = |from: u64| {
        // As they come: next to one another only in name.
        let keys: Vec<_> = (0..PASS).map(|number| key(from + number)).collect();
        let start = Instant::now();
        let found = keys.iter().filter(|key| black_box(contains(key))).count();
        (
            start.elapsed().as_secs_f64() * 1e9 / PASS as f64,
            found as u64,
        )
    };
    let (present, found) = cost(0);
    let (absent, _) = cost(3 * KEYS);
    ensure!(found == PASS, "a key that is there was denied");
    Ok(vec![
        Metric::new("error", "%", "<= 1.1", 100.0 * passed as f64 / ASKED as f64),
        Metric::new("bits", "a key", "", bits as f64 / size.keys() as f64),
        Metric::new("query, present", "ns", "", present),
        Metric::new("query, absent", "ns", "", absent),
    ])
}

fn shared(peer: Peer, setup: &Setup) -> anyhow::Result<Vec<Metric>> {
    let server = seawall_testkit::Redis::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = redis::Client::open(server.url())?;
        // Ten million bits are made at first, which takes a busy machine longer than half a second.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        match peer {
            Peer::Seawall => ours(&server, connection, size(setup)).await,
            GETBITS => plain(connection, size(setup), Plain::Bits).await,
            _ => plain(connection, size(setup), Plain::Value).await,
        }
    })
}

async fn ours(
    server: &seawall_testkit::Redis,
    connection: MultiplexedConnection,
    size: FilterSize,
) -> anyhow::Result<Vec<Metric>> {
    let redis = Redis::single(&server.url())?.timeout(Duration::from_secs(5));
    let filter = Filter::shared(&redis, "bench", size);
    let built = filter.rebuild(|| scan(size.keys()), AT_ONCE).await?;
    let mut passed = 0;
    for from in (0..ASKED / 10).step_by(1_000) {
        let keys: Vec<_> = (from..from + 1_000)
            .map(|key| 3 * KEYS + key)
            .map(key)
            .collect();
        let answers = filter.ask_many(&keys).await;
        ensure!(!answers.contains(&Presence::Unknown), "no answer");
        passed += answers
            .iter()
            .filter(|one| **one == Presence::Maybe)
            .count();
    }
    let ask = async |number: u64| Ok(black_box(filter.ask(&key(number)).await) as u64);
    let many = async |numbers: Vec<u64>| {
        let keys: Vec<_> = numbers.into_iter().map(key).collect();
        Ok(black_box(filter.ask_many(&keys).await).len() as u64)
    };
    let mut metrics = vec![
        Metric::new(
            "error",
            "%",
            "<= 1.1",
            1_000.0 * passed as f64 / ASKED as f64,
        ),
        Metric::new("build and upload", "s", "", built.took.as_secs_f64()),
    ];
    metrics.extend(timed(connection, ask, many).await?);
    Ok(metrics)
}

#[derive(Clone, Copy)]
enum Plain {
    Bits,
    Value,
}

/// What Redis's own commands cost, of a string as long as the filter, and of one value.
async fn plain(
    connection: MultiplexedConnection,
    size: FilterSize,
    what: Plain,
) -> anyhow::Result<Vec<Metric>> {
    let mut set = redis::cmd("SETBIT");
    set.arg("bits").arg(size.bits()).arg(0);
    set.query_async::<u8>(&mut connection.clone()).await?;
    let bits = size.bits();
    let add = move |pipe: &mut redis::Pipeline, number: u64| match what {
        Plain::Value => {
            pipe.cmd("GET").arg(key(number));
        }
        Plain::Bits => {
            for step in 1..=7_u64 {
                let hash =
                    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(step) | 1);
                let bit = (u128::from(hash) * u128::from(bits)) >> 64;
                pipe.cmd("GETBIT").arg("bits").arg(bit as u64);
            }
        }
    };
    let one = async |number: u64| {
        let mut pipe = redis::pipe();
        add(&mut pipe, number);
        let answers: Vec<Option<u8>> = pipe.query_async(&mut connection.clone()).await?;
        Ok(answers.len() as u64)
    };
    let many = async |numbers: Vec<u64>| {
        let mut pipe = redis::pipe();
        numbers
            .into_iter()
            .for_each(|number| add(&mut pipe, number));
        let answers: Vec<Option<u8>> = pipe.query_async(&mut connection.clone()).await?;
        Ok(answers.len() as u64)
    };
    timed(connection.clone(), one, many).await
}

/// One query after the other, then in batches, of absent keys: wall time, and Redis's CPU time.
async fn timed(
    mut connection: MultiplexedConnection,
    one: impl AsyncFn(u64) -> anyhow::Result<u64>,
    many: impl AsyncFn(Vec<u64>) -> anyhow::Result<u64>,
) -> anyhow::Result<Vec<Metric>> {
    let (start, used) = (Instant::now(), server_cpu(&mut connection).await?);
    for number in 0..QUERIES {
        one(5 * KEYS + number).await?;
    }
    let alone = (start.elapsed(), server_cpu(&mut connection).await? - used);
    let (start, used) = (Instant::now(), server_cpu(&mut connection).await?);
    for from in (0..10 * QUERIES).step_by(BATCH) {
        let numbers = from..from + BATCH as u64;
        many(numbers.map(|number| 6 * KEYS + number).collect()).await?;
    }
    let batched = (start.elapsed(), server_cpu(&mut connection).await? - used);
    let each = |seconds: f64, count: u64| seconds * 1e6 / count as f64;
    Ok(vec![
        Metric::new("query", "us", "", each(alone.0.as_secs_f64(), QUERIES)),
        Metric::new("of it Redis's CPU", "us", "", each(alone.1, QUERIES)),
        Metric::new(
            "query in batches of 100",
            "us",
            "",
            each(batched.0.as_secs_f64(), 10 * QUERIES),
        ),
        Metric::new(
            "of that Redis's CPU",
            "us",
            "",
            each(batched.1, 10 * QUERIES),
        ),
    ])
}

/// Seconds of CPU that the server has used.
async fn server_cpu(connection: &mut MultiplexedConnection) -> anyhow::Result<f64> {
    let info: String = redis::cmd("INFO")
        .arg("cpu")
        .query_async(connection)
        .await?;
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<f64>().ok()
    };
    let user = of("used_cpu_user:").context("no used_cpu_user")?;
    Ok(user + of("used_cpu_sys:").context("no used_cpu_sys")?)
}
