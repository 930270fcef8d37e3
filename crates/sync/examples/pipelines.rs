//! Items a second through three stages, beside the same with tokio's channels by hand.
//!
//! `cargo run -p seawall-sync --all-features --profile quick --example pipelines`
#![allow(clippy::print_stdout)]

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use seawall_sync::pipeline::{OnError, Pipeline, PipelineOptions};
use tokio::sync::mpsc;

const ITEMS: u64 = 20_000_000;
const CHUNK: usize = 64;
const BUFFER: usize = 4;

fn pipeline() -> Pipeline<u64, Infallible> {
    let options = PipelineOptions {
        chunk: CHUNK,
        buffer: BUFFER,
        on_error: OnError::Abort,
    };
    Pipeline::from_items(options, 0..ITEMS)
        .map("add", |x| Ok(x.wrapping_add(1)))
        .map("multiply", |x| Ok(x.wrapping_mul(3)))
        .map("mix", |x| Ok(x ^ (x >> 7)))
}

async fn ours() -> u64 {
    let (mut running, mut sum) = (pipeline().start(), 0u64);
    while let Ok(Some(chunk)) = running.recv_chunk().await {
        sum = chunk.into_iter().fold(sum, u64::wrapping_add);
    }
    sum
}

async fn by_hand() -> u64 {
    fn stage(
        mut input: mpsc::Receiver<Vec<u64>>,
        call: impl Fn(u64) -> u64 + Send + 'static,
    ) -> mpsc::Receiver<Vec<u64>> {
        let (sender, output) = mpsc::channel(BUFFER);
        tokio::spawn(async move {
            while let Some(chunk) = input.recv().await {
                if sender
                    .send(chunk.into_iter().map(&call).collect())
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        output
    }
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
    let mut sum = 0u64;
    while let Some(chunk) = output.recv().await {
        sum = chunk.into_iter().fold(sum, u64::wrapping_add);
    }
    sum
}

fn main() -> std::io::Result<()> {
    for workers in [1, 2] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .build()?;
        let (mut best, mut best_by_hand) = (0.0f64, 0.0f64);
        // In turn, so that what else the machine does falls on both.
        for _ in 0..9 {
            let start = Instant::now();
            black_box(runtime.block_on(async { tokio::spawn(ours()).await })?);
            best = best.max(ITEMS as f64 / start.elapsed().as_secs_f64() / 1e6);
            let start = Instant::now();
            black_box(runtime.block_on(async { tokio::spawn(by_hand()).await })?);
            best_by_hand = best_by_hand.max(ITEMS as f64 / start.elapsed().as_secs_f64() / 1e6);
        }
        println!(
            "{workers} workers: {best:.1} M items/s, by hand {best_by_hand:.1} M items/s, ratio {:.2}",
            best / best_by_hand
        );
    }
    Ok(())
}
