//! A whole program: configuration, routes, a worker, a scheduled job; health, drain and the rest by
//! themselves.
//!
//! ```text
//! cargo run -p seawall --features app --example app
//! cargo run -p seawall --features app --example app -- --help
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use seawall::app::{App, Secret};
use seawall::config::Time;
use seawall::sync::shutdown::Life;
use serde::{Deserialize, Serialize};

/// The program's own configuration: sections of its own, beside `[http]` and the like.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    greeting: Greeting,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
struct Greeting {
    text: String,
    /// Between 0 and 10 s, and written with its unit.
    pause: Time<0, 10_000>,
    key: Option<Secret>,
}

impl Default for Greeting {
    fn default() -> Self {
        Self {
            text: "hello".to_owned(),
            pause: Time::new(Duration::from_millis(20)),
            key: None,
        }
    }
}

fn main() -> ExitCode {
    App::<Config>::new("hello")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Greets whoever asks.")
        .run(async |app| {
            let greeted = Arc::new(AtomicU64::new(0));

            // Read anew for each request: a change of the file takes effect at once.
            let config = app.live_config();
            let count = greeted.clone();
            let greet = async move || {
                let greeting = config.load_full().greeting.clone();
                tokio::time::sleep(greeting.pause.get()).await;
                let n = count.fetch_add(1, Relaxed) + 1;
                format!("{}, number {n}\n", greeting.text)
            };
            app.http(Router::new().route("/", get(greet)));

            app.worker("idler", async |life: Life| {
                life.stopping().await;
                Ok(())
            });

            app.job("report", "every 10s", move || {
                let greeted = greeted.clone();
                async move {
                    tracing::info!(greeted = greeted.load(Relaxed), "so far");
                    Ok(())
                }
            });
            Ok(())
        })
}
