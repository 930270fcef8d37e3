//! Three stages over channels, 64 items a message.

use std::convert::Infallible;
use std::hint::black_box;

use anyhow::Context as _;
use seawall_sync::pipeline::{OnError, Pipeline, PipelineOptions};
use tokio::sync::mpsc;

use super::{Case, Metric, together};
use crate::peers::Peer;

const BY_HAND: Peer = Peer::Library("tokio channels by hand");
/// Items of a pass, and passes in a run of full length.
const ITEMS: u64 = 10_000_000;
const PASSES: f64 = 9.0;
const CHUNK: usize = 64;
const BUFFER: usize = 4;

pub(super) fn cases() -> Vec<Case> {
    let case = |workers: usize| {
        let plural = if workers == 1 { "" } else { "s" };
        let name = format!("pipeline, 3 stages, batches of 64, {workers} worker{plural}");
        Case::new(name, &[Peer::Seawall, BY_HAND], move |peer, setup| {
            let runtime = together::runtime(workers)?;
            let passes = setup.length(PASSES).ceil() as usize;
            let goal = "<= 1.1 x by hand, <= 200";
            let costs = together::passes("item", goal, ITEMS as usize, passes, || {
                let pass = if peer == Peer::Seawall {
                    runtime.spawn(ours())
                } else {
                    runtime.spawn(by_hand())
                };
                black_box(runtime.block_on(pass).context("a pass panicked")?);
                Ok(())
            })?;
            // Wall time is what throughput is made of.
            let rates = costs.iter().filter(|cost| cost.name == "wall time");
            let rates: Vec<_> = rates
                .map(|cost| Metric::new("throughput", "M/s", ">= 5", 1e3 / cost.value))
                .collect();
            Ok(costs.into_iter().chain(rates).collect())
        })
    };
    vec![case(1), case(2)]
}

async fn ours() -> u64 {
    let options = PipelineOptions {
        chunk: CHUNK,
        buffer: BUFFER,
        on_error: OnError::Abort,
    };
    let mut running = Pipeline::<_, Infallible>::from_items(options, 0..ITEMS)
        .map("add", |x| Ok(x.wrapping_add(1)))
        .map("multiply", |x| Ok(x.wrapping_mul(3)))
        .map("mix", |x| Ok(x ^ (x >> 7)))
        .start();
    let mut sum = 0_u64;
    while let Ok(Some(chunk)) = running.recv_chunk().await {
        sum = chunk.into_iter().fold(sum, u64::wrapping_add);
    }
    sum
}

async fn by_hand() -> u64 {
    let (sender, source) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        let mut items = 0..ITEMS;
        loop {
            let chunk: Vec<u64> = items.by_ref().take(CHUNK).collect();
            if chunk.is_empty() || sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    let output = stage(source, |x| x.wrapping_add(1));
    let output = stage(output, |x| x.wrapping_mul(3));
    let mut output = stage(output, |x| x ^ (x >> 7));
    let mut sum = 0_u64;
    while let Some(chunk) = output.recv().await {
        sum = chunk.into_iter().fold(sum, u64::wrapping_add);
    }
    sum
}

fn stage(
    mut input: mpsc::Receiver<Vec<u64>>,
    call: impl Fn(u64) -> u64 + Send + 'static,
) -> mpsc::Receiver<Vec<u64>> {
    let (sender, output) = mpsc::channel(BUFFER);
    tokio::spawn(async move {
        while let Some(chunk) = input.recv().await {
            let chunk = chunk.into_iter().map(&call).collect();
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    output
}
