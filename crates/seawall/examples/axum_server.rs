//! A protected axum server, its reports in a lane of their own, that ends in good order.
//!
//! ```text
//! cargo run -p seawall --example axum_server
//! ```

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use seawall::admission::{Admission, GateSettings, Lane, LaneSettings};
use seawall::clock::Clock;
use seawall::layer::Protect;
use seawall::sync::Shutdown;
use seawall::sync::shutdown::Life;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Reports are heavy: however many are asked for, pages go on.
pub(crate) const REPORTS: Lane = Lane(Lane::FIRST_NAMED);

/// What a request needs done, by its kind.
pub(crate) type Work =
    Arc<dyn Fn(&'static str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The defaults, and at most a quarter of the places for reports.
pub(crate) fn settings() -> GateSettings {
    let mut settings = GateSettings {
        shards: std::thread::available_parallelism().map_or(1, usize::from),
        ..GateSettings::default()
    };
    settings.lanes[usize::from(REPORTS.0)] = LaneSettings { share: Some(0.25) };
    settings
}

/// Two kinds of work behind one entrance.
pub(crate) fn app(protect: Protect, work: Work) -> Router {
    let reports = work.clone();
    let report = async move |Path(id): Path<String>| {
        reports("report").await;
        format!("report {id}\n")
    };
    let page = async move || {
        work("page").await;
        "page\n"
    };
    Router::new()
        .route("/reports/{id}", get(report))
        .layer(protect.clone().lane(REPORTS))
        .merge(Router::new().route("/", get(page)).layer(protect))
}

/// A database of 20 connections: 20 ms for a page, 200 ms for a report, waiting not included.
fn database() -> Work {
    let connections = Arc::new(Semaphore::new(20));
    Arc::new(move |kind| {
        let connections = connections.clone();
        Box::pin(async move {
            let _connection = connections.acquire().await;
            let ms = if kind == "report" { 200 } else { 20 };
            tokio::time::sleep(Duration::from_millis(ms)).await;
        })
    })
}

async fn serve(life: Life) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await?;
    let admission = Admission::new(settings(), Clock::system());
    let app = app(Protect::new(admission), database());
    // Returns when what is under way is finished; the drain gives it its time.
    axum::serve(listener, app)
        .with_graceful_shutdown(async move { life.stopping().await })
        .await
}

#[allow(clippy::print_stdout, reason = "an example says how to try it")]
fn main() -> ExitCode {
    println!("Serving on http://127.0.0.1:3000/ and http://127.0.0.1:3000/reports/7");
    println!("Capacity is 1,000 pages a second. Ask for more, and see who is turned away and how:");
    println!("  curl -i http://127.0.0.1:3000/");
    // A signal, an error or a panic: it stops accepting, finishes what is under way, and ends.
    Shutdown::new()
        .drain_timeout(Duration::from_secs(10))
        .run(serve)
}
