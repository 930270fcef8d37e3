//! Work that a test holds on to, and waiting for what must come about.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use seawall::admission::{Admission, GateSettings, LaneSettings};
use seawall::clock::Clock;
use seawall_policy::limit::Fixed;
use tokio::sync::Semaphore;

/// As the examples' `Work`.
pub(crate) type Work =
    Arc<dyn Fn(&'static str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Counts what begins, and lets it end when the test says so. By kind of work.
#[derive(Clone)]
pub(crate) struct Held(Arc<HashMap<&'static str, (AtomicUsize, Semaphore)>>);

impl Held {
    pub(crate) fn new(kinds: &[&'static str]) -> Self {
        let held = |kind: &&'static str| (*kind, (AtomicUsize::new(0), Semaphore::new(0)));
        Self(Arc::new(kinds.iter().map(held).collect()))
    }

    pub(crate) fn work(&self) -> Work {
        let held = self.clone();
        Arc::new(move |kind| {
            let held = held.clone();
            Box::pin(async move {
                let (begun, open) = &held.0[kind];
                begun.fetch_add(1, SeqCst);
                open.acquire().await.unwrap().forget();
            })
        })
    }

    /// How many of a kind have begun, ended or not.
    pub(crate) fn begun(&self, kind: &str) -> usize {
        self.0[kind].0.load(SeqCst)
    }

    /// Lets `n` of a kind end.
    pub(crate) fn end(&self, kind: &str, n: usize) {
        self.0[kind].1.add_permits(n);
    }
}

/// An entrance of `limit` places and one place to wait, in which no time passes.
pub(crate) fn entrance(limit: u32, lane: usize, share: f64, shadow: bool) -> Admission {
    let mut settings = GateSettings {
        limit: Box::new(Fixed::new(limit)),
        max_queued: 1,
        shadow,
        ..GateSettings::default()
    };
    settings.lanes[lane] = LaneSettings { share: Some(share) };
    Admission::new(settings, Clock::manual())
}

/// Lets everything else run until `there`.
pub(crate) async fn until(there: impl Fn() -> bool) {
    while !there() {
        tokio::task::yield_now().await;
    }
}
