//! Where items come from. A source looks whether it is to stop before it takes, never between
//! taking and sending on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::select;
use tokio::sync::mpsc;

use super::Running;
use super::link::{Outlet, Site};

/// Room that is made for a chunk before anything is in it; a larger one grows.
const ROOM: usize = 1024;

pub(super) async fn items<T, E: Send + 'static>(
    mut items: impl Iterator<Item = T>,
    outlet: Outlet<T>,
    site: Site<E>,
) {
    while !site.control.is_stopped() {
        let mut chunk = Vec::with_capacity(site.chunk.min(ROOM));
        let filled = catch_unwind(AssertUnwindSafe(|| {
            chunk.extend(items.by_ref().take(site.chunk));
        }));
        let ended = chunk.len() < site.chunk;
        site.counters.count_taken(chunk.len());
        if let Err(panic) = filled {
            site.source_panicked(&*panic);
        }
        if outlet.send(chunk).await.is_err() || ended {
            return;
        }
    }
}

pub(super) async fn channel<T, E: Send + 'static>(
    mut items: mpsc::Receiver<T>,
    outlet: Outlet<T>,
    site: Site<E>,
) {
    let stopping = &site.control.stopping;
    loop {
        let mut chunk = Vec::with_capacity(site.chunk.min(ROOM));
        select! {
            biased;
            // What the channel holds was handed over by senders, who would not learn of its loss.
            () = stopping.cancelled(), if !items.is_closed() => items.close(),
            taken = items.recv_many(&mut chunk, site.chunk) => {
                site.counters.count_taken(taken);
                if taken == 0 || outlet.send(chunk).await.is_err() {
                    return;
                }
            }
        }
    }
}

pub(super) async fn stream<T, E: Send + 'static>(
    items: impl Stream<Item = Result<T, E>>,
    outlet: Outlet<T>,
    site: Site<E>,
) {
    let mut items = pin!(items);
    let mut ended = false;
    while !ended {
        let first = AssertUnwindSafe(items.next()).catch_unwind();
        let mut next = select! {
            biased;
            () = site.control.stopping.cancelled() => return,
            first = first => first,
        };
        let mut chunk = Vec::new();
        loop {
            match next {
                Ok(Some(Ok(item))) => chunk.push(item),
                Ok(Some(Err(error))) => {
                    site.counters.count_taken(1);
                    site.failed(error);
                    ended = true;
                }
                Ok(None) => ended = true,
                Err(panic) => {
                    site.source_panicked(&*panic);
                    ended = true;
                }
            }
            if ended || chunk.len() == site.chunk {
                break;
            }
            // What is there now shares a chunk; nothing waits for more to come.
            match AssertUnwindSafe(items.next()).catch_unwind().now_or_never() {
                Some(ready) => next = ready,
                None => break,
            }
        }
        site.counters.count_taken(chunk.len());
        if outlet.send(chunk).await.is_err() {
            return;
        }
    }
}

/// Another pipeline as a source: it stops and fails with this one, and this one with it.
pub(super) async fn pipeline<T: Send + 'static, E: Send + 'static>(
    mut input: Running<T, E>,
    outlet: Outlet<T>,
    site: Site<E>,
) {
    let stopping = &site.control.stopping;
    let inner = input.control();
    loop {
        let chunk = select! {
            biased;
            () = stopping.cancelled(), if !inner.0.is_stopped() => {
                inner.stop();
                continue;
            }
            chunk = input.recv_chunk() => chunk,
        };
        match chunk {
            Ok(Some(chunk)) => {
                site.counters.count_taken(chunk.len());
                if outlet.send(chunk).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => return site.control.fail(error),
        }
    }
}
