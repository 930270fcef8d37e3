//! What it does to a buffer pool and to a cache that hot and cold columns have tables of their own.
//!
//! ```sh
//! cargo run -p shop --example rows
//! ```
//!
//! The same products, once as one wide row each and once parted in `products` (price, stock, title)
//! and `product_details` (description, attributes); the same calls in the same order. A private
//! MariaDB with a small buffer pool and a private Redis with little memory count for themselves, so
//! the figures depend on rows and pages, and not on how fast the machine is.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Parser;
use redis::aio::MultiplexedConnection;
use seawall_cache::redis::Redis;
use seawall_cache::{Cache, Raw, Read, Settings, Source};
use seawall_testkit::{MariaDb, Recipe, Server};
use serde_json::json;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{MySql, MySqlPool, QueryBuilder};

/// Counts pages read and rows cached, for one table of products and for two.
#[derive(Debug, Parser)]
struct Args {
    /// Products.
    #[arg(long, default_value_t = 20_000)]
    products: u32,
    /// Calls of each part.
    #[arg(long, default_value_t = 20_000)]
    calls: u32,
    /// Memory of the buffer pool, in MiB; 5 at least.
    #[arg(long, default_value_t = 32)]
    pool: u32,
    /// Memory of the cache, in MiB.
    #[arg(long, default_value_t = 8)]
    cache: u32,
    /// Redis' `hash-max-listpack-value`, in bytes: an entry whose value is longer takes a hash table.
    #[arg(long, default_value_t = 64)]
    listpack: u32,
    /// How strongly calls prefer few products: 0 for evenly, 1 as is often seen.
    #[arg(long, default_value_t = 0.8)]
    skew: f64,
}

/// Of a hundred calls so many sell and so many show the whole page; the others are lists, carts
/// and order pages, which show price and stock.
const SELLS: u32 = 5;
const PAGES: u32 = 5;

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Row(u32),
    Page(u32),
    Sell(u32),
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    One,
    Two,
}

const LAYOUTS: [(Layout, &str); 2] = [(Layout::One, "one table"), (Layout::Two, "two tables")];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let pool = format!("--innodb-buffer-pool-size={}M", args.pool);
    let more = [pool.as_str(), "--innodb-buffer-pool-load-at-startup=OFF"];
    let mut server = MariaDb::start_with(&more)?;
    let url = server.create("shop")?;
    fill(&connect(&url).await?, args.products).await?;
    println!(
        "{} products, {} calls ({SELLS} % sell, {PAGES} % whole pages), skew {}, \
         buffer pool {} MiB, cache {} MiB\n",
        args.products, args.calls, args.skew, args.pool, args.cache
    );
    println!("| buffer pool | size on disk | hit ratio | pages read per 1,000 calls |");
    println!("|---|---|---|---|");
    for (layout, name) in LAYOUTS {
        // A restart empties the buffer pool.
        server.restart()?;
        let database = connect(&url).await?;
        for call in calls(&args, 1) {
            database_call(&database, layout, call).await?;
        }
        let before = pages(&database).await?;
        for call in calls(&args, 2) {
            database_call(&database, layout, call).await?;
        }
        let after = pages(&database).await?;
        let (asked, read) = (after.0 - before.0, after.1 - before.1);
        println!(
            "| {name} | {} | {:.2} % | {:.0} |",
            size(&database, layout).await?,
            100.0 * (1.0 - read / asked),
            read * 1e3 / f64::from(args.calls)
        );
    }
    println!(
        "\n| cache | bytes per row | hit ratio | rows thrown out | bytes thrown out by sales |"
    );
    println!("|---|---|---|---|---|");
    for (layout, name) in LAYOUTS {
        let server = small_redis(&args)?;
        let url = format!("redis://{}", server.address());
        let rows = Rows::open(&url)?;
        for call in calls(&args, 1) {
            rows.call(layout, call, &mut Seen::default()).await?;
        }
        let mut seen = Seen::default();
        for call in calls(&args, 2) {
            rows.call(layout, call, &mut seen).await?;
        }
        let mut redis = redis::Client::open(url)?
            .get_multiplexed_async_connection()
            .await?;
        let evicted: String = redis::cmd("INFO")
            .arg("stats")
            .query_async(&mut redis)
            .await?;
        let evicted = evicted
            .lines()
            .find_map(|l| l.strip_prefix("evicted_keys:"));
        println!(
            "| {name} | {} | {:.1} % | {} | {} |",
            rows.bytes(&mut redis, layout, args.products).await?,
            100.0 * f64::from(seen.hits) / f64::from(seen.asked),
            evicted.unwrap_or("?").trim(),
            seen.invalidated
        );
    }
    Ok(())
}

async fn connect(url: &str) -> Result<MySqlPool> {
    let options = MySqlPoolOptions::new().max_connections(1);
    options.connect(url).await.context("the database")
}

/// The same calls each time: by products that few are asked for often.
fn calls(args: &Args, part: u64) -> impl Iterator<Item = Call> + use<> {
    let mut random = fastrand::Rng::with_seed(part);
    let (count, products, skew) = (args.calls, args.products, args.skew);
    (0..count).map(move |_| {
        // The inverse of the distribution function of a power law, near enough to Zipf's.
        let at = random.f64();
        let rank = f64::from(products) * at.powf(1.0 / (1.0 - skew.min(0.99)));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to products"
        )]
        let rank = (rank as u32).min(products - 1);
        // Neighbours in rank are no neighbours on disk.
        let id = (u64::from(rank) * 7_919 % u64::from(products)) as u32 + 1;
        match random.u32(0..100) {
            n if n < SELLS => Call::Sell(id),
            n if n < SELLS + PAGES => Call::Page(id),
            _ => Call::Row(id),
        }
    })
}

fn description(id: u32) -> String {
    let mut random = fastrand::Rng::with_seed(u64::from(id));
    let words = std::iter::repeat_with(|| format!("{:x} ", random.u32(..)));
    words.take(220 + (id % 60) as usize).collect()
}

const ATTRIBUTES: &str = "origin: somewhere\nkeeps: a year\nweight: 250 g\npacked: in paper\n\
     colour: brown\nmade by: hand\nwarning: hot\nstore: cool and dry\ncertificate: none\n";

async fn fill(database: &MySqlPool, products: u32) -> Result<()> {
    let tables = "
        CREATE TABLE wide (id BIGINT NOT NULL PRIMARY KEY, title VARCHAR(120) NOT NULL,
            price BIGINT NOT NULL, stock BIGINT NOT NULL,
            description TEXT NOT NULL, attributes TEXT NOT NULL)";
    sqlx::raw_sql(tables).execute(database).await?;
    let schema = include_str!("../src/catalog/data/tables/schema.sql");
    sqlx::raw_sql(schema).execute(database).await?;
    let ids: Vec<u32> = (1..=products).collect();
    for ids in ids.chunks(500) {
        let sql = "INSERT INTO wide (id, title, price, stock, description, attributes) ";
        let mut insert = QueryBuilder::<MySql>::new(sql);
        insert.push_values(ids, |mut row, &id| {
            row.push_bind(id).push_bind(format!("product number {id}"));
            row.push_bind(1_250).push_bind(1_000_000);
            row.push_bind(description(id)).push_bind(ATTRIBUTES);
        });
        insert.build().execute(database).await?;
    }
    let parts = "
        INSERT INTO products SELECT id, title, price, stock FROM wide;
        INSERT INTO product_details SELECT id, description, attributes FROM wide;
        ANALYZE TABLE wide, products, product_details";
    sqlx::raw_sql(parts).execute(database).await?;
    Ok(())
}

async fn database_call(database: &MySqlPool, layout: Layout, call: Call) -> Result<()> {
    let (statement, id) = match (layout, call) {
        (Layout::One, Call::Row(id)) => ("SELECT title, price, stock FROM wide WHERE id = ?", id),
        (Layout::One, Call::Page(id)) => ("SELECT * FROM wide WHERE id = ?", id),
        (Layout::One, Call::Sell(id)) => ("UPDATE wide SET stock = stock - 1 WHERE id = ?", id),
        (Layout::Two, Call::Row(id)) => {
            ("SELECT title, price, stock FROM products WHERE id = ?", id)
        }
        (Layout::Two, Call::Page(id)) => (
            "SELECT * FROM products JOIN product_details ON product_id = id WHERE id = ?",
            id,
        ),
        (Layout::Two, Call::Sell(id)) => ("UPDATE products SET stock = stock - 1 WHERE id = ?", id),
    };
    let query = sqlx::query(statement).bind(id);
    match call {
        Call::Sell(_) => query.execute(database).await.map(|_| ())?,
        Call::Row(_) | Call::Page(_) => query.fetch_one(database).await.map(|_| ())?,
    }
    Ok(())
}

/// Pages asked of the buffer pool so far, and pages it had to read.
async fn pages(database: &MySqlPool) -> Result<(f64, f64)> {
    let mut counts = [0.0; 2];
    let names = [
        "Innodb_buffer_pool_read_requests",
        "Innodb_buffer_pool_reads",
    ];
    for (count, name) in counts.iter_mut().zip(names) {
        let statement = "SELECT variable_value FROM information_schema.global_status
             WHERE variable_name = ?";
        let query = sqlx::query_scalar(statement).bind(name);
        let value: String = query.fetch_one(database).await?;
        *count = value.parse().with_context(|| name.to_owned())?;
    }
    Ok((counts[0], counts[1]))
}

async fn size(database: &MySqlPool, layout: Layout) -> Result<String> {
    let mib = async |table: &str| {
        let statement = "SELECT CAST(data_length DIV 1048576 AS SIGNED)
             FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = ?";
        let query = sqlx::query_scalar(statement).bind(table.to_owned());
        query.fetch_one(database).await.map(|mib: i64| mib)
    };
    Ok(match layout {
        Layout::One => format!("{} MiB", mib("wide").await?),
        Layout::Two => {
            let (hot, cold) = (mib("products").await?, mib("product_details").await?);
            format!("{hot} + {cold} MiB")
        }
    })
}

fn small_redis(args: &Args) -> Result<Server> {
    let (memory, listpack) = (format!("{}mb", args.cache), args.listpack.to_string());
    let recipe = Recipe::redis();
    let recipe = recipe.arguments(&[
        "--maxmemory",
        &memory,
        "--maxmemory-policy",
        "allkeys-lru",
        "--hash-max-listpack-value",
        &listpack,
    ]);
    Server::start(&recipe).context("Redis")
}

#[derive(Default)]
struct Seen {
    asked: u32,
    hits: u32,
    invalidated: usize,
}

fn hot(id: u32) -> String {
    json!({"id": id, "title": format!("product number {id}"), "price": 1_250, "stock": 1_000_000})
        .to_string()
}

fn cold(id: u32) -> String {
    json!({"description": description(id), "attributes": ATTRIBUTES}).to_string()
}

/// The caches of both layouts, each with nothing in process: what Redis does is what is counted.
struct Rows {
    rows: Cache<u32, Bytes>,
    details: Cache<u32, Bytes>,
}

impl Rows {
    fn open(url: &str) -> Result<Self> {
        let redis = Redis::single(url)?.timeout(Duration::from_secs(10));
        let settings = Settings {
            ttl: Duration::from_secs(86_400),
            stale: Duration::ZERO,
            capacity: 0,
            ..Settings::default()
        };
        let cache = |name: &'static str| {
            let cache = Cache::builder(name).settings(settings);
            cache.redis(redis.clone(), Raw).build()
        };
        Ok(Self {
            rows: cache("row"),
            details: cache("details"),
        })
    }

    /// Reads through the cache; what is sold is thrown out.
    async fn call(&self, layout: Layout, call: Call, seen: &mut Seen) -> Result<()> {
        let (Call::Row(id) | Call::Page(id) | Call::Sell(id)) = call;
        if let Call::Sell(_) = call {
            let none = async || Ok::<_, io::Error>(None);
            let kept = self.rows.read(&id, Read::Strong, none).await?;
            seen.invalidated += kept.value.map_or(0, |row| row.len());
            self.rows.fence(&[id]).await.lift().await;
            return Ok(());
        }
        seen.read(&self.rows, id, move || layout.row(id)).await?;
        if layout == Layout::Two && matches!(call, Call::Page(_)) {
            seen.read(&self.details, id, move || cold(id)).await?;
        }
        Ok(())
    }

    /// What Redis needs for a row that price and stock are read from.
    async fn bytes(
        &self,
        redis: &mut MultiplexedConnection,
        layout: Layout,
        id: u32,
    ) -> Result<u32> {
        let mut seen = Seen::default();
        seen.read(&self.rows, id, move || layout.row(id)).await?;
        let mut named = redis::cmd("KEYS");
        named.arg(format!("seawall:row:*:{id}"));
        let named: Vec<String> = named.query_async(redis).await?;
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(named.first().context("the row")?);
        usage.query_async(redis).await.context("MEMORY USAGE")
    }
}

impl Layout {
    fn row(self, id: u32) -> String {
        match self {
            Self::One => hot(id) + &cold(id),
            Self::Two => hot(id),
        }
    }
}

impl Seen {
    async fn read<F>(&mut self, cache: &Cache<u32, Bytes>, id: u32, row: F) -> Result<()>
    where
        F: Fn() -> String + Clone + Send + Sync + 'static,
    {
        let load = move || {
            let row = Bytes::from(row());
            async move { Ok::<_, io::Error>(Some(row)) }
        };
        let answer = cache.read(&id, Read::Strong, load).await?;
        self.asked += 1;
        self.hits += u32::from(answer.source == Source::Redis);
        Ok(())
    }
}
