//! Batches by size or time.

use std::time::Duration;

use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::link::{Inlet, Outlet};

/// A batch goes on when it holds `size` items, or `wait` after its first item came: also where the
/// input never rests, which the timer alone, waiting behind it, would not see to.
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
                let now = Instant::now();
                let ended = chunk.is_none();
                let mut items = chunk.into_iter().flatten().peekable();
                let mut full = Vec::new();
                while items.peek().is_some() {
                    if batch.is_empty() {
                        due = now + wait;
                    }
                    batch.extend(items.by_ref().take(size - batch.len()));
                    if batch.len() == size {
                        full.push(std::mem::take(&mut batch));
                    }
                }
                if (ended || due <= now) && !batch.is_empty() {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::time::advance;

    use super::super::progress::{Counters, Writers};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_goes_on_in_time_although_input_never_rests() {
        let counters = Arc::new(Counters::new("batch", Writers::One));
        let (send, chunks) = mpsc::channel(10_000);
        for item in 0..10_000 {
            send.send(vec![item]).await.unwrap();
        }
        let (batches, mut received) = mpsc::channel(10);
        let inlet = Inlet {
            chunks,
            counters: counters.clone(),
        };
        let outlet = Outlet::new(batches, counters);
        let wait = Duration::from_millis(5);
        let task = tokio::spawn(batch(inlet, outlet, usize::MAX, wait));
        // A few hundred chunks pass in a turn of the task.
        for _ in 0..3 {
            tokio::task::yield_now().await;
            advance(wait).await;
        }
        let first = received.try_recv().expect("it is due");
        assert!(first[0].len() < 5_000, "{}", first[0].len());
        drop(send);
        task.abort();
    }
}
