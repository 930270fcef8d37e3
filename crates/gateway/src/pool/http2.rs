//! HTTP/2 connections: many streams each, a new one when all are full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use seawall_policy::Tick;

use super::{DialError, Dialled, Place, Pool, SendHttp2};
use crate::core::Core;
use crate::socket::Stream;
use crate::tls::Offer;

/// Streams that we put on one connection, whatever the origin allows beyond that.
const STREAMS: usize = 100;

/// A connection that many requests share.
#[derive(Debug)]
pub(super) struct Multiplexed {
    send: SendHttp2,
    streams: AtomicUsize,
    /// When a stream last ended, in nanoseconds.
    used: AtomicU64,
}

impl Multiplexed {
    pub(super) fn is_closed(&self) -> bool {
        self.send.is_closed()
    }

    pub(super) fn is_stale(&self, now: Tick, idle: Duration) -> bool {
        self.streams.load(Ordering::Relaxed) == 0
            && Tick(self.used.load(Ordering::Relaxed)) + idle <= now
    }

    fn has_room(&self) -> bool {
        self.streams.load(Ordering::Relaxed) < STREAMS
    }
}

/// One stream in use.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) send: SendHttp2,
    pub(crate) reused: bool,
    shared: Arc<Multiplexed>,
    clock: seawall::clock::Clock,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared
            .used
            .store(self.clock.now().0, Ordering::Relaxed);
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) async fn lease_http2(
        self: &Arc<Self>,
        core: &Core,
        fresh: bool,
    ) -> Result<Lease, DialError> {
        if !fresh && let Some(lease) = self.share(core, true) {
            return Ok(lease);
        }
        let dialling = self.shelves[core.index].lock().dialling.clone();
        let dial = async {
            let _one = dialling.lock().await;
            // Whoever dialled before us may have left room.
            if !fresh && let Some(lease) = self.share(core, true) {
                return Ok(lease);
            }
            let place = self.place().await?;
            match self.dial(Offer::Http2).await? {
                Dialled::Plain(stream) => self.begin_http2(core, stream, place).await?,
                Dialled::Tls(stream, _) => self.begin_http2(core, *stream, place).await?,
            }
            self.share(core, false).ok_or(DialError::Exhausted)
        };
        // The dial has the same limit of its own; this one bounds the wait for others' dials.
        tokio::time::timeout(self.connect() * 2, dial)
            .await
            .unwrap_or(Err(DialError::Slow))
    }

    /// Speaks HTTP/2 on a new connection, in a task of its own, and lets the core's requests share it.
    pub(super) async fn begin_http2(
        &self,
        core: &Core,
        stream: impl Stream,
        place: Place,
    ) -> Result<(), DialError> {
        let (send, connection) = conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(DialError::Handshake)?;
        tokio::spawn(async move {
            let _ = connection.await;
            drop(place);
        });
        let shared = Multiplexed {
            send,
            streams: AtomicUsize::new(0),
            used: AtomicU64::new(core.clock.now().0),
        };
        self.shelves[core.index]
            .lock()
            .multiplexed
            .push(Arc::new(shared));
        Ok(())
    }

    pub(super) fn share(&self, core: &Core, reused: bool) -> Option<Lease> {
        let mut shelf = self.shelves[core.index].lock();
        shelf.multiplexed.retain(|shared| !shared.is_closed());
        let shared = shelf
            .multiplexed
            .iter()
            .rev()
            .find(|shared| shared.has_room())?;
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Some(Lease {
            send: shared.send.clone(),
            reused,
            shared: shared.clone(),
            clock: core.clock.clone(),
        })
    }
}
