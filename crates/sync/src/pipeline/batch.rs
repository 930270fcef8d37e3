//! Batches by size or time.

use std::time::Duration;

use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::link::{Inlet, Outlet};

/// A batch goes on when it holds `size` items, or `wait` after its first item came.
pub(super) async fn batch<T>(
    mut inlet: Inlet<T>,
    outlet: Outlet<Vec<T>>,
    size: usize,
    wait: Duration,
) {
    let mut batch = Vec::new();
    let mut due = Instant::now();
    loop {
        select! {
            biased;
            chunk = inlet.recv() => {
                let ended = chunk.is_none();
                let mut items = chunk.into_iter().flatten().peekable();
                let mut full = Vec::new();
                while items.peek().is_some() {
                    if batch.is_empty() {
                        due = Instant::now() + wait;
                    }
                    batch.extend(items.by_ref().take(size - batch.len()));
                    if batch.len() == size {
                        full.push(std::mem::take(&mut batch));
                    }
                }
                if ended && !batch.is_empty() {
                    full.push(std::mem::take(&mut batch));
                }
                let items = full.iter().map(Vec::len).sum();
                if outlet.send_counted(full, items).await.is_err() || ended {
                    return;
                }
            }
            () = sleep_until(due), if !batch.is_empty() => {
                let items = batch.len();
                let full = vec![std::mem::take(&mut batch)];
                if outlet.send_counted(full, items).await.is_err() {
                    return;
                }
            }
        }
    }
}
