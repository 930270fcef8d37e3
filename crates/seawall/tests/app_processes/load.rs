//! Callers that call at a rate, however long the answers take.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http::Request;
use parking_lot::Mutex;
use seawall::Client;
use seawall::client::Body;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use crate::app_support::Text;

type Call = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One kind of call, at a rate, until it is stopped.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    stopped: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<(Instant, String)>>>,
    task: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(
        name: &'static str,
        every: Duration,
        call: impl Fn(u64) -> Call + Send + 'static,
    ) -> Self {
        let (stopped, calls) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let failures = Arc::new(Mutex::new(Vec::new()));
        let (stop, counts, fails) = (stopped.clone(), calls.clone(), failures.clone());
        let task = tokio::spawn(async move {
            // Missed ticks are made up for: the rate is the callers', not the servers'.
            let mut ticks = interval(every);
            let mut under_way = JoinSet::new();
            while !stop.load(SeqCst) {
                ticks.tick().await;
                let calling = call(counts.fetch_add(1, SeqCst));
                let fails = fails.clone();
                under_way.spawn(async move {
                    let begun = Instant::now();
                    if let Err(error) = calling.await {
                        fails.lock().push((begun, error));
                    }
                });
                while under_way.try_join_next().is_some() {}
            }
            under_way.join_all().await;
        });
        Self {
            name,
            stopped,
            calls,
            failures,
            task,
        }
    }

    /// How many calls were made, and which failed, by when they began.
    pub(crate) async fn stop(self) -> (u64, Vec<(Instant, String)>) {
        self.stopped.store(true, SeqCst);
        self.task.await.unwrap();
        let failures = std::mem::take(&mut *self.failures.lock());
        (self.calls.load(SeqCst), failures)
    }
}

/// May be sent again.
pub(crate) fn reads(client: Client) -> impl Fn(u64) -> Call + Send {
    move |_| {
        let client = client.clone();
        Box::pin(async move {
            let answer = client.get("/v1/greet/sea").await;
            let answer = answer.map_err(|error| format!("{error:?}"))?;
            if answer.status() != 200 {
                return Err(answer.status().to_string());
            }
            let text = answer.into_body().text().await;
            text.map(drop).map_err(|error| format!("{error:?}"))
        })
    }
}

/// Must not be sent again once it may have been begun.
pub(crate) fn orders(client: Client, prefix: &'static str) -> impl Fn(u64) -> Call + Send {
    move |n| {
        let client = client.clone();
        Box::pin(async move {
            let request = Request::post(format!("http://demo/v1/orders/{prefix}-{n}"));
            let request = request.body(Body::from("an order")).unwrap();
            let answer = client.request(request).await;
            let answer = answer.map_err(|error| format!("{error:?}"))?;
            if answer.status() != 200 {
                return Err(answer.status().to_string());
            }
            let text = answer.into_body().text().await;
            text.map(drop).map_err(|error| format!("{error:?}"))
        })
    }
}

/// By gRPC; not marked as repeatable.
pub(crate) fn greets(client: Client) -> impl Fn(u64) -> Call + Send {
    move |_| {
        let client = client.clone();
        Box::pin(async move {
            let mut greeter = tonic::client::Grpc::new(client.grpc());
            let ready = greeter.ready().await;
            ready.map_err(|error| format!("{error:?}"))?;
            let path = http::uri::PathAndQuery::from_static("/demo.Greeter/Greet");
            let request = tonic::Request::new("sea".to_owned());
            let answer = greeter.unary(request, path, Text).await;
            answer.map(drop).map_err(|status| format!("{status:?}"))
        })
    }
}
