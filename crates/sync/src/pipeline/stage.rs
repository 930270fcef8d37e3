//! What is done to items: one after another, on several tasks, or many at once.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use tokio::select;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::link::{Inlet, Outlet, Site};
use super::{Order, Task};

pub(super) async fn map<T, U, E: Send + 'static>(
    mut inlet: Inlet<T>,
    outlet: Outlet<U>,
    site: Site<E>,
    mut call: impl FnMut(T) -> Result<U, E>,
) {
    while let Some(chunk) = inlet.recv().await {
        let Some(results) = site.apply(chunk, &mut call) else {
            return;
        };
        if outlet.send(results).await.is_err() {
            return;
        }
    }
}

/// The input of several workers, and where they note the order in which they took.
struct Shared<T, U> {
    inlet: Inlet<T>,
    order: Option<mpsc::Sender<oneshot::Receiver<Vec<U>>>>,
}

/// `workers` tasks that take chunks in turn. Where order matters, one task more puts the results
/// back in the order in which the chunks were taken; as many chunks as there are workers may wait
/// for an earlier one.
pub(super) fn map_parallel<T, U, E, F>(
    inlet: Inlet<T>,
    outlet: Outlet<U>,
    site: &Site<E>,
    workers: usize,
    order: Order,
    call: F,
) -> Vec<Task>
where
    T: Send + 'static,
    U: Send + 'static,
    E: Send + 'static,
    F: Fn(T) -> Result<U, E> + Send + Sync + 'static,
{
    let (order, mut tasks): (_, Vec<Task>) = match order {
        Order::Kept => {
            let (notes, taken) = mpsc::channel(workers);
            (Some(notes), vec![Box::pin(reorder(taken, outlet.clone()))])
        }
        Order::Free => (None, Vec::new()),
    };
    let shared = Arc::new(Mutex::new(Shared { inlet, order }));
    let call = Arc::new(call);
    tasks.extend((0..workers).map(|_| -> Task {
        Box::pin(worker(
            Arc::clone(&shared),
            outlet.clone(),
            site.clone(),
            Arc::clone(&call),
        ))
    }));
    tasks
}

async fn worker<T, U, E: Send + 'static>(
    shared: Arc<Mutex<Shared<T, U>>>,
    outlet: Outlet<U>,
    site: Site<E>,
    call: Arc<impl Fn(T) -> Result<U, E>>,
) {
    loop {
        let mut input = shared.lock().await;
        let Some(chunk) = input.inlet.recv().await else {
            return;
        };
        let answer = if let Some(order) = &input.order {
            let (answer, note) = oneshot::channel();
            if order.send(note).await.is_err() {
                return;
            }
            Some(answer)
        } else {
            None
        };
        drop(input);
        let Some(results) = site.apply(chunk, &mut |item| call(item)) else {
            return;
        };
        let sent = match answer {
            Some(answer) => answer.send(results).is_ok(),
            None => outlet.send(results).await.is_ok(),
        };
        if !sent {
            return;
        }
    }
}

async fn reorder<U>(mut taken: mpsc::Receiver<oneshot::Receiver<Vec<U>>>, outlet: Outlet<U>) {
    while let Some(note) = taken.recv().await {
        // Only a worker that was ended leaves a note unanswered.
        let Ok(results) = note.await else { return };
        if outlet.send(results).await.is_err() {
            return;
        }
    }
}

enum InFlight<F: Future> {
    Kept(FuturesOrdered<F>),
    Free(FuturesUnordered<F>),
}

impl<F: Future> InFlight<F> {
    fn push(&mut self, future: F) {
        match self {
            Self::Kept(futures) => futures.push_back(future),
            Self::Free(futures) => futures.push(future),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Kept(futures) => futures.len(),
            Self::Free(futures) => futures.len(),
        }
    }

    async fn next(&mut self) -> Option<F::Output> {
        match self {
            Self::Kept(futures) => futures.next().await,
            Self::Free(futures) => futures.next().await,
        }
    }
}

type Guarded<F> = CatchUnwind<AssertUnwindSafe<Pin<Box<F>>>>;

/// Up to `limit` futures at once in one task. They are driven on while the stage waits for room, so
/// that none times out for want of being polled.
pub(super) async fn map_concurrent<T, U, E, Fut>(
    mut inlet: Inlet<T>,
    outlet: Outlet<U>,
    site: Site<E>,
    limit: usize,
    order: Order,
    call: impl Fn(T) -> Fut,
) where
    E: Send + 'static,
    Fut: Future<Output = Result<U, E>>,
{
    let guard = |item| async { call(item).await };
    let mut in_flight: InFlight<Guarded<_>> = match order {
        Order::Kept => InFlight::Kept(FuturesOrdered::new()),
        Order::Free => InFlight::Free(FuturesUnordered::new()),
    };
    let (mut waiting, mut results) = (VecDeque::new(), Vec::new());
    let mut open = true;
    loop {
        let roomy = results.len() < site.chunk;
        while roomy && in_flight.len() < limit {
            let Some(item) = waiting.pop_front() else {
                break;
            };
            in_flight.push(AssertUnwindSafe(Box::pin(guard(item))).catch_unwind());
        }
        select! {
            biased;
            Some(result) = in_flight.next(), if in_flight.len() > 0 => {
                match result {
                    Ok(Ok(result)) => {
                        results.push(result);
                        continue;
                    }
                    Ok(Err(error)) => site.failed(error),
                    Err(panic) => site.panicked(&*panic),
                }
                if !site.control.drains() {
                    return;
                }
            }
            room = outlet.room(), if !results.is_empty() => {
                let Ok(room) = room else { return };
                let chunk = std::mem::take(&mut results);
                site.counters.count_emitted(chunk.len());
                room.send(chunk);
            }
            chunk = inlet.recv(), if open && waiting.is_empty() && roomy && in_flight.len() < limit => {
                match chunk {
                    Some(chunk) => waiting.extend(chunk),
                    None => open = false,
                }
            }
            else => return,
        }
    }
}
