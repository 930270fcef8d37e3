//! A service with three faults, for docs/profiling.md to find: a hot spot, a leak, a lock convoy.
//!
//! ```text
//! cargo run -p seawall --features jemalloc --example profile_me
//! ```

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use seawall::layer::{ContextLayer, RequestsLayer};
use seawall::profile;
use seawall::sync::shutdown::Life;
use seawall::sync::{Mutex, Shutdown};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

seawall::heap_profiling!();

/// What the service knows. One lock around all of it.
pub(crate) struct Shop {
    pub(crate) stock: Mutex<u64>,
    /// What was searched for. Nobody ever takes anything out.
    searches: parking_lot::Mutex<Vec<Vec<u8>>>,
}

impl Shop {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            stock: Mutex::new("stock", 0),
            searches: parking_lot::Mutex::default(),
        })
    }

    /// The hot spot: a checksum, a byte at a time, of far more than is needed.
    #[inline(never)]
    pub(crate) fn checksum_of_everything(&self, rounds: u64) -> u64 {
        (0..rounds).fold(7_u64, |sum, n| black_box(sum.rotate_left(5) ^ n))
    }

    /// The leak.
    #[inline(never)]
    pub(crate) fn remember_search(&self, bytes: usize) {
        self.searches.lock().push(vec![1; bytes]);
    }

    /// The convoy: what is slow is done with the lock held.
    #[inline(never)]
    pub(crate) fn reserve_slowly(&self, time: Duration) -> u64 {
        let mut stock = self.stock.lock();
        thread::sleep(time);
        *stock += 1;
        *stock
    }
}

/// The service's own port.
pub(crate) fn service(shop: Arc<Shop>) -> Router {
    let seen = |name| {
        ServiceBuilder::new()
            .layer(ContextLayer::edge())
            .layer(RequestsLayer::named(name))
    };
    let (hot, leak, convoy) = (shop.clone(), shop.clone(), shop);
    let report = async move || hot.checksum_of_everything(20_000_000).to_string();
    let search = async move || leak.remember_search(256 * 1024);
    let order = async move || convoy.reserve_slowly(Duration::from_millis(5)).to_string();
    Router::new()
        .route("/report", get(report).layer(seen("report")))
        .route("/search", get(search).layer(seen("search")))
        .route("/order", get(order).layer(seen("order")))
}

async fn serve(life: Life) -> std::io::Result<()> {
    profile::watch_runtime("main", &tokio::runtime::Handle::current());
    let public = TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await?;
    let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 9090)).await?;
    // `App` does all this by itself; here it is by hand, to be seen.
    let admin = tokio::spawn(async move { axum::serve(admin, profile::router()).await });
    let stop = async move { life.stopping().await };
    axum::serve(public, service(Shop::new()))
        .with_graceful_shutdown(stop)
        .await?;
    admin.abort();
    Ok(())
}

#[allow(clippy::print_stdout, reason = "an example says how to try it")]
fn main() -> ExitCode {
    println!("Serving http://127.0.0.1:3000/report, /search and /order; profiles on");
    println!("http://127.0.0.1:9090/profile/cpu.svg and others: see docs/profiling.md");
    Shutdown::new()
        .drain_timeout(Duration::from_secs(10))
        .run(serve)
}
